//! Random search by windows that follow a surrogate's gradient: for networks whose scores move in steps.
//!
//! # Idea
//! Near a counterexample of a binarised network the gradient says which way each input should go, but not how many
//! steps flip on the way: most moves flip nothing, and long ones flip as much back. Try many moves that follow the
//! gradient on a part of the inputs only, and keep the best if it is no worse. What decides between points with equal
//! scores is the surrogate's second set, so values near their thresholds are pushed over them one after the other.
//!
//! # Maths
//! Per step `L` proposals from the best point `u` with gradient `g`, in turn: the features of a square (all channels)
//! move to `sign g`; each feature does with probability `q`; the `k` features with the largest
//! `|g_i| |sign g_i - u_i| e` do, `e` exponentially distributed; a square's channels move to one random end each; each
//! feature moves to a random end with probability `q`. The side of a square, `q n` and `k` are log-uniform. The best
//! proposal is taken if its loss is at least that of `u`. `g` is computed again every `every` steps.
//!
//! # Reference
//! Andriushchenko et al., "Square Attack", ECCV 2020 (squares at the ends); Khalil, Gupta and Dilkina, "Combinatorial
//! Attacks on Binarized Neural Networks", ICLR 2019 (moves of few units at a time, ties that a finer objective breaks).
//!
//! # Divergences
//! Sizes are drawn from a fixed distribution instead of shrinking. Squares follow the gradient where there is one.
//!
//! # Cost
//! Per row `L` forwards per step, and one forward and backward every few steps.
//!
//! # When it fails
//! From a start far from a counterexample: the climbs before it find the starts.

use burn::tensor::Tensor;
use proofmark_domain::Grid;
use proofmark_engine::{EngineError, Loss, Oracle, Rows, Stepper};
use proofmark_model::GradientModel;
use proofmark_stats::random::Stream;
use proofmark_threat::{Batch, Column, Columns, host, index, mask, prefixed};

use super::kept::Kept;
use super::property::Near;
use super::start::{Start, begin, best_of, pick, proposals, sign};

/// Number of proposals per row and step.
const PROPOSALS: usize = 10;

/// A search by windows with all its parameters.
#[derive(Debug)]
pub(super) struct Windows<'a> {
    /// Loss to maximise.
    pub(super) near: Near,
    /// Start of each row, indexed by sample.
    pub(super) starts: Vec<Start>,
    /// Number of steps, at least 1.
    pub(super) steps: u32,
    /// Number of steps that share a gradient, at least 1.
    pub(super) every: u32,
    /// How features lie in an image; a strip if unknown.
    pub(super) grid: Grid,
    /// Where the best point of each row goes.
    pub(super) kept: &'a Kept,
}

/// Best point of each row, with its loss, its nearness and a recent gradient.
#[derive(Debug, Clone)]
pub(super) struct State {
    x: Batch,
    most: Tensor<1>,
    near: Tensor<1>,
    gradient: Batch,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.push(("most".into(), Column::Vector(&mut self.most)));
        all.push(("near".into(), Column::Vector(&mut self.near)));
        all.extend(prefixed("gradient", &mut self.gradient));
        all
    }
}

/// Draws a whole number from 1 to `most`, its logarithm uniform.
fn size(most: usize, stream: &mut Stream) -> usize {
    let all = most.max(1) as f32;
    ((all + 1.0).powf(stream.uniform()) as usize).clamp(1, most.max(1))
}

/// Returns the features of a random square, by channel.
fn square(grid: &Grid, stream: &mut Stream) -> (Vec<usize>, usize) {
    let (h, w) = (grid.height, grid.width);
    let side = size(h.max(w) / 2, stream);
    let (rows, columns) = (side.min(h), side.min(w));
    let top = stream.below((h - rows + 1) as u32) as usize;
    let left = stream.below((w - columns + 1) as u32) as usize;
    let pixels = (top..top + rows).flat_map(|y| (left..left + columns).map(move |x| y * w + x));
    let pixels: Vec<usize> = pixels.collect();
    let one = pixels.len();
    let channel = |c: usize| pixels.iter().map(move |p| (c, *p));
    let features = (0..grid.channels).flat_map(channel);
    (features.map(|(c, p)| grid.feature(c, p)).collect(), one)
}

