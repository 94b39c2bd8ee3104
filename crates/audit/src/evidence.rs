//! What a figure's parts say about it: intervals and p-values.
//!
//! # Maths
//! A figure between groups is bounded by the simultaneous intervals of its contrasts, a figure of several rates by those
//! of its rates: see [`proofmark_stats::Contrasts`]. A group compared with everybody is compared with everybody else and
//! scaled, since it is itself among everybody. A figure without parts takes a standard error from resampling.
//!
//! # When it fails
//! Means (AUC, errors, calibration) are held to be normal: few rows in a group are few rows. A variance of 0 says
//! nothing.

use proofmark_domain::Interval;
use proofmark_stats::{
    Arm, Contrasts, Pair, Scale, normal_critical, normal_tail, range_critical, sidak_level, sidak_p,
};

use crate::{Combine, Comparison, Estimate, Family, Figure, Form, Share, Tally};

/// Everything an interval on a figure is computed from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Evidence {
    scale: Scale,
    combine: Combine,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    /// One estimate by itself per rate.
    Plain(Vec<Arm>),
    /// Two estimates compared, with sign, per rate; the second was picked among so many as the highest.
    One(Vec<Pair>, usize),
    /// The two furthest apart of many, per rate.
    Extreme(Vec<Contrasts>),
    /// An estimate and its standard error.
    Resampled(f64, f64),
}

impl Evidence {
    /// Of a figure; `picked` is the number of groups among which what it is compared with was picked as the highest, 0
    /// if it was not. `None` where its parts do not say enough.
    pub(crate) fn of(figure: &Figure, picked: usize) -> Option<Self> {
        figure.value()?;
        let basis = &figure.basis;
        let scale = match basis.form {
            Form::Ratio | Form::Closeness => Scale::Ratio,
            Form::Plain | Form::Difference | Form::Distance => Scale::Difference,
            // Logarithms and persons: no limits yet.
            Form::Exponential | Form::ExponentialCloseness | Form::Persons => return None,
        };
        let families = &basis.families;
        if families.is_empty() {
            return None;
        }
        let shape = match basis.form {
            Form::Plain => {
                let one = |f: &Family| arm(&f.parts.first()?.estimate, scale);
                Shape::Plain(families.iter().map(one).collect::<Option<_>>()?)
            }
            Form::Difference | Form::Ratio if figure.comparison.is_one() => {
                let one = |f: &Family| pairs(f, scale)?.into_iter().next();
                let pairs = families.iter().map(one).collect::<Option<_>>()?;
                Shape::One(pairs, picked)
            }
            _ => {
                let many = |f: &Family| contrasts(f, scale).filter(|c| !c.is_empty());
                Shape::Extreme(families.iter().map(many).collect::<Option<_>>()?)
            }
        };
        Some(Self {
            scale,
            combine: basis.combine,
            shape,
        })
    }

    /// Of a figure that resampling gave a standard error.
    pub(crate) fn resampled(value: f64, standard_error: f64) -> Option<Self> {
        (value.is_finite() && standard_error.is_finite() && standard_error > 0.0).then_some(Self {
            scale: Scale::Difference,
            combine: Combine::Largest,
            shape: Shape::Resampled(value, standard_error),
        })
    }

    /// The interval of level `level`.
    pub(crate) fn interval(&self, level: f64) -> Interval {
        match &self.shape {
            Shape::Plain(arms) => {
                let z = normal_critical(sidak_level(level, arms.len()));
                self.combined(arms.iter().map(|a| a.limits(z)))
            }
            Shape::One(pairs, picked) => {
                let level = sidak_level(level, pairs.len());
                let z = match picked {
                    0..=2 => normal_critical(level),
                    k => range_critical(1.0 - level, *k) / std::f64::consts::SQRT_2,
                };
                self.combined(pairs.iter().map(|p| p.interval(self.scale, z)))
            }
            Shape::Extreme(sets) => {
                let near = sidak_level(level, sets.len());
                // The mean needs both ends of every rate.
                let far = if self.combine == Combine::Mean {
                    near
                } else {
                    level
                };
                self.combined(
                    sets.iter()
                        .map(|s| s.extreme_of_many(self.scale, near, far)),
                )
            }
            Shape::Resampled(value, error) => {
                let half = normal_critical(level) * error;
                Interval {
                    low: value - half,
                    high: value + half,
                }
            }
        }
    }

    #[allow(clippy::needless_pass_by_value)] // an iterator, cloned for either end
    fn combined(&self, parts: impl Iterator<Item = Interval> + Clone) -> Interval {
        let end = |of: fn(&Interval) -> f64| {
            let ends = parts.clone().map(|i| of(&i));
            match self.combine {
                Combine::Largest => ends.fold(f64::NEG_INFINITY, f64::max),
                Combine::Smallest => ends.fold(f64::INFINITY, f64::min),
                Combine::Mean => {
                    let (sum, n) = ends.fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
                    sum / n
                }
            }
        };
        Interval {
            low: end(|i| i.low),
            high: end(|i| i.high),
        }
    }

