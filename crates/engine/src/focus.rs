use burn::tensor::{Bool, Int, Tensor, TensorData};
use proofmark_threat::Batch;

use crate::RowId;

/// Facts about each point of a query, beside the model's answer, for a [`Loss`](crate::Loss) and a
/// [`Criterion`](crate::Criterion).
///
/// They are the facts of the row that owns the point, unless the [`Request`](crate::Request) overrides them.
#[derive(Debug, Clone)]
pub struct Focus {
    pub(crate) row: Vec<RowId>,
    pub(crate) x0: Batch,
    pub(crate) label: Vec<usize>,
    pub(crate) target: Option<Vec<usize>>,
    pub(crate) draw: Vec<u32>,
    /// Whether the scores are ways to meet a criterion that is not about classes.
    pub(crate) is_property: bool,
}

impl Focus {
    /// Creates the facts for points of samples 0, 1, 2, …, first draw: one label per point and, if targeted, one
    /// target. For computing a loss by hand; the oracle makes its own.
    pub fn new(x0: Batch, label: Vec<usize>, target: Option<Vec<usize>>) -> Self {
        Self {
            row: (0..label.len()).map(RowId::Sample).collect(),
            draw: vec![0; label.len()],
            is_property: false,
            x0,
            label,
            target,
        }
    }

    /// Returns the row that owns each point.
    pub fn row(&self) -> &[RowId] {
        &self.row
    }

    /// Returns the place in the samples of each point's row.
    ///
    /// # Panics
    ///
    /// If a row stands for a class or for all samples ([`RowId`](crate::RowId)).
    pub fn sample(&self) -> Vec<usize> {
        let place = |id: &RowId| id.sample().expect("rows are samples");
        self.row.iter().map(place).collect()
    }

    /// Returns the clean point of each point, `[q, features]` per modality.
    pub fn x0(&self) -> &Batch {
        &self.x0
    }

    /// Returns each point's label.
    pub fn label(&self) -> &[usize] {
        &self.label
    }

    /// Returns each point's target class, if there is one.
    pub fn target(&self) -> Option<&[usize]> {
        self.target.as_deref()
    }

    /// Returns the random draw of the model with which each point is queried.
    pub fn draw(&self) -> &[u32] {
        &self.draw
    }

    /// Returns the facts of the points `at` (which may repeat).
    #[must_use]
    pub fn at(&self, at: &[usize]) -> Self {
        fn pick<T: Copy>(v: &[T], at: &[usize]) -> Vec<T> {
            at.iter().map(|i| v[*i]).collect()
        }
        Self {
            row: pick(&self.row, at),
            x0: self
                .x0
                .select(&proofmark_threat::index(at, &self.x0.device())),
            label: pick(&self.label, at),
            target: self.target.as_ref().map(|t| pick(t, at)),
            draw: pick(&self.draw, at),
            is_property: self.is_property,
        }
    }

    /// Returns whether the scores measure a property of outputs that are not classes, in the outputs' unit: losses made
    /// for the scores of classes then give way to the margin, which says by how much the criterion is met.
    pub fn is_property(&self) -> bool {
        self.is_property
    }

    /// Returns a `[q, 1]` column of class indices on the scores' device.
    pub fn column(scores: &Tensor<2>, classes: &[usize]) -> Tensor<2, Int> {
        let values: Vec<i64> = classes.iter().map(|c| *c as i64).collect();
        Tensor::from_data(
            TensorData::new(values, [classes.len(), 1]),
            &scores.device().inner(),
        )
    }

    /// Returns the score of each point's class, `[q]`.
    pub fn score(scores: &Tensor<2>, classes: &[usize]) -> Tensor<1> {
        scores
            .clone()
            .gather(1, Self::column(scores, classes))
            .squeeze_dim::<1>(1)
    }

    /// Returns the largest score of any other class, `[q]`.
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

    /// Returns whether the decision is another class than each point's, `[q]`: some class has a higher score, or an
    /// equal one and a lower index. It matches [`predict`](crate::predict) on the device: it uses only comparisons, so
    /// it is exact.
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

    /// Returns `z_class - max_{i != class} z_i`, `[q]`: negative where another class wins; at 0 the lower index wins
    /// ([`Focus::beaten`]).
    pub fn margin(scores: &Tensor<2>, classes: &[usize]) -> Tensor<1> {
        Self::score(scores, classes) - Self::rival(scores, classes)
    }
}
