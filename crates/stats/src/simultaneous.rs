//! Simultaneous intervals for differences and ratios of many groups, and for the two groups furthest apart.
//!
//! **Maths.** Every contrast takes MOVER's limits ([`crate::mover_difference`], [`crate::mover_ratio`]) from those of
//! its groups ([`Arm`]), at one critical value for all contrasts:
//!
//! * all pairs of `k` groups: `q / sqrt 2`, where the range of `k` normal variables exceeds `q` with probability
//!   `1 - level`. By Hayter's theorem that also holds for unequal variances, and for ratios as for differences: divided
//!   by the groups' true rates, the contrast `a / b` is a difference again. For two groups it is 1.96.
//! * `m` groups with one other group, or with all rows: Sidak's `level^(1/m)`.
//!
//! An estimate with an upward bias ([`Arm::folded`]) is reduced by its average bias where its lower limit is used: only
//! the rest of the distance is random error that may cancel.
//!
//! **The furthest apart.** The largest difference `D = max |d|` is bounded
//!
//! * below by the largest lower limit of any contrast *at the critical value for all*, since any may be the largest by
//!   chance;
//! * above by the largest upper limit of any contrast *at the value for one*: it is too small only if that of the truly
//!   largest contrast is, which is one fixed contrast (intersection-union).
//!
//! The smallest ratio mirrors it. A bootstrap of max - min does not work: the maximum of noisy rates is biased upwards,
//! and percentiles of it cover the truth in as little as none of the runs.
//!
//! **Several sets** (true- and false-positive rates): the end that guards against chance takes `level^(1/m)`; by
//! Royen's Gaussian correlation inequality that holds for any dependence between them.
//!
//! **Why this.** `tests/simulation.rs` measures the family-wise false alarms of equal groups of 30, nominally 5 %, and
//! the width for two groups relative to Newcombe's. Sidak over all pairs is the same at two groups and 3 % wider at
//! ten; a keyed bootstrap of max T breaks if a group has no event. Wilson's limits alarm too often (9 % at a rate of
//! 0.005 with 30 of one group and 1000 of the other).
//!
//! **Reference.** Agresti, Bini, Bertaccini and Ryu, Biometrics 64 (2008): studentised range with score intervals;
//! Hayter, Annals of Statistics 12 (1984); Sidak, JASA 62 (1967); Royen, Far East J. Theor. Stat. 48 (2014); Berger,
//! Technometrics 24 (1982).

use std::f64::consts::SQRT_2;

use proofmark_domain::Interval;

use crate::spread::Spread;
use crate::{
    Arm, crossing, mover_difference, mover_ratio, normal_critical, normal_tail, range_critical,
    range_tail,
};

/// Scale on which two estimates are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// The first minus the second. The summary of many contrasts is the largest absolute value.
    Difference,
    /// The first divided by the second. The summary of many contrasts is the smallest, or the inverse of the largest if
    /// that is smaller.
    Ratio,
}

impl Scale {
    /// Returns the value further from equality, where no summary of many contrasts can pass equality: the larger
    /// difference, the smaller ratio. NaN if either is NaN: `f64::max` would ignore it, and an unknown end would be
    /// lost.
    pub fn further(self, a: f64, b: f64) -> f64 {
        match self {
            _ if a.is_nan() || b.is_nan() => f64::NAN,
            Self::Difference => a.max(b),
            Self::Ratio => a.min(b),
        }
    }

    /// Returns the ends of the interval of one contrast, in either direction: the one nearer to equality, and the
    /// farther.
    pub fn ends(self, i: Interval) -> (f64, f64) {
        match self {
            Self::Difference => (self.further(i.low, -i.high), self.further(i.high, -i.low)),
            Self::Ratio => (
                self.further(i.high, 1.0 / i.low),
                self.further(i.low, 1.0 / i.high),
            ),
        }
    }
}

/// A group and the estimate it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The group.
    pub first: Arm,
    /// The other group; if the group is compared with all rows, all rows but its own.
    pub second: Arm,
    /// Share of all rows that belong to the group, if it is compared with all rows; else 0.
    pub share: f64,
}

impl Pair {
    /// Creates the comparison of a group with another.
    pub fn new(first: Arm, second: Arm) -> Self {
        Self {
            first,
            second,
            share: 0.0,
        }
    }

    /// Returns the difference or ratio; a ratio by 0 is infinite (`1 / share` against all rows), 0 by 0 is NaN.
    pub fn value(&self, scale: Scale) -> f64 {
        let (a, b) = (self.first.value(), self.second.value());
        match scale {
            Scale::Difference => self.whole(scale, a - b),
            Scale::Ratio => self.whole(scale, a / b),
        }
    }

