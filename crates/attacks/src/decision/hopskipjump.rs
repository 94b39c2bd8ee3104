//! `HopSkipJump`.
//!
//! # Idea
//! Walk along the decision boundary: from a point just beyond it, estimate from many small random moves in which
//! direction the adversarial side lies, jump that way, and return to the boundary nearer to the clean sample.
//!
//! # Maths
//! For each row, let `φ(x)` be +1 if `x` succeeds and −1 if not, `r` a gauge (distance in units of the budget) and
//! `P_r` the projection on the ball of radius `r`:
//!
//! * **Boundary**: bisect `r` between 0 and the gauge of a point that succeeds, until the bracket is `θ` times that
//!   gauge; the point is `P_r(x)`. `θ = γ / d^{3/2}` (L2) or `γ / d²` (Linf), `d` features.
//! * **Direction**: draw `B_t = B_0 √t` random unit vectors `u_b`, cut to the bounds:
//!   `g = Σ (φ(x + δ u_b) − mean φ) u_b`. If all `φ` agree, `g = ± Σ u_b`. `δ` is a tenth of the range at first, then
//!   `√d θ r` (L2) or `d θ r` (Linf), `r` the distance before the last bisection.
//! * **Jump**: `x + ε v`, `v` the steepest step for `g` inside the bounds, `ε = r / √t`, halved until the point
//!   succeeds.
//!
//! # Reference
//! Chen, Jordan and Wainwright, "`HopSkipJumpAttack`: a query-efficient decision-based attack", IEEE S&P 2020,
//! algorithms 1 and 2, and the authors' code.
//!
//! # Divergences
//! Every row has its own phase: one row bisects while another estimates, and the queries of all rows go to the model
//! together. An estimate is queried in parts (at most 64 points per row at once), so that a row exceeds the run's
//! forward limit by at most one part. Starts: first a point that is already known ([`Job::starts`]; a run passes a
//! sample of another class, or of the target class), then uniform noise, salt and pepper and blends of both with the
//! sample, `tries` points in all (the paper: uniform noise until one succeeds). The bisection tolerance is relative in
//! Linf too (the authors' code uses `min(θ, θ r)`). A jump is given up after 24 halvings. All inputs that may change
//! must have the same norm.
//!
//! # Cost
//! Per sample: at most `queries` forwards, and one to judge. A sample for which no start is found costs `tries`.
//!
//! # When it fails
//! When no start is found (most often with a target class and no known point of that class), and on models whose
//! decision is random or flat around the boundary.
//!
//! # Example
//! ```
//! let table: toml::Table = "queries = 1000".parse().unwrap();
//! let attack = proofmark_attacks::build("hopskipjump", &table).unwrap();
//! assert_eq!(attack.parameters()["queries"], 1000);
//! ```

use burn::tensor::{Tensor, TensorData};
use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, BuildError, EngineError, Job, Meta, Needs, Oracle, Outcomes,
    Request, Rows, Stepper, check_norms, run,
};
use proofmark_model::{DecisionModel, Query};
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Column, Columns, Draw, Step, host, index, mask, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{at_least_one, read, require, written};

/// Parameters of `HopSkipJump`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Sample-forwards per sample, at least 1; default 5000.
    pub queries: u32,
    /// Points of the first estimate, at least 1; default 100. The `t`-th estimate has √t times as many.
    pub first_estimate: u32,
    /// Maximum number of points of an estimate, at least 1; default 10000.
    pub largest_estimate: u32,
    /// Accuracy of the boundary, above 0: multiplies `θ`; default 1.
    pub gamma: f64,
    /// Points tried to find a start, at least 1; default 100.
    pub tries: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queries: 5000,
            first_estimate: 100,
            largest_estimate: 10_000,
            gamma: 1.0,
            tries: 100,
        }
    }
}

/// Maximum number of points of one row in one query.
const AT_ONCE: usize = 64;

/// Maximum number of values of one row in one query: samples with many features are queried in smaller parts.
const VALUES: usize = 1 << 16;

/// Starts tried in one query.
const STARTS: usize = 8;

/// Maximum number of halvings of a jump.
const HALVINGS: u64 = 24;

/// Length of the moves of the first estimate, as a share of the features' range.
const FIRST_DELTA: f64 = 0.1;

/// A radius that no point exceeds.
const ANYWHERE: f32 = 1e30;

