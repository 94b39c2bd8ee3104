//! σ-zero.
//!
//! # Idea
//! Minimise a smooth approximation of the number of changed features together with the margin, and reset the features
//! that moved less than a threshold. The threshold rises while the row is adversarial, and falls while it is not.
//!
//! # Maths
//! With `δ = (x − x0) / range` (changes in units of each feature's range), `d` features that may change, and the margin
//! `m(x) = max_{i != y} z_i − z_y`:
//!
//! * gradient `g = ∇ (max(−m, 0) + 1/d Σ δ² / (δ² + σ))`, divided by its largest absolute entry;
//! * `δ ← δ − η_k Adam(g)` (decays 0.9 and 0.999), cut to the bounds;
//! * `τ ← τ + t η_k` if `m > 0`, otherwise `τ ← τ − t η_k`, kept in [0, 1];
//! * features with `|δ| < τ` return to their clean values.
//!
//! `η_k` falls along a cosine from `eta` to a tenth of it.
//!
//! # Reference
//! Cinà, Villani, Pintor, Schönherr, Biggio and Pelillo, "σ-zero: Gradient-based Optimization of ℓ0-norm Adversarial
//! Examples", ICLR 2025, algorithm 1; the authors' code.
//!
//! # Divergences
//! The authors' inputs lie in [0, 1]; here changes are measured in each feature's range. `d` counts the features that
//! may change, not all of them. A clean feature whose gradient points out of the bounds is ignored: it cannot follow,
//! but its entry could be the largest, by which all are divided. A row that is not adversarial and has no gradient
//! follows a random normal direction instead (drawn anew in every step); the authors' code leaves it at the clean
//! sample. Tied scores (`m = 0`) have a gradient here; the authors' loss is clamped to 0 there. Target classes work by
//! the margin of the target; adversarial-library's version ignores them. Its step size lags one step behind the
//! cosine, and it returns no point that changes every feature. With several inputs, the sum of all their changed
//! features is minimised, although the gauge is the largest share of a budget.
//!
//! # Cost
//! Per sample: `steps` forwards and backwards, even if it breaks early, and one forward to judge.
//!
//! # When it fails
//! Where gradients are saturated or misleading. It finds one local minimum: where one or two features are enough, a
//! random search ([`sparse_rs`](crate::score::sparse_rs)) finds them for more samples. Where scores are so small that
//! their gradients are below the approximation's (about 0.1 / d per range), for example probabilities of a confident
//! model.
//!
//! # Example
//! ```
//! let table: toml::Table = "steps = 300".parse().unwrap();
//! let attack = proofmark_attacks::build("sigma-zero", &table).unwrap();
//! assert_eq!(attack.parameters()["steps"], 300);
//! ```

use burn::tensor::{Tensor, TensorData};
use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, BuildError, EngineError, Job, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, run,
};
use proofmark_model::GradientModel;
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Column, Columns, host, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{at_least_one, not_negative, positive, read, require, written};
use crate::loss::Margin;
use crate::ranges::ranges;
use crate::schedule::cosine;
use crate::update::{Adam, Update};

/// Parameters of σ-zero.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps, at least 1; default 1000.
    pub steps: u32,
    /// First step, as a share of each feature's range, above 0; default 1. The last step is a tenth of it.
    pub eta: f64,
    /// Width of the approximation of the count, in squared ranges, above 0; default 0.001. Smaller is sharper.
    pub sigma: f64,
    /// First threshold, as a share of each feature's range, in [0, 1]; default 0.3.
    pub tau: f64,
    /// Change of the threshold in one step, as a share of the step's `eta`, at least 0; default 0.01.
    pub tau_step: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 1000,
            eta: 1.0,
            sigma: 1e-3,
            tau: 0.3,
            tau_step: 0.01,
        }
    }
}

/// Last step, as a share of the first.
const LAST: f64 = 0.1;

const ADAM: Adam = Adam {
    beta1: 0.9,
    beta2: 0.999,
};

const META: Meta = Meta {
    id: "sigma-zero",
    version: 1,
    summary: "minimum number of changed features, by a smooth count and a moving threshold",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::L0],
    reference: "Cinà et al. 2024, arXiv:2402.01879",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<SigmaZero, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        positive(META.id, "eta", self.eta, "")?;
        positive(META.id, "sigma", self.sigma, "")?;
        let share = (0.0..=1.0).contains(&self.tau);
        require(share, META.id, "tau", self.tau, "a share from 0 to 1")?;
        not_negative(META.id, "tau_step", self.tau_step)?;
        Ok(SigmaZero(self))
    }

    /// Returns the length of step `k`, as a share of each feature's range.
    fn eta_at(&self, k: u64) -> f64 {
        let way = cosine(k as f64, f64::from(self.steps));
        self.eta * (LAST + (1.0 - LAST) * way)
    }
}

/// σ-zero with its parameters checked.
#[derive(Debug)]
pub struct SigmaZero(Config);

/// Position and threshold of each row, and the memory of its optimiser.
#[derive(Debug, Clone)]
pub struct State {
    x: Batch,
    memory: Vec<Batch>,
    /// Changes below this share of a feature's range are undone.
    tau: Tensor<1>,
    /// Number of features that may change.
    features: Tensor<1>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("memory", &mut self.memory));
        all.push(("tau".into(), Column::Vector(&mut self.tau)));
        all.push(("features".into(), Column::Vector(&mut self.features)));
        all
    }
}

