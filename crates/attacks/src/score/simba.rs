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

use super::basis::{Basis, Directions};
use super::canvas::canvases;
use super::order::shuffled;
use crate::config::{at_least_one, read, require, steps_forward, written};
use crate::loss::LossKind;

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
    directions: Directions,
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

impl Search<'_> {
    /// Changes a row to its next proposal, from `next` on, and returns which one that is.
    fn propose(&self, key: &StreamKey, draws: &mut [Draw<'_>], next: u64) -> Proposal {
        if self.directions.count(0) == 0 {
            return Proposal::Stuck;
        }
        let most = self.config.share(self.directions.count(0));
        for code in next..next + LOOKS as u64 {
            let (pass, at, count) = self.directions.pass(code / 2);
            // The order of a pass does not depend on the step at which it begins.
            let mut key = *key;
            key.step = pass as u32;
            let Some(to) = self.directions.direction(pass, shuffled(&key, count, at)) else {
                break;
            };
            let eps = draws[to.modality].eps;
            let length = self.config.step_size.unwrap_or(most * eps) / (pass + 1) as f64;
            let sign = if code % 2 == 0 { 1.0 } else { -1.0 };
            if self.directions.shift(draws, to, sign * length) {
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
            directions: Directions {
                basis: self.0.basis,
                frequencies: self.0.frequencies,
                canvases: canvases(job),
            },
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

    use super::super::canvas::Canvas;
    use super::*;

    /// A step that the bounds do not allow is not queried: at the upper bound the row subtracts at once.
    #[test]
    fn steps_out_of_the_bounds_cost_no_query() {
        let config = Config {
            step_size: Some(0.25),
            ..Config::default()
        };
        let modality = Modality {
            name: "x".into(),
            kind: Kind::Table,
            shape: vec![1],
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        };
        let one = Search {
            config: &config,
            loss: config.loss.loss(),
            directions: Directions {
                basis: config.basis,
                frequencies: config.frequencies,
                canvases: vec![Canvas::new(&modality, None)],
            },
        };
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
