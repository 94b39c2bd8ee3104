//! Scoring rate: how often a group scores above the median.
//!
//! # Idea
//! New York City's rule for tools that score rather than select: the median of the whole sample serves as the
//! threshold, and the impact ratio compares the rates above it.
//!
//! # Maths
//! `P(S > median | A = a)`, where the median is over all scores, including those of unknown group; with weights it is
//! the weighted median.
//!
//! # Reference
//! Rules of the City of New York, title 6, section 5-301 (Local Law 144 of 2021).
//!
//! # Divergences
//! None. The rule allows leaving out categories below 2 % of the data; here `min_n` does that.
//!
//! # Cost
//! One sort of all scores, then one pass per grouping.
//!
//! # When it fails
//! Scores with many ties: few or none may lie above the median, and the rates say little.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .score([1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 5.0, 6.0])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("scoring_rate")?.figures(&groups, &settings);
//! assert_eq!((figures[0].value(), figures[1].value()), (Some(0.25), Some(0.75)));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Rows, Statistic};
use crate::Share;

/// Scores above the median of all scores / scores.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "scoring_rate",
    of: Of::Share(above),
};

/// Scoring rates in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "scoring_rate",
    needs: &[Need::Score],
    definition: "scores above the median of all / scores",
    source: "6 RCNY 5-301 (NYC Local Law 144)",
);

fn above(rows: Rows<'_>) -> Share {
    let mut share = Share::default();
    let (Some(score), Some(median)) = (rows.table.score(), rows.table.score_median()) else {
        return share;
    };
    for (row, weight) in rows.weighted() {
        share.denominator.count(weight);
        if score[row] > median {
            share.numerator.count(weight);
        }
    }
    share
}
