//! Histogram of values in a range, the only input of the limits of their mean.
//!
//! **Maths.** The range has [`POINTS`] points, denser towards its ends (`u^2 (3 - 2u)` at even `u`), where rare
//! outcomes leave most values. A value between two points counts at both, in the shares that keep its position: the
//! mean is unchanged, and the spread is a little larger. Weights drawn from a Dirichlet distribution
//! ([`crate::Arm::bounded`]) then spread no less over the points than over the values: given the weight of a value, the
//! parts of it that its two points get have the value as their mean.
//!
//! The points depend only on the range, so the histogram of all rows minus that of a group is that of the other rows.
//!
//! **Weights.** The rows at a place count as `(sum w)^2 / sum w^2` rows of the weight `sum w^2 / sum w` each, relative
//! to the heaviest row: this keeps the mean and the variance of a sum over them.
//!
//! **Cost.** A few dozen numbers, whatever the number of rows. Counts keep four decimals.

use proofmark_domain::Interval;
use serde::{Deserialize, Serialize};

use crate::gaffke_weighted::Place;

/// Number of points, including both ends of the range.
pub(crate) const POINTS: usize = 33;

/// Positions of the points in a range from 0 to 1.
const PLACES: [f64; POINTS] = {
    let mut places = [0.0; POINTS];
    let mut at = 0;
    while at < POINTS {
        let u = at as f64 / (POINTS - 1) as f64;
        places[at] = u * u * (3.0 - 2.0 * u);
        at += 1;
    }
    places
};

/// Values with their counts, in a finite range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    range: Interval,
    /// Index of the point and count, in ascending order; empty points are left out.
    counts: Vec<(usize, f64)>,
    /// Weight of a row at each of those points, relative to the heaviest; empty if all rows have the full weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    weights: Vec<f64>,
}

/// Two sums over the values at each point.
type Placed = [[f64; 2]; POINTS];

impl Histogram {
    /// Creates a histogram of values with weights above 0, which count as `n` together. `None` if the range is not
    /// finite, a value lies outside it, there is no value, or `n` is not positive and finite.
    pub fn new(
        range: Interval,
        values: impl IntoIterator<Item = (f64, f64)>,
        n: f64,
    ) -> Option<Self> {
        let placed = place(range, values.into_iter().map(|(v, w)| (v, [w, 0.0])))?;
        let weight: f64 = placed.iter().map(|p| p[0]).sum();
        let counts = placed.map(|p| p[0] * n / weight);
        (weight > 0.0 && n > 0.0 && n.is_finite()).then(|| Self::sparse(range, &counts))
    }

    /// Creates a histogram from rows, or from groups of rows with one value each: the value, their weight relative to
    /// the heaviest row there is (over all groups), and the sum of the squares of those weights. `None` if the range is
    /// not finite, a value lies outside it, or there is no value.
    pub fn weighted(
        range: Interval,
        values: impl IntoIterator<Item = (f64, f64, f64)>,
    ) -> Option<Self> {
        let placed = place(range, values.into_iter().map(|(v, w, q)| (v, [w, q])))?;
        let rows = placed.map(|[w, q]| {
            if w > 0.0 {
                (w * w / q, q / w)
            } else {
                (0.0, 1.0)
            }
        });
        Self::of_rows(range, &rows)
    }

    fn sparse(range: Interval, counts: &[f64; POINTS]) -> Self {
        let kept = counts.iter().enumerate().filter_map(|(at, c)| {
            let count = (c * DECIMALS).round() / DECIMALS;
            (count > 0.0).then_some((at, count))
        });
        Self {
            range,
            counts: kept.collect(),
            weights: Vec::new(),
        }
    }

    /// Creates a histogram from the number of rows and the weight of each, by point.
    fn of_rows(range: Interval, rows: &[(f64, f64); POINTS]) -> Option<Self> {
        let mut found = Self::sparse(range, &rows.map(|r| r.0));
        let own = found.counts.iter().map(|(at, _)| six_digits(rows[*at].1));
        let weights: Vec<f64> = own.collect();
        if weights.iter().any(|w| *w != 1.0) {
            found.weights = weights;
        }
        (!found.counts.is_empty()).then_some(found)
    }

