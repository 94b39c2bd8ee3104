//! True-negative rate: how often those who do not deserve a favourable decision do not get it.
//!
//! # Idea
//! The complement of the false-positive rate. The ratios of the two rates differ; a relative gap is easier to see on
//! the smaller of the two rates.
//!
//! # Maths
//! `TN / (FP + TN) = P(Ŷ = 0 | Y = 0, A = a)`, by weight.
//!
//! # Reference
//! Yerushalmy, "Statistical problems in assessing methods of medical diagnosis", Public Health Reports 1947
//! (specificity).
//!
//! # Divergences
//! A group without negatives is not estimable.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! Same as the false-positive rate.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, false, false, true, false, false, false])
//!     .label([true, false, true, false, true, true, false, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("tnr_difference")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.5));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::Share;

/// True negatives / negatives.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "tnr",
    of: Of::Cell(|c| Share {
        numerator: c.tn,
        denominator: c.negatives(),
    }),
};

/// True-negative rate in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "tnr",
    needs: &[Need::Decision, Need::Label],
    definition: "true negatives / negatives",
    source: "Yerushalmy 1947",
    plain: &["true_negative_rate", "specificity"],
);
