//! Intervals and p-values of a figure, computed from its parts.
//!
//! # Maths
//! The interval of a figure between groups comes from the simultaneous intervals of its contrasts, that of a figure of
//! several rates from the intervals of its rates: see [`proofmark_stats::Contrasts`]. The overall rate includes the
//! group that is compared with it, so the group is compared with all other groups and the result is scaled. Of several
//! contrasts, the end nearer to equality holds at Sidak's level for all of them, the farther end at the level of one.
//! Logarithms of ratios use the ends of the ratios, indices of inequality the ends of their range
//! ([`crate::inequality`]).
//!
//! # When it fails
//! A mean of values without a known range has no valid limits, and therefore no interval.

use std::collections::{HashMap, HashSet};
use std::f64::consts::SQRT_2;

use proofmark_domain::Interval;
use proofmark_stats::{
    Arm, Contrasts, Scale, crossing, joint_critical, joint_tail, normal_critical, normal_tail,
    range_critical, range_tail, sidak_level, sidak_p,
};

use crate::evidence_shape::Shape;
use crate::piece::Piece;
use crate::{Combine, Comparison, Figure, inequality};

/// Inputs of a figure's interval.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IntervalInput {
    pub(crate) scale: Scale,
    pub(crate) combine: Combine,
    pub(crate) shape: Shape,
}

/// The critical values of an interval.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Criticals {
    /// For all contrasts together, one per rate; for a mean of signed estimates, that of the mean and that of the
    /// signs.
    near: Vec<f64>,
    /// For a single contrast.
    far: f64,
}

impl IntervalInput {
    /// Returns the value of the figure if groups are equal; `None` for a rate by itself, or for an index over
    /// individuals.
    pub(crate) fn equality(&self) -> Option<f64> {
        match (&self.shape, self.scale) {
            (Shape::One { plain: true, .. } | Shape::Entropy { .. }, _) => None,
            (_, Scale::Difference) => Some(0.0),
            (_, Scale::Ratio) => Some(1.0),
        }
    }

    /// Returns the interval at confidence `level`.
    pub(crate) fn interval(&self, level: f64) -> Interval {
        self.interval_at(&self.criticals(level))
    }

