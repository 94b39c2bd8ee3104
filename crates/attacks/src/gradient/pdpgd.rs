//! Primal-dual proximal gradient descent.
//!
//! # Idea
//! Minimise the norm of the change subject to success: descend on the loss with Adam, shrink the change with the norm's
//! proximal operator, and let a dual variable per row shift the weight to the loss while the row fails and to the norm
//! while it succeeds.
//!
//! # Maths
//! With `δ = (x − x_0) / R`, `R` the range, and `m` the margin, the Lagrangian is `λ_0 |δ| + λ_1 softplus(max(−m, 0))`,
//! `(λ_0, λ_1) = softmax(0, μ)`, averaged over the steps (decay 0.9). In step `k` of `K`:
//!
//! * `δ ← δ − α_k m̂ / ψ`, clipped to the bounds, `m̂` and `ψ = sqrt(v̂) + 1e-8 max sqrt(v̂)` Adam's means of the loss's gradient;
//! * `δ ← prox(δ)`, the proximal operator of `λ_0 / λ_1 α_k |·|` in the metric `ψ`, clipped to the bounds;
//! * `μ ← μ − β_k sign m`, kept between `± log 10⁶`.
//!
//! `α_k` falls geometrically from `primal_rate` to a hundredth of it, `β_k` linearly from `dual_rate` to a tenth.
//!
//! | norm | proximal operator with threshold `t` |
//! |---|---|
//! | L1 | soft thresholding by `t` |
//! | L2 | the vector is shortened by `t` |
//! | Linf | the largest entries are cut to a common size, by `t` in total |
//! | L0 | entries below `sqrt(2 t)` become 0 |
//!
//! # Reference
//! Matyasko and Chau, "PDPGD: Primal-Dual Proximal Gradient Descent Adversarial Attack", 2021; constants of
//! adversarial-library's `pdpgd`. Melchior, Joseph and Moolekamp, "Proximal Adam: Robust Adaptive Update Scheme for
//! Constrained Optimization", 2019, for the metric.
//!
//! # Divergences
//! Adam's `v` has one value per row in L2, L1 and L0, as in the update `adam`: with a scale per feature all features
//! change about equally fast, and after 500 steps an L2 change is up to 3 % too long and an L0 change has nine times as
//! many features as needed. The metric is then a number and the proximal operator is exact. In Linf `v` has one value
//! per feature, and the operator is iterated five times, without the reference code's test for convergence. L0 counts
//! features, not pixels. Steps are in units of the range, and shorter for rows whose boundary is nearer than a tenth of
//! it. A row without a gradient gets a random one for 100 steps at a time. `targets` gives each of the likeliest
//! classes a restart of its own. Only one input may change. Random starts and the L2/3 operator are not offered.
//!
//! # Cost
//! Per sample and restart: `steps + 1` forwards and backwards, even if it breaks early, and one forward to judge; with
//! `targets`, one more forward for the clean scores.
//!
//! # When it fails
//! Where gradients are zero or misleading. L0 is not convex: the change often has a feature more than the smallest.
//!
//! # Example
//! ```
//! let table: toml::Table = "steps = 1000".parse().unwrap();
//! let attack = proofmark_attacks::build("pdpgd", &table).unwrap();
//! assert_eq!(attack.parameters()["steps"], 1000);
//! ```

