//! Random search towards a property, without gradients.
//!
//! # Idea
//! Change some inputs of the best point at random and keep a change that is no worse. Two moves alternate: set a
//! stretch of inputs to the ends of their ranges (piecewise-linear networks are extreme at corners), or move some
//! inputs a little, by a length that grows after a success and shrinks otherwise.
//!
//! # Maths
//! Per step `L` proposals from `u`: even ones set `m` neighbouring features to `±1`, odd ones add `s N(0, 1)` to each
//! feature with probability `m/n`; `m` falls geometrically from `n/2` to 1 over the steps. The best proposal is taken
//! if its loss is at least that of `u`. `s` is multiplied by 1.5 after a gain and by 0.9 otherwise, within `[1e-4, 1]`,
//! and is reset to 0.5 when it falls below that.
//!
//! # Reference
//! Andriushchenko et al., "Square Attack", ECCV 2020 (stretches at the ends, shrinking); Rechenberg 1973 (a step length
//! that follows success).
//!
//! # Divergences
//! The square is a stretch of the flat input, since a property does not state the input's shape. Ties are accepted: on
//! the plateaus of binarised networks nothing else makes progress.
//!
//! # Cost
//! Per row `draws` forwards, then `L` forwards per step.
//!
//! # When it fails
//! It is slow if thousands of inputs must all change at once.

use burn::tensor::Tensor;
use proofmark_engine::{EngineError, Loss, Oracle, Rows, Stepper};
use proofmark_model::{Query, ScoreModel};
use proofmark_stats::random::Stream;
use proofmark_threat::{Batch, Column, Columns, host, index, prefixed};

use super::property::Near;
use super::start::{Start, begin, best_of, pick, proposals, sign};

/// Number of proposals per row and step.
const PROPOSALS: usize = 4;

/// A random search with all its parameters.
#[derive(Debug)]
pub(super) struct RandomSearch {
    /// Loss to maximise.
    pub(super) near: Near,
    /// Start of each row, indexed by sample.
    pub(super) starts: Vec<Start>,
    /// Number of points drawn per row; the best one is the start.
    pub(super) draws: u32,
    /// Number of steps, at least 1.
    pub(super) steps: u32,
}

/// Best point of each row, with its loss and step length.
#[derive(Debug, Clone)]
pub(super) struct State {
    x: Batch,
    most: Tensor<1>,
    length: Vec<f64>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.push(("most".into(), Column::Vector(&mut self.most)));
        all.push(("length".into(), Column::Real(&mut self.length)));
        all
    }
}

impl RandomSearch {
    /// Returns the number of features to change at a step, of `inputs`.
    fn share(&self, step: u64, inputs: usize) -> usize {
        let way = step as f64 / f64::from(self.steps);
        let most = inputs as f64 / 2.0;
        (most.powf(1.0 - way) as usize).clamp(1, inputs)
    }
}

/// Changes `x` in place.
fn propose(x: &mut [f32], kind: usize, features: usize, length: f64, stream: &mut Stream) {
    let n = x.len();
    if kind.is_multiple_of(2) {
        let from = stream.below((n - features + 1) as u32) as usize;
        // All features go to one end, or each to a random end.
        let one = sign(stream);
        let same = stream.next_u32() & 1 == 0;
        for x in &mut x[from..from + features] {
            *x = if same { one } else { sign(stream) };
        }
        return;
    }
    let probability = features as f32 / n as f32;
    // One feature always moves, so that a proposal is never empty.
    let always = stream.below(n as u32) as usize;
    for (i, x) in x.iter_mut().enumerate() {
        if i == always || stream.uniform() < probability {
            *x = (*x + length as f32 * stream.normal()).clamp(-1.0, 1.0);
        }
    }
}

impl<M: ScoreModel + ?Sized> Stepper<M> for RandomSearch {
    type State = State;

    /// Keys the random numbers: another name gives another search, and the figures in ARCHITECTURE.md are for this one.
    fn id(&self) -> &'static str {
        "shake"
    }

    fn steps(&self) -> u32 {
        self.steps
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        let x = begin(oracle, rows, &self.starts, self.draws, &self.near)?;
        let query = Query::one_per_row(x.clone(), rows.keys());
        let scores = oracle.scores(rows, &query)?;
        let most = self.near.per_sample(&scores, &x, &rows.focus());
        Ok(State {
            x,
            most,
            length: vec![0.5; rows.len()],
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let inputs = state.x.blocks()[0].dims()[1];
        let features: Vec<usize> = (rows.steps().iter())
            .map(|step| self.share(*step, inputs))
            .collect();
        let query = proposals(rows, &state.x, PROPOSALS, |r, kind, x, stream| {
            propose(x, kind, features[r], state.length[r], stream);
        })?;
        let scores = oracle.scores(rows, &query)?;
        let loss = self
            .near
            .per_sample(&scores, &query.x, &rows.focus().at(&query.owner));
        let at = best_of(&host(&loss), PROPOSALS);
        let reached = pick(&loss, &at);
        let gained = host(&reached.clone().greater(state.most.clone()).float());
        let kept = reached.clone().greater_equal(state.most.clone());
        let proposed = query.x.select(&index(&at, oracle.device()));
        state.x = state.x.replace_rows(&kept, &proposed);
        state.most = state.most.clone().mask_where(kept, reached);
        for (length, gained) in state.length.iter_mut().zip(gained) {
            *length = if gained > 0.5 {
                (*length * 1.5).min(1.0)
            } else {
                *length * 0.9
            };
            if *length < 1e-4 {
                *length = 0.5;
            }
        }
        Ok(())
    }

    fn reached(&self, state: &State) -> Option<Tensor<1>> {
        Some(state.most.clone())
    }
}
