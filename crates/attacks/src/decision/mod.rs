//! Attacks that use only the model's decisions.

pub mod hopskipjump;