const META: Meta = Meta {
    id: "hopskipjump",
    version: 1,
    summary: "walks along the boundary by decisions alone",
    role: Role::Attack,
    needs: Needs::Decisions,
    norms: &[Norm::Linf, Norm::L2],
    reference: "Chen, Jordan and Wainwright 2020, arXiv:1904.02144",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<HopSkipJump, BuildError> {
        at_least_one(META.id, "queries", self.queries)?;
        at_least_one(META.id, "first_estimate", self.first_estimate)?;
        at_least_one(META.id, "largest_estimate", self.largest_estimate)?;
        at_least_one(META.id, "tries", self.tries)?;
        let positive = self.gamma.is_finite() && self.gamma > 0.0;
        let expected = "a finite number above 0";
        require(positive, META.id, "gamma", self.gamma, expected)?;
        Ok(HopSkipJump(self))
    }

    /// Returns the number of points of the `t`-th estimate.
    fn estimate(&self, t: u64) -> u64 {
        let points = f64::from(self.first_estimate) * (t as f64).sqrt();
        (points as u64).min(u64::from(self.largest_estimate)).max(1)
    }
}

/// `HopSkipJump` with its parameters checked.
#[derive(Debug)]
pub struct HopSkipJump(Config);

/// The attack for inputs with a given number of features, all in one norm.
#[derive(Debug)]
struct Walk<'a> {
    config: &'a Config,
    norm: Norm,
    /// Which features may change, over all inputs one after the other.
    free: Vec<bool>,
    /// Number of features that may change.
    features: usize,
    /// Root mean square range of the features that may change, data units.
    range: f64,
}

/// Phase of a row: what it does in the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Searches for a point that succeeds.
    Start,
    /// Bisects back to the boundary.
    Bisect,
    /// Estimates the direction of the adversarial side.
    Estimate,
    /// Jumps in that direction.
    Jump,
    /// Finished: no start was found.
    Over,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::Start,
        Self::Bisect,
        Self::Estimate,
        Self::Jump,
        Self::Over,
    ];

    fn of(code: u64) -> Self {
        Self::ALL.get(code as usize).copied().unwrap_or(Self::Over)
    }
}

/// Position of each row on its walk.
#[derive(Debug, Clone)]
struct State {
    /// A point that succeeds; the clean sample until one has.
    x: Batch,
    /// Sum of the directions that succeeded, and of all directions.
    succeeding: Batch,
    all: Batch,
    /// Direction of the next jump.
    direction: Batch,
    host: Places,
}

/// Part of the state that is kept on the host.
#[derive(Debug, Clone)]
struct Places {
    phase: Vec<u64>,
    /// Number of the row's current estimate, from 1.
    round: Vec<u64>,
    /// Starts tried, points of the estimate queried so far, or halvings of the jump, depending on the phase.
    done: Vec<u64>,
    /// Number of points of the estimate that succeeded.
    successes: Vec<u64>,
    /// Gauges that bracket the boundary.
    low: Vec<f64>,
    high: Vec<f64>,
    /// Gauge before the last bisection.
    reached: Vec<f64>,
}

impl Columns for Places {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        vec![
            ("phase".into(), Column::Count(&mut self.phase)),
            ("round".into(), Column::Count(&mut self.round)),
            ("done".into(), Column::Count(&mut self.done)),
            ("successes".into(), Column::Count(&mut self.successes)),
            ("low".into(), Column::Real(&mut self.low)),
            ("high".into(), Column::Real(&mut self.high)),
            ("reached".into(), Column::Real(&mut self.reached)),
        ]
    }
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("succeeding", &mut self.succeeding));
        all.extend(prefixed("all", &mut self.all));
        all.extend(prefixed("direction", &mut self.direction));
        all.extend(prefixed("host", &mut self.host));
        all
    }
}

impl Places {
    fn phase(&self, i: usize) -> Phase {
        Phase::of(self.phase[i])
    }

    fn enter(&mut self, i: usize, phase: Phase) {
        self.phase[i] = phase as u64;
        self.done[i] = 0;
    }

    /// Starts a bisection of row `i` from a point of this gauge that succeeds.
    fn bisect(&mut self, i: usize, gauge: f64) {
        self.enter(i, Phase::Bisect);
        (self.low[i], self.high[i], self.reached[i]) = (0.0, gauge, gauge);
    }

    /// Starts the next estimate of row `i`, which is at the boundary.
    fn estimate(&mut self, i: usize) {
        self.enter(i, Phase::Estimate);
        self.round[i] += 1;
        self.successes[i] = 0;
    }
}

