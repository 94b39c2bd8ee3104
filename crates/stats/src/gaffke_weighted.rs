//! Gaffke's limit of the mean of weighted values: see [`crate::gaffke`].
//!
//! **Maths.** Of rows with weights `w` and values `v` the mean is at most `c` just where that of `w (v - c)` is at most 0,
//! which is a mean of values in a known range if weights have a largest one. With gamma variables `G` for the rows, and one
//! more row of the largest weight at the end of the range, the upper limit is the `c` at which `sum w (v - c) G` is above 0
//! as seldom as asked. Where all weights are the same that is Gaffke's limit. Weights may go with the values, and a value
//! that has not been seen yet may weigh as much as any.
//!
//! **Computation.** Rows at one place of the histogram count as `k = (sum w)^2 / sum w^2` of the weight
//! `s = sum w^2 / sum w`: their part has the mean and the variance it has. With `a = s (v - c)` the saddlepoint `t` solves
//! `sum k a / (1 - t a) = 0`, and
//!
//! ```text
//! r^2 = 2 sum k ln(1 - t a),   u = t sqrt(sum k a^2 / (1 - t a)^2),   z = r + ln(u / r) / r
//! ```
//!
//! **What is promised.** No more than of Gaffke's limits, and that no row could weigh more than the heaviest there is:
//! `docs/audit-statistics.md` has how often it held in simulations.
//!
//! **Reference.** As there; for `w (v - c)` as one variable the ratio estimators of survey sampling: Cochran, *Sampling
//! Techniques* (1977), chapter 6.

use crate::crossing;

/// The rows at one place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// From 0 to 1.
    pub(crate) value: f64,
    /// As how many rows they count.
    pub(crate) count: f64,
    /// What each weighs, in parts of the heaviest there may be.
    pub(crate) weight: f64,
}

/// The upper limit of the mean that leaves the tail of a normal variable beyond `z` standard errors, above 0.
pub(crate) fn upper(seen: impl Iterator<Item = Place>, z: f64) -> f64 {
    /// The last mean that is tried, on the way from the estimate to the end of the range.
    const LAST: f64 = 1.0 - 1e-9;
    let unseen = Place {
        value: 1.0,
        count: 1.0,
        weight: 1.0,
    };
    let places: Vec<Place> = seen.chain([unseen]).collect();
    let all: f64 = places.iter().map(|p| p.count * p.weight).sum();
    let mean = places.iter().map(|p| p.count * p.weight * p.value);
    let mean = mean.sum::<f64>() / all;
    let rest = 1.0 - mean;
    if rest <= 0.0 {
        return 1.0;
    }
    let squares = places
        .iter()
        .map(|p| p.count * (p.weight * (p.value - mean)).powi(2));
    // As if the sum were normal.
    let guess = z * squares.sum::<f64>().sqrt() / (all * rest);
    let probes: Vec<f64> = [1.2 * guess, 3.0 * guess]
        .into_iter()
        .filter(|g| *g < LAST)
        .chain([LAST])
        .collect();
    let found = crossing(&probes, |way| z - beyond(&places, mean + rest * way));
    mean + rest * found.unwrap_or(0.0)
}

/// The normal variable that stands for the chance that the mean is above `c`, which is above the estimate.
fn beyond(places: &[Place], c: f64) -> f64 {
    let moved = |p: &Place| (p.count, p.weight * (p.value - c));
    let largest = places.iter().map(|p| moved(p).1).fold(0.0, f64::max);
    // Up to here all logarithms are defined.
    let end = 1.0 / largest;
    let slopes = |t: f64| {
        places.iter().map(moved).fold((0.0, 0.0), |(g, h), (k, a)| {
            let tilted = a / (1.0 - t * a);
            (g + k * tilted, h + k * tilted * tilted)
        })
    };
    let (mut low, mut high) = (0.0, end);
    let mut t = 0.0;
    let mut curve = 0.0;
    for _ in 0..200 {
        let (slope, second) = slopes(t);
        curve = second;
        let scale = second.sqrt();
        if slope.abs() <= 1e-10 * scale {
            break;
        }
        if slope < 0.0 {
            low = t;
        } else {
            high = t;
        }
        let step = t - slope / second;
        t = if step > low && step < high {
            step
        } else {
            f64::midpoint(low, high)
        };
    }
    let logs = places.iter().map(moved).map(|(k, a)| k * (-t * a).ln_1p());
    let r = (2.0 * logs.sum::<f64>()).max(0.0).sqrt();
    let u = t * curve.sqrt();
    // At the mean itself both are 0, and their quotient is rounding.
    if r < 1e-5 { r } else { r + (u / r).ln() / r }
}
