//! One file per command.

pub(crate) mod attack;
pub(crate) mod audit;
pub(crate) mod falsify;
pub(crate) mod gate;
pub(crate) mod infer;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod merge;
pub(crate) mod plant;
pub(crate) mod probe;
mod save;

use std::io::IsTerminal as _;

/// Whether text on standard error may carry colour.
pub(crate) fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Returns the columns of the terminal on standard error: those that `COLUMNS` states, else those it has, else 80.
pub(crate) fn width() -> usize {
    let stated = std::env::var("COLUMNS").ok().and_then(|v| v.parse().ok());
    let own = || terminal_size::terminal_size_of(std::io::stderr()).map(|(w, _)| usize::from(w.0));
    stated.filter(|w| *w > 0).or_else(own).unwrap_or(80)
}
