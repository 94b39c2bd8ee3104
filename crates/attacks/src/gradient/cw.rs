//! Carlini and Wagner's L2 attack.
//!
//! # Idea
//! Minimise the squared size of the change plus a constant times how far the point is from success. A change of
//! variable keeps the point inside the bounds, Adam minimises, and a search over the constant balances both terms.
//!
//! # Maths
//! With `m(x)` the margin (`max_{i≠y} z_i − z_y`, for a target `z_t − max_{i≠t} z_i`) and confidence `κ`,
//!
//! `minimise |x(w) − x_0|² + c max(κ − m(x(w)), 0)` over `w`.
//!
//! `x(w) = x_0 + a tanh(s w / a)`, feature by feature, where `a` is 1.25 times the room from `x_0` to the bound on
//! `w`'s side and `s` half the range; `w` ends where `x(w)` meets the bound. A search begins at `w = 0` and takes at
//! most `steps` steps of Adam, whose step size falls along a cosine from `learning_rate` to 0.3 % of it. The constant
//! is multiplied by 10 until a search succeeds, then bisected between the largest that failed and the smallest that
//! succeeded.
//!
//! # Reference
//! Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017, section VI; constants of
//! the authors' `l2_attack.py`.
//!
//! # Divergences
//! The authors' `x(w)` is a tanh around the middle of the bounds, so a feature at its bound starts at `atanh(±1)`; they
//! shrink the range to avoid infinity, others do not. Here the tanh is centred on the clean sample: every feature
//! starts with slope 1, also at a bound, and can end at a bound, with a slope of 0.36. Their step size is constant
//! (0.01), which on linear models leaves almost 2 % of distance; here it falls. Adam's 1e-8 is relative, as in the
//! update `adam`. Their first constant is 0.001; here it
//! is by default twice the one that suffices if the boundary is as the first gradient estimates. Searches take 1000
//! steps, not 10000. Every row searches, stops early and goes on to its next constant by itself; the authors' code (and
//! others) stop early only when the whole batch does. The margin ignores the label's own score instead of setting it to
//! 0 or −10000, so negative scores are no special case. Steps are shorter for rows whose boundary is nearer than a
//! tenth of the range. A row without a gradient gets a random one per search. `targets` gives each of the likeliest
//! classes a restart of its own. Only one input may change.
//!
//! # Cost
//! Per sample and restart: at most `searches × steps + 1` forwards and backwards, about a third of that with
//! `abort_early`, and one forward to judge; with `targets`, one more forward for the clean scores.
//!
//! # When it fails
//! Where gradients are zero or misleading. With `steps × learning_rate` below about 6, a search is too short to take a
//! feature from one bound to the other, and changes almost as large as the box are missed. It costs over ten times as
//! much as DDN or FMN for about the same distance. With a confidence above 0 the result is farther away on purpose.
//!
//! # Example
//! ```
//! let table: toml::Table = "steps = 200\nconfidence = 1.0".parse().unwrap();
//! let attack = proofmark_attacks::build("cw", &table).unwrap();
//! assert_eq!(attack.parameters()["searches"], 9);
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

use super::constant_search::{Confident, Plan, Searches};
use super::rivals::Rivals;
use super::rooms::{Outlook, Rooms, column, outlooks};
use super::{flat, where_rows};
use crate::config::{at_least_one, not_negative, positive, read, written};
use crate::inputs;
use crate::loss::Margin;
use crate::schedule::cosine;
use crate::update::Adam;

/// Parameters of Carlini and Wagner's attack.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Constants tried per restart, at least 1; default 9.
    pub searches: u32,
    /// Maximum number of steps per constant, at least 1; default 1000.
    pub steps: u32,
    /// First step of Adam, as a share of half the range, above 0; default 0.01. It falls to 0.3 % of that.
    pub learning_rate: f64,
    /// First constant, squared data units per unit of score, above 0; default: from the first gradient.
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
            steps: 1000,
            learning_rate: 0.01,
            initial_constant: None,
            confidence: 0.0,
            abort_early: true,
            targets: 0,
        }
    }
}

/// Step size at the end of a search, as a share of the first.
const LAST_STEP: f64 = 0.003;

const ADAM: Adam = Adam {
    beta1: 0.9,
    beta2: 0.999,
};

/// Reach of the tanh, as a multiple of the room: a feature at its bound still has a slope.
const REACH: f32 = 1.25;

