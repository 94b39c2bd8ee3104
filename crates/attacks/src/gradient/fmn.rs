//! Fast minimum norm.
//!
//! # Idea
//! Find the smallest change that succeeds instead of one inside a given budget: keep each row on its own ball, shrink
//! the ball while the row is adversarial, grow it while it is not, and maximise the margin on it.
//!
//! # Maths
//! With radius `r`, margin `m(x) = max_{i != y} z_i − z_y` and gauge `|x|` around the clean sample:
//!
//! * adversarial (`m > 0`): `r ← min(r (1 − γ_k), smallest gauge so far)`;
//! * not adversarial now, but before: `r ← r (1 + γ_k)`;
//! * never adversarial yet: `r ← (|x| − m / |∇m|_*) (1 + γ_k)`, just beyond the boundary of a linear model (`|·|_*` is
//!   the dual of the gauge), and at least `γ_k` where `m` is 0.
//!
//! `x ← P_r(x + α_k r u(∇m))`, `u` the steepest direction of the norm inside the bounds, `P_r` the projection on the
//! ball of radius `r` ∩ bounds. `γ_k` falls along a cosine from `gamma` to 0.001, and `α_k` from `alpha` to a hundredth
//! of it.
//!
//! In L0 the radius is a number of features, which changes by at least one: `r ← min(r − 1, r (1 − γ_k), n − 1)` if
//! adversarial, `n` the smallest count so far; `r ← max(r + 1, r (1 + γ_k))` if not now, but before. A row that was
//! never adversarial takes the number of features that a linear model would need, at least `r + 1` and at most `2 r`.
//! `x ← P_r(x + s ∇m)`, `s` such that the steepest feature that has room moves by `10 α_k` times the widest range: the
//! projection keeps the features with the largest gain.
//!
//! # Reference
//! Pintor, Roli, Brendel and Biggio, "Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints",
//! `NeurIPS` 2021, algorithm 1; constants of adversarial-library's version.
//!
//! # Divergences
//! The paper steps along `∇m / |∇m|_2` in every norm, with `α` in units of inputs in [0, 1]. Here steps are the
//! steepest ones of the norm, in units of the radius, so that the data's unit and the number of features do not matter.
//! The boundary estimate counts only features that have room to move, and goes slightly beyond the boundary: a point on
//! the boundary does not succeed. Projections are exact on ball ∩ bounds (the paper projects, then clips; foolbox's L2
//! projection does nothing, adversarial-library's puts points on the sphere). Several modalities share one radius, that
//! of the gauge.
//!
//! In L0, adversarial-library steps along `∇m / |∇m|_2` with `α = 1`: with many features, each moves little, and the
//! ones picked first stay. The long steps here pick features by slope times room, which is exact on a linear model. Its
//! radius grows by one feature at a time until the row is adversarial; its projection ranks features before it clips,
//! keeps ties beyond the count, and keeps one feature at radius 0. L0 cannot be mixed with other norms.
//!
//! # Cost
//! Per sample: `steps` forwards and backwards, even if it breaks early, and one forward to judge.
//!
//! # When it fails
//! Where PGD fails: gradients that are zero, saturated or misleading. It finds one local boundary; at its own budget, a
//! fixed-budget attack with restarts finds more. In L0 also where a good change does not move its features to their
//! bounds.
//!
//! # Example
//! ```
//! let table: toml::Table = "steps = 200".parse().unwrap();
//! let attack = proofmark_attacks::build("fmn", &table).unwrap();
//! assert_eq!(attack.parameters()["steps"], 200);
//! ```

use burn::tensor::Tensor;
use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, BuildError, EngineError, Job, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, check_norms, run,
};
use proofmark_model::{Gradient, GradientModel};
use proofmark_threat::{Batch, Column, Columns, Region, Step, host, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::counts::{Counts, ROUNDING};
use crate::config::{at_least_one, between_0_and_1, positive, read, written};
use crate::inputs;
use crate::loss::Margin;
use crate::ranges::ranges;
use crate::schedule::cosine;

/// Parameters of FMN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps, at least 1; default 100.
    pub steps: u32,
    /// First step, as a share of the radius (L0: in units of 10 ranges of the widest feature), above 0; default 1. The
    /// last step is a hundredth of it.
    pub alpha: f32,
    /// Share by which the radius changes at first, in (0, 1); default 0.05. It falls to 0.001.
    pub gamma: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 100,
            alpha: 1.0,
            gamma: 0.05,
        }
    }
}

