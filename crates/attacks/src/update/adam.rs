use burn::tensor::Tensor;
use proofmark_domain::Norm;
use proofmark_engine::Rows;
use proofmark_threat::Batch;

use super::Update;

/// Adam's direction: `m̂ / (sqrt(v̂) + 1e-8 max sqrt(v̂))` with bias correction by each row's own step.
///
/// The paper adds 1e-8 itself. Gradients of confident models are often smaller than that: the direction would be nearly
/// zero, and the squares below what `f32` holds. Hence the largest root of the row is the unit, and roots are kept in
/// place of squares.
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

impl Adam {
    /// Adds a gradient to `mean` and to `root`, the root of the mean square, and returns `m̂` and the divisor. `steps` is
    /// the number of gradients that each row has added before; `per_feature` says of each modality in turn whether `v` is
    /// kept per feature.
    pub(crate) fn moments(
        self,
        gradient: &Batch,
        [mean, root]: [&mut Batch; 2],
        steps: &[u64],
        mut per_feature: impl FnMut() -> bool,
    ) -> [Batch; 2] {
        let (b1, b2) = (self.beta1, self.beta2);
        *mean = mean.zip(gradient, |m, g| m.mul_scalar(b1) + g.mul_scalar(1.0 - b1));
        *root = root.zip(gradient, |root, g| {
            let largest = g.clone().abs().max_pair(root.clone()).max_dim(1);
            let unit = largest.clamp_min(f32::MIN_POSITIVE);
            let square = (g / unit.clone()).square();
            let square = if per_feature() {
                square
            } else {
                let size = square.dims();
                square.mean_dim(1).expand(size)
            };
            let old = (root / unit.clone()).square();
            (old.mul_scalar(b2) + square.mul_scalar(1.0 - b2)).sqrt() * unit
        });
        let correction = |b: f32| {
            // Far beyond this number of steps there is nothing to correct.
            let power = |t: &u64| f64::from(b).powi((*t).min(1 << 30) as i32 + 1);
            let c: Vec<f32> = (steps.iter())
                .map(|t| (1.0 - power(t)).recip() as f32)
                .collect();
            Tensor::<1>::from_floats(c.as_slice(), &gradient.device()).unsqueeze_dim::<2>(1)
        };
        let (c1, c2) = (correction(b1), correction(b2).sqrt());
        [
            mean.map(|m| m * c1.clone()),
            root.map(|root| {
                let root = root * c2.clone();
                let least = root.clone().max_dim(1) * 1e-8;
                root + least.clamp_min(f32::MIN_POSITIVE)
            }),
        ]
    }
}

impl Update for Adam {
    fn memories(&self) -> usize {
        2
    }

    fn apply(&self, gradient: Batch, memory: &mut [Batch], rows: &Rows) -> Batch {
        let [mean, root] = memory else {
            unreachable!("two memories, as asked for");
        };
        let mut norms = rows.region().norms();
        let per_feature = || matches!(norms.next(), Some(Norm::Linf | Norm::L0));
        let [m, by] = self.moments(&gradient, [mean, root], rows.steps(), per_feature);
        m.zip(&by, |m, by| m / by)
    }
}