const META: Meta = Meta {
    id: "cw",
    version: 2,
    summary: "Carlini and Wagner: a smallest L2 change, by Adam and a search for a constant",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::L2],
    reference: "Carlini and Wagner 2017, arXiv:1608.04644",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Cw, BuildError> {
        at_least_one(META.id, "searches", self.searches)?;
        at_least_one(META.id, "steps", self.steps)?;
        positive(META.id, "learning_rate", self.learning_rate, "")?;
        if let Some(c) = self.initial_constant {
            positive(META.id, "initial_constant", c, "")?;
        }
        not_negative(META.id, "confidence", self.confidence)?;
        Ok(Cw(self))
    }

    const fn plan(&self) -> Plan {
        Plan {
            searches: self.searches,
            steps: self.steps,
            abort_early: self.abort_early,
        }
    }

    /// Returns the step size after this share of a search.
    fn rate(&self, way: f64) -> f64 {
        let share = cosine(way, 1.0);
        self.learning_rate * (LAST_STEP + (1.0 - LAST_STEP) * share)
    }

    /// Returns a row's first constant, squared data units per unit of score.
    fn first_constant(&self, outlook: &Outlook) -> f64 {
        // For a linear boundary at distance `d = gap / slope`, `2 d / slope` suffices.
        let gap = outlook.gap + self.confidence;
        let distance = (gap / outlook.slope).max(1e-3 * outlook.unit);
        (self.initial_constant).unwrap_or(4.0 * distance / outlook.slope)
    }
}

/// Carlini and Wagner's attack with its parameters checked.
#[derive(Debug)]
pub struct Cw(Config);

/// The attack on a model with a given number of classes.
#[derive(Debug)]
struct Descent<'a> {
    config: &'a Config,
    rivals: Rivals,
}

/// The change of variable of each row, Adam's memory and the search for the constant.
#[derive(Debug, Clone)]
struct State {
    w: Batch,
    mean: Batch,
    root: Batch,
    rival: Vec<u64>,
    /// Half the range, or less for a boundary that is very near; data units.
    half: Vec<f64>,
    search: Searches,
    confident: Confident,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("w", &mut self.w);
        all.extend(prefixed("mean", &mut self.mean));
        all.extend(prefixed("root", &mut self.root));
        all.push(("rival".into(), Column::Count(&mut self.rival)));
        all.push(("half".into(), Column::Real(&mut self.half)));
        all.extend(prefixed("search", &mut self.search));
        all.extend(prefixed("confident", &mut self.confident));
        all
    }
}

/// The points of a change of variable, and the slope of each feature in `w`, as a share of `s`.
struct Points {
    x: Batch,
    slope: Batch,
}

impl Points {
    /// Returns `x_0 + a tanh(s w / a)`, inside the bounds.
    fn of(region: &Region, rooms: &Rooms, w: &Batch, half: &Tensor<2>) -> Self {
        let Rooms { up, down } = rooms;
        let rises = |w: &Tensor<2>| w.clone().greater_equal_scalar(0.0);
        let up = w.zip(up, |w, up| up * rises(&w).float());
        let down = w.zip(down, |w, down| down * rises(&w).bool_not().float());
        let room = up.zip(&down, |up, down| up + down);
        let tanh = w.zip(&room, |w, room| {
            (w * half.clone() / (room * REACH).clamp_min(f32::MIN_POSITIVE)).tanh()
        });
        let by = room.zip(&tanh, |room, tanh| room * tanh * REACH);
        // A feature at its bound has slope 1 as well, for a step back inside.
        let slope = tanh.map(|tanh| tanh.square().neg() + 1.0);
        // Rounding may end just outside the bounds.
        Self {
            x: region.clip(&region.x0().zip(&by, |x0, by| x0 + by)),
            slope,
        }
    }
}

