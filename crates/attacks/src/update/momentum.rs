use proofmark_engine::Rows;
use proofmark_threat::Batch;

use super::Update;

/// Accumulates L1-normalised gradients: `m <- decay * m + g / |g|_1`, direction `m`.
///
/// Source: Dong et al., "Boosting Adversarial Attacks with Momentum", 2018, eq. 6. A zero gradient adds
/// nothing (the paper divides by zero).
#[derive(Debug, Clone, Copy)]
pub struct Momentum {
    /// Decay factor, at least 0; 1 sums all gradients.
    pub decay: f32,
}

impl Update for Momentum {
    fn memories(&self) -> usize {
        1
    }

    fn apply(&self, gradient: Batch, memory: &mut [Batch], _: &Rows) -> Batch {
        let unit = gradient.map(|g| {
            let size = g.clone().abs().sum_dim(1).clamp_min(1e-30);
            g / size
        });
        memory[0] = memory[0].zip(&unit, |m, g| m.mul_scalar(self.decay) + g);
        memory[0].clone()
    }
}
