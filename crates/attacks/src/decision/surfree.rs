//! `SurFree`.
//!
//! # Idea
//! Turn instead of estimating: from a point on the boundary, try to rotate it around the clean sample towards a random
//! direction while it comes nearer. If the boundary is flat, the best turn towards each direction of an orthogonal basis
//! ends at the nearest point of the boundary.
//!
//! # Maths
//! With `u` the unit vector from `x_0` to the point at distance `d`, and `v` a random unit vector orthogonal to `u` and
//! to the directions before:
//!
//! * **Circle**: `z(θ) = x_0 + d cos θ (cos θ · u + sin θ · v)`. It runs from the point to `x_0`, always nearer, and
//!   meets a flat boundary at the point of the plane that is nearest to `x_0`.
//! * **Sign search**: query `z(±θ_max)`, `z(±θ_max (T − 1) / T)`, …, `z(±θ_max / T)` until one succeeds. If none does,
//!   `θ_max ← ρ θ_max`, with the next direction; else `θ_max ← θ_max / ρ`.
//! * **Angle**: find the largest angle on that side that succeeds, by bisection; beyond `θ_max` by steps of half of the
//!   angle.
//! * **Distance**: go straight back towards `x_0`, to the boundary.
//!
//! # Reference
//! Maho, Furon and Le Merrer, "`SurFree`: a fast surrogate-free black-box attack", CVPR 2021, algorithm 1 and section 5,
//! and the authors' code.
//!
//! # Divergences
//! *Bounds*: a point of the circle is stretched after it is cut to the bounds, so that it has the length `d cos θ`
//! wherever the bounds allow (the paper cuts it, and loses that length). *Distance*: the paper has no such search. At an
//! angle that is off by `δ`, it makes the error of the distance quadratic in `δ`, so a few bisections of the angle are
//! enough. *Sign search*: `T = 1` (the authors: 3), because a direction that fails costs `2 T` queries and `θ_max` adapts
//! anyway; on linear models of 100 features, 500 queries then end at 1.14 instead of 1.45 times the exact distance.
//! *Basis*: directions are orthogonal to the last `directions` ones; then a new basis begins (the authors drop
//! the oldest). *Low frequencies*: images draw the lowest `frequencies` of each axis of the cosine transform, with random
//! signs or 0 and the amplitudes `tanh |X_0|` of the sample's own (range 1), as in section 5.2; a row whose whole basis
//! gained less than 1 % changes to directions over all features, or back (the authors add a little noise over all
//! features). Starts: first a known point ([`Job::starts`](proofmark_engine::Job::starts)), then noise, as
//! `HopSkipJump`. Only one input may change.
//!
//! # Cost
//! Per sample: at most `queries` forwards, and one to judge. A sample for which no start is found costs `tries`, ends
//! without a point and counts as not broken.
//!
//! # When it fails
//! When no start is found, where the boundary is strongly curved at the scale of the turns, and on models whose decision
//! is random around the boundary.
//!
//! # Example
//! ```
//! let table: toml::Table = "queries = 1000\nspace = \"features\"".parse().unwrap();
//! let attack = proofmark_attacks::build("surfree", &table).unwrap();
//! assert_eq!(attack.parameters()["directions"], 100);
//! ```

use std::f64::consts::FRAC_PI_2;

use burn::tensor::Tensor;
use proofmark_domain::{Grid, Norm, Role};
use proofmark_engine::{
    Access, Aim, Attack, AttackEntry, BuildError, EngineError, Job, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, run,
};
use proofmark_model::DecisionModel;
use proofmark_threat::{Batch, Budget, Column, Columns, Step, mask, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::approach::{Limits, Stage};
use super::features::{self, dot};
use super::round::{Round, moved};
use crate::config::{at_least_one, read, require, written};
use crate::inputs;

mod dct;
mod directions;
mod places;

use dct::Frequencies;
use directions::{Directions, Space};
use places::{Places, Turn};

/// Space of the random directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DirectionSpace {
    /// Low frequencies for images, all features for other inputs.
    Auto,
    /// All features.
    Features,
    /// Low frequencies; images only.
    Dct,
}

