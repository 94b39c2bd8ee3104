//! Randomized smoothing: what votes under Gaussian noise say about a ball around a point.
//!
//! **Idea.** The smoothed classifier decides for the class that a base classifier gives most often when Gaussian noise of
//! standard deviation `sigma` is added to the point. If that class has probability `p > 1/2`, it keeps more than half
//! everywhere within `sigma Phi^-1(p)` of the point, in L2. A lower bound of `p` from votes gives a lower bound of the
//! radius, at the bound's confidence.
//!
//! **Reference.** Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019,
//! theorem 1 with `pB = 1 - pA`, and section 3.2 (`CERTIFY` and `PREDICT`).

use statrs::function::erf::erfc_inv;

use crate::interval::states_something;
use crate::{beta, clopper_pearson_lower};

/// Returns the radius certified by `votes` of `n` draws for the class, at confidence `1 - alpha`, in the unit of `sigma`;
/// `None` (abstain) if the lower bound of the class's probability is not above 1/2. The guarantee holds strictly inside
/// the radius.
///
/// ```
/// let radius = proofmark_stats::certified_radius(990, 1000, 0.001, 0.5).expect("a clear majority");
/// assert!((radius - 0.5 * 1.97801).abs() < 1e-5);
/// assert_eq!(proofmark_stats::certified_radius(510, 1000, 0.001, 0.5), None);
/// ```
pub fn certified_radius(votes: u64, n: u64, alpha: f64, sigma: f64) -> Option<f64> {
    radius_of(clopper_pearson_lower(votes, n, 1.0 - alpha), sigma)
}

/// Returns the radius for a known lower bound of the class's probability; `None` if it is not above 1/2.
pub fn radius_of(probability: f64, sigma: f64) -> Option<f64> {
    // Phi^-1(p) = -sqrt(2) erfc^-1(2 p), without loss where p is near 1.
    let z = std::f64::consts::SQRT_2 * erfc_inv(2.0 * (1.0 - probability));
    (probability > 0.5 && z > 0.0).then_some(sigma * z)
}

/// Returns the p-value of the hypothesis that two classes are equally likely, given that `votes` of `n` draws for either
/// were for the first: the exact two-sided binomial test. 1 without draws.
pub fn even_odds_p(votes: u64, n: u64) -> f64 {
    if n == 0 || votes > n {
        return 1.0;
    }
    let larger = votes.max(n - votes);
    (2.0 * binomial_tail(larger, n, 0.5)).min(1.0)
}

