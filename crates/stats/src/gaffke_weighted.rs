//! Gaffke's limit of the mean of weighted values: see [`crate::gaffke`].
//!
//! **Maths.** For rows with weights `w` and values `v`, the mean is at most `c` exactly if that of `w (v - c)` is at
//! most 0, which is a mean of values in a known range if the weights have a maximum. With gamma variables `G` for the
//! rows, and one more row of the maximum weight at the end of the range, the upper limit is the `c` at which
//! `sum w (v - c) G` is above 0 with the wanted tail probability. If all weights are equal this is Gaffke's limit.
//! Weights may depend on the values, and a value not yet observed may have any weight up to the maximum.
//!
//! **Computation.** Rows at one place of the histogram count as `k = (sum w)^2 / sum w^2` rows of the weight
//! `s = sum w^2 / sum w`, which keeps the mean and the variance of their part. With `a = s (v - c)` the saddlepoint `t`
//! solves `sum k a / (1 - t a) = 0`, and
//!
//! ```text
//! r^2 = 2 sum k ln(1 - t a),   u = t sqrt(sum k a^2 / (1 - t a)^2),   z = r + ln(u / r) / r
//! ```
//!
//! **Guarantee.** The same as for Gaffke's limits, and only if no row could be heavier than the heaviest one present:
//! `docs/audit-statistics.md` lists how often the limit held in simulations.
//!
//! **Reference.** See there; for treating `w (v - c)` as one variable, the ratio estimators of survey sampling:
//! Cochran, *Sampling Techniques* (1977), chapter 6.

use crate::crossing;

/// The rows at one place of a histogram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Value, from 0 to 1.
    pub(crate) value: f64,
    /// Number of rows they count as.
    pub(crate) count: f64,
    /// Weight of each row, relative to the heaviest possible one.
    pub(crate) weight: f64,
}

/// Returns the upper limit of the mean whose tail probability is that of a normal variable beyond `z`, `z` above 0.
pub(crate) fn upper(seen: impl Iterator<Item = Place>, z: f64) -> f64 {
    /// Last mean to try, as a share of the way from the estimate to the end of the range.
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
    // Start as if the sum were normal.
    let guess = z * squares.sum::<f64>().sqrt() / (all * rest);
    let probes: Vec<f64> = [1.2 * guess, 3.0 * guess]
        .into_iter()
        .filter(|g| *g < LAST)
        .chain([LAST])
        .collect();
    let found = crossing(&probes, |way| z - beyond(&places, mean + rest * way));
    mean + rest * found.unwrap_or(0.0)
}

/// Returns the `z` of the normal tail probability that the mean is above `c`, where `c` is above the estimate.
fn beyond(places: &[Place], c: f64) -> f64 {
    let moved = |p: &Place| (p.count, p.weight * (p.value - c));
    let largest = places.iter().map(|p| moved(p).1).fold(0.0, f64::max);
    // All logarithms are defined up to here.
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
    // At the mean both are 0, and their quotient is only rounding error.
    if r < 1e-5 { r } else { r + (u / r).ln() / r }
}
