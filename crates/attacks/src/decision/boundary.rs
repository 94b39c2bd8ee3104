//! Boundary attack.
//!
//! # Idea
//! Walk along the decision boundary: take a random step on the sphere around the clean sample, then a small step towards
//! it, and keep the new point if it still succeeds. The lengths of both steps adapt, so that some of them succeed.
//!
//! # Maths
//! With `u` the unit vector from `x_0` to the row's point at distance `d`, and `η` a random unit vector orthogonal to it:
//!
//! * **Spherical step**: `y = x_0 + d (u + s η) / |u + s η|`.
//! * **Source step**: `z = x_0 + (1 − ε) (y − x_0)`. Of all `z` of a step that succeed, the nearest is kept.
//! * **Adaptation**: with `p` the share of nine `z` that succeeded, `ε ← ε a^{p − 0.15}`; and with `q = 1` if a `y`
//!   succeeded and 0 if not, `s ← s a^{q − 0.35}`. On a flat boundary half of the `y` succeed for small `s`, fewer for
//!   large ones.
//!
//! # Reference
//! Brendel, Rauber and Bethge, "Decision-based adversarial attacks: reliable attacks against black-box machine learning
//! models", ICLR 2018, algorithm 1; constants of foolbox's version.
//!
//! # Divergences
//! *Trials*: each step queries `trials` points `z` of a row together, and after nine of them one `y` (foolbox: one `z`
//! per step, and a `y` in every tenth). *Adaptation*: both lengths change a little in every step, by the share that succeeded (foolbox: by the
//! factor `a` when of the last 100 `y` more than a half or less than a fifth succeeded, and of the last 30 `z` more than
//! a quarter or less than a tenth; it then takes thousands of queries to change them twice). *Bounds*: a point is
//! stretched after it is cut to the bounds, so that it keeps its distance (foolbox cuts, and counts the lost length as a
//! part of the source step). *Start*: first a known point ([`Job::starts`](proofmark_engine::Job::starts)), then noise,
//! as `HopSkipJump`, then a bisection back to the boundary. Only one input may change.
//!
//! # Cost
//! Per sample: at most `queries` forwards, and one to judge. A row ends early when its source step falls below
//! `convergence`. A sample for which no start is found costs `tries`, ends without a point and counts as not broken.
//!
//! # When it fails
//! When no start is found; with many features, where random steps rarely gain much: `HopSkipJump` and `SurFree` come
//! nearer with the same queries. It needs no assumption about the boundary, so it is the control for both.
//!
//! # Example
//! ```
//! let table: toml::Table = "trials = 4".parse().unwrap();
//! let attack = proofmark_attacks::build("boundary", &table).unwrap();
//! assert_eq!(attack.parameters()["trials"], 4);
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, BuildError, EngineError, Job, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, run,
};
use proofmark_model::DecisionModel;
use proofmark_stats::random::Purpose;
use proofmark_threat::{Batch, Column, Columns, Step, mask, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::approach::{Approach, Limits, Stage};
use super::features::{self, VALUES, dot, normals};
use super::round::{Round, continued};
use super::start::nearest;
use crate::config::{at_least_one, between_0_and_1, positive, read, require, written};
use crate::inputs;

/// Parameters of the boundary attack.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Sample-forwards per sample, at least 1; default 25000.
    pub queries: u32,
    /// Points tried per step, at least 1; default 4. Samples with many features try fewer at once.
    pub trials: u32,
    /// First spherical step, as a share of the distance, above 0; default 0.1.
    pub spherical_step: f64,
    /// First source step, as a share of the distance, in (0, 1); default 0.01.
    pub source_step: f64,
    /// Factor `a` of the adaptation, above 1; default 2.
    pub adaptation: f64,
    /// Source step below which a row ends, at least 0; default 1e-7.
    pub convergence: f64,
    /// Points tried to find a start, at least 1; default 100.
    pub tries: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queries: 25_000,
            trials: 4,
            spherical_step: 0.1,
            source_step: 0.01,
            adaptation: 2.0,
            convergence: 1e-7,
            tries: 100,
        }
    }
}

/// Share of the spherical steps, and of the trials, that should succeed.
const SPHERICAL: f64 = 0.35;
const TRIALS: f64 = 0.15;

/// Trials for which a spherical step is checked once, and whose answers count as one share.
const WINDOW: u64 = 9;

/// Largest spherical and source step.
const LONGEST: [f64; 2] = [1.0, 0.5];

/// Accuracy of the first bisection, as a share of the distance.
const TOLERANCE: f64 = 1e-3;

