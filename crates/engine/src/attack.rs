use std::fmt::Debug;

use proofmark_domain::{Needs, Norm, Role, StepRecord, ThreatRecord};
use proofmark_model::Access;
use serde_json::{Map, Value};

use crate::{Aim, EngineError, Job, Outcomes};

/// Static facts about an attack.
#[derive(Debug, Clone, Copy)]
pub struct Meta {
    /// Its id on the command line and in policies.
    pub id: &'static str,
    /// Version, increased with every change in the behaviour of its defaults; reports state it.
    pub version: u32,
    /// One-line summary for lists.
    pub summary: &'static str,
    /// Whether it is a real attack or a baseline that a real attack must beat.
    pub role: Role,
    /// Access to the model that it needs.
    pub needs: Needs,
    /// Norms it supports.
    pub norms: &'static [Norm],
    /// Source in the literature.
    pub reference: &'static str,
}

/// Resolved parameters by name, as written to a report.
pub type Parameters = Map<String, Value>;

/// An attack with fixed parameters, as an object-safe trait.
pub trait Attack: Send + Sync + Debug {
    /// Returns the static facts about the attack.
    fn meta(&self) -> &'static Meta;

    /// Returns every resolved parameter, for the report.
    fn parameters(&self) -> Parameters;

    /// Returns the step sizes within `threat`, per modality that may change; empty if the attack takes no steps.
    fn step_sizes(&self, threat: &ThreatRecord) -> Vec<StepRecord> {
        let _ = threat;
        Vec::new()
    }

    /// Returns what the attack looks for.
    fn aim(&self) -> Aim {
        Aim::Within
    }

    /// Returns the member attacks if it is a suite, all that it may run.
    fn members(&self) -> &[Box<dyn Attack>] {
        &[]
    }

    /// Returns the places of the members that run on a model that gives this much and on this job:
    /// [`Outcomes::parts`] holds their outcomes in this order. It depends on inputs and budgets alone, never on samples;
    /// fails if the suite has no members for them.
    fn chosen(&self, gives: Needs, job: &Job<'_>) -> Result<Vec<usize>, EngineError> {
        let _ = (gives, job);
        Ok((0..self.members().len()).collect())
    }

    /// Whether it runs only members that suit what the model gives ([`Attack::chosen`]): then those of other models are
    /// no reason to refuse it.
    fn chooses_by_access(&self) -> bool {
        false
    }

    /// Whether it mixes other samples into points ([`Job::others`]); a suite does if a member may.
    fn mixes(&self) -> bool {
        self.members().iter().any(|m| m.mixes())
    }

    /// Whether it fits one change for all samples, so that the outcome of a sample depends on the others; a suite does
    /// if a member may. It cannot run on shards.
    fn is_universal(&self) -> bool {
        self.members().iter().any(|m| m.is_universal())
    }

    /// Runs the attack.
    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError>;

    /// Checks, before the first query, that the attack supports the job; fails for an unsupported norm.
    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        check_norms(self.meta(), job)
    }
}

/// Checks, before the first query, that the attack supports the job on a model that gives this much, and so do the
/// members of a suite that would run.
pub fn check_members(attack: &dyn Attack, gives: Needs, job: &Job<'_>) -> Result<(), EngineError> {
    attack.check(job)?;
    let chosen = attack.chosen(gives, job)?;
    let members = chosen.iter().map(|i| &attack.members()[*i]);
    members.into_iter().try_for_each(|m| m.check(job))
}

/// Fails if a budget is in a norm that the attack does not support.
pub fn check_norms(meta: &Meta, job: &Job<'_>) -> Result<(), EngineError> {
    for budget in job.threat.budgets() {
        if !meta.norms.contains(&budget.norm) {
            let supported: Vec<&str> = meta.norms.iter().map(|n| n.as_str()).collect();
            return Err(EngineError::Norm {
                attack: meta.id.to_owned(),
                norm: budget.norm,
                supported: supported.join(", "),
            });
        }
    }
    Ok(())
}

/// Error for parameters from which no attack can be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("attack `{attack}`: {problem}")]
pub struct BuildError {
    /// The attack's id.
    pub attack: String,
    /// Name of the invalid parameter, if one is to blame.
    pub field: Option<String>,
    /// What is wrong and what was expected.
    pub problem: String,
}

/// Entry of an attack in a registry: its facts and its constructor.
#[derive(Clone, Copy)]
pub struct AttackEntry {
    /// Static facts about the attack.
    pub meta: &'static Meta,
    /// Builds the attack from parameters: missing ones take their defaults, unknown ones are errors.
    pub build: fn(&toml::Table) -> Result<Box<dyn Attack>, BuildError>,
}

impl Debug for AttackEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AttackEntry").field(&self.meta.id).finish()
    }
}
