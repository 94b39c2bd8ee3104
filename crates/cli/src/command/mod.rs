//! One file per command.

pub(crate) mod attack;
pub(crate) mod audit;
pub(crate) mod falsify;
pub(crate) mod gate;
pub(crate) mod infer;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod merge;
mod save;

use std::io::IsTerminal as _;

/// Whether text on standard error may carry colour.
pub(crate) fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
