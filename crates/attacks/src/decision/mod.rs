//! Attacks that see decisions only.

pub mod hopskipjump;
