//! Features that may change, and random directions over them.

use burn::tensor::Tensor;
use proofmark_engine::Job;
use proofmark_stats::random::{Stream, StreamKey};
use proofmark_threat::Batch;

/// Maximum number of values of one row in one query: samples with many features are queried in smaller parts.
pub(super) const VALUES: usize = 1 << 16;

/// Returns which features may change, over all inputs one after the other.
pub(super) fn free(job: &Job<'_>) -> Vec<bool> {
    let mut free = Vec::new();
    for (m, budget) in job.samples.modalities.iter().zip(job.threat.budgets()) {
        for f in 0..m.features() {
            free.push(budget.moves() && budget.mask.as_ref().is_none_or(|mask| mask[f]));
        }
    }
    free
}

/// Draws one direction per key: normal over the features that may change, zero elsewhere.
pub(super) fn normals(keys: &[StreamKey], free: &[bool], like: &Batch) -> Batch {
    let mut blocks: Vec<Vec<f32>> = vec![Vec::new(); like.blocks().len()];
    for key in keys {
        let mut stream = Stream::new(key);
        let mut values = (free.iter()).map(|free| if *free { stream.normal() } else { 0.0 });
        for (block, m) in blocks.iter_mut().zip(like.modalities().iter()) {
            block.extend(values.by_ref().take(m.features()));
        }
    }
    Batch::from_host(like.modalities().clone(), blocks, &like.device())
        .expect("drawn for these inputs")
}

/// Returns the scalar product of each row, `[rows, 1]`.
pub(super) fn dot(a: &Batch, b: &Batch) -> Tensor<2> {
    a.zip(b, |a, b| a * b).sum_of(|p| p)
}
