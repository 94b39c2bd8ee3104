//! What a figure's parts say about it: intervals and p-values.
//!
//! # Maths
//! A figure between groups is bounded by the simultaneous intervals of its contrasts, a figure of several rates by those
//! of its rates: see [`proofmark_stats::Contrasts`]. A group compared with everybody is compared with everybody else and
//! scaled, since it is itself among everybody. Of several contrasts the nearer end holds at Sidak's level for all of
//! them, the farther one at the level of one. A figure without parts takes a standard error from resampling.
//!
//! # When it fails
//! Means (AUC, errors, calibration) are held to be normal: few rows in a group are few rows. A variance of 0 says
//! nothing.

use std::f64::consts::SQRT_2;

use proofmark_domain::Interval;
use proofmark_stats::{
    Contrasts, Scale, normal_critical, normal_tail, range_critical, range_tail, sidak_level,
    sidak_p,
};

use crate::piece::{Piece, arm};
use crate::{Combine, Comparison, Family, Figure, Form, Part};

/// Everything an interval on a figure is computed from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Evidence {
    scale: Scale,
    combine: Combine,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    /// One estimate or contrast per rate.
    One {
        pieces: Vec<Piece>,
        /// What it is compared with was picked as the highest of so many; 0 if it was not.
        picked: usize,
        /// No contrast: there is no value that equal groups have.
        plain: bool,
    },
    /// The two furthest apart of many groups, per rate.
    Extreme(Vec<Contrasts>),
    /// The farthest of many contrasts, each a mean over rates; with its sign, or without.
    Farthest(Vec<Vec<Piece>>, bool),
    /// An estimate and its standard error.
    Resampled(f64, f64),
}

/// The critical values of an interval.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Criticals {
    /// For all contrasts together, rate by rate.
    near: Vec<f64>,
    /// For one.
    far: f64,
}

