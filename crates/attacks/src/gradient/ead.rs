//! Elastic net attack.
//!
//! # Idea
//! Carlini and Wagner's objective with the L1 length of the change added. Soft thresholding minimises that length
//! exactly and sets most features back to their clean values, so few features change.
//!
//! # Maths
//! With `δ = (x − x_0) / R`, `R` the range, `m` the margin and confidence `κ`,
//!
//! `minimise β |δ|_1 + |δ|_2² + c max(κ − m(x), 0)` inside the bounds.
//!
//! Accelerated proximal gradient descent (FISTA): `x_{k+1} = S(y_k − α_k ∇g(y_k))`, `g` the last two terms, `S` the
//! soft thresholding of the change by `α_k β R`, then clipped to the bounds (together the proximal operator of the L1
//! length inside the box); `y_{k+1} = x_{k+1} + k / (k + 3) (x_{k+1} − x_k)`. The threshold falls geometrically from
//! `step` to a tenth of it, in units of the range. The constant is searched as in `cw`: times 10 until a search
//! succeeds, then bisected.
//!
//! # Reference
//! Chen, Sharma, Zhang, Yi and Hsieh, "EAD: Elastic-Net Attacks to Deep Neural Networks via Adversarial Examples", AAAI
//! 2018, algorithm 1, with the L1 decision rule; Beck and Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm
//! for Linear Inverse Problems", 2009.
//!
//! # Divergences
//! The authors' code thresholds by `β` whatever the step, so the weight of the L1 length grows as their step falls
//! (from 1 with their `β = step = 0.01`); here the threshold is `α_k β`, as in FISTA. With a weight of 1 the squared
//! length spreads the change over more features than the smallest L1 change needs, which costs up to 8 % on linear
//! models; `regularisation` is 50 by default, which costs at most 0.5 %. Their `y_k` may leave the bounds; here it is
//! clipped. They query `y_k` for the gradient and `x_{k+1}` for success; here every point queried counts, so one query
//! per step does. Their step falls as `sqrt(1 − k / K)`. First constant, early stop per row, shorter steps near the
//! boundary and random gradients for rows that have none are as in `cw`. Only one input may change. The nearest point
//! in L1 is returned (the L1 rule); the elastic-net rule is not offered.
//!
//! # Cost
//! Per sample and restart: at most `searches × steps + 1` forwards and backwards, about a third of that with
//! `abort_early`, and one forward to judge; with `targets`, one more forward for the clean scores.
//!
//! # When it fails
//! Where gradients are zero or misleading.
//!
//! # Example
//! ```
//! let table: toml::Table = "steps = 200\nregularisation = 1.0".parse().unwrap();
//! let attack = proofmark_attacks::build("ead", &table).unwrap();
//! assert_eq!(attack.parameters()["searches"], 9);
//! ```

use burn::tensor::Tensor;
use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, BuildError, EngineError, Job, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, run,
};
use proofmark_model::GradientModel;
use proofmark_threat::{Batch, Column, Columns, host, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::constant_search::{Confident, Plan, Searches};
use super::proximal::soft_threshold;
use super::rivals::Rivals;
use super::rooms::{Outlook, column, outlooks};
use super::{flat, where_rows};
use crate::config::{at_least_one, not_negative, positive, read, written};
use crate::inputs;
use crate::loss::Margin;

/// Parameters of the elastic net attack.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Constants tried per restart, at least 1; default 9.
    pub searches: u32,
    /// Maximum number of steps per constant, at least 1; default 500.
    pub steps: u32,
    /// First threshold, as a share of the range, above 0; default 0.01. It falls to a tenth of that.
    pub step: f64,
    /// Weight `β` of the L1 length against the squared length, both in units of the range, above 0; default 50.
    pub regularisation: f64,
    /// First constant, in units of the objective per unit of score, above 0; default: from the first gradient.
    pub initial_constant: Option<f64>,
    /// Margin that a result must have, units of score, at least 0; default 0.
    pub confidence: f64,
    /// Whether a search ends when a tenth of its steps no longer lowers the objective; default true.
    pub abort_early: bool,
    /// Number of classes that get a restart of their own, the likeliest first; default 0: one restart towards the
    /// strongest class at each point.
    pub targets: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            searches: 9,
            steps: 500,
            step: 0.01,
            regularisation: 50.0,
            initial_constant: None,
            confidence: 0.0,
            abort_early: true,
            targets: 0,
        }
    }
}

/// Threshold at the end of a search, as a share of the first.
const LAST_STEP: f64 = 0.1;

const META: Meta = Meta {
    id: "ead",
    version: 1,
    summary: "elastic net: a smallest L1 change, by soft thresholding and a search for a constant",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::L1],
    reference: "Chen et al. 2018, arXiv:1709.04114",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Ead, BuildError> {
        at_least_one(META.id, "searches", self.searches)?;
        at_least_one(META.id, "steps", self.steps)?;
        positive(META.id, "step", self.step, "")?;
        positive(META.id, "regularisation", self.regularisation, "")?;
        if let Some(c) = self.initial_constant {
            positive(META.id, "initial_constant", c, "")?;
        }
        not_negative(META.id, "confidence", self.confidence)?;
        Ok(Ead(self))
    }

    const fn plan(&self) -> Plan {
        Plan {
            searches: self.searches,
            steps: self.steps,
            abort_early: self.abort_early,
        }
    }

    /// Returns a row's first constant, in units of the objective per unit of score.
    fn first_constant(&self, outlook: &Outlook) -> f64 {
        // For a linear boundary that one feature reaches at `δ`, `c R g = β + 2 δ` suffices.
        let steepest = outlook.steepest * outlook.range;
        let change = (outlook.gap + self.confidence) / steepest;
        (self.initial_constant).unwrap_or(2.0 * (self.regularisation + 2.0 * change) / steepest)
    }
}

