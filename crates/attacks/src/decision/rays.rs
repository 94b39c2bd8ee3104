//! `RayS`.
//!
//! # Idea
//! In Linf the best direction is a vector of signs, so search only those: flip the signs of a block of features, keep
//! the flip if the point still succeeds at the same radius, then go back to the boundary. Blocks are large at first and
//! halved after every sweep.
//!
//! # Maths
//! With `d` features that may change and a radius `r` (in units of the budget) at which the direction `s ∈ {−1, 1}^d`
//! succeeds:
//!
//! * **Sweep** `k` goes through blocks of `⌈d / 2^k⌉` neighbouring features, at the end of single ones.
//! * **Fast check**: flip `s` in the block and query the point of the same `r`. If it does not succeed, undo the flip:
//!   the new direction is not expected to succeed at a smaller radius.
//! * **Boundary**: if it does, search the smallest `r` that succeeds, to `tolerance · r`.
//!
//! The point of `s` and `r` is `x_0 + r ε s`, cut to the bounds.
//!
//! # Reference
//! Chen and Gu, "`RayS`: a ray searching method for hard-label adversarial attack", KDD 2020, algorithms 1 to 3, and the
//! authors' code.
//!
//! # Divergences
//! The state is the point itself: `s` is where it lies, so any point that succeeds can be a start
//! ([`Job::starts`](proofmark_engine::Job::starts)), and targeted runs begin at one of the target class. A feature of
//! such a start that is nearer than `r` is first moved out to `r`, on its own side in sweeps 0, 2, … and on the other
//! side in sweeps 1, 3, …. Without a known start: all features up, all down (the authors begin with all up and flip
//! blocks at full range until one succeeds), then noise, `tries` points in all. Blocks are laid over the features that
//! may change, so frozen ones cost nothing. The tolerance is relative (the authors: 1e-3 in L2 length, which depends on
//! the data's unit), and the search for the boundary begins with a step back of one tolerance and doubles it, because
//! most flips gain little (the authors bisect the whole ray each time). A flip after which the radius stays the same is
//! kept, so that gains below the tolerance add up (the authors keep only flips that lower it). A row ends early if two sweeps of single features gained nothing. There is
//! no early stop at the budget: the smallest radius is the result. Several inputs must have independent budgets.
//!
//! # Cost
//! Per sample: at most `queries` forwards, and one to judge. A sample for which no start is found costs `tries`, ends
//! without a point and counts as not broken.
//!
//! # When it fails
//! When no start is found, when no single flip helps but flips of several blocks together would, and on models whose
//! decision is random around the boundary.
//!
//! # Example
//! ```
//! let table: toml::Table = "queries = 2000".parse().unwrap();
//! let attack = proofmark_attacks::build("rays", &table).unwrap();
//! assert_eq!(attack.parameters()["tolerance"], 1e-3);
//! ```

use burn::tensor::{Tensor, TensorData};
use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, BuildError, EngineError, Job, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, run,
};
use proofmark_model::DecisionModel;
use proofmark_threat::{Batch, Column, Columns, mask, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::approach::{Approach, Limits, Stage};
use super::features;
use super::round::{Round, continued};
use crate::config::{at_least_one, between_0_and_1, read, written};
use crate::inputs;

/// Parameters of `RayS`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Sample-forwards per sample, at least 1; default 10000.
    pub queries: u32,
    /// Accuracy of the radius, as a share of it, in (0, 1); default 0.001.
    pub tolerance: f64,
    /// Points tried to find a start, at least 1; default 100.
    pub tries: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queries: 10_000,
            tolerance: 1e-3,
            tries: 100,
        }
    }
}

/// A move that leaves every range of values.
const FAR: f32 = 1e30;

/// Share of the radius (or of the room up to the bound) from which a feature counts as moved by all of it.
const ALL: f32 = 0.999;

/// Sweeps of single features without a gain after which a row ends, both orders of moving a feature out included.
const IDLE: u64 = 2;

