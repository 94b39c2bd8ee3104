//! The range of `k` independent standard normal variables: the studentised range with infinitely many degrees of
//! freedom.
//!
//! **Maths.** `P(range > q) = k int phi(t) (Phi(t)^(k-1) - (Phi(t) - Phi(t - q))^(k-1)) dt`, where `t` is the largest.
//! For a smooth integrand that vanishes at both ends the trapezoid rule converges faster than any power of its step.
//!
//! **Reference.** Tukey, *The problem of multiple comparisons* (1953); Hartley, Biometrika 32 (1942). Tables: Harter,
//! Annals of Mathematical Statistics 31 (1960).

use std::f64::consts::SQRT_2;

use crate::normal::{density, normal_critical, normal_tail};

/// Returns the probability that the range of `k` standard normal variables exceeds `q`; 0 below two variables.
pub fn range_tail(q: f64, k: usize) -> f64 {
    /// Beyond this the density adds less than 1e-22.
    const LIMIT: i32 = 10;
    /// Steps per unit.
    const FINE: i32 = 8;
    if k < 2 {
        return 0.0;
    }
    if q.is_nan() || q <= 0.0 {
        return 1.0;
    }
    let others = (k - 1) as f64;
    let sum: f64 = (-LIMIT * FINE..=LIMIT * FINE)
        .map(|i| {
            let t = f64::from(i) / f64::from(FINE);
            let below = normal_tail(-t);
            let far = normal_tail(q - t) / below;
            // Phi^(k-1) times 1 - (1 - far)^(k-1), without loss of precision where far is small.
            density(t) * (others * below.ln()).exp() * -(others * (-far.min(1.0)).ln_1p()).exp_m1()
        })
        .sum();
    (k as f64 * sum / f64::from(FINE)).clamp(0.0, 1.0)
}

/// Returns the `q` that the range of `k` standard normal variables exceeds with probability `tail`.
///
/// ```
/// let q = proofmark_stats::range_critical(0.05, 3);
/// assert!((q - 3.314).abs() < 5e-4); // as in the tables
/// ```
pub fn range_critical(tail: f64, k: usize) -> f64 {
    if k < 2 || tail >= 1.0 {
        return 0.0;
    }
    if tail.is_nan() || tail <= 0.0 {
        return f64::INFINITY;
    }
    if k == 2 {
        return SQRT_2 * normal_critical(1.0 - tail);
    }
    // Bracket: the values for one pair and for as many independent pairs (Sidak).
    let pairs = (k * (k - 1) / 2) as f64;
    let sidak = -((-tail).ln_1p() / pairs).exp_m1();
    let mut low = SQRT_2 * normal_critical(1.0 - tail) - 1e-6;
    let mut high = SQRT_2 * normal_critical(1.0 - sidak) + 1e-6;
    let above = |q: f64| range_tail(q, k).max(f64::MIN_POSITIVE).ln() - tail.ln();
    let (mut f_low, mut f_high) = (above(low), above(high));
    // Regula falsi (Illinois): the log of the tail is nearly straight.
    let mut raised = None;
    for _ in 0..60 {
        let mut q = (low * f_high - high * f_low) / (f_high - f_low);
        if !(q > low && q < high) {
            q = f64::midpoint(low, high);
        }
        let f = above(q);
        if f.abs() < 1e-11 || high - low < 1e-13 {
            return q;
        }
        if f > 0.0 {
            (low, f_low) = (q, f);
            if raised.replace(true) == Some(true) {
                f_high *= 0.5;
            }
        } else {
            (high, f_high) = (q, f);
            if raised.replace(false) == Some(false) {
                f_low *= 0.5;
            }
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Upper 5 % and 1 % points, infinitely many degrees of freedom (Pearson and Hartley, table 29).
    #[test]
    fn tables() {
        for (k, five, one) in [
            (2, 2.772, 3.643),
            (3, 3.314, 4.120),
            (4, 3.633, 4.403),
            (5, 3.858, 4.603),
            (10, 4.474, 5.157),
            (20, 5.012, 5.645),
        ] {
            assert!((range_critical(0.05, k) - five).abs() < 1.1e-3, "{k}");
            assert!((range_critical(0.01, k) - one).abs() < 1.1e-3, "{k}");
        }
    }

    /// scipy 1.17.1, `studentized_range(k, inf).sf(q)`.
    #[test]
    fn golden_values() {
        for (q, k, want) in RANGE_GOLDEN {
            let got = range_tail(q, k);
            assert!((got - want).abs() < 1e-9, "{q} {k}: {got}");
        }
    }

    const RANGE_GOLDEN: [(f64, usize, f64); 4] = [
        (3.0, 5, 0.210_876_504_964),
        (4.474, 10, 0.050_013_241_593),
        (1.0, 3, 0.759_287_358_771),
        (6.0, 8, 0.000_583_427_345),
    ];

    #[test]
    fn two_variables_differ_normally() {
        for z in [0.1, 1.0, 1.96, 4.0, 7.0] {
            let got = range_tail(z * SQRT_2, 2);
            assert!(
                (got / (2.0 * normal_tail(z)) - 1.0).abs() < 1e-8,
                "{z}: {got}"
            );
        }
        let z = range_critical(0.05, 2) / SQRT_2;
        assert!((z - normal_critical(0.95)).abs() < 1e-10);
    }

    #[test]
    fn edges() {
        assert_eq!(
            (
                range_tail(1.0, 1),
                range_tail(0.0, 3),
                range_tail(f64::NAN, 3)
            ),
            (0.0, 1.0, 1.0)
        );
        assert_eq!(
            (range_critical(0.05, 1), range_critical(1.0, 4)),
            (0.0, 0.0)
        );
        assert!(range_critical(0.0, 4).is_infinite());
    }

    proptest! {
        #[test]
        fn falls_with_q_and_grows_with_k(q in 0.01..8.0_f64, more in 0.01..2.0_f64, k in 2_usize..60) {
            prop_assert!(range_tail(q + more, k) < range_tail(q, k) + 1e-11);
            prop_assert!(range_tail(q, k) <= range_tail(q, k + 1) + 1e-11);
        }

        /// Never more than the value for as many independent pairs.
        #[test]
        fn at_most_sidak(tail in 1e-6..0.5_f64, k in 2_usize..40) {
            let pairs = (k * (k - 1) / 2) as f64;
            let sidak = normal_critical((1.0 - tail).powf(1.0 / pairs));
            prop_assert!(range_critical(tail, k) <= sidak * SQRT_2 + 1e-6);
        }
    }
}
