//! The standard-deviation test of employment practice.
//!
//! **Maths.** For two groups: `(p1 - p2) / sqrt(p (1 - p) (1/n1 + 1/n2))` with the pooled rate `p`. A gap beyond two
//! (or three) standard deviations is considered not to be chance.
//!
//! **Reference.** Castaneda v. Partida, 430 U.S. 482, 496 n. 17 (1977); Hazelwood School District v. United States,
//! 433 U.S. 299, 308 n. 14 (1977).
//!
//! **When it fails.** With few expected in a cell (fewer than five, say) the normal approximation is inaccurate: use
//! [`crate::fisher_exact`]. It covers one comparison; over many groups or metrics, chance alone soon exceeds two
//! standard deviations.

/// Returns how many standard deviations the first group's rate lies above the second's, if both were equal. `None` if a
/// group is empty, a count exceeds its group, or the pooled rate is 0 or 1.
///
/// ```
/// // 48 of 80 against 12 of 40.
/// let z = proofmark_stats::standard_deviations((48, 80), (12, 40)).unwrap();
/// assert!((z - 0.3 / (0.25_f64 * 0.0375).sqrt()).abs() < 1e-12);
/// ```
pub fn standard_deviations((x1, n1): (u64, u64), (x2, n2): (u64, u64)) -> Option<f64> {
    if n1 == 0 || n2 == 0 || x1 > n1 || x2 > n2 {
        return None;
    }
    let [x1, n1, x2, n2] = [x1, n1, x2, n2].map(|v| v as f64);
    let p = (x1 + x2) / (n1 + n2);
    let variance = p * (1.0 - p) * (1.0 / n1 + 1.0 / n2);
    (variance > 0.0).then(|| (x1 / n1 - x2 / n2) / variance.sqrt())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn invalid_counts_and_rates_of_zero_or_one_are_none() {
        for (a, b) in [
            ((0, 0), (1, 2)),
            ((0, 5), (0, 9)),
            ((5, 5), (9, 9)),
            ((3, 2), (1, 2)),
        ] {
            assert_eq!(standard_deviations(a, b), None);
        }
    }

    proptest! {
        /// Its square is Pearson's chi-squared.
        #[test]
        fn squares_to_chi_squared(a in 1_u64..500, b in 1_u64..500, c in 1_u64..500, d in 1_u64..500) {
            let z = standard_deviations((a, a + b), (c, c + d)).unwrap();
            let [a, b, c, d] = [a, b, c, d].map(|v| v as f64);
            let chi = (a * d - b * c).powi(2) * (a + b + c + d)
                / ((a + b) * (c + d) * (a + c) * (b + d));
            prop_assert!((z * z - chi).abs() < 1e-9 * (1.0 + chi));
        }
    }
}
