//! Calibration: whether a score means the same in every group.
//!
//! # Idea
//! Of the rows with score 0.7, seven in ten should be positive, whatever their group.
//!
//! # Maths
//! Scores in `[0, 1]` fall into bins of equal width; ECE is the mean over rows of `|mean score - share of positives|`
//! of the row's bin. [`curve`] returns the bins. The calibration gap is `mean score - base rate` over all bins
//! together, signed.
//!
//! **The interval of ECE.** With `g` the true gaps, `ε` the errors of the observed ones and `w` the bins' shares,
//! `ECE observed <= sum w |g| + sum w |ε|`. The lower limit is the figure minus a bound that the second sum seldom
//! exceeds, and at least 0; the terms of that sum are independent half-normal variables of variance `p (1 - p) / n`.
//! With `s` the signs of the true gaps, `sum w s (g + ε)` is at most the figure, and normal, so the upper limit is the
//! usual one. For a model that is perfectly calibrated in truth, the interval lies above 0 no more often than the level
//! allows.
//!
//! # Reference
//! Naeini, Cooper and Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015; Bröcker
//! and Smith, "Increasing the Reliability of Reliability Diagrams", Weather and Forecasting 2007, for what a calibrated
//! model shows by chance; Pleiss et al., "On Fairness and Calibration", NIPS 2017.
//!
//! # Divergences
//! A score on the edge of two bins falls into the upper bin, a score of 1 into the last.
//!
//! # Cost
//! One pass over the rows per group.
//!
//! # When it fails
//! ECE is never negative and grows as a group shrinks, by noise of about `sqrt(bins / n)`: a small group looks badly
//! calibrated when it is not. The interval accounts for this; the figure does not. If every bin is far off, the noise
//! that the lower limit allows for cancels in truth, and the limit is lower than necessary. The interval applies to
//! these bins only.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .score([0.5, 0.5, 0.5, 0.5, 0.75, 0.75, 0.75, 0.75])
//!     .label([true, false, true, false, true, true, false, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("ece")?.figures(&groups, &settings);
//! assert_eq!((figures[0].value(), figures[1].value()), (Some(0.0), Some(0.25)));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use std::f64::consts::FRAC_2_PI;

use proofmark_stats::Noise;

use super::entry::{differences, entries};
use super::{MetricEntry, Need, Of, Rows, Statistic};
use crate::figure::{SIGNED_UNIT, mean_of};
use crate::{Folded, Reason, Share, Tally};

/// Expected calibration error.
static ECE: Statistic = Statistic {
    id: "ece",
    of: Of::Folded(|rows, settings| ece(rows, settings.bins)),
};

/// Mean score minus base rate.
static GAP: Statistic = Statistic {
    id: "calibration_gap",
    of: Of::Mean(|rows, _| {
        mean_of(rows, SIGNED_UNIT, |t, r| {
            Some(t.score()?[r] - f64::from(t.label()?[r]))
        })
    }),
};

/// Calibration errors in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    ECE, "ece",
    needs: &[Need::Probability, Need::Label],
    definition: "mean distance of score and share of positives, bin by bin",
    source: "Naeini et al. 2015",
    plain: &["expected_calibration_error"],
);

/// Calibration gaps in the list of metrics.
pub(crate) static GAP_ENTRIES: &[MetricEntry] = &differences!(
    GAP, "calibration_gap",
    needs: &[Need::Probability, Need::Label],
    definition: "mean score less share of positives",
    source: "Pleiss et al. 2017, arXiv:1709.02012",
    plain: &["calibration_in_the_large"],
);

/// One bin of a reliability curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Lower edge, inclusive.
    pub low: f64,
    /// Upper edge, exclusive except for the last bin.
    pub high: f64,
    /// Share of positives in the bin.
    pub positives: Share,
    /// Mean score in the bin; `None` if the bin is empty.
    pub score: Option<f64>,
}

/// Returns the reliability curve of some rows: one entry per bin, including empty ones; no entries if the table lacks
/// scores or labels.
pub fn curve(rows: Rows<'_>, bins: usize) -> Vec<Bin> {
    let (Some(score), Some(label)) = (rows.table.score(), rows.table.label()) else {
        return Vec::new();
    };
    let bins = bins.max(1);
    let edge = |at: usize| at as f64 / bins as f64;
    let mut all = vec![(Share::default(), 0.0); bins];
    for (row, weight) in rows.weighted() {
        // Rounding may put a score on an edge into the bin below: 0.29 x 100 is less than 29.
        let at = ((score[row] * bins as f64) as usize).min(bins - 1);
        let at = if at + 1 < bins && score[row] >= edge(at + 1) {
            at + 1
        } else {
            at
        };
        let (share, sum) = &mut all[at];
        share.denominator.count(weight);
        if label[row] {
            share.numerator.count(weight);
        }
        *sum += weight * score[row];
    }
    let bin = |(at, (positives, sum)): (usize, (Share, f64))| Bin {
        low: edge(at),
        high: edge(at + 1),
        positives,
        score: (positives.denominator.weight > 0.0).then(|| sum / positives.denominator.weight),
    };
    all.into_iter().enumerate().map(bin).collect()
}