    /// Returns the critical values at confidence `level`; they do not depend on the sample sizes of the estimates.
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
                // The mean uses both ends of every rate.
                let far = if self.combine == Combine::Mean {
                    near
                } else {
                    level
                };
                let mut all: Vec<f64> = Vec::with_capacity(sets.len());
                for (at, set) in sets.iter().enumerate() {
                    // Expensive, and usually the same for every rate.
                    let same = at > 0 && size(set) == size(&sets[at - 1]);
                    all.push(if same {
                        all[at - 1]
                    } else {
                        set.critical(near)
                    });
                }
                (all, far)
            }
            Shape::Farthest(contrasts, _) => {
                let pieces = contrasts.iter().map(Vec::len).sum();
                let one = contrasts.iter().map(Vec::len).max().unwrap_or(1);
                (
                    vec![normal_critical(sidak_level(level, pieces))],
                    sidak_level(level, one),
                )
            }
            Shape::Logarithm(ratio) => return ratio.criticals(level),
            Shape::Less(two) => {
                let each = f64::midpoint(1.0, level);
                let near = two.iter().flat_map(|e| e.criticals(each).near);
                (near.collect(), each)
            }
            Shape::Leaning(parts) => {
                let signs = normal_critical(sidak_level(level, parts.len()));
                (vec![normal_critical(level), signs], level)
            }
            Shape::Entropy { .. } => (Vec::new(), level),
            Shape::EntropyBetween(means, ..) => (
                vec![joint_critical(level, means.len().saturating_sub(1))],
                level,
            ),
        };
        Criticals {
            near,
            far: normal_critical(far),
        }
    }

    /// Returns the interval at these critical values.
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
                        low: near.clamp(0.0, f64::INFINITY),
                        high: far,
                    },
                    Scale::Ratio => Interval {
                        low: far,
                        high: near.clamp(0.0, 1.0),
                    },
                }
            }
            Shape::Logarithm(ratio) => {
                let i = ratio.interval_at(at);
                Interval {
                    // Adding 0 turns -0 into 0.
                    low: (-i.high.ln()).clamp(0.0, f64::INFINITY) + 0.0,
                    high: -i.low.ln(),
                }
            }
            Shape::Less(two) => {
                let (first, second) = at.near.split_at(at.near.len() / 2);
                let [i, j] = [(&two[0], first), (&two[1], second)].map(|(e, near)| {
                    e.interval_at(&Criticals {
                        near: near.to_vec(),
                        far: at.far,
                    })
                });
                Interval {
                    low: i.low - j.high,
                    high: i.high - j.low,
                }
            }
            Shape::Leaning(parts) => leaning(parts, at.near[0], at.near[1]),
            Shape::Entropy {
                errors,
                favours,
                alpha,
                root,
            } => {
                let i = inequality::over_persons(errors, favours.as_ref(), *alpha, at.far);
                let of = |v: f64| if *root { (2.0 * v).sqrt() } else { v };
                Interval {
                    low: of(i.low),
                    high: of(i.high),
                }
            }
            Shape::EntropyBetween(means, weights, alpha) => Interval {
                low: inequality::least_between(means, weights, *alpha, at.near[0]),
                high: inequality::most_between(means, weights, *alpha, at.far),
            },
        }
    }

    /// Returns the end nearer to equality and the end farther from it (if `signed`, the lower and the upper end), with
    /// critical value `z` for every contrast.
    fn farthest(&self, contrasts: &[Vec<Piece>], signed: bool, z: f64) -> (f64, f64) {
        let ends = contrasts.iter().map(|pieces| {
            let i = self.combined(pieces.iter().map(|p| p.interval(self.scale, z)));
            match self.scale {
                Scale::Difference if signed => (i.low, i.high),
                scale => scale.ends(i),
            }
        });
        let most = |a: f64, b: f64| self.scale.further(a, b);
        ends.reduce(|a, b| (most(a.0, b.0), most(a.1, b.1)))
            .unwrap_or((f64::NAN, f64::NAN))
    }

    /// Returns the largest critical value at which the nearer end of some contrast still lies beyond `null`. For most
    /// contrasts a single evaluation shows that their value is smaller than the maximum so far.
    fn least_of_farthest(&self, contrasts: &[Vec<Piece>], signed: bool, null: f64) -> f64 {
        let beyond = |contrast: &Vec<Piece>, z| {
            let near = self.farthest(std::slice::from_ref(contrast), signed, z).0;
            match self.scale {
                Scale::Difference => near - null,
                Scale::Ratio => null - near,
            }
        };
        let mut most = 0.0;
        for contrast in contrasts {
            let at = beyond(contrast, most);
            if at.is_nan() && beyond(contrast, 1.0).is_nan() {
                // This contrast has no limits and may be the farthest.
                return 0.0;
            }
            if at > 0.0 && most < MOST {
                most = least(|z| beyond(contrast, z)).max(most);
            }
        }
        most
    }

    fn combined(&self, parts: impl Iterator<Item = Interval>) -> Interval {
        let parts: Vec<Interval> = parts.collect();
        let end = |of: fn(&Interval) -> f64| {
            let ends = parts.iter().map(of);
            match self.combine {
                // `f64::max` and `f64::min` would ignore NaN.
                _ if ends.clone().any(f64::is_nan) => f64::NAN,
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

    /// Returns the p-value of the figure if the truth is `null`. For the farthest of many contrasts only deviations
    /// away from equality count, for one contrast deviations on both sides. The p-value is 1 minus the level at which
    /// the interval would just touch `null`.
    pub(crate) fn p_value(&self, null: f64) -> f64 {
        // Values within rounding of `null` do not count as beyond it.
        let (below, above) = (null - rounding(null), null + rounding(null));
        let outside = |i: Interval| (i.low - above).max(below - i.high);
        let away = match self.scale {
            Scale::Difference => above,
            Scale::Ratio => below,
        };
        match &self.shape {
            Shape::One { pieces, picked, .. } => {
                let z = least(|z| {
                    outside(self.combined(pieces.iter().map(|p| p.interval(self.scale, z))))
                });
                let one = match picked {
                    0..=2 => 2.0 * normal_tail(z),
                    k => range_tail(z * SQRT_2, *k),
                };
                sidak_p(one, pieces.len())
            }
            Shape::Farthest(contrasts, signed) => {
                let z = self.least_of_farthest(contrasts, *signed, away);
                sidak_p(2.0 * normal_tail(z), contrasts.iter().map(Vec::len).sum())
            }
            Shape::Extreme(sets) if self.combine == Combine::Mean => touching(|level| {
                let each = sidak_level(level, sets.len());
                // How far each rate is beyond equality; a rate that is not beyond counts as 0 in the mean.
                let ends = sets.iter().map(|s| {
                    let near = s.nearest(self.scale, s.critical(each));
                    match self.scale {
                        Scale::Difference => near,
                        Scale::Ratio => 1.0 - near,
                    }
                });
                let ends: Vec<f64> = ends.collect();
                if ends.iter().any(|e| e.is_nan()) {
                    return f64::NAN;
                }
                let most = ends.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let mean = ends.iter().map(|e| e.max(0.0)).sum::<f64>() / ends.len() as f64;
                let wanted = match self.scale {
                    Scale::Difference => above,
                    Scale::Ratio => 1.0 - below,
                };
                mean - wanted + most.min(0.0)
            }),
            Shape::Logarithm(ratio) => ratio.p_value((-null).exp()),
            Shape::EntropyBetween(means, weights, alpha) => {
                let z = least(|z| inequality::beyond(means, weights, *alpha, z, null));
                joint_tail(z, means.len().saturating_sub(1))
            }
            Shape::Less(_) | Shape::Leaning(_) | Shape::Entropy { .. } => {
                touching(|level| outside(self.interval(level)))
            }
            Shape::Extreme(sets) => {
                let least = sets
                    .iter()
                    .map(|s| s.p_value(self.scale, away))
                    .fold(1.0, f64::min);
                sidak_p(least, sets.len())
            }
        }
    }

    /// Returns the same estimates with `factor` times the sample size.
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
            Shape::Logarithm(ratio) => Shape::Logarithm(Box::new(ratio.scaled(factor))),
            Shape::Less(two) => {
                Shape::Less(Box::new([0, 1].map(|at: usize| two[at].scaled(factor))))
            }
            Shape::Leaning(parts) => Shape::Leaning(
                parts
                    .iter()
                    .map(|(arm, lean)| (arm.scaled(factor), lean.scaled(factor)))
                    .collect(),
            ),
            Shape::Entropy {
                errors,
                favours,
                alpha,
                root,
            } => Shape::Entropy {
                errors: errors.scaled(factor),
                favours: favours.as_ref().map(|f| f.scaled(factor)),
                alpha: *alpha,
                root: *root,
            },
            Shape::EntropyBetween(means, weights, alpha) => {
                let means = means.iter().map(|m| m.scaled(factor)).collect();
                Shape::EntropyBetween(means, weights.clone(), *alpha)
            }
        };
        Self {
            shape,
            ..self.clone()
        }
    }
}

