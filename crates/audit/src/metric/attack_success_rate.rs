//! Attack success rate: how often an attack breaks a sample that the model classified correctly.
//!
//! # Idea
//! Robustness bias: some groups are easier to attack than others, among samples that the model classified correctly.
//!
//! # Maths
//! `broken / (right without attack)`, by weight.
//!
//! # Reference
//! Nanda et al., "Fairness Through Robustness: Investigating Robustness Disparity in Deep Learning", FACCT 2021.
//!
//! # Divergences
//! The paper measures distances to the decision boundary; this metric is the share broken within the budget of the
//! attack report, over all attacks that were run.
//!
//! # Cost
//! One pass over the rows; the attack itself has already run.
//!
//! # When it fails
//! It is a lower bound on an attacker's success, and a weak attack hides gaps. A group with few correctly classified
//! samples has few samples to break.
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
//! let figures = metric::find("attack_success_rate_difference")?.figures(&groups, &settings);
//! assert_eq!(figures[0].value(), Some(2.0 / 3.0 - 1.0 / 3.0));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Statistic};
use crate::{Outcome, robustness};

/// Broken samples / samples right without attack.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "attack_success_rate",
    of: Of::Share(|rows| {
        robustness::share(rows, |o| o == Outcome::Broken, |o| o != Outcome::Wrong)
    }),
};

/// Attack success rate in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "attack_success_rate",
    needs: &[Need::Outcome],
    definition: "broken samples / samples right without attack",
    source: "Nanda et al. 2021, arXiv:2006.12621",
);
