//! Estimate of the direction of the adversarial side at the boundary: from many small random moves, by which of them
//! succeed.

use proofmark_domain::{Modality, Norm};
use proofmark_stats::random::{Stream, StreamKey};
use proofmark_threat::Batch;

/// Returns the move of each point: a random direction of its row's length, zero for rows without a length.
pub(super) fn moves(
    keys: &[StreamKey],
    counts: &[usize],
    lengths: &[Option<f64>],
    free: &[bool],
    norm: Norm,
    like: &Batch,
) -> Batch {
    let widths: Vec<usize> = like.modalities().iter().map(Modality::features).collect();
    let mut blocks: Vec<Vec<f32>> = vec![Vec::new(); widths.len()];
    for (i, count) in counts.iter().enumerate() {
        for b in 0..*count {
            let Some(wanted) = lengths[i] else {
                for (block, width) in blocks.iter_mut().zip(&widths) {
                    block.extend(std::iter::repeat_n(0.0, *width));
                }
                continue;
            };
            let mut key = keys[i];
            key.draw = b as u32;
            let mut stream = Stream::new(&key);
            let direction: Vec<f64> = (free.iter())
                .map(|free| match (free, norm) {
                    (false, _) => 0.0,
                    (true, Norm::L2) => f64::from(stream.normal()),
                    (true, _) => 2.0 * f64::from(stream.uniform()) - 1.0,
                })
                .collect();
            let length = Norm::L2.of(direction.iter().copied());
            let scale = wanted / length.max(f64::MIN_POSITIVE);
            let mut values = direction.iter().map(|v| (v * scale) as f32);
            for (block, width) in blocks.iter_mut().zip(&widths) {
                block.extend(values.by_ref().take(*width));
            }
        }
    }
    Batch::from_host(like.modalities().clone(), blocks, &like.device())
        .expect("drawn for these inputs")
}

/// Returns the sum of the unit moves from `x` to the `points` that are `counted`, in `f64`, row by row.
pub(super) fn sums(
    points: &Batch,
    x: &Batch,
    owner: &[usize],
    lengths: &[Option<f64>],
    counted: &[bool],
) -> Batch {
    let sums = (points.to_host().iter().zip(&x.to_host()))
        .map(|(points, x)| {
            let width = x.len() / lengths.len();
            let mut sum = vec![0.0_f64; x.len()];
            for (q, i) in owner.iter().enumerate() {
                let Some(length) = lengths[*i].filter(|_| counted[q]) else {
                    continue;
                };
                let scale = 1.0 / length;
                let own = i * width..(i + 1) * width;
                let to = &points[q * width..(q + 1) * width];
                for ((sum, to), from) in sum[own.clone()].iter_mut().zip(to).zip(&x[own]) {
                    *sum += (f64::from(*to) - f64::from(*from)) * scale;
                }
            }
            sum.into_iter().map(|s| s as f32).collect()
        })
        .collect();
    Batch::from_host(x.modalities().clone(), sums, &x.device()).expect("as wide as the rows")
}

/// Returns the weights of the sum over the successful directions and of the sum over all directions in the direction of
/// a jump: `Σ (φ − mean φ) u = 2 (Σ_succeeded u − share Σ u)`; if all agree, `± Σ u`.
pub(super) fn weights(successes: u64, queried: u64) -> [f32; 2] {
    if successes == 0 {
        [0.0, -1.0]
    } else if successes == queried {
        [0.0, 1.0]
    } else {
        [1.0, -(successes as f64 / queried as f64) as f32]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_weighted_against_their_mean() {
        assert_eq!(weights(3, 4), [1.0, -0.75]);
        assert_eq!(weights(4, 4), [0.0, 1.0]);
        assert_eq!(weights(0, 4), [0.0, -1.0]);
    }
}
