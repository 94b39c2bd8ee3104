//! Metrics, one file each.
//!
//! A statistic (a rate, a mean, an area) gives one number per group, and every statistic is contrasted in the same
//! six ways: between groups, to all together and to a named reference, as a difference and as a ratio. What is no
//! contrast of a statistic (inequality indices, consistency, conditional parity, paired tables) is a function of its
//! own.
//!
//! What cannot be estimated has no value and says why; no stand-in ever takes its place.

mod contrast;
mod entry;
mod registry;
mod selection_rate;
mod true_positive_rate;

pub use entry::{Contrast, Entry, Ideal, Need, Rows, Statistic};
pub use registry::{all, find};

pub(crate) use entry::{Of, Run};
