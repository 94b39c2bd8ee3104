//! Adjusted p-values of many tests.
//!
//! **Maths.** With `p(1) <= ... <= p(m)` Benjamini and Hochberg's adjusted value is `min over j >= i of m p(j) / j`, at
//! most 1; it bounds the expected share of false positives among the rejected tests. To bound the chance of any false
//! alarm, see [`crate::sidak_level`].
//!
//! **Reference.** Benjamini and Hochberg, JRSS B 57 (1995).
//!
//! **When it fails.** It assumes that the tests are independent or positively dependent, as those of overlapping groups
//! mostly are. A NaN is ignored and stays NaN.

/// Returns Benjamini and Hochberg's adjusted p-values.
///
/// ```
/// let p = proofmark_stats::benjamini_hochberg(&[0.01, 0.04, 0.03, 0.005]);
/// assert!((p[0] - 0.02).abs() < 1e-12 && (p[3] - 0.02).abs() < 1e-12 && (p[1] - 0.04).abs() < 1e-12);
/// ```
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    let mut adjusted = p.to_vec();
    let mut smallest = 1.0_f64;
    for (rank, at) in order.iter().enumerate().rev() {
        smallest = smallest.min(order.len() as f64 * p[*at] / (rank + 1) as f64);
        adjusted[*at] = smallest;
    }
    adjusted
}

fn ascending(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).filter(|i| !p[*i].is_nan()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The fifteen p-values of Benjamini and Hochberg's example (thrombolysis, their section 3): at 5 % Bonferroni
    /// rejects three, Benjamini-Hochberg four.
    #[test]
    fn published_example() {
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
            0.5719, 0.6528, 0.7590, 1.0,
        ];
        let adjusted = benjamini_hochberg(&p);
        assert_eq!(adjusted.iter().filter(|q| **q <= 0.05).count(), 4);
        assert!((adjusted[3] - 15.0 * 0.0095 / 4.0).abs() < 1e-12);
    }

    #[test]
    fn nan_is_ignored() {
        let q = benjamini_hochberg(&[0.01, f64::NAN, 0.03]);
        assert!(q[1].is_nan() && (q[0] - 0.02).abs() < 1e-12);
        assert_eq!(benjamini_hochberg(&[]), Vec::<f64>::new());
    }

    proptest! {
        #[test]
        fn between_the_value_and_bonferroni(p in proptest::collection::vec(0.0..=1.0_f64, 1..40)) {
            let b = benjamini_hochberg(&p);
            for i in 0..p.len() {
                let most = (p[i] * p.len() as f64).min(1.0) + 1e-12;
                prop_assert!(p[i] <= b[i] + 1e-12 && b[i] <= most);
                for j in 0..p.len() {
                    prop_assert!(p[i] > p[j] || b[i] <= b[j]);
                }
            }
        }
    }
}
