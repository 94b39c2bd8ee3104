//! Finds the two estimates furthest apart without comparing every pair.
//!
//! **Maths.** With distances `x` and `y` of two estimates from their limits, MOVER's root lies between
//! `(x + y) / sqrt 2` and `x + y`: an end of the interval of `a - b` is at most `u(a) - v(b)`, and one of `a / b` at
//! most `u(a) / v(b)`, where `u` and `v` depend on one estimate each. Pairs are compared in the order of these bounds
//! until no other pair can be further apart. Identical estimates count once (twice, where their own difference is
//! needed).
//!
//! **Cost.** For `k` estimates `k log k` and a few pairs, instead of all `k^2 / 2` pairs. Limits are expensive: those
//! of each distinct estimate are computed once per critical value, and for a p-value only those of estimates that may
//! still be in a pair beyond the null.

use std::f64::consts::FRAC_1_SQRT_2;

use crate::simultaneous::Limits;
use crate::{Arm, Scale};

/// Allowance for rounding: a value this close to a bound may reach it.
const SLACK: f64 = 1e-12;

/// Distinct estimates.
pub(crate) struct Spread {
    /// Each estimate with whether it occurs more than once.
    arms: Vec<(Arm, bool)>,
}

/// Bounds on an estimate's contribution to a contrast, as the larger of two and as the smaller.
#[derive(Clone, Copy)]
struct Reach {
    high: f64,
    low: f64,
}

impl Spread {
    pub(crate) fn new(arms: &[Arm]) -> Self {
        let mut order: Vec<usize> = (0..arms.len()).collect();
        order.sort_by(|a, b| arms[*a].value().total_cmp(&arms[*b].value()));
        let mut distinct: Vec<(Arm, bool)> = Vec::new();
        // Start of the estimates that have the current value.
        let mut run = 0;
        for at in order {
            let arm = &arms[at];
            if distinct
                .last()
                .is_some_and(|(last, _)| last.value() != arm.value())
            {
                run = distinct.len();
            }
            match distinct[run..].iter_mut().find(|(other, _)| other == arm) {
                Some((_, several)) => *several = true,
                None => distinct.push((arm.clone(), false)),
            }
        }
        Self { arms: distinct }
    }

    /// Returns the nearer end of the pair for which it is furthest from equality; past equality if there is no such
    /// pair.
    pub(crate) fn nearest(&self, scale: Scale, z: f64) -> f64 {
        search_near(scale, &self.limits(z)).0
    }

    /// Does the same, and drops every estimate that is in no pair whose end lies beyond `null`.
    pub(crate) fn nearest_and_keep(&mut self, scale: Scale, z: f64, null: f64) -> f64 {
        let limits = self.limits(z);
        let (end, reach) = search_near(scale, &limits);
        let best =
            |of: fn(&Reach) -> f64, pick: fn(f64, f64) -> f64| reach.iter().map(of).reduce(pick);
        let highest = best(|r| r.high, f64::max);
        let lowest = best(|r| r.low, f64::min);
        // If nothing is beyond the null, smaller critical values follow, and all estimates are needed.
        if let (Some(highest), Some(lowest)) = (highest, lowest)
            && scale.further(end, null) != null
        {
            let mut kept = reach.iter().map(|r| {
                may_exceed(scale, bound(scale, r.high, lowest), null)
                    || may_exceed(scale, bound(scale, highest, r.low), null)
            });
            self.arms.retain(|_| kept.next().unwrap_or(true));
        }
        end
    }

    /// Returns the farther end of the pair for which it is furthest from equality.
    pub(crate) fn farthest(&self, scale: Scale, z: f64) -> f64 {
        let limits = self.limits(z);
        let reach: Vec<Reach> = limits
            .iter()
            .map(|l| Reach {
                high: l.above + (l.ends.high - l.above).abs(),
                low: l.below - (l.below - l.ends.low).abs(),
            })
            .collect();
        let equal = match scale {
            Scale::Difference => 0.0,
            Scale::Ratio => 1.0,
        };
        let twins = limits.iter().zip(&self.arms).filter(|(_, arm)| arm.1);
        let twins = twins.map(|(l, _)| scale.ends(l.against(*l, scale)).1);
        let start = twins.fold(equal, |a, b| scale.further(a, b));
        search(scale, &limits, &reach, start, |ends| ends.1)
    }

    fn limits(&self, z: f64) -> Vec<Limits> {
        self.arms
            .iter()
            .map(|(arm, _)| Limits::new(arm, z))
            .collect()
    }
}

/// Returns the nearer end of the furthest pair, and the reach of each estimate.
fn search_near(scale: Scale, limits: &[Limits]) -> (f64, Vec<Reach>) {
    let reach: Vec<Reach> = limits
        .iter()
        .map(|l| Reach {
            high: l.below - FRAC_1_SQRT_2 * (l.below - l.ends.low).abs(),
            low: l.above + FRAC_1_SQRT_2 * (l.ends.high - l.above).abs(),
        })
        .collect();
    let none = match scale {
        Scale::Difference => f64::NEG_INFINITY,
        Scale::Ratio => f64::INFINITY,
    };
    (search(scale, limits, &reach, none, |ends| ends.0), reach)
}

