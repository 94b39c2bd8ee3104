//! FAB: fast adaptive boundary.
//!
//! # Idea
//! Find the smallest change that succeeds: linearise the decision boundary, move to it and slightly beyond, always
//! pulled a little towards the point of the linearised boundary that is nearest to the clean sample. After a success,
//! go back towards the clean sample and continue from there. There is no step size to tune.
//!
//! # Maths
//! At `x`, `Δ_c = z_c − z_y` for other classes `c`. The class whose linearised boundary
//! `π = { v : Δ_c(x) + <∇Δ_c(x), v − x> = 0 }` is nearest to `x` inside the bounds is chosen. With `P` the nearest point
//! inside the bounds, in the norm of the budget, at which the linearised `Δ_c` has changed by `η` times its distance to
//! zero, `d_1 = P(x) − x`, `d_2 = P(x_0) − x_0`:
//!
//! `x ← (1 − α) (x + d_1) + α (x_0 + d_2)`, `α = min(|d_1| / (|d_1| + |d_2|), alpha_max)`.
//!
//! If the new point succeeds, the next step begins at `x_0 + β (x − x_0)`. The best point of all steps is bisected at
//! the end ([`Bisected`]). The first restart begins at the clean sample, later ones at a random point, half of the
//! budget away.
//!
//! # Reference
//! Croce and Hein, "Minimally distorted Adversarial Examples with a Fast Adaptive Boundary Attack", ICML 2020,
//! algorithm 1; constants of the version in the authors' `AutoAttack`.
//!
//! # Divergences
//! * The class is chosen by its distance inside the bounds; the paper chooses by `|Δ_c| / |∇Δ_c|_*`, which ignores them
//!   and may take a boundary that cannot be reached. That ratio decides only where no boundary is in reach.
//! * The paper stretches the step to the boundary by `η` and clips, which loses the stretch of the features that meet
//!   their bounds. Here the change of `Δ_c` is stretched, and the step is the nearest one for it; far from the bounds
//!   both are the same.
//! * The boundaries of the `candidates` classes with the highest scores are linearised; the paper linearises all of
//!   them.
//! * The last bisection queries decisions, also at the steepest points along the gradient that led to the best point;
//!   the paper interpolates scores in three steps on a line, and `AutoAttack` has no last search.
//! * Where two scores are tied (int8 models), the boundary is taken to be 5 % of the budget away; the paper's step is
//!   zero there.
//! * A row whose gradient is zero, or whose bounds let no feature follow it, goes on from a random point, half of the
//!   budget (or of its best distance, if smaller) away. In the authors' code it stays where it is.
//! * A restart does not know the best point of the restarts before it, so its random start does not depend on that
//!   point. This is so in the authors' code too, although it takes a minimum.
//! * With a targeted goal the boundary is that between the target and the strongest other class, and success is a
//!   decision for the target; the authors' code has no targeted goal.
//! * Several inputs with independent budgets are measured by the gauge. Shared budgets are refused.
//!
//! # Cost
//! Per sample and restart: one forward for the scores at the start; per step `candidates` forwards and backwards and
//! one forward to check the new point; at most `2 × bisections` forwards and one to judge. `fab-t` linearises one class
//! per step.
//!
//! # When it fails
//! Where gradients are zero, saturated or misleading, and where the boundary is far from flat at the scale of the
//! distance.
//!
//! # Example
//! ```
//! let table: toml::Table = "steps = 20\ncandidates = 4".parse().unwrap();
//! let attack = proofmark_attacks::build("fab", &table).unwrap();
//! assert_eq!(attack.parameters()["eta"], 1.05);
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
use crate::config::{at_least_one, between_0_and_1, bisections, read, require, written};
use crate::inputs;

