//! Mean squared error of a regression.
//!
//! # Idea
//! Like the absolute error, with large errors weighing more.
//!
//! # Maths
//! Mean of `(prediction - truth)^2` over the group, by weight.
//!
//! # Reference
//! Agarwal, Dudík and Wu, "Fair Regression: Quantitative Definitions and Reduction-Based Algorithms", ICML 2019
//! (bounded group loss).
//!
//! # Divergences
//! None.
//!
//! # Cost
//! One pass over the rows per group.
//!
//! # When it fails
//! One outlier can dominate the figure of a small group.
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
//! let figures = metric::find("mse")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(1.0));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::figure::mean_of;

/// Mean squared distance of prediction and truth.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "mse",
    of: Of::Mean(|rows, settings| {
        mean_of(rows, settings.squared_distances(), |t, r| {
            Some((t.score()?[r] - t.target()?[r]).powi(2))
        })
    }),
};

/// Mean squared error of a regression in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "mse",
    needs: &[Need::Score, Need::Target],
    definition: "mean squared distance of prediction and truth",
    source: "Agarwal et al. 2019, arXiv:1905.12843",
    plain: &["mean_squared_error"],
);
