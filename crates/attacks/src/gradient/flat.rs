//! Random directions for rows whose gradient is zero.

use burn::tensor::Tensor;
use proofmark_engine::Rows;
use proofmark_stats::random::Purpose;
use proofmark_threat::{Batch, host};

use super::where_rows;

/// Replaces the gradients that are zero on every feature that may change by random directions inside the bounds, row by
/// row: the same one as long as the row's entry of `epoch` is the same. A row that nothing can move keeps its zeros.
pub(super) fn or_random(rows: &Rows, gradient: &Batch, epoch: &[u64]) -> Batch {
    let region = rows.region();
    let free = region.free(gradient);
    let sums = host(&free.sum_of(Tensor::abs));
    let flat: Vec<bool> = sums.iter().map(|s| *s == 0.0).collect();
    if !flat.contains(&true) {
        return free;
    }
    let mut keys = rows.streams(Purpose::Direction, 0);
    for (key, epoch) in keys.iter_mut().zip(epoch) {
        key.step = *epoch as u32;
    }
    let random = region.perturb_in_box(&keys, |draw, stream| {
        let boxes = draw.lower.iter().zip(draw.upper);
        for (x, (low, high)) in draw.x.iter_mut().zip(boxes) {
            // Draw for frozen features too, so that a feature's number does not depend on the mask.
            *x += stream.normal() * 0.25 * (high - low);
        }
    });
    let random = random.zip(&region.x0(), |x, x0| x - x0);
    where_rows(&flat, &random, &free)
}
