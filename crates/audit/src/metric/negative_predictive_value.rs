//! Negative predictive value: how often an unfavourable decision is deserved.
//!
//! # Idea
//! The other half of predictive parity: a refusal should mean the same in every group.
//!
//! # Maths
//! `TN / (TN + FN) = P(Y = 0 | Ŷ = 0, A = a)`, by weight.
//!
//! # Reference
//! Chouldechova, "Fair prediction with disparate impact", Big Data 2017; Altman and Bland, BMJ 1994.
//!
//! # Divergences
//! A group without unfavourable decisions is not estimable; AIF360 makes it 0.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! Same as the positive predictive value.
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
//! let figures = metric::find("npv")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.5));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::Share;

/// True negatives / unfavourable decisions.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "npv",
    of: Of::Cell(|c| Share {
        numerator: c.tn,
        denominator: c.unfavourable(),
    }),
};

/// Negative predictive value in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "npv",
    needs: &[Need::Decision, Need::Label],
    definition: "true negatives / unfavourable decisions",
    source: "Chouldechova 2017, arXiv:1610.07524",
    plain: &["negative_predictive_value"],
);
