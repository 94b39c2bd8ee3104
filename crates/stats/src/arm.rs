//! One group's estimate and its limits at any critical value, from which differences and ratios are built.
//!
//! **Rates** take limits half-way between mid-P and Clopper and Pearson's (see [`crate::mid_p`] for the reason); with
//! weights the counts are fractional.
//! **Means of values in a known range** take Gaffke's limits, from the histogram of the values ([`crate::gaffke`]). A
//! sum of independent means (two rates, the two samples behind an area under a curve) gets its limits by MOVER: the
//! distances add up as squares.
//! **Roots** of such means take the roots of the limits.
//! **Estimates that are normal on their own scale** (log odds ratios) take Student's limits: `value -+ t se`, where `t`
//! has the tail probability of a normal variable beyond `z`.
//! **Means of absolute values** `sum w |g|` of estimates `g` are biased upwards: on average they are too large, never
//! too small, and by the triangle inequality at most by the sum of `w |error|`. The lower limit subtracts a quantile of
//! that noise, by the Wilson-Hilferty approximation for the gamma distribution with its mean and variance; the upper
//! limit is Student's.
//!
//! **Weights.** A weighted rate `p` has the variance `v = ((1 - p)^2 S1 + p^2 S0) / W^2`, where `W` is the sum of the
//! weights and `S1` and `S0` are the sums of their squares over successes and over the other rows (linearisation, since
//! `W` is random as well). The effective `n` is the size of an unweighted sample whose rate has that variance,
//! `p (1 - p) / v`, and the effective count is `p` times it. This is right whether or not weights are related to the
//! outcome, conservative for weights calibrated to known totals, and ignores clusters. Where `p` is 0 or 1, `v` carries
//! no information: Kish's `W^2 / (S0 + S1)` is used instead, which is right only for weights unrelated to the outcome.
//!
//! **Reference.** Korn and Graubard, Survey Methodology 24 (1998); Kish, *Survey Sampling* (1965); Wilson and Hilferty,
//! PNAS 17 (1931) for the quantile.

use std::sync::Arc;

use proofmark_domain::Interval;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::mid_p::half_way_limits;
use crate::{Histogram, gaffke, normal_tail};

/// Beyond this many degrees of freedom Student's distribution is treated as normal.
const NORMAL_FROM: f64 = 1e5;

/// A group's estimate, independent of those of the other groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    value: f64,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Rate {
        n: f64,
    },
    Student {
        variance: f64,
        n: f64,
        range: Interval,
    },
    Bounded {
        samples: Arc<[Sample]>,
        range: Interval,
    },
    Root(Box<Arm>),
    Folded {
        variance: f64,
        n: f64,
        noise: Noise,
    },
}

/// One of the independent samples whose means add up to an estimate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Factor of its mean in the sum: 1 for a mean by itself, negative if it is subtracted.
    pub factor: f64,
    /// Values of the sample.
    pub values: Histogram,
}

impl Sample {
    /// Returns how far this sample moves the estimate's lower and upper limits away from it.
    fn distances(&self, z: f64) -> (f64, f64) {
        let (mean, i) = (self.values.mean(), gaffke::limits(&self.values, z));
        let below = self.factor.abs() * (mean - i.low).max(0.0);
        let above = self.factor.abs() * (i.high - mean).max(0.0);
        if self.factor < 0.0 {
            (above, below)
        } else {
            (below, above)
        }
    }
}

/// Upward bias and noise that random errors add to a mean of absolute values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Its mean, at least 0.
    pub mean: f64,
    /// Its variance, at least 0.
    pub variance: f64,
}

impl Noise {
    /// Returns the value that it exceeds with the probability that a normal variable exceeds `z`.
    fn most(self, z: f64) -> f64 {
        if self.mean <= 0.0 {
            return z * self.variance.sqrt();
        }
        let shape = self.mean * self.mean / self.variance;
        let third = 1.0 / (9.0 * shape);
        self.mean * (1.0 - third + z * third.sqrt()).max(0.0).powi(3)
    }
}

