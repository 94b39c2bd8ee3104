//! False-positive rate: how often those who do not deserve a favourable decision get it.
//!
//! # Idea
//! If the positive decision is a burden (a risk score, an alarm), this is the share of the innocent who bear it: the
//! rate of the COMPAS debate.
//!
//! # Maths
//! `FP / (FP + TN) = P(Ŷ = 1 | Y = 0, A = a)`, by weight.
//!
//! # Reference
//! Angwin et al., "Machine Bias", `ProPublica` 2016; Hardt, Price and Srebro, NIPS 2016.
//!
//! # Divergences
//! A group without negatives is not estimable; fairlearn sets its rate to 0.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! If base rates differ, equal false-positive and false-negative rates rule out equal predictive values (Chouldechova
//! 2017): a gap does not prove that anything was done wrong.
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
//! let figures = metric::find("fpr_difference")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.5));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::Share;

/// False positives / negatives.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "fpr",
    of: Of::Cell(|c| Share {
        numerator: c.fp,
        denominator: c.negatives(),
    }),
};

/// False-positive rate in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "fpr",
    needs: &[Need::Decision, Need::Label],
    definition: "false positives / negatives",
    source: "Angwin et al. 2016; Hardt et al. 2016, arXiv:1610.02413",
    plain: &["false_positive_rate"],
    difference: &["predictive_equality_difference", "false_positive_rate_difference"],
    ratio: &["false_positive_rate_ratio"],
);
