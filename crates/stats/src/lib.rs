//! Statistics and random numbers: pure functions of numbers, no tensors, no clock, no global state.
//!
//! * [`random`]: every random number proofmark uses, counter-based and keyed by sample.
//! * [`clopper_pearson`], [`wilson`], [`mid_p`]: intervals for a rate that was counted.
//! * [`newcombe`], [`newcombe_ratio`]: intervals for two rates compared; [`mover_difference`] and [`mover_ratio`] for
//!   any two estimates with limits.
//! * [`Contrasts`]: many groups compared at once, and the two furthest apart.

mod arm;
mod beta;
mod interval;
mod mid_p;
mod mover;
mod newcombe;
mod normal;
pub mod random;
mod settle;
mod simultaneous;
mod studentised_range;

pub use arm::{Arm, effective_sample_size};
pub use interval::{clopper_pearson, clopper_pearson_lower, clopper_pearson_upper, wilson};
pub use mid_p::mid_p;
pub use mover::{mover_difference, mover_ratio};
pub use newcombe::{newcombe, newcombe_ratio};
pub use normal::{normal_critical, normal_tail};
pub use settle::samples_to_settle;
pub use simultaneous::{Contrasts, Pair, Scale, sidak_level, sidak_p};
pub use studentised_range::{range_critical, range_tail};
