//! The executor's guarantees, and its use by three attacks that are not gradient ascent: a minimum-norm attack
//! (`DeepFool`), a score-based random search and a decision-based boundary walk.

mod attack_kinds;
mod attacks;
mod bisection;
mod common;
mod draws;
mod errors;
mod observers;
mod reproducibility;
mod stopping;
mod verdicts;