/// Parameters of FAB.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps per restart, at least 1; default 100.
    pub steps: u32,
    /// Restarts, at least 1; default 1. Those after the first begin at a random point.
    pub restarts: u32,
    /// Number of other classes whose boundaries are linearised, the likeliest first, at least 1; default 9 (or all, if
    /// there are fewer).
    pub candidates: u32,
    /// Largest weight of the point of the boundary that is nearest to the clean sample, in [0, 1]; default 0.1.
    pub alpha_max: f64,
    /// How far a step goes, as a share of the way to the boundary, at least 1; default 1.05.
    pub eta: f64,
    /// Share of the way from the clean sample at which the search continues after a success, in (0, 1); default 0.9.
    pub beta: f64,
    /// Bisections at the end, two forwards each, 0 to 20; default 10.
    pub bisections: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 100,
            restarts: 1,
            candidates: 9,
            alpha_max: 0.1,
            eta: 1.05,
            beta: 0.9,
            bisections: 10,
        }
    }
}

const META: Meta = Meta {
    id: "fab",
    version: 1,
    summary: "fast adaptive boundary: the smallest change that succeeds",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Croce and Hein 2020, arXiv:1907.02044",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Fab, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        at_least_one(META.id, "restarts", self.restarts)?;
        at_least_one(META.id, "candidates", self.candidates)?;
        bisections(META.id, self.bisections)?;
        Pull::of(self.alpha_max, self.eta, self.beta).check(META.id)?;
        Ok(Fab(self))
    }
}

/// FAB with its parameters checked.
#[derive(Debug)]
pub struct Fab(Config);

/// Constants of a step of FAB: how far it goes, and how strongly it is pulled towards the clean sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pull {
    alpha_max: f64,
    eta: f64,
    beta: f64,
}

impl Pull {
    pub(super) const fn of(alpha_max: f64, eta: f64, beta: f64) -> Self {
        Self {
            alpha_max,
            eta,
            beta,
        }
    }

    pub(super) fn check(self, attack: &str) -> Result<(), BuildError> {
        let share = (0.0..=1.0).contains(&self.alpha_max);
        let expected = "a number from 0 to 1";
        require(share, attack, "alpha_max", self.alpha_max, expected)?;
        let beyond = self.eta.is_finite() && self.eta >= 1.0;
        require(beyond, attack, "eta", self.eta, "a finite number from 1")?;
        between_0_and_1(attack, "beta", self.beta)
    }
}

/// Classes whose boundaries a row moves to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Choice {
    /// In every step the nearest of the likeliest other classes, as many as this.
    Nearest(usize),
    /// One class per restart: every class, the likeliest first, gets `restarts` of them.
    InTurn {
        /// Number of classes.
        classes: u32,
        /// Restarts per class.
        restarts: u32,
    },
    /// The target of the goal, set by the user.
    Target,
}

/// The loop of FAB, for both ways of choosing classes.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) id: &'static str,
    pub(super) steps: u32,
    pub(super) restarts: u32,
    pub(super) pull: Pull,
    pub(super) choice: Choice,
}

/// Position of each row, the gradient that led to its best point, and the classes whose boundaries it may move to (none
/// with a target set by the user).
#[derive(Debug, Clone)]
pub(super) struct State {
    x: Batch,
    gradient: Batch,
    candidates: Option<Candidates>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("gradient", &mut self.gradient));
        if let Some(candidates) = &mut self.candidates {
            all.extend(prefixed("candidate", candidates));
        }
        all
    }
}

impl Walk {
    /// Returns the number of a restart among those that search for the same class.
    fn again(&self, restart: u64) -> u64 {
        match self.choice {
            Choice::InTurn { restarts, .. } => restart % u64::from(restarts),
            Choice::Nearest(_) | Choice::Target => restart,
        }
    }

    /// Returns the start points: the clean row, or a random point from the second restart on.
    fn begin(&self, rows: &Rows) -> Batch {
        let x0 = rows.region().x0();
        let again = rows.restarts().iter().map(|r| self.again(*r) > 0);
        let again: Vec<bool> = again.collect();
        if again.contains(&true) {
            where_rows(&again, &halfway(rows, Purpose::Start), &x0)
        } else {
            x0
        }
    }

