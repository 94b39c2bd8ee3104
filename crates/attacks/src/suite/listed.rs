//! A suite of your own: several attacks, one after the other.
//!
//! # Idea
//! Later attacks skip the samples that an earlier one broke, so run cheap attacks first and expensive ones on the
//! samples that are left.
//!
//! # Maths
//! A sample is broken if any member breaks it; the suite's robust accuracy is the share of samples that no member
//! breaks.
//!
//! # Reference
//! Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
//! ICML 2020, section 5 (`AutoAttack` runs its attacks this way).
//!
//! # Divergences
//! Any attacks, in any order. Every member has its own record (`suite/pgd@linf:0.1`), in which samples that an earlier
//! member broke are marked `broken-before`. If a member fails, the results of the others are kept; the samples left
//! over are then `Stopped`, which no policy counts as robust.
//!
//! # Cost
//! Per sample: the cost of the members up to the first that breaks it. A forward limit applies to each member
//! separately.
//!
//! # When it fails
//! Where all its members fail. Members that fail for the same reason (all use gradients, and the gradients are masked)
//! are no better than one of them.
//!
//! # Example
//! ```
//! let table = r#"attacks = ["fgsm", { id = "pgd", steps = 40 }]"#.parse().unwrap();
//! let suite = proofmark_attacks::build("suite", &table).unwrap();
//! assert_eq!(suite.members().len(), 2);
//! assert_eq!(suite.members()[1].parameters()["steps"], 40);
//! ```

use proofmark_domain::{Needs, Norm, Role};
use proofmark_engine::{Attack, AttackEntry, BuildError, Meta};
use serde::{Deserialize, Serialize};

use super::Suite;
use crate::config::{read, require, written};

/// Parameters of a suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The attacks in order, each an id or a table with an id and parameters; default `["fgsm", "pgd"]`.
    pub attacks: Vec<Member>,
}

/// One attack of a suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Member {
    /// The attack with its default parameters.
    Id(String),
    /// A table with `id` and parameters.
    Table(toml::Table),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            attacks: ["fgsm", "pgd"].map(|id| Member::Id(id.into())).to_vec(),
        }
    }
}

const META: Meta = Meta {
    id: "suite",
    version: 1,
    summary: "attacks one after the other, each on what is left",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &Norm::ALL,
    reference: "Croce and Hein 2020, arXiv:2003.01690, section 5",
};

/// `META` for members that need only scores, or only decisions.
const ON_SCORES: Meta = Meta {
    needs: Needs::Scores,
    ..META
};
const ON_DECISIONS: Meta = Meta {
    needs: Needs::Decisions,
    ..META
};

impl Member {
    fn build(&self) -> Result<Box<dyn Attack>, BuildError> {
        let wrong = |problem: String| BuildError {
            attack: META.id.to_owned(),
            field: Some("attacks".to_owned()),
            problem,
        };
        let (id, parameters) = match self {
            Self::Id(id) => (id.clone(), toml::Table::new()),
            Self::Table(table) => {
                let mut parameters = table.clone();
                let Some(toml::Value::String(id)) = parameters.remove("id") else {
                    return Err(wrong(format!(
                        "attacks holds {{ {} }} without an id; expected `{{ id = \"pgd\", … }}`",
                        table.to_string().trim().replace('\n', ", ")
                    )));
                };
                (id, parameters)
            }
        };
        let attack = crate::build(&id, &parameters).map_err(|e| wrong(e.to_string()))?;
        if attack.members().is_empty() {
            return Ok(attack);
        }
        Err(wrong(format!(
            "attacks holds the suite `{id}`; expected attacks"
        )))
    }
}

impl Config {
    /// Builds the suite, or returns an error that names the wrong attack.
    pub fn build(self) -> Result<Suite, BuildError> {
        let some = !self.attacks.is_empty();
        require(some, META.id, "attacks", "[]", "at least one attack")?;
        let members: Vec<Box<dyn Attack>> = (self.attacks.iter())
            .map(Member::build)
            .collect::<Result<_, _>>()?;
        let needs = members.iter().map(|m| m.meta().needs).max();
        let meta = match needs {
            Some(Needs::Decisions) => &ON_DECISIONS,
            Some(Needs::Scores) => &ON_SCORES,
            _ => &META,
        };
        Ok(Suite::new(meta, written(&self), members))
    }
}

/// Registry entry of suites.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
