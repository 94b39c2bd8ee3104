//! Clean accuracy by group, of the samples of an attack report.
//!
//! # Idea
//! Accuracy of the same samples without attack, to compare robust accuracy with. Works for any number of classes.
//!
//! # Maths
//! `(right without attack) / n`, by weight.
//!
//! # Reference
//! Buolamwini and Gebru, "Gender Shades", FAT* 2018.
//!
//! # Divergences
//! None.
//!
//! # Cost
//! One pass over the rows; the attack itself has already run.
//!
//! # When it fails
//! As for accuracy.
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
//! let figures = metric::find("clean_accuracy_difference")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(0.0));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::{Outcome, robustness};

/// Samples right without attack / samples.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "clean_accuracy",
    of: Of::Share(|rows| {
        robustness::share(
            rows,
            |o| o != Outcome::Wrong,
            |o| {
                _ = o;
                true
            },
        )
    }),
};

/// Clean accuracy by group, of the samples of an attack report in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "clean_accuracy",
    needs: &[Need::Outcome],
    definition: "samples right without attack / samples",
    source: "Buolamwini and Gebru 2018",
);
