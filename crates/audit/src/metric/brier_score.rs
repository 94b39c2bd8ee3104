//! Brier score: squared distance of scores from labels.
//!
//! # Idea
//! A proper score: it rewards both calibration and sharpness, and does not depend on a threshold.
//!
//! # Maths
//! Mean of `(p - y)^2` over the group, by weight.
//!
//! # Reference
//! Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 1950.
//!
//! # Divergences
//! Half of Brier's original sum over both classes, as is usual today.
//!
//! # Cost
//! One pass over the rows per group.
//!
//! # When it fails
//! It depends on the base rate: a group with a base rate near one half has a larger score under an equally good
//! model.
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
//! let figures = metric::find("brier_score")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.15625));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::figure::{UNIT, mean_of};

/// Mean squared distance of score and label.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "brier_score",
    of: Of::Mean(|rows, _| {
        mean_of(rows, UNIT, |t, r| {
            let (p, y) = (t.score()?[r], t.label()?[r]);
            Some((p - f64::from(y)).powi(2))
        })
    }),
};

/// Brier score in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "brier_score",
    needs: &[Need::Probability, Need::Label],
    definition: "mean squared distance of score and label",
    source: "Brier 1950",
    plain: &["brier"],
);
