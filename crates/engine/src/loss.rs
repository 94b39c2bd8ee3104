use std::fmt::Debug;

use burn::tensor::Tensor;
use proofmark_threat::Batch;

use crate::Focus;

/// Objective that an attack maximises: one value per point, larger is more adversarial.
///
/// It is separate from the criterion on purpose: success is decided from decisions, never from a loss.
pub trait Loss: Send + Sync + Debug {
    /// Returns the loss of each point, `[q]`, differentiable in `scores` `[q, classes]` and in the points `x`.
    fn per_sample(&self, scores: &Tensor<2>, x: &Batch, focus: &Focus) -> Tensor<1>;
}
