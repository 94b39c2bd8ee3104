//! One sample's geometry on the host: exact Euclidean projections in `f64`, one file per norm (`Ball`).
//!
//! The feasible set of a sample `x0` is `{ x : norm(x - x0) <= eps, lower <= x <= upper }`. Box and mask are already
//! merged into `lower <= x0 <= upper`: a frozen feature has `lower = upper = x0`. So `x0` is always feasible, and every
//! feature has a *pull* `|x - x0|` (the distance it would move) and a *room* (the distance the box allows in that
//! direction). All four projections are functions of pull and room alone.
//!
//! # Contract of [`project`] and [`project_shared`]
//! * Inside: [`distance`] (the shared gauge) of the result is at most `eps` (1), and the box holds, on the `f32` values
//!   that are returned, not only in exact arithmetic.
//! * Nearest: each feature is within about two `f32` steps of the true Euclidean projection.
//! * Idempotent: a point that is already inside comes back bit for bit.
//! * A NaN feature stays NaN and uses no budget; an infinite one is read as a very large number. The caller must mark
//!   such a row invalid; the functions here only avoid panics and keep the other features correct.
//!
//! ```
//! use proofmark_domain::Norm;
//! # use proofmark_threat::row;
//! let mut x = [3.0, 4.0];
//! row::project(Norm::L1, &mut x, &[0.0; 2], &[-9.0; 2], &[9.0; 2], 2.0);
//! assert_eq!(x, [0.5, 1.5]); // both move by the same 2.5: soft thresholding, not rescaling
//! ```

mod crossing;
mod l0;
mod l1;
mod l2;
mod linf;
mod multiplier;
mod plane;
mod point;
#[cfg(test)]
mod reference;
mod shared;
#[cfg(test)]
mod steepest_tests;

use burn::tensor::Tensor;
use proofmark_domain::Norm;
use proofmark_stats::random::Stream;

pub use linf::linf_bounds;
pub use shared::{Part, SharedError, project_shared, shared_gauge};

pub(crate) use plane::{Shortest, Slope};
pub(crate) use point::Point;

/// Step of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stride {
    /// Length as a share of the budget.
    pub(crate) size: f64,
    /// Length in data units.
    pub(crate) length: f64,
    /// Minimum share of the features that an `L1` step is spread over.
    pub(crate) spread: f32,
    /// Whether an `Linf` step adds the direction itself or its signs.
    pub(crate) plain: bool,
}

/// Operations that attacks need of a norm: the gauge, the projection, the steepest step and a random point of its ball.
///
/// Adding a norm takes one file that implements this trait, and a line in [`ball`].
pub(crate) trait Ball: Sync {
    /// Returns the norm of `x - x0`, under the contract of [`distance`].
    fn distance(&self, x: &[f32], x0: &[f32]) -> f64;

