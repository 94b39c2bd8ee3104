//! Log loss: negative log-likelihood of the labels under the scores.
//!
//! # Idea
//! The proper score that models are trained on; a confident error costs more than in the Brier score.
//!
//! # Maths
//! Mean of `-ln p` where the label is positive and of `-ln(1 - p)` where it is negative, by weight.
//!
//! # Reference
//! Good, "Rational Decisions", JRSS B 1952.
//!
//! # Divergences
//! A score of exactly 0 or 1 on the wrong side makes it infinite, and the figure not estimable; scikit-learn and
//! fairlearn clip at machine epsilon, so that one such row adds about 36.
//!
//! # Cost
//! One pass over the rows per group.
//!
//! # When it fails
//! As for the Brier score; also, one confident error can dominate the figure of a small group.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .score([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
//!     .label([true, false, true, false, true, true, false, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("log_loss_difference")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.0));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::Reason;
use crate::figure::mean_of;

/// Mean negative logarithm of the score of the true label.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "log_loss",
    of: Of::Mean(|rows, settings| {
        let mean = mean_of(rows, settings.losses(rows.table), |t, r| {
            let (p, y) = (t.score()?[r], t.label()?[r]);
            Some(-(if y { p } else { 1.0 - p }).ln())
        })?;
        if mean.value.is_finite() {
            Ok(mean)
        } else {
            Err(Reason::Undefined(
                "a score of exactly 0 or 1 is wrong, and the loss infinite",
            ))
        }
    }),
};

/// Log loss in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "log_loss",
    needs: &[Need::Probability, Need::Label],
    definition: "mean negative logarithm of the score of the true label",
    source: "Good 1952",
);
