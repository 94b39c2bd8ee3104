//! `Linf`: clamps every feature separately to the outermost `f32` values inside.
//!
//! The ball of the maximum norm is itself a box, so the projection on ball ∩ box is a clamp to the intersection of two
//! intervals. Only rounding is subtle: `x0 + eps` rounded to the nearest `f32` can lie outside the ball by half a step,
//! which a checker in exact arithmetic (or another `f32` library) reports as a violation.

use burn::tensor::Tensor;
use proofmark_stats::random::Stream;

use super::point::{Point, clamp, up_to};
use super::{Ball, OnDevice, Stride};

pub(super) struct Linf;

impl Ball for Linf {
    fn distance(&self, x: &[f32], x0: &[f32]) -> f64 {
        // Track NaN separately: `max` ignores it, and it must not look small.
        let (mut top, mut nan) = (0.0_f64, false);
        for (&x, &x0) in x.iter().zip(x0) {
            let d = (f64::from(x) - f64::from(x0)).abs();
            nan |= d.is_nan();
            top = if d > top { d } else { top };
        }
        if nan { f64::NAN } else { top }
    }

    fn moved(&self, point: &Point<'_>) -> f64 {
        // This maximum ignores NaN.
        point.features().fold(0.0, |m, (pull, _)| m.max(pull))
    }

    fn clipped(&self, point: &Point<'_>) -> f64 {
        point.features().fold(0.0, |m, (u, c)| m.max(up_to(u, c)))
    }

    fn lengths(&self, d: Tensor<2>) -> Tensor<2> {
        d.abs().max_dim(1)
    }

    fn dual(&self, g: Tensor<2>) -> Tensor<2> {
        g.abs().sum_dim(1)
    }

    fn project(&self, point: &mut Point<'_>, radius: f64) {
        let boxes = point.lower.iter().zip(point.upper);
        for ((x, &x0), (&lower, &upper)) in point.x.iter_mut().zip(point.x0).zip(boxes) {
            let d = f64::from(*x) - f64::from(x0);
            // A point strictly inside needs no bounds, and a point can cross only one side.
            if d >= radius {
                *x = x.min(reach(x0, radius));
            } else if d <= -radius {
                *x = x.max(-reach(-x0, radius));
            }
            *x = clamp(*x, lower, upper);
        }
    }

    /// Moves every feature by the sign of its direction, or by the direction itself.
    fn ascend(&self, point: &mut Point<'_>, g: &[f32], stride: &Stride) {
        let by = stride.length as f32;
        for (x, g) in point.x.iter_mut().zip(g) {
            // `signum` of +0 is +1, so skip zeros: a zero gradient must not move anything.
            if *g != 0.0 {
                *x += by * if stride.plain { *g } else { g.signum() };
            }
        }
    }

    /// Draws uniformly in the cube.
    fn scatter(&self, point: &mut Point<'_>, radius: f64, stream: &mut Stream) {
        for x in point.x.iter_mut() {
            *x += (radius as f32) * stream.uniform().mul_add(2.0, -1.0);
        }
    }

    /// Squared distance to a corner of the cube.
    fn reach_squared(&self, radius: f64, features: usize) -> f64 {
        radius * radius * features as f64
    }

    fn on_device(&self) -> Option<&'static dyn OnDevice> {
        Some(&Self)
    }
}

impl OnDevice for Linf {
    fn interval(&self, x0: f32, lower: f32, upper: f32, radius: f64) -> (f32, f32) {
        linf_bounds(x0, lower, upper, radius)
    }

    fn ascend(&self, x: Tensor<2>, g: Tensor<2>, length: Tensor<2>, plain: bool) -> Tensor<2> {
        x + if plain { g } else { g.sign() } * length
    }
}

/// Returns the outermost `f32` bounds inside the `Linf` ball and `[lower, upper]`.
///
/// Every `f32` in `[lo, hi]` has `|x - x0| <= eps` in exact arithmetic; the next `f32` beyond either end does not
/// (unless the box is tighter). An `eps` of zero (or below, or NaN) gives `(x0, x0)`.
pub fn linf_bounds(x0: f32, lower: f32, upper: f32, eps: f64) -> (f32, f32) {
    if eps.is_nan() || eps <= 0.0 {
        return (x0, x0);
    }
    let lo = -reach(-x0, eps);
    let hi = reach(x0, eps);
    (
        if lower > lo { lower } else { lo },
        if upper < hi { upper } else { hi },
    )
}

