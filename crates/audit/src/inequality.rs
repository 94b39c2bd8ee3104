//! Ranges of the generalised entropy index, over individuals and between groups.
//!
//! # Maths
//! See [`crate::metric`]'s generalised entropy for the index and for why these ranges are intervals. With `p` the
//! shares of the parts, `b` their benefits, `r = b / μ` and `φ` the function of the index, `dI/dp = φ(r) - r m` and
//! `dI/db = p (φ'(r) - m) / μ`, where `m = sum p r φ'(r)` is the effect through the mean.

use proofmark_domain::Interval;
use proofmark_stats::{Arm, Region};

use crate::metric::generalized_entropy::term;

/// Returns the index of a population and its derivatives by each part's size and by each part's benefit. The
/// derivatives by size omit a constant common to all parts, since the parts form a whole.
fn index(benefits: &[(f64, f64)], alpha: f64) -> (f64, Vec<[f64; 2]>) {
    /// At a benefit of 0 the slope is infinite for alpha up to 1; ratios to the mean are raised to this minimum, which
    /// is practically 0.
    const LEAST: f64 = 1e-9;
    let weight: f64 = benefits.iter().map(|b| b.1).sum();
    let mean = benefits.iter().map(|b| b.0 * b.1).sum::<f64>() / weight;
    let slope = |r: f64| {
        if alpha == 1.0 {
            r.max(LEAST).ln() + 1.0
        } else {
            r.max(LEAST).powf(alpha - 1.0) / (alpha - 1.0)
        }
    };
    let relative = || benefits.iter().map(|b| (b.0 / mean, b.1 / weight));
    let through_mean: f64 = relative().map(|(r, part)| part * r * slope(r)).sum();
    let changes = relative().map(|(r, part)| {
        let by_part = term(r, alpha) - r * through_mean;
        [by_part, part * (slope(r) - through_mean) / mean]
    });
    let there = relative().filter(|(_, part)| *part > 0.0);
    let value: f64 = there.map(|(r, part)| part * term(r, alpha)).sum();
    (value.max(0.0), changes.collect())
}

/// Returns the benefits of individuals and their shares: decided as labelled, undeserved favours, undeserved refusals.
fn persons(error: f64, favour: f64) -> [(f64, f64); 3] {
    [
        (1.0, 1.0 - error),
        (2.0, error * favour),
        (0.0, error * (1.0 - favour)),
    ]
}

/// Returns the index over individuals from the share of errors and the share of undeserved favours among them.
pub(crate) fn of_persons(error: f64, favour: f64, alpha: f64) -> f64 {
    index(&persons(error, favour), alpha).0
}

/// Returns the index between groups from their mean benefits and weights.
pub(crate) fn of_means(groups: &[(f64, f64)], alpha: f64) -> f64 {
    index(groups, alpha).0
}

/// Returns the interval of the index over individuals from the share of errors and, if there are any, the share of
/// undeserved favours among them.
pub(crate) fn over_persons(errors: &Arm, favours: Option<&Arm>, alpha: f64, z: f64) -> Interval {
    if alpha <= 0.0 {
        // The index is estimable, so nobody in the table has a benefit of 0; but somebody in the population may.
        let favoured = |t: &[f64], g: &mut [f64]| {
            let (value, changes) = index(&[(1.0, 1.0 - t[0]), (2.0, t[0])], alpha);
            g[0] = changes[1][0] - changes[0][0];
            value
        };
        return Interval {
            low: Region::new(std::slice::from_ref(errors), z).least(&favoured),
            high: f64::INFINITY,
        };
    }
    let any = |t: &[f64], g: &mut [f64]| {
        // Without errors, refusals are the worst ones possible.
        let (error, favour) = (t[0], t.get(1).copied().unwrap_or(0.0));
        let (value, changes) = index(&persons(error, favour), alpha);
        let [one, two, none] = [0, 1, 2].map(|at: usize| changes[at][0]);
        g[0] = favour * two + (1.0 - favour) * none - one;
        if let Some(g) = g.get_mut(1) {
            *g = error * (two - none);
        }
        value
    };
    let arms: Vec<Arm> = std::iter::once(errors).chain(favours).cloned().collect();
    let region = Region::new(&arms, z);
    Interval {
        low: region.least(&any),
        high: region.most(&any),
    }
}

fn of_groups(t: &[f64], weights: &[f64], alpha: f64, g: &mut [f64]) -> f64 {
    let groups: Vec<(f64, f64)> = t.iter().copied().zip(weights.iter().copied()).collect();
    let (value, changes) = index(&groups, alpha);
    for (g, change) in g.iter_mut().zip(changes) {
        *g = change[1];
    }
    value
}

