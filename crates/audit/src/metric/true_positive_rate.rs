//! True-positive rate: how often those who deserve a favourable decision get it.
//!
//! # Idea
//! Equal opportunity asks for the same true-positive rate in every group.
//!
//! # Maths
//! `TP / (TP + FN) = P(Ŷ = 1 | Y = 1, A = a)`, by weight.
//!
//! # Reference
//! Hardt, Price and Srebro, "Equality of Opportunity in Supervised Learning", NIPS 2016, definition 2.2.
//!
//! # Divergences
//! A group without positives is not estimable. fairlearn sets its rate to 0, which can raise the largest difference to
//! 1.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! If the labels themselves are biased (arrests used as labels for crimes), equal rates reproduce the bias. A group
//! with few positives has a wide interval however large the group is: `min_n` counts positives.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, false, true, true])
//!     .label([true, true, true, true])
//!     .attribute("sex", ["f", "f", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("equal_opportunity_difference")?.figures(&groups, &settings);
//! assert_eq!((figures[0].metric, figures[0].value()), ("tpr_difference", Some(0.5)));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::Share;

/// True positives / positives.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "tpr",
    of: Of::Cell(|c| Share {
        numerator: c.tp,
        denominator: c.positives(),
    }),
};

/// True-positive rates in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "tpr",
    needs: &[Need::Decision, Need::Label],
    definition: "true positives / positives",
    source: "Hardt et al. 2016, arXiv:1610.02413",
    plain: &["true_positive_rate", "recall", "sensitivity"],
    difference: &["equal_opportunity_difference", "true_positive_rate_difference"],
    ratio: &["equal_opportunity_ratio", "true_positive_rate_ratio"],
);
