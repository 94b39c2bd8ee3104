//! Attacks that use only the model's decisions.

mod bracket;
mod features;
mod round;
mod start;

pub mod hopskipjump;