    /// How surprising the figure is if the truth is `null`, on the side away from equality for a figure between groups,
    /// on both sides for two groups with a sign. None for a rate by itself.
    pub(crate) fn p_value(&self, null: f64) -> Option<f64> {
        match &self.shape {
            Shape::Plain(_) => None,
            Shape::Extreme(sets) if self.combine != Combine::Mean => {
                let least = sets
                    .iter()
                    .map(|s| s.p_value(self.scale, null))
                    .fold(1.0, f64::min);
                Some(sidak_p(least, sets.len()))
            }
            Shape::Extreme(_) => Some(self.touching(|i| match self.scale {
                Scale::Difference => i.low > null,
                Scale::Ratio => i.high < null,
            })),
            Shape::One(..) => Some(self.touching(|i| i.low > null || i.high < null)),
            Shape::Resampled(value, error) => {
                Some((2.0 * normal_tail((value - null).abs() / error)).min(1.0))
            }
        }
    }

    /// The value that equal groups have.
    pub(crate) fn equality(&self) -> f64 {
        match self.scale {
            Scale::Difference => 0.0,
            Scale::Ratio => 1.0,
        }
    }

    /// One less the level at which the interval begins to be beyond.
    fn touching(&self, beyond: impl Fn(Interval) -> bool) -> f64 {
        // By the logarithm of the chance, which is what matters in the tail.
        let p = |log: f64| 10_f64.powf(log);
        let (mut low, mut high) = (-15.0, 0.0);
        if beyond(self.interval(1.0 - p(low))) {
            return p(low);
        }
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            if beyond(self.interval(1.0 - p(middle))) {
                high = middle;
            } else {
                low = middle;
            }
        }
        p(high)
    }

    /// The same estimates from `factor` times as many.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        let shape = match &self.shape {
            Shape::Plain(arms) => Shape::Plain(arms.iter().map(|a| a.scaled(factor)).collect()),
            Shape::One(pairs, picked) => {
                Shape::One(pairs.iter().map(|p| p.scaled(factor)).collect(), *picked)
            }
            Shape::Extreme(sets) => Shape::Extreme(sets.iter().map(|s| s.scaled(factor)).collect()),
            Shape::Resampled(value, error) => Shape::Resampled(*value, error / factor.sqrt()),
        };
        Self {
            shape,
            ..self.clone()
        }
    }
}

impl Comparison {
    /// Whether the figure is of one group with one other, rather than of the furthest of many.
    pub(crate) fn is_one(self) -> bool {
        matches!(
            self,
            Self::Pair | Self::GroupToOverall | Self::GroupToReference | Self::GroupToHighest
        )
    }
}

fn contrasts(family: &Family, scale: Scale) -> Option<Contrasts> {
    if family.against.is_some() {
        return pairs(family, scale).map(Contrasts::Against);
    }
    let arms = family.parts.iter().map(|p| arm(&p.estimate, scale));
    arms.collect::<Option<_>>().map(Contrasts::Within)
}

/// Every part with what it is compared with. A part that is everybody by itself has nobody to be compared with.
fn pairs(family: &Family, scale: Scale) -> Option<Vec<Pair>> {
    let against = family.against.as_ref()?;
    let one = |part: &crate::Part| {
        let first = arm(&part.estimate, scale)?;
        if against.group.is_some() {
            return Some(Pair::new(first, arm(&against.estimate, scale)?));
        }
        let share = part.estimate.denominator().weight / against.estimate.denominator().weight;
        let second = arm(&others(&against.estimate, &part.estimate)?, scale)?;
        Some(Pair {
            first,
            second,
            share,
        })
    };
    family.parts.iter().map(one).collect()
}

fn arm(estimate: &Estimate, scale: Scale) -> Option<Arm> {
    match estimate {
        Estimate::Share(Share {
            numerator,
            denominator,
        }) => Arm::weighted_rate(numerator.weight, denominator.weight, denominator.square),
        Estimate::Mean(mean) => {
            let low = match scale {
                Scale::Difference => f64::NEG_INFINITY,
                // Only what is never negative has ratios.
                Scale::Ratio => 0.0,
            };
            let range = Interval {
                low,
                high: f64::INFINITY,
            };
            Arm::mean(
                mean.value,
                mean.variance?,
                mean.denominator.effective(),
                range,
            )
        }
    }
}

/// Everybody without the group.
fn others(all: &Estimate, group: &Estimate) -> Option<Estimate> {
    let less = |a: Tally, b: Tally| Tally {
        n: a.n.saturating_sub(b.n),
        // Sums of weights are off by rounding; nobody weighs nothing.
        weight: if a.n > b.n {
            (a.weight - b.weight).max(0.0)
        } else {
            0.0
        },
        square: if a.n > b.n {
            (a.square - b.square).max(0.0)
        } else {
            0.0
        },
    };
    match (all, group) {
        (Estimate::Share(a), Estimate::Share(g)) => Some(Estimate::Share(Share {
            numerator: less(a.numerator, g.numerator),
            denominator: less(a.denominator, g.denominator),
        })),
        (Estimate::Mean(a), Estimate::Mean(g)) => {
            let share = g.denominator.weight / a.denominator.weight;
            let rest = 1.0 - share;
            let variance = (a.variance? - share * share * g.variance?).max(0.0) / (rest * rest);
            (rest > 0.0).then_some(Estimate::Mean(crate::Mean {
                value: (a.value - share * g.value) / rest,
                variance: Some(variance),
                denominator: less(a.denominator, g.denominator),
            }))
        }
        _ => None,
    }
}