/// The elastic net attack with its parameters checked.
#[derive(Debug)]
pub struct Ead(Config);

/// The attack on a model with a given number of classes.
#[derive(Debug)]
struct Descent<'a> {
    config: &'a Config,
    rivals: Rivals,
}

/// The last point of each row, the point ahead of it that is queried, and the search for the constant.
#[derive(Debug, Clone)]
struct State {
    x: Batch,
    y: Batch,
    rival: Vec<u64>,
    /// Range of the row's features, and unit of its steps; data units.
    range: Vec<f64>,
    unit: Vec<f64>,
    search: Searches,
    confident: Confident,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("y", &mut self.y));
        all.push(("rival".into(), Column::Count(&mut self.rival)));
        all.push(("range".into(), Column::Real(&mut self.range)));
        all.push(("unit".into(), Column::Real(&mut self.unit)));
        all.extend(prefixed("search", &mut self.search));
        all.extend(prefixed("confident", &mut self.confident));
        all
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Descent<'_> {
    type State = State;

    fn id(&self) -> &'static str {
        META.id
    }

    fn steps(&self) -> u32 {
        self.config.plan().total()
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
        let constants = outlooks.iter().map(|o| self.config.first_constant(o));
        Ok(State {
            x: x0.clone(),
            y: x0,
            rival,
            range: outlooks.iter().map(|o| o.range).collect(),
            unit: outlooks.iter().map(|o| o.unit).collect(),
            search: Searches::new(constants.collect()),
            confident: Confident::new(rows.region()),
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let (plan, beta) = (self.config.plan(), self.config.regularisation);
        let confidence = self.config.confidence as f32;
        let watch = self.config.confidence == 0.0;
        let answer =
            (self.rivals).gradient(oracle, rows, &state.y, &state.rival, &Margin, watch)?;
        let gradient = flat::or_random(rows, &answer.gradient, &state.search.ended);
        let region = rows.region();
        let margin = answer.loss;
        let success = margin.clone().greater_scalar(0.0);
        let success = success.bool_and(margin.clone().greater_equal_scalar(confidence));
        state.confident.see(region, &state.y, success.clone());

        let short = margin.neg() + confidence;
        let active = short.clone().greater_equal_scalar(0.0).float();
        let search = &state.search;
        // A step of `threshold / β` along `R ∇g = 2 δ − c R ∇m`, in data units.
        let threshold = (search.progress(plan).zip(&state.unit))
            .map(|(way, unit)| self.config.step * LAST_STEP.powf(way) * unit);
        let threshold = column(region, threshold);
        let size = threshold.clone() / beta as f32;
        let twice = column(region, state.range.iter().map(|r| 2.0 / r));
        let weight = (search.constant.iter().zip(&state.range)).map(|(c, r)| c * r);
        let weight = column(region, weight) * active.unsqueeze_dim::<2>(1);
        let change = state.y.zip(&region.x0(), |y, x0| y - x0);
        let moved = change.zip(&gradient, |d, g| {
            d.clone() - size.clone() * (d * twice.clone() - g * weight.clone())
        });
        let next = moved.zip(&region.x0(), |d, x0| {
            x0 + soft_threshold(d, threshold.clone())
        });
        let next = region.clip(&next);
        let momentum = search.step.iter().map(|k| *k as f64 / (*k as f64 + 3.0));
        let momentum = column(region, momentum);
        let ahead = next.zip(&state.x, |next, x| {
            next.clone() + (next - x) * momentum.clone()
        });
        state.y = region.clip(&ahead);
        state.x = next;

        let squares = host(&change.sum_of(Tensor::<2>::square));
        let lengths = host(&change.sum_of(Tensor::abs));
        let (short, success) = (host(&short.clamp_min(0.0)), host(&success.float()));
        let ends: Vec<bool> = (0..rows.len())
            .map(|i| {
                let range = state.range[i];
                let elastic =
                    f64::from(squares[i]) / (range * range) + beta * f64::from(lengths[i]) / range;
                let objective = elastic + state.search.constant[i] * f64::from(short[i]);
                state.search.see(i, success[i] > 0.5, objective, plan)
            })
            .collect();
        if ends.contains(&true) {
            let x0 = region.x0();
            state.x = where_rows(&ends, &x0, &state.x);
            state.y = where_rows(&ends, &x0, &state.y);
        }
        Ok(())
    }

    fn finished(&self, _: &Rows, state: &State) -> Option<Vec<bool>> {
        Some(state.search.finished(self.config.plan()))
    }

    fn last(&self, state: &State) -> Option<Batch> {
        (self.config.confidence > 0.0).then(|| state.confident.x.clone())
    }
}

impl Attack for Ead {
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
        };
        run(access.gradients(META.id)?, &descent, job)
    }
}

/// Registry entry of the elastic net attack.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    /// One feature with gradient 2 over a range of 5 and a gap of 4: the change is 4 / 10 of the range, the constant at
    /// which the objective turns `(50 + 0.8) / 10`, and the first constant twice that.
    #[test]
    fn the_first_constant_suffices_for_a_linear_boundary() {
        let outlook = Outlook {
            range: 5.0,
            unit: 5.0,
            gap: 4.0,
            slope: 2.0,
            steepest: 2.0,
        };
        let config = Config::default();
        assert!((config.first_constant(&outlook) - 10.16).abs() < 1e-12);
        let given = Config {
            initial_constant: Some(3.0),
            ..config
        };
        assert_eq!(given.first_constant(&outlook), 3.0);
    }
}
