use burn::tensor::{Tensor, activation};

use super::margin::lead;
use super::{Ways, others};
use crate::goal::two_classes;
use crate::{Criterion, EngineError, Focus, Truth};

/// [`Margin`](super::Margin) in probabilities, the softmax of the scores: another class leads the label's probability
/// by at least `lead`.
///
/// Attacks see `log p_j − log(p_y + lead)`, which has the sign of `p_j − p_y − lead` and, unlike that, a gradient
/// wherever the scores have one.
#[derive(Debug, Clone, Copy)]
pub struct ProbabilityMargin {
    lead: f64,
    targeted: bool,
}

impl ProbabilityMargin {
    /// Creates the criterion; `lead` is at least 0 and below 1.
    pub fn new(lead: f64, targeted: bool) -> Self {
        Self { lead, targeted }
    }
}

/// Returns the softmax of finite or infinitely low scores.
fn softmax(scores: &[f32]) -> Vec<f64> {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = (scores.iter())
        .map(|s| (f64::from(*s) - f64::from(top)).exp())
        .collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

impl Criterion for ProbabilityMargin {
    fn met_by(&self, scores: &[f32], truth: &Truth) -> bool {
        let probability = softmax(scores);
        let value = |class: usize| probability[class];
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

impl Ways for ProbabilityMargin {
    fn count(&self, width: usize) -> usize {
        if self.targeted { 1 } else { width - 1 }
    }

    fn excess(&self, scores: &Tensor<2>, focus: &Focus) -> Tensor<2> {
        let log = activation::log_softmax(scores.clone(), 1);
        let behind = |log: Tensor<2>| {
            // A lead of 0 would take the logarithm of a probability that may round to 0.
            if self.lead > 0.0 {
                (log.exp() + self.lead).log()
            } else {
                log
            }
        };
        if let Some(target) = focus.target().filter(|_| self.targeted) {
            let rival = Focus::rival(&log, target).unsqueeze_dim::<2>(1);
            Focus::score(&log, target).unsqueeze_dim::<2>(1) - behind(rival)
        } else {
            let own = Focus::score(&log, focus.label()).unsqueeze_dim::<2>(1);
            others(&log, focus.label()) - behind(own)
        }
    }
}