/// Final value of `gamma`.
const GAMMA_LAST: f64 = 0.001;

/// First L0 step at the default `alpha`, in ranges of the widest feature.
const LONG: f64 = 10.0;

const META: Meta = Meta {
    id: "fmn",
    version: 1,
    summary: "fast minimum norm: the smallest change that succeeds",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1, Norm::L0],
    reference: "Pintor et al. 2021, arXiv:2102.12827",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Fmn, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        positive(META.id, "alpha", self.alpha, "shares of the radius")?;
        between_0_and_1(META.id, "gamma", self.gamma)?;
        Ok(Fmn(self))
    }
}

/// FMN with its parameters checked.
#[derive(Debug)]
pub struct Fmn(Config);

/// Position of each row, the radius of its ball and its smallest gauge that succeeded.
#[derive(Debug, Clone)]
pub struct State {
    x: Batch,
    /// Radius of each row's ball, in units of its budget.
    radius: Tensor<1>,
    /// Smallest gauge that succeeded; `f32::MAX` until one has.
    best: Tensor<1>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.push(("radius".into(), Column::Vector(&mut self.radius)));
        all.push(("best".into(), Column::Vector(&mut self.best)));
        all
    }
}

impl Fmn {
    /// Returns a value per row that falls along a cosine from `first` to `last` over the steps.
    fn falling(&self, rows: &Rows, first: f64, last: f64) -> Tensor<1> {
        let at = |k: &u64| self.at(*k, first, last) as f32;
        let values: Vec<f32> = rows.steps().iter().map(at).collect();
        rows.region().column(&values)
    }

    /// Returns the value at step `k` on the way from `first` to `last`.
    fn at(&self, k: u64, first: f64, last: f64) -> f64 {
        let way = cosine(k as f64, f64::from(self.0.steps));
        last + (first - last) * way
    }

    /// Moves each row in L0: decides on its number of features, then steps far along the gradient and keeps those that
    /// gain most.
    fn step_l0(&self, rows: &Rows, state: &mut State, answer: &Gradient) {
        let region = rows.region();
        let (x0, gradient) = (region.x0(), region.free(&answer.gradient));
        let ranges = ranges(&x0);
        // A step of two ranges reaches the bounds from anywhere.
        let mut widths = ranges.iter();
        let end = x0.zip(&gradient, |x0, g| {
            x0 + g.sign() * widths.next().expect("one block per modality").clone() * 2.0
        });
        let gain = (region.clip(&end).zip(&x0, |end, x0| end - x0)).zip(&gradient, |d, g| d * g);
        let used = (state.x.zip(&x0, |x, x0| x - x0)).zip(&gradient, |d, g| d * g);
        let used = used.sum_of(|b| b);
        // What is left of the clean sample's margin under a linear model with this gradient.
        let need = host(&(used.squeeze_dim::<1>(1) - answer.loss.clone()));

        let gauge = region.gauge(&state.x);
        let succeeds = answer.loss.clone().greater_scalar(0.0);
        let nearer = succeeds.bool_and(gauge.clone().lower(state.best.clone()));
        state.best = state.best.clone().mask_where(nearer, gauge);
        let [margin, best, radius] = [&answer.loss, &state.best, &state.radius].map(host);
        let gains = gain.to_host();
        let eps: Vec<&[f64]> = region.eps().collect();
        let radius: Vec<f32> = (0..rows.len())
            .map(|i| {
                let balls = eps.iter().zip(&gains).map(|(eps, gains)| {
                    let width = gains.len() / rows.len();
                    (eps[i], &gains[i * width..(i + 1) * width])
                });
                let counts = Counts(balls.filter(|(eps, _)| *eps > 0.0).collect());
                let radius = f64::from(radius[i]);
                let gamma = self.at(rows.steps()[i], f64::from(self.0.gamma), GAMMA_LAST);
                let need = f64::from(need[i]);
                let best = (best[i] < f32::MAX).then(|| f64::from(best[i]));
                counts.next(radius, gamma, margin[i] > 0.0, best, need) as f32
            })
            .collect();
        state.radius = region.column(&radius);

        let alpha = f64::from(self.0.alpha) * LONG;
        let size = self
            .falling(rows, alpha, alpha / 100.0)
            .unsqueeze_dim::<2>(1);
        let mut widths = ranges.iter();
        let mut gain = gain.blocks().iter();
        let mut modalities = x0.modalities().iter();
        let step = gradient.map(|g| {
            let width = widths.next().expect("one block per modality").clone();
            let gain = gain.next().expect("one block per modality").clone();
            let widest = modalities
                .next()
                .expect("one block per modality")
                .bounds
                .widest();
            let slope = (g.clone() * width).abs() * gain.greater_scalar(0.0).float();
            let steepest = slope.max_dim(1).clamp_min(f32::MIN_POSITIVE);
            g / steepest * (size.clone() * widest) * widest
        });
        let ball = state.radius.clone() * (1.0 + ROUNDING);
        state.x = region.project_within(&state.x.zip(&step, |x, by| x + by), &ball);
    }
}

