//! Anomaly indices with an averaged median, and their distribution without an anomaly.
//!
//! **Maths.** The index of `v_i` on the high side is `(v_i - med) / (1.4826 MAD)`, on the low side its negative, with
//! `MAD = med |v_i - med|` and the median of an even number of values the mean of the two in the middle. The statistic of
//! a model is the largest index over its `K` classes. Its distribution under independent normal values depends on `K`
//! alone: [`IndexNull`] draws it. `p = (k + 1) / (n + 1)` with `k` of `n` draws at least as large.
//!
//! **Reference.** Hampel, JASA 69 (1974); the rule "index above 2" of Wang et al., "Neural Cleanse", IEEE S&P 2019.
//!
//! **When it fails.** The rule flags 33 % of clean models with 10 classes and 98 % with 200, since it ignores how many
//! classes there are. The null here takes values as independent and normal; those of a real model are neither, so it says
//! how unusual an index is among such numbers, and only clean models say how unusual it is among models. Some code takes
//! the lower of two middle values for the median, which changes the index of ten values from 7.48 to 9.77.

use proofmark_domain::Seed;

use crate::random::{Purpose, Stream, StreamKey, attack_code};

/// Makes the MAD of normal values their standard deviation.
const CONSISTENT: f64 = 1.4826;

/// Side on which values are suspicious.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Low values are.
    Low,
    /// High values are.
    High,
}

/// Returns the median, the mean of the two middle values of an even number; `None` if there are no values or one is NaN.
///
/// ```
/// assert_eq!(proofmark_stats::median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
/// ```
pub fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() || values.iter().any(|v| v.is_nan()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    Some(f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]))
}

/// Returns 1.4826 times the median distance from the median; `None` as for [`median`].
pub fn mad(values: &[f64]) -> Option<f64> {
    let middle = median(values)?;
    let distances: Vec<f64> = values.iter().map(|v| (v - middle).abs()).collect();
    Some(CONSISTENT * median(&distances)?)
}

/// Returns the index of every value, positive on the suspicious side. `None` with fewer than 3 values, a value that is not
/// finite, or if half of the values are equal: then no index is defined.
///
/// ```
/// use proofmark_stats::{Tail, mad_indices};
/// let sizes = [64.1, 70.2, 55.9, 61.0, 16.1, 58.3, 66.6, 72.4, 60.7, 63.3];
/// let indices = mad_indices(&sizes, Tail::Low).unwrap();
/// assert!((indices[4] - 7.4844).abs() < 1e-4);
/// ```
pub fn mad_indices(values: &[f64], tail: Tail) -> Option<Vec<f64>> {
    if values.len() < 3 || values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let (middle, scale) = (median(values)?, mad(values)?);
    if scale <= 0.0 {
        return None;
    }
    let sign = match tail {
        Tail::Low => -1.0,
        Tail::High => 1.0,
    };
    Some(values.iter().map(|v| sign * (v - middle) / scale).collect())
}

/// Distribution of the largest one-sided index of independent normal values.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexNull {
    /// Sorted.
    draws: Vec<f64>,
}

impl IndexNull {
    /// Draws the index of `classes` values `draws` times; `None` with fewer than 3 values or without a draw. The numbers
    /// are keyed by the number of classes, so that a null is the same wherever it is made.
    pub fn normal(classes: usize, draws: u32) -> Option<Self> {
        if classes < 3 || draws == 0 {
            return None;
        }
        let draw = |i: u32| {
            let mut stream = Stream::new(&StreamKey {
                attack: attack_code("index-null"),
                draw: i,
                ..StreamKey::new(Seed(0), classes as u64, Purpose::Bootstrap)
            });
            let values: Vec<f64> = (0..classes).map(|_| f64::from(stream.normal())).collect();
            let indices = mad_indices(&values, Tail::High)?;
            Some(indices.into_iter().fold(f64::NEG_INFINITY, f64::max))
        };
        let mut draws: Vec<f64> = (0..draws).filter_map(draw).collect();
        draws.sort_by(f64::total_cmp);
        Some(Self { draws })
    }

    /// Returns the p-value of an index.
    pub fn p(&self, index: f64) -> f64 {
        crate::reference_p(index, &self.draws)
    }