use burn::tensor::Tensor;
use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, BuildError, EngineError, Job, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, run,
};
use proofmark_model::GradientModel;
use proofmark_threat::{Batch, Column, Columns, Region, host, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::flat;
use super::proximal::proximal;
use super::rivals::Rivals;
use super::rooms::{column, outlooks};
use crate::config::{at_least_one, positive, read, require, written};
use crate::inputs;
use crate::loss::Margin;
use crate::update::Adam;

/// Parameters of PDPGD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps per restart, at least 1; default 500.
    pub steps: u32,
    /// First step of the change, as a share of the range, above 0; default 0.1. It falls to a hundredth of that.
    pub primal_rate: f64,
    /// First step of the dual variable, above 0; default 0.1. It falls to a tenth of that.
    pub dual_rate: f64,
    /// First weight of the norm against that of the loss, in (0, 1]; default 0.01.
    pub dual_ratio: f64,
    /// Number of classes that get a restart of their own, the likeliest first; default 0: one restart towards the
    /// strongest class at each point.
    pub targets: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 500,
            primal_rate: 0.1,
            dual_rate: 0.1,
            dual_ratio: 0.01,
            targets: 0,
        }
    }
}

/// Final steps, as shares of the first.
const LAST_PRIMAL: f64 = 0.01;
const LAST_DUAL: f64 = 0.1;

/// Decay of the average of the weights.
const AVERAGE: f64 = 0.9;

/// Largest ratio between the weights of loss and norm.
const LARGEST_RATIO: f64 = 1e6;

const ADAM: Adam = Adam {
    beta1: 0.9,
    beta2: 0.999,
};

/// Steps in which a row without a gradient keeps its random direction.
const EPOCH: u64 = 100;

/// Iterations of a proximal operator in a metric with one value per feature.
const PROXIMAL: usize = 5;

const META: Meta = Meta {
    id: "pdpgd",
    version: 2,
    summary: "primal-dual proximal gradient: a smallest change in any norm",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1, Norm::L0],
    reference: "Matyasko and Chau 2021, arXiv:2106.01538",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Pdpgd, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        positive(META.id, "primal_rate", self.primal_rate, "")?;
        positive(META.id, "dual_rate", self.dual_rate, "")?;
        let ratio = self.dual_ratio;
        let is_share = ratio > 0.0 && ratio <= 1.0;
        require(
            is_share,
            META.id,
            "dual_ratio",
            ratio,
            "a number above 0, at most 1",
        )?;
        Ok(Pdpgd(self))
    }

    /// Returns the step of the change at step `k`, as a share of the row's unit.
    fn primal(&self, k: u64) -> f64 {
        self.primal_rate * LAST_PRIMAL.powf(k as f64 / f64::from(self.steps))
    }

    /// Returns the step of the dual variable at step `k`.
    fn dual(&self, k: u64) -> f64 {
        let way = k as f64 / f64::from(self.steps.max(2) - 1);
        self.dual_rate * (1.0 - way * (1.0 - LAST_DUAL))
    }
}

/// PDPGD with its parameters checked.
#[derive(Debug)]
pub struct Pdpgd(Config);

/// The attack on a model with a given number of classes, in one norm.
#[derive(Debug)]
struct Descent<'a> {
    config: &'a Config,
    rivals: Rivals,
    norm: Norm,
}

/// Position of each row, Adam's memory and the dual variable.
#[derive(Debug, Clone)]
struct State {
    x: Batch,
    mean: Batch,
    root: Batch,
    rival: Vec<u64>,
    /// Range of the row's features, and unit of its steps; data units.
    range: Vec<f64>,
    unit: Vec<f64>,
    dual: Dual,
}

/// Weights of loss and norm, per row.
#[derive(Debug, Clone)]
struct Dual {
    /// Logarithm of the ratio of the loss's weight to the norm's.
    ratio: Vec<f64>,
    /// The loss's weight, averaged over the steps; the norm's is the rest to 1.
    weight: Vec<f64>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("mean", &mut self.mean));
        all.extend(prefixed("root", &mut self.root));
        all.push(("rival".into(), Column::Count(&mut self.rival)));
        all.push(("range".into(), Column::Real(&mut self.range)));
        all.push(("unit".into(), Column::Real(&mut self.unit)));
        all.push(("ratio".into(), Column::Real(&mut self.dual.ratio)));
        all.push(("weight".into(), Column::Real(&mut self.dual.weight)));
        all
    }
}

