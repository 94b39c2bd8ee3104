//! How values lie in a range: all that a limit of their mean is computed from.
//!
//! **Maths.** The range has [`POINTS`] points, denser towards its ends (`u^2 (3 - 2u)` at even `u`), where rare outcomes
//! leave most values. A value between two points counts at both, in the parts that keep its place: the mean stays what
//! it is, and the values lie a little further apart than they do. Weights drawn from a Dirichlet distribution
//! ([`crate::Arm::bounded`]) spread over the points then spread no less than over the values: given the weight of a value,
//! what its two points share of it has the value as its mean.
//!
//! The points depend on the range alone. The histogram of all less that of a group is that of the others.
//!
//! **Weights.** The rows at a place count as `(sum w)^2 / sum w^2` rows of the weight `sum w^2 / sum w` each, in parts of the
//! heaviest row there is: a sum over them has the mean and the variance that it has.
//!
//! **Cost.** A few dozen numbers whatever the number of rows. Counts keep four decimals.

use proofmark_domain::Interval;
use serde::{Deserialize, Serialize};

use crate::gaffke_weighted::Place;

/// Places of a histogram, both ends of the range included.
pub(crate) const POINTS: usize = 33;

/// Where they lie in a range from 0 to 1.
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
    /// Place and count, in the order of the places; empty places are left out.
    counts: Vec<(usize, f64)>,
    /// What a row weighs at each of those places, in parts of the heaviest; none: all weigh as much.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    weights: Vec<f64>,
}

/// By place, two sums over the values there.
type Placed = [[f64; 2]; POINTS];

impl Histogram {
    /// Of values with weights above 0, which count as `n` together. None where the range is not finite, a value lies
    /// outside it, or there is no value.
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

    /// Of values of rows, or of many rows each: the value, what they weigh in parts of the heaviest row there is (of all
    /// groups), and the sum of the squares of that. None as above.
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

    /// By place, as how many rows the values count and what each of them weighs.
    fn of_rows(range: Interval, rows: &[(f64, f64); POINTS]) -> Option<Self> {
        let mut found = Self::sparse(range, &rows.map(|r| r.0));
        let own = found.counts.iter().map(|(at, _)| six_digits(rows[*at].1));
        let weights: Vec<f64> = own.collect();
        if weights.iter().any(|w| *w != 1.0) {
            found.weights = weights;
        }
        (!found.counts.is_empty()).then_some(found)
    }

    /// Whether rows weigh more or less than each other.
    pub(crate) fn is_weighted(&self) -> bool {
        !self.weights.is_empty()
    }

    /// Places from 0 to 1, as how many rows they count, and what each weighs.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Place> + '_ {
        let weights = self.weights.iter().copied().chain(std::iter::repeat(1.0));
        let rows = self.counts.iter().zip(weights);
        rows.map(|((at, count), weight)| Place {
            value: PLACES[*at],
            count: *count,
            weight,
        })
    }

    /// What the values cannot leave.
    pub fn range(&self) -> Interval {
        self.range
    }

    /// As how many rows they count.
    pub fn n(&self) -> f64 {
        self.counts.iter().map(|c| c.1).sum()
    }

    /// Places from 0 to 1, with their counts.
    pub(crate) fn places(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.counts.iter().map(|(at, count)| (PLACES[*at], *count))
    }

    /// The mean of the values, but for rounding.
    pub fn mean(&self) -> f64 {
        self.range.low + (self.range.high - self.range.low) * self.mean_place()
    }

    fn mean_place(&self) -> f64 {
        let of = |p: Place| p.count * p.weight;
        let sum: f64 = self.rows().map(|p| p.value * of(p)).sum();
        sum / self.rows().map(of).sum::<f64>()
    }

    /// The variance of the values as they lie at the places.
    pub fn variance(&self) -> f64 {
        let width = self.range.high - self.range.low;
        let mean = self.mean_place();
        let of = |p: Place| p.count * p.weight;
        let squares = self.rows().map(|p| of(p) * (p.value - mean).powi(2));
        width * width * squares.sum::<f64>() / self.rows().map(of).sum::<f64>()
    }

    /// Whether it is one that [`Self::new`] could have made: what is read from a file may not be.
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

    /// The values without those of `part`, which weigh `share` of all, counted as `n`. None where the ranges differ or
    /// nothing is left.
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

    /// What the weights and their squares come to without those of `part`, place by place.
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
            // What is left over by rounding counts as no more rows than there were.
            let count = (left * left / (squares - own_squares).max(0.0)).min(all.count);
            if left > 0.0 && count > 0.0 {
                rows[at] = (count, (left / count).min(1.0));
            }
        }
        Self::of_rows(self.range, &rows)
    }

    /// The same values from `factor` times as many rows.
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

/// Counts keep four decimals.
const DECIMALS: f64 = 1e4;

/// A weight of at most 1.
fn six_digits(weight: f64) -> f64 {
    let digits = 5 - weight.log10().floor() as i32;
    if digits > 300 {
        return weight;
    }
    let power = 10_f64.powi(digits);
    ((weight * power).round() / power).min(1.0)
}

/// Sums of values at the places of a range; none where it is not finite, or a value lies outside it.
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
        // Differences and squares of what is in range are off by rounding.
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

/// The last place at or below `x`, which is in `[0, 1]`.
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

    /// A quarter of the way from the place 1/2 to the next one, which is at 17/32.
    #[test]
    fn a_value_counts_at_both_its_neighbours() {
        let next = PLACES[17];
        let h = of(&[0.5 + (next - 0.5) / 4.0]);
        assert_eq!(h.counts, [(16, 0.75), (17, 0.25)]);
        assert_eq!(of(&[0.0, 1.0, 1.0]).counts, [(0, 1.0), (32, 2.0)]);
    }

    #[test]
    fn what_is_out_of_range_has_no_histogram() {
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
    fn what_no_values_make_is_not_sound() {
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
        fn all_less_a_group_is_the_others(
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
        fn all_less_a_group_is_the_others_by_weight(
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
