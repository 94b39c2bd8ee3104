//! Fast gradient sign method.
//!
//! # Idea
//! One step of full length along the steepest direction of the loss at the clean sample.
//!
//! # Maths
//! `x' = x + argmax <∇ℓ(x), d>` over `|d| <= ε` and the bounds. Linf: `ε sign(g)` cut off at the bounds. L2: along `g`;
//! features at their bounds leave their share to the others. L1: the largest components, each up to its bound, until ε
//! is spent.
//!
//! # Reference
//! Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, section 4.
//!
//! # Divergences
//! None for Linf. The fast gradient *method* of later libraries clips an L2 or L1 step at the bounds and loses the part
//! that points outside, half of an image's gradient; here the step is the best one inside. Version 1 clipped too: in L1
//! one feature got all of ε and moved only as far as its bound allowed.
//!
//! # Cost
//! One forward and backward, and one forward to judge.
//!
//! # When it fails
//! On any model whose loss is not nearly linear at the scale of epsilon, which includes every adversarially trained
//! one. Use it as a sanity check, not as an evaluation.
//!
//! # Example
//! ```
//! assert!(proofmark_attacks::build("fgsm", &toml::Table::new()).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::{Ascent, Length};
use crate::config::read;
use crate::loss::LossKind;

/// Parameters of FGSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Loss: `ce`, `margin` or `dlr`; default `ce`.
    pub loss: LossKind,
}

const META: Meta = Meta {
    id: "fgsm",
    version: 2,
    summary: "fast gradient sign method: one full step",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Goodfellow et al. 2015, arXiv:1412.6572",
};

impl Config {
    /// Builds the attack with these parameters.
    pub fn build(self) -> Result<Ascent, BuildError> {
        Ok(Ascent {
            length: Length::Constant(1.0),
            ..Ascent::new(&META, &self, self.loss, 1)
        })
    }
}

/// Registry entry of FGSM.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
