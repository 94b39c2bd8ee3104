//! Gradient transformations, one file each; an attack is a chain of them.

mod adam;
mod momentum;

use std::fmt::Debug;

pub use adam::Adam;
pub use momentum::Momentum;
use proofmark_engine::Rows;
use proofmark_threat::Batch;

/// Turns a gradient into a direction. It never moves a point and never projects.
pub trait Update: Send + Sync + Debug {
    /// How many batches of memory it keeps per row; they start at zero.
    fn memories(&self) -> usize;

    /// The direction for `gradient`, updating the memory.
    fn apply(&self, gradient: Batch, memory: &mut [Batch], rows: &Rows) -> Batch;
}
