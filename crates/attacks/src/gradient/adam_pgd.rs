//! PGD with Adam's direction.
//!
//! # Idea
//! Scale each feature's step by its own gradient history, so that features with small but steady gradients move too.
//!
//! # Maths
//! `x_{k+1} = P(x_k + α_k d)`, `d = m̂ / (sqrt(v̂) + 1e-8 max sqrt(v̂))`, moments per feature, `α_k = 4 ε (1 − k / steps)²`
//! unless a constant is given. L2 and L1: `x_{k+1} = P(x_k + α_k u(d))`, `v` one number per sample, `u` the steepest
//! direction inside the bounds, as in PGD.
//!
//! # Reference
//! Optimiser: Kingma and Ba, 2015. As an attack: Uesato et al., "Adversarial Risk and the Dangers of Evaluating Against
//! Weak Attacks", ICML 2018.
//!
//! # Divergences
//! Foolbox, and version 1, keep a mean square per feature in every norm. That makes every step dense: the features that
//! matter least move as far as the others and use up the single L2 or L1 budget. On the robust digits at L2 0.8 that
//! version left 94 % of the samples where PGD left 47 % (400 training samples). Adam's 1e-8 is a share of the row's largest root:
//! gradients of confident models are often smaller than 1e-8, and up to version 3 such rows hardly moved. Steps shrink here, not in foolbox. The
//! default is two restarts of 20 steps instead of one of 40, and in Linf every third restart takes steps of ε with
//! noise, as in PGD.
//!
//! # Cost
//! As PGD: per restart `steps` forwards and backwards, and one forward to judge. Memory: two further copies of the
//! batch.
//!
//! # When it fails
//! With few steps the moments have not settled, and sign steps get further.
//!
//! # Example
//! ```
//! assert!(proofmark_attacks::build("adam-pgd", &toml::Table::new()).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::{Ascent, Length, Start};
use crate::config::{at_least_one, read, require, steps_forward};
use crate::loss::LossKind;
use crate::update::Adam;

/// Parameters of Adam-PGD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps per restart, at least 1; default 20.
    pub steps: u32,
    /// Restarts, at least 1; default 2.
    pub restarts: u32,
    /// Constant step length in data units (of the first modality that may change), above 0. Without it, steps fall
    /// quadratically from 4·eps to 4·eps/steps² (Linf: every third restart takes steps of eps).
    pub step_size: Option<f64>,
    /// Decay of the mean, in [0, 1); default 0.9.
    pub beta1: f32,
    /// Decay of the mean square, in [0, 1); default 0.999.
    pub beta2: f32,
    /// Loss: `ce`, `margin` or `dlr`; default `ce`.
    pub loss: LossKind,
    /// Whether the first restart begins at a random point of the ball (later ones always do); default true.
    pub random_start: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 20,
            restarts: 2,
            step_size: None,
            beta1: 0.9,
            beta2: 0.999,
            loss: LossKind::Ce,
            random_start: true,
        }
    }
}

const META: Meta = Meta {
    id: "adam-pgd",
    version: 4,
    summary: "PGD along Adam's direction",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Uesato et al. 2018, arXiv:1802.05666",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Ascent, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        at_least_one(META.id, "restarts", self.restarts)?;
        steps_forward(META.id, self.step_size)?;
        for (field, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            require(
                (0.0..1.0).contains(&beta),
                META.id,
                field,
                beta,
                "a number from 0 to below 1",
            )?;
        }
        Ok(Ascent {
            updates: vec![Box::new(Adam {
                beta1: self.beta1,
                beta2: self.beta2,
            })],
            restarts: self.restarts,
            start: if self.random_start {
                Start::Random
            } else {
                Start::Clean
            },
            length: Length::given(self.step_size),
            l1_spread: 0.015,
            plain: true,
            ..Ascent::new(&META, &self, self.loss, self.steps)
        })
    }
}

/// Registry entry of Adam-PGD.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
