//! Intervals for a rate `p`, given a count of `correct` in `n`.
//!
//! **Maths.** Clopper and Pearson invert the exact binomial tails: the lower end is the `p` at which `correct` or more
//! would be seen with probability alpha, that is the alpha quantile of Beta(correct, n - correct + 1); the upper end
//! mirrors it. Coverage is never below the level. Wilson inverts the normal score test: shorter, but it reaches the
//! level only on average.
//!
//! **Reference.** Clopper and Pearson, Biometrika 26 (1934); Wilson, JASA 22 (1927).
//!
//! For a count above `n`, a level outside `(0, 1)` or a NaN the interval is `[0, 1]`.

use proofmark_domain::Interval;
use statrs::function::erf::erfc_inv;

use crate::beta;

const ANYTHING: Interval = Interval {
    low: 0.0,
    high: 1.0,
};

/// Returns the two-sided Clopper-Pearson interval of level `level`, for example 0.95. `n = 0` gives `[0, 1]`.
///
/// ```
/// let i = proofmark_stats::clopper_pearson(26, 50, 0.95);
/// assert!((i.low - 0.3742).abs() < 5e-5 && (i.high - 0.6634).abs() < 5e-5);
/// ```
pub fn clopper_pearson(correct: u64, n: u64, level: f64) -> Interval {
    if !states_something(correct, n, level) {
        return ANYTHING;
    }
    let tail = (1.0 - level) / 2.0;
    Interval {
        low: lower(correct, n, tail),
        high: 1.0 - lower(n - correct, n, tail),
    }
}

/// Returns the one-sided lower bound: with confidence `level` the rate is at least this. `n = 0` gives 0.
pub fn clopper_pearson_lower(correct: u64, n: u64, level: f64) -> f64 {
    if states_something(correct, n, level) {
        lower(correct, n, 1.0 - level)
    } else {
        0.0
    }
}

/// Returns the one-sided upper bound: with confidence `level` the rate is at most this. `n = 0` gives 1.
pub fn clopper_pearson_upper(correct: u64, n: u64, level: f64) -> f64 {
    if states_something(correct, n, level) {
        1.0 - lower(n - correct, n, 1.0 - level)
    } else {
        1.0
    }
}

/// Returns the two-sided Wilson score interval of level `level`. `n = 0` gives `[0, 1]`.
pub fn wilson(correct: u64, n: u64, level: f64) -> Interval {
    if !states_something(correct, n, level) {
        return ANYTHING;
    }
    let n = n as f64;
    let p = correct as f64 / n;
    let z2 = 2.0 * erfc_inv(1.0 - level).powi(2);
    let centre = p + z2 / (2.0 * n);
    let half = (z2 * (p * (1.0 - p) + z2 / (4.0 * n)) / n).sqrt();
    let scale = 1.0 + z2 / n;
    // At the ends of the range the limit is exactly the end, despite rounding.
    Interval {
        low: if correct == 0 {
            0.0
        } else {
            ((centre - half) / scale).max(0.0)
        },
        high: if p == 1.0 {
            1.0
        } else {
            ((centre + half) / scale).min(1.0)
        },
    }
}

/// Returns whether [`clopper_pearson`] excludes `rate`, without inverting the tails.
pub(crate) fn excludes(correct: u64, n: u64, rate: f64, level: f64) -> bool {
    let tail = (1.0 - level) / 2.0;
    let wrong = n - correct;
    let above = correct > 0 && beta::regularised(correct as f64, wrong as f64 + 1.0, rate) < tail;
    let below =
        wrong > 0 && beta::regularised(wrong as f64, correct as f64 + 1.0, 1.0 - rate) < tail;
    above || below
}

pub(crate) fn states_something(correct: u64, n: u64, level: f64) -> bool {
    n > 0 && correct <= n && level > 0.0 && level < 1.0
}