const META: Meta = Meta {
    id: "rays",
    version: 1,
    summary: "flips signs of blocks of features, by decisions alone",
    role: Role::Attack,
    needs: Needs::Decisions,
    norms: &[Norm::Linf],
    reference: "Chen and Gu 2020, arXiv:2006.12792",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<RayS, BuildError> {
        at_least_one(META.id, "queries", self.queries)?;
        at_least_one(META.id, "tries", self.tries)?;
        between_0_and_1(META.id, "tolerance", self.tolerance)?;
        Ok(RayS(self))
    }
}

/// `RayS` with its parameters checked.
#[derive(Debug)]
pub struct RayS(Config);

/// The attack for inputs with a given number of features.
#[derive(Debug)]
struct Search<'a> {
    config: &'a Config,
    limits: Limits,
    /// Per input, the place of each feature among those that may change; −1 for the others.
    place: Vec<Vec<f32>>,
    /// Number of features that may change, at least 1.
    features: usize,
}

/// Point of each row, and its place in its sweep.
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
    /// Number of the row's sweep, from 0, and of its block in that sweep.
    sweep: Vec<u64>,
    block: Vec<u64>,
    /// Last sweep in which the radius fell.
    gained: Vec<u64>,
}

impl Columns for Places {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("approach", &mut self.approach);
        all.push(("sweep".into(), Column::Count(&mut self.sweep)));
        all.push(("block".into(), Column::Count(&mut self.block)));
        all.push(("gained".into(), Column::Count(&mut self.gained)));
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

impl Places {
    fn new(n: usize) -> Self {
        Self {
            approach: Approach::new(n),
            sweep: vec![0; n],
            block: vec![0; n],
            gained: vec![0; n],
        }
    }
}

impl Search<'_> {
    /// Returns the number of the first sweep over single features.
    fn finest(&self) -> u64 {
        u64::from(self.features.next_power_of_two().ilog2())
    }

    /// Returns the number of features in a block of this sweep.
    fn size(&self, sweep: u64) -> u64 {
        (self.features as u64).div_ceil(1 << sweep.min(self.finest()))
    }

    /// Returns whether row `i` has nothing left to do: it found no start, or no single flip gains.
    fn is_over(&self, host: &Places, i: usize) -> bool {
        let since = host.gained[i].max(self.finest().saturating_sub(1));
        host.approach.stage(i) == Stage::Lost || host.sweep[i] > since + IDLE
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
        let before = host.approach.gauge(i);
        if host.approach.stage(i) != Stage::There {
            let taken = host.approach.take(i, succeeded, gauges, &self.limits);
            if host.approach.gauge(i) < before {
                host.gained[i] = host.sweep[i];
            }
            return taken;
        }
        if succeeded[0] {
            let gauge = f64::from(gauges[0]).min(before);
            let first = self.config.tolerance * gauge;
            if gauge < before - first {
                host.gained[i] = host.sweep[i];
            }
            host.approach.retreat(i, gauge, first);
        }
        host.block[i] += 1;
        if host.block[i] * self.size(host.sweep[i]) >= self.features as u64 {
            (host.sweep[i], host.block[i]) = (host.sweep[i] + 1, 0);
        }
        succeeded[0].then_some(0)
    }

