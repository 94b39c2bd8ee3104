//! `L1` ∩ box: soft thresholding with a ceiling; the threshold is found by selection among the breakpoints.
//!
//! **Maths.** With pull `u` and room `c`, minimise `½ Σ (d - u)²` over `0 <= d <= c`, `Σ d <= eps`. The KKT conditions
//! give `d_i = clip(u_i - lambda, 0, c_i)` with one `lambda > 0` that spends the budget. The sum falls piecewise
//! linearly in `lambda` and bends at `u_i` (the feature starts to move) and `u_i - c_i` (it meets the box). Halving a
//! bracket at a sampled median of the breakpoints settles half of the features each time (as in quickselect), so the
//! expected cost is linear; on the remaining piece `lambda` solves a linear equation. Rescaling the difference to the
//! budget would also land inside, but not on the nearest point.
//!
//! **Reference.** Duchi, Shalev-Shwartz, Singer and Chandra, *Efficient projections onto the l1-ball for learning in
//! high dimensions* (ICML 2008); with bounds, Kiwiel, *Breakpoint searching algorithms for the continuous quadratic
//! knapsack problem* (Math. Prog. 112, 2008), and for attacks Croce and Hein, *Mind the box* (ICML 2021).
//!
//! **The steepest step** in the box is a fractional knapsack (Dantzig, *Discrete-variable extremum problems*,
//! Operations Research 5, 1957): features in order of slope, each up to its room. A feature that meets its bound is
//! written beyond it, by the maximum step of one feature, so that the following projection keeps it at the bound.

use burn::tensor::Tensor;
use proofmark_stats::random::Stream;

use super::point::{Point, finite, room, sum_of, up_to};
use super::{Ball, Stride};

pub(super) struct L1;

impl Ball for L1 {
    fn distance(&self, x: &[f32], x0: &[f32]) -> f64 {
        sum_of(x, x0, f64::abs)
    }

    fn moved(&self, point: &Point<'_>) -> f64 {
        sum_of(point.x, point.x0, |d| finite(d.abs()))
    }

    fn clipped(&self, point: &Point<'_>) -> f64 {
        let [total] = point.sum(|u, c| [up_to(u, c)]);
        total
    }

    fn lengths(&self, d: Tensor<2>) -> Tensor<2> {
        d.abs().sum_dim(1)
    }

    fn dual(&self, g: Tensor<2>) -> Tensor<2> {
        g.abs().max_dim(1)
    }

    fn project(&self, point: &mut Point<'_>, radius: f64) {
        if self.clipped(point) <= radius {
            point.clip();
            return;
        }
        let ramps = point
            .features()
            .filter(|&(u, c)| u > 0.0 && c > 0.0)
            .map(|(pull, room)| Ramp { pull, room })
            .collect();
        let lambda = threshold(ramps, radius);
        point.write(|u, c| if u - lambda < c { u - lambda } else { c });
        point.nudge(radius, |p| self.moved(p), f64::abs);
    }

    /// Moves the steepest features along `g`, each by at most `length / features`, and as many of them as make the
    /// step, after clipping to the box, this long.
    fn ascend(&self, point: &mut Point<'_>, g: &[f32], stride: &Stride) {
        let length = stride.length;
        let features = (f64::from(stride.spread) * g.len() as f64).ceil() as usize;
        let mut order: Vec<usize> = (0..g.len()).filter(|i| g[*i] != 0.0).collect();
        let mut few = features.clamp(1, order.len().max(1));
        let most = length / few as f64;
        let taken =
            |i: &usize, p: &Point<'_>| room(p.x[*i], g[*i], p.lower[*i], p.upper[*i]).min(most);
        // Ties go to the lower feature, so that the result does not depend on the sort.
        let steeper = |a: &usize, b: &usize| g[*b].abs().total_cmp(&g[*a].abs()).then(a.cmp(b));
        // Double the number of steepest features until they can take the whole length, without sorting the rest.
        while few < order.len() {
            order.select_nth_unstable_by(few - 1, steeper);
            if order[..few].iter().map(|i| taken(i, point)).sum::<f64>() >= length {
                break;
            }
            few = (2 * few).min(order.len());
        }
        order.truncate(few);
        order.sort_unstable_by(steeper);
        let mut left = length;
        for i in order {
            let by = taken(&i, point).min(left);
            let meets_bound = by < most.min(left);
            let step = if meets_bound { most } else { by };
            point.x[i] = (f64::from(point.x[i]) + step.copysign(f64::from(g[i]))) as f32;
            left -= by;
            if left <= 0.0 {
                break;
            }
        }
    }

    /// Draws uniformly in the ball: `f` of `f + 1` exponentials over their sum are uniform in the simplex; random signs
    /// extend that to the ball.
    fn scatter(&self, point: &mut Point<'_>, radius: f64, stream: &mut Stream) {
        let e: Vec<f64> = (0..=point.x.len())
            .map(|_| -(1.0 - stream.uniform_f64()).ln())
            .collect();
        let total = e.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        for (x, e) in point.x.iter_mut().zip(e) {
            let sign = if stream.next_u32() & 1 == 0 {
                1.0
            } else {
                -1.0
            };
            *x += (sign * radius * e / total) as f32;
        }
    }
}

/// Displacement of one feature as a function of the threshold: `clip(pull - lambda, 0, room)`.
#[derive(Clone, Copy)]
struct Ramp {
    pull: f64,
    room: f64,
}

impl Ramp {
    fn at(self, lambda: f64) -> f64 {
        let d = self.pull - lambda;
        if d <= 0.0 {
            0.0
        } else if d < self.room {
            d
        } else {
            self.room
        }
    }

    fn meets_box(self) -> f64 {
        self.pull - self.room
    }
}

