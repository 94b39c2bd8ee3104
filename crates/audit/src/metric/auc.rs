//! Area under the ROC curve: whether scores rank the positives of a group above its negatives.
//!
//! # Idea
//! Measures how well a score ranks within each group, before any threshold.
//!
//! # Maths
//! `P(S+ > S-) + P(S+ = S-) / 2` over pairs of a positive and a negative of the group, each pair weighted by the
//! product of its two weights. The variance uses placements: with `V_i` the share of negatives below positive `i` (ties
//! count half) and `V_j` the share of positives above negative `j`, it is the sum of the variances of the two means.
//! For the limits, the distances of the two means' own limits add up as squares.
//!
//! # Reference
//! Hanley and `McNeil`, Radiology 1982; `DeLong`, `DeLong` and Clarke-Pearson, Biometrics 1988; Borkan et al., "Nuanced
//! Metrics for Measuring Unintended Bias", WWW 2019 (subgroup AUC).
//!
//! # Divergences
//! A group without positives or without negatives is not estimable; `min_n` applies to the smaller of the two counts.
//!
//! # Cost
//! A sort of each group's scores.
//!
//! # When it fails
//! It compares within groups only: a score that is shifted for a whole group still ranks each group perfectly, but
//! treats one of them badly.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .score([0.9, 0.8, 0.7, 0.1, 0.9, 0.2, 0.8, 0.1])
//!     .label([true, false, true, false, true, true, false, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("auc")?.figures(&groups, &settings);
//! assert_eq!((figures[0].value(), figures[1].value()), (Some(0.75), Some(0.75)));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Rows, Statistic};
use crate::figure::{UNIT, mean};
use crate::{Mean, Reason, Tally};

/// Area under the ROC curve.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "auc",
    of: Of::Mean(|rows, _| area(rows)),
};

/// Areas under the curve in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "auc",
    needs: &[Need::Score, Need::Label],
    definition: "share of pairs of a positive and a negative that the score puts in order, ties half",
    source: "DeLong et al. 1988; Borkan et al. 2019, arXiv:1903.04561",
    plain: &["roc_auc"],
);

fn area(rows: Rows<'_>) -> Result<Mean, Reason> {
    let (Some(score), Some(label)) = (rows.table.score(), rows.table.label()) else {
        return Err(Reason::TooFew { n: 0, min_n: 1 });
    };
    let (mut positives, mut negatives) = (Tally::default(), Tally::default());
    let mut sorted: Vec<(f64, bool, f64)> = Vec::with_capacity(rows.rows.len());
    for (row, weight) in rows.weighted() {
        sorted.push((score[row], label[row], weight));
        let tally = if label[row] {
            &mut positives
        } else {
            &mut negatives
        };
        tally.count(weight);
    }
    let fewer = if positives.n <= negatives.n {
        positives
    } else {
        negatives
    };
    if fewer.n == 0 {
        return Err(Reason::TooFew { n: 0, min_n: 1 });
    }
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    // -0 and 0 are the same score.
    let ties = || sorted.chunk_by(|a, b| a.0 == b.0);
    let weight = |tie: &[(f64, bool, f64)], of: bool| -> f64 {
        tie.iter().filter(|r| r.1 == of).map(|r| r.2).sum()
    };

    let mut below = 0.0;
    let mut sum = 0.0;
    for tie in ties() {
        let (p, n) = (weight(tie, true), weight(tie, false));
        sum += p * (below + n / 2.0);
        below += n;
    }
    let value = sum / (positives.weight * negatives.weight);

    let (mut negatives_below, mut positives_below) = (0.0, 0.0);
    let (mut of_positives, mut of_negatives) = (Vec::new(), Vec::new());
    for tie in ties() {
        let (p, n) = (weight(tie, true), weight(tie, false));
        let placed = (negatives_below + n / 2.0) / negatives.weight;
        let above = (positives.weight - positives_below - p / 2.0) / positives.weight;
        for (_, positive, w) in tie {
            if *positive {
                of_positives.push((placed, *w));
            } else {
                of_negatives.push((above, *w));
            }
        }
        negatives_below += n;
        positives_below += p;
    }
    let means = [of_positives, of_negatives]
        .map(|placements| mean(&placements, UNIT, rows.table.heaviest()));
    let variances = means
        .each_ref()
        .map(|m| m.as_ref().and_then(|m| m.variance));
    Ok(Mean {
        value,
        variance: variances[0].zip(variances[1]).map(|(a, b)| a + b),
        denominator: fewer,
        range: UNIT,
        samples: means
            .into_iter()
            .flatten()
            .flat_map(|m| m.samples)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Columns;

    /// By hand: positives 3, 2, 2 and negatives 2, 1. Of six pairs four are in order and two are tied: 5/6.
    /// Placements of the positives 1, 3/4, 3/4, of the negatives 2/3, 1: variances (1/48) / 3 + (1/18) / 2 = 5/144.
    #[test]
    fn an_area_by_hand() {
        let table = Columns::new("t")
            .score([3.0, 2.0, 2.0, 2.0, 1.0])
            .label([true, true, true, false, false])
            .build()
            .expect("fits");
        let mean = area(Rows {
            table: &table,
            rows: &[0, 1, 2, 3, 4],
        })
        .expect("both classes");
        assert!((mean.value - 5.0 / 6.0).abs() < 1e-15);
        assert!(
            (mean.variance.expect("enough") - 5.0 / 144.0).abs() < 1e-15,
            "{mean:?}"
        );
        assert_eq!(mean.denominator.n, 2);
        assert!(
            area(Rows {
                table: &table,
                rows: &[0, 1]
            })
            .is_err()
        );
    }
}
