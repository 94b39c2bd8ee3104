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
//! of the gauge. L0 is not offered yet.
//!
//! # Cost
//! Per sample: `steps` forwards and backwards, even if it breaks early, and one forward to judge.
//!
//! # When it fails
//! Where PGD fails: gradients that are zero, saturated or misleading. It finds one local boundary; at its own budget, a
//! fixed-budget attack with restarts finds more.
//!
//! # Example
//! ```
//! let table: toml::Table = "steps = 200".parse().unwrap();
//! let attack = proofmark_attacks::build("fmn", &table).unwrap();
//! assert_eq!(attack.parameters()["steps"], 200);
//! ```

use std::f64::consts::PI;

use burn::tensor::Tensor;
use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, BuildError, EngineError, Job, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, run,
};
use proofmark_model::GradientModel;
use proofmark_threat::{Batch, Column, Columns, Step, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{at_least_one, read, require, written};
use crate::loss::Margin;

/// Parameters of FMN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps, at least 1; default 100.
    pub steps: u32,
    /// First step, as a share of the radius, above 0; default 1. The last step is a hundredth of it.
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

const META: Meta = Meta {
    id: "fmn",
    version: 1,
    summary: "fast minimum norm: the smallest change that succeeds",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Pintor et al. 2021, arXiv:2102.12827",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Fmn, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        let positive = self.alpha.is_finite() && self.alpha > 0.0;
        let expected = "a finite number above 0, shares of the radius";
        require(positive, META.id, "alpha", self.alpha, expected)?;
        let share = self.gamma > 0.0 && self.gamma < 1.0;
        let expected = "a number between 0 and 1";
        require(share, META.id, "gamma", self.gamma, expected)?;
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
        let at = |k: &u64| {
            let way = f64::midpoint(1.0, (PI * *k as f64 / f64::from(self.0.steps)).cos());
            (last + (first - last) * way) as f32
        };
        let values: Vec<f32> = rows.steps().iter().map(at).collect();
        rows.region().column(&values)
    }
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
        Ok(State {
            x: region.x0(),
            radius: none.clone(),
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