/// Ends every feature of `w` where its value meets the bound; a feature without room on one side can only move to the
/// other.
fn within_bounds(rooms: &Rooms, w: &Batch, half: &Tensor<2>) -> Batch {
    let Rooms { up, down } = rooms;
    let end = REACH * (1.0 / REACH).atanh();
    let most = |room: Tensor<2>| room * end / half.clone().clamp_min(f32::MIN_POSITIVE);
    w.zip(up, |w, up| w.min_pair(most(up)))
        .zip(down, |w, down| w.max_pair(most(down).neg()))
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
        let zeros = x0.map(|b| b.zeros_like());
        Ok(State {
            w: zeros.clone(),
            mean: zeros.clone(),
            root: zeros,
            rival,
            half: outlooks.iter().map(|o| 0.5 * o.unit).collect(),
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
        let plan = self.config.plan();
        let confidence = self.config.confidence as f32;
        let half = column(rows.region(), state.half.iter().copied());
        let rooms = Rooms::of(rows.region());
        let Points { x, slope } = Points::of(rows.region(), &rooms, &state.w, &half);
        let watch = self.config.confidence == 0.0;
        let answer = (self.rivals).gradient(oracle, rows, &x, &state.rival, &Margin, watch)?;
        let gradient = flat::or_random(rows, &answer.gradient, &state.search.ended);
        let region = rows.region();
        let margin = answer.loss;
        let success = margin.clone().greater_scalar(0.0);
        let success = success.bool_and(margin.clone().greater_equal_scalar(confidence));
        state.confident.see(region, &x, success.clone());

        // The objective's gradient in `w`, divided by the square of the unit: steps do not depend on the data's unit.
        let short = margin.clone().neg() + confidence;
        let active = short.clone().greater_equal_scalar(0.0).float();
        let weight =
            column(region, state.search.constant.iter().copied()) * active.unsqueeze_dim::<2>(1);
        let change = x.zip(&region.x0(), |x, x0| x - x0);
        let gradient = change
            .zip(&gradient, |d, g| {
                (d * 2.0 - g * weight.clone()) / half.clone().clamp_min(f32::MIN_POSITIVE)
            })
            .zip(&slope, |g, slope| g * slope);
        let w = self.adam(region, state, &gradient);
        state.w = within_bounds(&rooms, &w, &half);

        let squares = host(&change.sum_of(Tensor::<2>::square));
        let (short, success) = (host(&short.clamp_min(0.0)), host(&success.float()));
        let ends: Vec<bool> = (0..rows.len())
            .map(|i| {
                let loss = state.search.constant[i] * f64::from(short[i]);
                let objective = f64::from(squares[i]) + loss;
                state.search.see(i, success[i] > 0.5, objective, plan)
            })
            .collect();
        if ends.contains(&true) {
            let zeros = state.w.map(|b| b.zeros_like());
            for column in [&mut state.w, &mut state.mean, &mut state.root] {
                *column = where_rows(&ends, &zeros, column);
            }
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

impl Descent<'_> {
    /// Returns `w` after a step of Adam against `gradient`, each row at its own step of its own search.
    fn adam(&self, region: &Region, state: &mut State, gradient: &Batch) -> Batch {
        let memory = [&mut state.mean, &mut state.root];
        let [mean, root] = ADAM.moments(gradient, memory, &state.search.step, || true);
        let plan = self.config.plan();
        let rate = |way: f64| self.config.rate(way);
        let rate = column(region, state.search.progress(plan).map(rate));
        let step = mean.zip(&root, |m, root| m * rate.clone() / root);
        state.w.zip(&step, |w, step| w - step)
    }
}

impl Attack for Cw {
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

/// Registry entry of Carlini and Wagner's attack.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proofmark_domain::{Bounds, Epsilon, Kind, Modality};
    use proofmark_threat::Threat;

    use super::*;

    /// Features at both bounds and between: `w = 0` is the clean sample with slope 1, and no `w` leaves the bounds.
    #[test]
    fn the_change_of_variable_starts_at_the_clean_sample_with_slope_one() {
        let modality = Modality {
            name: "x".into(),
            kind: Kind::Table,
            shape: vec![3],
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        };
        let modalities = [modality];
        let threat = Threat::uniform(&modalities, Norm::L2, &Epsilon::new(1.0).unwrap());
        let x0 = vec![vec![0.0, 0.25, 1.0]];
        let device = Device::flex();
        let region = Region::new(&threat, &modalities.clone().into(), &x0, &[0], &device);
        let (rooms, half) = (Rooms::of(&region), column(&region, [0.5]));
        let at = |w: [f32; 3]| {
            let w = Batch::from_host(modalities.clone().into(), vec![w.to_vec()], &device).unwrap();
            let w = within_bounds(&rooms, &w, &half);
            let points = Points::of(&region, &rooms, &w, &half);
            [
                points.x.to_host()[0].clone(),
                points.slope.to_host()[0].clone(),
            ]
        };
        assert_eq!(at([0.0; 3]), [x0[0].clone(), vec![1.0; 3]]);
        // Features at their bounds cannot leave them, and keep their slope for the way back.
        let [x, slope] = at([-9.0, 0.0, 9.0]);
        assert_eq!((x, slope), (x0[0].clone(), vec![1.0; 3]));
        let [x, _] = at([0.1, 0.1, -0.1]);
        let up = 1.25 * (0.05_f32 / 1.25).tanh();
        let middle = 0.25 + 0.9375 * (0.05_f32 / 0.9375).tanh();
        let expected = [up, middle, 1.0 - up];
        assert!(
            x.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{x:?}"
        );
        let [x, slope] = at([99.0, -99.0, -99.0]);
        let expected = [1.0, 0.0, 0.0];
        assert!(
            x.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3),
            "{x:?}"
        );
        assert!((slope[0] - 0.36).abs() < 1e-3, "{slope:?}");
    }

    /// Gradient of length 2 and a gap of 4: distance 2, and twice `2 · 2 / 2`.
    #[test]
    fn the_first_constant_suffices_for_a_linear_boundary() {
        let outlook = Outlook {
            range: 5.0,
            unit: 5.0,
            gap: 4.0,
            slope: 2.0,
            steepest: 1.0,
        };
        let config = Config::default();
        assert!((config.first_constant(&outlook) - 4.0).abs() < 1e-12);
        let tied = Outlook {
            gap: 0.0,
            ..outlook
        };
        assert!(config.first_constant(&tied) > 0.0);
    }
}
