//! Gradient transformations, one file each; an attack is a chain of them.

mod adam;
mod jitter;
mod momentum;
mod smooth;

use std::fmt::Debug;

pub use adam::Adam;
pub use jitter::{JITTER, Jitter};
pub use momentum::Momentum;
use proofmark_engine::Rows;
use proofmark_threat::Batch;
pub use smooth::Smooth;

/// Turns a gradient into a direction. It does not move or project points.
pub trait Update: Send + Sync + Debug {
    /// Returns how many batches of memory the update keeps per row; they start at zero.
    fn memories(&self) -> usize;

    /// Returns the direction for `gradient` and updates the memory.
    fn apply(&self, gradient: Batch, memory: &mut [Batch], rows: &Rows) -> Batch;
}

/// Returns the initial memory of a chain of updates for points shaped like `x`: all zero, one update's after the
/// other's.
pub fn memory(chain: &[Box<dyn Update>], x: &Batch) -> Vec<Batch> {
    let kept = chain.iter().map(|u| u.memories()).sum();
    (0..kept).map(|_| x.map(|b| b.zeros_like())).collect()
}

/// Applies a chain of updates to `gradient`, each with its own part of the memory, and returns the direction.
pub fn apply(
    chain: &[Box<dyn Update>],
    gradient: Batch,
    mut memory: &mut [Batch],
    rows: &Rows,
) -> Batch {
    let mut direction = gradient;
    for update in chain {
        let (own, rest) = memory.split_at_mut(update.memories());
        direction = update.apply(direction, own, rows);
        memory = rest;
    }
    direction
}
