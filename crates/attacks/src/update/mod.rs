//! Gradient transformations, one file each; an attack is a chain of them.

mod adam;
mod jitter;
mod momentum;

use std::fmt::Debug;

pub use adam::Adam;
pub use jitter::{JITTER, Jitter};
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

/// The memory that a chain of updates begins with, for points such as `x`: all zero, one update's after the other's.
pub fn memory(chain: &[Box<dyn Update>], x: &Batch) -> Vec<Batch> {
    let kept = chain.iter().map(|u| u.memories()).sum();
    (0..kept).map(|_| x.map(|b| b.zeros_like())).collect()
}

/// The direction that a chain of updates makes of `gradient`, each with its own part of the memory.
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
