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

use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, BuildError, EngineError, Job, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, check_norms, run,
};
use proofmark_model::DecisionModel;
use proofmark_stats::random::Purpose;
use proofmark_threat::{Batch, Step, mask};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::bracket::along;
use super::features::{self, VALUES};
use super::round::{Round, continued};
use super::start;
use crate::config::{at_least_one, positive, read, written};
use crate::inputs;

mod estimate;
mod places;
#[cfg(test)]
mod tests;

use places::{Phase, Places, State};

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
        positive(META.id, "gamma", self.gamma, "")?;
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
        let delta = wide * self.theta() * host.brackets.reached[i] * eps;
        delta.max(f64::from(f32::MIN_POSITIVE))
    }

    /// Returns the length of the moves of a row that estimates, `None` for others.
    fn length(&self, host: &Places, i: usize, eps: f64) -> Option<f64> {
        (host.phase(i) == Phase::Estimate).then(|| self.delta(host, i, eps))
    }

    /// Returns how many points row `i` queries in this step, at most `left`.
    fn points(&self, host: &Places, i: usize, left: u64) -> usize {
        let wanted = match host.phase(i) {
            Phase::Start => start::next(self.config.tries, host.done[i]),
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

    /// Returns the points that all rows query.
    fn proposals(&self, rows: &Rows, state: &State) -> (Batch, Round) {
        let n = rows.len();
        let region = rows.region();
        let left = |i: usize| u64::from(self.config.queries).saturating_sub(rows.spent(i).forward);
        let counts = (0..n).map(|i| self.points(&state.host, i, left(i)));
        let round = Round::new(counts.collect());
        let any = |phase: Phase| (0..n).any(|i| state.host.phase(i) == phase);

        // One point per row for any phase; rows that query several points get them below.
        let mut x = state.x.clone();
        if any(Phase::Bisect) {
            let nearer = along(rows, &state.x, |i| state.host.brackets.middle(i));
            x = in_phase(Phase::Bisect, rows, &state.host, &nearer, &x);
        }
        if any(Phase::Jump) {
            let length = |i: usize| {
                let halved = 0.5_f64.powi(state.host.done[i] as i32);
                let root = (state.host.round[i].max(1) as f64).sqrt();
                (state.host.brackets.high[i] / root * halved) as f32
            };
            let length: Vec<f32> = (0..n).map(length).collect();
            let step = Step::new(region.column(&length));
            let step = step.within(region.column(&vec![ANYWHERE; n]));
            let jumped = region.advance(&state.x, &state.direction, &step);
            x = in_phase(Phase::Jump, rows, &state.host, &jumped, &x);
        }
        let mut points = round.spread(&x);
        if any(Phase::Estimate) || any(Phase::Start) {
            let eps = region.leading_eps();
            let lengths: Vec<Option<f64>> = (0..n)
                .map(|i| self.length(&state.host, i, eps[i]))
                .collect();
            let keys = rows.streams(Purpose::Direction, 0);
            let moves = estimate::moves(&keys, &round.counts, &lengths, &self.free, self.norm, &x);
            points = points.zip(&moves, |b, by| b + by);
            points = region.at(&round.owner).clip(&points);
        }
        let searching = |i: usize| state.host.phase(i) == Phase::Start;
        let tried: Vec<Option<u64>> = (0..n)
            .map(|i| searching(i).then(|| state.host.done[i]))
            .collect();
        let points = start::insert(rows, &points, &round.counts, &tried, &[]);
        (points, round)
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
                let nearest = start::nearest(succeeded, gauges);
                if let Some(b) = nearest {
                    host.bisect(i, f64::from(gauges[b]));
                } else if host.done[i] >= u64::from(self.config.tries) {
                    host.enter(i, Phase::Over);
                }
                nearest
            }
            Phase::Bisect => {
                let middle = host.brackets.middle(i);
                host.brackets.narrow(i, middle, succeeded[0]);
                let tolerance = self.theta() * host.brackets.reached[i];
                if host.brackets.is_narrow(i, tolerance) {
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
        Ok(State::new(rows))
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let (points, round) = self.proposals(rows, state);
        if round.owner.is_empty() {
            return Ok(());
        }
        let answers = round.ask(oracle, rows, &points)?;
        let estimating: Vec<bool> = (0..rows.len())
            .map(|i| state.host.phase(i) == Phase::Estimate)
            .collect();
        self.gather(rows, state, &points, &round.owner, &answers.succeeded);

        // The point from which each row continues: its own, or one of those just queried.
        let take = |i: usize, succeeded: &[bool], gauges: &[f32]| {
            self.take(&mut state.host, i, succeeded, gauges)
        };
        state.x = continued(&state.x, &round, &points, &answers, take);
        state.turn(rows, &estimating);
        Ok(())
    }

    fn finished(&self, rows: &Rows, state: &State) -> Option<Vec<bool>> {
        let spent = |i: usize| rows.spent(i).forward >= u64::from(self.config.queries);
        let over = |i: usize| state.host.phase(i) == Phase::Over || spent(i);
        Some((0..rows.len()).map(over).collect())
    }
}

impl Walk<'_> {
    /// Adds the directions of this part of the estimates to the sums.
    fn gather(
        &self,
        rows: &Rows,
        state: &mut State,
        points: &Batch,
        owner: &[usize],
        succeeded: &[bool],
    ) {
        let eps = rows.region().leading_eps();
        let lengths: Vec<Option<f64>> = (0..rows.len())
            .map(|i| self.length(&state.host, i, eps[i]))
            .collect();
        if lengths.iter().all(Option::is_none) {
            return;
        }
        let every = vec![true; owner.len()];
        let sums = |of: &[bool]| estimate::sums(points, &state.x, owner, &lengths, of);
        let (succeeding, all) = (sums(succeeded), sums(&every));
        state.succeeding = state.succeeding.zip(&succeeding, |a, b| a + b);
        state.all = state.all.zip(&all, |a, b| a + b);
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
        let norms = inputs::norms(job);
        if norms.len() > 1 {
            return Err(EngineError::Parameter {
                name: "norm",
                given: inputs::named(&norms),
                expected: "one norm for all inputs that may change".into(),
            });
        }
        Ok(())
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let free = features::free(job);
        let widths = job.samples.modalities.iter().flat_map(|m| {
            let width = |f: usize| f64::from(m.bounds.high(f)) - f64::from(m.bounds.low(f));
            (0..m.features()).map(width)
        });
        let squares: f64 = (widths.zip(&free))
            .map(|(width, free)| if *free { width * width } else { 0.0 })
            .sum();
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
