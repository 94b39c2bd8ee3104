//! Selection rate: how often a group receives a favourable decision.
//!
//! # Idea
//! Demographic parity asks for the same share of favourable decisions in every group, whatever the labels.
//!
//! # Maths
//! `P(Ŷ = 1 | A = a)`, favourable decisions over all decisions of the group, by weight.
//!
//! # Reference
//! Calders, Kamiran and Pechenizkiy, "Building Classifiers with Independency Constraints", ICDMW 2009; Dwork et al.,
//! "Fairness Through Awareness", ITCS 2012.
//!
//! # Divergences
//! fairlearn raises an error for an empty group and AIF360 returns NaN; here the group is left out and counted.
//! AIF360's difference and disparate impact are signed, unprivileged less (over) privileged: that is
//! `selection_rate_difference_to_reference` group by group, with the privileged group named as reference.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! It ignores who deserves what: equal rates can hide that the wrong people are chosen in one group, and a perfect
//! predictor fails it when the true base rates differ.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, false, true, false, false])
//!     .attribute("sex", ["f", "f", "f", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("selection_rate_difference")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(2.0 / 3.0 - 1.0 / 3.0));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::Share;

/// Favourable decisions among all.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "selection_rate",
    of: Of::Cell(|c| Share {
        numerator: c.favourable(),
        denominator: c.all(),
    }),
};

/// Selection rates in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "selection_rate",
    needs: &[Need::Decision],
    definition: "favourable decisions / decisions",
    source: "Calders et al. 2009; Dwork et al. 2012, arXiv:1104.3913",
    difference: &["demographic_parity_difference"],
    ratio: &["demographic_parity_ratio"],
    difference_to_reference: &["statistical_parity_difference"],
    ratio_to_reference: &["disparate_impact"],
);