/// Changes `u` in place by a proposal of this kind.
fn propose(u: &mut [f32], g: &[f32], kind: usize, grid: &Grid, stream: &mut Stream) {
    let n = u.len();
    let follow = |u: &mut f32, g: f32| {
        if g != 0.0 {
            *u = g.signum();
        }
    };
    match kind % 5 {
        0 => {
            for i in square(grid, stream).0 {
                follow(&mut u[i], g[i]);
            }
        }
        1 | 3 => {
            let probability = size(n / 2, stream) as f32 / n as f32;
            for (u, g) in u.iter_mut().zip(g) {
                if stream.uniform() < probability {
                    if kind % 5 == 1 {
                        follow(u, *g);
                    } else {
                        *u = sign(stream);
                    }
                }
            }
        }
        2 => {
            let count = size(n / 2, stream);
            let gain = |(u, g): (&f32, &f32)| {
                let draw = -(1.0 - stream.uniform()).ln();
                g.abs() * (g.signum() - u).abs() * draw
            };
            let gains: Vec<f32> = u.iter().zip(g).map(gain).collect();
            let mut order: Vec<usize> = (0..n).collect();
            let by_gain = |a: &usize, b: &usize| gains[*b].total_cmp(&gains[*a]).then(a.cmp(b));
            if count < n {
                order.select_nth_unstable_by(count - 1, by_gain);
            }
            for i in &order[..count] {
                follow(&mut u[*i], g[*i]);
            }
        }
        _ => {
            let (features, one) = square(grid, stream);
            for channel in features.chunks(one) {
                let end = sign(stream);
                for i in channel {
                    u[*i] = end;
                }
            }
        }
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Windows<'_> {
    type State = State;

    fn id(&self) -> &'static str {
        "windows"
    }

    fn steps(&self) -> u32 {
        self.steps
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        let x = begin(oracle, rows, &self.starts, 1, &self.near)?;
        let answer = oracle.gradient(rows, &x, &self.near)?;
        Ok(State {
            near: self.near.nearness(&answer.scores, &rows.focus()),
            most: answer.loss,
            gradient: answer.gradient,
            x,
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let due = |k: &u64| *k > 0 && k.is_multiple_of(u64::from(self.every));
        let due: Vec<bool> = rows.steps().iter().map(due).collect();
        if due.contains(&true) {
            let answer = oracle.gradient(rows, &state.x, &self.near)?;
            let due = mask(&due, oracle.device());
            state.gradient = state.gradient.replace_rows(&due, &answer.gradient);
        }
        let n = state.x.blocks()[0].dims()[1];
        let gradient = host(&state.gradient.blocks()[0]);
        let query = proposals(rows, &state.x, PROPOSALS, |r, kind, u, stream| {
            propose(u, &gradient[r * n..(r + 1) * n], kind, &self.grid, stream);
        })?;
        let scores = oracle.scores(rows, &query)?;
        let focus = rows.focus().at(&query.owner);
        let loss = self.near.per_sample(&scores, &query.x, &focus);
        let near = self.near.nearness(&scores, &focus);
        let at = best_of(&host(&loss), PROPOSALS);
        let reached = pick(&loss, &at);
        let kept = reached.clone().greater_equal(state.most.clone());
        let proposed = query.x.select(&index(&at, oracle.device()));
        state.x = state.x.replace_rows(&kept, &proposed);
        state.near = state
            .near
            .clone()
            .mask_where(kept.clone(), pick(&near, &at));
        state.most = state.most.clone().mask_where(kept, reached);
        self.kept.note(rows, self.steps, &state.x, &state.most);
        Ok(())
    }

    fn reached(&self, state: &State) -> Option<Tensor<1>> {
        Some(state.near.clone())
    }
}
