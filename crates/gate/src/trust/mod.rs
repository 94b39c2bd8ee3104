//! Rules that say when a robustness figure must not be trusted, one file per family.
//!
//! A rule is a pure function of the runs and their outcomes on each sample. It raises at most one flag, with figures in
//! its message. Rules about gradients stay silent if no run used gradients.

mod approximate;
mod baseline;
mod clean_at_chance;
mod epsilon_unit;
mod evidence;
mod incomplete;
mod larger_epsilon;
mod observed;
mod planted;
mod probabilities;
mod registry;
mod saturated;
mod stated;
mod transfer;
mod unbounded;
mod unstable;
mod zero_gradients;

#[cfg(test)]
pub(crate) mod fixture;

pub(crate) use evidence::Scope;
pub(crate) use registry::{flags, own};
