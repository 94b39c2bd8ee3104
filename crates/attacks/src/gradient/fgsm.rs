//! Fast gradient sign method.
//!
//! # Idea
//! One step of full length along the steepest direction of the loss at the clean sample.
//!
//! # Maths
//! `x' = P(x + ε u(∇ℓ(x)))`, with `u(g) = sign(g)` for Linf, `g/|g|_2` for L2, the largest component for L1.
//!
//! # Reference
//! Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, section 4.
//!
//! # Divergences
//! None for Linf. L2 and L1 as in the fast gradient *method* of later libraries, with the exact projection on
//! the bounds.
//!
//! # Cost
//! One forward and backward, and one forward to judge.
//!
//! # When it fails
//! On any model whose loss is not nearly linear at the scale of epsilon, which includes every adversarially
//! trained one: use it as a sanity check, not as an evaluation.
//!
//! # Example
//! ```
//! assert!(proofmark_attacks::build("fgsm", &toml::Table::new()).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{BuildError, Entry, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::Ascent;
use crate::config::read;
use crate::loss::LossKind;

/// Parameters of FGSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Loss: `ce`, `margin` or `dlr`; `ce`.
    pub loss: LossKind,
}

const META: Meta = Meta {
    id: "fgsm",
    summary: "fast gradient sign method: one full step",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Goodfellow et al. 2015, arXiv:1412.6572",
};

impl Config {
    /// The attack with these parameters.
    pub fn build(self) -> Result<Ascent, BuildError> {
        Ok(Ascent::new(&META, &self, self.loss, 1))
    }
}

/// FGSM in the list of attacks.
pub const ENTRY: Entry = Entry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
