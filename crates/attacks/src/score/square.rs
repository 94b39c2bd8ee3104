//! Square.
//!
//! # Idea
//! Random search: set the changes of a random square to an extreme value of the budget, keep the point if the loss is
//! no worse, and make the squares smaller as the search goes on. It needs no gradient, so masked gradients do not stop
//! it.
//!
//! # Maths
//! Per row, `δ` the present change and `p` the share of the input that a window covers:
//!
//! * **Linf**: start with vertical stripes of ±ε, one sign per column and channel. A proposal sets all features of a
//!   window in channel `c` to `x0 ± ε` (clipped to the bounds), one sign per channel.
//! * **L2, L1**: start with 5×5 tiles, each two pyramids of opposite signs (`η`). A proposal draws two windows of the
//!   same size. The second window gets `η ± δ / ‖δ‖` as its direction, and as its size the mass of both windows plus
//!   the budget that is not used yet (shared by the channels); the first window gets 0. The rings of a pyramid have the
//!   heights `Σ_{j ≥ k} 1 / (j + 1)²` (L1: the fourth power).
//!
//! The proposal replaces the point if its loss is at least as high. `p` begins at `p_init` and halves after 10, 50,
//! 200, 500, 1000, 2000, 4000, 6000 and 8000 proposals; with `rescale`, after these shares of 10,000 of the run's
//! proposals.
//!
//! # Reference
//! Andriushchenko, Croce, Flammarion and Hein, "Square Attack: a query-efficient black-box adversarial attack via random
//! search", ECCV 2020, algorithms 1 to 3 and appendix B; L1 follows Croce and Hein, "Mind the box", ICML 2021.
//!
//! # Divergences
//! * Windows, positions and signs are drawn for each row by itself. `AutoAttack` draws one window for the whole batch.
//! * The reference codes never put a window on the last row or column (`randint(0, h − s)` leaves out `h − s`). Here
//!   every position is possible.
//! * A window longer than a side of the input takes the whole side and more of the other one, so that inputs of any
//!   shape work (the reference codes need square images). Tables and waveforms are strips of one row.
//! * A proposal that changes no feature costs a query and gains nothing: signs and window are drawn again. The paper
//!   does the same for Linf; `AutoAttack` does not.
//! * A proposal of equal loss is accepted, so that the search drifts over plateaus (rounded scores).
//! * L2 and L1 changes are stretched until they spend the whole budget *after* clipping to the bounds; the reference
//!   codes clip last and leave a part of the budget unused. Features that may not change get no mass.
//! * Windows lie on the features that may change: on the bounding box of a patch, or on a strip of scattered pixels.
//! * With several inputs, each proposal changes one of them, drawn at random. Budgets that inputs share are refused.
//!
//! # Cost
//! Per sample and restart: `queries` forwards, the start included, and one to judge a point that was found. A row in
//! which nothing can change ends after 2.
//!
//! # When it fails
//! On inputs with many features and few queries; on models whose decisions need fine, high-frequency changes in L2.
//! Against a randomised model the best loss may be a lucky draw.
//!
//! # Example
//! ```
//! let table: toml::Table = "queries = 1000\nrescale = true".parse().unwrap();
//! let attack = proofmark_attacks::build("square", &table).unwrap();
//! assert_eq!(attack.parameters()["p_init"], 0.8);
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Attack, AttackEntry, BuildError, EngineError, Job, Loss, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, run,
};
use proofmark_model::ScoreModel;
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Column, Columns, Draw, host, mask, prefixed, row};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::canvas::{Canvas, Window, canvases};
use super::pyramid;
use crate::config::{at_least_one, read, require, written};
use crate::inputs;
use crate::loss::LossKind;

/// Parameters of Square.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Forwards per sample and restart, at least 1; default 5000.
    pub queries: u32,
    /// Share of the input that the first windows cover, above 0 and at most 1; default 0.8.
    pub p_init: f64,
    /// Whether the schedule of the windows is stretched from 10,000 proposals to `queries`; default false.
    pub rescale: bool,
    /// Restarts, at least 1; default 1.
    pub restarts: u32,
    /// Loss: `ce`, `margin` or `dlr`; default `margin`.
    pub loss: LossKind,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queries: 5000,
            p_init: 0.8,
            rescale: false,
            restarts: 1,
            loss: LossKind::Margin,
        }
    }
}

/// Number of proposals after which the share of a window halves.
const HALVINGS: [u64; 9] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];

/// Length of the schedule.
const SCHEDULE: u64 = 10_000;

/// Windows drawn before a row counts as one in which nothing can change.
const REDRAWS: usize = 128;

