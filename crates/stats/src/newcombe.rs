//! Newcombe's hybrid-score interval for a difference of two proportions.
//!
//! **Maths.** [`crate::mover_difference`] of Wilson's limits.
//!
//! **Reference.** Newcombe, Statistics in Medicine 17 (1998) 873-890, method 10.
//!
//! **When it fails.** With few expected events in one small group and a level far above 95 %, Wilson's lower limit is
//! too high: simultaneous intervals use other limits ([`crate::Arm`]).

use proofmark_domain::Interval;

use crate::{mover_difference, wilson};

/// Returns the interval of level `level` for `p1 - p2`, from counts of `x1` in `n1` and `x2` in `n2`; `[-1, 1]` if they
/// are invalid.
///
/// ```
/// let i = proofmark_stats::newcombe((56, 70), (48, 80), 0.95);
/// assert!((i.low - 0.0524).abs() < 5e-5 && (i.high - 0.3339).abs() < 5e-5);
/// ```
pub fn newcombe((x1, n1): (u64, u64), (x2, n2): (u64, u64), level: f64) -> Interval {
    if !stated(x1, n1, level) || !stated(x2, n2, level) {
        return Interval {
            low: -1.0,
            high: 1.0,
        };
    }
    let i = mover_difference(part(x1, n1, level), part(x2, n2, level));
    Interval {
        low: i.low.max(-1.0),
        high: i.high.min(1.0),
    }
}

fn stated(x: u64, n: u64, level: f64) -> bool {
    n > 0 && x <= n && level > 0.0 && level < 1.0
}

fn part(x: u64, n: u64, level: f64) -> (f64, Interval) {
    (x as f64 / n as f64, wilson(x, n, level))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcombe's table II, method 10, all eight.
    #[test]
    fn published_values() {
        for (a, b, low, high) in [
            ((56, 70), (48, 80), 0.0524, 0.3339),
            ((9, 10), (3, 10), 0.1705, 0.8090),
            ((6, 7), (2, 7), 0.0582, 0.8062),
            ((5, 56), (0, 29), -0.0381, 0.1926),
            ((0, 10), (0, 20), -0.1611, 0.2775),
            ((0, 10), (0, 10), -0.2775, 0.2775),
            ((10, 10), (0, 20), 0.6791, 1.0),
            ((10, 10), (0, 10), 0.6075, 1.0),
        ] {
            let i = newcombe(a, b, 0.95);
            assert!((i.low - low).abs() < 5.1e-5, "{a:?} {b:?}: {i:?}");
            assert!((i.high - high).abs() < 5.1e-5, "{a:?} {b:?}: {i:?}");
        }
    }

    #[test]
    fn invalid_arguments_give_the_whole_range() {
        for (a, b, level) in [
            ((0, 0), (1, 2), 0.95),
            ((3, 2), (1, 2), 0.95),
            ((1, 2), (1, 2), 1.0),
        ] {
            assert_eq!(
                newcombe(a, b, level),
                Interval {
                    low: -1.0,
                    high: 1.0
                }
            );
        }
    }
}
