use std::fmt::Debug;

use burn::tensor::{Bool, Int, Tensor, TensorData};
use proofmark_threat::Batch;

/// What an attack climbs: one value per point, larger is more adversarial.
///
/// Separate from the goal on purpose: success is judged on decisions, never on a loss.
pub trait Loss: Send + Sync + Debug {
    /// The loss of each point, `[q]`, differentiable in `scores` `[q, classes]` and in the points.
    fn per_sample(&self, scores: &Tensor<2>, x: &Batch, focus: &Focus) -> Tensor<1>;
}

/// Which classes a loss is about: each point's label and, if targeted, its target.
#[derive(Debug, Clone)]
pub struct Focus {
    label: Vec<usize>,
    target: Option<Vec<usize>>,
}

impl Focus {
    /// One label per point and, if targeted, one target.
    pub fn new(label: Vec<usize>, target: Option<Vec<usize>>) -> Self {
        Self { label, target }
    }

    /// Each point's label.
    pub fn label(&self) -> &[usize] {
        &self.label
    }

    /// Each point's target, if the attack is targeted.
    pub fn target(&self) -> Option<&[usize]> {
        self.target.as_deref()
    }

    /// The same for the points `at` (which may repeat).
    #[must_use]
    pub fn at(&self, at: &[usize]) -> Self {
        let pick = |v: &Vec<usize>| at.iter().map(|i| v[*i]).collect();
        Self {
            label: pick(&self.label),
            target: self.target.as_ref().map(pick),
        }
    }

    /// `[q, 1]` column of class indices on the scores' device.
    pub fn column(scores: &Tensor<2>, classes: &[usize]) -> Tensor<2, Int> {
        let values: Vec<i64> = classes.iter().map(|c| *c as i64).collect();
        Tensor::from_data(
            TensorData::new(values, [classes.len(), 1]),
            &scores.device().inner(),
        )
    }

    /// The score of each point's class, `[q]`.
    pub fn score(scores: &Tensor<2>, classes: &[usize]) -> Tensor<1> {
        scores
            .clone()
            .gather(1, Self::column(scores, classes))
            .squeeze_dim::<1>(1)
    }

    /// The largest score of any other class, `[q]`.
    pub fn rival(scores: &Tensor<2>, classes: &[usize]) -> Tensor<1> {
        let n = scores.dims()[1] as i64;
        let all = Tensor::<1, Int>::arange(0..n, &scores.device().inner()).unsqueeze::<2>();
        let own = Self::column(scores, classes)
            .expand(scores.dims())
            .equal(all.expand(scores.dims()));
        scores
            .clone()
            .mask_fill(own, f32::NEG_INFINITY)
            .max_dim(1)
            .squeeze_dim::<1>(1)
    }

    /// Whether the decision is another class than each point's, `[q]`: some class has a higher score, or an equal one
    /// and a lower index. The device's side of [`predict`](crate::predict): comparisons only, so it is exact.
    pub fn beaten(scores: &Tensor<2>, classes: &[usize]) -> Tensor<1, Bool> {
        let [n, width] = scores.dims();
        let column = Self::column(scores, classes);
        let own = scores.clone().gather(1, column.clone()).expand([n, width]);
        let all = Tensor::<1, Int>::arange(0..width as i64, &scores.device().inner());
        let before = all
            .unsqueeze::<2>()
            .expand([n, width])
            .lower(column.expand([n, width]));
        let tied = scores.clone().equal(own.clone()).bool_and(before);
        let wins = scores.clone().greater(own).bool_or(tied);
        wins.any_dim(1).squeeze_dim::<1>(1)
    }

    /// `z_class - max_{i != class} z_i`, `[q]`: negative where another class wins; at 0 the lower index wins
    /// ([`Focus::beaten`]).
    pub fn margin(scores: &Tensor<2>, classes: &[usize]) -> Tensor<1> {
        Self::score(scores, classes) - Self::rival(scores, classes)
    }
}
