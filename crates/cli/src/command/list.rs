use std::collections::BTreeSet;

use clap::ValueEnum as _;
use proofmark::audit::metric;
use proofmark::backdoor::probe::{ALL, Entry};
use proofmark::domain::TrustCode;
use proofmark::policy::{Metric, kind, render};
use proofmark::{Certificate, Smoothing};
use serde_json::Value;

use crate::args::{List, What};
use crate::failure::Failure;
use crate::output;

/// Maximum width of a line, in columns.
const WIDTH: usize = 80;

/// Column where descriptions begin.
const INDENT: usize = 29;

/// Column where descriptions of attacks begin; they are longer.
const ATTACK_INDENT: usize = 19;

/// Endings of audit metrics that compare groups; they follow the name of the compared metric.
const CONTRASTS: [&str; 6] = [
    "_difference",
    "_ratio",
    "_difference_to_overall",
    "_ratio_to_overall",
    "_difference_to_reference",
    "_ratio_to_reference",
];

/// Runs `proofmark list` and returns the exit code.
pub(crate) fn run(args: &List) -> Result<u8, Failure> {
    if args.all && args.what.is_some_and(|what| what != What::Metrics) {
        return Err(Failure(
            "--all: only the list of metrics is cut short; expected `proofmark list metrics --all`"
                .into(),
        ));
    }
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
        text.extend(page(*what, args.all));
    }
    output::print(&text.join("\n"))?;
    Ok(0)
}

fn page(what: What, all: bool) -> Vec<String> {
    let table = |rows: Vec<(&str, String)>| -> Vec<String> {
        rows.into_iter()
            .flat_map(|(name, about)| row(name, &about))
            .collect()
    };
    let shipped = |names: &[&'static str]| -> Vec<String> {
        table(names.iter().map(|n| (*n, "shipped".to_owned())).collect())
    };
    match what {
        What::Attacks => attacks(),
        What::Certificates => certificates(&table),
        What::Probes => table(probes()),
        What::Plants => plants(),
        What::Metrics => metrics(all),
        What::Checks => table(
            kind::ALL
                .iter()
                .map(|e| (e.id, e.about.to_owned()))
                .collect(),
        ),
        What::Formats => table(
            render::ALL
                .iter()
                .map(|r| (r.id(), r.about().to_owned()))
                .collect(),
        ),
        What::Devices => proofmark::devices()
            .into_iter()
            .flat_map(|(name, state)| row(&name, &state))
            .collect(),
        What::Models => shipped(&proofmark::shipped::NAMES),
        What::Data => shipped(&proofmark::data::SHIPPED),
        What::Trust => table(
            TrustCode::ALL
                .iter()
                .map(|c| (c.as_str(), c.remediation().to_owned()))
                .collect(),
        ),
    }
}

/// Returns every probe, what it measures, its paper, and the clean samples it needs.
fn probes() -> Vec<(&'static str, String)> {
    let about = |e: &'static Entry| {
        let needs = match e.meta.samples {
            0 => "no data".to_owned(),
            n => format!("{n} clean samples or more"),
        };
        (
            e.meta.id,
            format!("{} ({}); needs {needs}", e.meta.about, e.meta.reference),
        )
    };
    ALL.iter().map(about).collect()
}

/// Makes lines of names and what they mean.
type Table<'a> = dyn Fn(Vec<(&str, String)>) -> Vec<String> + 'a;

/// Returns lines with every certificate and the defaults of its parameters.
fn certificates(table: &Table<'_>) -> Vec<String> {
    let about = Certificate::DESCRIBED;
    let mut lines = table(
        about
            .iter()
            .map(|(id, text)| (*id, (*text).to_owned()))
            .collect(),
    );
    let smoothing = Certificate::Smoothing(Smoothing::new(f64::NAN)).parameters();
    let defaults = smoothing.iter().map(|(name, value)| match value {
        Value::Null => format!("{name} (needed)"),
        value => format!("{name}={}", shown(value)),
    });
    let defaults: Vec<String> = defaults.collect();
    lines.extend(row("", &defaults.join(" ")));
    lines
}

/// Returns lines with every attack and the defaults of its parameters.
fn attacks() -> Vec<String> {
    let mut lines = Vec::new();
    for entry in proofmark::attacks::ALL {
        let meta = entry.meta;
        let norms: Vec<&str> = meta.norms.iter().map(|n| n.as_str()).collect();
        lines.extend(row_at(ATTACK_INDENT, meta.id, meta.summary));
        let needs = format!(
            "version {}; {}; needs {}; {}",
            meta.version,
            norms.join(", "),
            meta.needs.as_str(),
            meta.reference
        );
        lines.extend(row_at(ATTACK_INDENT, "", &needs));
        let Ok(attack) = (entry.build)(&toml::Table::new()) else {
            continue;
        };
        let parameters: Vec<String> = attack
            .parameters()
            .iter()
            .map(|(name, value)| format!("{name}={}", shown(value)))
            .collect();
        if !parameters.is_empty() {
            lines.extend(row_at(ATTACK_INDENT, "", &parameters.join(" ")));
        }
    }
    lines.push(String::new());
    lines.extend(wrapped(
        "Parameters are shown with their defaults; auto is chosen by the attack, from epsilon and steps, the model or \
         the sample. --set ID.FIELD=V changes one, in a policy { id = \"ID\", FIELD = V }.",
        0,
    ));
    let aliases: Vec<String> = (proofmark::attacks::ALIASES.iter())
        .map(|(alias, id)| format!("`{alias}` stands for {id}"))
        .collect();
    lines.extend(wrapped(&format!("{}.", aliases.join("; ")), 0));
    lines
}

