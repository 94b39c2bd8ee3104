//! Mean score: the average score of a group, before any threshold.
//!
//! # Idea
//! Demographic parity of scores: it shows gaps that a threshold can hide.
//!
//! # Maths
//! Mean of the score over the group, by weight.
//!
//! # Reference
//! Speicher et al., KDD 2018; Žliobaitė, "Measuring discrimination in algorithmic decision making", DMKD 2017 (mean
//! difference).
//!
//! # Divergences
//! None.
//!
//! # Cost
//! One pass over the rows per group.
//!
//! # When it fails
//! Scores on different scales in different groups have no common mean, and means do not show where the threshold cuts.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .score([0.5, 0.25, 0.5, 0.25, 0.75, 0.75, 0.25, 0.25])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("mean_score")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.375));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::figure::mean_of;

/// Mean score.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "mean_score",
    of: Of::Mean(|rows, settings| {
        mean_of(rows, settings.scores(rows.table), |t, r| {
            Some(t.score()?[r])
        })
    }),
};

/// Mean score in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "mean_score",
    needs: &[Need::Score],
    definition: "mean score",
    source: "Žliobaitė 2017",
);
