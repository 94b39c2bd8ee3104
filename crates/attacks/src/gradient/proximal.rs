//! Proximal operators of the norms: the point `d` that minimises `½ |d − z|² + t · norm(d)`, in the Euclidean sense.

use burn::tensor::Tensor;
use proofmark_domain::Norm;

/// Newton's steps for the level of the Linf operator; each settles a share of the features that lie above it.
const LEVELS: usize = 10;

/// Returns `z` after the proximal operator of `threshold · norm`, for every row `[rows, features]`, with one threshold
/// per row `[rows, 1]`.
pub(super) fn proximal(norm: Norm, z: Tensor<2>, threshold: &Tensor<2>) -> Tensor<2> {
    let shape = z.dims();
    match norm {
        Norm::L1 => soft_threshold(z, threshold.clone()),
        Norm::L2 => {
            let length = z.clone().square().sum_dim(1).sqrt();
            let rest = (length.clone() - threshold.clone()).clamp_min(0.0);
            z * (rest / length.clamp_min(f32::MIN_POSITIVE))
        }
        Norm::L0 => {
            let least = (threshold.clone() * 2.0).sqrt().expand(shape);
            let kept = z.clone().abs().greater_equal(least).float();
            z * kept
        }
        Norm::Linf => {
            let level = level(&z.clone().abs(), threshold).expand(shape);
            z.max_pair(level.clone().neg()).min_pair(level)
        }
    }
}

/// Returns the level above which the entries of each row of `sizes` sum to `threshold`, `[rows, 1]`; 0 if all of them do
/// not. Newton's method from below.
fn level(sizes: &Tensor<2>, threshold: &Tensor<2>) -> Tensor<2> {
    let shape = sizes.dims();
    let mut level =
        (sizes.clone().mean_dim(1) - threshold.clone() / shape[1] as f32).clamp_min(0.0);
    for _ in 1..LEVELS {
        let above = sizes.clone().greater(level.clone().expand(shape)).float();
        let sum = (sizes.clone() * above.clone()).sum_dim(1);
        let count = above.sum_dim(1).clamp_min(1.0);
        level = level.max_pair((sum - threshold.clone()) / count);
    }
    level
}

/// Moves every change towards 0 by `threshold`, and to 0 if it is smaller.
pub(super) fn soft_threshold(change: Tensor<2>, threshold: Tensor<2>) -> Tensor<2> {
    change.clone().sign() * (change.abs() - threshold).clamp_min(0.0)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proofmark_threat::host;

    use super::*;

    fn applied(norm: Norm, z: [f32; 4], threshold: f32) -> Vec<f32> {
        let device = Device::flex();
        let z = Tensor::<1>::from_floats(z, &device).unsqueeze::<2>();
        let threshold = Tensor::<1>::from_floats([threshold], &device).unsqueeze::<2>();
        host(&proximal(norm, z, &threshold))
    }

    fn close(a: &[f32], b: &[f32]) {
        assert!(
            a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6),
            "{a:?} {b:?}"
        );
    }

    #[test]
    fn proximal_operators_equal_the_hand_computed_points() {
        let z = [3.0, -4.0, 0.0, 0.5];
        close(&applied(Norm::L1, z, 1.0), &[2.0, -3.0, 0.0, 0.0]);
        let length = 25.25_f32.sqrt();
        let by = (length - 1.0) / length;
        close(&applied(Norm::L2, z, 1.0), &z.map(|v| v * by));
        close(&applied(Norm::L2, z, 6.0), &[0.0; 4]);
        // sqrt(2 · 0.25) is above 0.5.
        close(&applied(Norm::L0, z, 0.25), &[3.0, -4.0, 0.0, 0.0]);
        // The parts above the level sum to the threshold.
        close(&applied(Norm::Linf, z, 0.5), &[3.0, -3.5, 0.0, 0.5]);
        close(&applied(Norm::Linf, z, 2.0), &[2.5, -2.5, 0.0, 0.5]);
        close(&applied(Norm::Linf, z, 8.0), &[0.0; 4]);
    }

    #[test]
    fn soft_thresholding_moves_every_change_towards_zero() {
        let device = Device::flex();
        let change = Tensor::<1>::from_floats([3.0, -4.0, 0.0, 0.5], &device).unsqueeze::<2>();
        let threshold = Tensor::<1>::from_floats([1.0], &device).unsqueeze::<2>();
        let moved = host(&soft_threshold(change, threshold));
        assert_eq!(moved, [2.0, -3.0, 0.0, 0.0]);
    }
}
