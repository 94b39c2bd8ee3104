use burn::tensor::{Bool, Int, Tensor, TensorData};
use proofmark_model::Output;

use crate::Focus;

/// What an adversarial is.
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

impl Goal {
    /// Whether one row of scores meets the goal. A tie is not enough, nor is anything not finite.
    pub fn met_by(self, scores: &[f32], label: usize, target: Option<usize>) -> bool {
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

    /// The same for every point of a query, on the device: `[q]`.
    pub fn met(self, output: &Output, focus: &Focus) -> Tensor<1, Bool> {
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
