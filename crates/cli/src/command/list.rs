use clap::ValueEnum as _;
use proofmark::domain::TrustCode;
use proofmark::policy::{Metric, render};

use crate::args::{List, What};
use crate::failure::Failure;
use crate::output;

/// `proofmark list`.
pub(crate) fn run(args: &List) -> Result<u8, Failure> {
    let mut text = Vec::new();
    let all: Vec<What> = match args.what {
        Some(what) => vec![what],
        None => What::value_variants().to_vec(),
    };
    for what in &all {
        if all.len() > 1 {
            let name = what.to_possible_value();
            text.push(name.map_or_else(String::new, |v| format!("{}:", v.get_name())));
        }
        for (name, about) in lines(*what) {
            text.push(format!("  {name:24} {about}").trim_end().to_owned());
        }
    }
    output::print(&text.join("\n"))?;
    Ok(0)
}

fn lines(what: What) -> Vec<(String, String)> {
    let own = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    match what {
        What::Attacks => proofmark::attacks::ALL
            .iter()
            .map(|e| {
                let norms: Vec<&str> = e.meta.norms.iter().map(|n| n.as_str()).collect();
                let text = format!(
                    "{} [version {}; {}; needs {}] ({})",
                    e.meta.summary,
                    e.meta.version,
                    norms.join(", "),
                    e.meta.needs.as_str(),
                    e.meta.reference
                );
                (e.meta.id.to_owned(), text)
            })
            .collect(),
        What::Probes | What::Plants => vec![own("(none)", "not in this version")],
        What::Metrics => {
            let of_gate = Metric::NAMES.iter().map(|n| own(n, ""));
            let of_audit = proofmark::audit::metric::all();
            of_gate
                .chain(of_audit.map(|e| own(e.id, &format!("audit: {}", e.definition))))
                .collect()
        }
        What::Formats => render::ALL
            .iter()
            .map(|e| own(e.id, e.description))
            .collect(),
        What::Devices => proofmark::DEVICES
            .iter()
            .map(|d| {
                let state = match proofmark::device(d) {
                    Ok(device) => format!("here: {}", proofmark::describe(&device)),
                    Err(e) => e.to_string(),
                };
                own(d, &state)
            })
            .collect(),
        What::Models => proofmark::shipped::NAMES
            .iter()
            .map(|n| own(n, "shipped"))
            .collect(),
        What::Data => proofmark::data::SHIPPED
            .iter()
            .map(|n| own(n, "shipped"))
            .collect(),
        What::Trust => TrustCode::ALL
            .iter()
            .map(|c| own(c.as_str(), c.remediation()))
            .collect(),
    }
}
