//! NES.
//!
//! # Idea
//! Estimate the gradient of the loss from its differences along random normal directions (natural evolution
//! strategies), then step as PGD does.
//!
//! # Maths
//! `g = 1 / (2 m σ) Σ_{i ≤ m} (ℓ(x + σ u_i) − ℓ(x − σ u_i)) u_i`, `u_i ~ N(0, I)`, `m = samples / 2`: pairs of opposite
//! probes cancel the even terms of the loss. Then `v ← μ v + g / ‖g‖₁` and `x ← P(x + α_k u(v))`, the steepest step
//! inside ball and bounds, `α_k = 4 ε (1 − k / steps)²`.
//!
//! # Reference
//! Ilyas, Engstrom, Athalye and Lin, "Black-box Adversarial Attacks with Limited Queries and Information", ICML 2018,
//! algorithm 1; natural evolution strategies: Wierstra et al., JMLR 2014.
//!
//! # Divergences
//! * `σ` is a share of each feature's range, so that the unit of the data does not matter (for images in [0, 1] it is
//!   the paper's).
//! * Probes stay inside the bounds: the estimate is made around a point that is moved inward by three `σ` where it is
//!   closer to a bound, and normal numbers are cut off at ±3.
//! * If most pairs of a row do not differ (scores or inputs are rounded), its `σ` doubles for the next step, up to a
//!   sixth of the range.
//! * The paper is targeted, halves its step on plateaus, and its code keeps 0.9 of the last gradient. Here the gradients
//!   are normalised before they are added up, as in MI-FGSM, and step lengths fall on a schedule.
//! * The default loss is the margin instead of the cross-entropy: it does not saturate.
//! * The point is also queried after each step, and probes count as well if they succeed.
//!
//! # Cost
//! Per sample and restart: `samples + 1` forwards per step, and one to judge a point that was found.
//!
//! # When it fails
//! With many features and few samples: an estimate from `m` pairs explains about `m / features` of the gradient. On
//! plateaus wider than `σ`.
//!
//! # Example
//! ```
//! let table: toml::Table = "samples = 20\nsigma = 0.005".parse().unwrap();
//! let attack = proofmark_attacks::build("nes", &table).unwrap();
//! assert_eq!(attack.parameters()["steps"], 100);
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::estimate::{EstimatedAscent, Probe};
use crate::config::{at_least_one, not_negative, read, require, steps_forward};
use crate::gradient::Length;
use crate::loss::LossKind;
use crate::update::Momentum;

/// Parameters of NES.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps per restart, at least 1; default 100.
    pub steps: u32,
    /// Probes per step, an even number of at least 2; default 50.
    pub samples: u32,
    /// Standard deviation of the probes, a share of each feature's range, above 0 and at most 0.1; default 0.001.
    pub sigma: f32,
    /// Decay of the momentum, at least 0; default 0.9.
    pub decay: f32,
    /// Restarts, at least 1; default 1. All but the first begin at a random point of the ball.
    pub restarts: u32,
    /// Constant step length in data units (of the first modality that may change), above 0. Without it, steps fall
    /// quadratically from 4·eps to 4·eps/steps².
    pub step_size: Option<f64>,
    /// Loss: `ce`, `margin` or `dlr`; default `margin`.
    pub loss: LossKind,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 100,
            samples: 50,
            sigma: 0.001,
            decay: 0.9,
            restarts: 1,
            step_size: None,
            loss: LossKind::Margin,
        }
    }
}

const META: Meta = Meta {
    id: "nes",
    version: 1,
    summary: "PGD along gradients estimated from normal probes",
    role: Role::Attack,
    needs: Needs::Scores,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Ilyas et al. 2018, arXiv:1804.08598",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<EstimatedAscent, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        at_least_one(META.id, "restarts", self.restarts)?;
        steps_forward(META.id, self.step_size)?;
        let even = self.samples >= 2 && self.samples.is_multiple_of(2);
        let expected = "an even number of at least 2";
        require(even, META.id, "samples", self.samples, expected)?;
        let share = self.sigma > 0.0 && self.sigma <= 0.1;
        let expected = "a share of the range above 0 and at most 0.1";
        require(share, META.id, "sigma", self.sigma, expected)?;
        not_negative(META.id, "decay", self.decay)?;
        Ok(EstimatedAscent {
            pairs: self.samples / 2,
            radius: self.sigma,
            updates: vec![Box::new(Momentum { decay: self.decay })],
            steps: self.steps,
            restarts: self.restarts,
            length: Length::given(self.step_size),
            ..EstimatedAscent::new(&META, &self, self.loss, Probe::Gaussian)
        })
    }
}

/// Registry entry of NES.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
