//! Decoupled direction and norm.
//!
//! # Idea
//! Separate the direction of the change from its length: follow the gradient for the direction, and let success alone
//! decide the length, which shrinks by a few per cent after a step that succeeds and grows after one that fails.
//!
//! # Maths
//! With radius `r`, direction `v` and `u` the gradient of length 1, without features that the bounds do not let follow
//! it from the clean sample:
//!
//! * `r ← (1 − γ) min(r, |x − x_0|)` if `x` succeeds, `r ← (1 + γ) r` if not, never above the farthest corner of the box;
//! * `v ← v + α_k r u(∇ℓ(x))`, scaled to length `r`;
//! * `x` becomes the point at distance `r` in the box in the direction `v`: features stop at their bounds, and the others
//!   move on in proportion to `v`.
//!
//! `α_k` falls along a cosine from 1 to 0.01.
//!
//! # Reference
//! Rony, Hafemann, Oliveira, Ben Ayed, Sabourin and Granger, "Decoupling Direction and Norm for Efficient
//! Gradient-Based L2 Adversarial Attacks and Defenses", CVPR 2019, algorithm 1; constants of adversarial-library's
//! version.
//!
//! # Divergences
//! The paper ascends on cross-entropy. Its maximum on a sphere lies between the boundaries of all classes, so the
//! nearest point of the nearest boundary is not a fixed point; the default here is the margin. `loss = "ce"` ascends on
//! the log-odds of a wrong class, whose gradient has the direction of cross-entropy's and never saturates. The paper
//! starts at length 1 and steps by 1 to 0.01, in units of inputs in [0, 1]; here steps are shares of the radius, and
//! without `initial_norm` the radius starts at the distance that the first gradient estimates, as in FMN, and is at
//! least that estimate until a point has succeeded. The paper scales the change to the radius, clips it, and goes on
//! from the clipped change: it is too short, and a feature leaves its bound whenever the radius shrinks, which on
//! linear models costs up to 2 %. Here the direction is not clipped, and the clipped point has the length `r` exactly.
//! Quantisation is off by default, and the direction is not quantised. As in the reference code, a row without a
//! gradient steps in a random direction (here a keyed one). `targets` gives each of the likeliest classes a restart of
//! its own. Only one input may change.
//!
//! # Cost
//! Per sample and restart: `steps` forwards and backwards, even if it breaks early, and one forward to judge; with
//! `targets`, one more forward for the clean scores.
//!
//! # When it fails
//! Where gradients are zero or misleading. One restart finds one boundary close by, not always the nearest
//! (`targets`).
//!
//! # Example
//! ```
//! let table: toml::Table = "steps = 300\nlevels = 256".parse().unwrap();
//! let attack = proofmark_attacks::build("ddn", &table).unwrap();
//! assert_eq!(attack.parameters()["levels"], 256);
//! ```

use burn::tensor::{Tensor, TensorData};
use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, BuildError, EngineError, Job, Loss, Meta, Needs, Oracle,
    Outcomes, Rows, Stepper, run,
};
use proofmark_model::GradientModel;
use proofmark_threat::{Batch, Column, Columns, Region, host, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::flat;
use super::rivals::Rivals;
use super::rooms::{Rooms, column};
use crate::config::{at_least_one, between_0_and_1, positive, read, require, written};
use crate::inputs;
use crate::loss::{LogOdds, LossKind};
use crate::schedule::cosine;

/// Parameters of DDN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Steps per restart, at least 1; default 100.
    pub steps: u32,
    /// Share by which the radius changes in each step, in (0, 1); default 0.05.
    pub gamma: f64,
    /// First radius, data units, above 0; default: the distance that the first gradient estimates.
    pub initial_norm: Option<f64>,
    /// Number of values that a feature can have between its bounds, at least 2 (256 for 8-bit images); default: any.
    pub levels: Option<u32>,
    /// Loss whose gradient gives the direction: `margin`, `ce` or `dlr`; default `margin`.
    pub loss: LossKind,
    /// Number of classes that get a restart of their own, the likeliest first; default 0: one restart on `loss`.
    pub targets: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 100,
            gamma: 0.05,
            initial_norm: None,
            levels: None,
            loss: LossKind::Margin,
            targets: 0,
        }
    }
}

/// The last step, as a share of the radius; the first is the whole radius.
const LAST_STEP: f64 = 0.01;

/// Factor by which a change is lengthened before the projection shortens it to the radius.
const LENGTHEN: f64 = 1e4;

const META: Meta = Meta {
    id: "ddn",
    version: 1,
    summary: "decoupled direction and norm: a smallest L2 change",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::L2],
    reference: "Rony et al. 2019, arXiv:1811.09600",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Ddn, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        between_0_and_1(META.id, "gamma", self.gamma)?;
        if let Some(norm) = self.initial_norm {
            positive(META.id, "initial_norm", norm, "data units")?;
        }
        if let Some(levels) = self.levels {
            require(levels >= 2, META.id, "levels", levels, "at least 2")?;
        }
        Ok(Ddn(self))
    }
}

