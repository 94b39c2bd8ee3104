//! `L2` ∩ box: one multiplier for the features that are free; the others stop at the box.
//!
//! **Maths.** With pull `u` and room `c`, minimise `½ Σ (d - u)²` over `0 <= d <= c`, `‖d‖ <= eps`. The KKT conditions
//! give `d_i = min(mu·u_i, c_i)` with one `mu` in `(0, 1)` for which `Σ d_i² = eps²`. As a function of `t = mu²` the
//! left side, `Σ min(t·u², c²)`, is concave, increasing and piecewise linear. Newton's method from the left increases
//! monotonically: the set of saturated features only grows, the last step solves its linear piece exactly, and in each
//! pass the product of residual and slope falls at least fourfold, so a few passes are enough.
//!
//! **Reference.** Boyd and Vandenberghe, *Convex Optimization* (2004), section 5.5.3 (KKT); for the finite Newton
//! method on such a sum, Cominetti, Mascarenhas and Silva, *A Newton's method for the continuous quadratic knapsack
//! problem* (Math. Prog. Comp. 6, 2014).
//!
//! **The steepest step** solves the same problem with slopes in place of pulls: with slope `u = |g|` and room `c`
//! towards the bound that `g` points at, maximise `Σ u d` over `0 <= d <= c`, `‖d‖ <= length`; again
//! `d_i = min(mu·u_i, c_i)`. A unit vector cut off at the bounds is too short: in an image half of the gradient points
//! out of the box, and half of the step is lost. The step is written before it is cut off at the bounds, so that the
//! following projection sees from the excess which features stay at their bounds.

use burn::tensor::Tensor;
use proofmark_stats::random::Stream;

use super::point::{Point, finite, room, sum_of, up_to};
use super::{Ball, Stride};

pub(super) struct L2;

impl Ball for L2 {
    fn distance(&self, x: &[f32], x0: &[f32]) -> f64 {
        sum_of(x, x0, |d| d * d).sqrt()
    }

    fn moved(&self, point: &Point<'_>) -> f64 {
        sum_of(point.x, point.x0, |d| finite(d * d)).sqrt()
    }

    fn clipped(&self, point: &Point<'_>) -> f64 {
        let [squares] = point.sum(|u, c| [up_to(u, c) * up_to(u, c)]);
        squares.sqrt()
    }

    fn lengths(&self, d: Tensor<2>) -> Tensor<2> {
        d.square().sum_dim(1).sqrt()
    }

    fn dual(&self, g: Tensor<2>) -> Tensor<2> {
        g.square().sum_dim(1).sqrt()
    }

    fn project(&self, point: &mut Point<'_>, radius: f64) {
        if self.clipped(point) <= radius {
            point.clip();
            return;
        }
        let mu = multiplier(point, radius);
        point.write(|u, c| if mu * u < c { mu * u } else { c });
        point.nudge(radius, |p| self.moved(p), |d| d * d);
    }

    /// Steps along `g`, as far as makes the step this long after clipping to the box.
    fn ascend(&self, point: &mut Point<'_>, g: &[f32], stride: &Stride) {
        let boxes = point.lower.iter().zip(point.upper);
        let features = point.x.iter().zip(g).zip(boxes);
        let slope_and_room = features.map(|((x, g), (lower, upper))| {
            let slope = f64::from(*g).abs();
            (slope, room(*x, *g, *lower, *upper))
        });
        let mu = scale(&slope_and_room, stride.length);
        for (x, g) in point.x.iter_mut().zip(g) {
            *x = (f64::from(*x) + mu * f64::from(*g)) as f32;
        }
    }

    /// Draws uniformly in the ball: a normal direction times `U^(1/features)`.
    fn scatter(&self, point: &mut Point<'_>, radius: f64, stream: &mut Stream) {
        let direction: Vec<f64> = (0..point.x.len())
            .map(|_| f64::from(stream.normal()))
            .collect();
        let norm = direction
            .iter()
            .map(|v| v * v)
            .sum::<f64>()
            .sqrt()
            .max(f64::MIN_POSITIVE);
        let features = point.x.len() as f64;
        let radius = radius * stream.uniform_f64().powf(1.0 / features) / norm;
        for (x, d) in point.x.iter_mut().zip(direction) {
            *x += (radius * d) as f32;
        }
    }
}

