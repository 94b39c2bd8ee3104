//! `SimBA`.
//!
//! # Idea
//! Take one direction after the other from an orthonormal basis, in random order; add a step along it, or else subtract
//! it, if that raises the loss. Steps along orthogonal directions add up slowly: after `T` of them the change is only
//! `√T` steps long, which makes this an L2 attack.
//!
//! # Maths
//! `q` a direction of the basis that was not tried yet, `α` the step length, `P` the projection on ball ∩ bounds:
//! query `P(x + α q)`; if the loss did not rise, query `P(x − α q)`; keep the first point with a higher loss.
//! Bases: single features (`pixel`), or the low frequencies of the two-dimensional discrete cosine transform of each
//! channel (`dct`).
//!
//! # Reference
//! Guo, Gardner, You, Wilson and Weinberger, "Simple Black-box Adversarial Attacks", ICML 2019, algorithm 1.
//!
//! # Divergences
//! * The paper has no budget: it counts the length that was needed. Here every point is projected on the budget, and
//!   a step along one direction then takes length from the others.
//! * The default step is the budget divided by the square root of the number of directions that the queries suffice
//!   for (two in three queries, or all directions): the paper's 0.2 suits inputs in [0, 1] and large budgets only.
//! * When all directions have been tried, another pass begins, in a new order and with a smaller step (pass `p` has
//!   `α / p`), so that the search converges. A later DCT pass has twice the frequencies along each side, until it has
//!   all of them.
//! * A step that the bounds do not allow at all costs no query: the other sign or the next direction is taken.
//! * The default loss is the margin, which does not saturate; the paper's probability is `loss = "ce"`.
//! * Tables and waveforms have a one-dimensional cosine transform. Directions lie on features that may change.
//!
//! # Cost
//! Per sample: `queries` forwards, the clean sample's included, and one to judge a point that was found. A row in which
//! nothing can change ends after 2.
//!
//! # When it fails
//! Where few queries meet many features: a direction costs about 1.5 queries. On plateaus (rounded scores), where single
//! small steps change nothing.
//!
//! # Example
//! ```
//! let table: toml::Table = "basis = \"dct\"".parse().unwrap();
//! let attack = proofmark_attacks::build("simba", &table).unwrap();
//! assert_eq!(attack.parameters()["frequencies"], 0.125);
//! ```

use std::f64::consts::PI;

use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Attack, AttackEntry, BuildError, EngineError, Job, Loss, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, run,
};
use proofmark_model::ScoreModel;
use proofmark_stats::random::{Purpose, StreamKey};
use proofmark_threat::{Batch, Column, Columns, Draw, host, mask, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::canvas::Canvas;
use super::order::shuffled;
use super::square::canvases;
use crate::config::{at_least_one, read, require, steps_forward, written};
use crate::loss::LossKind;

/// Basis from which the directions are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Basis {
    /// Single features.
    #[default]
    Pixel,
    /// Low frequencies of the discrete cosine transform.
    Dct,
}

/// Parameters of `SimBA`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Forwards per sample, at least 1; default 5000.
    pub queries: u32,
    /// Length of a step in the first pass, data units, above 0; by default the budget divided by the square root of the
    /// number of directions that the queries suffice for.
    pub step_size: Option<f64>,
    /// Basis of the directions: `pixel` or `dct`; default `pixel`.
    pub basis: Basis,
    /// Share of the frequencies along each side that the first pass of the DCT basis takes, above 0 and at most 1;
    /// default 0.125 (at least 4 frequencies).
    pub frequencies: f64,
    /// Loss: `ce`, `margin` or `dlr`; default `margin`.
    pub loss: LossKind,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queries: 5000,
            step_size: None,
            basis: Basis::Pixel,
            frequencies: 0.125,
            loss: LossKind::Margin,
        }
    }
}

/// Least number of frequencies along a side, if it has so many.
const FREQUENCIES: usize = 4;

/// Directions looked at for one that the bounds allow, in one step.
const LOOKS: usize = 256;

const META: Meta = Meta {
    id: "simba",
    version: 1,
    summary: "steps along single features or frequencies that raise the loss",
    role: Role::Attack,
    needs: Needs::Scores,
    norms: &[Norm::L2],
    reference: "Guo et al. 2019, arXiv:1905.07121",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Simba, BuildError> {
        at_least_one(META.id, "queries", self.queries)?;
        steps_forward(META.id, self.step_size)?;
        let share = self.frequencies > 0.0 && self.frequencies <= 1.0;
        let expected = "a share above 0 and at most 1";
        require(share, META.id, "frequencies", self.frequencies, expected)?;
        Ok(Simba(self))
    }

    /// Returns the default step length as a share of the budget, for this many directions in the first pass.
    fn share(&self, directions: usize) -> f64 {
        let affordable = (f64::from(self.queries) * 2.0 / 3.0).max(1.0);
        affordable.min(directions.max(1) as f64).sqrt().recip()
    }
}

