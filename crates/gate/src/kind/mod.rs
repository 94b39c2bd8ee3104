//! Kinds of checks, one file each: the fields of its table in a policy, what it measures, and how its evidence is
//! judged.

mod attack_task;
mod attacks;
mod bias;
mod clean;
mod compare;
mod fit;
pub(crate) mod looks;
mod requirement;
mod robustness;
mod surrogate;
mod threat;

use std::fmt::Debug;
use std::sync::Arc;

pub use attack_task::AttackTask;
pub use attacks::AttackSpec;
pub use bias::AuditTask;
pub use requirement::{Comparison, Requirement};
pub use surrogate::SurrogateSpec;
pub use threat::{Budgets, ModalityBudget, ThreatSpec};

pub(crate) use surrogate::named as surrogates_named;

pub(crate) use compare::{figures, measure, settling};

use crate::gate_report::CheckResult;
use crate::judge::{Judging, NoRecord, Record};
use crate::policy::{Field, Named, Policy, PolicyError, Section};

/// Registry entry of a kind of check.
#[derive(Debug, Clone, Copy)]
pub struct CheckKind {
    /// Id in policies and reports.
    pub id: &'static str,
    /// One-line description.
    pub about: &'static str,
    /// Fields of its table, besides those common to every check.
    pub fields: fn() -> Vec<&'static str>,
    /// Fields among them that only affect judging or output, not the measurement.
    pub(crate) judging: &'static [&'static str],
    /// Reads its table.
    pub(crate) read: Read,
}

/// Reads a table into a task; the table may refer to names that the policy defines.
type Read = fn(&Section<'_>, &Named<'_>) -> Result<Arc<dyn Task>, PolicyError>;

/// Every kind, in the order they are listed to users.
pub const ALL: &[CheckKind] = &[robustness::ENTRY, clean::ENTRY, bias::ENTRY];

/// The measurement and the requirement of a check.
pub(crate) trait Task: Debug + Send + Sync {
    /// Returns what has to be measured.
    fn measure(&self) -> Measure<'_>;

    /// Returns the whole requirement, as reports write it.
    fn requirement(&self) -> String;

    /// Parses a requirement named by a waiver; returns it as reports write it, and whether the check has it.
    fn waived(&self, field: &Field<'_>) -> Result<(String, bool), PolicyError>;

    /// Refuses a record that is not the evidence the check asks for, or in which an attack failed.
    fn fits(&self, record: &Record, policy: &Policy) -> Result<(), NoRecord>;

    /// Returns the number of figures of the record that are judged jointly with those of other checks, which widens
    /// each interval.
    fn family(&self, _record: &Record) -> usize {
        0
    }

    /// Whether a record ends where the check may end, at this level.
    fn is_settled(&self, _record: &Record, _level: f64) -> bool {
        true
    }

    /// Judges a record that [fits](Self::fits), after recomputing every figure from the data behind it.
    fn judge(&self, record: Record, judging: &mut Judging<'_, '_>)
    -> Result<CheckResult, NoRecord>;
}

/// The measurement that the runner makes for a check, to produce its evidence.
#[derive(Debug, Clone, Copy)]
pub enum Measure<'a> {
    /// A model on data, with or without attacks.
    Attack(&'a AttackTask),
    /// A table of decisions.
    Audit(&'a AuditTask),
}

impl Measure<'_> {
    /// Whether shards split it. A table is not split: the first shard audits it whole.
    pub const fn is_divided(&self) -> bool {
        matches!(self, Self::Attack(_))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn kinds_have_unique_ids_and_no_common_fields() {
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
