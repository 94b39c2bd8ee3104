//! A gradient loss with a second loss for the rows on which the first gives no direction.
//!
//! A row changes to the second loss for the rest of its restart once the gradient of the first says nothing at its
//! point:
//!
//! * The gradient is exactly zero in all features that may change.
//! * The untargeted cross-entropy is below 1e-6: `softmax(z)_y` rounds to 1 in `f32`, so that the part of the gradient
//!   that lowers the label's score is lost.
//! * The untargeted difference of logits ratio is 1: the label is ranked third, and the ratio is constant.
//!
//! The second loss is the margin. After the margin (also in place of a ratio that needs more classes) it is the
//! cross-entropy, to which all classes contribute. Rows are independent: each has its own loss.

use burn::tensor::Tensor;
use proofmark_engine::{EngineError, Loss, Oracle, Request, Rows};
use proofmark_model::{Gradient, GradientModel, Query};
use proofmark_threat::{Batch, host, index};

use crate::loss::LossKind;

/// Below this untargeted cross-entropy, rounding changes the derivative by the label's score by more than about 6 %.
const SATURATED: f64 = 1e-6;

/// How close a difference of logits ratio is to 1 if the label is ranked third.
const THIRD: f64 = 1e-6;

/// Two losses, of which each row climbs one.
#[derive(Debug)]
pub(super) struct WithFallback {
    kind: LossKind,
    targeted: bool,
    loss: Box<dyn Loss>,
    fallback: Box<dyn Loss>,
    /// Draws of a random model that each gradient is the mean of.
    draws: u32,
}

/// Loss and gradient of every row, each by the row's own loss.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) loss: Vec<f64>,
    pub(super) gradient: Batch,
    /// Which rows changed to the second loss at this point.
    pub(super) changed: Vec<bool>,
}

impl WithFallback {
    /// Returns the losses for a model with this many classes.
    pub(super) fn new(kind: LossKind, classes: usize, targeted: bool, draws: u32) -> Self {
        let needed = if targeted { 4 } else { 3 };
        let kind = match kind {
            LossKind::Dlr if classes < needed => LossKind::Margin,
            other => other,
        };
        let fallback = match kind {
            LossKind::Ce | LossKind::Dlr => LossKind::Margin,
            LossKind::Margin => LossKind::Ce,
        };
        Self {
            kind,
            targeted,
            loss: kind.loss(),
            fallback: fallback.loss(),
            draws,
        }
    }

    /// Returns loss and gradient at one point per row. `target` replaces the rows' targets, and `on_fallback` is 1 for
    /// the rows that climb the second loss.
    pub(super) fn gradient<M: GradientModel + ?Sized>(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        x: &Batch,
        target: Option<&[u64]>,
        on_fallback: &mut [u64],
    ) -> Result<Answer, EngineError> {
        let on = |flags: &[u64], flag: u64| -> Vec<usize> {
            (0..flags.len()).filter(|i| flags[*i] == flag).collect()
        };
        let mut changed = vec![false; rows.len()];
        let mut parts = Vec::new();
        let first = on(on_fallback, 0);
        if !first.is_empty() {
            let part = self.part(oracle, rows, x, target, first, self.loss.as_ref())?;
            for i in self.without_direction(rows, &part) {
                (on_fallback[i], changed[i]) = (1, true);
            }
            parts.push(part);
        }
        let second = on(on_fallback, 1);
        if !second.is_empty() {
            parts.push(self.part(oracle, rows, x, target, second, self.fallback.as_ref())?);
        }
        let Part { loss, gradient, .. } = joined(parts, rows.len());
        Ok(Answer {
            loss,
            gradient,
            changed,
        })
    }

    /// Returns loss and gradient of the rows `at`.
    fn part<M: GradientModel + ?Sized>(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        x: &Batch,
        target: Option<&[u64]>,
        at: Vec<usize>,
        loss: &dyn Loss,
    ) -> Result<Part, EngineError> {
        let mut request = if at.len() == rows.len() {
            rows.request(x)
        } else {
            Request::new(Query {
                x: x.select(&index(&at, &x.device())),
                owner: at.clone(),
                key: at.iter().map(|i| rows.keys()[*i]).collect(),
                draw: vec![0; at.len()],
            })
        };
        if let Some(target) = target {
            request = request.towards(at.iter().map(|i| target[*i] as usize).collect());
        }
        let Gradient { loss, gradient, .. } =
            oracle.mean_gradient(rows, request, self.draws, loss)?;
        let free = if at.len() == rows.len() {
            rows.region().free(&gradient)
        } else {
            rows.region().at(&at).free(&gradient)
        };
        let size: Tensor<1> = free.sum_of(Tensor::abs).squeeze_dim(1);
        // One transfer for both.
        let values = host(&Tensor::stack::<2>(vec![loss, size], 0));
        let (loss, size) = values.split_at(at.len());
        Ok(Part {
            loss: loss.iter().map(|v| f64::from(*v)).collect(),
            size: size.to_vec(),
            at,
            gradient,
        })
    }

    /// Returns the rows of `part`, answered by the first loss, on which its gradient gives no direction.
    fn without_direction(&self, rows: &Rows, part: &Part) -> Vec<usize> {
        let eps = rows.region().leading_eps();
        let lost = |k: usize| {
            let loss = part.loss[k];
            let flat = match self.kind {
                LossKind::Ce => loss < SATURATED,
                LossKind::Dlr => (loss - 1.0).abs() <= THIRD,
                LossKind::Margin => false,
            };
            // A row that may not move, or whose answer is not finite, has no better loss.
            eps[part.at[k]] > 0.0
                && loss.is_finite()
                && (part.size[k] == 0.0 || (flat && !self.targeted))
        };
        let all = 0..part.at.len();
        all.filter(|k| lost(*k)).map(|k| part.at[k]).collect()
    }
}

/// Answer about some rows: their places, losses, sizes of the gradients in the features that may change, and gradients.
struct Part {
    at: Vec<usize>,
    loss: Vec<f64>,
    size: Vec<f32>,
    gradient: Batch,
}

/// Joins the answers about `rows` rows; a later answer about a row replaces an earlier one.
fn joined(mut parts: Vec<Part>, rows: usize) -> Part {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let gradient = Batch::cat(&parts.iter().map(|p| &p.gradient).collect::<Vec<_>>());
    let (mut loss, mut size, mut order) = (vec![0.0; rows], vec![0.0; rows], vec![0; rows]);
    let mut position = 0;
    for part in &parts {
        for (k, i) in part.at.iter().enumerate() {
            (loss[*i], size[*i], order[*i]) = (part.loss[k], part.size[k], position);
            position += 1;
        }
    }
    Part {
        gradient: gradient.select(&index(&order, &gradient.device())),
        at: (0..rows).collect(),
        loss,
        size,
    }
}
