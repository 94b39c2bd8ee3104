//! Sparse-RS.
//!
//! # Idea
//! Change `k` random features to random bounds; then again and again put some of them back, change as many others
//! instead, and keep the exchange if the loss rises.
//!
//! # Maths
//! `M` is the set of changed features, `|M| = k`. Step `i` draws `A ⊂ M` and `B` outside `M`, both of
//! `max(⌊α_i k⌋, 1)` features; `x'` has clean values on `A` and random bounds on `B`. If `L(x') > L(x)`, then `x ← x'`.
//! `α_i` falls from `alpha` in steps: of 10,000 queries, 1/2 of it from the first exchange, 1/4 after 50, 1/5 after
//! 200, 1/6 after 500, 1/8 after 1000, 1/10 after 2000, 1/12 after 4000, 1/15 after 6000 and 1/20 after 8000; for
//! another number of queries, in proportion.
//!
//! # Reference
//! Croce, Andriushchenko, Singh, Flammarion and Hein, "Sparse-RS: a versatile framework for query-efficient sparse
//! black-box adversarial attacks", AAAI 2022, algorithms 1 and 2; the authors' code.
//!
//! # Divergences
//! The authors count pixels of images. Here a budget counts features, like the L0 gauge: by default single features are
//! exchanged, and any input works. With `pixels = true`, all channels of a pixel change together, `⌊eps / channels⌋`
//! pixels in all; to compare with the paper's `k` pixels, set `eps` to `k` times the channels. Every row draws its own
//! exchanges; in the authors' code all rows of a batch share them. A changed feature (or pixel) always differs from
//! the clean one, so that no budget is wasted on clean values at a bound. If the budget covers all features, there is
//! nothing to exchange: new bounds are drawn for `A`. With several inputs, each exchange is within one of them, chosen
//! in proportion to its number of changed features. `k` is fixed, as in the paper: fewer features are not searched for.
//!
//! # Cost
//! Per sample and restart: at most `queries` forwards, and one to judge. A sample stops once it breaks.
//!
//! # When it fails
//! With few queries or many features. Scores that are flat (rounded, saturated) give no direction. Features only move
//! to their bounds.
//!
//! # Example
//! ```
//! let table: toml::Table = "queries = 1000\npixels = true".parse().unwrap();
//! let attack = proofmark_attacks::build("sparse-rs", &table).unwrap();
//! assert_eq!(attack.parameters()["queries"], 1000);
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Attack, AttackEntry, BuildError, EngineError, Job, Loss, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, run,
};
use proofmark_model::ScoreModel;
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Column, Columns, host, mask, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::places::Places;
use crate::config::{at_least_one, read, require, written};
use crate::loss::LossKind;

/// Parameters of Sparse-RS.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Sample-forwards per sample and restart, at least 1; default 10000.
    pub queries: u32,
    /// Restarts, at least 1; default 1.
    pub restarts: u32,
    /// Share of the changed features that are exchanged at first, in (0, 1]; default 0.3 (the authors: 0.1 for target
    /// classes).
    pub alpha: f64,
    /// Loss: `ce`, `margin` or `dlr`; default `margin`, or `ce` with a target class.
    pub loss: Option<LossKind>,
    /// Whether all channels of a pixel change together, in images; default false.
    pub pixels: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queries: 10_000,
            restarts: 1,
            alpha: 0.3,
            loss: None,
            pixels: false,
        }
    }
}

/// Queries after which the share of exchanged features falls, of 10,000, and the divisors of `alpha` up to there.
const SCHEDULE: [(u64, f64); 9] = [
    (0, 1.0),
    (50, 2.0),
    (200, 4.0),
    (500, 5.0),
    (1000, 6.0),
    (2000, 8.0),
    (4000, 10.0),
    (6000, 12.0),
    (8000, 15.0),
];

/// Divisor of `alpha` at the end.
const LAST: f64 = 20.0;

const META: Meta = Meta {
    id: "sparse-rs",
    version: 1,
    summary: "random exchanges of a fixed number of changed features, by scores alone",
    role: Role::Attack,
    needs: Needs::Scores,
    norms: &[Norm::L0],
    reference: "Croce et al. 2022, arXiv:2006.12834",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<SparseRs, BuildError> {
        at_least_one(META.id, "queries", self.queries)?;
        at_least_one(META.id, "restarts", self.restarts)?;
        let share = self.alpha > 0.0 && self.alpha <= 1.0;
        let expected = "a share above 0, at most 1";
        require(share, META.id, "alpha", self.alpha, expected)?;
        Ok(SparseRs(self))
    }

    /// Returns how many of `changed` features are exchanged in step `k`.
    fn exchanged(&self, k: u64, changed: usize) -> usize {
        let at = k * 10_000 / u64::from(self.queries);
        let divisor = (SCHEDULE.iter().find(|(until, _)| at <= *until)).map_or(LAST, |(_, d)| *d);
        ((self.alpha / divisor * changed as f64) as usize).max(1)
    }
}

/// Sparse-RS with its parameters checked.
#[derive(Debug)]
pub struct SparseRs(Config);

/// The attack for given inputs.
#[derive(Debug)]
struct Search<'a> {
    config: &'a Config,
    loss: Box<dyn Loss>,
    inputs: Vec<Places>,
}

