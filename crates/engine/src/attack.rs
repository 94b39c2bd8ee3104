use std::fmt::Debug;

use proofmark_domain::{Needs, Norm, Role, StepRecord, ThreatRecord};
use proofmark_model::Access;
use serde_json::{Map, Value};

use crate::{Aim, EngineError, Job, Outcomes};

/// What is known of an attack before it runs.
#[derive(Debug, Clone, Copy)]
pub struct Meta {
    /// Its id on the command line and in policies.
    pub id: &'static str,
    /// Grows with every change of what its defaults do; reports carry it.
    pub version: u32,
    /// One line for lists.
    pub summary: &'static str,
    /// Whether it is a real attack or a baseline that a real attack must beat.
    pub role: Role,
    /// What it needs of a model.
    pub needs: Needs,
    /// The norms it works in.
    pub norms: &'static [Norm],
    /// Where it comes from.
    pub reference: &'static str,
}

/// Resolved parameters by name, as a report writes them down.
pub type Parameters = Map<String, Value>;

/// An attack with its parameters fixed: the object-safe door.
pub trait Attack: Send + Sync + Debug {
    /// What is known of it.
    fn meta(&self) -> &'static Meta;

    /// Every resolved parameter, for the report.
    fn parameters(&self) -> Parameters;

    /// How long its steps are within `threat`, per modality that may change; empty where it takes none.
    fn step_sizes(&self, threat: &ThreatRecord) -> Vec<StepRecord> {
        let _ = threat;
        Vec::new()
    }

    /// What it looks for.
    fn aim(&self) -> Aim {
        Aim::Within
    }

    /// The attacks it is made of, if it is a suite: their outcomes are in [`Outcomes::parts`], in this order.
    fn members(&self) -> &[Box<dyn Attack>] {
        &[]
    }

    /// Runs it.
    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError>;

    /// Refuses what the attack cannot do, before the first query: norms that it does not work in.
    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        check_norms(self.meta(), job)
    }
}

/// Refuses budgets in norms that an attack does not work in.
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

/// Why parameters do not make an attack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("attack `{attack}`: {problem}")]
pub struct BuildError {
    /// The attack's id.
    pub attack: String,
    /// The parameter at fault, if one is.
    pub field: Option<String>,
    /// What is wrong and what was expected.
    pub problem: String,
}

/// How an attack is listed and made from a table of parameters.
#[derive(Clone, Copy)]
pub struct AttackEntry {
    /// What is known of it.
    pub meta: &'static Meta,
    /// Makes it from parameters; missing ones take their defaults, unknown ones are errors.
    pub build: fn(&toml::Table) -> Result<Box<dyn Attack>, BuildError>,
}

impl Debug for AttackEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AttackEntry").field(&self.meta.id).finish()
    }
}