    /// Returns the smallest drawn index that at least this share of the draws does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let n = self.draws.len();
        let at = (share * n as f64).ceil() as usize;
        self.draws[at.clamp(1, n) - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [f64; 10] = [64.1, 70.2, 55.9, 61.0, 16.1, 58.3, 66.6, 72.4, 60.7, 63.3];

    #[test]
    fn the_median_of_an_even_number_is_averaged() {
        assert!((median(&SIZES).unwrap() - 62.15).abs() < 1e-12);
        assert!((mad(&SIZES).unwrap() - 6.15279).abs() < 1e-6);
        let indices = mad_indices(&SIZES, Tail::Low).unwrap();
        assert!((indices[4] - 7.4844).abs() < 5e-5, "{}", indices[4]);
        assert!(median(&[]).is_none() && median(&[1.0, f64::NAN]).is_none());
    }

    /// Median 64.47, MAD 13.24 and norm 16.1 of Neural Cleanse's README make an index of 3.652; that MAD includes the
    /// factor 1.4826.
    #[test]
    fn published_index_of_neural_cleanse() {
        let raw = 13.24 / CONSISTENT;
        let far = 64.47 - 16.1;
        // Of 43 values, 21 at most `raw` away from the middle one, that one, and 21 at least so far.
        let mut values = vec![64.47];
        values.extend((0..10).map(|_| 64.47 - raw / 2.0));
        values.extend((0..10).map(|_| 64.47 + raw / 2.0));
        values.push(64.47 + raw);
        values.extend((0..10).map(|_| 64.47 + 2.0 * raw));
        values.extend((0..10).map(|_| 64.47 - 2.0 * raw));
        values.push(16.1);
        assert_eq!(values.len(), 43);
        assert!((median(&values).unwrap() - 64.47).abs() < 1e-9);
        assert!((mad(&values).unwrap() - 13.24).abs() < 1e-9);
        let indices = mad_indices(&values, Tail::Low).unwrap();
        let index = indices[42];
        assert!(
            (index - far / 13.24).abs() < 1e-9 && (index - 3.652).abs() < 2e-3,
            "{index}"
        );
    }

    /// Two-sided rates of section "index above 2", and the thresholds for 5 and 1 %: both within the error of the draws.
    #[test]
    fn the_rule_of_two_flags_a_third_of_clean_models_with_ten_classes() {
        let flagged = |classes: usize| {
            let draws = 4000;
            let hit = (0..draws).filter(|i| {
                let mut stream = Stream::new(&StreamKey {
                    draw: *i,
                    ..StreamKey::new(Seed(9), classes as u64, Purpose::Bootstrap)
                });
                let values: Vec<f64> = (0..classes).map(|_| f64::from(stream.normal())).collect();
                let indices = mad_indices(&values, Tail::Low).unwrap();
                indices.iter().any(|i| *i > 2.0)
            });
            hit.count() as f64 / f64::from(draws)
        };
        for (classes, rate) in [(10, 0.33), (43, 0.64), (100, 0.87), (200, 0.98)] {
            let seen = flagged(classes);
            assert!((seen - rate).abs() < 0.03, "{classes}: {seen}");
            let null = IndexNull::normal(classes, 3999).unwrap();
            let above = 1.0 - null.draws.partition_point(|d| *d <= 2.0) as f64 / 3999.0;
            assert!((above - rate).abs() < 0.03, "{classes}: {above}");
        }
        for (classes, five, one) in [(10, 3.88, 5.88), (43, 3.48, 4.23), (200, 3.62, 4.08)] {
            let null = IndexNull::normal(classes, 9999).unwrap();
            assert!(
                (null.quantile(0.95) / five - 1.0).abs() < 0.06,
                "{}",
                null.quantile(0.95)
            );
            assert!(
                (null.quantile(0.99) / one - 1.0).abs() < 0.12,
                "{}",
                null.quantile(0.99)
            );
        }
    }

    #[test]
    fn values_without_spread_have_no_index() {
        assert!(mad_indices(&[1.0, 1.0, 1.0, 9.0], Tail::High).is_none());
        assert!(mad_indices(&[1.0, 2.0], Tail::High).is_none());
        assert!(mad_indices(&[1.0, 2.0, f64::INFINITY], Tail::High).is_none());
        assert!(IndexNull::normal(2, 99).is_none());
    }
}