/// Returns whether the rows may change in L0; all that may change is then in L0.
fn is_l0(region: &Region) -> bool {
    let mut balls = region.norms().zip(region.eps());
    balls.any(|(norm, eps)| norm == Norm::L0 && eps.iter().any(|e| *e > 0.0))
}

impl<M: GradientModel + ?Sized> Stepper<M> for Fmn {
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
        let none = region.column(&vec![f32::MAX; rows.len()]);
        let in_l0 = is_l0(region);
        Ok(State {
            x: region.x0(),
            radius: if in_l0 {
                none.zeros_like()
            } else {
                none.clone()
            },
            best: none,
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let answer = oracle.gradient(rows, &state.x, &Margin)?;
        let region = rows.region();
        if is_l0(region) {
            self.step_l0(rows, state, &answer);
            return Ok(());
        }
        let gauge = region.gauge(&state.x);
        let succeeds = answer.loss.clone().greater_scalar(0.0);
        let nearer = succeeds
            .clone()
            .bool_and(gauge.clone().lower(state.best.clone()));
        let best = state.best.clone().mask_where(nearer, gauge.clone());

        let gamma = self.falling(rows, f64::from(self.0.gamma), GAMMA_LAST);
        let slope = region.dual(&region.ahead(&state.x, &answer.gradient));
        let boundary = gauge - answer.loss.clone() / slope.clamp_min(f32::MIN_POSITIVE);
        let grow = |r: Tensor<1>| r * (gamma.clone() + 1.0);
        // Go slightly beyond the boundary, because a point on it does not succeed. A sample already on the boundary
        // (tied scores, as int8 models produce) has no radius to grow yet.
        let tied = answer.loss.equal_scalar(0.0);
        let boundary = grow(boundary);
        let boundary = boundary
            .clone()
            .mask_where(tied, boundary.max_pair(gamma.clone()));
        let grown = grow(state.radius.clone());
        let shrunk = (state.radius.clone() * (gamma.clone().neg() + 1.0)).min_pair(best.clone());
        let never = best.clone().equal_scalar(f32::MAX);
        let radius = grown
            .mask_where(never, boundary)
            .mask_where(succeeds, shrunk)
            // Without a slope, the estimate is unbounded; 1e30 is far beyond the whole range.
            .clamp_max(1e30);

        let alpha = f64::from(self.0.alpha);
        let size = self.falling(rows, alpha, alpha / 100.0) * radius.clone();
        let step = Step::new(size).within(radius.clone());
        state.x = region.advance(&state.x, &answer.gradient, &step);
        state.radius = radius;
        state.best = best;
        Ok(())
    }

    fn last(&self, state: &State) -> Option<Batch> {
        Some(state.x.clone())
    }
}

impl Attack for Fmn {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.0)
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    /// An L0 radius is a number of features, so that it cannot be shared with other norms.
    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        check_norms(&META, job)?;
        let norms = inputs::norms(job);
        if norms.len() > 1 && norms.contains(&Norm::L0) {
            return Err(EngineError::Parameter {
                name: "norm",
                given: inputs::named(&norms),
                expected: "l0 for all inputs that may change, or for none".into(),
            });
        }
        Ok(())
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        run(access.gradients(META.id)?, self, job)
    }
}

/// Registry entry of FMN.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
