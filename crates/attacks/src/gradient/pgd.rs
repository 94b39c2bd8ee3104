//! Projected gradient descent.
//!
//! # Idea
//! Ascend the loss from a random point of the ball, in steps that cross the ball at first and shrink to nothing,
//! projecting back into the ball and the bounds after each step. If that fails, restart from another point.
//!
//! # Maths
//! `x_{k+1} = P(x_k + α_k u(∇ℓ(x_k)))`, `P` the exact Euclidean projection on ball ∩ bounds, `α_k u` the step of length
//! `α_k` that gains most inside the bounds: `sign(g)` (Linf), along the features that have room (L2), the largest
//! components that have room, each up to its bound (L1). `α_k = 4 ε (1 − k / steps)²` unless a constant is given.
//!
//! # Reference
//! Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018. The L1 direction follows
//! Tramèr and Boneh, "Adversarial Training and Robustness for Multiple Perturbations", 2019.
//!
//! # Divergences
//! Madry et al. and version 1 keep one step length, 2.5 ε / steps. That is tuned to Linf; in L2 and L1 the path covers
//! less than the ball's width, especially since the bounds held back half of each step. APGD (Croce and Hein, 2020)
//! also begins with steps as long as the ball is wide, but halves them when the loss stops rising; a fixed schedule
//! needs no such test. The default is two restarts of 20 steps instead of one of 40 (version 2): the same cost, and
//! another start finds more than further steps do (`docs/attack-strength.md`). In Linf every third restart wanders
//! among corners and edges of the ball: it takes steps of ε along the sign of the gradient plus some noise. It finds
//! points that the gradients of rounded scores, as of int8 models, do not lead to. L1 first spreads a step over at
//! least 1.5 % of the features, falling to a single one at the end (the paper keeps a constant share). The L2 and L1
//! projections are exact on the intersection with the bounds, where reference codes project on the ball and then clip.
//! Every point on the path counts, not only the last.
//!
//! # Cost
//! Per sample and restart: `steps` forwards and backwards, and one forward to judge. Broken samples leave at once.
//!
//! # When it fails
//! Where gradients are zero, saturated or misleading (masking); the trust checks report that. With a constant step size
//! that does not suit the budget, or too few restarts on a rugged loss.
//!
//! # Example
//! ```
//! let table: toml::Table = "steps = 20\nrestarts = 2\nloss = \"dlr\"".parse().unwrap();
//! let attack = proofmark_attacks::build("pgd", &table).unwrap();
//! assert_eq!(attack.parameters()["restarts"], 2);
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::{Ascent, Length, Start};
use crate::config::{at_least_one, read, require, steps_forward};
use crate::loss::LossKind;

/// Parameters of PGD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Loss: `ce`, `margin` or `dlr`; default `ce`.
    pub loss: LossKind,
    /// Whether the first restart begins at a random point of the ball (later ones always do); default true.
    pub random_start: bool,
    /// Minimum share of the features that the first L1 step is spread over, in [0, 1]; default 0.015.
    pub l1_spread: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 20,
            restarts: 2,
            step_size: None,
            loss: LossKind::Ce,
            random_start: true,
            l1_spread: 0.015,
        }
    }
}

const META: Meta = Meta {
    id: "pgd",
    version: 3,
    summary: "projected gradient descent with random starts and restarts",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Madry et al. 2018, arXiv:1706.06083",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Ascent, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        at_least_one(META.id, "restarts", self.restarts)?;
        steps_forward(META.id, self.step_size)?;
        let spread = self.l1_spread;
        require(
            (0.0..=1.0).contains(&spread),
            META.id,
            "l1_spread",
            spread,
            "a share from 0 to 1",
        )?;
        Ok(Ascent {
            restarts: self.restarts,
            start: if self.random_start {
                Start::Random
            } else {
                Start::Clean
            },
            length: Length::given(self.step_size),
            l1_spread: spread,
            ..Ascent::new(&META, &self, self.loss, self.steps)
        })
    }
}

/// Registry entry of PGD.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
