use std::sync::Arc;

use burn::tensor::Tensor;
use proofmark_domain::Outputs;

use super::{Ways, columns, kth_largest, numbers};
use crate::{Criterion, Focus, Truth};

/// Labels are decided wrongly: at least `least` of them, or the one named. A label applies if its score (logit) is above
/// the logit of `threshold`.
///
/// Ways: one per label if any will do, otherwise one, the `least`th nearest of them.
#[derive(Debug, Clone)]
pub struct MultiLabel {
    least: usize,
    label: Option<usize>,
    /// Score above which a label applies.
    above: f64,
    /// Per sample and label: whether it applies.
    labels: Arc<[bool]>,
    width: usize,
}

impl MultiLabel {
    /// Creates the criterion. `threshold` is a probability between 0 and 1, `labels` holds `width` entries per sample,
    /// `label` and `least` are within `width`.
    pub fn new(
        least: usize,
        label: Option<usize>,
        threshold: f64,
        labels: Arc<[bool]>,
        width: usize,
    ) -> Self {
        Self {
            least,
            label,
            above: (threshold / (1.0 - threshold)).ln(),
            labels,
            width,
        }
    }

    /// Returns which labels apply by these scores.
    pub fn decide(threshold: f64, scores: &[f32]) -> Vec<bool> {
        let above = (threshold / (1.0 - threshold)).ln();
        scores.iter().map(|s| f64::from(*s) > above).collect()
    }

    fn of(&self, sample: usize) -> &[bool] {
        &self.labels[sample * self.width..(sample + 1) * self.width]
    }
}

impl Criterion for MultiLabel {
    fn outputs(&self) -> Outputs {
        Outputs::Labels
    }

    fn met_by(&self, scores: &[f32], truth: &Truth) -> bool {
        let wrong = |(score, applies): (&f32, &bool)| (f64::from(*score) > self.above) != *applies;
        let of_each = scores.iter().zip(self.of(truth.sample));
        match self.label {
            Some(label) => of_each.map(wrong).nth(label).unwrap_or(false),
            None => of_each.filter(|l| wrong(*l)).count() >= self.least,
        }
    }

    fn ways(&self) -> Option<&dyn Ways> {
        Some(self)
    }
}

impl Ways for MultiLabel {
    fn count(&self, width: usize) -> usize {
        match (self.label, self.least) {
            (None, 1) => width,
            _ => 1,
        }
    }

    fn excess(&self, scores: &Tensor<2>, focus: &Focus) -> Tensor<2> {
        let samples = focus.sample();
        let signs = samples.iter().flat_map(|s| self.of(*s));
        let signs = signs.map(|applies| if *applies { -1.0 } else { 1.0 });
        let signs = numbers(signs.collect(), self.width, scores);
        let each = (scores.clone() - self.above) * signs;
        match (self.label, self.least) {
            (Some(label), _) => columns(&each, &[label]),
            (None, 1) => each,
            (None, least) => kth_largest(&each, least),
        }
    }
}
