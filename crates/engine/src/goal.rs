use std::fmt::Debug;

use burn::tensor::{Bool, Int, Tensor, TensorData};
use proofmark_model::Output;

use crate::Focus;

/// What success is: judged on a model's answers, never on a loss.
///
/// [`Goal`] is the one of classifiers. What a sample's label means is the criterion's business: a class here, the
/// place of an alternative where a property is to be satisfied.
pub trait Criterion: Send + Sync + Debug {
    /// Whether each point of a query succeeds, on the device, `[q]`. Answers that are not finite never do.
    ///
    /// It watches a running attack and may err by rounding; [`Criterion::met_by`] decides.
    fn met(&self, output: &Output, focus: &Focus) -> Tensor<1, Bool>;

    /// Whether one point's scores succeed, exactly: what the judge goes by.
    fn met_by(&self, scores: &[f32], label: usize, target: Option<usize>) -> bool;

    /// The same of a decision. Criteria that need scores are never met by one.
    fn met_by_class(&self, class: i64, label: usize, target: Option<usize>) -> bool {
        let _ = (class, label, target);
        false
    }

    /// Whether it needs a target per sample.
    fn targeted(&self) -> bool {
        false
    }
}

/// What an adversarial is, for a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Goal {
    /// Any class but the label wins, strictly.
    #[default]
    Untargeted,
    /// Each sample's target class wins, strictly.
    Targeted,
}

/// The winning class of one row of scores; `None` if any score is not finite. Ties go to the lower class.
pub fn predict(scores: &[f32]) -> Option<usize> {
    if scores.iter().any(|s| !s.is_finite()) {
        return None;
    }
    let mut best = 0;
    for (i, s) in scores.iter().enumerate() {
        if *s > scores[best] {
            best = i;
        }
    }
    Some(best)
}

impl Criterion for Goal {
    /// A tie is not enough, nor is anything not finite.
    fn met_by(&self, scores: &[f32], label: usize, target: Option<usize>) -> bool {
        if scores.iter().any(|s| !s.is_finite()) {
            return false;
        }
        let rival = |but: usize| {
            scores
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != but)
                .map(|(_, s)| *s)
                .fold(f32::NEG_INFINITY, f32::max)
        };
        match (self, target) {
            (Self::Targeted, Some(t)) => scores[t] > rival(t),
            _ => rival(label) > scores[label],
        }
    }

    fn met_by_class(&self, class: i64, label: usize, target: Option<usize>) -> bool {
        match (self, target) {
            (Self::Targeted, Some(t)) => class == t as i64,
            _ => class != label as i64,
        }
    }

    fn targeted(&self) -> bool {
        *self == Self::Targeted
    }

    fn met(&self, output: &Output, focus: &Focus) -> Tensor<1, Bool> {
        match output {
            Output::Labels(labels) => {
                let device = labels.device();
                let column = |v: &[usize]| {
                    let v: Vec<i64> = v.iter().map(|c| *c as i64).collect();
                    let n = v.len();
                    Tensor::<1, Int>::from_data(TensorData::new(v, [n]), &device)
                };
                match (self, focus.target()) {
                    (Self::Targeted, Some(t)) => labels.clone().equal(column(t)),
                    _ => labels.clone().not_equal(column(focus.label())),
                }
            }
            Output::Scores(scores) => {
                let margin = match (self, focus.target()) {
                    (Self::Targeted, Some(t)) => Focus::margin(scores, t).neg(),
                    _ => Focus::margin(scores, focus.label()),
                };
                let finite = scores.clone().is_finite().all_dim(1).squeeze_dim::<1>(1);
                margin.lower_scalar(0.0).bool_and(finite)
            }
            // `Output` grows with new kinds of model; none of them reaches a classification goal.
            _ => unreachable!("classification goals are asked of labels and scores"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_and_nan_are_not_success() {
        let g = Goal::Untargeted;
        assert!(g.met_by(&[1.0, 2.0], 0, None));
        assert!(!g.met_by(&[2.0, 2.0], 0, None));
        assert!(!g.met_by(&[f32::NAN, 2.0], 0, None));
        assert!(!Goal::Targeted.met_by(&[0.0, 2.0, 1.0], 0, Some(2)));
        assert!(Goal::Targeted.met_by(&[0.0, 2.0, 3.0], 0, Some(2)));
        assert_eq!(predict(&[1.0, 1.0]), Some(0));
        assert_eq!(predict(&[1.0, f32::NAN]), None);
    }
}
