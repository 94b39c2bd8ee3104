//! Differences and ratios from the limits of their parts: the method of variance estimates recovery (MOVER).
//!
//! **Maths.** For independent estimates `a` in `[l1, u1]` and `b` in `[l2, u2]`, each distance between estimate and
//! limit stands for `z` standard errors *near that limit*:
//!
//! ```text
//! a - b:  L = a - b - sqrt((a - l1)^2 + (u2 - b)^2),   U = a - b + sqrt((u1 - a)^2 + (b - l2)^2)
//! a / b:  the R with a - R b -+ the same root (R times b's distance) = 0
//!         L = l1 (2a - l1) / (ab + sqrt((ab)^2 - l1 (2a - l1) u2 (2b - u2)))
//!         U = (ab + sqrt((ab)^2 - u1 (2a - u1) l2 (2b - l2))) / (l2 (2b - l2))
//! ```
//!
//! **Why this for ratios** and not Koopman's score interval: it needs only the limits, so it supports weights, means
//! and simultaneous levels at no cost, and it agrees with the difference: the interval of the ratio excludes 1 exactly
//! if that of the difference excludes 0. A report never calls a gap settled and its ratio open.
//!
//! **Reference.** Zou and Donner, Statistics in Medicine 27 (2008); for ratios Donner and Zou, Statistical Methods in
//! Medical Research 21 (2012). With Wilson's limits the difference is Newcombe's hybrid score interval.

use proofmark_domain::Interval;

/// An estimate and its limits.
pub(crate) type Limited = (f64, Interval);

/// Returns the limits of `a - b`.
pub fn mover_difference((a, i): Limited, (b, j): Limited) -> Interval {
    Interval {
        low: a - b - (a - i.low).hypot(j.high - b),
        high: a - b + (i.high - a).hypot(b - j.low),
    }
}

/// Returns the limits of `a / b`, both at least 0; the upper one is infinite if `b`'s lower limit is 0.
pub fn mover_ratio((a, i): Limited, (b, j): Limited) -> Interval {
    let product = a * b;
    // Use distances rather than the square of the product minus a nearly equal number: the interval of estimates
    // without uncertainty then has no rounding error.
    let (low_a, low_b) = (i.low * (2.0 * a - i.low), j.low * (2.0 * b - j.low));
    let root = |one: f64, apart: f64, low: f64, other: f64| {
        (one * one * apart * apart + low * other * other).sqrt()
    };
    Interval {
        low: if low_a > 0.0 {
            low_a / (product + root(b, a - i.low, low_a, j.high - b))
        } else {
            0.0
        },
        high: if low_b > 0.0 {
            (product + root(a, b - j.low, low_b, i.high - a)) / low_b
        } else {
            f64::INFINITY
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mid_p;

    fn limited(x: f64, n: f64) -> Limited {
        (x / n, mid_p(x, n, 0.95))
    }

    /// Computed independently: the roots of `a - R b -+ sqrt(...)` by Brent's method (scipy 1.17.1) from Wilson's
    /// limits.
    #[test]
    fn ratio_golden_values() {
        for (x, n, y, m, low, high) in RATIO_GOLDEN {
            let w = |x: u64, n: u64| (x as f64 / n as f64, crate::wilson(x, n, 0.95));
            let i = mover_ratio(w(x, n), w(y, m));
            assert!((i.low - low).abs() < 1e-9, "{x}/{n} {y}/{m}: {i:?}");
            assert!((i.high - high).abs() < 1e-8, "{x}/{n} {y}/{m}: {i:?}");
        }
    }

    const RATIO_GOLDEN: [(u64, u64, u64, u64, f64, f64); 4] = [
        (56, 70, 48, 80, 1.078_294_613_240, 1.662_919_966_511),
        (9, 10, 3, 10, 1.322_396_507_008, 8.368_906_115_741),
        (3, 30, 9, 40, 0.139_297_213_624, 1.377_613_563_058),
        (120, 1000, 150, 1000, 0.640_086_511_212, 0.999_898_349_426),
    ];

    #[test]
    fn a_denominator_of_zero_has_no_upper_limit() {
        let i = mover_ratio(limited(3.0, 10.0), limited(0.0, 10.0));
        assert!(i.low > 0.0 && i.high.is_infinite());
        let i = mover_ratio(limited(0.0, 10.0), limited(0.0, 10.0));
        assert_eq!((i.low, i.high), (0.0, f64::INFINITY));
    }

    /// The interval of estimates that equal their limits, such as constants, is exactly their ratio.
    #[test]
    fn a_ratio_of_constants_is_their_ratio() {
        for v in [0.1, 0.3, 1e-12, 7e20] {
            let constant = (v, Interval { low: v, high: v });
            let i = mover_ratio(constant, constant);
            assert!(
                (i.low - 1.0).abs() < 1e-15 && (i.high - 1.0).abs() < 1e-15,
                "{i:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn ratio_and_difference_agree_on_equality(
            n in 1_u32..400, m in 1_u32..400, s in 0.0..=1.0_f64, t in 0.0..=1.0_f64,
        ) {
            let (n, m) = (f64::from(n), f64::from(m));
            let (a, b) = (limited((s * n).floor(), n), limited((t * m).floor(), m));
            let (d, r) = (mover_difference(a, b), mover_ratio(a, b));
            // Rounding may separate them only where an end touches equality.
            prop_assume!(d.low.abs() > 1e-9 && d.high.abs() > 1e-9);
            prop_assert_eq!(d.low > 0.0, r.low > 1.0);
            prop_assert_eq!(d.high < 0.0, r.high < 1.0);
        }

        #[test]
        fn swapping_mirrors(n in 1_u32..400, m in 1_u32..400, s in 0.0..=1.0_f64, t in 0.0..=1.0_f64) {
            let (n, m) = (f64::from(n), f64::from(m));
            let (a, b) = (limited((s * n).floor(), n), limited((t * m).floor(), m));
            let (d, e) = (mover_difference(a, b), mover_difference(b, a));
            prop_assert!((d.low + e.high).abs() < 1e-12 && (d.high + e.low).abs() < 1e-12);
            prop_assert!(-1.0 - 1e-9 <= d.low && d.low <= d.high && d.high <= 1.0 + 1e-9);
            let (q, r) = (mover_ratio(a, b), mover_ratio(b, a));
            prop_assert!(q.low <= q.high);
            let inverse = 1.0 / r.high;
            prop_assert!((q.low - inverse).abs() < 1e-6 * (1.0 + inverse), "{:?} {:?}", q, r);
        }
    }
}
