//! One estimate or one contrast of a figure, which gives an interval at any critical value.

use proofmark_domain::Interval;
use proofmark_stats::{Arm, Pair, Sample, Scale};

use crate::{Estimate, Form, Mean, Part, Share, Tally};

/// Statistical input of a figure or of one of its contrasts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    /// A single estimate.
    Arm(Arm),
    /// The logarithm of a ratio.
    Exponential(Arm),
    /// A difference or a ratio.
    Pair(Pair),
    /// Number of people in the group times the overall rate minus the group's rate.
    Persons(Pair, f64),
}

impl Piece {
    /// Builds the piece from an estimate and the part it is compared with. `None` if a variance is missing, or if the
    /// group is everyone.
    pub(crate) fn of(form: Form, estimate: &Estimate, against: Option<&Part>) -> Option<Self> {
        let scale = match form {
            Form::Ratio | Form::Closeness => Scale::Ratio,
            _ => Scale::Difference,
        };
        let one = arm(estimate, scale)?;
        match (form, against) {
            (Form::Exponential | Form::ExponentialCloseness, _) => Some(Self::Exponential(one)),
            (Form::Persons, Some(against)) => Some(Self::Persons(
                pair(one, estimate, against, scale)?,
                estimate.denominator().weight,
            )),
            (_, Some(against)) => Some(Self::Pair(pair(one, estimate, against, scale)?)),
            (_, None) => Some(Self::Arm(one)),
        }
    }

    pub(crate) fn interval(&self, scale: Scale, z: f64) -> Interval {
        match self {
            Self::Arm(arm) => arm.limits(z),
            Self::Exponential(arm) => {
                let i = arm.limits(z);
                Interval {
                    low: i.low.exp(),
                    high: i.high.exp(),
                }
            }
            Self::Pair(pair) => pair.interval(scale, z),
            Self::Persons(pair, persons) => {
                let i = pair.interval(Scale::Difference, z);
                Interval {
                    low: -persons * i.high,
                    high: -persons * i.low,
                }
            }
        }
    }

    /// Returns the piece as if it rested on `factor` times as many people. A shortfall in people grows with them.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        match self {
            Self::Arm(arm) => Self::Arm(arm.scaled(factor)),
            Self::Exponential(arm) => Self::Exponential(arm.scaled(factor)),
            Self::Pair(pair) => Self::Pair(pair.scaled(factor)),
            Self::Persons(pair, persons) => Self::Persons(pair.scaled(factor), persons * factor),
        }
    }
}

fn pair(first: Arm, estimate: &Estimate, against: &Part, scale: Scale) -> Option<Pair> {
    // The estimate for everyone outside the group cannot be recovered from a mean of absolute values or from a sum of
    // means. Compare with all together instead. The group is part of all, so the two estimates are positively
    // correlated, and an interval that treats them as independent is too wide rather than too narrow.
    let inseparable = match estimate {
        Estimate::Folded(_) | Estimate::Normal(_) => true,
        Estimate::Mean(mean) | Estimate::Root(mean) => mean.samples.len() != 1,
        Estimate::Share(_) | Estimate::Smoothed(..) => false,
    };
    if against.group.is_some() || inseparable {
        return Some(Pair::new(first, arm(&against.estimate, scale)?));
    }
    let share = estimate.denominator().weight / against.estimate.denominator().weight;
    let second = arm(&others(&against.estimate, estimate)?, scale)?;
    Some(Pair {
        first,
        second,
        share,
    })
}

/// Converts an estimate to an arm with limits. `None` if no one is counted or there is no variance.
pub(crate) fn arm(estimate: &Estimate, scale: Scale) -> Option<Arm> {
    match estimate {
        // Pseudo-counts are not data: the limits rest on the observed counts only.
        Estimate::Share(share) | Estimate::Smoothed(share, _) => {
            Arm::weighted_rate(sums(share.numerator), sums(share.denominator))
        }
        Estimate::Folded(folded) => Arm::folded(
            folded.value,
            folded.variance,
            folded.denominator.effective(),
            folded.noise,
        ),
        Estimate::Mean(mean) => bounded(mean, scale),
        Estimate::Root(mean) => Arm::root(bounded(mean, scale)?),
        Estimate::Normal(mean) => Arm::student(
            mean.value,
            mean.variance?,
            mean.denominator.effective(),
            mean.range,
        ),
    }
}

/// `None` if the range of the values is unknown.
fn bounded(mean: &Mean, scale: Scale) -> Option<Arm> {
    let low = match scale {
        Scale::Difference => mean.range.low,
        // Ratios exist only for values that are never negative.
        Scale::Ratio => mean.range.low.max(0.0),
    };
    let range = Interval { low, ..mean.range };
    Arm::bounded(mean.value, mean.samples.clone(), range)
}

fn sums(tally: Tally) -> (f64, f64) {
    (tally.weight, tally.square)
}

fn less(a: Tally, b: Tally) -> Tally {
    let n = a.n.saturating_sub(b.n);
    // Sums of weights carry rounding errors; an empty remainder must weigh exactly 0.
    let rest = |a: f64, b: f64| if n > 0 { (a - b).max(0.0) } else { 0.0 };
    Tally {
        n,
        weight: rest(a.weight, b.weight),
        square: rest(a.square, b.square),
    }
}

/// Returns the estimate for everyone outside the group.
fn others(all: &Estimate, group: &Estimate) -> Option<Estimate> {
    match (all, group) {
        (
            Estimate::Share(a) | Estimate::Smoothed(a, _),
            Estimate::Share(g) | Estimate::Smoothed(g, _),
        ) => Some(Estimate::Share(Share {
            numerator: less(a.numerator, g.numerator),
            denominator: less(a.denominator, g.denominator),
        })),
        (Estimate::Mean(a), Estimate::Mean(g)) => Some(Estimate::Mean(other_rows(a, g)?)),
        (Estimate::Root(a), Estimate::Root(g)) => Some(Estimate::Root(other_rows(a, g)?)),
        _ => None,
    }
}

fn other_rows(all: &Mean, group: &Mean) -> Option<Mean> {
    let ([a], [g]) = (all.samples.as_slice(), group.samples.as_slice()) else {
        return None;
    };
    let share = group.denominator.weight / all.denominator.weight;
    let rest = 1.0 - share;
    let denominator = less(all.denominator, group.denominator);
    let values = a
        .values
        .without(&g.values, share, denominator.effective())?;
    let variance =
        (all.variance? - share * share * group.variance.unwrap_or(0.0)).max(0.0) / (rest * rest);
    Some(Mean {
        value: (all.value - share * group.value) / rest,
        variance: Some(variance),
        denominator,
        range: all.range,
        samples: vec![Sample {
            factor: 1.0,
            values,
        }],
    })
}