/// Best point of each row and its loss. Its changed places are those where it differs from the clean sample.
#[derive(Debug, Clone)]
struct State {
    x: Batch,
    loss: Vec<f64>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.push(("loss".into(), Column::Real(&mut self.loss)));
        all
    }
}

impl Search<'_> {
    /// Returns how many places of each input may change in row `i`.
    fn counts(&self, rows: &Rows, i: usize) -> Vec<usize> {
        let inputs = self.inputs.iter().zip(rows.region().eps());
        inputs.map(|(input, eps)| input.count(eps[i])).collect()
    }
}

/// Lets `change` replace the values of each input of each row, given its number in the row, its values and its
/// clean values.
fn changed(
    rows: &Rows,
    x: &Batch,
    mut change: impl FnMut(usize, usize, &mut [f32], &[f32]),
) -> Batch {
    let (mut values, x0) = (x.to_host(), rows.region().x0().to_host());
    for (m, (values, x0)) in values.iter_mut().zip(&x0).enumerate() {
        let width = values.len() / rows.len().max(1);
        let each = values.chunks_mut(width).zip(x0.chunks(width)).enumerate();
        for (i, (x, x0)) in each {
            change(i, m, x, x0);
        }
    }
    Batch::from_host(x.modalities().clone(), values, &x.device()).expect("as wide as before")
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
        let keys = rows.streams(Purpose::Start, 0);
        let mut streams: Vec<Stream> = keys.iter().map(Stream::new).collect();
        let counts: Vec<Vec<usize>> = (0..rows.len()).map(|i| self.counts(rows, i)).collect();
        let x = changed(rows, &rows.region().x0(), |i, m, x, x0| {
            self.inputs[m].scatter(x, x0, counts[i][m], &mut streams[i]);
        });
        Ok(State {
            x,
            loss: vec![f64::NEG_INFINITY; rows.len()],
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let keys = rows.streams(Purpose::Direction, 0);
        let mut streams: Vec<Stream> = keys.iter().map(Stream::new).collect();
        // The input in which each row exchanges, and how many places; the first step queries the start itself.
        let exchanges: Vec<Option<(usize, usize)>> = (0..rows.len())
            .map(|i| {
                let counts = self.counts(rows, i);
                let total: usize = counts.iter().sum();
                let k = rows.steps()[i];
                if k == 0 || total == 0 {
                    return None;
                }
                let mut at = streams[i].below(total as u32) as usize;
                let m = counts.iter().position(|count| {
                    let here = at < *count;
                    at = at.saturating_sub(*count);
                    here
                })?;
                Some((m, self.config.exchanged(k, counts[m])))
            })
            .collect();
        let x = changed(rows, &state.x, |i, m, x, x0| {
            if let Some((_, count)) = exchanges[i].filter(|(input, _)| *input == m) {
                self.inputs[m].exchange(x, x0, count, &mut streams[i]);
            }
        });
        let request = rows.request(&x);
        let focus = rows.focus_of(&request);
        let scores = oracle.scores(rows, request)?;
        let losses = host(&self.loss.per_sample(&scores, &x, &focus));
        let rises: Vec<bool> = (losses.iter().zip(&mut state.loss))
            .map(|(loss, best)| {
                let loss = f64::from(*loss);
                // A NaN loss is no rise.
                let rises = loss > *best;
                *best = if rises { loss } else { *best };
                rises
            })
            .collect();
        state.x = state.x.replace_rows(&mask(&rises, &x.device()), &x);
        Ok(())
    }

    /// A row whose budget is below one feature (or pixel) is done after one query.
    fn finished(&self, rows: &Rows, _: &State) -> Option<Vec<bool>> {
        let none = |i: usize| self.counts(rows, i).iter().all(|count| *count == 0);
        Some((0..rows.len()).map(none).collect())
    }
}

impl Attack for SparseRs {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.0)
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let default = if job.goal.targeted() {
            LossKind::Ce
        } else {
            LossKind::Margin
        };
        let budgets = job.samples.modalities.iter().zip(job.threat.budgets());
        let search = Search {
            config: &self.0,
            loss: self.0.loss.unwrap_or(default).loss(),
            inputs: budgets
                .map(|(modality, budget)| Places::new(modality, budget, self.0.pixels))
                .collect(),
        };
        run(access.scores(META.id)?, &search, job)
    }
}

/// Registry entry of Sparse-RS.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_exchanged_features_follows_the_authors_schedule() {
        let config = Config::default();
        let at = |k| config.exchanged(k, 1000);
        let ends = [1, 50, 51, 200, 500, 501, 1000, 2000, 4000, 6000, 8000, 8001];
        assert_eq!(at(0), 300);
        assert_eq!(
            ends.map(at),
            [150, 150, 75, 75, 60, 49, 49, 37, 30, 24, 20, 15]
        );
        assert_eq!((config.exchanged(1, 3), config.exchanged(9000, 3)), (1, 1));
        // Of 100 queries, each counts as 100.
        let few = Config {
            queries: 100,
            ..config
        };
        assert_eq!(
            [0, 1, 2, 3, 99].map(|k| few.exchanged(k, 1000)),
            [300, 75, 75, 60, 15]
        );
    }
}
