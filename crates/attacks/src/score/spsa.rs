//! SPSA.
//!
//! # Idea
//! Estimate the gradient of the loss from its differences along random ±1 directions (simultaneous perturbation
//! stochastic approximation), average the estimates as Adam does, and step. Its probes are wide, so it also sees past
//! gradients that are masked by small-scale noise.
//!
//! # Maths
//! `g = 1 / (2 m δ) Σ_{i ≤ m} (ℓ(x + δ v_i) − ℓ(x − δ v_i)) v_i`, `v_i ∈ {−1, 1}^d` uniform, `m = samples / 2`. Then
//! Adam's direction `d = m̂ / (√v̂ + 10⁻⁸ max √v̂)` and `x ← P(x + α_k d)` (Linf: the step adds `d` itself; L2, L1: the
//! steepest step for `d`), `α_k = 4 ε (1 − k / steps)²`.
//!
//! # Reference
//! Uesato, O'Donoghue, van den Oord and Kohli, "Adversarial Risk and the Dangers of Evaluating Against Weak Attacks",
//! ICML 2018, section 4; Spall, IEEE Transactions on Automatic Control 1992.
//!
//! # Divergences
//! * `δ` is a share of each feature's range (for images in [0, 1] it is the paper's 0.01), and probes stay inside the
//!   bounds: the estimate is made around a point that is moved inward by `δ` where it is closer to a bound. Reference
//!   codes probe outside the bounds.
//! * If most pairs of a row do not differ (scores or inputs are rounded), its `δ` doubles for the next step, up to half
//!   of the range.
//! * The paper takes 8192 samples per step and constant steps of 0.01. Here step lengths fall on a schedule, and the
//!   default of 40 steps of 128 samples costs about as much as Square.
//! * Besides Linf, L2 and L1.
//! * The point is also queried after each step, and probes count as well if they succeed.
//!
//! # Cost
//! Per sample and restart: `samples + 1` forwards per step, and one to judge a point that was found.
//!
//! # When it fails
//! With many features and few samples: an estimate from `m` pairs explains about `m / features` of the gradient.
//!
//! # Example
//! ```
//! let table: toml::Table = "samples = 256\nsteps = 100".parse().unwrap();
//! let attack = proofmark_attacks::build("spsa", &table).unwrap();
//! assert_eq!(attack.parameters()["samples"], 256);
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::estimate::{EstimatedAscent, Probe};
use crate::config::{at_least_one, read, require, steps_forward};
use crate::gradient::Length;
use crate::loss::LossKind;
use crate::update::Adam;

/// Parameters of SPSA.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps per restart, at least 1; default 40.
    pub steps: u32,
    /// Probes per step, an even number of at least 2; default 128.
    pub samples: u32,
    /// Radius of the probes, a share of each feature's range, above 0 and at most 0.25; default 0.01.
    pub delta: f32,
    /// Decay of the mean, in [0, 1); default 0.9.
    pub beta1: f32,
    /// Decay of the mean square, in [0, 1); default 0.999.
    pub beta2: f32,
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
            steps: 40,
            samples: 128,
            delta: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            restarts: 1,
            step_size: None,
            loss: LossKind::Margin,
        }
    }
}

const META: Meta = Meta {
    id: "spsa",
    version: 2,
    summary: "Adam-PGD along gradients estimated from ±1 probes",
    role: Role::Attack,
    needs: Needs::Scores,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Uesato et al. 2018, arXiv:1802.05666",
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
        let share = self.delta > 0.0 && self.delta <= 0.25;
        let expected = "a share of the range above 0 and at most 0.25";
        require(share, META.id, "delta", self.delta, expected)?;
        for (field, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            let expected = "a number from 0 to below 1";
            require((0.0..1.0).contains(&beta), META.id, field, beta, expected)?;
        }
        Ok(EstimatedAscent {
            pairs: self.samples / 2,
            radius: self.delta,
            updates: vec![Box::new(Adam {
                beta1: self.beta1,
                beta2: self.beta2,
            })],
            steps: self.steps,
            restarts: self.restarts,
            length: Length::given(self.step_size),
            plain: true,
            ..EstimatedAscent::new(&META, &self, self.loss, Probe::Rademacher)
        })
    }
}

/// Registry entry of SPSA.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
