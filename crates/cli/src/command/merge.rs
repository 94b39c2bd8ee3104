use proofmark::policy::merge;

use super::{colour, renderer};
use crate::args::Merge;
use crate::failure::Failure;
use crate::output;
use crate::signals;

/// `proofmark merge`.
pub(crate) fn run(args: &Merge, quiet: bool) -> Result<u8, Failure> {
    let out = output::target("--out", &args.out)?;
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
    output::write_report(&out, &whole)?;
    if !quiet {
        output::tell(&(renderer("table")?.report)(&whole, colour()));
    }
    Ok(0)
}