    /// Returns whether some row has less than the full weight.
    pub(crate) fn is_weighted(&self) -> bool {
        !self.weights.is_empty()
    }

    /// Returns, per point, the position from 0 to 1, the number of rows and the weight of each.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Place> + '_ {
        let weights = self.weights.iter().copied().chain(std::iter::repeat(1.0));
        let rows = self.counts.iter().zip(weights);
        rows.map(|((at, count), weight)| Place {
            value: PLACES[*at],
            count: *count,
            weight,
        })
    }

    /// Returns the range that the values cannot leave.
    pub fn range(&self) -> Interval {
        self.range
    }

    /// Returns the number of rows they count as.
    pub fn n(&self) -> f64 {
        self.counts.iter().map(|c| c.1).sum()
    }

    /// Returns the positions from 0 to 1 with their counts.
    pub(crate) fn places(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.counts.iter().map(|(at, count)| (PLACES[*at], *count))
    }

    /// Returns the mean of the values, up to rounding.
    pub fn mean(&self) -> f64 {
        self.range.low + (self.range.high - self.range.low) * self.mean_place()
    }

    fn mean_place(&self) -> f64 {
        let of = |p: Place| p.count * p.weight;
        let sum: f64 = self.rows().map(|p| p.value * of(p)).sum();
        sum / self.rows().map(of).sum::<f64>()
    }

    /// Returns the variance of the values as placed on the points.
    pub fn variance(&self) -> f64 {
        let width = self.range.high - self.range.low;
        let mean = self.mean_place();
        let of = |p: Place| p.count * p.weight;
        let squares = self.rows().map(|p| of(p) * (p.value - mean).powi(2));
        width * width * squares.sum::<f64>() / self.rows().map(of).sum::<f64>()
    }

    /// Returns whether the histogram is valid; one read from a file may not be.
    pub fn is_sound(&self) -> bool {
        let Interval { low, high } = self.range;
        let ordered = self.counts.array_windows().all(|[a, b]| a.0 < b.0);
        let counted = |c: &(usize, f64)| c.0 < POINTS && c.1 > 0.0 && c.1.is_finite();
        low <= high
            && (high - low).is_finite()
            && !self.counts.is_empty()
            && ordered
            && self.counts.iter().all(counted)
            && (self.weights.is_empty() || self.weights.len() == self.counts.len())
            && self.weights.iter().all(|w| *w > 0.0 && *w <= 1.0)
    }

    /// Returns the values without those of `part`, which have the share `share` of the total weight; the rest counts as
    /// `n` rows. `None` if the ranges differ, a histogram or argument is invalid, or nothing is left.
    #[must_use]
    pub fn without(&self, part: &Self, share: f64, n: f64) -> Option<Self> {
        let same = self.range == part.range && self.is_sound() && part.is_sound();
        if !(same && share < 1.0 && n > 0.0) {
            return None;
        }
        if self.is_weighted() || part.is_weighted() {
            return self.without_rows(part);
        }
        let (all, own) = (self.n(), part.n());
        let mut counts = [0.0; POINTS];
        for (at, count) in &self.counts {
            counts[*at] += count / all;
        }
        for (at, count) in &part.counts {
            counts[*at] -= share * count / own;
        }
        let counts = counts.map(|c| c.max(0.0));
        let left: f64 = counts.iter().sum();
        (left > 0.0).then(|| Self::sparse(self.range, &counts.map(|c| c * n / left)))
    }

    /// Subtracts the weights of `part` and their squares at each point.
    fn without_rows(&self, part: &Self) -> Option<Self> {
        let mut rows = [(0.0, 1.0); POINTS];
        let placed = |h: &Self| -> Vec<(usize, Place)> {
            h.counts.iter().map(|c| c.0).zip(h.rows()).collect()
        };
        let own = placed(part);
        for (at, all) in placed(self) {
            let sums = |p: Place| [p.count * p.weight, p.count * p.weight * p.weight];
            let own = own.iter().find(|o| o.0 == at);
            let [own, own_squares] = own.map_or([0.0; 2], |o| sums(o.1));
            let [weight, squares] = sums(all);
            let left = (weight - own).max(0.0);
            // A remainder that is only rounding error counts as no more rows than there were.
            let count = (left * left / (squares - own_squares).max(0.0)).min(all.count);
            if left > 0.0 && count > 0.0 {
                rows[at] = (count, (left / count).min(1.0));
            }
        }
        Self::of_rows(self.range, &rows)
    }

    /// Returns the same values as if from `factor` times as many rows.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let more = |(at, count): &(usize, f64)| (*at, count * factor);
        Self {
            range: self.range,
            counts: self.counts.iter().map(more).collect(),
            weights: self.weights.clone(),
        }
    }
}