/// Returns the `tail` quantile of Beta(correct, n - correct + 1), by bisection to the last bit.
fn lower(correct: u64, n: u64, tail: f64) -> f64 {
    if correct == 0 {
        return 0.0;
    }
    if correct == n {
        return (tail.ln() / n as f64).exp();
    }
    let (a, b) = (correct as f64, (n - correct) as f64 + 1.0);
    let (mut low, mut high) = (0.0, 1.0);
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return low;
        }
        if beta::regularised(a, b, middle) < tail {
            low = middle;
        } else {
            high = middle;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() < tolerance, "{got}, expected {want}");
    }

    /// Values from another source (randomized smoothing certificates, alpha 0.001).
    #[test]
    fn one_sided_golden_values() {
        for (correct, n, want) in [
            (100_000, 100_000, 0.999_930_92),
            (99_000, 100_000, 0.988_989_34),
            (90_000, 100_000, 0.897_036_50),
            (60_000, 100_000, 0.595_201_05),
            (50_500, 100_000, 0.500_108_95),
            (100, 100, 0.933_254_30),
            (990, 1000, 0.976_036_19),
        ] {
            near(clopper_pearson_lower(correct, n, 0.999), want, 6e-9);
            near(
                clopper_pearson_upper(n - correct, n, 0.999),
                1.0 - want,
                6e-9,
            );
        }
    }

    #[test]
    fn two_sided_golden_values() {
        for (correct, n, low, high) in [
            (7371, 10_000, 0.7284, 0.7457),
            (580, 1000, 0.5487, 0.6108),
            (26, 50, 0.3742, 0.6634),
            (0, 200, 0.0, 0.0183),
        ] {
            let i = clopper_pearson(correct, n, 0.95);
            near(i.low, low, 6e-5);
            near(i.high, high, 6e-5);
        }
    }

    #[test]
    fn edges_are_exact() {
        let i = clopper_pearson(0, 10, 0.95);
        near(i.low, 0.0, 1e-300);
        near(i.high, 1.0 - 0.025_f64.powf(0.1), 1e-15);
        let i = clopper_pearson(10, 10, 0.95);
        near(i.low, 0.025_f64.powf(0.1), 1e-15);
        near(i.high, 1.0, 1e-300);
    }

    #[test]
    fn invalid_arguments_give_the_whole_range() {
        for (correct, n, level) in [
            (0, 0, 0.95),
            (3, 2, 0.95),
            (1, 2, 0.0),
            (1, 2, 1.0),
            (1, 2, f64::NAN),
            (1, 2, -1.0),
        ] {
            assert_eq!(clopper_pearson(correct, n, level), ANYTHING);
            assert_eq!(wilson(correct, n, level), ANYTHING);
            near(clopper_pearson_lower(correct, n, level), 0.0, 1e-300);
            near(clopper_pearson_upper(correct, n, level), 1.0, 1e-300);
        }
    }

    /// Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    #[test]
    fn wilson_golden_values() {
        for (correct, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let i = wilson(correct, n, 0.95);
            near(i.low, low, 6e-5);
            near(i.high, high, 6e-5);
        }
    }

    /// For every rate, the probability of a count whose interval contains the rate is at least the level.
    #[test]
    fn coverage_is_never_below_the_level() {
        for n in [1_u64, 2, 7, 20, 61] {
            for level in [0.8, 0.95, 0.99] {
                let intervals: Vec<_> = (0..=n).map(|k| clopper_pearson(k, n, level)).collect();
                for step in 1..200 {
                    let p = f64::from(step) / 200.0;
                    let mut pmf = (1.0 - p).powi(n as i32);
                    let mut covered = 0.0;
                    for (k, i) in (0..=n).zip(&intervals) {
                        if (i.low..=i.high).contains(&p) {
                            covered += pmf;
                        }
                        pmf *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
                    }
                    assert!(covered >= level - 1e-9, "n {n}, p {p}: {covered} < {level}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn intervals_hold_the_rate_and_grow_with_the_level(n in 1_u64..5000, part in 0.0..=1.0_f64) {
            let correct = (part * n as f64) as u64;
            let rate = correct as f64 / n as f64;
            for f in [clopper_pearson, wilson] {
                let (narrow, wide) = (f(correct, n, 0.9), f(correct, n, 0.99));
                prop_assert!(wide.low <= narrow.low && narrow.high <= wide.high);
                // Wilson's ends are a rounding error off at rates 0 and 1.
                prop_assert!(narrow.low <= rate + 1e-12 && rate - 1e-12 <= narrow.high);
                prop_assert!(0.0 <= wide.low && wide.high <= 1.0);
            }
        }

        #[test]
        fn excludes_agrees_with_the_interval(n in 1_u64..5000, part in 0.0..=1.0_f64, rate in 0.0..=1.0_f64) {
            let correct = (part * n as f64) as u64;
            let i = clopper_pearson(correct, n, 0.95);
            prop_assert_eq!(excludes(correct, n, rate, 0.95), rate < i.low || rate > i.high);
        }
    }
}
