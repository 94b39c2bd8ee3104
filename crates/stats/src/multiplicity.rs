//! p-values of many tests, adjusted.
//!
//! **Maths.** With `p(1) <= ... <= p(m)`: Holm's adjusted value is `max over j <= i of (m - j + 1) p(j)`, the chance of
//! any false alarm; Benjamini and Hochberg's is `min over j >= i of m p(j) / j`, the expected share of false ones among
//! those called. Both are cut off at 1 and returned in the order given.
//!
//! **Reference.** Holm, Scandinavian Journal of Statistics 6 (1979); Benjamini and Hochberg, JRSS B 57 (1995).
//!
//! **When it fails.** Benjamini-Hochberg assumes that the tests are independent or positively dependent, as those of
//! overlapping groups mostly are; Holm assumes nothing. A NaN takes no part and stays NaN.

/// Holm's adjusted p-values.
///
/// ```
/// let p = proofmark_stats::holm(&[0.01, 0.04, 0.03, 0.005]);
/// assert!((p[0] - 0.03).abs() < 1e-12 && (p[3] - 0.02).abs() < 1e-12 && (p[1] - 0.06).abs() < 1e-12);
/// ```
pub fn holm(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    let mut adjusted = p.to_vec();
    let mut largest = 0.0_f64;
    for (rank, at) in order.iter().enumerate() {
        largest = largest.max((order.len() - rank) as f64 * p[*at]).min(1.0);
        adjusted[*at] = largest;
    }
    adjusted
}

/// Benjamini and Hochberg's adjusted p-values.
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

    /// The fifteen p-values of Benjamini and Hochberg's example (thrombolysis, their section 3): at 5 % Bonferroni and
    /// Holm call three, Benjamini-Hochberg four.
    #[test]
    fn published_example() {
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
            0.5719, 0.6528, 0.7590, 1.0,
        ];
        let called = |q: Vec<f64>| q.iter().filter(|q| **q <= 0.05).count();
        assert_eq!((called(holm(&p)), called(benjamini_hochberg(&p))), (3, 4));
        assert!((holm(&p)[2] - 13.0 * 0.0019).abs() < 1e-12);
        assert!((benjamini_hochberg(&p)[3] - 15.0 * 0.0095 / 4.0).abs() < 1e-12);
    }

    #[test]
    fn nan_takes_no_part() {
        let q = holm(&[0.02, f64::NAN, 0.03]);
        assert!(q[1].is_nan() && (q[0] - 0.04).abs() < 1e-12);
        assert_eq!(benjamini_hochberg(&[]), Vec::<f64>::new());
    }

    proptest! {
        #[test]
        fn between_the_value_and_bonferroni(p in proptest::collection::vec(0.0..=1.0_f64, 1..40)) {
            let (h, b) = (holm(&p), benjamini_hochberg(&p));
            for i in 0..p.len() {
                let most = (p[i] * p.len() as f64).min(1.0) + 1e-12;
                prop_assert!(p[i] <= b[i] + 1e-12 && b[i] <= h[i] + 1e-12 && h[i] <= most);
                for j in 0..p.len() {
                    prop_assert!(p[i] > p[j] || (h[i] <= h[j] && b[i] <= b[j]));
                }
            }
        }
    }
}
