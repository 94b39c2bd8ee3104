//! False-omission rate: how often an unfavourable decision is undeserved.
//!
//! # Idea
//! The complement of the negative predictive value, as aequitas reports it.
//!
//! # Maths
//! `FN / (TN + FN) = P(Y = 1 | Ŷ = 0, A = a)`, by weight.
//!
//! # Reference
//! Saleiro et al., "Aequitas: A Bias and Fairness Audit Toolkit", arXiv:1811.05577.
//!
//! # Divergences
//! A group without unfavourable decisions is not estimable; AIF360 sets it to 0.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! As for the negative predictive value.
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
//! let figures = metric::find("for")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.5));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::Share;

/// False negatives / unfavourable decisions.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "for",
    of: Of::Cell(|c| Share {
        numerator: c.fn_,
        denominator: c.unfavourable(),
    }),
};

/// False-omission rate in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "for",
    needs: &[Need::Decision, Need::Label],
    definition: "false negatives / unfavourable decisions",
    source: "Saleiro et al. 2018, arXiv:1811.05577",
    plain: &["false_omission_rate"],
);
