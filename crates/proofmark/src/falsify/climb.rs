//! Gradient ascent towards a property.
//!
//! # Idea
//! Maximise how nearly the outputs satisfy a case, from many points at once, in steps that shrink from half the box to
//! a hundredth of it, with two returns to the best point so far. Some rows first follow a random direction of the
//! *outputs*: that spreads them to where the network behaves differently, whereas random inputs all look much alike to
//! it.
//!
//! # Maths
//! In cube coordinates `u` of `[-1, 1]^n`: `u_{k+1} = clamp(u_k + a_k d_k)`, `d_k` the sign of the gradient after its
//! updates (momentum) or Adam's direction itself, `a_k = a_0 (a_T / a_0)^(k/T)`. After half and after three quarters of
//! the steps, `u` and its gradient are set to those of the best point. The first `w` steps, if requested, maximise
//! `<r, y(u)>` for a random `r` in `[-1, 1]^m` with full sign steps.
//!
//! # Reference
//! Madry et al. 2018 (the step); Croce and Hein 2020 (shrinking steps, return to the best point); Tashiro, Song and
//! Ermon, "Diversity can be Transferred: Output Diversification for White- and Black-box Attacks", `NeurIPS` 2020
//! (random directions of the outputs).
//!
//! # Divergences
//! Steps shrink on a fixed schedule, not when progress stalls. A row whose gradient is exactly zero steps in a
//! random direction instead of standing still. The start may be the best of several draws.
//!
//! # Cost
//! Per row `draws` forwards, then one forward and backward per step.
//!
//! # When it fails
//! If gradients vanish or mislead: [`super::random_search::RandomSearch`] needs none.

use burn::tensor::{Tensor, TensorData};
use proofmark_attacks::update::{self, Update};
use proofmark_engine::{EngineError, Oracle, Rows, Stepper};
use proofmark_model::GradientModel;
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Column, Columns, Step, mask, prefixed};

use super::kept::Kept;
use super::property::Near;
use super::start::{Start, begin, sign};

/// Range of a feature, in half widths of the box; steps are in units of the range.
const RANGE: f32 = 2.0;

/// A climb with all its parameters.
#[derive(Debug)]
pub(super) struct Climb<'a> {
    /// Loss to maximise.
    pub(super) near: Near,
    /// Start of each row, indexed by sample.
    pub(super) starts: Vec<Start>,
    /// Number of points drawn per row; the best one is the start.
    pub(super) draws: u32,
    /// A random direction of the outputs per row, and the number of steps that follow it first.
    pub(super) scatter: Option<(Near, u32)>,
    /// Updates that turn gradients into directions.
    pub(super) updates: Vec<Box<dyn Update>>,
    /// Whether directions are added as they are (Adam) instead of by their sign.
    pub(super) plain: bool,
    /// Number of steps, at least 1.
    pub(super) steps: u32,
    /// First and last step length, in half widths of the box.
    pub(super) lengths: (f32, f32),
    /// Where the best point of each row goes.
    pub(super) kept: &'a Kept,
}

/// Current point of each row, and the best so far.
#[derive(Debug, Clone)]
pub(super) struct State {
    x: Batch,
    memory: Vec<Batch>,
    best: Batch,
    best_gradient: Batch,
    most: Tensor<1>,
    /// How near the best point comes to satisfying the row's case.
    near: Tensor<1>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("memory", &mut self.memory));
        all.extend(prefixed("best", &mut self.best));
        all.extend(prefixed("best-gradient", &mut self.best_gradient));
        all.push(("most".into(), Column::Vector(&mut self.most)));
        all.push(("near".into(), Column::Vector(&mut self.near)));
        all
    }
}