/// `SimBA` with its parameters checked.
#[derive(Debug)]
pub struct Simba(Config);

/// The search on inputs of given shapes.
#[derive(Debug)]
struct Search<'a> {
    config: &'a Config,
    loss: Box<dyn Loss>,
    /// One per modality; `None` if it may not change.
    canvases: Vec<Option<Canvas>>,
}

/// A direction of the basis: a modality, a channel, and a cell or a pair of frequencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Direction {
    modality: usize,
    channel: usize,
    place: [usize; 2],
}

/// The best point of each row, and what it tries next.
#[derive(Debug, Clone)]
struct State {
    x: Batch,
    loss: Vec<f64>,
    /// Twice the number of directions done, plus 1 if the next query subtracts the step.
    next: Vec<u64>,
    /// 1 if nothing in the row can change.
    stuck: Vec<u64>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.push(("loss".into(), Column::Real(&mut self.loss)));
        all.push(("next".into(), Column::Count(&mut self.next)));
        all.push(("stuck".into(), Column::Count(&mut self.stuck)));
        all
    }
}

/// What a row queries in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proposal {
    /// The clean sample.
    Clean,
    /// A step; the code counts as [`State::next`] does.
    Step(u64),
    /// Its present point: nothing in the row can change.
    Stuck,
}

/// Returns entry `i` of cosine direction `frequency` of a side with `n` cells for each `i`: an orthonormal basis.
fn cosines(frequency: usize, n: usize) -> Vec<f64> {
    let (n_f, k) = (n as f64, frequency as f64);
    let scale = (if frequency == 0 { 1.0 } else { 2.0 } / n_f).sqrt();
    // cos((2i + 1) φ) by the recurrence of Chebyshev; two numbers before the first are equal by symmetry.
    let angle = PI * k / (2.0 * n_f);
    let (mut before, mut now) = (angle.cos(), angle.cos());
    let twice = 2.0 * (2.0 * angle).cos();
    (0..n)
        .map(|_| {
            let value = scale * now;
            (before, now) = (now, twice * now - before);
            value
        })
        .collect()
}

impl Search<'_> {
    /// Returns the number of places along each side of a canvas in pass `pass` (from 0).
    fn places(&self, canvas: &Canvas, pass: u64) -> [usize; 2] {
        canvas.sides().map(|side| match self.config.basis {
            Basis::Pixel => side,
            Basis::Dct => {
                let share = self.config.frequencies * 2.0_f64.powi(pass.min(64) as i32);
                let wanted = (side as f64 * share.min(1.0)).ceil() as usize;
                wanted.max(FREQUENCIES).min(side)
            }
        })
    }

    /// Returns the number of directions of pass `pass`.
    fn directions(&self, pass: u64) -> usize {
        let canvases = self.canvases.iter().flatten();
        canvases
            .map(|c| {
                let [rows, columns] = self.places(c, pass);
                rows * columns * c.channels()
            })
            .sum()
    }

    /// Returns the pass that direction `at` (from 0) belongs to, its place in it, and the length of that pass.
    fn pass(&self, at: u64) -> (u64, usize, usize) {
        let (mut pass, mut left) = (0, at);
        loop {
            let count = self.directions(pass) as u64;
            // From some pass on all have the same length.
            if count == self.directions(pass + 1) as u64 && self.directions(64) as u64 == count {
                return (pass + left / count, (left % count) as usize, count as usize);
            }
            if left < count {
                return (pass, left as usize, count as usize);
            }
            (pass, left) = (pass + 1, left - count);
        }
    }

    /// Returns direction `item` of pass `pass`.
    fn direction(&self, pass: u64, mut item: usize) -> Option<Direction> {
        for (modality, canvas) in self.canvases.iter().enumerate() {
            let Some(canvas) = canvas else { continue };
            let [rows, columns] = self.places(canvas, pass);
            let count = rows * columns * canvas.channels();
            if item < count {
                let (channel, place) = (item / (rows * columns), item % (rows * columns));
                return Some(Direction {
                    modality,
                    channel,
                    place: [place / columns, place % columns],
                });
            }
            item -= count;
        }
        None
    }

    /// Moves a row by `length` along a direction, within the bounds. Returns whether it moved.
    fn shift(&self, draw: &mut Draw<'_>, canvas: &Canvas, to: Direction, length: f64) -> bool {
        let mut moved = false;
        let mut add = |f: usize, by: f64| {
            let value = (f64::from(draw.x[f]) + by) as f32;
            let value = value.clamp(draw.lower[f], draw.upper[f]);
            moved |= value != draw.x[f];
            draw.x[f] = value;
        };
        let [row, column] = to.place;
        if self.config.basis == Basis::Pixel {
            add(canvas.feature(row, column, to.channel), length);
            return moved;
        }
        let [height, width] = canvas.sides();
        let (down, across) = (cosines(row, height), cosines(column, width));
        let entries = down.iter().flat_map(|d| across.iter().map(move |a| d * a));
        for (f, q) in canvas.features(canvas.whole(), to.channel).zip(entries) {
            add(f, length * q);
        }
        moved
    }

    /// Changes a row to its next proposal, from `next` on, and returns which one that is.
    fn propose(&self, key: &StreamKey, draws: &mut [Draw<'_>], next: u64) -> Proposal {
        if self.directions(0) == 0 {
            return Proposal::Stuck;
        }
        let most = self.config.share(self.directions(0));
        for code in next..next + LOOKS as u64 {
            let (pass, at, count) = self.pass(code / 2);
            // The order of a pass does not depend on the step at which it begins.
            let mut key = *key;
            key.step = pass as u32;
            let Some(to) = self.direction(pass, shuffled(&key, count, at)) else {
                break;
            };
            let (draw, canvas) = (&mut draws[to.modality], &self.canvases[to.modality]);
            let length = self.config.step_size.unwrap_or(most * draw.eps) / (pass + 1) as f64;
            let sign = if code % 2 == 0 { 1.0 } else { -1.0 };
            if let Some(canvas) = canvas
                && self.shift(draw, canvas, to, sign * length)
            {
                return Proposal::Step(code);
            }
        }
        Proposal::Stuck
    }
}