/// Tolerance within which a figure counts as equal to the number `of`.
///
/// 4/50 over 5/50 is four fifths but computes to slightly less: rates, their differences and ratios are off by a few
/// units in the last place of 1. Two unequal figures of fewer than a million rows are further apart.
pub(crate) fn rounding(of: f64) -> f64 {
    1e-14 * of.abs().max(1.0)
}

/// Largest critical value searched, in standard errors; p-values beyond it are not distinguished.
const MOST: f64 = 8.0;

/// Returns the largest critical value, up to `MOST`, at which the decreasing function `beyond` is still above 0; 0 if
/// there is none.
fn least(beyond: impl FnMut(f64) -> f64) -> f64 {
    crossing(&[2.0, 4.0, MOST], beyond).unwrap_or(0.0)
}

/// Returns 1 minus the level at which an interval would just touch. Searches on the logarithm of that probability,
/// which is the relevant scale in the tail.
fn touching(beyond: impl Fn(f64) -> f64) -> f64 {
    let p = |digits: f64| 10_f64.powf(-digits);
    crossing(&[1.0, 4.0, 15.0], |digits| beyond(1.0 - p(digits))).map_or(1.0, p)
}

/// Returns the interval, at `z`, of the mean of estimates that each take the sign of a contrast. If the contrast's own
/// interval at `signs` contains 0, both signs are possible.
fn leaning(parts: &[(Arm, Piece)], z: f64, signs: f64) -> Interval {
    let (mut least, mut most) = (0.0, 0.0);
    let (mut below, mut above) = (0.0_f64, 0.0_f64);
    for (arm, lean) in parts {
        let (value, i) = (arm.value(), arm.limits(z));
        let lean = lean.interval(Scale::Difference, signs);
        let (down, up) = (value - i.low, i.high - value);
        // The distances of a sum add up as squares (MOVER); possible changes of sign add up linearly.
        let (low, high, down, up) = if lean.low > 0.0 {
            (value, value, down, up)
        } else if lean.high < 0.0 {
            (-value, -value, up, down)
        } else {
            (-value.abs(), value.abs(), down.max(up), down.max(up))
        };
        least += low;
        most += high;
        below += down * down;
        above += up * up;
    }
    let n = parts.len() as f64;
    Interval {
        low: (least - below.sqrt()) / n,
        high: (most + above.sqrt()) / n,
    }
}

