//! Statistics and random numbers: pure functions of numbers, no tensors, no clock, no global state.
//!
//! * [`random`]: every random number proofmark uses, counter-based and keyed by sample.
//! * [`clopper_pearson`], [`wilson`]: intervals for a rate that was counted.
//! * [`samples_to_settle`]: how much more data an undecided threshold needs.

mod beta;
mod interval;
pub mod random;
mod settle;

pub use interval::{clopper_pearson, clopper_pearson_lower, clopper_pearson_upper, wilson};
pub use settle::samples_to_settle;