/// Parameters of `SurFree`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Sample-forwards per sample, at least 1; default 5000.
    pub queries: u32,
    /// Maximum number of directions that are orthogonal to each other, at least 1; default 100.
    pub directions: u32,
    /// First largest angle, degrees, above 0 and at most 80; default 30.
    pub angle: f64,
    /// Number of angles tried on each side, `T`, at least 1; default 1.
    pub parts: u32,
    /// Change of the largest angle, `ρ`, in (0, 1); default 0.95.
    pub decay: f64,
    /// Bisections of the angle, at least 1; default 3.
    pub bisections: u32,
    /// Accuracy of the distance, as a share of it, in (0, 1); default 0.0005.
    pub tolerance: f64,
    /// Space of the directions: `auto`, `features` or `dct`; default `auto` (`dct` for images).
    pub space: DirectionSpace,
    /// Share of the frequencies of each axis that `dct` draws, in (0, 1]; default 0.5.
    pub frequencies: f64,
    /// Points tried to find a start, at least 1; default 100.
    pub tries: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queries: 5000,
            directions: 100,
            angle: 30.0,
            parts: 1,
            decay: 0.95,
            bisections: 3,
            tolerance: 5e-4,
            space: DirectionSpace::Auto,
            frequencies: 0.5,
            tries: 100,
        }
    }
}

/// Largest angle of a turn, radians: 80 degrees.
const WIDEST: f64 = FRAC_PI_2 * 8.0 / 9.0;

/// Smallest largest angle, radians: turns below it are lost in the rounding of `f32`.
const NARROWEST: f64 = 1e-4;

const META: Meta = Meta {
    id: "surfree",
    version: 1,
    summary: "turns towards random directions, by decisions alone",
    role: Role::Attack,
    needs: Needs::Decisions,
    norms: &[Norm::L2],
    reference: "Maho, Furon and Le Merrer 2021, arXiv:2011.12807",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<SurFree, BuildError> {
        at_least_one(META.id, "queries", self.queries)?;
        at_least_one(META.id, "directions", self.directions)?;
        at_least_one(META.id, "parts", self.parts)?;
        at_least_one(META.id, "bisections", self.bisections)?;
        at_least_one(META.id, "tries", self.tries)?;
        let acute = self.angle > 0.0 && self.angle <= 80.0;
        let expected = "degrees above 0, at most 80";
        require(acute, META.id, "angle", self.angle, expected)?;
        let expected = "a number between 0 and 1";
        for (field, value) in [("decay", self.decay), ("tolerance", self.tolerance)] {
            require(value > 0.0 && value < 1.0, META.id, field, value, expected)?;
        }
        let share = self.frequencies > 0.0 && self.frequencies <= 1.0;
        let expected = "a number above 0, at most 1";
        require(share, META.id, "frequencies", self.frequencies, expected)?;
        Ok(SurFree(self))
    }
}

/// `SurFree` with its parameters checked.
#[derive(Debug)]
pub struct SurFree(Config);

/// The attack for inputs with a given number of features.
#[derive(Debug)]
struct Turns<'a> {
    config: &'a Config,
    limits: Limits,
    space: Space,
}

/// Point of each row, and the turn that it tries.
#[derive(Debug, Clone)]
struct State {
    /// A point that succeeds; the clean sample until one has.
    x: Batch,
    /// Point of the largest angle that succeeded.
    turned: Batch,
    directions: Directions,
    host: Places,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("turned", &mut self.turned));
        all.extend(prefixed("directions", &mut self.directions));
        all.extend(prefixed("host", &mut self.host));
        all
    }
}

