//! Gradient ascent towards a property.
//!
//! # Idea
//! Climb how nearly the outputs satisfy a case, in steps that shrink from half the box to a hundredth of it, from
//! many points at once; now and then return to the best point so far. Some rows are first driven in a random
//! direction of the *outputs*: that scatters them where the network behaves differently, which random inputs, all
//! much alike to it, do not.
//!
//! # Maths
//! In cube coordinates `u` of `[-1, 1]^n`: `u_{k+1} = clamp(u_k + a_k d_k)`, `d_k` the sign of the gradient after
//! its updates (momentum) or Adam's direction itself, `a_k = a_0 (a_T / a_0)^(k/T)`. At half and at three quarters
//! of the way `u` and its gradient become those of the best point. The first `w` steps, if asked for, climb
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
//! Where gradients vanish or mislead: [`super::random_search::RandomSearch`] needs none.

use burn::tensor::{Tensor, TensorData};
use proofmark_attacks::update::{self, Update};
use proofmark_engine::{EngineError, Oracle, Rows, Stepper};
use proofmark_model::GradientModel;
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Column, Columns, Step, mask, prefixed};

use super::property::Near;
use super::start::{Start, begin, sign};

/// The full range of a feature is twice half the box: steps are in units of the range.
const RANGE: f32 = 2.0;

/// A climb with everything fixed.
#[derive(Debug)]
pub(super) struct Climb {
    /// What it climbs.
    pub(super) near: Near,
    /// Where each row begins, by its place in the samples.
    pub(super) starts: Vec<Start>,
    /// Points drawn per row, of which the best is the start.
    pub(super) draws: u32,
    /// A random direction of the outputs per row, and for how many steps it is climbed first.
    pub(super) scatter: Option<(Near, u32)>,
    /// How gradients become directions.
    pub(super) updates: Vec<Box<dyn Update>>,
    /// Whether directions are added as they are (Adam), not by their sign.
    pub(super) plain: bool,
    /// Steps, at least 1.
    pub(super) steps: u32,
    /// First and last step length, in half widths of the box.
    pub(super) lengths: (f32, f32),
}

/// Where each row is, and the best it has seen.
#[derive(Debug, Clone)]
pub(super) struct State {
    x: Batch,
    memory: Vec<Batch>,
    best: Batch,
    best_gradient: Batch,
    most: Tensor<1>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("memory", &mut self.memory));
        all.extend(prefixed("best", &mut self.best));
        all.extend(prefixed("best-gradient", &mut self.best_gradient));
        all.push(("most".into(), Column::Vector(&mut self.most)));
        all
    }
}

impl Climb {
    /// The step length of each row, in ranges.
    fn lengths(&self, rows: &Rows) -> Vec<f32> {
        let (first, last) = self.lengths;
        let of = |k: &u64| {
            let way = *k as f32 / (self.steps.max(2) - 1) as f32;
            first * (last / first).powf(way.min(1.0)) / RANGE
        };
        rows.steps().iter().map(of).collect()
    }

    /// Whether each row returns to its best point at this step; `None` if none does.
    fn returns(&self, rows: &Rows) -> Option<Vec<bool>> {
        let at = [self.steps / 2, self.steps * 3 / 4].map(u64::from);
        let steps = rows.steps().iter();
        let back: Vec<bool> = steps.map(|k| *k > 0 && at.contains(k)).collect();
        back.contains(&true).then_some(back)
    }
}

/// A random sign per feature for each row without any direction.
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

impl<M: GradientModel + ?Sized> Stepper<M> for Climb {
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
        state.most = state.most.clone().mask_where(better, answer.loss);
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
        Some(state.most.clone())
    }

    fn last(&self, state: &State) -> Option<Batch> {
        Some(state.x.clone())
    }
}
