//! Probes on models whose backdoor, or lack of one, is known in closed form.

mod common;
mod inversion;
mod laws;
mod members;
mod refusals;
mod verdicts;