impl Turns<'_> {
    /// Returns the angle that row `i` queries next.
    fn angle(&self, host: &Places, i: usize) -> f64 {
        let parts = f64::from(self.config.parts);
        let (angle, beyond) = (host.angle[i], host.beyond[i]);
        if angle == 0.0 {
            let side = if host.tried[i].is_multiple_of(2) {
                1.0
            } else {
                -1.0
            };
            let part = (host.tried[i] / 2) as f64;
            side * host.widest[i] * (parts - part) / parts
        } else if beyond == 0.0 {
            (1.5 * angle).clamp(-WIDEST, WIDEST)
        } else {
            f64::midpoint(angle, beyond)
        }
    }

    /// Updates row `i`, which is at the boundary, with the answer about the point of its next angle.
    fn take(&self, host: &mut Places, i: usize, succeeded: bool, gauge: f64) -> Turn {
        let angle = self.angle(host, i);
        let was_signed = host.angle[i] != 0.0;
        let was_bracketed = host.beyond[i] != 0.0;
        if succeeded {
            (host.angle[i], host.found[i]) = (angle, gauge);
        }
        if was_signed {
            if !succeeded {
                host.beyond[i] = angle;
            }
            host.halved[i] += u64::from(was_bracketed);
        } else {
            if succeeded && host.tried[i] >= 2 {
                // One part further did not succeed on either side.
                let part = host.widest[i] / f64::from(self.config.parts);
                host.beyond[i] = angle + part.copysign(angle);
            }
            host.tried[i] += 1;
            if !succeeded && host.tried[i] >= 2 * u64::from(self.config.parts) {
                host.tried[i] = 0;
                host.widest[i] = (host.widest[i] * self.config.decay).max(NARROWEST);
            }
        }
        let is_exact = host.halved[i] >= u64::from(self.config.bisections);
        if !is_exact && host.angle[i].abs() < WIDEST {
            return Turn::On;
        }
        let (angle, gauge) = (host.angle[i], host.found[i]);
        // A flat boundary is at most this much nearer; `beyond` is not known at the widest angle.
        let off = (host.beyond[i] - angle).abs() * f64::from(u8::from(host.beyond[i] != 0.0));
        let slack = angle.tan().abs() * off;
        let first = gauge * slack.max(self.config.tolerance);
        host.approach.retreat(i, gauge, first);
        host.widest[i] = (host.widest[i] / self.config.decay).min(WIDEST);
        (host.tried[i], host.halved[i]) = (0, 0);
        (host.angle[i], host.beyond[i]) = (0.0, 0.0);
        Turn::Done
    }

    /// Returns the point of each row's next angle on its circle.
    fn turned(&self, rows: &Rows, state: &State) -> Batch {
        let region = rows.region();
        let x0 = region.x0();
        let columns = |of: &dyn Fn(f64) -> f64| {
            let values: Vec<f32> = (0..rows.len())
                .map(|i| of(self.angle(&state.host, i)) as f32)
                .collect();
            region.column(&values)
        };
        let (cos, sin) = (columns(&f64::cos), columns(&f64::sin));
        let gauges: Vec<f32> = (0..rows.len())
            .map(|i| state.host.approach.gauge(i) as f32)
            .collect();
        let way = state.x.zip(&x0, |x, x0| x - x0);
        let length = dot(&way, &way).sqrt().clamp_min(f32::MIN_POSITIVE);
        let towards = |part: &Tensor<1>| part.clone().unsqueeze_dim::<2>(1);
        let direction = way.zip(&state.directions.now, |u, v| {
            u / length.clone() * towards(&cos) + v * towards(&sin)
        });
        let reach = region.column(&gauges) * cos;
        let step = Step::new(reach.clone()).within(reach);
        region.advance(&x0, &direction, &step)
    }
}

