//! Momentum iterative FGSM.
//!
//! # Idea
//! Sum normalised gradients over the steps, so that small irregularities of the loss do not flip the direction. The
//! points transfer better to other models.
//!
//! # Maths
//! `m_{k+1} = μ m_k + ∇ℓ(x_k) / |∇ℓ(x_k)|_1`, `x_{k+1} = P(x_k + α_k u(m_{k+1}))`, `α_k = 4 ε (1 − k / steps)²` unless
//! a constant is given; `u` is the steepest direction inside the bounds, as in FGSM.
//!
//! # Reference
//! Dong et al., "Boosting Adversarial Attacks with Momentum", CVPR 2018, algorithm 1.
//!
//! # Divergences
//! The paper takes `α = ε / steps`, and so did version 1: in L2 and L1, where the bounds held back half of each step,
//! it never reached the edge of the ball. L1 is offered. A zero gradient adds nothing (the paper divides by zero).
//!
//! # Cost
//! `steps` forwards and backwards, and one forward to judge.
//!
//! # When it fails
//! Momentum overshoots in narrow valleys: on the attacked model itself PGD is usually as strong.
//!
//! # Example
//! ```
//! let table: toml::Table = "decay = 0.9".parse().unwrap();
//! assert!(proofmark_attacks::build("mi-fgsm", &table).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::{Ascent, Length};
use crate::config::{at_least_one, not_negative, read, steps_forward};
use crate::loss::LossKind;
use crate::update::Momentum;

/// Parameters of MI-FGSM.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps, at least 1; default 10.
    pub steps: u32,
    /// Decay of the momentum, at least 0; default 1.
    pub decay: f32,
    /// Constant step length in data units (of the first modality that may change), above 0. Without it, steps fall
    /// quadratically from 4·eps to 4·eps/steps².
    pub step_size: Option<f64>,
    /// Loss: `ce`, `margin` or `dlr`; default `ce`.
    pub loss: LossKind,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 10,
            decay: 1.0,
            step_size: None,
            loss: LossKind::Ce,
        }
    }
}

const META: Meta = Meta {
    id: "mi-fgsm",
    version: 3,
    summary: "momentum iterative FGSM",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Dong et al. 2018, arXiv:1710.06081",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Ascent, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        let decay = self.decay;
        not_negative(META.id, "decay", decay)?;
        steps_forward(META.id, self.step_size)?;
        Ok(Ascent {
            updates: vec![Box::new(Momentum { decay })],
            length: Length::given(self.step_size),
            ..Ascent::new(&META, &self, self.loss, self.steps)
        })
    }
}

/// Registry entry of MI-FGSM.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
