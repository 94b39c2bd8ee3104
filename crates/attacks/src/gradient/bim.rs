//! Basic iterative method.
//!
//! # Idea
//! FGSM in shrinking steps from the clean sample. It has no randomness: every seed gives the same point.
//!
//! # Maths
//! `x₀ = x`, `x_{k+1} = P(x_k + α_k u(∇ℓ(x_k)))`, `α_k = 4 ε (1 − k / steps)²` unless a constant is given; `u` is the
//! steepest direction inside the bounds, as in FGSM.
//!
//! # Reference
//! Kurakin et al., "Adversarial examples in the physical world", 2017, section 2.2.
//!
//! # Divergences
//! The paper fixes α = 1/255 and derives the number of steps from epsilon; here the number of steps is given (10) and α
//! follows. Version 1 took `α = ε / steps`: such steps reach the edge of an Linf ball only in a straight line, and do
//! not reach it in L2 and L1, where the bounds held back half of each step. L2 and L1 are offered.
//!
//! # Cost
//! `steps` forwards and backwards, and one forward to judge.
//!
//! # When it fails
//! Where the clean sample lies on a flat or misleading spot of the loss; PGD's random starts leave such a spot.
//!
//! # Example
//! ```
//! assert!(proofmark_attacks::build("bim", &toml::Table::new()).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::{Ascent, Length};
use crate::config::{at_least_one, read, steps_forward};
use crate::loss::LossKind;

/// Parameters of BIM.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps, at least 1; default 10.
    pub steps: u32,
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
            step_size: None,
            loss: LossKind::Ce,
        }
    }
}

const META: Meta = Meta {
    id: "bim",
    version: 3,
    summary: "basic iterative method: shrinking steps from the clean sample",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Kurakin et al. 2017, arXiv:1607.02533",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Ascent, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        steps_forward(META.id, self.step_size)?;
        Ok(Ascent {
            length: Length::given(self.step_size),
            ..Ascent::new(&META, &self, self.loss, self.steps)
        })
    }
}

/// Registry entry of BIM.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
