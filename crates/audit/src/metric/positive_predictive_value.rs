//! Positive predictive value: how often a favourable decision is deserved.
//!
//! # Idea
//! Predictive parity asks that a favourable decision mean the same in every group.
//!
//! # Maths
//! `TP / (TP + FP) = P(Y = 1 | Ŷ = 1, A = a)`, by weight.
//!
//! # Reference
//! Chouldechova, "Fair prediction with disparate impact", Big Data 2017.
//!
//! # Divergences
//! A group without favourable decisions is not estimable; AIF360 and scikit-learn make its precision 0.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! A group that must clear a higher bar has a higher value: a model can reach parity by denying the deserving.
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
//! let figures = metric::find("ppv_difference")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.5));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::Share;

/// True positives / favourable decisions.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "ppv",
    of: Of::Cell(|c| Share {
        numerator: c.tp,
        denominator: c.favourable(),
    }),
};

/// Positive predictive value in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "ppv",
    needs: &[Need::Decision, Need::Label],
    definition: "true positives / favourable decisions",
    source: "Chouldechova 2017, arXiv:1610.07524",
    plain: &["positive_predictive_value", "precision"],
    difference: &["predictive_parity_difference"],
    ratio: &["predictive_parity_ratio"],
);
