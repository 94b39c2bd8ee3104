use burn::tensor::{Tensor, activation};
use proofmark_engine::{Focus, Loss};
use proofmark_threat::Batch;

use super::Margin;

/// Cross-entropy: `-log softmax(z)_y`, maximised; for a target `log softmax(z)_t`.
///
/// Its gradient vanishes in `f32` once the top logit leads by about 100 (the trust check `saturated-logits`);
/// [`super::Dlr`] and [`super::Margin`] do not saturate. For a criterion that is not about classes it is the margin.
#[derive(Debug, Clone, Copy)]
pub struct CrossEntropy;

impl Loss for CrossEntropy {
    fn per_sample(&self, scores: &Tensor<2>, x: &Batch, focus: &Focus) -> Tensor<1> {
        if focus.is_property() {
            return Margin.per_sample(scores, x, focus);
        }
        let log = activation::log_softmax(scores.clone(), 1);
        match focus.target() {
            Some(target) => Focus::score(&log, target),
            None => Focus::score(&log, focus.label()).neg(),
        }
    }
}
