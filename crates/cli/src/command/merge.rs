use proofmark::policy::merge;
use proofmark::policy::render::{self, Document};

use super::colour;
use crate::args::Merge;
use crate::failure::Failure;
use crate::output::{self, Target};
use crate::signals;

/// Runs `proofmark merge` and returns the exit code.
pub(crate) fn run(args: &Merge, quiet: bool) -> Result<u8, Failure> {
    let out = output::text_target("--out", &args.out)?;
    let beside = out.file().map(|f| Target::File(output::samples_of(f)));
    let written = [
        ("--out", Some(&out)),
        ("the samples beside --out", beside.as_ref()),
    ];
    output::apart(&written, || {
        let read = args.reports.iter().flat_map(|r| {
            let samples = output::samples_of(r);
            [
                ("a report that is merged", r.clone()),
                ("the samples of a report that is merged", samples),
            ]
        });
        read.collect()
    })?;
    let parts = args
        .reports
        .iter()
        .map(|p| output::read_report(p))
        .collect::<Result<Vec<_>, _>>()?;
    let whole = merge(parts)?;
    if signals::interrupted() {
        output::tell("interrupted: nothing was written");
        return Ok(signals::INTERRUPTED);
    }
    output::write_report_to(&out, &whole)?;
    if !quiet {
        output::tell(&render::table(Document::Attack(&whole), colour()));
    }
    Ok(0)
}