impl Arm {
    /// Creates a rate: `successes` of `n`, fractional if there are weights. `None` if the counts are invalid or `n` is
    /// 0.
    pub fn rate(successes: f64, n: f64) -> Option<Self> {
        let sound = n > 0.0 && n.is_finite() && successes >= 0.0;
        // Sums of weights have rounding errors.
        let value = successes / n;
        (sound && value <= 1.0 + 1e-9).then_some(Self {
            value: value.min(1.0),
            kind: Kind::Rate { n },
        })
    }

    /// Creates a rate of weighted rows from the weights of the successes and of all rows, each with the sum of their
    /// squares.
    pub fn weighted_rate(successes: (f64, f64), all: (f64, f64)) -> Option<Self> {
        let n = effective_size_of_rate(successes, all)?;
        Self::rate(successes.0 / all.0 * n, n)
    }

    /// Creates an estimate that is normal with estimated variance, from its value, the variance *of that estimate*, the
    /// (effective) sample size behind it, and the range it cannot leave.
    ///
    /// A variance of 0 does not mean certainty: the half-width is then the width of `range` times the upper limit of a
    /// rate with a count of 0 of `n`, which allows for rare values not seen.
    pub fn student(value: f64, variance: f64, n: f64, range: Interval) -> Option<Self> {
        let sound = value.is_finite() && variance >= 0.0 && n > 0.0 && range.low <= range.high;
        (sound && value >= range.low - 1e-9 && value <= range.high + 1e-9).then_some(Self {
            value: value.clamp(range.low, range.high),
            kind: Kind::Student { variance, n, range },
        })
    }

    /// Creates a mean of values in a known range, or a sum of means of independent samples; the sum cannot leave
    /// `range`.
    pub fn bounded(value: f64, samples: Vec<Sample>, range: Interval) -> Option<Self> {
        let sound = |s: &Sample| s.factor.is_finite() && s.values.is_sound();
        let known = value.is_finite() && !samples.is_empty() && samples.iter().all(sound);
        (known && range.low <= range.high).then(|| Self {
            value,
            kind: Kind::Bounded {
                samples: samples.into(),
                range,
            },
        })
    }

    /// Creates the square root of an estimate; `None` if the estimate is negative.
    pub fn root(square: Self) -> Option<Self> {
        (square.value >= 0.0).then(|| Self {
            value: square.value.sqrt(),
            kind: Kind::Root(Box::new(square)),
        })
    }

    /// Creates a mean of absolute values of estimates, at least 0, from its value, its variance if their signs were
    /// known, the (effective) sample size, and the noise that random errors add at most.
    pub fn folded(value: f64, variance: f64, n: f64, noise: Noise) -> Option<Self> {
        let sound = value.is_finite() && value >= 0.0 && variance >= 0.0 && n > 0.0;
        (sound && noise.mean >= 0.0 && noise.variance >= 0.0).then_some(Self {
            value,
            kind: Kind::Folded { variance, n, noise },
        })
    }

    /// Returns the estimate.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Returns the limits whose tail probabilities are those of a normal variable beyond `-z` and `z`.
    pub fn limits(&self, z: f64) -> Interval {
        match &self.kind {
            Kind::Rate { n } => half_way_limits((self.value * n).min(*n), *n, z),
            Kind::Student { variance, n, range } => {
                let half = if *variance > 0.0 {
                    student(z, n - 1.0) * variance.sqrt()
                } else if z > 0.0 {
                    (range.high - range.low) * half_way_limits(0.0, *n, z).high
                } else {
                    0.0
                };
                Interval {
                    low: (self.value - half).max(range.low),
                    high: (self.value + half).min(range.high),
                }
            }
            Kind::Bounded { samples, range } => {
                let (mut below, mut above) = (0.0_f64, 0.0_f64);
                for sample in samples.iter() {
                    let distances = sample.distances(z);
                    below = below.hypot(distances.0);
                    above = above.hypot(distances.1);
                }
                Interval {
                    low: (self.value - below).max(range.low),
                    high: (self.value + above).min(range.high),
                }
            }
            Kind::Root(square) => {
                let i = square.limits(z);
                Interval {
                    low: i.low.max(0.0).sqrt(),
                    high: i.high.max(0.0).sqrt(),
                }
            }
            Kind::Folded { variance, n, noise } => Interval {
                low: (self.value - noise.most(z)).max(0.0),
                high: self.value + student(z, n - 1.0) * variance.sqrt(),
            },
        }
    }

