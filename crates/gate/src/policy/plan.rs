use proofmark_domain::Seed;

use super::attacks::AttackSpec;
use super::check::{Check, CheckKind};
use super::data::DataRef;
use super::model::ModelRef;
use super::threat::ThreatSpec;

/// One measurement a policy needs: what the runner turns into a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Id of the check it is for.
    pub check: String,
    /// What is measured.
    pub kind: CheckKind,
    /// The model.
    pub model: ModelRef,
    /// The data.
    pub data: DataRef,
    /// What attacks may change; absent for a clean check.
    pub threat: Option<ThreatSpec>,
    /// The attacks; none for a clean check.
    pub attacks: Vec<AttackSpec>,
    /// At most this many samples.
    pub limit: Option<u64>,
    /// Seed of the run.
    pub seed: Seed,
}

impl Job {
    pub(crate) fn of(check: &Check, seed: Seed) -> Self {
        Self {
            check: check.id.clone(),
            kind: check.kind,
            model: check.model.clone(),
            data: check.data.clone(),
            threat: check.threat.clone(),
            attacks: check.attacks.clone(),
            limit: check.limit,
            seed,
        }
    }
}