fn logistic(v: f64) -> f64 {
    1.0 / (1.0 + (-v).exp())
}

impl Dual {
    fn new(rows: usize, dual_ratio: f64) -> Self {
        let ratio = -dual_ratio.ln();
        Self {
            ratio: vec![ratio; rows],
            weight: vec![logistic(ratio); rows],
        }
    }

    /// Returns the weight of the norm divided by that of the loss.
    fn norm_per_loss(&self, i: usize) -> f64 {
        (1.0 - self.weight[i]) / self.weight[i]
    }

    /// Shifts row `i`'s weight by a step of this size: to the loss if the margin is below 0, to the norm above.
    fn shift(&mut self, i: usize, margin: f64, step: f64) {
        let most = LARGEST_RATIO.ln();
        // A NaN margin counts as a failure.
        let sign = if margin > 0.0 {
            -1.0
        } else if margin == 0.0 {
            0.0
        } else {
            1.0
        };
        self.ratio[i] = (self.ratio[i] + step * sign).clamp(-most, most);
        self.weight[i] = AVERAGE * self.weight[i] + (1.0 - AVERAGE) * logistic(self.ratio[i]);
    }
}

impl Descent<'_> {
    /// Applies the norm's proximal operator with `threshold / ψ` to the change `[rows, features]`, in the metric `ψ`,
    /// and clips it to the bounds.
    fn shrink(
        &self,
        region: &Region,
        change: &Batch,
        metric: &Batch,
        threshold: &Tensor<2>,
        range: &Tensor<2>,
    ) -> Batch {
        let x0 = region.x0();
        let clipped = |z: &Batch| {
            let x = region.clip(&x0.zip(z, |x0, z| x0 + z * range.clone()));
            x.zip(&x0, |x, x0| (x - x0) / range.clone())
        };
        let (steps, stiffest) = if self.norm == Norm::Linf {
            (PROXIMAL, metric.map(|psi| psi.max_dim(1)).into_blocks())
        } else {
            // All features have the same metric.
            let first = metric
                .blocks()
                .iter()
                .map(|psi| psi.clone().slice([0..region.rows(), 0..1]));
            (1, first.collect())
        };
        let mut z = change.clone();
        for _ in 0..steps {
            let mut each = stiffest.iter().zip(metric.blocks());
            let next = change.zip(&z, |change, z| {
                let (stiffest, psi) = each.next().expect("one metric per modality");
                let moved = z.clone() + (change - z) * (psi.clone() / stiffest.clone());
                proximal(self.norm, moved, &(threshold.clone() / stiffest.clone()))
            });
            z = clipped(&next);
        }
        z
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Descent<'_> {
    type State = State;

    fn id(&self) -> &'static str {
        META.id
    }

    fn steps(&self) -> u32 {
        self.config.steps
    }

    fn restarts(&self) -> u32 {
        self.rivals.restarts()
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        let rival = self.rivals.choose(oracle, rows)?;
        let x0 = rows.region().x0();
        let clean = (self.rivals).gradient(oracle, rows, &x0, &rival, &Margin, false)?;
        let gradient = flat::or_random(rows, &clean.gradient, rows.steps());
        let outlooks = outlooks(rows, &host(&clean.loss), &gradient);
        let zeros = x0.map(|b| b.zeros_like());
        Ok(State {
            mean: zeros.clone(),
            root: zeros,
            x: x0,
            rival,
            range: outlooks.iter().map(|o| o.range).collect(),
            unit: outlooks.iter().map(|o| o.unit).collect(),
            dual: Dual::new(rows.len(), self.config.dual_ratio),
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let answer = (self.rivals).gradient(oracle, rows, &state.x, &state.rival, &Margin, true)?;
        let epoch: Vec<u64> = rows.steps().iter().map(|k| k / EPOCH).collect();
        let gradient = flat::or_random(rows, &answer.gradient, &epoch);
        let margins = host(&answer.loss);
        let range = column(rows.region(), state.range.iter().copied());
        // The gradient of `softplus(max(-m, 0))` in units of the range; 0 where the row succeeds.
        let slope = margins.iter().map(|m| {
            if *m > 0.0 {
                0.0
            } else {
                -logistic(-f64::from(*m))
            }
        });
        let slope = column(rows.region(), slope) * range.clone();
        let gradient = gradient.map(|g| g * slope.clone());
        let memory = [&mut state.mean, &mut state.root];
        let per_feature = || self.norm == Norm::Linf;
        let [mean, metric] = ADAM.moments(&gradient, memory, rows.steps(), per_feature);

        let region = rows.region();
        let x0 = region.x0();
        let steps = (rows.steps().iter().zip(&state.unit)).map(|(k, u)| self.config.primal(*k) * u);
        let steps: Vec<f64> = steps.collect();
        let step = column(region, steps.iter().copied());
        let by = mean.zip(&metric, |m, psi| m / psi * step.clone());
        let moved = region.clip(&state.x.zip(&by, |x, by| x - by));
        let change = moved.zip(&x0, |x, x0| (x - x0) / range.clone());
        let thresholds =
            (0..rows.len()).map(|i| state.dual.norm_per_loss(i) * steps[i] / state.range[i]);
        let threshold = column(region, thresholds);
        let change = self.shrink(region, &change, &metric, &threshold, &range);
        state.x = region.clip(&x0.zip(&change, |x0, d| x0 + d * range.clone()));
        for (i, k) in rows.steps().iter().enumerate() {
            let step = self.config.dual(*k);
            state.dual.shift(i, f64::from(margins[i]), step);
        }
        Ok(())
    }

    fn last(&self, state: &State) -> Option<Batch> {
        Some(state.x.clone())
    }
}

impl Attack for Pdpgd {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.0)
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        inputs::one(&META, job)
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let classes = job.classes(access.signature());
        let descent = Descent {
            config: &self.0,
            rivals: Rivals::new(self.0.targets, classes, job.goal.targeted()),
            norm: job.threat.leading().norm,
        };
        run(access.gradients(META.id)?, &descent, job)
    }
}