impl Walk<'_> {
    /// Returns the tolerance of the bisection, as a share of the gauge.
    fn theta(&self) -> f64 {
        let d = self.features as f64;
        self.config.gamma
            / if self.norm == Norm::L2 {
                d.powf(1.5)
            } else {
                d * d
            }
    }

    /// Returns the length of the moves in row `i`'s estimate, data units.
    fn delta(&self, host: &Places, i: usize, eps: f64) -> f64 {
        if host.round[i] == 1 {
            return FIRST_DELTA * self.range;
        }
        let d = self.features as f64;
        let wide = if self.norm == Norm::L2 { d.sqrt() } else { d };
        let delta = wide * self.theta() * host.reached[i] * eps;
        delta.max(f64::from(f32::MIN_POSITIVE))
    }

    /// Returns how many points row `i` queries in this step, at most `left`.
    fn points(&self, host: &Places, i: usize, left: u64) -> usize {
        let wanted = match host.phase(i) {
            Phase::Start => {
                let left = u64::from(self.config.tries).saturating_sub(host.done[i]);
                (left as usize).min(STARTS)
            }
            Phase::Bisect | Phase::Jump => 1,
            Phase::Estimate => {
                let left = self.config.estimate(host.round[i]) - host.done[i];
                let fits = (VALUES / self.free.len()).clamp(1, AT_ONCE);
                (left as usize).min(fits)
            }
            Phase::Over => 0,
        };
        wanted.min(left as usize)
    }

    /// Returns the points that all rows query, side by side, and the row that each point belongs to.
    fn proposals(&self, rows: &Rows, state: &State) -> (Batch, Vec<usize>) {
        let n = rows.len();
        let region = rows.region();
        let left = |i: usize| u64::from(self.config.queries).saturating_sub(rows.spent(i).forward);
        let counts: Vec<usize> = (0..n)
            .map(|i| self.points(&state.host, i, left(i)))
            .collect();
        let owner: Vec<usize> = (0..n)
            .flat_map(|i| std::iter::repeat_n(i, counts[i]))
            .collect();
        let any = |phase: Phase| (0..n).any(|i| state.host.phase(i) == phase);

        // One point per row for any phase; rows that query several points get them below.
        let mut x = state.x.clone();
        if any(Phase::Bisect) {
            let middle = |i: usize| f64::midpoint(state.host.low[i], state.host.high[i]) as f32;
            let middle: Vec<f32> = (0..n).map(middle).collect();
            let nearer = region.project_within(&state.x, &region.column(&middle));
            x = in_phase(Phase::Bisect, rows, &state.host, &nearer, &x);
        }
        if any(Phase::Jump) {
            let length = |i: usize| {
                let halved = 0.5_f64.powi(state.host.done[i] as i32);
                let root = (state.host.round[i].max(1) as f64).sqrt();
                (state.host.high[i] / root * halved) as f32
            };
            let length: Vec<f32> = (0..n).map(length).collect();
            let step = Step::new(region.column(&length));
            let step = step.within(region.column(&vec![ANYWHERE; n]));
            let jumped = region.advance(&state.x, &state.direction, &step);
            x = in_phase(Phase::Jump, rows, &state.host, &jumped, &x);
        }
        let at = index(&owner, &x.device());
        let mut points = x.select(&at);
        if any(Phase::Estimate) || any(Phase::Start) {
            let moves = self.moves(rows, &state.host, &counts);
            let mut moves = moves.into_iter();
            points = points.map(|b| {
                let (n, by) = (b.dims(), moves.next().expect("one block per modality"));
                let by = Tensor::<2>::from_data(TensorData::new(by, n), &b.device());
                b + by
            });
            points = region.at(&owner).clip(&points);
        }
        if any(Phase::Start) {
            points = Self::with_starts(rows, &state.host, &points, &counts);
        }
        (points, owner)
    }

    /// Returns the move of each point: a random direction of the estimate's length, zero in other phases.
    fn moves(&self, rows: &Rows, host: &Places, counts: &[usize]) -> Vec<Vec<f32>> {
        let x0 = rows.region().x0();
        let widths: Vec<usize> = x0.blocks().iter().map(|b| b.dims()[1]).collect();
        let mut blocks: Vec<Vec<f32>> = vec![Vec::new(); widths.len()];
        let eps = rows.region().leading_eps();
        let keys = rows.streams(Purpose::Direction, 0);
        for (i, count) in counts.iter().enumerate() {
            for b in 0..*count {
                if host.phase(i) != Phase::Estimate {
                    for (block, width) in blocks.iter_mut().zip(&widths) {
                        block.extend(std::iter::repeat_n(0.0, *width));
                    }
                    continue;
                }
                let mut key = keys[i];
                key.draw = b as u32;
                let mut stream = Stream::new(&key);
                let direction: Vec<f64> = (self.free.iter())
                    .map(|free| match (free, self.norm) {
                        (false, _) => 0.0,
                        (true, Norm::L2) => f64::from(stream.normal()),
                        (true, _) => 2.0 * f64::from(stream.uniform()) - 1.0,
                    })
                    .collect();
                let length = Norm::L2.of(direction.iter().copied());
                let scale = self.delta(host, i, eps[i]) / length.max(f64::MIN_POSITIVE);
                let mut values = direction.iter().map(|v| (v * scale) as f32);
                for (block, width) in blocks.iter_mut().zip(&widths) {
                    block.extend(values.by_ref().take(*width));
                }
            }
        }
        blocks
    }

    /// Returns `points` with start candidates in the places of the rows that still search for a start.
    fn with_starts(rows: &Rows, host: &Places, points: &Batch, counts: &[usize]) -> Batch {
        let (n, region, known) = (rows.len(), rows.region(), rows.starts());
        let starting = |i: &usize| host.phase(*i) == Phase::Start;
        let most = (0..n).filter(starting).map(|i| counts[i]).max();
        let mut all = vec![points.clone()];
        for b in 0..most.unwrap_or(0) {
            let keys = rows.streams(Purpose::Start, b as u32);
            let drawn = region.perturb_in_box(&keys, |draw, stream| scatter(b, draw, stream));
            let mut drawn = drawn.to_host();
            for i in (0..n).filter(starting) {
                // A known start comes first.
                if let Some(start) = known[i].filter(|_| b == 0 && host.done[i] == 0) {
                    for (block, values) in drawn.iter_mut().zip(start) {
                        let width = values.len();
                        block[i * width..(i + 1) * width].copy_from_slice(values);
                    }
                }
            }
            let drawn = Batch::from_host(points.modalities().clone(), drawn, &points.device());
            all.push(region.clip(&drawn.expect("drawn for these inputs")));
        }
        let mut source: Vec<usize> = (0..points.rows()).collect();
        let mut from = 0;
        for (i, count) in counts.iter().enumerate() {
            if starting(&i) {
                for b in 0..*count {
                    source[from + b] = points.rows() + b * n + i;
                }
            }
            from += count;
        }
        let all = Batch::cat(&all.iter().collect::<Vec<_>>());
        all.select(&index(&source, &all.device()))
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
        match host.phase(i) {
            Phase::Start => {
                host.done[i] += succeeded.len() as u64;
                let nearest = (0..succeeded.len())
                    .filter(|b| succeeded[*b])
                    .min_by(|a, b| gauges[*a].total_cmp(&gauges[*b]));
                if let Some(b) = nearest {
                    host.bisect(i, f64::from(gauges[b]));
                } else if host.done[i] >= u64::from(self.config.tries) {
                    host.enter(i, Phase::Over);
                }
                nearest
            }
            Phase::Bisect => {
                let middle = f64::midpoint(host.low[i], host.high[i]);
                if succeeded[0] {
                    host.high[i] = middle;
                } else {
                    host.low[i] = middle;
                }
                let rest = host.high[i] - host.low[i];
                // Below the resolution of `f32` there is nothing more to find.
                let finest = f64::from(f32::EPSILON) * host.high[i];
                if rest <= (self.theta() * host.reached[i]).max(finest) {
                    host.estimate(i);
                }
                succeeded[0].then_some(0)
            }
            Phase::Estimate => {
                host.done[i] += succeeded.len() as u64;
                host.successes[i] += succeeded.iter().filter(|s| **s).count() as u64;
                if host.done[i] >= self.config.estimate(host.round[i]) {
                    // Keep `done` and `successes`: `turn` reads them for the direction.
                    host.phase[i] = Phase::Jump as u64;
                }
                None
            }
            Phase::Jump => {
                if succeeded[0] {
                    host.bisect(i, f64::from(gauges[0]));
                    return Some(0);
                }
                host.done[i] += 1;
                if host.done[i] >= HALVINGS {
                    host.estimate(i);
                }
                None
            }
            Phase::Over => None,
        }
    }
}