/// Returns the `lambda` at which the ramps add up to `eps`; at 0 they add up to more.
fn threshold(mut open: Vec<Ramp>, eps: f64) -> f64 {
    let (mut lo, mut hi) = (0.0, open.iter().fold(0.0, |m: f64, r| m.max(r.pull)));
    // Contribution of the settled features between lo and hi: `full + (sloped - slopes·lambda)`.
    let (mut full, mut sloped, mut slopes) = (0.0, 0.0, 0.0);
    let mut slow = false;
    loop {
        open.retain(|r| {
            if r.pull <= lo {
                return false;
            }
            if r.meets_box() >= hi {
                full += r.room;
                return false;
            }
            if r.meets_box() <= lo && r.pull >= hi {
                sloped += r.pull;
                slopes += 1.0;
                return false;
            }
            true
        });
        if open.is_empty() {
            break;
        }
        // Use the midpoint when the sampled median hardly separates the breakpoints.
        let pivot = if slow {
            lo + (hi - lo) / 2.0
        } else {
            sampled_median(&open, lo, hi)
        };
        let spent =
            full + (sloped - slopes * pivot) + open.iter().map(|r| r.at(pivot)).sum::<f64>();
        if spent > eps {
            lo = pivot;
        } else {
            hi = pivot;
        }
        let before = open.len();
        slow = !slow
            && before > 64
            && open
                .iter()
                .filter(|r| r.pull <= lo || r.meets_box() >= hi)
                .count()
                * 8
                < before;
    }
    let lambda = (full + sloped - eps) / slopes;
    // Without a slope the sum is flat (up to rounding), and every threshold in the bracket is a solution.
    if lambda.is_nan() {
        hi
    } else {
        lambda.max(lo).min(hi)
    }
}

/// Returns a breakpoint strictly inside the bracket, near the median of those of the open ramps.
///
/// Every open ramp has at least one such breakpoint, so each pivot closes at least one end: the search is finite.
fn sampled_median(open: &[Ramp], lo: f64, hi: f64) -> f64 {
    const SAMPLES: usize = 31;
    let mut found = [0.0; 2 * SAMPLES];
    let mut n = 0;
    let stride = open.len().div_ceil(SAMPLES);
    for r in open.iter().step_by(stride) {
        for b in [r.pull, r.meets_box()] {
            if lo < b && b < hi {
                found[n] = b;
                n += 1;
            }
        }
    }
    let (_, median, _) = found[..n].select_nth_unstable_by(n / 2, f64::total_cmp);
    *median
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "hand-computed values are exact")]
mod tests {
    use proofmark_domain::Norm;
    use proptest::prelude::*;

    use crate::row::{self, reference};

    fn project(x: &[f32], x0: &[f32], lower: &[f32], upper: &[f32], eps: f64) -> Vec<f32> {
        let mut x = x.to_vec();
        row::project(Norm::L1, &mut x, x0, lower, upper, eps);
        x
    }

    #[test]
    fn hand_computed() {
        let (lo, hi) = ([-9.0; 3], [9.0; 3]);
        // Threshold 2.5; the smallest feature does not move.
        assert_eq!(
            project(&[3.0, -4.0, 1.0], &[0.0; 3], &lo, &hi, 2.0),
            [0.5, -1.5, 0.0]
        );
        // One feature takes the whole budget.
        assert_eq!(
            project(&[0.0, 5.0, 1.0], &[0.0; 3], &lo, &hi, 0.5),
            [0.0, 0.5, 0.0]
        );
        // Ties share the budget equally.
        assert_eq!(
            project(&[1.0, -1.0, 1.0], &[0.0; 3], &lo, &hi, 0.75),
            [0.25, -0.25, 0.25]
        );
        // The box stops the first at 0.25; threshold 3.5 leaves 0.5 for the second.
        assert_eq!(
            project(&[8.0, 4.0, 1.0], &[0.0; 3], &lo, &[0.25, 9.0, 9.0], 0.75),
            [0.25, 0.5, 0.0]
        );
    }

    #[test]
    fn clipping_first_would_be_wrong() {
        // Clipping first gives (1, 1, 0.9), and thresholding then ties the first two; the true pulls are 10 and 1.
        assert_eq!(
            project(&[10.0, 1.0, 0.9], &[0.0; 3], &[0.0; 3], &[1.0; 3], 0.5),
            [0.5, 0.0, 0.0]
        );
    }

    #[test]
    fn the_threshold_of_many_equal_and_of_geometric_breakpoints() {
        let n = 5000;
        let equal = project(
            &vec![1.0; n],
            &vec![0.0; n],
            &vec![0.0; n],
            &vec![1.0; n],
            50.0,
        );
        reference::assert_near(&equal, &vec![0.01; n]);
        // Magnitudes over 60 binades, where neither a sampled median nor a midpoint separates well.
        let x: Vec<f32> = (0..n)
            .map(|i| 2.0_f32.powf(30.0 - i as f32 * 60.0 / n as f32))
            .collect();
        let room: Vec<f32> = x
            .iter()
            .enumerate()
            .map(|(i, x)| x * [0.3, 2.0, 0.01][i % 3])
            .collect();
        let case = reference::Case {
            x: x.clone(),
            x0: vec![0.0; n],
            lower: vec![0.0; n],
            upper: room.clone(),
            eps: 1000.0,
        };
        let got = project(&x, &case.x0, &case.lower, &room, 1000.0);
        for (a, b) in got.iter().zip(case.exact(Norm::L1)) {
            assert!((f64::from(*a) - b).abs() < 1e-4, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn laws(case in reference::case()) {
            reference::check_laws(Norm::L1, &case)?;
        }
    }
}