const META: Meta = Meta {
    id: "boundary",
    version: 1,
    summary: "random walk along the boundary by decisions alone",
    role: Role::Attack,
    needs: Needs::Decisions,
    norms: &[Norm::L2],
    reference: "Brendel, Rauber and Bethge 2018, arXiv:1712.04248",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Boundary, BuildError> {
        at_least_one(META.id, "queries", self.queries)?;
        at_least_one(META.id, "trials", self.trials)?;
        at_least_one(META.id, "tries", self.tries)?;
        let unit = "shares of the distance";
        positive(META.id, "spherical_step", self.spherical_step, unit)?;
        between_0_and_1(META.id, "source_step", self.source_step)?;
        let grows = self.adaptation.is_finite() && self.adaptation > 1.0;
        let expected = "a finite number above 1";
        require(grows, META.id, "adaptation", self.adaptation, expected)?;
        let share = self.convergence >= 0.0 && self.convergence < 1.0;
        let expected = "a number from 0, below 1";
        require(share, META.id, "convergence", self.convergence, expected)?;
        Ok(Boundary(self))
    }
}

/// The boundary attack with its parameters checked.
#[derive(Debug)]
pub struct Boundary(Config);

/// The attack for inputs with a given number of features.
#[derive(Debug)]
struct Walk<'a> {
    config: &'a Config,
    limits: Limits,
    /// Which features may change, over all inputs one after the other.
    free: Vec<bool>,
}

/// Point of each row, and its steps.
#[derive(Debug, Clone)]
struct State {
    /// A point that succeeds; the clean sample until one has.
    x: Batch,
    host: Places,
}

/// Part of the state that is kept on the host.
#[derive(Debug, Clone)]
struct Places {
    approach: Approach,
    /// Lengths of the row's steps, as shares of its distance.
    spherical: Vec<f64>,
    source: Vec<f64>,
    /// Trials since the last spherical step that was checked.
    unchecked: Vec<u64>,
}

impl Columns for Places {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("approach", &mut self.approach);
        all.extend([
            ("spherical".into(), Column::Real(&mut self.spherical)),
            ("source".into(), Column::Real(&mut self.source)),
            ("unchecked".into(), Column::Count(&mut self.unchecked)),
        ]);
        all
    }
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("host", &mut self.host));
        all
    }
}

impl Walk<'_> {
    fn places(&self, n: usize) -> Places {
        Places {
            approach: Approach::new(n),
            spherical: vec![self.config.spherical_step.min(LONGEST[0]); n],
            source: vec![self.config.source_step.min(LONGEST[1]); n],
            unchecked: vec![0; n],
        }
    }

    /// Returns the number of trials of a row in one step.
    fn trials(&self) -> usize {
        let fits = (VALUES / self.free.len().max(1)).max(1);
        (self.config.trials as usize).min(fits)
    }

    /// Returns how many points row `i` queries in this step, at most `left`: the trials, then a spherical step if one
    /// is to be checked.
    fn points(&self, host: &Places, i: usize, left: u64) -> usize {
        let trials = self.trials();
        let checks = host.unchecked[i] + trials as u64 >= WINDOW;
        let wanted = host.approach.points(i, &self.limits, 0);
        let wanted = wanted.unwrap_or(trials + usize::from(checks));
        wanted.min(left as usize)
    }

    /// Updates row `i` with the points that succeeded and their `gauges`. Returns the point from which the row
    /// continues, if any.
    fn take(
        &self,
        host: &mut Places,
        i: usize,
        succeeded: &[bool],
        gauges: &[f32],
    ) -> Option<usize> {
        if host.approach.stage(i) != Stage::There {
            return host.approach.take(i, succeeded, gauges, &self.limits);
        }
        let n = succeeded.len().min(self.trials());
        let (trials, checked) = succeeded.split_at(n);
        let count = trials.iter().filter(|s| **s).count() as f64;
        let change = |by: f64| self.config.adaptation.powf(by);
        // Fewer trials than a window change the step by less.
        let by = (count - TRIALS * n as f64) / (n as f64).max(WINDOW as f64);
        host.source[i] = (host.source[i] * change(by)).min(LONGEST[1]);
        host.unchecked[i] += n as u64;
        if let Some(ok) = checked.first() {
            let by = f64::from(u8::from(*ok)) - SPHERICAL;
            host.spherical[i] = (host.spherical[i] * change(by)).min(LONGEST[0]);
            host.unchecked[i] = 0;
        }
        let nearest = nearest(trials, gauges);
        if let Some(b) = nearest {
            let gauge = f64::from(gauges[b]).min(host.approach.gauge(i));
            host.approach.step(i, gauge);
        }
        nearest
    }

    /// Returns the points of the rows at the boundary: of each, its trials, then a spherical step without a source step.
    fn steps(&self, rows: &Rows, state: &State, round: &Round) -> Batch {
        let (host, owner) = (&state.host, &round.owner);
        let region = rows.region().at(owner);
        let (x0, x) = (region.x0(), round.spread(&state.x));
        let streams = rows.streams(Purpose::Direction, 0);
        let trials = self.trials();
        let (mut keys, mut lengths) = (Vec::new(), Vec::new());
        for (i, span) in round.spans() {
            for b in 0..span.len() {
                let mut key = streams[i];
                key.draw = b as u32;
                keys.push(key);
                let source = if b < trials { host.source[i] } else { 0.0 };
                lengths.push((host.approach.gauge(i) * (1.0 - source)) as f32);
            }
        }
        let spherical: Vec<f32> = owner.iter().map(|i| host.spherical[*i] as f32).collect();
        let spherical = region.column(&spherical).unsqueeze_dim::<2>(1);

        let unit = |of: &Batch| {
            let length = dot(of, of).sqrt().clamp_min(f32::MIN_POSITIVE);
            of.map(|b| b / length.clone())
        };
        let way = unit(&x.zip(&x0, |x, x0| x - x0));
        let drawn = region.free(&normals(&keys, &self.free, &x0));
        let share = dot(&drawn, &way);
        let across = unit(&drawn.zip(&way, |d, w| d - w * share.clone()));
        let direction = way.zip(&across, |w, a| w + a * spherical.clone());
        let length = region.column(&lengths);
        region.advance(&x0, &direction, &Step::new(length.clone()).within(length))
    }
}

