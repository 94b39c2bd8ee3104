//! Attacks that change as few features as possible (L0).

pub mod sigma_zero;