/// Returns the furthest that two estimates of these reaches can be apart.
fn bound(scale: Scale, high: f64, low: f64) -> f64 {
    match scale {
        Scale::Difference => high - low,
        Scale::Ratio if high <= 0.0 => f64::INFINITY,
        Scale::Ratio => (low / high).max(0.0),
    }
}

/// Returns whether a contrast with this bound may be further than `end`.
fn may_exceed(scale: Scale, bound: f64, end: f64) -> bool {
    match scale {
        Scale::Difference => bound + SLACK * (1.0 + bound.abs()) > end,
        Scale::Ratio => bound * (1.0 - SLACK) < end,
    }
}

/// Returns the furthest end of all pairs, or `start` if that is further; NaN if some limit is NaN.
fn search(
    scale: Scale,
    limits: &[Limits],
    reach: &[Reach],
    start: f64,
    end: impl Fn((f64, f64)) -> f64,
) -> f64 {
    if start.is_nan() || reach.iter().any(|r| r.high.is_nan() || r.low.is_nan()) {
        return if limits.len() > 1 { f64::NAN } else { start };
    }
    let sorted = |of: &dyn Fn(&Reach) -> f64| {
        let mut order: Vec<usize> = (0..reach.len()).collect();
        order.sort_by(|a, b| of(&reach[*a]).total_cmp(&of(&reach[*b])));
        order
    };
    let (highs, lows) = (sorted(&|r| -r.high), sorted(&|r| r.low));
    let mut best = start;
    for high in &highs {
        let mut looked = false;
        for low in &lows {
            if !may_exceed(
                scale,
                bound(scale, reach[*high].high, reach[*low].low),
                best,
            ) {
                break;
            }
            looked = true;
            if high != low {
                let (first, second) = (high.min(low), high.max(low));
                let contrast = limits[*first].against(limits[*second], scale);
                best = scale.further(best, end(scale.ends(contrast)));
            }
        }
        if !looked {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Compares every pair.
    fn plainly(arms: &[Arm], scale: Scale, z: f64) -> (f64, f64) {
        let limits: Vec<Limits> = arms.iter().map(|a| Limits::new(a, z)).collect();
        let (mut near, mut far) = match scale {
            Scale::Difference => (f64::NEG_INFINITY, 0.0),
            Scale::Ratio => (f64::INFINITY, 1.0),
        };
        for (at, a) in limits.iter().enumerate() {
            for b in &limits[at + 1..] {
                let ends = scale.ends(a.against(*b, scale));
                near = scale.further(near, ends.0);
                far = scale.further(far, ends.1);
            }
        }
        (near, far)
    }

    fn arm() -> impl Strategy<Value = Arm> {
        let rate = (0_u32..40, 1_u32..40)
            .prop_map(|(x, n)| Arm::rate(f64::from(x.min(n)), f64::from(n)).expect("a rate"));
        let line = proofmark_domain::Interval {
            low: 0.0,
            high: f64::INFINITY,
        };
        let mean = (0.0..2.0_f64, 0.0..0.1_f64)
            .prop_map(move |(v, s)| Arm::student(v, s, 30.0, line).expect("a mean"));
        prop_oneof![4 => rate, 1 => mean]
    }

    proptest! {
        /// Skipped pairs are not the furthest: the ends are those of all pairs.
        #[test]
        fn the_ends_are_those_of_all_pairs(
            arms in proptest::collection::vec(arm(), 2..30), z in 0.0..5.0_f64,
        ) {
            let spread = Spread::new(&arms);
            for scale in [Scale::Difference, Scale::Ratio] {
                let (near, far) = plainly(&arms, scale, z);
                let found = (spread.nearest(scale, z), spread.farthest(scale, z));
                let close = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-12 * (1.0 + a.abs());
                // Identical estimates alone are never beyond equality.
                let none = found.0.is_infinite() && !spread.arms.is_empty();
                let equal = match scale { Scale::Difference => near <= 0.0, Scale::Ratio => near >= 1.0 };
                prop_assert!(close(near, found.0) || none && equal || {
                    equal && match scale { Scale::Difference => found.0 <= 0.0, Scale::Ratio => found.0 >= 1.0 }
                }, "{scale:?} near {near} {}", found.0);
                prop_assert!(close(far, found.1), "{scale:?} far {far} {}", found.1);
            }
        }

        /// Dropped estimates are in no pair beyond the null at any larger critical value.
        #[test]
        fn dropping_estimates_changes_no_end(
            arms in proptest::collection::vec(arm(), 2..30), null in 0.0..0.5_f64,
        ) {
            for (scale, null) in [(Scale::Difference, null), (Scale::Ratio, 1.0 - null)] {
                let mut spread = Spread::new(&arms);
                for z in [0.1, 0.5, 1.0, 2.0, 3.0] {
                    let all = plainly(&arms, scale, z).0;
                    let kept = spread.nearest_and_keep(scale, z, null);
                    let beyond = |end: f64| match scale { Scale::Difference => end > null, Scale::Ratio => end < null };
                    prop_assert_eq!(beyond(all), beyond(kept), "{:?} at {}: {} {}", scale, z, all, kept);
                    if beyond(all) {
                        prop_assert!((all - kept).abs() <= 1e-12 * (1.0 + all.abs()));
                    }
                }
            }
        }
    }
}
