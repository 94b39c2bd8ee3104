//! Attacks that fit one change for all samples.

mod shared;
pub mod uap;
pub mod uap_pgd;