/// Returns what a row tries after proposal `code`.
fn after(code: u64, accepted: bool) -> u64 {
    if accepted {
        (code / 2 + 1) * 2
    } else {
        code + 1
    }
}

impl<M: ScoreModel + ?Sized> Stepper<M> for Search<'_> {
    type State = State;

    fn id(&self) -> &'static str {
        META.id
    }

    fn steps(&self) -> u32 {
        self.config.queries
    }

    fn start(&self, _: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        Ok(State {
            x: rows.region().x0(),
            loss: vec![f64::NEG_INFINITY; rows.len()],
            next: vec![0; rows.len()],
            stuck: vec![0; rows.len()],
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let (keys, steps) = (rows.streams(Purpose::Direction, 0), rows.steps());
        let (x, proposals) = rows.region().alter(&state.x, |r, draws| {
            if steps[r] == 0 {
                Proposal::Clean
            } else {
                self.propose(&keys[r], draws, state.next[r])
            }
        });
        let request = rows.request(&x);
        let scores = oracle.scores(rows, request)?;
        let losses = host(&self.loss.per_sample(&scores, &x, &rows.focus()));
        // A NaN loss is no better than any other.
        let better: Vec<bool> = (losses.iter().zip(&state.loss))
            .map(|(loss, best)| f64::from(*loss) > *best)
            .collect();
        for (i, proposal) in proposals.into_iter().enumerate() {
            if better[i] {
                state.loss[i] = f64::from(losses[i]);
            }
            match proposal {
                Proposal::Clean => {}
                Proposal::Step(code) => state.next[i] = after(code, better[i]),
                Proposal::Stuck => state.stuck[i] = 1,
            }
        }
        state.x = state.x.replace_rows(&mask(&better, &x.device()), &x);
        Ok(())
    }

    fn finished(&self, _: &Rows, state: &State) -> Option<Vec<bool>> {
        Some(state.stuck.iter().map(|s| *s == 1).collect())
    }
}

impl Attack for Simba {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.0)
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let search = Search {
            config: &self.0,
            loss: self.0.loss.loss(),
            canvases: canvases(job),
        };
        run(access.scores(META.id)?, &search, job)
    }
}

