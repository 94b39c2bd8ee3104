use burn::tensor::Tensor;
use proofmark_domain::Norm;
use proofmark_engine::Rows;
use proofmark_threat::Batch;

use super::Update;

/// Adam's direction: `m̂ / (sqrt(v̂) + 1e-8)` with bias correction by each row's own step.
///
/// The mean square `v` is kept per feature where the budget does not limit the sum over the features: in Linf each has
/// its own budget, in L0 a feature that changes may change by any amount. L2 and L1 have one budget for all features,
/// so `v` is one number per row and modality, the mean over the features. A per-feature scale makes the direction
/// nearly ±1 everywhere, even for features that matter little, and in L2 and L1 such a step wastes the
/// budget.
///
/// Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1.
#[derive(Debug, Clone, Copy)]
pub struct Adam {
    /// Decay of the mean, in `[0, 1)`.
    pub beta1: f32,
    /// Decay of the mean square, in `[0, 1)`.
    pub beta2: f32,
}

impl Update for Adam {
    fn memories(&self) -> usize {
        2
    }

    fn apply(&self, gradient: Batch, memory: &mut [Batch], rows: &Rows) -> Batch {
        let (b1, b2) = (self.beta1, self.beta2);
        memory[0] = memory[0].zip(&gradient, |m, g| m.mul_scalar(b1) + g.mul_scalar(1.0 - b1));
        let mut norms = rows.region().norms();
        memory[1] = memory[1].zip(&gradient, |v, g| {
            let each = matches!(norms.next(), Some(Norm::Linf | Norm::L0));
            let square = if each {
                g.square()
            } else {
                let size = g.dims();
                g.square().mean_dim(1).expand(size)
            };
            v.mul_scalar(b2) + square.mul_scalar(1.0 - b2)
        });
        let correction = |b: f32| {
            let c: Vec<f32> = rows
                .steps()
                .iter()
                .map(|t| (1.0 - f64::from(b).powi(*t as i32 + 1)).recip() as f32)
                .collect();
            Tensor::<1>::from_floats(c.as_slice(), &gradient.device()).unsqueeze_dim::<2>(1)
        };
        let (c1, c2) = (correction(b1), correction(b2));
        memory[0].zip(&memory[1], |m, v| {
            (m * c1.clone()) / ((v * c2.clone()).sqrt() + 1e-8)
        })
    }
}
