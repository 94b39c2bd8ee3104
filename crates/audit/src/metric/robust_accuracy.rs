//! Robust accuracy by group: how often the model is right on a sample, attacked or not.
//!
//! # Idea
//! What a group can rely on when someone attacks the model.
//!
//! # Maths
//! `(right and not broken) / n`, by weight.
//!
//! # Reference
//! Nanda et al., "Fairness Through Robustness: Investigating Robustness Disparity in Deep Learning", FACCT 2021.
//!
//! # Divergences
//! Same as the report's own robust accuracy, except that samples that could not be judged are left out here and
//! counted.
//!
//! # Cost
//! One pass over the rows; the attack ran before.
//!
//! # When it fails
//! It mixes two gaps, that of clean accuracy and that of the attack success rate: look at both.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Outcome::{Broken, Robust, Wrong}, Settings, metric};
//! let table = Columns::new("t")
//!     .outcome([Broken, Robust, Wrong, Robust, Broken, Broken, Robust, Wrong])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("robust_accuracy_difference")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.25));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::{Outcome, robustness};

/// Samples right and not broken / samples.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "robust_accuracy",
    of: Of::Share(|rows| {
        robustness::share(
            rows,
            |o| o == Outcome::Robust,
            |o| {
                _ = o;
                true
            },
        )
    }),
};

/// Robust accuracy by group in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "robust_accuracy",
    needs: &[Need::Outcome],
    definition: "samples right and not broken / samples",
    source: "Nanda et al. 2021, arXiv:2006.12621",
);
