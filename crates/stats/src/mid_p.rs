//! Mid-P limits of a rate.
//!
//! **Maths.** Like Clopper and Pearson's, but only half of the probability of the count seen is added to the tail:
//! the lower limit is the `p` with `P(X > x) + P(X = x) / 2 = alpha / 2`, the upper limit mirrors it. The tails are
//! beta functions, so that a count may be fractional (effective sample sizes of weighted data).
//!
//! **Why.** Coverage averages the level as Wilson's does, but far out in the tails, where simultaneous intervals
//! live, it stays near it: of a count with an expectation below one, Wilson's lower limit at z = 3.2 is exceeded ten
//! times too often, this one less than twice.
//!
//! **Reference.** Lancaster, JASA 56 (1961); Berry and Armitage, The Statistician 44 (1995). Fractional counts:
//! Korn and Graubard, Survey Methodology 24 (1998).

use proofmark_domain::Interval;
use statrs::function::gamma::ln_gamma;

use crate::{beta, normal_critical, normal_tail};

/// The two-sided mid-P interval of level `level` for `successes` of `n`, which need not be whole.
///
/// A count that is negative or above `n`, an empty sample, a level outside `(0, 1)` or a NaN makes no statement: the
/// interval is `[0, 1]`.
///
/// ```
/// let i = proofmark_stats::mid_p(0.0, 10.0, 0.95);
/// // Half of (1 - p)^10 is 0.025.
/// assert!((i.high - (1.0 - 0.05_f64.powf(0.1))).abs() < 1e-9 && i.low == 0.0);
/// ```
pub fn mid_p(successes: f64, n: f64, level: f64) -> Interval {
    if level > 0.0 && level < 1.0 {
        mid_p_limits(successes, n, normal_critical(level))
    } else {
        Interval {
            low: 0.0,
            high: 1.0,
        }
    }
}

/// The same with the tail that a normal variable leaves beyond `z`.
pub(crate) fn mid_p_limits(successes: f64, n: f64, z: f64) -> Interval {
    if !(n > 0.0 && n.is_finite() && successes >= 0.0 && successes <= n && z >= 0.0) {
        return Interval {
            low: 0.0,
            high: 1.0,
        };
    }
    let tail = normal_tail(z);
    Interval {
        low: lower(successes, n, z, tail),
        high: 1.0 - lower(n - successes, n, z, tail),
    }
}

/// The lower limit: a root of the log of the tail, bracketed and then closed in on by regula falsi (Illinois).
fn lower(x: f64, n: f64, z: f64, tail: f64) -> f64 {
    let rate = x / n;
    if x <= 0.0 {
        return 0.0;
    }
    if x >= n {
        // p^n / 2 = alpha / 2.
        return (2.0 * tail).powf(1.0 / n).min(1.0);
    }
    let choose = ln_gamma(n + 1.0) - ln_gamma(x + 1.0) - ln_gamma(n - x + 1.0);
    let excess = |p: f64| {
        let seen = (choose + x * p.ln() + (n - x) * (-p).ln_1p()).exp();
        let beyond = beta::regularised(x, n - x + 1.0, p) - 0.5 * seen;
        beyond.max(f64::MIN_POSITIVE).ln() - tail.ln()
    };
    // Below Wilson's limit by as much again is far enough nearly always; halving finds the rest.
    let z2 = z * z;
    let wilson = (x + z2 / 2.0 - z * (x * (1.0 - rate) + z2 / 4.0).sqrt()) / (n + z2);
    let (mut a, mut b) = ((2.0 * wilson - rate).max(0.25 * wilson), rate);
    let (mut fa, mut fb) = (excess(a), excess(b));
    if fb <= 0.0 {
        // Fractional counts below one: the median of the beta tail can lie above the rate.
        return rate;
    }
    for _ in 0..1000 {
        if fa < 0.0 {
            break;
        }
        (b, fb) = (a, fa);
        a *= 0.5;
        fa = excess(a);
    }
    for _ in 0..100 {
        if b - a <= 1e-14 * b {
            break;
        }
        let mut middle = (a * fb - b * fa) / (fb - fa);
        if !(middle > a && middle < b) {
            middle = f64::midpoint(a, b);
        }
        let f = excess(middle);
        if f == 0.0 || f.abs() < 1e-13 {
            return middle;
        }
        if f < 0.0 {
            (a, fa) = (middle, f);
            fb *= 0.5;
        } else {
            (b, fb) = (middle, f);
            fa *= 0.5;
        }
    }
    f64::midpoint(a, b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clopper_pearson;

    /// Computed apart: bisection on scipy 1.17.1's binomial distribution.
    #[test]
    fn golden_values() {
        for (x, n, level, low, high) in GOLDEN {
            let i = mid_p(x, n, level);
            assert!((i.low - low).abs() < 1e-9, "{x}/{n}: {i:?}");
            assert!((i.high - high).abs() < 1e-9, "{x}/{n}: {i:?}");
        }
    }

    const GOLDEN: [(f64, f64, f64, f64, f64); 5] = [
        (1.0, 30.0, 0.95, 0.001_667_279_966, 0.153_609_241_192),
        (26.0, 50.0, 0.95, 0.382_354_273_698, 0.655_388_742_657),
        (7371.0, 10_000.0, 0.95, 0.728_403_780_416, 0.745_658_988_733),
        (3.0, 30.0, 0.999, 0.006_454_973_629, 0.372_831_508_070),
        (0.0, 20.0, 0.99, 0.0, 0.205_671_765_276),
    ];

    #[test]
    fn nonsense_makes_no_statement() {
        for (x, n, level) in [
            (0.0, 0.0, 0.95),
            (3.0, 2.0, 0.95),
            (-1.0, 2.0, 0.95),
            (f64::NAN, 2.0, 0.95),
            (1.0, f64::INFINITY, 0.95),
            (1.0, 2.0, 1.0),
            (1.0, 2.0, f64::NAN),
        ] {
            assert_eq!(
                mid_p(x, n, level),
                Interval {
                    low: 0.0,
                    high: 1.0
                }
            );
        }
    }

    proptest! {
        #[test]
        fn within_clopper_and_pearson_and_around_the_rate(
            n in 1_u64..3000,
            part in 0.0..=1.0_f64,
            level in 0.5..0.9999_f64,
        ) {
            let x = (part * n as f64) as u64;
            let (exact, mid) = (clopper_pearson(x, n, level), mid_p(x as f64, n as f64, level));
            let rate = x as f64 / n as f64;
            prop_assert!(exact.low <= mid.low + 1e-9 && mid.high <= exact.high + 1e-9);
            prop_assert!(mid.low <= rate + 1e-12 && rate <= mid.high + 1e-12);
        }

        #[test]
        fn fractional_counts_are_in_order(x in 0.0..50.0_f64, more in 0.0..5.0_f64, z in 0.1..6.0_f64) {
            let (a, b) = (mid_p_limits(x, 60.0, z), mid_p_limits(x + more, 60.0, z));
            prop_assert!(a.low <= b.low + 1e-9 && a.high <= b.high + 1e-9);
        }

        #[test]
        fn mirrored(x in 0.0..40.0_f64, z in 0.1..6.0_f64) {
            let (a, b) = (mid_p_limits(x, 40.0, z), mid_p_limits(40.0 - x, 40.0, z));
            prop_assert!((a.low - (1.0 - b.high)).abs() < 1e-9);
        }
    }
}