/// Factor that rounds counts to four decimals.
const DECIMALS: f64 = 1e4;

/// Rounds a weight of at most 1 to six significant digits.
fn six_digits(weight: f64) -> f64 {
    let digits = 5 - weight.log10().floor() as i32;
    if digits > 300 {
        return weight;
    }
    let power = 10_f64.powi(digits);
    ((weight * power).round() / power).min(1.0)
}

/// Sums values at the points of a range; `None` if it is not finite, or a value lies outside it.
fn place(range: Interval, values: impl Iterator<Item = (f64, [f64; 2])>) -> Option<Placed> {
    let width = range.high - range.low;
    if !(width >= 0.0 && width.is_finite()) {
        return None;
    }
    let mut placed = [[0.0; 2]; POINTS];
    for (value, of) in values {
        let place = if width > 0.0 {
            (value - range.low) / width
        } else {
            value - range.low
        };
        // Differences and squares of values in range have rounding errors.
        if !(-1e-9..=1.0 + 1e-9).contains(&place) {
            return None;
        }
        let place = place.clamp(0.0, 1.0);
        let above = at_or_below(place);
        let share = if above + 1 < POINTS {
            (place - PLACES[above]) / (PLACES[above + 1] - PLACES[above])
        } else {
            0.0
        };
        for (at, part) in [(above, 1.0 - share), (above + 1, share)] {
            if part > 0.0 {
                placed[at][0] += of[0] * part;
                placed[at][1] += of[1] * part;
            }
        }
    }
    Some(placed)
}