/// Registry entry of `SimBA`.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use proofmark_domain::{Bounds, Kind, Modality, Seed};

    use super::*;

    fn search<'a>(config: &'a Config, shapes: &[[usize; 3]]) -> Search<'a> {
        let canvas = |shape: &[usize; 3]| {
            let modality = Modality {
                name: "x".into(),
                kind: Kind::Image,
                shape: shape.to_vec(),
                bounds: Bounds::uniform(0.0, 1.0).unwrap(),
            };
            Canvas::new(&modality, None)
        };
        Search {
            config,
            loss: config.loss.loss(),
            canvases: shapes.iter().map(canvas).collect(),
        }
    }

    #[test]
    fn cosine_directions_are_orthonormal() {
        for n in [1, 2, 5, 64] {
            let all: Vec<Vec<f64>> = (0..n).map(|k| cosines(k, n)).collect();
            for (i, a) in all.iter().enumerate() {
                for (j, b) in all.iter().enumerate() {
                    let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    let expected = f64::from(u8::from(i == j));
                    assert!((dot - expected).abs() < 1e-10, "{n} {i} {j}: {dot}");
                }
            }
        }
        // Frequency 1 of three cells: cos 30°, cos 90°, cos 150°, times √(2/3).
        let by_hand = [0.5_f64.sqrt(), 0.0, -0.5_f64.sqrt()];
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
        assert!(cosines(1, 3).iter().zip(&by_hand).all(close));
    }

    #[test]
    fn every_pass_takes_every_direction_once() {
        let config = Config::default();
        let pixels = search(&config, &[[2, 3, 4], [1, 2, 2]]);
        assert_eq!(pixels.directions(0), 28);
        assert_eq!(pixels.pass(0), (0, 0, 28));
        assert_eq!(pixels.pass(27), (0, 27, 28));
        assert_eq!(pixels.pass(28), (1, 0, 28));
        assert_eq!(pixels.pass(28_000_003), (1_000_000, 3, 28));
        let all: Vec<Direction> = (0..28).filter_map(|i| pixels.direction(3, i)).collect();
        let mut unique = all.clone();
        unique.dedup();
        assert_eq!((all.len(), unique.len()), (28, 28));
        let expected = Direction {
            modality: 1,
            channel: 0,
            place: [1, 1],
        };
        assert_eq!(all[27], expected);
        assert_eq!(pixels.direction(0, 28), None);
    }

    /// 64 cells a side: 8, 16, 32 and 64 frequencies, then always 64.
    #[test]
    fn frequencies_double_from_pass_to_pass() {
        let config = Config {
            basis: Basis::Dct,
            ..Config::default()
        };
        let waves = search(&config, &[[3, 64, 64]]);
        let lengths: Vec<usize> = (0..5).map(|p| waves.directions(p)).collect();
        assert_eq!(lengths, [192, 768, 3072, 12_288, 12_288]);
        assert_eq!(waves.pass(191), (0, 191, 192));
        assert_eq!(waves.pass(192), (1, 0, 768));
        let before: u64 = lengths[..3].iter().map(|l| *l as u64).sum();
        assert_eq!(waves.pass(before), (3, 0, 12_288));
        assert_eq!(waves.pass(before + 12_288), (4, 0, 12_288));
        // A side with fewer than four cells has them all at once.
        assert_eq!(search(&config, &[[1, 2, 3]]).directions(0), 6);
    }

    /// A step that the bounds do not allow is not queried: at the upper bound the row subtracts at once.
    #[test]
    fn steps_out_of_the_bounds_cost_no_query() {
        let config = Config {
            step_size: Some(0.25),
            ..Config::default()
        };
        let one = search(&config, &[[1, 1, 1]]);
        let key = StreamKey::new(Seed(0), 0, Purpose::Direction);
        let try_from = |x: f32, next: u64| {
            let mut x = [x];
            let mut draws = [Draw {
                norm: Norm::L2,
                eps: 1.0,
                x: &mut x,
                x0: &[0.5],
                lower: &[0.0],
                upper: &[1.0],
            }];
            let proposal = one.propose(&key, &mut draws, next);
            (proposal, x[0])
        };
        assert_eq!(try_from(0.5, 0), (Proposal::Step(0), 0.75));
        assert_eq!(try_from(0.5, 1), (Proposal::Step(1), 0.25));
        assert_eq!(try_from(1.0, 0), (Proposal::Step(1), 0.75));
        // The second pass has half the step.
        assert_eq!(try_from(0.5, 2), (Proposal::Step(2), 0.625));
        assert_eq!(try_from(0.0, 1), (Proposal::Step(2), 0.125));
        assert_eq!(
            (after(4, true), after(4, false), after(5, false)),
            (6, 5, 6)
        );
    }

    #[test]
    fn the_default_step_spends_the_budget_in_one_pass() {
        let config = Config::default();
        assert_eq!(config.share(100), 0.1);
        // 5000 queries suffice for 3333 directions.
        assert!((config.share(1_000_000) - (3333.3_f64).sqrt().recip()).abs() < 1e-6);
    }
}