impl Evidence {
    /// Of a figure; `picked` is the number of groups among which what it is compared with was picked as the highest, 0
    /// if it was not. `None` where its parts do not say enough.
    pub(crate) fn of(figure: &Figure, picked: usize) -> Option<Self> {
        figure.value()?;
        let (form, families) = (figure.basis.form, &figure.basis.families);
        let scale = match form {
            Form::Ratio | Form::Closeness | Form::Exponential | Form::ExponentialCloseness => {
                Scale::Ratio
            }
            Form::Plain | Form::Difference | Form::Distance | Form::Persons => Scale::Difference,
        };
        let within = |f: &Family| f.against.is_none() && f.parts.len() > 1;
        let shape = match form {
            Form::Difference | Form::Ratio if families.iter().any(within) => Shape::Extreme(
                families
                    .iter()
                    .map(|f| groups(f, scale))
                    .collect::<Option<_>>()?,
            ),
            Form::Distance | Form::Closeness | Form::ExponentialCloseness => {
                Shape::Farthest(across(families, form)?, false)
            }
            Form::Persons if figure.comparison.is_headline() => {
                Shape::Farthest(across(families, form)?, true)
            }
            _ => Shape::One {
                pieces: across(families, form)?.into_iter().next()?,
                picked,
                plain: form == Form::Plain,
            },
        };
        Some(Self {
            scale,
            combine: figure.basis.combine,
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

    /// The value that equal groups have; none for a rate by itself, or an index.
    pub(crate) fn equality(&self) -> Option<f64> {
        match (&self.shape, self.scale) {
            (Shape::One { plain: true, .. } | Shape::Resampled(..), _) => None,
            (_, Scale::Difference) => Some(0.0),
            (_, Scale::Ratio) => Some(1.0),
        }
    }

    /// The interval of level `level`.
    pub(crate) fn interval(&self, level: f64) -> Interval {
        self.interval_at(&self.criticals(level))
    }

    /// The critical values of level `level`: they do not depend on how many there are of each estimate.
    pub(crate) fn criticals(&self, level: f64) -> Criticals {
        let (near, far) = match &self.shape {
            Shape::One { pieces, picked, .. } => {
                let level = sidak_level(level, pieces.len());
                let near = match picked {
                    0..=2 => normal_critical(level),
                    k => range_critical(1.0 - level, *k) / SQRT_2,
                };
                (vec![near], level)
            }
            Shape::Extreme(sets) => {
                let near = sidak_level(level, sets.len());
                // The mean needs both ends of every rate.
                let far = if self.combine == Combine::Mean {
                    near
                } else {
                    level
                };
                (sets.iter().map(|s| s.critical(near)).collect(), far)
            }
            Shape::Farthest(contrasts, _) => {
                let pieces = contrasts.iter().map(Vec::len).sum();
                let one = contrasts.iter().map(Vec::len).max().unwrap_or(1);
                (
                    vec![normal_critical(sidak_level(level, pieces))],
                    sidak_level(level, one),
                )
            }
            Shape::Resampled(..) => (Vec::new(), level),
        };
        Criticals {
            near,
            far: normal_critical(far),
        }
    }

    /// The interval at these critical values.
    pub(crate) fn interval_at(&self, at: &Criticals) -> Interval {
        match &self.shape {
            Shape::One { pieces, .. } => {
                self.combined(pieces.iter().map(|p| p.interval(self.scale, at.near[0])))
            }
            Shape::Extreme(sets) => {
                let sets = sets.iter().zip(&at.near);
                self.combined(sets.map(|(s, near)| s.extreme_at(self.scale, *near, at.far)))
            }
            Shape::Farthest(contrasts, signed) => {
                let (near, _) = self.farthest(contrasts, *signed, at.near[0]);
                let (_, far) = self.farthest(contrasts, *signed, at.far);
                match self.scale {
                    Scale::Difference if *signed => Interval {
                        low: near,
                        high: far,
                    },
                    Scale::Difference => Interval {
                        low: near.max(0.0),
                        high: far,
                    },
                    Scale::Ratio => Interval {
                        low: far,
                        high: near.min(1.0),
                    },
                }
            }
            Shape::Resampled(value, error) => Interval {
                low: value - at.far * error,
                high: value + at.far * error,
            },
        }
    }

    /// The end nearer to equality and the end farther from it, at `z` for every contrast.
    fn farthest(&self, contrasts: &[Vec<Piece>], signed: bool, z: f64) -> (f64, f64) {
        let ends = contrasts.iter().map(|pieces| {
            let i = self.combined(pieces.iter().map(|p| p.interval(self.scale, z)));
            match self.scale {
                Scale::Difference if signed => (i.low, i.high),
                Scale::Difference => (i.low.max(-i.high), i.high.max(-i.low)),
                Scale::Ratio => (i.high.min(1.0 / i.low), i.low.min(1.0 / i.high)),
            }
        });
        let most = |a: f64, b: f64| match self.scale {
            Scale::Difference => a.max(b),
            Scale::Ratio => a.min(b),
        };
        ends.reduce(|a, b| (most(a.0, b.0), most(a.1, b.1)))
            .unwrap_or((f64::NAN, f64::NAN))
    }

    fn combined(&self, parts: impl Iterator<Item = Interval>) -> Interval {
        let parts: Vec<Interval> = parts.collect();
        let end = |of: fn(&Interval) -> f64| {
            let ends = parts.iter().map(of);
            match self.combine {
                Combine::Largest => ends.fold(f64::NEG_INFINITY, f64::max),
                Combine::Smallest => ends.fold(f64::INFINITY, f64::min),
                Combine::Mean => ends.sum::<f64>() / parts.len() as f64,
            }
        };
        Interval {
            low: end(|i| i.low),
            high: end(|i| i.high),
        }
    }

    /// How surprising the figure is if the truth is `null`: on the side away from equality for the farthest of many,
    /// on both sides for one contrast. One less the level at which the interval would just touch `null`.
    pub(crate) fn p_value(&self, null: f64) -> f64 {
        let beyond = |i: Interval| match self.scale {
            Scale::Difference => i.low > null,
            Scale::Ratio => i.high < null,
        };
        match &self.shape {
            Shape::One { pieces, picked, .. } => {
                let z = least(|z| {
                    let i = self.combined(pieces.iter().map(|p| p.interval(self.scale, z)));
                    i.low > null || i.high < null
                });
                let one = match picked {
                    0..=2 => 2.0 * normal_tail(z),
                    k => range_tail(z * SQRT_2, *k),
                };
                sidak_p(one, pieces.len())
            }
            Shape::Farthest(contrasts, signed) => {
                let z = least(
                    |z| match (self.farthest(contrasts, *signed, z).0, self.scale) {
                        (near, Scale::Difference) => near > null,
                        (near, Scale::Ratio) => near < null,
                    },
                );
                sidak_p(2.0 * normal_tail(z), contrasts.iter().map(Vec::len).sum())
            }
            Shape::Extreme(sets) if self.combine == Combine::Mean => {
                // By the logarithm of the chance, which is what matters in the tail.
                let p = |log: f64| 10_f64.powf(log);
                let (mut low, mut high) = (-15.0, 0.0);
                for _ in 0..36 {
                    let middle = f64::midpoint(low, high);
                    if beyond(self.interval(1.0 - p(middle))) {
                        high = middle;
                    } else {
                        low = middle;
                    }
                }
                debug_assert!(!sets.is_empty());
                p(high)
            }
            Shape::Extreme(sets) => {
                let least = sets
                    .iter()
                    .map(|s| s.p_value(self.scale, null))
                    .fold(1.0, f64::min);
                sidak_p(least, sets.len())
            }
            Shape::Resampled(value, error) => {
                (2.0 * normal_tail((value - null).abs() / error)).min(1.0)
            }
        }
    }

    /// The same estimates from `factor` times as many.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        let more = |pieces: &Vec<Piece>| pieces.iter().map(|p| p.scaled(factor)).collect();
        let shape = match &self.shape {
            Shape::One {
                pieces,
                picked,
                plain,
            } => Shape::One {
                pieces: more(pieces),
                picked: *picked,
                plain: *plain,
            },
            Shape::Extreme(sets) => Shape::Extreme(sets.iter().map(|s| s.scaled(factor)).collect()),
            Shape::Farthest(contrasts, signed) => {
                Shape::Farthest(contrasts.iter().map(more).collect(), *signed)
            }
            Shape::Resampled(value, error) => Shape::Resampled(*value, error / factor.sqrt()),
        };
        Self {
            shape,
            ..self.clone()
        }
    }
}

/// The largest critical value at which `beyond` still holds; it holds from 0 on or never.
fn least(beyond: impl Fn(f64) -> bool) -> f64 {
    /// Beyond 8 standard errors there is nothing to tell apart.
    const MOST: f64 = 8.0;
    let (mut low, mut high) = (0.0, MOST);
    if beyond(MOST) {
        return MOST;
    }
    for _ in 0..30 {
        let middle = f64::midpoint(low, high);
        if beyond(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Every group of a rate, to be compared with every other.
fn groups(family: &Family, scale: Scale) -> Option<Contrasts> {
    let arms = family.parts.iter().map(|p| arm(&p.estimate, scale));
    Some(Contrasts::Within(arms.collect::<Option<_>>()?)).filter(|c| !c.is_empty())
}

/// The contrasts of families that list the same groups in the same order: per group, the pieces of every rate.
fn across(families: &[Family], form: Form) -> Option<Vec<Vec<Piece>>> {
    let first = families.first()?;
    if first.parts.is_empty() {
        return None;
    }
    let at = |group: usize| {
        let one = |f: &Family| {
            let part: &Part = f.parts.get(group)?;
            Piece::of(form, &part.estimate, f.against.as_ref())
        };
        families.iter().map(one).collect::<Option<Vec<_>>>()
    };
    (0..first.parts.len()).map(at).collect()
}

/// The number of groups among which the one that a figure compares with was picked as the highest; 0 if it was not
/// picked.
pub(crate) fn picked_among(figure: &Figure, figures: &[Figure]) -> usize {
    if figure.comparison != Comparison::GroupToHighest {
        return 0;
    }
    let same = figures.iter().filter(|f| {
        f.comparison == figure.comparison
            && f.metric == figure.metric
            && f.attribute == figure.attribute
    });
    let mut names: Vec<&str> = same.flat_map(|f| &f.groups).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}
