//! False-negative rate: how often those who deserve a favourable decision do not get it.
//!
//! # Idea
//! If the favourable decision is a benefit (a loan, a treatment), this is the share of those entitled who do not get
//! it.
//!
//! # Maths
//! `FN / (TP + FN) = P(Ŷ = 0 | Y = 1, A = a)`, by weight.
//!
//! # Reference
//! Hardt, Price and Srebro, NIPS 2016; Saleiro et al., "Aequitas", arXiv:1811.05577.
//!
//! # Divergences
//! A group without positives is not estimable; aequitas sets a disparity over 0 to 10.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! As for the true-positive rate.
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
//! let figures = metric::find("fnr")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.5));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::Share;

/// False negatives / positives.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "fnr",
    of: Of::Cell(|c| Share {
        numerator: c.fn_,
        denominator: c.positives(),
    }),
};

/// False-negative rate in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "fnr",
    needs: &[Need::Decision, Need::Label],
    definition: "false negatives / positives",
    source: "Hardt et al. 2016; Saleiro et al. 2018, arXiv:1811.05577",
    plain: &["false_negative_rate", "miss_rate"],
);
