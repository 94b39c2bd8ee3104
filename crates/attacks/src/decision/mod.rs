//! Attacks that use only the model's decisions.

mod approach;
mod bracket;
mod features;
mod round;
mod start;

pub mod boundary;
pub mod grid;
pub mod hopskipjump;
pub mod rays;
pub mod surfree;