fn size(contrasts: &Contrasts) -> usize {
    match contrasts {
        Contrasts::Within(arms) => arms.len(),
        Contrasts::Against(pairs) => pairs.len(),
    }
}

/// By metric and attribute: the groups among which the comparison group was picked as the highest.
pub(crate) struct Picked<'f>(HashMap<(&'f str, &'f str), HashSet<&'f str>>);

impl<'f> Picked<'f> {
    pub(crate) fn new(figures: &'f [Figure]) -> Self {
        let mut all: HashMap<_, HashSet<&str>> = HashMap::new();
        for figure in figures {
            if figure.comparison == Comparison::GroupToHighest {
                let names = all.entry((figure.metric, figure.attribute.as_str()));
                names
                    .or_default()
                    .extend(figure.groups.iter().map(String::as_str));
            }
        }
        Self(all)
    }

    /// Returns the number of those groups; 0 for a figure that does not compare with the highest.
    pub(crate) fn among(&self, figure: &Figure) -> usize {
        if figure.comparison != Comparison::GroupToHighest {
            return 0;
        }
        let key = (figure.metric, figure.attribute.as_str());
        self.0.get(&key).map_or(0, HashSet::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If the sign is certain and negative, the limits of the estimate are mirrored.
    #[test]
    fn a_certain_negative_sign_mirrors_the_limits() {
        let arm = |x| Arm::rate(x, 200.0).expect("a rate");
        let (lean, i) = (
            |x| Piece::Pair(proofmark_stats::Pair::new(arm(x), arm(100.0))),
            arm(2.0).limits(1.96),
        );
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        let up = leaning(&[(arm(2.0), lean(180.0))], 1.96, 2.5);
        let down = leaning(&[(arm(2.0), lean(20.0))], 1.96, 2.5);
        assert!(near(up.low, i.low) && near(up.high, i.high), "{up:?}");
        assert!(
            near(down.low, -i.high) && near(down.high, -i.low),
            "{down:?}"
        );
    }
}