/// Returns lines with every planter and the defaults of its parameters.
fn plants() -> Vec<String> {
    let mut lines = Vec::new();
    for entry in proofmark::backdoor::plant::ALL {
        let meta = entry.meta;
        lines.extend(row_at(ATTACK_INDENT, meta.id, meta.summary));
        let facts = format!(
            "version {}; {}; {}",
            meta.version, meta.inputs, meta.reference
        );
        lines.extend(row_at(ATTACK_INDENT, "", &facts));
        let Ok(planter) = (entry.build)(&toml::Table::new()) else {
            continue;
        };
        let parameters: Vec<String> = planter
            .parameters()
            .iter()
            .map(|(name, value)| format!("{name}={}", shown(value)))
            .collect();
        if !parameters.is_empty() {
            lines.extend(row_at(ATTACK_INDENT, "", &parameters.join(" ")));
        }
    }
    lines.push(String::new());
    lines.extend(wrapped(
        "Parameters are shown with their defaults; auto is chosen by the planter, from the image. --set ID.FIELD=V \
         changes one.",
        0,
    ));
    lines
}

/// Formats a parameter as a user types it; a number stored in 32 bits is printed with its 32-bit digits.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "auto".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(n) => match n.as_f64() {
            Some(x) if n.is_f64() && f64::from(x as f32) == x => (x as f32).to_string(),
            _ => n.to_string(),
        },
        Value::Array(all) => {
            let all: Vec<String> = all.iter().map(shown).collect();
            format!("[{}]", all.join(","))
        }
        other => other.to_string(),
    }
}

fn metrics(all: bool) -> Vec<String> {
    let mut lines = vec!["Of a model, attacked or not:".to_owned()];
    for (name, argument, about) in Metric::DESCRIBED {
        lines.extend(row(&format!("{name}{argument}"), about));
    }
    if all {
        lines.push("Of an audit of groups:".to_owned());
        for entry in metric::all() {
            lines.extend(row(entry.id, entry.definition));
        }
        return lines;
    }
    let ids: BTreeSet<&str> = metric::all().map(|e| e.id).collect();
    let is_contrast = |id: &str| {
        CONTRASTS
            .iter()
            .any(|c| id.strip_suffix(c).is_some_and(|base| ids.contains(base)))
    };
    let bases: Vec<&str> = metric::all()
        .map(|e| e.id)
        .filter(|id| !is_contrast(id))
        .collect();
    lines.push("Of an audit of groups (`proofmark list metrics --all` defines each):".to_owned());
    lines.extend(wrapped(&bases.join(" "), 2));
    lines.extend(wrapped(
        &format!(
            "Most compare groups with an ending: {}.",
            CONTRASTS.join(" ")
        ),
        0,
    ));
    lines
}

/// Returns lines with a name and its description, wrapped beside it.
fn row(name: &str, about: &str) -> Vec<String> {
    row_at(INDENT, name, about)
}

fn row_at(indent: usize, name: &str, about: &str) -> Vec<String> {
    let mut lines = wrapped(about, indent);
    if name.chars().count() + 3 > indent {
        lines.insert(0, format!("  {name}"));
    } else if let Some(first) = lines.first_mut() {
        *first = format!("  {name:width$}{}", first.trim_start(), width = indent - 2);
    }
    lines
}

/// Wraps text to lines of at most [`WIDTH`] columns, each indented by `indent` spaces; words are never cut.
fn wrapped(text: &str, indent: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{}{word}", " ".repeat(indent))),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_fit_a_terminal_and_the_metrics_a_screen() {
        for what in What::value_variants() {
            for all in [false, true] {
                for line in page(*what, all) {
                    let width = line.chars().count();
                    // One word may be longer than a line.
                    assert!(
                        width <= WIDTH || line.split_whitespace().count() == 1,
                        "{line}"
                    );
                }
            }
        }
        assert!(page(What::Metrics, false).len() <= 40);
    }

    #[test]
    fn attacks_are_listed_with_every_parameter_and_its_default() {
        let text = attacks().join("\n");
        for entry in proofmark::attacks::ALL {
            let attack = (entry.build)(&toml::Table::new()).expect("defaults are valid");
            for (name, value) in attack.parameters() {
                let word = format!("{name}={}", shown(&value));
                assert!(text.contains(&word), "{}: {word}", entry.meta.id);
            }
        }
        assert!(text.contains("l1_spread=0.015") && text.contains("step_size=auto"));
    }

    #[test]
    fn planters_are_listed_with_every_parameter_and_its_default() {
        let text = plants().join("\n");
        for entry in proofmark::backdoor::plant::ALL {
            let planter = (entry.build)(&toml::Table::new()).expect("defaults are valid");
            for (name, value) in planter.parameters() {
                let word = format!("{name}={}", shown(&value));
                assert!(text.contains(&word), "{}: {word}", entry.meta.id);
            }
        }
        assert!(text.contains("alpha=0.2") && text.contains("opacity=[0.5,0.2,0.5,0.3]"));
    }

    #[test]
    fn robustness_metrics_come_first_and_are_described() {
        let lines = page(What::Metrics, false);
        assert!(lines[1].starts_with("  robust_accuracy[(ATTACK)]  share right"));
        let text = lines.join("\n");
        for word in ["impact_ratio", "tpr", "equalized_odds_difference"] {
            assert!(text.contains(word), "{word}");
        }
        assert!(!text.contains("tpr_ratio_to_overall"), "it is an ending");
        assert!(
            page(What::Metrics, true)
                .join("\n")
                .contains("tpr_ratio_to_overall")
        );
    }
}