/// Returns the last point at or below `x`, which is in `[0, 1]`.
fn at_or_below(x: f64) -> usize {
    const SLOTS: usize = 256;
    const FIRST: [usize; SLOTS + 1] = {
        let mut first = [0; SLOTS + 1];
        let mut slot = 0;
        let mut at = 0;
        while slot <= SLOTS {
            let from = slot as f64 / SLOTS as f64;
            while at + 1 < POINTS && PLACES[at + 1] <= from {
                at += 1;
            }
            first[slot] = at;
            slot += 1;
        }
        first
    };
    let mut at = FIRST[(x * SLOTS as f64) as usize];
    while at + 1 < POINTS && PLACES[at + 1] <= x {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNIT: Interval = Interval {
        low: 0.0,
        high: 1.0,
    };

    fn of(values: &[f64]) -> Histogram {
        let weighted = values.iter().map(|v| (*v, 1.0));
        Histogram::new(UNIT, weighted, values.len() as f64).expect("in range")
    }

    /// A quarter of the way from the point at 1/2 to the next one, which has `u = 17/32`.
    #[test]
    fn a_value_counts_at_both_its_neighbours() {
        let next = PLACES[17];
        let h = of(&[0.5 + (next - 0.5) / 4.0]);
        assert_eq!(h.counts, [(16, 0.75), (17, 0.25)]);
        assert_eq!(of(&[0.0, 1.0, 1.0]).counts, [(0, 1.0), (32, 2.0)]);
    }

    #[test]
    fn values_out_of_range_have_no_histogram() {
        let one = |v: f64| Histogram::new(UNIT, [(v, 1.0)], 1.0);
        assert!(one(1.1).is_none() && one(-0.1).is_none() && one(f64::NAN).is_none());
        let line = Interval {
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
        };
        assert!(Histogram::new(line, [(0.0, 1.0)], 1.0).is_none());
        assert!(Histogram::new(UNIT, [], 1.0).is_none());
        let point = Interval {
            low: 0.1,
            high: 0.1,
        };
        let h = Histogram::new(point, [(0.1, 1.0), (0.1, 1.0)], 2.0).expect("in range");
        assert!(h.is_sound() && h.mean() == 0.1);
    }

    #[test]
    fn impossible_histograms_are_not_sound() {
        let broken = |counts: &[(usize, f64)], range| Histogram {
            range,
            counts: counts.to_vec(),
            weights: Vec::new(),
        };
        assert!(broken(&[(0, 1.0), (32, 2.0)], UNIT).is_sound());
        for weights in [&[1.0][..], &[0.5, 2.0], &[0.5, 0.0], &[f64::NAN, 1.0]] {
            let h = Histogram {
                weights: weights.to_vec(),
                ..broken(&[(0, 1.0), (32, 2.0)], UNIT)
            };
            assert!(!h.is_sound(), "{weights:?}");
        }
        for counts in [
            &[][..],
            &[(33, 1.0)],
            &[(1, -1.0)],
            &[(1, f64::NAN)],
            &[(2, 1.0), (1, 1.0)],
        ] {
            assert!(!broken(counts, UNIT).is_sound(), "{counts:?}");
        }
    }

    proptest! {
        #[test]
        fn the_mean_stays(values in proptest::collection::vec(0.0..=1.0_f64, 1..60)) {
            let h = of(&values);
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            prop_assert!((h.mean() - mean).abs() < 1e-3 / values.len() as f64);
            prop_assert!(h.is_sound() && (h.n() - values.len() as f64).abs() < 2e-3);
        }

        #[test]
        fn all_rows_minus_a_group_are_the_others(
            group in proptest::collection::vec(0.0..=1.0_f64, 1..30),
            others in proptest::collection::vec(0.0..=1.0_f64, 1..30),
        ) {
            let all = of(&[group.clone(), others.clone()].concat());
            let share = group.len() as f64 / (group.len() + others.len()) as f64;
            let left = all.without(&of(&group), share, others.len() as f64).expect("some are left");
            prop_assert!((left.mean() - of(&others).mean()).abs() < 2e-3);
            prop_assert!((left.n() - others.len() as f64).abs() < 2e-3);
        }

        #[test]
        fn all_rows_minus_a_group_are_the_others_by_weight(
            group in proptest::collection::vec((0.0..=1.0_f64, 0.01..=1.0_f64), 1..30),
            others in proptest::collection::vec((0.0..=1.0_f64, 0.01..=1.0_f64), 1..30),
        ) {
            let of = |values: &[(f64, f64)]| {
                Histogram::weighted(UNIT, values.iter().map(|(v, w)| (*v, *w, w * w))).expect("in range")
            };
            let left = of(&[group.clone(), others.clone()].concat()).without(&of(&group), 0.5, 1.0);
            let (left, right) = (left.expect("some are left"), of(&others));
            let mean = others.iter().map(|(v, w)| v * w).sum::<f64>() / others.iter().map(|o| o.1).sum::<f64>();
            prop_assert!((right.mean() - mean).abs() < 2e-3 && (left.mean() - mean).abs() < 1e-2);
            prop_assert!(left.is_sound());
            let n = |h: &Histogram| h.rows().map(|p| p.count * p.weight).sum::<f64>();
            prop_assert!((n(&left) - n(&right)).abs() < 1e-2 * n(&right) + 1e-2);
        }

        #[test]
        fn equal_weights_are_none(values in proptest::collection::vec(0.0..=1.0_f64, 1..30)) {
            let all = Histogram::weighted(UNIT, values.iter().map(|v| (*v, 1.0, 1.0)));
            prop_assert_eq!(all.expect("in range"), of(&values));
        }

        #[test]
        fn the_place_below(x in 0.0..=1.0_f64) {
            let at = at_or_below(x);
            prop_assert!(PLACES[at] <= x && PLACES.get(at + 1).is_none_or(|next| *next > x));
        }
    }
}
