//! Attacks that use the model's scores, without gradients.

mod places;
pub mod sparse_rs;
