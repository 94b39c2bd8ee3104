use proofmark::policy::merge;

use super::{colour, renderer};
use crate::args::Merge;
use crate::failure::Failure;
use crate::output;

/// `proofmark merge`.
pub(crate) fn run(args: &Merge, quiet: bool) -> Result<u8, Failure> {
    output::check_writable(&args.out)?;
    let parts = args
        .reports
        .iter()
        .map(|p| output::read_report(p))
        .collect::<Result<Vec<_>, _>>()?;
    let whole = merge(parts)?;
    output::write_report(&args.out, &whole)?;
    if !quiet {
        eprintln!("{}", (renderer("table")?.report)(&whole, colour()));
    }
    Ok(0)
}
