//! The rules that say when a robustness figure must not be believed: one file per family.
//!
//! A rule is a pure function of the runs and what they left on each sample; it raises at most one flag, with
//! figures in its message. Rules about gradients stay silent where no run followed any.

mod baseline;
mod clean_at_chance;
mod epsilon_unit;
mod evidence;
mod larger_epsilon;
mod observed;
mod probabilities;
mod registry;
mod saturated;
mod stated;
mod unbounded;
mod zero_gradients;

#[cfg(test)]
pub(crate) mod fixture;

pub(crate) use evidence::Scope;
pub(crate) use registry::{flags, own};