/// Returns the minimum of the index between groups over the region at `z` of their mean benefits, with these weights.
pub(crate) fn least_between(means: &[Arm], weights: &[f64], alpha: f64, z: f64) -> f64 {
    let region = Region::new(means, z);
    if region.holds_a_common_value() {
        return 0.0;
    }
    region.least(&|t, g| of_groups(t, weights, alpha, g))
}

/// Returns the maximum of the same.
pub(crate) fn most_between(means: &[Arm], weights: &[f64], alpha: f64, z: f64) -> f64 {
    Region::new(means, z).most(&|t, g| of_groups(t, weights, alpha, g))
}

/// Returns how far the minimum is above `null`, on an arbitrary scale; it falls as `z` grows.
pub(crate) fn beyond(means: &[Arm], weights: &[f64], alpha: f64, z: f64, null: f64) -> f64 {
    if null > 0.0 {
        least_between(means, weights, alpha, z) - null
    } else {
        Region::new(means, z).to_a_common_value() - 1.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const Z: f64 = 1.959_963_984_540_054;

    fn rate(x: f64, n: f64) -> Arm {
        Arm::rate(x, n).expect("a rate")
    }

    /// For two groups any index is a function of the ratio of their means, so its ends are those of the ratio.
    #[test]
    fn two_groups_have_the_interval_of_their_ratio() {
        let line = Interval {
            low: 0.0,
            high: f64::INFINITY,
        };
        let mean = |value| Arm::student(value, 0.0004, 1e6, line).expect("a mean");
        let (a, b) = (mean(1.2), mean(1.0));
        let pair = proofmark_stats::Pair::new(a.clone(), b.clone());
        let ratio = pair.interval(proofmark_stats::Scale::Ratio, Z);
        let means = [a, b];
        for alpha in [0.0, 0.5, 1.0, 2.0] {
            let found = Interval {
                low: least_between(&means, &[3.0, 1.0], alpha, Z),
                high: most_between(&means, &[3.0, 1.0], alpha, Z),
            };
            let at = |r: f64| index(&[(r, 3.0), (1.0, 1.0)], alpha).0;
            assert!(
                (found.low - at(ratio.low)).abs() < 1e-7,
                "{alpha} {found:?}"
            );
            assert!(
                (found.high - at(ratio.high)).abs() < 1e-7,
                "{alpha} {found:?}"
            );
        }
    }

    /// With no errors among 100, the upper limit is the index at the largest share of refusals that the limits of the
    /// rate allow. At alpha 2 the index of a share p of refusals is `p / (2 (1 - p))`.
    #[test]
    fn zero_errors_have_a_positive_upper_limit() {
        let most = rate(0.0, 100.0).limits(Z).high;
        let found = over_persons(&rate(0.0, 100.0), None, 2.0, Z);
        assert_eq!(found.low, 0.0);
        assert!(
            (found.high - most / (2.0 * (1.0 - most))).abs() < 1e-9,
            "{found:?}"
        );
        let found = over_persons(&rate(5.0, 100.0), Some(&rate(5.0, 5.0)), 0.0, Z);
        assert!(found.low > 0.0 && found.high.is_infinite());
    }

    proptest! {
        /// The derivatives agree with finite differences.
        #[test]
        fn slopes(b in proptest::collection::vec((0.2..2.0_f64, 0.1..3.0_f64), 2..6), alpha in -1.0..3.0_f64) {
            prop_assume!(alpha.abs() > 1e-3 && (alpha - 1.0).abs() > 1e-3);
            let h = 1e-6;
            for alpha in [alpha, 1.0] {
                let (_, changes) = index(&b, alpha);
                let moved = |at: usize, by: f64| {
                    let mut b = b.clone();
                    b[at].0 += by;
                    index(&b, alpha).0
                };
                for (at, change) in changes.iter().enumerate() {
                    let slope = (moved(at, h) - moved(at, -h)) / (2.0 * h);
                    prop_assert!((slope - change[1]).abs() < 1e-5 * (1.0 + slope.abs()));
                }
                // Moves weight from one part to another.
                let shifted = |by: f64| {
                    let mut b = b.clone();
                    let all: f64 = b.iter().map(|b| b.1).sum();
                    b[0].1 += by * all;
                    b[1].1 -= by * all;
                    index(&b, alpha).0
                };
                let slope = (shifted(h) - shifted(-h)) / (2.0 * h);
                prop_assert!((slope - (changes[0][0] - changes[1][0])).abs() < 1e-5 * (1.0 + slope.abs()));
            }
        }
    }
}