const META: Meta = Meta {
    id: "square",
    version: 1,
    summary: "random search with shrinking squares, by scores alone",
    role: Role::Attack,
    needs: Needs::Scores,
    norms: &[Norm::Linf, Norm::L2, Norm::L1],
    reference: "Andriushchenko et al. 2020, arXiv:1912.00049",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Square, BuildError> {
        at_least_one(META.id, "queries", self.queries)?;
        at_least_one(META.id, "restarts", self.restarts)?;
        let share = self.p_init > 0.0 && self.p_init <= 1.0;
        let expected = "a share above 0 and at most 1";
        require(share, META.id, "p_init", self.p_init, expected)?;
        Ok(Square(self))
    }

    /// Returns the share of the input that the windows of proposal `k` (from 0) cover.
    fn share(&self, k: u64) -> f64 {
        let at = if self.rescale {
            k * SCHEDULE / u64::from(self.queries)
        } else {
            k
        };
        let halvings = HALVINGS.iter().filter(|h| at > **h).count();
        self.p_init * 0.5_f64.powi(halvings as i32)
    }
}

/// Square with its parameters checked.
#[derive(Debug)]
pub struct Square(Config);

/// The search on inputs of given shapes.
#[derive(Debug)]
struct Search<'a> {
    config: &'a Config,
    loss: Box<dyn Loss>,
    /// One per modality; `None` if it may not change.
    canvases: Vec<Option<Canvas>>,
}

/// The best point of each row.
#[derive(Debug, Clone)]
struct State {
    x: Batch,
    loss: Vec<f64>,
    /// 1 if nothing in the row can change.
    stuck: Vec<u64>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.push(("loss".into(), Column::Real(&mut self.loss)));
        all.push(("stuck".into(), Column::Count(&mut self.stuck)));
        all
    }
}

/// Returns the end of a feature's Linf interval.
fn end(draw: &Draw<'_>, f: usize, up: bool) -> f32 {
    let (low, high) = row::linf_bounds(draw.x0[f], draw.lower[f], draw.upper[f], draw.eps);
    if up { high } else { low }
}

/// Sets every column of each channel to one end of the budget.
fn stripes(canvas: &Canvas, draw: &mut Draw<'_>, stream: &mut Stream) {
    let [height, width] = canvas.sides();
    for channel in 0..canvas.channels() {
        for column in 0..width {
            let up = stream.next_u32() & 1 == 1;
            for row in 0..height {
                let f = canvas.feature(row, column, channel);
                draw.x[f] = end(draw, f, up);
            }
        }
    }
}

/// Returns whether setting a window to these ends changes a feature.
fn changes(canvas: &Canvas, draw: &Draw<'_>, window: Window, ups: &[bool]) -> bool {
    (ups.iter().enumerate()).any(|(channel, up)| {
        let mut features = canvas.features(window, channel);
        features.any(|f| draw.x[f] != end(draw, f, *up))
    })
}

/// Sets a random window to the ends of the budget; draws again if that would change nothing. Returns whether it
/// changed the row.
fn window(canvas: &Canvas, draw: &mut Draw<'_>, share: f64, stream: &mut Stream) -> bool {
    let size = canvas.window(share, 1);
    for _ in 0..REDRAWS {
        let window = canvas.draw(size, stream);
        let ups: Vec<bool> = (0..canvas.channels())
            .map(|_| stream.next_u32() & 1 == 1)
            .collect();
        if changes(canvas, draw, window, &ups) {
            for (channel, up) in ups.iter().enumerate() {
                for f in canvas.features(window, channel) {
                    draw.x[f] = end(draw, f, *up);
                }
            }
            return true;
        }
    }
    false
}

