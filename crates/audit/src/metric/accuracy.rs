//! Accuracy: how often the decision agrees with the label.
//!
//! # Idea
//! Overall accuracy equality requires the model to be equally accurate for every group.
//!
//! # Maths
//! `(TP + TN) / n = P(Ŷ = Y | A = a)`, by weight.
//!
//! # Reference
//! Berk et al., "Fairness in Criminal Justice Risk Assessments", Sociological Methods & Research 2021; Buolamwini and
//! Gebru, "Gender Shades", FAT* 2018.
//!
//! # Divergences
//! None.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! High accuracy is easy on groups with base rates near 0 or 1, and errors of opposite kinds cancel: also look at
//! balanced accuracy and at both error rates.
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
//! let figures = metric::find("accuracy_difference")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.25));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::Share;

/// Correct decisions / decisions.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "accuracy",
    of: Of::Cell(|c| Share {
        numerator: c.correct(),
        denominator: c.all(),
    }),
};

/// Accuracy in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "accuracy",
    needs: &[Need::Decision, Need::Label],
    definition: "correct decisions / decisions",
    source: "Berk et al. 2021, arXiv:1703.09207",
);