/// Returns the largest `f32` at most `eps` above `x0`.
#[inline]
fn reach(x0: f32, eps: f64) -> f32 {
    // Rounding is monotone, so `near` is never below a float that fits; it can be one step too far.
    let near = (f64::from(x0) + eps) as f32;
    if within(near, x0, eps) {
        near
    } else {
        near.next_down()
    }
}

/// Whether `x - x0 <= eps` in exact arithmetic.
#[inline]
fn within(x: f32, x0: f32, eps: f64) -> bool {
    let (a, b) = (f64::from(x), -f64::from(x0));
    let sum = a + b;
    // Knuth's two-sum: `sum + error` is a + b without rounding (The Art of Computer Programming 2, 4.2.2).
    let shadow = sum - a;
    let error = (a - (sum - shadow)) + (b - shadow);
    // An infinite sum has no error term (NaN); it is inside only an infinite ball.
    sum < eps || (sum <= eps && (error <= 0.0 || error.is_nan()))
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "hand-computed values are exact")]
mod tests {
    use proofmark_domain::Norm;
    use proptest::prelude::*;

    use super::*;
    use crate::row::{self, reference};

    #[test]
    fn a_clamp_to_ball_and_box() {
        let mut x = [0.0, 1.0, 0.55, 0.9, -3.0];
        row::project(
            Norm::Linf,
            &mut x,
            &[0.5, 0.5, 0.5, 0.9, 0.25],
            &[0.0; 5],
            &[1.0, 1.0, 1.0, 0.9, 1.0],
            0.125,
        );
        assert_eq!(x, [0.375, 0.625, 0.55, 0.9, 0.125]);
    }

    #[test]
    fn bounds_are_the_last_floats_inside() {
        // 8/255 is not a binary fraction, and 1 + 8/255 rounds up.
        for x0 in [
            0.0_f32,
            0.1,
            0.3,
            0.7,
            1.0,
            -0.2,
            1e-30,
            1e30,
            f32::from_bits(1),
        ] {
            for eps in [8.0 / 255.0, 0.1, 1e-9, 1e-42, 3e4] {
                let (lo, hi) = linf_bounds(x0, f32::MIN, f32::MAX, eps);
                let inside = |x: f32| within(x, x0, eps) && within(-x, -x0, eps);
                assert!(inside(lo) && inside(hi), "{x0} {eps}: [{lo}, {hi}]");
                assert!(
                    !inside(lo.next_down()) && !inside(hi.next_up()),
                    "{x0} {eps}: [{lo}, {hi}] could be wider"
                );
            }
        }
    }

    #[test]
    fn exact_arithmetic_decides_where_f64_cannot() {
        // -1 is 1 + 1e-30 away from 1e-30: outside, though the difference rounds to 1 in f64.
        let (lo, hi) = linf_bounds(1e-30, -2.0, 2.0, 1.0);
        assert_eq!((lo, hi), ((-1.0_f32).next_up(), 1.0));
    }

    #[test]
    fn the_box_the_mask_and_extreme_budgets() {
        assert_eq!(linf_bounds(0.5, 0.45, 1.0, 0.125), (0.45, 0.625));
        assert_eq!(linf_bounds(0.5, 0.5, 0.5, 0.125), (0.5, 0.5));
        assert_eq!(linf_bounds(0.5, 0.0, 1.0, 0.0), (0.5, 0.5));
        assert_eq!(linf_bounds(0.5, 0.0, 1.0, f64::NAN), (0.5, 0.5));
        assert_eq!(linf_bounds(0.5, 0.0, 1.0, f64::INFINITY), (0.0, 1.0));
        assert_eq!(
            linf_bounds(0.5, f32::NEG_INFINITY, f32::INFINITY, 1e300),
            (f32::MIN, f32::MAX)
        );
    }

    #[test]
    fn distance_is_nan_if_any_feature_is_nan() {
        assert!(Linf.distance(&[f32::NAN, 1.0], &[0.0, 0.0]).is_nan());
        assert!(Linf.distance(&[1.0, f32::NAN, 2.0], &[0.0; 3]).is_nan());
        assert_eq!(
            Linf.distance(&[1.0, -3.0], &[0.0, 0.5]).to_bits(),
            3.5_f64.to_bits()
        );
    }

    proptest! {
        #[test]
        fn laws(case in reference::case()) {
            reference::check_laws(Norm::Linf, &case)?;
        }
    }
}