impl Search<'_> {
    /// Returns the start of each row.
    fn starts(&self, rows: &Rows) -> Batch {
        let region = rows.region();
        let keys = rows.streams(Purpose::Start, 0);
        let (x, _) = region.alter(&region.x0(), |r, draws| {
            let mut stream = Stream::new(&keys[r]);
            for (canvas, draw) in self.canvases.iter().zip(draws) {
                let Some(canvas) = canvas.as_ref().filter(|_| draw.eps > 0.0) else {
                    continue;
                };
                if draw.norm == Norm::Linf {
                    stripes(canvas, draw, &mut stream);
                } else {
                    pyramid::tiles(canvas, draw, &mut stream);
                }
            }
        });
        x
    }

    /// Returns the next proposal of each row, and whether it differs from the row's point. Rows at their first step
    /// propose their start.
    fn proposals(&self, rows: &Rows, x: &Batch) -> (Batch, Vec<bool>) {
        let steps = rows.steps();
        if steps.iter().all(|k| *k == 0) {
            return (x.clone(), vec![true; rows.len()]);
        }
        let keys = rows.streams(Purpose::Direction, 0);
        rows.region().alter(x, |r, draws| {
            let Some(k) = steps[r].checked_sub(1) else {
                return true;
            };
            let mut stream = Stream::new(&keys[r]);
            let may = |m: &usize| self.canvases[*m].is_some() && draws[*m].eps > 0.0;
            let moving: Vec<usize> = (0..draws.len()).filter(may).collect();
            let pick = match moving.len() {
                0 => return false,
                1 => 0,
                n => stream.below(n as u32) as usize,
            };
            let (draw, share) = (&mut draws[moving[pick]], self.config.share(k));
            let Some(canvas) = &self.canvases[moving[pick]] else {
                return false;
            };
            if draw.norm == Norm::Linf {
                window(canvas, draw, share, &mut stream)
            } else {
                pyramid::transfer(canvas, draw, share, &mut stream);
                true
            }
        })
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

    fn restarts(&self) -> u32 {
        self.config.restarts
    }

    fn start(&self, _: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        Ok(State {
            x: self.starts(rows),
            loss: vec![f64::NEG_INFINITY; rows.len()],
            stuck: vec![0; rows.len()],
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let (x, changed) = self.proposals(rows, &state.x);
        let request = rows.request(&x);
        let scores = oracle.scores(rows, request)?;
        let losses = host(&self.loss.per_sample(&scores, &x, &rows.focus()));
        // A NaN loss is no better than any other.
        let better: Vec<bool> = (losses.iter().zip(&state.loss))
            .map(|(loss, best)| f64::from(*loss) >= *best)
            .collect();
        for (i, loss) in losses.iter().enumerate().filter(|(i, _)| better[*i]) {
            state.loss[i] = f64::from(*loss);
        }
        state.x = state.x.replace_rows(&mask(&better, &x.device()), &x);
        for (stuck, changed) in state.stuck.iter_mut().zip(changed) {
            *stuck = u64::from(!changed);
        }
        Ok(())
    }

    fn finished(&self, _: &Rows, state: &State) -> Option<Vec<bool>> {
        Some(state.stuck.iter().map(|s| *s == 1).collect())
    }
}

impl Attack for Square {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.0)
    }

    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        inputs::independent(&META, job)
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

/// Registry entry of Square.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use proofmark_domain::{Grid, Seed};
    use proofmark_stats::random::StreamKey;

    use super::*;

    #[test]
    fn the_schedule_halves_after_the_papers_proposals() {
        let config = Config::default();
        let halvings = |config: &Config, k: u64| (config.p_init / config.share(k)).log2() as u32;
        let of = |k: u64| halvings(&config, k);
        assert_eq!([0, 10, 11, 50, 51, 201].map(of), [0, 0, 1, 1, 2, 3]);
        assert_eq!(
            [501, 1001, 2001, 4001, 6001, 8001].map(of),
            [4, 5, 6, 7, 8, 9]
        );
        let short = Config {
            queries: 100,
            rescale: true,
            ..Config::default()
        };
        // Proposal 1 of 100 stands for proposal 100 of 10,000.
        let of = |k: u64| halvings(&short, k);
        assert_eq!([0, 1, 2, 3, 5, 6, 81].map(of), [0, 2, 2, 3, 3, 4, 9]);
    }

    fn image(shape: [usize; 3]) -> Canvas {
        Canvas::over(&Grid::channels_first(shape), None).unwrap()
    }

    /// One square of a 2-channel image by hand: the row is at the lower ends, so a square changes the channels whose
    /// sign is up and no others.
    #[test]
    fn a_window_takes_the_ends_of_the_budget() {
        let canvas = image([2, 4, 4]);
        let x0: Vec<f32> = (0..32).map(|f| if f == 5 { 0.95 } else { 0.5 }).collect();
        let mut seen = [0; 3];
        for draw in 0..200 {
            let mut x: Vec<f32> = x0.iter().map(|v| v - 0.125).collect();
            let mut row = Draw {
                norm: Norm::Linf,
                eps: 0.125,
                x: &mut x,
                x0: &x0,
                lower: &[0.0; 32],
                upper: &[1.0; 32],
            };
            let mut key = StreamKey::new(Seed(0), 0, Purpose::Direction);
            key.draw = draw;
            assert!(window(&canvas, &mut row, 0.25, &mut Stream::new(&key)));
            let moved: Vec<usize> = (0..32).filter(|f| x[*f] != x0[*f] - 0.125).collect();
            for f in &moved {
                assert_eq!(x[*f], if *f == 5 { 1.0 } else { 0.625 });
            }
            let channels = [0, 1].map(|c| moved.iter().filter(|f| **f / 16 == c).count());
            let which = match channels {
                [4, 0] => 0,
                [0, 4] => 1,
                [4, 4] => 2,
                other => panic!("{other:?}: a window is 2x2"),
            };
            seen[which] += 1;
        }
        // The proposal that changes nothing is drawn again: three kinds, equally likely.
        assert!(seen.iter().all(|n| *n > 40), "{seen:?}");
    }

    #[test]
    fn a_row_in_which_nothing_can_change_is_recognised() {
        let canvas = image([1, 2, 2]);
        let mut x = [0.5; 4];
        let mut row = Draw {
            norm: Norm::Linf,
            eps: 0.1,
            x: &mut x,
            x0: &[0.5; 4],
            lower: &[0.5; 4],
            upper: &[0.5; 4],
        };
        let key = StreamKey::new(Seed(0), 0, Purpose::Direction);
        assert!(!window(&canvas, &mut row, 0.8, &mut Stream::new(&key)));
    }
}