    /// Returns the same estimate as if from `factor` times as many rows.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let kind = match &self.kind {
            Kind::Rate { n } => Kind::Rate { n: n * factor },
            Kind::Bounded { samples, range } => {
                let more = |s: &Sample| Sample {
                    factor: s.factor,
                    values: s.values.scaled(factor),
                };
                Kind::Bounded {
                    samples: samples.iter().map(more).collect(),
                    range: *range,
                }
            }
            Kind::Root(square) => Kind::Root(Box::new(square.scaled(factor))),
            Kind::Folded { variance, n, noise } => Kind::Folded {
                variance: variance / factor,
                n: n * factor,
                noise: Noise {
                    mean: noise.mean / factor.sqrt(),
                    variance: noise.variance / factor,
                },
            },
            Kind::Student { variance, n, range } => Kind::Student {
                variance: variance / factor,
                n: n * factor,
                range: *range,
            },
        };
        Self {
            value: self.value,
            kind,
        }
    }

    pub(crate) fn limited(&self, z: f64) -> (f64, Interval) {
        (self.value, self.limits(z))
    }

    /// Returns the part of the distance to the lower limit at `z` that is average upward bias rather than random error:
    /// it does not cancel against other estimates' errors.
    pub(crate) fn bias(&self, z: f64) -> f64 {
        match self.kind {
            Kind::Folded { noise, .. } => noise.mean.min(noise.most(z)).min(self.value),
            _ => 0.0,
        }
    }
}

/// Returns the number of rows of equal weight whose rate has the variance of this one, from the weights of the
/// successes and of all rows, each with the sum of their squares. `None` if the weights sum to 0.
pub fn effective_size_of_rate(successes: (f64, f64), all: (f64, f64)) -> Option<f64> {
    let kish = effective_sample_size(all.0, all.1)?;
    let rate = successes.0 / all.0;
    // Sums of weights have rounding errors.
    if rate <= 1e-9 || rate >= 1.0 - 1e-9 {
        return Some(kish);
    }
    let others = (all.1 - successes.1).max(0.0);
    let squares = (1.0 - rate).powi(2) * successes.1 + rate * rate * others;
    Some(rate * (1.0 - rate) * all.0 * all.0 / squares)
}

/// Returns Kish's effective sample size of weights with this sum and this sum of squares.
///
/// ```
/// assert_eq!(proofmark_stats::effective_sample_size(4.0, 10.0), Some(1.6)); // weights 1 and 3
/// assert_eq!(proofmark_stats::effective_sample_size(0.0, 0.0), None);
/// ```
pub fn effective_sample_size(weight: f64, squares: f64) -> Option<f64> {
    let n = weight * weight / squares;
    (weight > 0.0 && squares > 0.0 && n.is_finite()).then_some(n)
}

