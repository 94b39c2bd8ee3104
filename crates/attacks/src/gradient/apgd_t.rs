//! Auto-PGD towards one target class after another.
//!
//! # Idea
//! Ascend towards each of the likeliest wrong classes in turn, with the steps of [`apgd`](super::apgd). There is no step
//! size to tune, and the attack tries classes that the untargeted gradient ignores.
//!
//! # Maths
//! Steps, checkpoints, starts and the stages in L1 are those of [`apgd`](super::apgd).
//!
//! Restart `t` (of `targets × restarts`) ascends towards the class with the `⌊t / restarts⌋ + 1`-highest clean score
//! other than the label, on the targeted difference of logits ratio.
//!
//! # Reference
//! Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
//! ICML 2020, algorithm 1 and section 4.1; for L1, Croce and Hein, "Mind the box", ICML 2021; `APGDAttack_targeted` of
//! the authors' `AutoAttack`.
//!
//! # Divergences
//! Those of [`apgd`](super::apgd). As in the authors' code, every row keeps its own step, checkpoints and best point.
//! They leave ties between classes to `sort`; here the lower class is taken first, and there are never more targets than
//! other classes (their code always tries 9). A target class set by the user is the only one tried. With fewer than 4
//! classes the loss is the margin ([`Dlr`](crate::loss::Dlr)).
//!
//! # Cost
//! Per sample and restart: `steps` forwards and backwards and one forward for the clean scores, each times `eot`, and
//! one forward to judge; one more of each for a row that changes its loss. A sample stops once it breaks.
//!
//! # When it fails
//! Where gradients are zero, saturated or misleading, like every gradient attack.
//!
//! # Example
//! ```
//! let table: toml::Table = "targets = 3\nsteps = 50".parse().unwrap();
//! let attack = proofmark_attacks::build("apgd-t", &table).unwrap();
//! assert_eq!(attack.parameters()["targets"], 3);
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::AutoPgd;
use crate::config::{at_least_one, read, written};
use crate::loss::LossKind;

/// Parameters of targeted APGD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps per restart, at least 1; default 100.
    pub steps: u32,
    /// Number of target classes, the likeliest first, at least 1; default 9 (or all other classes, if there are fewer).
    pub targets: u32,
    /// Restarts per class, at least 1; default 1.
    pub restarts: u32,
    /// Loss: `ce`, `margin` or `dlr`; default `dlr`.
    pub loss: LossKind,
    /// Draws of a random model that each gradient is the mean of, at least 1; default 1.
    pub eot: u32,
    /// Whether an L1 restart begins in balls of 3 and 2 times the budget; default true. Other norms ignore it.
    pub large_radii: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 100,
            targets: 9,
            restarts: 1,
            loss: LossKind::Dlr,
            eot: 1,
            large_radii: true,
        }
    }
}

const META: Meta = Meta {
    id: "apgd-t",
    version: 2,
    summary: "Auto-PGD towards the likeliest other classes in turn",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Croce and Hein 2020, arXiv:2003.01690; L1: 2021, arXiv:2103.01208",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<AutoPgd, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        at_least_one(META.id, "targets", self.targets)?;
        at_least_one(META.id, "restarts", self.restarts)?;
        at_least_one(META.id, "eot", self.eot)?;
        Ok(AutoPgd {
            meta: &META,
            parameters: written(&self),
            steps: self.steps,
            restarts: self.restarts,
            loss: self.loss,
            targets: Some(self.targets),
            draws: self.eot,
            large_radii: self.large_radii,
        })
    }
}

/// Registry entry of targeted APGD.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