/// Returns the least number that a binomial variable of `n` trials with probability `rate` exceeds with probability at
/// most `tail`: of `n` statements that are each wrong with probability at most `rate`, no more than this many are wrong,
/// at confidence `1 - tail`.
pub fn binomial_most(n: u64, rate: f64, tail: f64) -> u64 {
    // The tail falls with the number: bisection over 0..=n.
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = u64::midpoint(low, high);
        if binomial_tail(middle + 1, n, rate) <= tail {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Returns the probability that at least `k` of `n` trials succeed.
fn binomial_tail(k: u64, n: u64, rate: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if k > n || !states_something(k, n, 0.5) {
        return 0.0;
    }
    beta::regularised(k as f64, (n - k) as f64 + 1.0, rate)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Votes, draws, the lower bound at alpha 0.001, and the radius for `sigma` 1: from another implementation.
    const GOLDEN: [(u64, u64, f64, f64); 7] = [
        (100_000, 100_000, 0.999_930_92, 3.811_46),
        (99_000, 100_000, 0.988_989_34, 2.290_00),
        (90_000, 100_000, 0.897_036_50, 1.264_84),
        (60_000, 100_000, 0.595_201_05, 0.240_94),
        (50_500, 100_000, 0.500_108_95, 0.000_27),
        (100, 100, 0.933_254_30, 1.500_48),
        (990, 1000, 0.976_036_19, 1.978_01),
    ];

    #[test]
    fn golden_radii() {
        for (votes, n, probability, radius) in GOLDEN {
            let p = clopper_pearson_lower(votes, n, 0.999);
            assert!((p - probability).abs() < 1e-8, "{votes} of {n}: {p}");
            let r = certified_radius(votes, n, 0.001, 1.0).unwrap();
            // The published radii have five decimals.
            assert!((r - radius).abs() < 1e-5, "{votes} of {n}: {r}");
            // The radius is the normal quantile of the bound.
            assert!((crate::normal_tail(r) - (1.0 - p)).abs() < 1e-9);
            let twice = certified_radius(votes, n, 0.001, 2.0).unwrap();
            assert!((twice - 2.0 * r).abs() < 1e-12);
        }
    }

    /// Radii to 1e-6 and better, by bisection on the complementary error function, from the exact bounds.
    #[test]
    fn radii_to_the_sixth_decimal() {
        for (votes, n, ..) in GOLDEN {
            let p = clopper_pearson_lower(votes, n, 0.999);
            let (mut low, mut high) = (0.0, 10.0);
            while high - low > 1e-12 {
                let middle = f64::midpoint(low, high);
                if crate::normal_tail(middle) > 1.0 - p {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            let r = certified_radius(votes, n, 0.001, 1.0).unwrap();
            assert!((r - low).abs() < 1e-6, "{votes} of {n}: {r} and {low}");
        }
    }

    #[test]
    fn no_majority_no_radius() {
        // 50 500 of 100 000 is enough by a hair, 50 450 is not.
        assert!(certified_radius(50_500, 100_000, 0.001, 1.0).is_some());
        for (votes, n) in [
            (50_450, 100_000),
            (500, 1000),
            (9, 9),
            (0, 100),
            (0, 0),
            (5, 3),
        ] {
            assert_eq!(
                certified_radius(votes, n, 0.001, 1.0),
                None,
                "{votes} of {n}"
            );
        }
        // Ten draws that agree: 0.001^(1/10) = 0.5012.
        assert!(certified_radius(10, 10, 0.001, 1.0).is_some());
        assert_eq!(radius_of(f64::NAN, 1.0), None);
    }

    #[test]
    fn even_odds_by_hand() {
        assert!((even_odds_p(4, 4) - 0.125).abs() < 1e-12);
        assert!((even_odds_p(1, 4) - 0.625).abs() < 1e-12);
        assert!((even_odds_p(2, 4) - 1.0).abs() < 1e-12);
        assert_eq!((even_odds_p(0, 0), even_odds_p(3, 2)), (1.0, 1.0));
    }

    #[test]
    fn wrong_statements_by_hand() {
        // P(Bin(2, 0.1) > 0) = 0.19, P(> 1) = 0.01.
        assert_eq!(binomial_most(2, 0.1, 0.2), 0);
        assert_eq!(binomial_most(2, 0.1, 0.05), 1);
        assert_eq!(binomial_most(2, 0.1, 0.005), 2);
        assert_eq!(binomial_most(0, 0.1, 0.01), 0);
        // 899 certificates at 0.001 each: at most 4 wrong ones at 99 %.
        assert_eq!(binomial_most(899, 0.001, 0.01), 4);
    }

    proptest! {
        #[test]
        fn more_votes_reach_further(n in 10u64..5000, a in 0.0f64..1.0, b in 0.0f64..1.0) {
            let votes = |share: f64| (share * n as f64) as u64;
            let radius = |share: f64| certified_radius(votes(share), n, 0.01, 0.3).unwrap_or(0.0);
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(radius(low) <= radius(high));
        }

        #[test]
        fn few_exceed_the_most(n in 1u64..2000, rate in 0.0001f64..0.2, tail in 0.001f64..0.2) {
            let most = binomial_most(n, rate, tail);
            prop_assert!(most == n || binomial_tail(most + 1, n, rate) <= tail);
            prop_assert!(most == 0 || binomial_tail(most, n, rate) > tail);
        }
    }
}
