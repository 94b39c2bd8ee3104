//! Mean error of a regression: whether a group is predicted too high.
//!
//! # Idea
//! Keeps the sign: errors that cancel within a group do no harm to the group on average.
//!
//! # Maths
//! Mean of `prediction - truth` over the group, by weight.
//!
//! # Reference
//! Calders et al., "Controlling Attribute Effect in Linear Regression", ICDM 2013 (difference of mean residuals).
//!
//! # Divergences
//! No ratios: a mean error may be 0 or of either sign.
//!
//! # Cost
//! One pass over the rows per group.
//!
//! # When it fails
//! It is 0 for predictions that are wildly wrong in both directions: also look at the absolute error.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .score([1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0])
//!     .target([1.0, 2.0, 3.0, 2.0, 2.0, 3.0, 4.0, 5.0])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("mean_error")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.5));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::differences;
use super::{MetricEntry, Need, Of, Statistic};
use crate::figure::mean_of;

/// Mean of prediction minus truth.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "mean_error",
    of: Of::Mean(|rows, settings| {
        mean_of(rows, settings.errors(), |t, r| {
            Some(t.score()?[r] - t.target()?[r])
        })
    }),
};

/// Mean error of a regression in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &differences!(
    STATISTIC, "mean_error",
    needs: &[Need::Score, Need::Target],
    definition: "mean of prediction less truth",
    source: "Calders et al. 2013",
);
