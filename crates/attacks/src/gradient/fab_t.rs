//! Targeted FAB: fast adaptive boundary towards one class after another.
//!
//! # Idea
//! Search for the smallest change that reaches the boundary of each of the likeliest wrong classes in turn. A step
//! needs one gradient, however many classes the model has, and no class is missed because another one seemed nearer
//! at the clean sample.
//!
//! # Maths
//! Restart `t` (of `targets × restarts`) takes the steps of [`fab`](super::fab) with the boundary `z_c = z_y` of one
//! class `c` throughout: the one with the `⌊t / restarts⌋ + 1`-highest clean score other than the label. Any wrong
//! decision on the way counts.
//!
//! # Reference
//! Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
//! ICML 2020, section 5; `FABAttack_PT` of the authors' `AutoAttack` with `attack_mode = "targeted"`.
//!
//! # Divergences
//! Those of [`fab`](super::fab), except that no class is chosen. The authors' code keeps a point only inside the budget
//! and stops trying classes for samples that it broke; here all classes are tried and the nearest point is kept, so
//! that one run gives the whole curve of accuracy and budget. Ties between classes go to the lower class. A target
//! class set by the user is the only one tried, and has to be reached.
//!
//! # Cost
//! Per sample and restart, of which there are `targets × restarts`: `2 × steps` forwards and `steps` backwards, one
//! forward for the clean scores, at most `2 × bisections` forwards and one to judge.
//!
//! # When it fails
//! Where [`fab`](super::fab) fails, and where the nearest class is none of the likeliest.
//!
//! # Example
//! ```
//! let table: toml::Table = "targets = 3\nsteps = 50".parse().unwrap();
//! let attack = proofmark_attacks::build("fab-t", &table).unwrap();
//! assert_eq!(attack.parameters()["targets"], 3);
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, Bisected, BuildError, EngineError, Job, Meta, Needs,
    Outcomes, run,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fab::{Choice, Pull, Walk};
use crate::config::{at_least_one, bisections, read, written};
use crate::inputs;

/// Parameters of targeted FAB.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps per restart, at least 1; default 100.
    pub steps: u32,
    /// Number of target classes, the likeliest first, at least 1; default 9 (or all other classes, if there are fewer).
    pub targets: u32,
    /// Restarts per class, at least 1; default 1. Those after the first begin at a random point.
    pub restarts: u32,
    /// Largest weight of the point of the boundary that is nearest to the clean sample, in [0, 1]; default 0.1.
    pub alpha_max: f64,
    /// How far a step goes, as a share of the way to the boundary, at least 1; default 1.05.
    pub eta: f64,
    /// Share of the way from the clean sample at which the search continues after a success, in (0, 1); default 0.9.
    pub beta: f64,
    /// Bisections at the end of each restart, two forwards each, 0 to 20; default 10.
    pub bisections: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 100,
            targets: 9,
            restarts: 1,
            alpha_max: 0.1,
            eta: 1.05,
            beta: 0.9,
            bisections: 10,
        }
    }
}

const META: Meta = Meta {
    id: "fab-t",
    version: 1,
    summary: "fast adaptive boundary towards the likeliest other classes in turn",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Croce and Hein 2020, arXiv:1907.02044",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<FabT, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        at_least_one(META.id, "targets", self.targets)?;
        at_least_one(META.id, "restarts", self.restarts)?;
        bisections(META.id, self.bisections)?;
        Pull::of(self.alpha_max, self.eta, self.beta).check(META.id)?;
        Ok(FabT(self))
    }
}

/// Targeted FAB with its parameters checked.
#[derive(Debug)]
pub struct FabT(Config);

impl Attack for FabT {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.0)
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        inputs::independent(&META, job)
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let others = job.classes(access.signature()) as u32 - 1;
        let config = &self.0;
        let classes = config.targets.min(others);
        let targeted = job.goal.targeted();
        let walk = Walk {
            id: META.id,
            steps: config.steps,
            restarts: config
                .restarts
                .saturating_mul(if targeted { 1 } else { classes }),
            pull: Pull::of(config.alpha_max, config.eta, config.beta),
            choice: if targeted {
                Choice::Target
            } else {
                Choice::InTurn {
                    classes,
                    restarts: config.restarts,
                }
            },
        };
        let walk = Bisected::new(walk, config.bisections);
        run(access.gradients(META.id)?, &walk, job)
    }
}

/// Registry entry of targeted FAB.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