impl<M: DecisionModel + ?Sized> Stepper<M> for Walk<'_> {
    type State = State;

    fn id(&self) -> &'static str {
        META.id
    }

    /// Every step queries at least one point.
    fn steps(&self) -> u32 {
        self.config.queries
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn start(&self, _: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        Ok(State {
            x: rows.region().x0(),
            host: self.places(rows.len()),
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let n = rows.len();
        let left = |i: usize| u64::from(self.config.queries).saturating_sub(rows.spent(i).forward);
        let counts = (0..n).map(|i| self.points(&state.host, i, left(i)));
        let round = Round::new(counts.collect());
        if round.owner.is_empty() {
            return Ok(());
        }
        let approach = &state.host.approach;
        let mut points = round.spread(&approach.back(rows, &state.x, &state.x));
        let there = approach.is(Stage::There);
        if there.contains(&true) {
            let walks: Vec<bool> = round.owner.iter().map(|i| there[*i]).collect();
            let walked = self.steps(rows, state, &round);
            points = points.replace_rows(&mask(&walks, &points.device()), &walked);
        }
        let points = approach.starts(rows, &points, &round, &[]);
        let answers = round.ask(oracle, rows, &points)?;
        let take = |i: usize, succeeded: &[bool], gauges: &[f32]| {
            self.take(&mut state.host, i, succeeded, gauges)
        };
        state.x = continued(&state.x, &round, &points, &answers, take);
        Ok(())
    }

    fn finished(&self, rows: &Rows, state: &State) -> Option<Vec<bool>> {
        let over = |i: usize| {
            let lost = state.host.approach.stage(i) == Stage::Lost;
            let converged = state.host.source[i] < self.config.convergence;
            lost || converged || rows.spent(i).forward >= u64::from(self.config.queries)
        };
        Some((0..rows.len()).map(over).collect())
    }
}

impl Attack for Boundary {
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
        let walk = Walk {
            config: &self.0,
            limits: Limits {
                tries: self.0.tries,
                tolerance: TOLERANCE,
            },
            free: features::free(job),
        };
        run(access.decisions(), &walk, job)
    }
}

/// Registry entry of the boundary attack.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_adapt_to_the_share_that_succeeds() {
        let config = Config {
            trials: 9,
            source_step: 0.1,
            spherical_step: 0.2,
            adaptation: 1.5,
            ..Config::default()
        };
        let walk = Walk {
            config: &config,
            limits: Limits {
                tries: 1,
                tolerance: 0.9,
            },
            free: vec![true; 4],
        };
        let mut host = walk.places(1);
        host.approach.retreat(0, 8.0, 1.0);
        walk.take(&mut host, 0, &[false], &[0.0]);
        assert_eq!(walk.points(&host, 0, 100), 10);
        assert_eq!(walk.points(&host, 0, 4), 4);
        // Of nine trials the second and the fifth succeed, and so does the spherical step.
        let ok = [1, 4, 9];
        let succeeded: Vec<bool> = (0..10).map(|b| ok.contains(&b)).collect();
        let gauges: Vec<f32> = (0..10_u8).map(|b| 7.9 - 0.01 * f32::from(b)).collect();
        assert_eq!(walk.take(&mut host, 0, &succeeded, &gauges), Some(4));
        assert!((host.approach.gauge(0) - 7.86).abs() < 1e-6);
        let source = 0.1 * 1.5_f64.powf(2.0 / 9.0 - 0.15);
        let spherical = 0.2 * 1.5_f64.powf(0.65);
        assert!((host.source[0] - source).abs() < 1e-12);
        assert!((host.spherical[0] - spherical).abs() < 1e-12);
        // Nothing succeeds: both steps shrink, and the row stays.
        assert_eq!(walk.take(&mut host, 0, &[false; 10], &gauges), None);
        assert!(host.source[0] < source && host.spherical[0] < spherical);
        assert!((host.approach.gauge(0) - 7.86).abs() < 1e-6);
    }
}
