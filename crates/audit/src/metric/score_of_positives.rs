//! Generalised true-positive rate: the mean score of those who deserve a favourable decision.
//!
//! # Idea
//! Balance for the positive class: the deserving should be scored alike in every group.
//!
//! # Maths
//! `E[S | Y = 1, A = a]`, by weight: for scores in `[0, 1]` the true-positive rate of a decision drawn with that
//! probability.
//!
//! # Reference
//! Kleinberg, Mullainathan and Raghavan, ITCS 2017, condition (C); Pleiss et al., "On Fairness and Calibration",
//! NIPS 2017.
//!
//! # Divergences
//! None; AIF360 gives the sums (`num_generalized_true_positives`), which are this value times the number of positives.
//!
//! # Cost
//! One pass over the rows per group.
//!
//! # When it fails
//! If base rates differ, no calibrated score has balance unless it is perfect.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .score([0.5, 0.25, 0.5, 0.25, 0.75, 0.75, 0.25, 0.25])
//!     .label([true, false, true, false, true, true, false, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("generalized_tpr")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.5));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::figure::mean_of;

/// Mean score of the positives.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "generalized_tpr",
    of: Of::Mean(|rows, settings| {
        mean_of(rows, settings.scores(rows.table), |t, r| {
            t.label()?[r].then_some(t.score()?[r])
        })
    }),
};

/// Generalised true-positive rate in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "generalized_tpr",
    needs: &[Need::Score, Need::Label],
    definition: "mean score of the positives",
    source: "Kleinberg et al. 2017, arXiv:1609.05807; Pleiss et al. 2017, arXiv:1709.02012",
    difference: &["balance_for_positives"],
);