/// Returns the `mu` with `‖min(mu·slope, room)‖ = length`, for pairs of slope and room.
pub(super) fn scale(features: &(impl Iterator<Item = (f64, f64)> + Clone), length: f64) -> f64 {
    let mut mu = 0.0;
    loop {
        let (mut full, mut open) = (0.0, 0.0);
        for (slope, room) in features.clone() {
            if mu * slope < room {
                open += slope * slope;
            } else {
                full += room * room;
            }
        }
        let next = ((length * length - full).max(0.0) / open).sqrt();
        // Also false for 0/0 and for no open feature: once the set of full features stops growing, so does `mu`.
        if next > mu && next.is_finite() {
            mu = next;
        } else {
            return mu;
        }
    }
}

/// Returns the `mu` with `‖min(mu·u, c)‖ = eps`.
fn multiplier(point: &Point<'_>, eps: f64) -> f64 {
    let mut mu = 0.0;
    loop {
        let [saturated, free] = point.sum(|u, c| {
            if mu * u < c {
                [0.0, u * u]
            } else {
                [c * c, 0.0]
            }
        });
        // If no feature is free, the budget is spent to within rounding.
        let next = ((eps * eps - saturated).max(0.0) / free).sqrt();
        // Also false for 0/0: once the saturated set stops growing, `mu` stays the same, bit for bit.
        if next > mu && next.is_finite() {
            mu = next;
        } else {
            return mu;
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
        row::project(Norm::L2, &mut x, x0, lower, upper, eps);
        x
    }

    #[test]
    fn hand_computed() {
        // The ball alone is a rescaling: 0.5 along a 3-4-5 triangle.
        reference::assert_near(
            &project(&[3.0, -4.0], &[0.0; 2], &[-9.0; 2], &[9.0; 2], 0.5),
            &[0.3, -0.4],
        );
        assert_eq!(
            project(&[2.0, 0.0], &[0.0; 2], &[-9.0; 2], &[9.0; 2], 0.5),
            [0.5, 0.0]
        );
        // The box stops the first feature at 0.3; the second gets the rest of 0.5² - 0.3².
        reference::assert_near(
            &project(&[10.0, 1.0], &[0.0; 2], &[0.0; 2], &[0.3, 9.0], 0.5),
            &[0.3, 0.4],
        );
        // Around another origin, with one feature frozen.
        reference::assert_near(
            &project(
                &[1.0, 0.2, 0.9],
                &[0.4, 0.2, 0.1],
                &[0.0, 0.2, 0.0],
                &[1.0, 0.2, 1.0],
                0.1,
            ),
            &[0.46, 0.2, 0.18],
        );
    }

    #[test]
    fn clipping_first_and_rescaling_after_would_be_wrong() {
        // Clip to (1, 1), rescale to 0.5: (0.35, 0.35). The nearest point follows the stronger pull instead.
        let x = project(&[10.0, 1.0], &[0.0; 2], &[0.0; 2], &[1.0; 2], 0.5);
        let s = 0.5 / 101.0_f64.sqrt();
        reference::assert_near(&x, &[10.0 * s, s]);
    }

    #[test]
    fn repair_works_where_x_has_finer_floats_than_x0() {
        // x lands at -3e-17, where a float step of x is far too small to bring 0.25 + 1 ulp back to 0.25.
        let eps = 0.25_f64.next_down();
        reference::assert_near(&project(&[1.25], &[-0.25], &[-0.25], &[0.0], eps), &[0.0]);
    }

    #[test]
    fn many_saturation_passes_still_end() {
        // Room falls by 2^-k while pull is constant: each pass saturates a few more features.
        let n = 200;
        let room: Vec<f32> = (0..n).map(|k| 0.5_f32.powf(k as f32 / 4.0)).collect();
        let x = project(&vec![1e6; n], &vec![0.0; n], &vec![0.0; n], &room, 0.01);
        let case = reference::Case {
            x: vec![1e6; n],
            x0: vec![0.0; n],
            lower: vec![0.0; n],
            upper: room,
            eps: 0.01,
        };
        reference::assert_near(&x, &case.exact(Norm::L2));
    }

    proptest! {
        #[test]
        fn laws(case in reference::case()) {
            reference::check_laws(Norm::L2, &case)?;
        }
    }
}