fn ece(rows: Rows<'_>, bins: usize) -> Result<Folded, Reason> {
    let mut all = Tally::default();
    let mut sum = 0.0;
    // Sums of `weight x gap^2`, `weight x error` and `weight^2 x error^2`.
    let (mut squares, mut errors, mut variances) = (0.0, 0.0, 0.0);
    for bin in curve(rows, bins) {
        if let (Some(score), Some(positives)) = (bin.score, bin.positives.value()) {
            let tally = bin.positives.denominator;
            let gap = (score - positives).abs();
            sum += tally.weight * gap;
            squares += tally.weight * gap * gap;
            // A small bin may have no positives by chance; the added counts keep its variance above 0.
            let n = tally.effective();
            let p = (positives * n + 1.0) / (n + 2.0);
            let variance = p * (1.0 - p) / n;
            errors += tally.weight * variance.sqrt();
            variances += tally.weight * tally.weight * variance;
            all = all + tally;
        }
    }
    if all.n == 0 {
        return Err(Reason::TooFew { n: 0, min_n: 1 });
    }
    let value = sum / all.weight;
    // The bin that a row falls into is random as well.
    let of_bins = (squares / all.weight - value * value).max(0.0) / all.effective();
    let of_gaps = variances / (all.weight * all.weight);
    // A half-normal variable has mean sqrt(2 / pi) and variance 1 - 2 / pi.
    Ok(Folded {
        value,
        variance: of_gaps + of_bins,
        noise: Noise {
            mean: FRAC_2_PI.sqrt() * errors / all.weight,
            variance: (1.0 - FRAC_2_PI) * of_gaps + of_bins,
        },
        denominator: all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Columns;

    #[test]
    fn a_curve_by_hand() {
        let table = Columns::new("t")
            .score([0.0, 0.25, 0.5, 1.0])
            .label([false, true, true, false])
            .build()
            .expect("fits");
        let rows = Rows {
            table: &table,
            rows: &[0, 1, 2, 3],
        };
        let bins = curve(rows, 2);
        assert_eq!(
            (bins[0].score, bins[0].positives.value()),
            (Some(0.125), Some(0.5))
        );
        assert_eq!(
            (bins[1].score, bins[1].positives.value()),
            (Some(0.75), Some(0.5))
        );
        assert_eq!(
            ece(rows, 2).expect("there are rows").value,
            f64::midpoint(0.375, 0.25)
        );
        let bins = curve(rows, 10);
        assert_eq!((bins.len(), bins[1].score), (10, None));
    }

    /// Every edge belongs to the bin above it, and 1 to the last.
    #[test]
    fn an_edge_falls_into_the_upper_bin() {
        for bins in [3, 7, 10, 20, 100] {
            let scores: Vec<f64> = (0..=bins).map(|k| f64::from(k) / f64::from(bins)).collect();
            let table = Columns::new("t")
                .label(scores.iter().map(|_| true))
                .score(scores.iter().copied())
                .build()
                .expect("fits");
            let rows: Vec<u32> = (0..=bins as u32).collect();
            let rows = Rows {
                table: &table,
                rows: &rows,
            };
            for (at, bin) in curve(rows, bins as usize).iter().enumerate() {
                let n = if at + 1 == bins as usize { 2 } else { 1 };
                assert_eq!(bin.positives.denominator.n, n, "bin {at} of {bins}");
            }
        }
    }

    /// None of two rows is positive: the variance uses a rate of one in four, (1/4)(3/4) / 2.
    #[test]
    fn a_bin_without_positives_has_a_variance() {
        let table = Columns::new("t")
            .score([0.05, 0.05])
            .label([false, false])
            .build()
            .expect("fits");
        let rows = Rows {
            table: &table,
            rows: &[0, 1],
        };
        let folded = ece(rows, 10).expect("there are rows");
        assert!((folded.variance - 3.0 / 32.0).abs() < 1e-15, "{folded:?}");
        let mean = (2.0 / std::f64::consts::PI * 3.0 / 32.0).sqrt();
        assert!((folded.noise.mean - mean).abs() < 1e-15);
    }
}