/// Returns Student's quantile with the tail probability of `z`; infinite below one degree of freedom.
fn student(z: f64, freedom: f64) -> f64 {
    if freedom >= NORMAL_FROM || z == 0.0 {
        return z;
    }
    if freedom < 1.0 {
        return f64::INFINITY;
    }
    // statrs is inaccurate far out with many degrees of freedom; tails below 1e-15 make no practical difference.
    match StudentsT::new(0.0, 1.0, freedom) {
        Ok(t) => (-t.inverse_cdf(normal_tail(z).max(1e-15))).max(z),
        Err(_) => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::normal_critical;

    const UNIT: Interval = Interval {
        low: 0.0,
        high: 1.0,
    };
    const SIGNED: Interval = Interval {
        low: -1.0,
        high: 1.0,
    };
    const LINE: Interval = Interval {
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
    };

    fn n(arm: &Arm) -> f64 {
        match arm.kind {
            Kind::Rate { n } => n,
            _ => f64::NAN,
        }
    }

    fn bounded(values: &[f64]) -> Arm {
        let n = values.len() as f64;
        let weighted = values.iter().map(|v| (*v, 1.0));
        let sample = Sample {
            factor: 1.0,
            values: Histogram::new(UNIT, weighted, n).expect("in range"),
        };
        Arm::bounded(values.iter().sum::<f64>() / n, vec![sample], UNIT).expect("sound")
    }

    /// Half of one rate plus half of another, independent rate: MOVER.
    #[test]
    fn a_sum_of_samples_adds_distances_as_squares() {
        let rate = |x: f64, n: f64| Sample {
            factor: 0.5,
            values: Histogram::new(UNIT, [(0.0, n - x), (1.0, x)], n).expect("in range"),
        };
        let arm = Arm::bounded(0.5, vec![rate(3.0, 10.0), rate(14.0, 20.0)], UNIT).unwrap();
        let i = arm.limits(1.96);
        let [a, b] = [(3, 10), (14, 20)].map(|(x, n)| crate::clopper_pearson(x, n, 0.950_004_2));
        let low = 0.5 - 0.5 * (0.3 - a.low).hypot(0.7 - b.low);
        let high = 0.5 + 0.5 * (a.high - 0.3).hypot(b.high - 0.7);
        assert!(
            (i.low - low).abs() < 1e-6 && (i.high - high).abs() < 1e-6,
            "{i:?}"
        );
        // A subtracted sample contributes its other limit.
        let less = Sample {
            factor: -1.0,
            ..rate(3.0, 10.0)
        };
        let i = Arm::bounded(-0.3, vec![less], SIGNED).unwrap().limits(1.96);
        assert!(
            (i.low + a.high).abs() < 1e-6 && (i.high + a.low).abs() < 1e-6,
            "{i:?}"
        );
    }

    #[test]
    fn a_root_has_the_roots_of_the_limits() {
        let square = bounded(&[0.04, 0.09, 0.0, 0.25, 0.36, 0.04]);
        let root = Arm::root(square.clone()).unwrap();
        let (i, j) = (square.limits(1.5), root.limits(1.5));
        assert_eq!((j.low, j.high), (i.low.sqrt(), i.high.sqrt()));
        assert_eq!(root.value(), square.value().sqrt());
    }

    #[test]
    fn an_invalid_sample_is_none() {
        let values = Histogram::new(UNIT, [(0.5, 1.0)], 1.0).unwrap();
        let sample = Sample {
            factor: f64::NAN,
            values,
        };
        assert_eq!(Arm::bounded(0.5, vec![sample], UNIT), None);
        assert_eq!(Arm::bounded(0.5, Vec::new(), UNIT), None);
    }

    /// Student's quantiles from standard tables: 12.706, 2.228, 1.984; 0.9995 of 10 degrees: 4.587.
    #[test]
    fn students_quantiles() {
        let z = normal_critical(0.95);
        for (freedom, t) in [(1.0, 12.706), (10.0, 2.228), (100.0, 1.984)] {
            assert!((student(z, freedom) - t).abs() < 6e-4);
        }
        assert!((student(normal_critical(0.999), 10.0) - 4.587).abs() < 6e-4);
        assert_eq!((student(z, 0.0), student(z, 1e6)), (f64::INFINITY, z));
        assert!(student(8.0, 50.0).is_finite());
    }

    #[test]
    fn means_are_student_and_stay_in_range() {
        let z = normal_critical(0.95);
        let arm = Arm::student(0.9, 0.01, 11.0, UNIT).unwrap();
        let i = arm.limits(z);
        assert!(
            (i.low - (0.9 - 0.2228)).abs() < 1e-4 && i.high == 1.0,
            "{i:?}"
        );
        assert!(Arm::student(2.0, 0.01, 11.0, UNIT).is_none());
        assert!(Arm::student(0.5, f64::NAN, 11.0, UNIT).is_none());
    }

    #[test]
    fn a_variance_of_zero_does_not_give_certainty() {
        let z = normal_critical(0.95);
        let i = Arm::student(1.0, 0.0, 10.0, UNIT).unwrap().limits(z);
        assert!((i.low - (0.025_f64 / 0.75).powf(0.1)).abs() < 1e-9 && i.high == 1.0);
        let i = Arm::student(1.0, 0.0, 10.0, LINE).unwrap().limits(z);
        assert!(i.low.is_infinite() && i.high.is_infinite());
    }

    #[test]
    fn invalid_counts_are_none() {
        for (x, n) in [
            (1.0, 0.0),
            (-1.0, 2.0),
            (3.0, 2.0),
            (f64::NAN, 1.0),
            (1.0, f64::NAN),
        ] {
            assert_eq!(Arm::rate(x, n), None);
        }
        assert_eq!(Arm::weighted_rate((0.0, 0.0), (0.0, 0.0)), None);
    }

    /// Two successes of weight 3 and four others of weight 1: p = 0.6, `v = (0.16 x 18 + 0.36 x 4) / 100 = 0.0432`,
    /// `n = 0.24 / v`; without successes Kish's: weights 1 and 3 count as 1.6.
    #[test]
    fn weights_related_to_the_outcome() {
        let arm = Arm::weighted_rate((6.0, 18.0), (10.0, 22.0)).unwrap();
        assert!((arm.value() - 0.6).abs() < 1e-15);
        assert!((n(&arm) - 0.24 / 0.0432).abs() < 1e-12, "{arm:?}");
        let none = Arm::weighted_rate((0.0, 0.0), (4.0, 10.0)).unwrap();
        assert!((n(&none) - 1.6).abs() < 1e-15, "{none:?}");
    }

    /// An infinite critical value gives the whole range.
    #[test]
    fn an_infinite_critical_value_gives_the_whole_range() {
        let everything = |arm: Option<Arm>| {
            let i = arm.unwrap().limits(f64::INFINITY);
            i.low == 0.0 && i.high == 1.0
        };
        assert!(everything(Arm::rate(3.0, 10.0)));
        assert!(everything(Arm::rate(300_000.0, 1e6)));
        assert!(everything(Arm::student(0.3, 0.01, 10.0, UNIT)));
    }

    proptest! {
        #[test]
        fn equal_weights_are_counts(n in 1_u32..500, part in 0.0..=1.0_f64, w in 0.01..50.0_f64) {
            let n = f64::from(n);
            let x = (part * n).floor();
            let (a, b) = (Arm::rate(x, n).unwrap(), Arm::weighted_rate((x * w, x * w * w), (n * w, n * w * w)).unwrap());
            let (i, j) = (a.limits(1.96), b.limits(1.96));
            prop_assert!((i.low - j.low).abs() < 1e-6 && (i.high - j.high).abs() < 1e-6);
        }

        #[test]
        fn more_data_narrows_the_limits(n in 3_u32..300, part in 0.0..=1.0_f64, factor in 1.0..50.0_f64) {
            let n = f64::from(n);
            let rate = Arm::rate((part * n).floor(), n).unwrap();
            let mean = Arm::student(part, 0.25 / n, n, UNIT).unwrap();
            for arm in [rate, mean, bounded(&[part, 0.1, 0.3, part, 0.2])] {
                let (i, j) = (arm.limits(1.96), arm.scaled(factor).limits(1.96));
                prop_assert!(i.low <= j.low + 1e-9 && j.high <= i.high + 1e-9);
            }
        }
    }
}