    /// Returns the interval at the critical value `z`.
    pub fn interval(&self, scale: Scale, z: f64) -> Interval {
        let i = Limits::new(&self.first, z).against(Limits::new(&self.second, z), scale);
        Interval {
            low: self.whole(scale, i.low),
            high: self.whole(scale, i.high),
        }
    }

    /// Converts a comparison with the others to one with all rows: all = share x group + (1 - share) x others.
    fn whole(&self, scale: Scale, v: f64) -> f64 {
        let others = 1.0 - self.share;
        match scale {
            Scale::Difference => others * v,
            Scale::Ratio if self.share == 0.0 => v,
            Scale::Ratio if v.is_infinite() => 1.0 / self.share,
            Scale::Ratio => v / (self.share * v + others),
        }
    }

    /// Returns the same estimates as if from `factor` times as many rows.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self {
            first: self.first.scaled(factor),
            second: self.second.scaled(factor),
            share: self.share,
        }
    }
}

/// Estimates of one rate for several groups, and which of them are compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Contrasts {
    /// Each group with every other one.
    Within(Vec<Arm>),
    /// Each group with one other group, or with all rows.
    Against(Vec<Pair>),
}

impl Contrasts {
    /// Returns whether there is nothing to compare.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Within(arms) => arms.len() < 2,
            Self::Against(pairs) => pairs.is_empty(),
        }
    }

    /// Returns the critical value at which all contrasts together hold the level.
    pub fn critical(&self, level: f64) -> f64 {
        match self {
            Self::Within(arms) => range_critical(1.0 - level, arms.len()) / SQRT_2,
            Self::Against(pairs) => normal_critical(sidak_level(level, pairs.len())),
        }
    }

    /// Returns the probability that some contrast lies further than `z` standard errors from the truth.
    pub fn tail(&self, z: f64) -> f64 {
        match self {
            Self::Within(arms) => range_tail(z * SQRT_2, arms.len()),
            Self::Against(pairs) => sidak_p(2.0 * normal_tail(z), pairs.len()),
        }
    }

    /// Returns the interval of every contrast, jointly valid with probability `level`: each pair once, the first group
    /// with the second, third, ...; or each group with its other.
    pub fn intervals(&self, scale: Scale, level: f64) -> Vec<Interval> {
        let z = self.critical(level);
        let mut all = Vec::new();
        self.each(scale, z, |i| all.push(i));
        all
    }

    /// Returns the contrasts' values in the same order.
    pub fn values(&self, scale: Scale) -> Vec<f64> {
        match self {
            Self::Within(arms) => pairs(arms)
                .map(|(a, b)| Pair::new(a.clone(), b.clone()).value(scale))
                .collect(),
            Self::Against(pairs) => pairs.iter().map(|p| p.value(scale)).collect(),
        }
    }

    /// Returns the interval of the largest difference, or of the smallest ratio, of level `level`.
    pub fn extreme(&self, scale: Scale, level: f64) -> Interval {
        self.extreme_of_many(scale, level, level)
    }

    /// Returns the same if this set is one of several and the largest (smallest) of all is wanted: `near` is the level
    /// of the end nearer to equality, which guards against chance in any set, `far` that of the other end, which only
    /// the truly largest contrast can miss.
    pub fn extreme_of_many(&self, scale: Scale, near: f64, far: f64) -> Interval {
        self.extreme_at(scale, self.critical(near), normal_critical(far))
    }

    /// Returns the same at these critical values, since [`Self::critical`] is expensive to compute repeatedly.
    pub fn extreme_at(&self, scale: Scale, near: f64, far: f64) -> Interval {
        match scale {
            Scale::Difference => Interval {
                low: self.nearest(scale, near).clamp(0.0, f64::INFINITY),
                high: self.farthest(scale, far),
            },
            Scale::Ratio => Interval {
                low: self.farthest(scale, far),
                high: self.nearest(scale, near).clamp(0.0, 1.0),
            },
        }
    }

    /// Returns the end nearer to equality: the gap that the most certain contrast shows at least; past equality if none
    /// is certain.
    pub fn nearest(&self, scale: Scale, z: f64) -> f64 {
        match self {
            Self::Within(arms) => Spread::new(arms).nearest(scale, z),
            Self::Against(pairs) => furthest_of(pairs, scale, z, nothing(scale), |e| e.0),
        }
    }

    /// Returns the end further from equality: the gap that the least certain contrast shows at most.
    fn farthest(&self, scale: Scale, z: f64) -> f64 {
        match self {
            Self::Within(arms) => Spread::new(arms).farthest(scale, z),
            Self::Against(pairs) => furthest_of(pairs, scale, z, equality(scale), |e| e.1),
        }
    }

    fn each(&self, scale: Scale, z: f64, mut see: impl FnMut(Interval)) {
        match self {
            Self::Within(arms) => {
                // Limits are expensive and pairs are many, so compute the limits once per group.
                let limits: Vec<_> = arms.iter().map(|a| Limits::new(a, z)).collect();
                for (a, b) in pairs(&limits) {
                    see(a.against(*b, scale));
                }
            }
            Self::Against(pairs) => pairs.iter().for_each(|p| see(p.interval(scale, z))),
        }
    }

    /// Returns the p-value of the gap if the true gap were `null`: the level at which the interval's nearer end just
    /// touches `null` is one minus it.
    pub fn p_value(&self, scale: Scale, null: f64) -> f64 {
        /// Beyond 8 standard errors p-values make no practical difference.
        const PROBES: [f64; 3] = [2.0, 4.0, 8.0];
        if self.is_empty() {
            return 1.0;
        }
        let mut spread = match self {
            Self::Within(arms) => Some(Spread::new(arms)),
            Self::Against(_) => None,
        };
        // Distance of the nearer end beyond the null; it falls as z grows. A contrast not beyond it at one z is not at
        // any larger one.
        let beyond = |z: f64| {
            let near = match &mut spread {
                Some(spread) => spread.nearest_and_keep(scale, z, null),
                None => self.nearest(scale, z),
            };
            match scale {
                Scale::Difference => near - null,
                Scale::Ratio => null - near,
            }
        };
        // If the end is not beyond the null, or is NaN, the p-value is 1.
        crossing(&PROBES, beyond).map_or(1.0, |z| self.tail(z))
    }

    /// Returns the same estimates as if from `factor` times as many rows.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        match self {
            Self::Within(arms) => Self::Within(arms.iter().map(|a| a.scaled(factor)).collect()),
            Self::Against(pairs) => Self::Against(pairs.iter().map(|p| p.scaled(factor)).collect()),
        }
    }
}

