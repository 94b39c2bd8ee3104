//! Base rate: how often the label of a group is positive.
//!
//! # Idea
//! It describes the data, not the model: most conflicts between fairness criteria come from differing base rates.
//!
//! # Maths
//! `P(Y = 1 | A = a)`, positive labels over all labels of the group, by weight.
//!
//! # Reference
//! Kleinberg, Mullainathan and Raghavan, "Inherent Trade-Offs in the Fair Determination of Risk Scores", ITCS 2017.
//!
//! # Divergences
//! None; AIF360 calls it `base_rate`, aequitas prevalence.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! Labels are records, not facts: a base rate of arrests is not a base rate of crimes.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .label([true, false, true, false, true, true, false, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("base_rate")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.5));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::Share;

/// Positive labels / labels.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "base_rate",
    of: Of::Cell(|c| Share {
        numerator: c.positives(),
        denominator: c.all(),
    }),
};

/// Base rate in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "base_rate",
    needs: &[Need::Label],
    definition: "positive labels / labels",
    source: "Kleinberg et al. 2017, arXiv:1609.05807",
    plain: &["prevalence"],
);
