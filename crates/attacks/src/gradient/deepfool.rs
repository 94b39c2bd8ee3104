//! `DeepFool`.
//!
//! # Idea
//! Treat the model as linear: move to the nearest of the linearised decision boundaries, linearise again, and go on
//! until the decision changes. A few steps give a small change, cheaply.
//!
//! # Maths
//! At `x`, `Δ_c = z_c − z_y` for the candidate classes `c`. With `P` the point nearest to `x`, in the norm of the
//! budget and inside the bounds, of the nearest boundary `{ v : Δ_c(x) + <∇Δ_c(x), v − x> = 0 }`:
//!
//! `r ← r + P(x) − x`, `x ← clip(x_0 + (1 + overshoot) r)`, until `x` succeeds.
//!
//! # Reference
//! Moosavi-Dezfooli, Fawzi and Frossard, "`DeepFool`: a simple and accurate method to fool deep neural networks", CVPR
//! 2016, algorithm 2 and section 3.3 (other norms).
//!
//! # Divergences
//! * The nearest point and the nearest class take the bounds into account; the paper and all peers step out of the
//!   bounds and clip, and choose the class by `|Δ_c| / |∇Δ_c|_*`.
//! * The candidates are the likeliest classes at the present point (Foolbox: at the clean sample).
//! * The change that succeeds is bisected at the end ([`Bisected`]), also along the last gradient: the overshoot costs
//!   distance only while searching.
//! * The authors' code adds `1e-4` to `|Δ_c|`, which depends on the unit of the scores. Here only ties are treated: the
//!   boundary is then taken to be 5 % of the budget away.
//! * A row whose gradient is zero, or whose bounds let no feature follow it, goes on from a random point, half of the
//!   budget away.
//! * With a targeted goal the boundary is that between the target and the strongest other class.
//! * Several inputs with independent budgets are measured by the gauge. Shared budgets are refused.
//!
//! # Cost
//! Per sample: one forward for the clean scores; per step `candidates` forwards and backwards and one forward to check
//! the new point; `2 × bisections` forwards and one to judge. Most samples need two or three steps.
//!
//! # When it fails
//! Where the boundary is far from flat: the first point that succeeds need not be the nearest. FAB and FMN search on
//! from there.
//!
//! # Example
//! ```
//! let table: toml::Table = "overshoot = 0.05".parse().unwrap();
//! let attack = proofmark_attacks::build("deepfool", &table).unwrap();
//! assert_eq!(attack.parameters()["candidates"], 9);
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, Bisected, BuildError, EngineError, Job, Meta, Needs, Oracle,
    Outcomes, Rows, Stepper, run,
};
use proofmark_model::GradientModel;
use proofmark_stats::random::Purpose;
use proofmark_threat::{Batch, Column, Columns, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::boundary::{Candidates, halfway, nearest};
use super::where_rows;
use crate::config::{at_least_one, bisections, not_negative, read, written};
use crate::inputs;

/// Parameters of `DeepFool`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Maximum number of steps, at least 1; default 50.
    pub steps: u32,
    /// Number of other classes whose boundaries are linearised, the likeliest first, at least 1; default 9 (or all, if
    /// there are fewer).
    pub candidates: u32,
    /// How far beyond the boundary a point lies, as a share of its distance, at least 0; default 0.02.
    pub overshoot: f64,
    /// Bisections at the end, two forwards each, 0 to 20; default 10.
    pub bisections: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 50,
            candidates: 9,
            overshoot: 0.02,
            bisections: 10,
        }
    }
}

const META: Meta = Meta {
    id: "deepfool",
    version: 1,
    summary: "moves to the nearest linearised boundary until the decision changes",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2],
    reference: "Moosavi-Dezfooli et al. 2016, arXiv:1511.04599",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<DeepFool, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        at_least_one(META.id, "candidates", self.candidates)?;
        not_negative(META.id, "overshoot", self.overshoot)?;
        bisections(META.id, self.bisections)?;
        Ok(DeepFool(self))
    }
}

/// `DeepFool` with its parameters checked.
#[derive(Debug)]
pub struct DeepFool(Config);

/// The attack for a model with a given number of classes.
#[derive(Debug)]
struct Walk<'a> {
    config: &'a Config,
    /// Number of candidates; 0 with a target set by the user.
    ranks: usize,
}

/// Change of each row without the overshoot, as the point `x_0 + r`; the last gradient; the candidates at that point;
/// whether it succeeded.
#[derive(Debug, Clone)]
struct State {
    x: Batch,
    gradient: Batch,
    candidates: Option<Candidates>,
    succeeded: Vec<u64>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("gradient", &mut self.gradient));
        if let Some(candidates) = &mut self.candidates {
            all.extend(prefixed("candidate", candidates));
        }
        all.push(("succeeded".into(), Column::Count(&mut self.succeeded)));
        all
    }
}

impl Walk<'_> {
    /// Returns the points beyond the boundary.
    fn beyond(&self, rows: &Rows, x: &Batch) -> Batch {
        let by = 1.0 + self.config.overshoot;
        let region = rows.region();
        let beyond = region.x0().zip(x, |x0, x| (x - x0.clone()) * by + x0);
        region.clip(&beyond)
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Walk<'_> {
    type State = State;

    fn id(&self) -> &'static str {
        META.id
    }

    fn steps(&self) -> u32 {
        self.config.steps
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        let x = rows.region().x0();
        let candidates = if self.ranks == 0 {
            None
        } else {
            let request = rows.request(&x);
            let scores = oracle.scores(rows, request)?;
            let labels = rows.focus();
            Some(Candidates::likeliest(&scores, labels.label(), self.ranks))
        };
        Ok(State {
            gradient: x.map(|b| b.zeros_like()),
            x,
            candidates,
            succeeded: vec![0; rows.len()],
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let at = self.beyond(rows, &state.x);
        let boundary = nearest(oracle, rows, &at, state.candidates.as_ref())?;
        let region = rows.region();
        let step = region
            .onto(&at, &boundary.plane, 1.0)
            .x
            .zip(&at, |to, x| to - x);
        let mut x = region.clip(&state.x.zip(&step, |x, step| x + step));
        if boundary.lost.contains(&true) {
            let elsewhere = halfway(rows, Purpose::Direction);
            x = where_rows(&boundary.lost, &elsewhere, &x);
        }
        let request = rows.request(&self.beyond(rows, &x));
        let succeeded = oracle.succeeds(rows, request)?;
        state.succeeded = succeeded.into_iter().map(u64::from).collect();
        state.x = x;
        state.gradient = boundary.plane.gradient;
        if let Some(candidates) = &mut state.candidates {
            *candidates = Candidates::likeliest(&boundary.scores, rows.focus().label(), self.ranks);
        }
        Ok(())
    }

    fn direction(&self, state: &State) -> Option<Batch> {
        Some(state.gradient.clone())
    }

    fn finished(&self, _: &Rows, state: &State) -> Option<Vec<bool>> {
        Some(state.succeeded.iter().map(|s| *s == 1).collect())
    }
}

impl Attack for DeepFool {
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
        inputs::independent(&META, job)
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let others = job.classes(access.signature()) - 1;
        let walk = Walk {
            config: &self.0,
            ranks: if job.goal.targeted() {
                0
            } else {
                others.min(self.0.candidates as usize)
            },
        };
        let walk = Bisected::new(walk, self.0.bisections);
        run(access.gradients(META.id)?, &walk, job)
    }
}

/// Registry entry of `DeepFool`.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