/// Takes the rows in `phase` from `ours` and the rest from `others`.
fn in_phase(phase: Phase, rows: &Rows, host: &Places, ours: &Batch, others: &Batch) -> Batch {
    let is: Vec<bool> = (0..rows.len()).map(|i| host.phase(i) == phase).collect();
    others.replace_rows(&mask(&is, &others.device()), ours)
}

/// Returns the weights of the sum over the successful directions and of the sum over all directions in the direction of
/// a jump: `Σ (φ − mean φ) u = 2 (Σ_succeeded u − share Σ u)`; if all agree, `± Σ u`.
fn weights(successes: u64, queried: u64) -> [f32; 2] {
    if successes == 0 {
        [0.0, -1.0]
    } else if successes == queried {
        [0.0, 1.0]
    } else {
        [1.0, -(successes as f64 / queried as f64) as f32]
    }
}

/// Draws the `b`-th kind of start: uniform noise, salt and pepper, and blends of both with the sample.
fn scatter(b: usize, draw: &mut Draw<'_>, stream: &mut Stream) {
    let blend = if b % 4 < 2 { 1.0 } else { stream.uniform() };
    let share = stream.uniform();
    for i in 0..draw.x.len() {
        let (low, high) = (draw.lower[i], draw.upper[i]);
        let (at, hit) = (stream.uniform(), stream.uniform());
        let to = if b.is_multiple_of(2) {
            low + at * (high - low)
        } else if hit >= share {
            draw.x[i]
        } else if at < 0.5 {
            low
        } else {
            high
        };
        draw.x[i] += blend * (to - draw.x[i]);
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
        let x = rows.region().x0();
        let zero = x.map(|b| b.zeros_like());
        let n = rows.len();
        Ok(State {
            x,
            succeeding: zero.clone(),
            all: zero.clone(),
            direction: zero,
            host: Places {
                phase: vec![Phase::Start as u64; n],
                round: vec![0; n],
                done: vec![0; n],
                successes: vec![0; n],
                low: vec![0.0; n],
                high: vec![0.0; n],
                reached: vec![0.0; n],
            },
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let (points, owner) = self.proposals(rows, state);
        if owner.is_empty() {
            return Ok(());
        }
        let query = Query {
            key: owner.iter().map(|i| rows.keys()[*i]).collect(),
            draw: vec![0; owner.len()],
            x: points.clone(),
            owner: owner.clone(),
        };
        let succeeded = oracle.succeeds(rows, Request::new(query))?;
        let gauges = host(&rows.region().at(&owner).gauge(&points));
        let estimating: Vec<bool> = (0..rows.len())
            .map(|i| state.host.phase(i) == Phase::Estimate)
            .collect();
        self.gather(rows, state, &points, &owner, &succeeded, &estimating);

        // The point from which each row continues: its own, or one of those just queried.
        let n = rows.len();
        let mut source: Vec<usize> = (0..n).collect();
        let mut from = 0;
        for (i, source) in source.iter_mut().enumerate() {
            let to = from + owner[from..].iter().take_while(|o| **o == i).count();
            if to > from {
                let taken = self.take(&mut state.host, i, &succeeded[from..to], &gauges[from..to]);
                if let Some(b) = taken {
                    *source = n + from + b;
                }
            }
            from = to;
        }
        let both = Batch::cat(&[&state.x, &points]);
        state.x = both.select(&index(&source, &both.device()));
        Self::turn(rows, state, &estimating);
        Ok(())
    }

    fn finished(&self, rows: &Rows, state: &State) -> Option<Vec<bool>> {
        let spent = |i: usize| rows.spent(i).forward >= u64::from(self.config.queries);
        let over = |i: usize| state.host.phase(i) == Phase::Over || spent(i);
        Some((0..rows.len()).map(over).collect())
    }
}

impl Walk<'_> {
    /// Adds the directions of this part of the estimates to the sums, in `f64`, row by row.
    fn gather(
        &self,
        rows: &Rows,
        state: &mut State,
        points: &Batch,
        owner: &[usize],
        succeeded: &[bool],
        estimating: &[bool],
    ) {
        if !estimating.contains(&true) {
            return;
        }
        let eps = rows.region().leading_eps();
        let (points, x) = (points.to_host(), state.x.to_host());
        let n = rows.len();
        let sums = |only: bool| -> Vec<Vec<f32>> {
            points
                .iter()
                .zip(&x)
                .map(|(points, x)| {
                    let width = x.len() / n;
                    let mut sum = vec![0.0_f64; x.len()];
                    for (q, i) in owner.iter().enumerate() {
                        if !estimating[*i] || only && !succeeded[q] {
                            continue;
                        }
                        let scale = 1.0 / self.delta(&state.host, *i, eps[*i]);
                        let own = i * width..(i + 1) * width;
                        let moved = &points[q * width..(q + 1) * width];
                        for ((sum, to), from) in sum[own.clone()].iter_mut().zip(moved).zip(&x[own])
                        {
                            *sum += (f64::from(*to) - f64::from(*from)) * scale;
                        }
                    }
                    sum.into_iter().map(|s| s as f32).collect()
                })
                .collect()
        };
        let add = |to: &Batch, sums: Vec<Vec<f32>>| {
            let sums = Batch::from_host(to.modalities().clone(), sums, &to.device());
            to.zip(&sums.expect("as wide as the rows"), |a, b| a + b)
        };
        state.succeeding = add(&state.succeeding, sums(true));
        state.all = add(&state.all, sums(false));
    }

    /// Sets the direction of the rows whose estimate is complete and resets their sums.
    fn turn(rows: &Rows, state: &mut State, estimated: &[bool]) {
        let complete = |i: usize| estimated[i] && state.host.phase(i) == Phase::Jump;
        let complete: Vec<bool> = (0..rows.len()).map(complete).collect();
        if !complete.contains(&true) {
            return;
        }
        let share = |i: usize| weights(state.host.successes[i], state.host.done[i]);
        let shares: Vec<[f32; 2]> = (0..rows.len()).map(share).collect();
        let column = |k: usize| {
            let values: Vec<f32> = shares.iter().map(|s| s[k]).collect();
            rows.region().column(&values).unsqueeze_dim::<2>(1)
        };
        let (ours, every) = (column(0), column(1));
        let found = state
            .succeeding
            .zip(&state.all, |s, a| s * ours.clone() + a * every.clone());
        let found = rows.region().free(&found);
        let mask = mask(&complete, &found.device());
        let zero = found.map(|b| b.zeros_like());
        state.direction = state.direction.replace_rows(&mask, &found);
        state.succeeding = state.succeeding.replace_rows(&mask, &zero);
        state.all = state.all.replace_rows(&mask, &zero);
        for i in (0..rows.len()).filter(|i| complete[*i]) {
            state.host.done[i] = 0;
        }
    }
}

impl Attack for HopSkipJump {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.0)
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    /// Directions are drawn over all inputs at once, so all inputs that move must have the same norm.
    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        check_norms(&META, job)?;
        let norms = job.threat.budgets().iter().filter(|b| b.moves());
        let mut norms: Vec<&str> = norms.map(|b| b.norm.as_str()).collect();
        norms.dedup();
        if norms.len() > 1 {
            return Err(EngineError::Parameter {
                name: "norm",
                given: norms.join(" and "),
                expected: "one norm for all inputs that may change".into(),
            });
        }
        Ok(())
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let (mut free, mut squares) = (Vec::new(), 0.0);
        for (m, budget) in job.samples.modalities.iter().zip(job.threat.budgets()) {
            for f in 0..m.features() {
                let may = budget.moves() && budget.mask.as_ref().is_none_or(|mask| mask[f]);
                let width = f64::from(m.bounds.high(f)) - f64::from(m.bounds.low(f));
                squares += if may { width * width } else { 0.0 };
                free.push(may);
            }
        }
        let features = free.iter().filter(|f| **f).count().max(1);
        let walk = Walk {
            config: &self.0,
            norm: job.threat.leading().norm,
            free,
            features,
            range: (squares / features as f64).sqrt(),
        };
        run(access.decisions(), &walk, job)
    }
}

