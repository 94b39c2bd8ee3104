//! False-discovery rate: how often a favourable decision is undeserved.
//!
//! # Idea
//! The complement of the positive predictive value, as aequitas reports it.
//!
//! # Maths
//! `FP / (TP + FP) = P(Y = 0 | Ŷ = 1, A = a)`, by weight.
//!
//! # Reference
//! Saleiro et al., "Aequitas: A Bias and Fairness Audit Toolkit", arXiv:1811.05577.
//!
//! # Divergences
//! A group without favourable decisions is not estimable; AIF360 sets it to 0.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! As for the positive predictive value.
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
//! let figures = metric::find("fdr_difference")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.5));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::Share;

/// False positives / favourable decisions.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "fdr",
    of: Of::Cell(|c| Share {
        numerator: c.fp,
        denominator: c.favourable(),
    }),
};

/// False-discovery rate in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "fdr",
    needs: &[Need::Decision, Need::Label],
    definition: "false positives / favourable decisions",
    source: "Saleiro et al. 2018, arXiv:1811.05577",
    plain: &["false_discovery_rate"],
);
