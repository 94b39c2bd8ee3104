//! Auto-PGD.
//!
//! # Idea
//! Projected gradient ascent without a step size to tune: steps begin as long as the ball is wide and become shorter
//! for each row when its loss stops rising, and the row continues from its best point.
//!
//! # Maths
//! **Linf, L2.** With `z = P(x_k + η_k u(∇ℓ(x_k)))`, `u` the steepest step of the norm inside the bounds and `P` the
//! projection on ball ∩ bounds,
//!
//! `x_{k+1} = P(x_k + 0.75 (z − x_k) + 0.25 (x_k − x_{k−1}))`; the first step has no momentum.
//!
//! `η_0 = 2 ε`. At checkpoints after 22 %, 41 %, 57 %, … of the steps (each interval is shorter than the last by 3 % of
//! the steps, at least 6 %), a row halves its step and returns to its best point if the loss rose in at most 75 % of
//! the steps since the last checkpoint, or if neither its best loss nor its step has changed since. The start is
//! `x + ε t / |t|`, with `t` uniform in `[-1, 1]` per feature (Linf) or normal (L2).
//!
//! **L1.** `x_{k+1} = P(x_k + η_k u)`, where `u` moves the `s` features with the steepest slopes alike, `|u|_1 = 1`.
//! `η_0 = ε`, and `s` is a fifth of the features. Every 4 % of the steps, with `m` the number of features that the best
//! point has moved and `m'` of those that have not met their bound: `s = m' / 1.5`; if `m` is less than 95 % of what it
//! was, `η = ε` and the row returns to its best point, otherwise `η ← max(η / 1.5, r ε / 10)`. `r` is the share of the
//! steps that is left, and `s` is at most `r` times its first value. The start is `P(x + t)`, `t` normal. With
//! `large_radii` the restart has three stages in balls of radius 3 ε, 2 ε and ε (30, 30 and 40 % of the steps). Each
//! begins at the projection of the best point of the one before, with `η` its radius and `s` from the features that this
//! point has moved.
//!
//! # Reference
//! Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
//! ICML 2020, algorithm 1; for L1, Croce and Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image
//! classifiers", ICML 2021; `APGDAttack` of the authors' `AutoAttack`.
//!
//! # Divergences
//! When it counts rises, the authors' code compares the first loss of a row with 0; here it is compared with the loss
//! at the start. Their L2 step is `η g / |g|` and their L1 step `η sign(g) / s`, regardless of the bounds; here they are
//! the steps of that length that gain most inside them. Their L2 projection clips after projecting; this one is exact
//! on ball ∩ bounds.
//!
//! L1: in their code `s` is `m / 1.5`, rounded up, and `η` at least `ε / 10` (`r = 1`). Steps of two features and of
//! `ε / 10` cannot reach the best point of a linear model, a vertex: all features of a step move alike, so that the
//! projection takes from each what the step gave it. With features at their bounds not counted, `s` rounded down and
//! both limits falling, they do. The start's deviation is 1 for values in [0, 1] and otherwise each feature's range, at
//! most ε. Shares of steps are rounded in favour of the last stage. A stage's last point is evaluated, and then the next
//! stage begins; theirs also evaluates the point after it.
//!
//! Their loss is undefined for few classes, and a row whose gradient is zero stays where it is. Here `dlr` is the
//! margin with fewer than 3 classes (4 with targets), and a row changes to a second loss for the rest of the restart
//! where the first gives no direction: from `ce` and `dlr` to `margin`, from `margin` to `ce`. That is where the
//! gradient is exactly zero, where the cross-entropy saturates (below 1e-6), and where the label is ranked third (`dlr`
//! is constant). A changed row counts its best point from there.
//!
//! `eot`: the authors' code averages the gradients, but reads loss and success from the last draw alone. Here the loss
//! is the mean too, and a point counts only if the judge's rule holds over its draws (by default, most of them).
//!
//! Several inputs have one step and one schedule. L1 budgets beside others are refused: the two schedules differ.
//!
//! # Cost
//! Per sample and restart: `steps` forwards and backwards, each times `eot`, and one forward to judge; one more of each
//! for a row that changes its loss. A sample stops once it breaks.
//!
//! # When it fails
//! Where gradients are zero for every loss, or misleading: masking, which the trust checks report. Where the untargeted
//! gradient leads to one class and another is nearer (`apgd-t` tries several).
//!
//! # Example
//! ```
//! let table: toml::Table = "loss = \"dlr\"\nrestarts = 5".parse().unwrap();
//! let attack = proofmark_attacks::build("apgd", &table).unwrap();
//! assert_eq!(attack.parameters()["steps"], 100);
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{AttackEntry, BuildError, Meta, Needs};
use serde::{Deserialize, Serialize};

use super::AutoPgd;
use crate::config::{at_least_one, read, written};
use crate::loss::LossKind;

/// Parameters of APGD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps per restart, at least 1; default 100.
    pub steps: u32,
    /// Restarts, at least 1; default 1.
    pub restarts: u32,
    /// Loss: `ce`, `margin` or `dlr`; default `ce`.
    pub loss: LossKind,
    /// Draws of a random model that each gradient is the mean of, at least 1; default 1.
    pub eot: u32,
    /// Whether an L1 restart begins in balls of 3 and 2 times the budget; default true. Other norms ignore it.
    pub large_radii: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 100,
            restarts: 1,
            loss: LossKind::Ce,
            eot: 1,
            large_radii: true,
        }
    }
}

const META: Meta = Meta {
    id: "apgd",
    version: 1,
    summary: "Auto-PGD: steps that shorten when the loss stops rising",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Croce and Hein 2020, arXiv:2003.01690; L1: 2021, arXiv:2103.01208",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<AutoPgd, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        at_least_one(META.id, "restarts", self.restarts)?;
        at_least_one(META.id, "eot", self.eot)?;
        Ok(AutoPgd {
            meta: &META,
            parameters: written(&self),
            steps: self.steps,
            restarts: self.restarts,
            loss: self.loss,
            targets: None,
            draws: self.eot,
            large_radii: self.large_radii,
        })
    }
}

/// Registry entry of APGD.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