/// Combines each block with the ranges of its features.
fn with_ranges(
    batch: &Batch,
    ranges: &[Tensor<2>],
    f: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>,
) -> Batch {
    let mut ranges = ranges.iter();
    batch.map(|b| f(b, ranges.next().expect("one block per modality").clone()))
}

/// Returns `slope` with a random direction in the rows that have neither succeeded nor any slope.
fn or_random(slope: Batch, rows: &Rows, succeeds: &Tensor<1>) -> Batch {
    let size = slope.sum_of(Tensor::abs).squeeze_dim::<1>(1);
    let lost = host(&(size + succeeds.clone()).equal_scalar(0.0).float());
    if lost.iter().all(|l| *l == 0.0) {
        return slope;
    }
    let keys = rows.streams(Purpose::Direction, 0);
    let stream = |(key, lost): (_, &f32)| (*lost > 0.0).then(|| Stream::new(key));
    let mut streams: Vec<Option<Stream>> = keys.iter().zip(&lost).map(stream).collect();
    slope.map(|b| {
        let [n, features] = b.dims();
        let mut noise = vec![0.0; n * features];
        for (row, stream) in noise.chunks_mut(features).zip(&mut streams) {
            if let Some(stream) = stream {
                row.fill_with(|| stream.normal());
            }
        }
        b.clone() + Tensor::from_data(TensorData::new(noise, [n, features]), &b.device())
    })
}

impl SigmaZero {
    /// Returns the direction of ascent of each row, in units of the ranges: its largest entry is 1.
    fn direction(&self, rows: &Rows, state: &State, gradient: &Batch, margin: &Tensor<1>) -> Batch {
        let region = rows.region();
        let (x0, ranges) = (region.x0(), ranges(&state.x));
        let succeeds = margin.clone().greater_scalar(0.0);
        let slope = with_ranges(&region.free(gradient), &ranges, |g, range| g * range);
        let slope = or_random(slope, rows, &succeeds.clone().float());
        // A row that succeeds has no margin to gain.
        let slope = slope.replace_rows(&succeeds, &slope.map(|s| s.zeros_like()));

        let moved = state.x.zip(&x0, |x, x0| x - x0);
        let moved = with_ranges(&moved, &ranges, |d, range| d / range);
        let features = state.features.clone().unsqueeze_dim::<2>(1);
        let sigma = self.0.sigma;
        let direction = slope.zip(&moved, |slope, d| {
            let count = d.clone() * (2.0 * sigma) / (d.square() + sigma).square();
            slope - count / features.clone()
        });
        // A clean feature cannot follow a direction out of the bounds.
        let direction = region.free(&direction);
        let follows = region.ahead(&state.x, &direction);
        let mut moved = moved.blocks().iter();
        let direction = direction.zip(&follows, |all, follows| {
            let moved = moved.next().expect("one block per modality").clone();
            all.mask_where(moved.equal_scalar(0.0), follows)
        });

        let largest = direction.per_row(|b| b.abs().max_dim(1), Tensor::max_pair);
        let largest = largest.clamp_min(1e-12);
        direction.map(|d| d / largest.clone())
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for SigmaZero {
    type State = State;

    fn id(&self) -> &'static str {
        META.id
    }

    fn steps(&self) -> u32 {
        self.0.steps
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn start(&self, _: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        let region = rows.region();
        let x = region.x0();
        let free = region.free(&x.map(|b| b.ones_like()));
        let features = free.sum_of(|b| b);
        Ok(State {
            memory: vec![x.map(|b| b.zeros_like()); ADAM.memories()],
            tau: region.column(&vec![self.0.tau as f32; rows.len()]),
            features: features.squeeze_dim::<1>(1).clamp_min(1.0),
            x,
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let answer = oracle.gradient(rows, &state.x, &Margin)?;
        let direction = self.direction(rows, state, &answer.gradient, &answer.loss);
        let direction = ADAM.apply(direction, &mut state.memory, rows);
        let region = rows.region();
        let (x0, ranges) = (region.x0(), ranges(&state.x));
        let eta: Vec<f32> = (rows.steps().iter().map(|k| self.0.eta_at(*k) as f32)).collect();
        let eta = region.column(&eta);
        let length = eta.clone().unsqueeze_dim::<2>(1);
        let by = with_ranges(&direction, &ranges, |d, range| d * range * length.clone());
        let x = region.clip(&state.x.zip(&by, |x, by| x + by));

        let change = eta * self.0.tau_step;
        let succeeds = answer.loss.greater_scalar(0.0);
        let up = state.tau.clone() + change.clone();
        let down = state.tau.clone() - change;
        state.tau = down.mask_where(succeeds, up).clamp(0.0, 1.0);
        let tau = state.tau.clone().unsqueeze_dim::<2>(1);
        let mut ranges = ranges.iter();
        state.x = x.zip(&x0, |x, x0| {
            let range = ranges.next().expect("one block per modality").clone();
            let moved = (x.clone() - x0.clone()).abs() / range;
            let shape = moved.dims();
            x.mask_where(moved.lower(tau.clone().expand(shape)), x0)
        });
        Ok(())
    }

    fn last(&self, state: &State) -> Option<Batch> {
        Some(state.x.clone())
    }
}

impl Attack for SigmaZero {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.0)
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        run(access.gradients(META.id)?, self, job)
    }
}

/// Registry entry of σ-zero.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
