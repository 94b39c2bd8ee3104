//! FGSM after a small random step.
//!
//! # Idea
//! A model can hide its loss surface right at the data (gradient masking by single-step training); a random sign step
//! first moves away from there.
//!
//! # Maths
//! `x₁ = P(x + r)`, `r` of random signs and length `a ε`; `x' = P(x₁ + (1 + a) ε u(∇ℓ(x₁)))`, `a` = 1/2. `u` is the
//! steepest direction inside the bounds, as in FGSM.
//!
//! # Reference
//! Tramèr et al., "Ensemble Adversarial Training: Attacks and Defenses", ICLR 2018, eq. 7 (R+FGSM).
//!
//! # Divergences
//! The paper steps by `(1 − a) ε`, so that features whose random half went the wrong way end where they began: half of
//! them (version 1 did the same). `(1 + a) ε` reaches every corner of the ball, which the fast FGSM of Wong et al.,
//! "Fast is better than free", ICLR 2020, aims at with 1.25 ε. Restarts are offered; the paper has one try. The random
//! sign is a fair bit, with the same distribution as the sign of a normal draw. In L2 and L1 the random step has the
//! length `a ε` in that norm; version 1 moved each feature by `a ε`, which put the sample on the edge of the ball.
//!
//! # Cost
//! Per restart one forward and backward, and one forward to judge.
//!
//! # When it fails
//! Like FGSM, where one step cannot follow a curved loss.
//!
//! # Example
//! ```
//! let table: toml::Table = "alpha = 0.25".parse().unwrap();
//! assert!(proofmark_attacks::build("r-fgsm", &table).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::{Ascent, Length, Start};
use crate::config::{at_least_one, read, require};
use crate::loss::LossKind;

/// Parameters of R-FGSM.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Length of the random step as a share of epsilon, in [0, 1); default 0.5.
    pub alpha: f32,
    /// Restarts, at least 1; default 1.
    pub restarts: u32,
    /// Loss: `ce`, `margin` or `dlr`; default `ce`.
    pub loss: LossKind,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            alpha: 0.5,
            restarts: 1,
            loss: LossKind::Ce,
        }
    }
}

const META: Meta = Meta {
    id: "r-fgsm",
    version: 2,
    summary: "FGSM after a random sign step",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Tramèr et al. 2018, arXiv:1705.07204",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Ascent, BuildError> {
        require(
            (0.0..1.0).contains(&self.alpha),
            META.id,
            "alpha",
            self.alpha,
            "a share from 0 to below 1",
        )?;
        at_least_one(META.id, "restarts", self.restarts)?;
        Ok(Ascent {
            restarts: self.restarts,
            start: Start::RandomSign(self.alpha),
            length: Length::Constant(f64::from(1.0 + self.alpha)),
            ..Ascent::new(&META, &self, self.loss, 1)
        })
    }
}

/// Registry entry of R-FGSM.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
