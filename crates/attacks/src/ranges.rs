//! Widths of the features' bounds, for attacks that measure changes in units of them.

use burn::tensor::{Tensor, TensorData};
use proofmark_threat::Batch;

/// Returns the width of every feature's bounds, `[1, features]` per modality, on the device of `x`.
pub(crate) fn ranges(x: &Batch) -> Vec<Tensor<2>> {
    let device = x.device();
    let of = |m: &proofmark_domain::Modality| {
        let width = |f: usize| (m.bounds.high(f) - m.bounds.low(f)).min(f32::MAX);
        let widths: Vec<f32> = (0..m.features()).map(width).collect();
        Tensor::from_data(TensorData::new(widths, [1, m.features()]), &device)
    };
    x.modalities().iter().map(of).collect()
}
