//! FGSM after a small random step.
//!
//! # Idea
//! A model can hide its loss surface right at the data (gradient masking by single-step training); a random
//! sign step first leaves that place.
//!
//! # Maths
//! `x₁ = P(x + a ε sign(N(0, I)))`, `x' = P(x₁ + (1 − a) ε u(∇ℓ(x₁)))`, `a` = 1/2.
//!
//! # Reference
//! Tramèr et al., "Ensemble Adversarial Training: Attacks and Defenses", ICLR 2018, eq. 7 (R+FGSM).
//!
//! # Divergences
//! Restarts are offered; the paper has one try. The random sign needs no normal draw: a fair bit has the same
//! law.
//!
//! # Cost
//! Per restart one forward and backward, and one forward to judge.
//!
//! # When it fails
//! Like FGSM: two half steps do not follow a curved loss.
//!
//! # Example
//! ```
//! let table: toml::Table = "alpha = 0.25".parse().unwrap();
//! assert!(proofmark_attacks::build("r-fgsm", &table).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{BuildError, Entry, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::{Ascent, Start};
use crate::config::{at_least_one, read, require};
use crate::loss::LossKind;

/// Parameters of R-FGSM.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Share of epsilon the random step takes, in [0, 1); 0.5.
    pub alpha: f32,
    /// Restarts, 1 or more; 1.
    pub restarts: u32,
    /// Loss: `ce`, `margin` or `dlr`; `ce`.
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
    summary: "FGSM after a random sign step",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Tramèr et al. 2018, arXiv:1705.07204",
};

impl Config {
    /// The attack with these parameters, or what is wrong with them.
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
            step: f64::from(1.0 - self.alpha),
            ..Ascent::new(&META, &self, self.loss, 1)
        })
    }
}

/// R-FGSM in the list of attacks.
pub const ENTRY: Entry = Entry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