/// DDN with its parameters checked.
#[derive(Debug)]
pub struct Ddn(Config);

/// The attack on a model with a given number of classes.
#[derive(Debug)]
struct Descent<'a> {
    config: &'a Config,
    loss: Box<dyn Loss>,
    rivals: Rivals,
}

/// Position of each row, and what its radius follows from.
#[derive(Debug, Clone)]
struct State {
    x: Batch,
    /// Direction of the change, of the radius's length.
    direction: Batch,
    rival: Vec<u64>,
    /// Radius in units of the row's budget; 0 before the first step.
    radius: Vec<f64>,
    /// Gauge of the farthest corner of the box.
    corner: Vec<f64>,
    /// 1 once a point has succeeded.
    found: Vec<u64>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("direction", &mut self.direction));
        all.push(("rival".into(), Column::Count(&mut self.rival)));
        all.push(("radius".into(), Column::Real(&mut self.radius)));
        all.push(("corner".into(), Column::Real(&mut self.corner)));
        all.push(("found".into(), Column::Count(&mut self.found)));
        all
    }
}

/// What a row knows about its present point, in units of its budget.
#[derive(Debug, Clone, Copy)]
struct Seen {
    margin: f64,
    loss: f64,
    gauge: f64,
    /// Most that the loss can rise per unit of gauge.
    slope: f64,
    /// Whether a point has succeeded before.
    found: bool,
}

impl Config {
    /// Returns the next radius of a row.
    fn radius(&self, radius: f64, seen: Seen) -> f64 {
        if seen.margin > 0.0 {
            return radius.min(seen.gauge) * (1.0 - self.gamma);
        }
        let grown = radius * (1.0 + self.gamma);
        if seen.found || self.initial_norm.is_some() {
            return grown;
        }
        let estimate = if seen.slope > 0.0 {
            let to_boundary = (-seen.loss / seen.slope).max(0.0);
            (seen.gauge + to_boundary) * (1.0 + self.gamma)
        } else {
            0.0
        };
        let radius = grown.max(estimate);
        if radius > 0.0 {
            return radius;
        }
        // No estimate: begin with γ of the budget on the boundary (tied scores), and without a slope with the budget.
        if seen.slope > 0.0 { self.gamma } else { 1.0 }
    }

    /// Returns the step of a row at step `k`, as a share of the radius.
    fn step(&self, k: u64) -> f64 {
        let way = cosine(k as f64, f64::from(self.steps));
        LAST_STEP + (1.0 - LAST_STEP) * way
    }
}

/// Returns the gauge of the corner of the box that is farthest from each clean sample.
fn corners(region: &Region) -> Vec<f64> {
    let Rooms { up, down } = Rooms::of(region);
    let farther = up.zip(&down, Tensor::max_pair);
    let corner = region.x0().zip(&farther, |x0, by| x0 + by);
    let gauges = host(&region.gauge(&corner));
    gauges.into_iter().map(f64::from).collect()
}

/// Returns `change` with each row's Euclidean length, data units, set to `length` `[rows, 1]`; zeros stay zeros.
fn of_length(change: &Batch, length: &Tensor<2>) -> Batch {
    let squares = change.sum_of(Tensor::<2>::square);
    let by = length.clone() / squares.sqrt().clamp_min(f32::MIN_POSITIVE);
    change.map(|b| b * by.clone())
}

/// Returns the points inside the box in these directions from the clean samples, at the given gauges.
fn at_radius(region: &Region, direction: &Batch, radius: &[f64]) -> Batch {
    // A point far along the direction is projected on ball ∩ box: features that meet their bounds stay there, and the
    // others keep their proportions.
    let eps = region.leading_eps();
    let far = column(
        region,
        eps.iter().zip(radius).map(|(e, r)| e * r * LENGTHEN),
    );
    let far = region
        .x0()
        .zip(&of_length(direction, &far), |x0, by| x0 + by);
    let radius: Vec<f32> = radius.iter().map(|r| *r as f32).collect();
    region.project_within(&far, &region.column(&radius))
}

