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
//! **Cost.** A few dozen numbers whatever the number of rows. Counts keep four decimals.

use proofmark_domain::Interval;
use serde::{Deserialize, Serialize};

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
}

impl Histogram {
    /// Of values with weights above 0, which count as `n` together. None where the range is not finite, a value lies
    /// outside it, or there is no value.
    pub fn new(
        range: Interval,
        values: impl IntoIterator<Item = (f64, f64)>,
        n: f64,
    ) -> Option<Self> {
        let width = range.high - range.low;
        if !(width >= 0.0 && width.is_finite() && n > 0.0 && n.is_finite()) {
            return None;
        }
        let mut counts = [0.0; POINTS];
        let mut weight = 0.0;
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
            counts[above] += of * (1.0 - share);
            if share > 0.0 {
                counts[above + 1] += of * share;
            }
            weight += of;
        }
        (weight > 0.0).then(|| Self::sparse(range, &counts.map(|c| c * n / weight)))
    }

    fn sparse(range: Interval, counts: &[f64; POINTS]) -> Self {
        const DECIMALS: f64 = 1e4;
        let kept = counts.iter().enumerate().filter_map(|(at, c)| {
            let count = (c * DECIMALS).round() / DECIMALS;
            (count > 0.0).then_some((at, count))
        });
        Self {
            range,
            counts: kept.collect(),
        }
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
        let sum: f64 = self.places().map(|(place, count)| place * count).sum();
        self.range.low + (self.range.high - self.range.low) * sum / self.n()
    }

    /// The variance of the values as they lie at the places.
    pub fn variance(&self) -> f64 {
        let width = self.range.high - self.range.low;
        let n = self.n();
        let mean = self.places().map(|(v, c)| v * c).sum::<f64>() / n;
        let squares = self.places().map(|(v, c)| c * (v - mean).powi(2));
        width * width * squares.sum::<f64>() / n
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
    }

    /// The values without those of `part`, which weigh `share` of all, counted as `n`. None where the ranges differ or
    /// nothing is left.
    #[must_use]
    pub fn without(&self, part: &Self, share: f64, n: f64) -> Option<Self> {
        let same = self.range == part.range && self.is_sound() && part.is_sound();
        if !(same && share < 1.0 && n > 0.0) {
            return None;
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

    /// The same values from `factor` times as many rows.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let more = |(at, count): &(usize, f64)| (*at, count * factor);
        Self {
            range: self.range,
            counts: self.counts.iter().map(more).collect(),
        }
    }
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
        };
        assert!(broken(&[(0, 1.0), (32, 2.0)], UNIT).is_sound());
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
        fn the_place_below(x in 0.0..=1.0_f64) {
            let at = at_or_below(x);
            prop_assert!(PLACES[at] <= x && PLACES.get(at + 1).is_none_or(|next| *next > x));
        }
    }
}