impl<M: DecisionModel + ?Sized> Stepper<M> for Turns<'_> {
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
        Ok(State {
            turned: x.clone(),
            directions: Directions::new(rows, &self.space),
            host: Places::new(rows.len(), self.config.angle.to_radians()),
            x,
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let n = rows.len();
        let points = |i: usize| {
            let left = u64::from(self.config.queries).saturating_sub(rows.spent(i).forward);
            let wanted = state.host.approach.points(i, &self.limits, 0);
            wanted.unwrap_or(1).min(left as usize)
        };
        let round = Round::new((0..n).map(points).collect());
        if round.owner.is_empty() {
            return Ok(());
        }
        let fresh: Vec<usize> = (0..n).filter(|i| state.host.is_fresh(*i)).collect();
        let approach = &state.host.approach;
        let gauge = |i: usize| approach.gauge(i);
        (state.directions).renew(rows, &self.space, &state.x, &fresh, gauge);

        let mut x = approach.back(rows, &state.x, &state.x);
        let there = approach.is(Stage::There);
        if there.contains(&true) {
            let turned = self.turned(rows, state);
            x = x.replace_rows(&mask(&there, &x.device()), &turned);
        }
        let points = approach.starts(rows, &round.spread(&x), &round, &[]);
        let answers = round.ask(oracle, rows, &points)?;

        let (mut taken, mut turned, mut done) = (vec![None; n], vec![None; n], vec![false; n]);
        for (i, span) in round.spans() {
            let succeeded = &answers.succeeded[span.clone()];
            let gauges = &answers.gauges[span.clone()];
            if there[i] {
                let gauge = f64::from(gauges[0]);
                done[i] = self.take(&mut state.host, i, succeeded[0], gauge) == Turn::Done;
                turned[i] = succeeded[0].then_some(span.start);
            } else {
                let approach = &mut state.host.approach;
                let of_row = approach.take(i, succeeded, gauges, &self.limits);
                taken[i] = of_row.map(|b| span.start + b);
            }
        }
        state.turned = moved(&state.turned, &points, &turned);
        state.x = moved(&state.x, &points, &taken)
            .replace_rows(&mask(&done, &points.device()), &state.turned);
        Ok(())
    }

    fn finished(&self, rows: &Rows, state: &State) -> Option<Vec<bool>> {
        let over = |i: usize| {
            let lost = state.host.approach.stage(i) == Stage::Lost;
            lost || rows.spent(i).forward >= u64::from(self.config.queries)
        };
        Some((0..rows.len()).map(over).collect())
    }
}

impl Attack for SurFree {
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
        inputs::one(&META, job)?;
        self.frequencies(job).map(|_| ())
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let free = features::free(job);
        let features = free.iter().filter(|f| **f).count();
        let turns = Turns {
            config: &self.0,
            limits: Limits {
                tries: self.0.tries,
                tolerance: self.0.tolerance,
            },
            space: Space {
                free,
                low: self.frequencies(job)?,
                basis: Space::basis(self.0.directions, features),
            },
        };
        run(access.decisions(), &turns, job)
    }
}

impl SurFree {
    /// Returns the low frequencies of the input that may change, and which input that is; `None` if directions are drawn
    /// over all features.
    fn frequencies(&self, job: &Job<'_>) -> Result<Option<(usize, Frequencies)>, EngineError> {
        if self.0.space == DirectionSpace::Features {
            return Ok(None);
        }
        let Some(m) = job.threat.budgets().iter().position(Budget::moves) else {
            return Ok(None);
        };
        let modality = &job.samples.modalities[m];
        match Grid::of(modality) {
            Some(grid) => Ok(Some((m, Frequencies::new(grid, self.0.frequencies)))),
            None if self.0.space == DirectionSpace::Dct => Err(EngineError::Parameter {
                name: "space",
                given: format!("dct for input `{}`", modality.name),
                expected: "an image input; for other inputs `features`".into(),
            }),
            None => Ok(None),
        }
    }
}

/// Registry entry of `SurFree`.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests;