impl Climb<'_> {
    /// Returns the step length of each row, in ranges.
    fn lengths(&self, rows: &Rows) -> Vec<f32> {
        let (first, last) = self.lengths;
        let of = |k: &u64| {
            let way = *k as f32 / (self.steps.max(2) - 1) as f32;
            first * (last / first).powf(way.min(1.0)) / RANGE
        };
        rows.steps().iter().map(of).collect()
    }

    /// Returns which rows go back to their best point at this step; `None` if none does.
    fn returns(&self, rows: &Rows) -> Option<Vec<bool>> {
        let at = [self.steps / 2, self.steps * 3 / 4].map(u64::from);
        let steps = rows.steps().iter();
        let back: Vec<bool> = steps.map(|k| *k > 0 && at.contains(k)).collect();
        back.contains(&true).then_some(back)
    }
}

/// Gives each row whose direction is zero a random sign per feature.
fn unstick(direction: Batch, rows: &Rows) -> Batch {
    let still = direction.blocks()[0]
        .clone()
        .abs()
        .sum_dim(1)
        .squeeze_dim::<1>(1)
        .equal_scalar(0.0);
    if !still.clone().any().into_scalar::<bool>() {
        return direction;
    }
    let streams = rows.streams(Purpose::Direction, 0);
    let signs = direction.map(|d| {
        let [n, inputs] = d.dims();
        let values: Vec<f32> = streams
            .iter()
            .flat_map(|key| {
                let mut stream = Stream::new(key);
                (0..inputs).map(move |_| sign(&mut stream))
            })
            .collect();
        Tensor::from_data(TensorData::new(values, [n, inputs]), &d.device())
    });
    direction.replace_rows(&still, &signs)
}

impl<M: GradientModel + ?Sized> Stepper<M> for Climb<'_> {
    type State = State;

    fn id(&self) -> &'static str {
        "climb"
    }

    fn steps(&self) -> u32 {
        self.steps
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        let mut x = begin(oracle, rows, &self.starts, self.draws, &self.near)?;
        if let Some((towards, steps)) = &self.scatter {
            for _ in 0..*steps {
                let gradient = oracle.gradient(rows, &x, towards)?.gradient;
                let size = vec![self.lengths.0 / RANGE; rows.len()];
                let step = Step::new(rows.region().column(&size));
                x = rows.region().advance(&x, &gradient, &step);
            }
        }
        Ok(State {
            memory: update::memory(&self.updates, &x),
            best: x.clone(),
            best_gradient: x.map(|b| b.zeros_like()),
            most: Tensor::zeros([rows.len()], oracle.device()).full_like(f32::MIN),
            near: Tensor::zeros([rows.len()], oracle.device()).full_like(f32::MIN),
            x,
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let answer = oracle.gradient(rows, &state.x, &self.near)?;
        let better = answer.loss.clone().greater(state.most.clone());
        state.best = state.best.replace_rows(&better, &state.x);
        state.best_gradient = state.best_gradient.replace_rows(&better, &answer.gradient);
        let near = self.near.nearness(&answer.scores, &rows.focus());
        state.near = state.near.clone().mask_where(better.clone(), near);
        state.most = state.most.clone().mask_where(better, answer.loss);
        self.kept.note(rows, self.steps, &state.best, &state.most);
        let mut gradient = answer.gradient;
        if let Some(back) = self.returns(rows) {
            let back = mask(&back, oracle.device());
            state.x = state.x.replace_rows(&back, &state.best);
            gradient = gradient.replace_rows(&back, &state.best_gradient);
        }
        let direction = update::apply(&self.updates, gradient, &mut state.memory, rows);
        let direction = unstick(direction, rows);
        let step = Step::new(rows.region().column(&self.lengths(rows)));
        state.x = if self.plain {
            rows.region().shift(&state.x, &direction, &step)
        } else {
            rows.region().advance(&state.x, &direction, &step)
        };
        Ok(())
    }

    fn reached(&self, state: &State) -> Option<Tensor<1>> {
        Some(state.near.clone())
    }

    fn last(&self, state: &State) -> Option<Batch> {
        Some(state.x.clone())
    }
}