/// Returns the summary of no contrasts.
fn nothing(scale: Scale) -> f64 {
    match scale {
        Scale::Difference => f64::NEG_INFINITY,
        Scale::Ratio => f64::INFINITY,
    }
}

fn equality(scale: Scale) -> f64 {
    match scale {
        Scale::Difference => 0.0,
        Scale::Ratio => 1.0,
    }
}

/// Returns the furthest of one end of all pairs' intervals.
fn furthest_of(
    pairs: &[Pair],
    scale: Scale,
    z: f64,
    start: f64,
    end: impl Fn((f64, f64)) -> f64,
) -> f64 {
    let ends = pairs.iter().map(|p| end(scale.ends(p.interval(scale, z))));
    ends.fold(start, |a, b| scale.further(a, b))
}

/// An estimate's limits (`ends`), and the centres of its errors towards the lower (`below`) and the upper limit
/// (`above`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) below: f64,
    pub(crate) above: f64,
    pub(crate) ends: Interval,
}

impl Limits {
    pub(crate) fn new(arm: &Arm, z: f64) -> Self {
        let (above, ends) = arm.limited(z);
        Self {
            below: above - arm.bias(z),
            above,
            ends,
        }
    }

    pub(crate) fn against(self, other: Self, scale: Scale) -> Interval {
        let mover = |a: f64, b: f64| match scale {
            Scale::Difference => mover_difference((a, self.ends), (b, other.ends)),
            Scale::Ratio => mover_ratio((a, self.ends), (b, other.ends)),
        };
        Interval {
            low: mover(self.below, other.above).low,
            high: mover(self.above, other.below).high,
        }
    }
}

fn pairs<T>(all: &[T]) -> impl Iterator<Item = (&T, &T)> {
    all.iter()
        .enumerate()
        .flat_map(move |(i, a)| all[i + 1..].iter().map(move |b| (a, b)))
}

/// Returns the level that each of `m` statements needs for all to hold at `level` (Sidak).
pub fn sidak_level(level: f64, m: usize) -> f64 {
    level.powf(1.0 / m.max(1) as f64)
}

/// Returns the probability that the smallest of `m` p-values is at most `p` (Sidak).
pub fn sidak_p(p: f64, m: usize) -> f64 {
    -(m as f64 * (-p.min(1.0)).ln_1p()).exp_m1()
}

#[cfg(test)]
#[path = "simultaneous_tests.rs"]
mod tests;