    /// Returns the points with the sign of each row's block flipped.
    fn flipped(&self, rows: &Rows, state: &State) -> Batch {
        let (n, region, host) = (rows.len(), rows.region(), &state.host);
        let column =
            |value: &dyn Fn(usize) -> f32| region.column(&(0..n).map(value).collect::<Vec<f32>>());
        let size = |i: usize| self.size(host.sweep[i]);
        let start = column(&|i| (host.block[i] * size(i)) as f32);
        let end = column(&|i| ((host.block[i] + 1) * size(i)) as f32);
        let own_side = column(&|i| if host.sweep[i] % 2 == 0 { 1.0 } else { -1.0 });
        let radius = column(&|i| host.approach.gauge(i) as f32);
        let x0 = region.x0();
        let [up, down] = [FAR, -FAR].map(|by| {
            let corner = region.clip(&x0.map(|b| b + by));
            region.project_within(&corner, &radius)
        });
        let blocks = (0..x0.blocks().len())
            .map(|m| {
                let [x, x0, up, down] = [&state.x, &x0, &up, &down].map(|b| b.blocks()[m].clone());
                let shape = x.dims();
                let wide = |c: &Tensor<1>| c.clone().unsqueeze_dim::<2>(1).expand(shape);
                let place = TensorData::new(self.place[m].clone(), [1, shape[1]]);
                let place = Tensor::<2>::from_data(place, &x.device()).expand(shape);
                let in_block =
                    (place.clone().greater_equal(wide(&start))).bool_and(place.lower(wide(&end)));
                let by = x.clone() - x0.clone();
                let is_up = by.clone().greater_equal((up.clone() - x0.clone()) * ALL);
                let is_down = by.clone().lower_equal((down.clone() - x0) * ALL);
                // A feature that is nearer than the radius moves out to it first.
                let above = by.greater_equal_scalar(0.0).float() * 2.0 - 1.0;
                let out = (above * wide(&own_side)).greater_scalar(0.0);
                let to = (down.clone().mask_where(out, up.clone()))
                    .mask_where(is_down, up)
                    .mask_where(is_up, down);
                x.mask_where(in_block, to)
            })
            .collect();
        Batch::new(x0.modalities().clone(), blocks).expect("blocks keep their shapes")
    }
}

impl<M: DecisionModel + ?Sized> Stepper<M> for Search<'_> {
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
            host: Places::new(rows.len()),
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let known: Vec<bool> = rows.starts().iter().map(Option::is_some).collect();
        let points = |i: usize| {
            let left = u64::from(self.config.queries).saturating_sub(rows.spent(i).forward);
            let first = 2 + usize::from(known[i]);
            let wanted = state.host.approach.points(i, &self.limits, first);
            wanted.unwrap_or(1).min(left as usize)
        };
        let round = Round::new((0..rows.len()).map(points).collect());
        if round.owner.is_empty() {
            return Ok(());
        }
        let approach = &state.host.approach;
        let mut x = approach.back(rows, &state.x, &state.x);
        let there = approach.is(Stage::There);
        if there.contains(&true) {
            let flipped = self.flipped(rows, state);
            x = x.replace_rows(&mask(&there, &x.device()), &flipped);
        }
        let corners = if approach.is(Stage::Search).contains(&true) {
            [FAR, -FAR]
                .map(|by| rows.region().x0().map(|b| b + by))
                .to_vec()
        } else {
            Vec::new()
        };
        let points = approach.starts(rows, &round.spread(&x), &round, &corners);
        let answers = round.ask(oracle, rows, &points)?;
        let take = |i: usize, succeeded: &[bool], gauges: &[f32]| {
            self.take(&mut state.host, i, succeeded, gauges)
        };
        state.x = continued(&state.x, &round, &points, &answers, take);
        Ok(())
    }

    fn finished(&self, rows: &Rows, state: &State) -> Option<Vec<bool>> {
        let spent = |i: usize| rows.spent(i).forward >= u64::from(self.config.queries);
        let over = |i: usize| self.is_over(&state.host, i) || spent(i);
        Some((0..rows.len()).map(over).collect())
    }
}

impl Attack for RayS {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.0)
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    /// A flip keeps the gauge only if the ball is a box, which that of a shared budget is not.
    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        inputs::independent(&META, job)
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let mut free = features::free(job).into_iter();
        let mut features = 0;
        let place = |m: &proofmark_domain::Modality| -> Vec<f32> {
            (free.by_ref().take(m.features()))
                .map(|free| {
                    features += usize::from(free);
                    if free { (features - 1) as f32 } else { -1.0 }
                })
                .collect()
        };
        let place = job.samples.modalities.iter().map(place).collect();
        let search = Search {
            config: &self.0,
            limits: Limits {
                tries: self.0.tries,
                tolerance: self.0.tolerance,
            },
            place,
            features: features.max(1),
        };
        run(access.decisions(), &search, job)
    }
}

/// Registry entry of `RayS`.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests;
