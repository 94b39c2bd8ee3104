//! Features that may change, and random directions over them.

use burn::tensor::Tensor;
use proofmark_engine::{EngineError, Job, Meta, check_norms};
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

/// Fails if several inputs may change, or one in a norm that the attack does not support: for attacks that turn
/// directions in the space of one input.
pub(super) fn check_one_input(meta: &Meta, job: &Job<'_>) -> Result<(), EngineError> {
    check_norms(meta, job)?;
    let moving = job.threat.budgets().iter().filter(|b| b.moves());
    let names: Vec<&str> = moving.map(|b| b.modality.as_str()).collect();
    if names.len() <= 1 {
        return Ok(());
    }
    Err(EngineError::Parameter {
        name: "inputs that may change",
        given: names.join(" and "),
        expected: format!("one for `{}`; freeze the others with epsilon 0", meta.id),
    })
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
    a.zip(b, |a, b| a * b)
        .into_blocks()
        .into_iter()
        .map(|p| p.sum_dim(1))
        .reduce(|a, b| a + b)
        .expect("at least one modality")
}