/// Registry entry of PDPGD.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    /// `norm_per_loss` starts at the ratio, and a dual step of 0.1 changes the logarithm of the ratio by 0.1.
    #[test]
    fn the_weight_moves_to_the_loss_on_failure_and_to_the_norm_on_success() {
        let mut dual = Dual::new(2, 0.01);
        assert!((dual.norm_per_loss(0) - 0.01).abs() < 1e-12);
        dual.shift(0, 0.5, 0.1);
        dual.shift(1, -0.5, 0.1);
        let [success, failure] = [dual.ratio[0], dual.ratio[1]];
        assert!((success - (100_f64.ln() - 0.1)).abs() < 1e-12, "{success}");
        assert!((failure - (100_f64.ln() + 0.1)).abs() < 1e-12, "{failure}");
        let average = 0.9 * logistic(100_f64.ln()) + 0.1 * logistic(success);
        assert!((dual.weight[0] - average).abs() < 1e-12);
        for _ in 0..1000 {
            dual.shift(0, 0.5, 0.1);
            dual.shift(1, f64::NAN, 0.1);
        }
        assert!((dual.norm_per_loss(0) / 1e6 - 1.0).abs() < 1e-3);
        assert!((dual.norm_per_loss(1) * 1e6 - 1.0).abs() < 1e-3);
    }

    #[test]
    fn steps_fall_to_their_final_shares() {
        let config = Config::default();
        assert_eq!((config.primal(0), config.dual(0)), (0.1, 0.1));
        assert!((config.primal(500) - 0.001).abs() < 1e-12);
        assert!((config.dual(499) - 0.01).abs() < 1e-12);
    }
}
