//! Kinds of checks: one file each, with what its table in a policy says, what has to be measured for it, and how the
//! evidence is judged.

mod attack_task;
mod attacks;
mod bias;
mod clean;
mod compare;
mod fit;
mod requirement;
mod robustness;
mod threat;

use std::fmt::Debug;
use std::sync::Arc;

pub use attack_task::AttackTask;
pub use attacks::AttackSpec;
pub use bias::AuditTask;
pub use requirement::{Comparison, Requirement};
pub use threat::{Budgets, ModalityBudget, ThreatSpec};

pub(crate) use compare::{figures, measure, settling};

use crate::gate_report::CheckResult;
use crate::judge::{Judging, NoRecord, Record};
use crate::policy::{Field, Named, Policy, PolicyError, Section};

/// A kind of check, as the registry knows it.
#[derive(Debug, Clone, Copy)]
pub struct CheckKind {
    /// Its word in policies and reports.
    pub id: &'static str,
    /// What it asks, in one line.
    pub about: &'static str,
    /// The fields that its table has beside those of every check.
    pub fields: fn() -> Vec<&'static str>,
    /// Those of them that only say how what was measured is judged or written down.
    pub(crate) judging: &'static [&'static str],
    /// Reads its table.
    pub(crate) read: Read,
}

/// How a table becomes a task; it may name what the policy defines.
type Read = fn(&Section<'_>, &Named<'_>) -> Result<Arc<dyn Task>, PolicyError>;

/// Every kind, in the order they are listed to users.
pub const ALL: &[CheckKind] = &[robustness::ENTRY, clean::ENTRY, bias::ENTRY];

/// What a check measures and requires.
pub(crate) trait Task: Debug + Send + Sync {
    /// What has to be measured.
    fn measure(&self) -> Measure<'_>;

    /// The whole requirement, as reports write it.
    fn requirement(&self) -> String;

    /// A requirement as a waiver names it, in the words of reports, and whether the check has it.
    fn waived(&self, field: &Field<'_>) -> Result<(String, bool), PolicyError>;

    /// Refuses a record that is not the evidence the check asks for, or that did not come to its end.
    fn fits(&self, record: &Record, policy: &Policy) -> Result<(), NoRecord>;

    /// How many figures of the record are judged together with those of other checks, each interval that much wider.
    fn family(&self, _record: &Record) -> usize {
        0
    }

    /// Judges a record that [fits](Self::fits): every figure computed again from what it is made of.
    fn judge(&self, record: Record, judging: &mut Judging<'_, '_>)
    -> Result<CheckResult, NoRecord>;
}

/// What has to be measured for a check: what the runner turns into evidence.
#[derive(Debug, Clone, Copy)]
pub enum Measure<'a> {
    /// A model on data, attacked or not.
    Attack(&'a AttackTask),
    /// A table of decisions.
    Audit(&'a AuditTask),
}

impl Measure<'_> {
    /// Whether shards divide it. A table is audited whole, by the first of them.
    pub const fn is_divided(&self) -> bool {
        matches!(self, Self::Attack(_))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn kinds_have_names_of_their_own_and_no_field_of_every_check() {
        let ids: BTreeSet<&str> = ALL.iter().map(|e| e.id).collect();
        assert_eq!(ids.len(), ALL.len());
        for entry in ALL {
            let fields = (entry.fields)();
            let own: BTreeSet<&str> = fields.iter().copied().collect();
            assert_eq!(own.len(), fields.len());
            assert!(entry.judging.iter().all(|f| own.contains(f)));
            for common in crate::policy::COMMON {
                assert!(!own.contains(common), "{}: {common}", entry.id);
            }
        }
    }
}
