//! One estimate or one contrast of a figure, with its interval at any critical value.

use proofmark_domain::Interval;
use proofmark_stats::{Arm, Pair, Scale};

use crate::figure::LINE;
use crate::{Estimate, Form, Mean, Part, Share, Tally};

/// What a figure, or one of its contrasts, is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Piece {
    /// An estimate by itself.
    Arm(Arm),
    /// The logarithm of a ratio.
    Exponential(Arm),
    /// A difference or a ratio.
    Pair(Pair),
    /// So many persons times the difference of everybody less the group.
    Persons(Pair, f64),
}

impl Piece {
    /// Of a part and what it is compared with. `None` where a variance is wanting, or there is nobody else.
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

    /// From `factor` times as many. Persons that went without are more then, too.
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
    // What everybody without the group would have is not to be had from a mean of absolute values; that the group is among
    // everybody makes the two go together, and the interval as of independent ones too wide rather than too narrow.
    if against.group.is_some() || matches!(estimate, Estimate::Folded(_)) {
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

/// An estimate with its limits; `None` where nobody is counted or there is no variance.
pub(crate) fn arm(estimate: &Estimate, scale: Scale) -> Option<Arm> {
    match estimate {
        Estimate::Share(Share {
            numerator,
            denominator,
        }) => Arm::weighted_rate(sums(*numerator), sums(*denominator)),
        Estimate::Smoothed(share, concentration) => Arm::smoothed(
            sums(share.numerator),
            sums(share.denominator),
            *concentration,
        ),
        Estimate::Folded(folded) => Arm::folded(
            folded.value,
            folded.variance,
            folded.denominator.effective(),
            folded.noise,
        ),
        Estimate::Mean(mean) => {
            let low = match scale {
                Scale::Difference => mean.range.low,
                // Only what is never negative has ratios.
                Scale::Ratio => mean.range.low.max(0.0),
            };
            let range = Interval { low, ..mean.range };
            Arm::mean(
                mean.value,
                mean.variance?,
                mean.denominator.effective(),
                range,
            )
        }
    }
}

fn sums(tally: Tally) -> (f64, f64) {
    (tally.weight, tally.square)
}

/// Everybody without the group. Of means that are not sums over persons (AUC) it is an approximation.
fn others(all: &Estimate, group: &Estimate) -> Option<Estimate> {
    let less = |a: Tally, b: Tally| {
        let n = a.n.saturating_sub(b.n);
        // Sums of weights are off by rounding; nobody weighs nothing.
        let rest = |a: f64, b: f64| if n > 0 { (a - b).max(0.0) } else { 0.0 };
        Tally {
            n,
            weight: rest(a.weight, b.weight),
            square: rest(a.square, b.square),
        }
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
            (rest > 0.0).then_some(Estimate::Mean(Mean {
                value: (a.value - share * g.value) / rest,
                variance: Some(variance),
                denominator: less(a.denominator, g.denominator),
                range: LINE,
            }))
        }
        _ => None,
    }
}
