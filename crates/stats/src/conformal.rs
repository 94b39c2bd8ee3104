//! Split-conformal p-values: how strange is a score among those of a calibration sample?
//!
//! **Maths.** With scores `c_1..c_n` of calibration samples and a new score `s`, larger being stranger,
//! `p = (1 + #{i : c_i >= s}) / (n + 1)`. If the new sample is exchangeable with the calibration samples,
//! `P(p <= u) <= u` for every `u`, whatever the distribution; ties count as stranger, so they only make it smaller. At
//! the level `a`, a score is flagged if it exceeds the `k`-th largest of the `c_i`, `k = floor(a (n + 1))`. Given the
//! calibration scores, the rate of false alarms of that threshold is then a beta variable with parameters `k` and
//! `n + 1 - k` (for scores without ties), whence its interval.
//!
//! Of `m` clean samples, the number that is flagged with the same calibration sample is beta-binomial, with the same
//! parameters: the test that more are flagged than chance explains.
//!
//! **Reference.** Vovk, Gammerman and Shafer, *Algorithmic Learning in a Random World*, 2005; Bates, Candès, Lei, Romano
//! and Sesia, "Testing for outliers with conformal p-values", Annals of Statistics 51 (2023).
//!
//! **When it fails.** The smallest p-value is `1 / (n + 1)`. Calibration samples that are unlike the clean ones among the
//! new samples (another source, another mix of classes) make every p-value wrong.

use proofmark_domain::Interval;
use statrs::function::gamma::ln_gamma;

use crate::{clopper_pearson_lower, clopper_pearson_upper};

/// Scores of a calibration sample, larger being stranger.
///
/// ```
/// use proofmark_stats::Conformal;
/// let clean = Conformal::new((1..=19).map(f64::from).collect()).unwrap();
/// assert_eq!(clean.p(18.5), 0.1);
/// assert_eq!(clean.threshold(0.1), Some(18.0));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Conformal {
    /// Ascending.
    scores: Vec<f64>,
}

impl Conformal {
    /// Makes the reference of p-values; `None` without scores, or if one is not finite.
    pub fn new(mut scores: Vec<f64>) -> Option<Self> {
        if scores.is_empty() || scores.iter().any(|s| !s.is_finite()) {
            return None;
        }
        scores.sort_by(f64::total_cmp);
        Some(Self { scores })
    }

    /// Returns the number of calibration samples.
    pub const fn n(&self) -> usize {
        self.scores.len()
    }

    /// Returns the smallest p-value that any score can have.
    pub fn smallest_p(&self) -> f64 {
        1.0 / (self.n() as f64 + 1.0)
    }

    /// Returns the p-value of a score; NaN for NaN.
    pub fn p(&self, score: f64) -> f64 {
        if score.is_nan() {
            return f64::NAN;
        }
        let as_strange = self.n() - self.scores.partition_point(|c| *c < score);
        (as_strange as f64 + 1.0) / (self.n() as f64 + 1.0)
    }

    /// Returns the value that a score must exceed to have a p-value of at most `level`; `None` if none can.
    pub fn threshold(&self, level: f64) -> Option<f64> {
        let k = self.allowed(level);
        (k > 0).then(|| self.scores[self.n() - k])
    }

    /// Returns the interval, with probability `confidence`, of the rate at which further clean samples are flagged at
    /// `level`. Ties among the scores widen it downwards.
    pub fn false_alarms(&self, level: f64, confidence: f64) -> Interval {
        let (n, k) = (self.n(), self.allowed(level));
        let Some(threshold) = self.threshold(level) else {
            return Interval {
                low: 0.0,
                high: 0.0,
            };
        };
        let beyond = n - self.scores.partition_point(|c| *c <= threshold);
        let side = 1.0 - (1.0 - confidence) / 2.0;
        // The k-th largest score has probability Beta(k, n + 1 - k) above it. With ties at it, fewer scores lie beyond.
        let low = if beyond + 1 == k { k } else { beyond };
        Interval {
            low: clopper_pearson_lower(low as u64, n as u64, side),
            high: clopper_pearson_upper(k as u64 - 1, n as u64, side),
        }
    }

    /// Returns the probability that at least `flagged` of `of` clean samples are flagged at `level`: the test of "all are
    /// clean". With random calibration scores that number is beta-binomial; ties only make it smaller.
    ///
    /// ```
    /// let clean = proofmark_stats::Conformal::new((1..=19).map(f64::from).collect()).unwrap();
    /// // One sample is beyond all 19 with probability 1/20.
    /// assert!((clean.flagged_p(0.05, 1, 1) - 0.05).abs() < 1e-12);
    /// ```
    pub fn flagged_p(&self, level: f64, flagged: usize, of: usize) -> f64 {
        let (n, k) = (self.n(), self.allowed(level));
        if flagged == 0 {
            return 1.0;
        }
        if k == 0 || flagged > of {
            return 0.0;
        }
        let beta =
            |a: usize, b: usize| ln_gamma(a as f64) + ln_gamma(b as f64) - ln_gamma((a + b) as f64);
        let choose = |n: usize, k: usize| {
            let of = |m: usize| ln_gamma(m as f64 + 1.0);
            of(n) - of(k) - of(n - k)
        };
        let one =
            |j: usize| (choose(of, j) + beta(j + k, of - j + n + 1 - k) - beta(k, n + 1 - k)).exp();
        (flagged..=of).map(one).sum::<f64>().min(1.0)
    }

