//! Probes, one file each: statistics of a model or a training set that a backdoor changes.

pub mod input;
pub mod training;
