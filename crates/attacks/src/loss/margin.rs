use burn::tensor::Tensor;
use proofmark_engine::{Focus, Loss};
use proofmark_threat::Batch;

/// The margin: `max_{i != y} z_i - z_y`; for a target `z_t - max_{i != t} z_i`. A positive margin means success. At 0
/// the lower class wins ([`Focus::beaten`]), which is success if that class is the rival.
///
/// Source: Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks", 2017, f6 without the clamp.
#[derive(Debug, Clone, Copy)]
pub struct Margin;

impl Loss for Margin {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, focus: &Focus) -> Tensor<1> {
        match focus.target() {
            Some(target) => Focus::margin(scores, target),
            None => Focus::margin(scores, focus.label()).neg(),
        }
    }
}