    /// Returns the candidates of fresh rows at `x`.
    fn candidates<M: GradientModel + ?Sized>(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        x: &Batch,
    ) -> Result<Option<Candidates>, EngineError> {
        let (at, ranks) = match self.choice {
            Choice::Target => return Ok(None),
            Choice::Nearest(ranks) => (x.clone(), ranks),
            Choice::InTurn { classes, .. } => (rows.region().x0(), classes as usize),
        };
        let request = rows.request(&at);
        let scores = oracle.scores(rows, request)?;
        let likeliest = Candidates::likeliest(&scores, rows.focus().label(), ranks);
        Ok(Some(match self.choice {
            Choice::InTurn { restarts, .. } => {
                likeliest.only(|i| (rows.restarts()[i] / u64::from(restarts)) as usize)
            }
            Choice::Nearest(_) | Choice::Target => likeliest,
        }))
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Walk {
    type State = State;

    fn id(&self) -> &'static str {
        self.id
    }

    fn steps(&self) -> u32 {
        self.steps
    }

    fn restarts(&self) -> u32 {
        self.restarts
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        let x = self.begin(rows);
        let candidates = self.candidates(oracle, rows, &x)?;
        Ok(State {
            gradient: x.map(|b| b.zeros_like()),
            x,
            candidates,
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let Pull {
            alpha_max,
            eta,
            beta,
        } = self.pull;
        let boundary = nearest(oracle, rows, &state.x, state.candidates.as_ref())?;
        let region = rows.region();
        let x0 = region.x0();
        let near = region.onto(&state.x, &boundary.plane, eta);
        let far = region.onto(&x0, &boundary.plane, eta);
        let alpha: Vec<f32> = (near.gauge.iter().zip(&far.gauge))
            .map(|(d1, d2)| (d1 / (d1 + d2).max(f64::MIN_POSITIVE)).min(alpha_max) as f32)
            .collect();
        let alpha = region.column(&alpha).unsqueeze_dim::<2>(1);
        let next = near.x.zip(&far.x, |near, far| {
            near * (alpha.clone().neg() + 1.0) + far * alpha.clone()
        });
        let mut next = region.clip(&next);
        if boundary.lost.contains(&true) {
            let elsewhere = halfway(rows, Purpose::Direction);
            next = where_rows(&boundary.lost, &elsewhere, &next);
        }
        let before = rows.best().1.clone();
        let request = rows.request(&next);
        let succeeded = oracle.succeeds(rows, request)?;
        let improved = rows.best().1.clone().lower(before);
        let gradient = &boundary.plane.gradient;
        state.gradient = state.gradient.replace_rows(&improved, gradient);
        let back = x0.zip(&next, |x0, x| (x - x0.clone()) * beta + x0);
        let back = rows.region().clip(&back);
        state.x = where_rows(&succeeded, &back, &next);
        if let (Choice::Nearest(ranks), Some(candidates)) = (self.choice, &mut state.candidates) {
            *candidates = Candidates::likeliest(&boundary.scores, rows.focus().label(), ranks);
        }
        Ok(())
    }

    fn direction(&self, state: &State) -> Option<Batch> {
        Some(state.gradient.clone())
    }
}

impl Attack for Fab {
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
        let config = &self.0;
        let walk = Walk {
            id: META.id,
            steps: config.steps,
            restarts: config.restarts,
            pull: Pull::of(config.alpha_max, config.eta, config.beta),
            choice: if job.goal.targeted() {
                Choice::Target
            } else {
                Choice::Nearest(others.min(config.candidates as usize))
            },
        };
        let walk = Bisected::new(walk, config.bisections);
        run(access.gradients(META.id)?, &walk, job)
    }
}

/// Registry entry of FAB.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