    /// Returns the same norm, ignoring NaN features.
    fn moved(&self, point: &Point<'_>) -> f64;

    /// Returns the norm that the point would have if it were only clipped to the box (ignoring NaN features).
    fn clipped(&self, point: &Point<'_>) -> f64;

    /// Returns the norm of every row of `d` on its device, in `f32`, `[rows, 1]`.
    fn lengths(&self, d: Tensor<2>) -> Tensor<2>;

    /// Returns the largest `<g, d>` over the unit ball for every row of `g`: the dual norm, `[rows, 1]`.
    fn dual(&self, g: Tensor<2>) -> Tensor<2>;

    /// Projects onto ball ∩ box, under the contract of [`project`]; `radius` is above 0.
    fn project(&self, point: &mut Point<'_>, radius: f64);

    /// Takes the step that gains most along the gradient-like `g` inside the box, before any projection.
    fn ascend(&self, point: &mut Point<'_>, g: &[f32], stride: &Stride);

    /// Adds a random vector of the ball; the caller projects.
    fn scatter(&self, point: &mut Point<'_>, radius: f64, stream: &mut Stream);

    /// Returns the square of the largest Euclidean length in a ball of this radius.
    fn reach_squared(&self, radius: f64, features: usize) -> f64 {
        let _ = features;
        radius * radius
    }

    /// Returns the ball as a box, or `None` if it is not one.
    fn on_device(&self) -> Option<&'static dyn OnDevice> {
        None
    }
}

/// A ball that is itself a box: ball ∩ box is one interval per feature, and whole blocks are clamped to it on the
/// device, without processing every row on the host.
pub(crate) trait OnDevice: Sync {
    /// Intersects one feature's `[lower, upper]` with the ball, to the last `f32` inside.
    fn interval(&self, x0: f32, lower: f32, upper: f32, radius: f64) -> (f32, f32);

    /// Applies [`Ball::ascend`] to all rows `[rows, features]`, each with its own `length` `[rows, 1]`.
    fn ascend(&self, x: Tensor<2>, g: Tensor<2>, length: Tensor<2>, plain: bool) -> Tensor<2>;
}

/// Returns the ball of a norm.
pub(crate) fn ball(norm: Norm) -> &'static dyn Ball {
    match norm {
        Norm::Linf => &linf::Linf,
        Norm::L2 => &l2::L2,
        Norm::L1 => &l1::L1,
        Norm::L0 => &l0::L0,
    }
}

/// Projects `x` (in place) onto the ball of radius `eps` around `x0` in `norm`, intersected with `[lower, upper]`.
///
/// An `eps` of zero (or below, or NaN) returns `x0` itself; a huge one only clips to the box. The `L0` ball is not
/// convex: its projection is one of the nearest points, and ties go to the lower feature index.
///
/// # Panics
/// When the four slices differ in length.
pub fn project(norm: Norm, x: &mut [f32], x0: &[f32], lower: &[f32], upper: &[f32], eps: f64) {
    let mut point = Point::new(x, x0, lower, upper);
    if eps.is_nan() || eps <= 0.0 {
        point.reset();
        return;
    }
    ball(norm).project(&mut point, eps);
}

/// Returns the norm of `x - x0` in `f64`; NaN if any feature is NaN (for `L0` a NaN feature counts as changed).
///
/// Sums run in eight fixed lanes, so the value depends only on the two slices. It may differ from a plain left-to-right
/// sum in the last bits: judge a point with this function, because [`project`] guarantees its bound in terms of it.
///
/// # Panics
/// When the two slices differ in length.
pub fn distance(norm: Norm, x: &[f32], x0: &[f32]) -> f64 {
    assert_eq!(
        x.len(),
        x0.len(),
        "a sample and its origin have the same features"
    );
    ball(norm).distance(x, x0)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "hand-computed values are exact")]
mod tests {
    use super::*;

    const ORIGIN: [f32; 5] = [0.5, 0.5, 0.25, 0.0, 1.0];
    const LOW: [f32; 5] = [0.0; 5];
    const HIGH: [f32; 5] = [1.0; 5];

    fn at(norm: Norm, x: [f32; 5], eps: f64) -> [f32; 5] {
        let mut x = x;
        project(norm, &mut x, &ORIGIN, &LOW, &HIGH, eps);
        x
    }

    #[test]
    fn a_zero_budget_returns_the_origin_and_a_huge_one_clips_to_the_box() {
        let x = [7.0, 0.75, -1.0, 0.5, 1.0];
        for norm in Norm::ALL {
            for eps in [0.0, -1.0, f64::NAN, 1e-320] {
                assert_eq!(at(norm, x, eps), ORIGIN, "{norm} {eps}");
            }
            for eps in [99.0, 1e300, f64::INFINITY] {
                assert_eq!(at(norm, x, eps), [1.0, 0.75, 0.0, 0.5, 1.0], "{norm} {eps}");
            }
        }
    }

    #[test]
    fn a_point_inside_is_returned_bit_for_bit() {
        // x0 + (x - x0) would round 1e-30 to 0.
        for norm in Norm::ALL {
            let mut x = [1e-30, 0.1];
            project(norm, &mut x, &[1e10, 0.1], &[-1e11; 2], &[1e11; 2], 1e11);
            assert_eq!(x, [1e-30, 0.1], "{norm}");
        }
    }

    #[test]
    fn nan_stays_and_does_not_change_other_features() {
        for norm in Norm::ALL {
            for eps in [0.0, 0.3, 1.0, 9.0] {
                let with = at(norm, [0.9, f32::NAN, 0.1, 0.6, 0.9], eps);
                let without = at(norm, [0.9, 0.5, 0.1, 0.6, 0.9], eps);
                assert!(with[1].is_nan(), "{norm} {eps}");
                for i in [0, 2, 3, 4] {
                    assert_eq!(with[i], without[i], "{norm} {eps}");
                }
            }
        }
    }

    #[test]
    fn infinities_neither_panic_nor_hang_nor_leave_the_ball() {
        let unbounded = [[f32::NEG_INFINITY; 5], [f32::INFINITY; 5]];
        for [low, high] in [[LOW, HIGH], unbounded] {
            for norm in Norm::ALL {
                for eps in [1e-3, 0.5, 2.0, 1e20] {
                    let mut x = [f32::INFINITY, f32::NEG_INFINITY, 0.3, f32::MAX, 1.5];
                    project(norm, &mut x, &ORIGIN, &low, &high, eps);
                    let far = distance(norm, &x, &ORIGIN);
                    assert!(far <= eps, "{norm} {eps}: {far} {x:?}");
                }
            }
        }
    }

    #[test]
    fn projections_of_large_rows_keep_the_contract() {
        // 150,528 features: many rounding errors, long sums.
        let n = 150_528;
        let noise = |i: usize, k: usize| ((i * k) % 1009) as f32 / 1009.0;
        let x0: Vec<f32> = (0..n).map(|i| noise(i, 7919)).collect();
        let start: Vec<f32> = (0..n).map(|i| x0[i] + noise(i, 104_729) - 0.5).collect();
        let (low, high) = (vec![0.0; n], vec![1.0; n]);
        for (norm, eps) in [
            (Norm::Linf, 8.0 / 255.0),
            (Norm::L2, 3.0),
            (Norm::L1, 900.0),
            (Norm::L0, 700.0),
        ] {
            let mut x = start.clone();
            project(norm, &mut x, &x0, &low, &high, eps);
            let far = distance(norm, &x, &x0);
            assert!(
                far <= eps && far >= eps * (1.0 - 1e-6),
                "{norm}: {far} of {eps}"
            );
            assert!(x.iter().all(|x| (0.0..=1.0).contains(x)));
            let once = reference::bits(&x);
            project(norm, &mut x, &x0, &low, &high, eps);
            assert_eq!(reference::bits(&x), once, "{norm}");
            // Another order of summation agrees that the point is inside.
            let plain = norm.of(x
                .iter()
                .zip(&x0)
                .map(|(x, o)| f64::from(*x) - f64::from(*o)));
            assert!(plain <= eps * (1.0 + 1e-12), "{norm}: {plain}");
        }
    }

    #[test]
    fn distances_of_a_small_vector() {
        let of = |norm| distance(norm, &[4.0, 1.0, -3.0], &[1.0, 1.0, 1.0]);
        assert_eq!(Norm::ALL.map(of), [4.0, 5.0, 7.0, 2.0]);
    }
}
