//! `L0` ∩ box: keeps the features whose move matters most and resets the others.
//!
//! **Maths.** The features that move go to their nearest point in the box, `d = clip(v)`. Moving feature `i` rather
//! than leaving it reduces the squared distance to `v` by `v² - (v - d)² = d·(2v - d)`, independently of the others:
//! the `floor(eps)` largest reductions are optimal. The set is not convex; ties go to the lower index.
//!
//! **Reference.** Croce and Hein, *Sparse and imperceivable adversarial attacks* (ICCV 2019), section 3.3.

use burn::tensor::Tensor;
use proofmark_stats::random::Stream;

use super::point::{Point, finite, sum_of, up_to};
use super::{Ball, Stride};

pub(super) struct L0;

impl Ball for L0 {
    fn distance(&self, x: &[f32], x0: &[f32]) -> f64 {
        sum_of(x, x0, |d| f64::from(u8::from(d != 0.0)))
    }

    fn moved(&self, point: &Point<'_>) -> f64 {
        sum_of(point.x, point.x0, |d| f64::from(u8::from(finite(d) != 0.0)))
    }

    fn clipped(&self, point: &Point<'_>) -> f64 {
        let [changed] = point.sum(|u, c| [f64::from(u8::from(up_to(u, c) > 0.0))]);
        changed
    }

    fn lengths(&self, d: Tensor<2>) -> Tensor<2> {
        d.not_equal_scalar(0.0).float().sum_dim(1)
    }

    /// Infinite if `g` has any nonzero entry: one feature may move any distance.
    fn dual(&self, g: Tensor<2>) -> Tensor<2> {
        let most = g.abs().max_dim(1);
        let any = most.clone().greater_scalar(0.0);
        most.mask_fill(any, f32::INFINITY)
    }

    fn project(&self, point: &mut Point<'_>, radius: f64) {
        let mut gains: Vec<(f64, usize)> = point
            .features()
            .enumerate()
            .filter(|(_, (u, c))| *u > 0.0 && *c > 0.0)
            .map(|(i, (u, c))| {
                let d = up_to(u, c);
                (d * (2.0 * u - d), i)
            })
            .collect();
        point.clip();
        // The conversion saturates for budgets larger than any number of features.
        let keep = radius.floor() as usize;
        if gains.len() <= keep {
            return;
        }
        if keep > 0 {
            gains.select_nth_unstable_by(keep - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        }
        for &(_, i) in &gains[keep..] {
            point.x[i] = point.x0[i];
        }
    }

    /// Moves every feature by its share of the range; the projection keeps those whose move matters most.
    fn ascend(&self, point: &mut Point<'_>, g: &[f32], stride: &Stride) {
        for (i, g) in g.iter().enumerate().filter(|(_, g)| **g != 0.0) {
            point.x[i] += g.signum() * stride.size as f32 * (point.upper[i] - point.lower[i]);
        }
    }

    /// Sets a random set of features to random values in their ranges.
    fn scatter(&self, point: &mut Point<'_>, radius: f64, stream: &mut Stream) {
        let f = point.x.len();
        let k = (radius as usize).min(f);
        let mut order: Vec<usize> = (0..f).collect();
        for i in 0..k {
            let j = i + stream.below((f - i) as u32) as usize;
            order.swap(i, j);
            let c = order[i];
            point.x[c] = point.lower[c] + stream.uniform() * (point.upper[c] - point.lower[c]);
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "hand-computed values are exact")]
mod tests {
    use proofmark_domain::Norm;
    use proptest::prelude::*;

    use crate::row::{self, reference};

    fn project(x: &[f32], x0: &[f32], lower: &[f32], upper: &[f32], eps: f64) -> Vec<f32> {
        let mut x = x.to_vec();
        row::project(Norm::L0, &mut x, x0, lower, upper, eps);
        x
    }

    #[test]
    fn hand_computed() {
        let (x0, lo, hi) = ([0.0; 4], [-1.0; 4], [1.0; 4]);
        assert_eq!(
            project(&[0.25, -0.5, 0.125, 0.0], &x0, &lo, &hi, 2.0),
            [0.25, -0.5, 0.0, 0.0]
        );
        assert_eq!(
            project(&[0.25, -0.5, 0.125, 0.0], &x0, &lo, &hi, 1.9),
            [0.0, -0.5, 0.0, 0.0]
        );
        assert_eq!(project(&[0.25, -0.5, 0.125, 0.0], &x0, &lo, &hi, 0.9), x0);
        // Ties go to the lower index.
        assert_eq!(
            project(&[0.5, -0.5, 0.5, 0.5], &x0, &lo, &hi, 2.0),
            [0.5, -0.5, 0.0, 0.0]
        );
    }

    #[test]
    fn the_reduction_decides_not_the_pull_nor_the_move() {
        // Pull 3 with room 0.1 reduces the squared distance by 0.59; pull 0.8 with room 1 by 0.64.
        assert_eq!(
            project(&[3.0, 0.8], &[0.0; 2], &[0.0; 2], &[0.1, 1.0], 1.0),
            [0.0, 0.8]
        );
        // Equal moves of 0.5: the feature with the stronger pull reduces the distance more.
        assert_eq!(
            project(&[0.6, 2.0], &[0.0; 2], &[0.0; 2], &[0.5, 0.5], 1.0),
            [0.0, 0.5]
        );
    }

    proptest! {
        #[test]
        fn laws(case in reference::case()) {
            let case = reference::Case { eps: case.eps * 4.0, ..case };
            reference::check_laws(Norm::L0, &case)?;
        }

        #[test]
        fn no_other_set_of_features_is_nearer(case in reference::case()) {
            let keep = (case.eps * 4.0).floor();
            let got = reference::squared_distance(&case.project(Norm::L0, keep), &case.x);
            let n = case.x.len();
            for chosen in (0_u32..1 << n.min(10)).filter(|s| f64::from(s.count_ones()) <= keep) {
                let pick = |i: usize| if i < 10 && chosen >> i & 1 == 1 {
                    case.x[i].clamp(case.lower[i], case.upper[i])
                } else {
                    case.x0[i]
                };
                let other: Vec<f32> = (0..n).map(pick).collect();
                let other = reference::squared_distance(&other, &case.x);
                prop_assert!(got <= other + 1e-9 * (1.0 + other), "{got} > {other}");
            }
        }
    }
}
