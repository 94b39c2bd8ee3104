use proofmark_domain::Interval;
use proofmark_stats::clopper_pearson;

/// Hits out of a number of samples, some of which may be unjudged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Proportion {
    /// Samples for which the statement holds.
    pub hits: u64,
    /// Samples whose outcome is unknown: they may be hits or not.
    pub unjudged: u64,
    /// Number of samples, the unjudged included.
    pub n: u64,
}

impl Proportion {
    pub(crate) fn new(hits: usize, unjudged: usize, n: usize) -> Self {
        Self {
            hits: hits as u64,
            unjudged: unjudged as u64,
            n: n as u64,
        }
    }

    /// Returns `hits / n`; 0 if `n` is 0, so that JSON never holds a NaN.
    pub(crate) fn point(self) -> f64 {
        if self.n == 0 {
            0.0
        } else {
            self.hits as f64 / self.n as f64
        }
    }

    /// Returns the Clopper–Pearson interval: the lower end counts every unjudged sample as a miss, the upper end as a
    /// hit.
    pub(crate) fn interval(self, level: f64) -> Interval {
        Interval {
            low: lower(self.hits, self.n, level),
            high: upper(self.hits + self.unjudged, self.n, level),
        }
    }

    pub(crate) fn ci95(self) -> Interval {
        self.interval(0.95)
    }
}

/// Returns the lower end of the two-sided interval; 0 without samples.
pub(crate) fn lower(hits: u64, n: u64, level: f64) -> f64 {
    if n == 0 {
        0.0
    } else {
        clopper_pearson(hits.min(n), n, level).low
    }
}

/// Returns the upper end of the two-sided interval; 1 without samples.
pub(crate) fn upper(hits: u64, n: u64, level: f64) -> f64 {
    if n == 0 {
        1.0
    } else {
        clopper_pearson(hits.min(n), n, level).high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unjudged_samples_widen_both_ways() {
        let plain = Proportion::new(580, 0, 1000).ci95();
        // Exact binomial tails, summed and solved by bisection.
        assert!(
            (plain.low - 0.548_711_230_383_8).abs() < 1e-9
                && (plain.high - 0.610_816_409_777_4).abs() < 1e-9,
            "{plain:?}"
        );
        let wide = Proportion::new(580, 50, 1000).ci95();
        assert_eq!(wide.low.to_bits(), plain.low.to_bits());
        assert!(wide.high > plain.high + 0.045);
    }

    #[test]
    fn without_samples_the_interval_is_from_0_to_1() {
        let none = Proportion::default();
        assert_eq!(
            (none.point(), none.ci95()),
            (
                0.0,
                Interval {
                    low: 0.0,
                    high: 1.0
                }
            )
        );
    }
}