/// Rounds every feature that may change to one of `levels` equally spaced values between its bounds.
fn quantise(region: &Region, x: &Batch, levels: u32) -> Batch {
    let device = x.device();
    let modalities = x.modalities().clone();
    let mut each = modalities.iter();
    let rounded = x.map(|b| {
        let m = each.next().expect("one block per modality");
        let row = |f: &dyn Fn(usize) -> f32| {
            let values: Vec<f32> = (0..m.features()).map(f).collect();
            Tensor::<2>::from_data(TensorData::new(values, [1, m.features()]), &device)
        };
        let low = row(&|f| m.bounds.low(f));
        let width = row(&|f| (m.bounds.high(f) - m.bounds.low(f)) / (levels - 1) as f32);
        ((b - low.clone()) / width.clone()).round() * width + low
    });
    // Returns frozen features to their clean values.
    region.clip(&rounded)
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
        let region = rows.region();
        let first = |eps: f64| match self.config.initial_norm {
            Some(norm) if eps > 0.0 => norm / eps,
            _ => 0.0,
        };
        Ok(State {
            x: region.x0(),
            direction: region.x0().map(|b| b.zeros_like()),
            rival,
            radius: region.leading_eps().into_iter().map(first).collect(),
            corner: corners(region),
            found: vec![0; rows.len()],
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let loss = self.loss.as_ref();
        let answer = (self.rivals).gradient(oracle, rows, &state.x, &state.rival, loss, true)?;
        let margin = (self.rivals).margin(rows, &answer.scores, &state.x, &state.rival);
        let gradient = flat::or_random(rows, &answer.gradient, rows.steps());
        let region = rows.region();
        let ahead = region.ahead(&state.x, &answer.gradient);
        let (gauge, slope) = (region.gauge(&state.x), region.dual(&ahead));
        let [margin, loss, gauge, slope] = [margin, answer.loss, gauge, slope].map(|t| host(&t));
        for i in 0..rows.len() {
            let seen = Seen {
                margin: f64::from(margin[i]),
                loss: f64::from(loss[i]),
                gauge: f64::from(gauge[i]),
                slope: f64::from(slope[i]),
                found: state.found[i] == 1,
            };
            let radius = self.config.radius(state.radius[i], seen);
            state.radius[i] = radius.min(state.corner[i]);
            state.found[i] |= u64::from(seen.margin > 0.0);
        }
        let eps = region.leading_eps();
        let lengths: Vec<f64> = eps.iter().zip(&state.radius).map(|(e, r)| e * r).collect();
        let steps = (rows.steps().iter().zip(&lengths)).map(|(k, l)| self.config.step(*k) * l);
        let useful = region.ahead(&region.x0(), &gradient);
        let step = of_length(&useful, &column(region, steps));
        let direction = state.direction.zip(&step, |v, step| v + step);
        state.direction = of_length(&direction, &column(region, lengths.iter().copied()));
        state.x = at_radius(region, &state.direction, &state.radius);
        if let Some(levels) = self.config.levels {
            state.x = quantise(region, &state.x, levels);
        }
        Ok(())
    }

    fn last(&self, state: &State) -> Option<Batch> {
        Some(state.x.clone())
    }
}

impl Attack for Ddn {
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
            loss: match self.0.loss {
                LossKind::Ce => Box::new(LogOdds),
                other => other.loss(),
            },
            rivals: Rivals::new(self.0.targets, classes, job.goal.targeted()),
        };
        run(access.gradients(META.id)?, &descent, job)
    }
}

/// Registry entry of DDN.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Seen = Seen {
        margin: -0.6,
        loss: -0.6,
        gauge: 0.0,
        slope: 3.0,
        found: false,
    };

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }

    #[test]
    fn the_radius_shrinks_on_success_and_grows_on_failure() {
        let config = Config::default();
        let at = |margin: f64, gauge: f64, found: bool| Seen {
            margin,
            loss: margin,
            gauge,
            found,
            ..SEEN
        };
        // A point shorter than its radius (quantised, or in a corner) shrinks from its own length.
        close(config.radius(2.0, at(0.1, 2.0, false)), 1.9);
        close(config.radius(2.0, at(0.1, 1.0, true)), 0.95);
        close(config.radius(2.0, at(-0.1, 2.0, true)), 2.1);
        // Until a point succeeds, at least the estimated distance: 0.6 / 3, seen from here.
        close(config.radius(0.0, SEEN), 0.2 * 1.05);
        close(config.radius(0.1, at(-0.6, 0.1, false)), 0.3 * 1.05);
        close(config.radius(1.0, at(-0.6, 0.1, false)), 1.05);
        // Without an estimate: γ of the budget on the boundary, the budget without a slope.
        close(config.radius(0.0, at(0.0, 0.0, false)), 0.05);
        close(config.radius(0.0, Seen { slope: 0.0, ..SEEN }), 1.0);
        // With an initial norm there are no estimates.
        let given = Config {
            initial_norm: Some(1.0),
            ..config
        };
        close(given.radius(0.1, SEEN), 0.105);
    }

    #[test]
    fn steps_fall_along_a_cosine() {
        let config = Config::default();
        close(config.step(0), 1.0);
        close(config.step(50), 0.505);
        close(config.step(100), 0.01);
    }
}
