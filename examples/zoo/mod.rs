//! The zoo: many small nets, clean and backdoored, from one seed. Nulls of probes are fitted on one part of the clean
//! ones, and false alarms are measured on another.
//!
//! [`plan()`] lists every net of a seed; [`run`] trains those of a shard that are not there yet, and hands each to a
//! callback with its model and data. Weights stay outside the repository; a net's row of figures is a line of CSV.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "shared by programs that use different parts"
)]

pub mod data;
pub mod plan;
pub mod run;

pub use data::Sets;
pub use plan::{Entry, Part, plan};
pub use run::{Finished, collect, run};