    /// Returns the number of calibration scores, the new one counted, that may be at least as strange as a flagged one.
    fn allowed(&self, level: f64) -> usize {
        // A level such as 0.05 of 20 samples is one sample, although the product rounds to less.
        ((level * (self.n() as f64 + 1.0) * (1.0 + 1e-12)).floor() as usize).min(self.n())
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Seed;
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Purpose, Stream, StreamKey};

    fn draws(sample: u64, n: usize, map: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut stream = Stream::new(&StreamKey::new(Seed(3), sample, Purpose::Data));
        (0..n).map(|_| map(stream.uniform_f64())).collect()
    }

    #[test]
    fn nothing_is_flagged_with_too_few_samples() {
        let few = Conformal::new(draws(0, 18, |u| u)).unwrap();
        assert_eq!(few.threshold(0.05), None);
        assert!(few.p(9.0) > 0.05);
        let enough = Conformal::new(draws(0, 19, |u| u)).unwrap();
        assert_eq!(enough.p(9.0), 0.05);
        assert!(enough.threshold(0.05).is_some());
        assert!(Conformal::new(vec![]).is_none());
        assert!(Conformal::new(vec![1.0, f64::NAN]).is_none());
    }

    /// The rate of false alarms of uniform scores is one minus the threshold.
    #[test]
    fn the_interval_holds_the_rate_of_false_alarms() {
        let (mut held, mut sum) = (0, 0.0);
        let runs = 2000;
        for run in 0..runs {
            let clean = Conformal::new(draws(run, 99, |u| u)).unwrap();
            let rate = 1.0 - clean.threshold(0.05).unwrap();
            let ci = clean.false_alarms(0.05, 0.95);
            held += u32::from((ci.low..=ci.high).contains(&rate));
            sum += rate;
        }
        let held = f64::from(held) / runs as f64;
        assert!((held - 0.95).abs() < 0.02, "{held}");
        // The mean of Beta(5, 95).
        assert!((sum / runs as f64 - 0.05).abs() < 0.002);
    }

    /// The test that too many are flagged holds its level, and adds up to 1.
    #[test]
    fn the_number_flagged_by_chance_is_beta_binomial() {
        let (mut hit, runs) = (0, 1500);
        for run in 0..runs {
            let clean = Conformal::new(draws(run, 40, |u| u)).unwrap();
            let new = draws(5000 + run, 25, |u| u);
            let flagged = new.iter().filter(|s| clean.p(**s) <= 0.1).count();
            hit += u32::from(clean.flagged_p(0.1, flagged, 25) <= 0.05);
        }
        let rate = f64::from(hit) / runs as f64;
        assert!((0.02..0.06).contains(&rate), "{rate}");
        let clean = Conformal::new(draws(0, 40, |u| u)).unwrap();
        assert_eq!(clean.flagged_p(0.1, 0, 25), 1.0);
        assert!(clean.flagged_p(0.1, 25, 25) < 1e-9);
        let mean: f64 = (1..=25).map(|j| clean.flagged_p(0.1, j, 25)).sum();
        // The sum of the tail probabilities is the mean, 25 · 4 / 41.
        assert!((mean - 100.0 / 41.0).abs() < 1e-9, "{mean}");
    }

    #[test]
    fn ties_never_raise_false_alarms() {
        let mut flagged = 0;
        for run in 0..400 {
            let coarse = |u: f64| (u * 5.0).floor();
            let clean = Conformal::new(draws(run, 60, coarse)).unwrap();
            let new = draws(1000 + run, 20, coarse);
            flagged += new.iter().filter(|s| clean.p(**s) <= 0.25).count();
            let ci = clean.false_alarms(0.25, 0.99);
            let rate = (0..5).filter(|s| clean.p(f64::from(*s)) <= 0.25).count() as f64 / 5.0;
            assert!(ci.low <= rate + 1e-12 && rate <= ci.high, "{rate} {ci:?}");
        }
        assert!(f64::from(u32::try_from(flagged).unwrap()) / 8000.0 < 0.26);
    }

    proptest! {
        #[test]
        fn flagged_by_p_value_and_by_threshold_are_the_same(
            clean in prop::collection::vec(0_u8..9, 1..60), score in 0_u8..10, level in 0.01..0.5_f64,
        ) {
            let clean = Conformal::new(clean.into_iter().map(f64::from).collect()).unwrap();
            let score = f64::from(score);
            let by_threshold = clean.threshold(level).is_some_and(|t| score > t);
            prop_assert_eq!(clean.p(score) <= level * (1.0 + 1e-12), by_threshold);
        }
    }
}
