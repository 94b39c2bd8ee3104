use burn::tensor::Tensor;

use super::{Ways, others};
use crate::goal::two_classes;
use crate::{Criterion, EngineError, Focus, Truth, predict};

/// The decision is another class than the label, and its score leads the label's by at least `lead`. Targeted: the
/// target is decided, and leads all other scores by at least `lead`.
///
/// With a lead of 0 it is misclassification, ties included. One way per other class.
///
/// Source: Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks", 2017 (the confidence κ).
#[derive(Debug, Clone, Copy)]
pub struct Margin {
    lead: f64,
    targeted: bool,
}

impl Margin {
    /// Creates the criterion; `lead` is in the unit of the scores, 0 or more.
    pub fn new(lead: f64, targeted: bool) -> Self {
        Self { lead, targeted }
    }
}

/// Returns the lead that decides: of the decision over the label, or of the target over the highest other value;
/// `None` if the decision is the label, or not the target.
pub(super) fn lead(
    scores: &[f32],
    truth: &Truth,
    targeted: bool,
    value: impl Fn(usize) -> f64,
) -> Option<f64> {
    let decided = predict(scores)?;
    match truth.target.filter(|_| targeted) {
        None => (decided != truth.label).then(|| value(decided) - value(truth.label)),
        Some(target) => (decided == target).then(|| {
            let others = (0..scores.len()).filter(|c| *c != target).map(&value);
            value(target) - others.fold(f64::NEG_INFINITY, f64::max)
        }),
    }
}

impl Criterion for Margin {
    fn met_by(&self, scores: &[f32], truth: &Truth) -> bool {
        let value = |class: usize| f64::from(scores[class]);
        lead(scores, truth, self.targeted, value).is_some_and(|lead| lead >= self.lead)
    }

    fn needs_target(&self) -> bool {
        self.targeted
    }

    fn check(&self, width: usize) -> Result<(), EngineError> {
        two_classes(width)
    }

    fn ways(&self) -> Option<&dyn Ways> {
        Some(self)
    }
}

impl Ways for Margin {
    fn count(&self, width: usize) -> usize {
        if self.targeted { 1 } else { width - 1 }
    }

    fn excess(&self, scores: &Tensor<2>, focus: &Focus) -> Tensor<2> {
        let ahead = if let Some(target) = focus.target().filter(|_| self.targeted) {
            Focus::margin(scores, target).unsqueeze_dim::<2>(1)
        } else {
            let own = Focus::score(scores, focus.label()).unsqueeze_dim::<2>(1);
            others(scores, focus.label()) - own
        };
        ahead - self.lead
    }
}