/// Registry entry of `HopSkipJump`.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            phase: vec![Phase::Start as u64],
            round: vec![0],
            done: vec![0],
            successes: vec![0],
            low: vec![0.0],
            high: vec![0.0],
            reached: vec![0.0],
        }
    }

    fn walk(config: &Config, norm: Norm, features: usize) -> Walk<'_> {
        Walk {
            config,
            norm,
            free: vec![true; features],
            features,
            range: 2.0,
        }
    }

    #[test]
    fn constants_are_those_of_the_paper() {
        let config = Config::default();
        let points: Vec<u64> = [1, 2, 3, 4, 16, 20_000]
            .map(|t| config.estimate(t))
            .to_vec();
        assert_eq!(points, [100, 141, 173, 200, 400, 10_000]);
        let (l2, linf) = (walk(&config, Norm::L2, 100), walk(&config, Norm::Linf, 100));
        assert!((l2.theta() - 1e-3).abs() < 1e-12 && (linf.theta() - 1e-4).abs() < 1e-12);
        let mut host = places();
        host.estimate(0);
        // A tenth of the range; then √d θ r and d θ r, here of a distance of 3 budgets of 0.5.
        assert!((l2.delta(&host, 0, 0.5) - 0.2).abs() < 1e-12);
        host.estimate(0);
        host.reached[0] = 3.0;
        assert!((l2.delta(&host, 0, 0.5) - 10.0 * 1e-3 * 1.5).abs() < 1e-12);
        assert!((linf.delta(&host, 0, 0.5) - 100.0 * 1e-4 * 1.5).abs() < 1e-12);
    }

    /// Walks from a start of gauge 8 to the boundary at 3, to within a quarter of 8.
    #[test]
    fn one_walk_by_hand() {
        let config = Config {
            gamma: 0.25,
            first_estimate: 3,
            ..Config::default()
        };
        let walk = walk(&config, Norm::L2, 1);
        let mut host = places();
        // Of two starts that succeed, the nearer one is taken.
        let taken = walk.take(&mut host, 0, &[false, true, true], &[1.0, 9.0, 8.0]);
        assert_eq!(
            (taken, host.phase(0), host.high[0]),
            (Some(2), Phase::Bisect, 8.0)
        );
        // 4 succeeds, 2 does not: the bracket is 2 wide, a quarter of 8.
        assert_eq!(walk.take(&mut host, 0, &[true], &[4.0]), Some(0));
        assert_eq!(
            (host.low[0], host.high[0], host.phase(0)),
            (0.0, 4.0, Phase::Bisect)
        );
        assert_eq!(walk.take(&mut host, 0, &[false], &[2.0]), None);
        assert_eq!(
            (host.low[0], host.high[0], host.phase(0)),
            (2.0, 4.0, Phase::Estimate)
        );
        // Three points, queried in two parts.
        assert_eq!(walk.points(&host, 0, 100), 3);
        assert_eq!(walk.take(&mut host, 0, &[true, false], &[4.0; 2]), None);
        assert_eq!(
            (walk.points(&host, 0, 100), host.phase(0)),
            (1, Phase::Estimate)
        );
        assert_eq!(walk.take(&mut host, 0, &[true], &[4.0]), None);
        assert_eq!(
            (host.successes[0], host.done[0], host.phase(0)),
            (2, 3, Phase::Jump)
        );
        host.done[0] = 0;
        // The jump is halved once, then succeeds.
        assert_eq!(walk.take(&mut host, 0, &[false], &[6.0]), None);
        assert_eq!((host.done[0], host.phase(0)), (1, Phase::Jump));
        assert_eq!(walk.take(&mut host, 0, &[true], &[5.0]), Some(0));
        assert_eq!(
            (host.phase(0), host.high[0], host.reached[0]),
            (Phase::Bisect, 5.0, 5.0)
        );
        // The remaining queries limit every part.
        assert_eq!(walk.points(&host, 0, 0), 0);
    }

    #[test]
    fn directions_are_weighted_against_their_mean() {
        assert_eq!(weights(3, 4), [1.0, -0.75]);
        assert_eq!(weights(4, 4), [0.0, 1.0]);
        assert_eq!(weights(0, 4), [0.0, -1.0]);
    }

    #[test]
    fn a_row_without_a_start_gives_up_after_its_tries() {
        let config = Config {
            tries: 10,
            ..Config::default()
        };
        let walk = walk(&config, Norm::L2, 4);
        let mut host = places();
        assert_eq!(walk.points(&host, 0, 100), STARTS);
        walk.take(&mut host, 0, &[false; STARTS], &[1.0; STARTS]);
        assert_eq!(walk.points(&host, 0, 100), 2);
        walk.take(&mut host, 0, &[false; 2], &[1.0; 2]);
        assert_eq!(
            (host.phase(0), walk.points(&host, 0, 100)),
            (Phase::Over, 0)
        );
    }
}
