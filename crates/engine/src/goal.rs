use std::fmt::Debug;

use burn::tensor::{Bool, Int, Tensor, TensorData};
use proofmark_model::Output;

use crate::{EngineError, Focus};

/// Ground truth of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truth {
    /// Place in the samples.
    pub sample: usize,
    /// True class.
    pub label: usize,
    /// Target class, if the attack is targeted.
    pub target: Option<usize>,
}

/// Condition for success, decided from a model's answers, never from a loss.
///
/// [`Goal`] is the criterion for classifiers; other criteria look up a sample's requirement by its place
/// ([`Truth::sample`], [`Focus::sample`]).
pub trait Criterion: Send + Sync + Debug {
    /// Returns whether each point of a query succeeds, on the device, `[q]`. The oracle ignores the result for answers
    /// that give no decision ([`predict`]).
    ///
    /// It only monitors a running attack and may have rounding errors; [`Criterion::met_by`] decides.
    fn met(&self, output: &Output, focus: &Focus) -> Result<Tensor<1, Bool>, EngineError>;

    /// Returns whether one point's scores succeed, exactly; the judge uses this.
    fn met_by(&self, scores: &[f32], truth: &Truth) -> bool;

    /// Returns whether a decision succeeds. A criterion that needs scores returns an error, so that a sample it cannot
    /// judge is never reported as robust.
    fn met_by_class(&self, class: usize, truth: &Truth) -> Result<bool, EngineError> {
        let _ = (class, truth);
        Err(EngineError::NeedsScores)
    }

    /// Returns whether it needs a target per sample.
    fn targeted(&self) -> bool {
        false
    }
}

/// The adversarial criterion for classifiers: the model's decision ([`predict`]) is wrong, or is the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Goal {
    /// The decision is any class but the label.
    #[default]
    Untargeted,
    /// The decision is the sample's target class.
    Targeted,
}

/// Returns a model's decision on one row of scores: the class with the highest score, on ties the lowest such class;
/// `None` if any score is NaN or the highest is not finite.
///
/// A score of −∞ marks an impossible class: masked out, or the logarithm of a probability of 0.
///
/// This is the only decision rule: clean predictions, attacks (on the device through [`Focus::beaten`]) and the judge
/// all use it.
pub fn predict(scores: &[f32]) -> Option<usize> {
    if scores.iter().any(|s| s.is_nan()) {
        return None;
    }
    let mut best = 0;
    for (i, s) in scores.iter().enumerate() {
        if *s > scores[best] {
            best = i;
        }
    }
    scores.get(best)?.is_finite().then_some(best)
}

/// Returns which rows of an answer hold a decision, on the device, `[q]`: scores from which [`predict`] gets a class,
/// or a label that is one of the model's classes.
pub(crate) fn decided(output: &Output, classes: usize) -> Tensor<1, Bool> {
    match output {
        Output::Scores(scores) => {
            let highest = scores.clone().max_dim(1).is_finite();
            let known = scores.clone().is_nan().any_dim(1).bool_not();
            highest.bool_and(known).squeeze_dim::<1>(1)
        }
        Output::Labels(labels) => labels
            .clone()
            .greater_equal_scalar(0)
            .bool_and(labels.clone().lower_scalar(classes as i64)),
    }
}

impl Goal {
    fn met_by_decision(self, class: usize, truth: &Truth) -> bool {
        match (self, truth.target) {
            (Self::Targeted, Some(t)) => class == t,
            (Self::Targeted | Self::Untargeted, _) => class != truth.label,
        }
    }
}

impl Criterion for Goal {
    /// Without a decision a point does not succeed.
    fn met_by(&self, scores: &[f32], truth: &Truth) -> bool {
        predict(scores).is_some_and(|class| self.met_by_decision(class, truth))
    }

    fn met_by_class(&self, class: usize, truth: &Truth) -> Result<bool, EngineError> {
        Ok(self.met_by_decision(class, truth))
    }

    fn targeted(&self) -> bool {
        *self == Self::Targeted
    }

    fn met(&self, output: &Output, focus: &Focus) -> Result<Tensor<1, Bool>, EngineError> {
        let target = focus.target().filter(|_| self.targeted());
        Ok(match output {
            Output::Labels(labels) => {
                let column = |v: &[usize]| {
                    let v: Vec<i64> = v.iter().map(|c| *c as i64).collect();
                    let n = v.len();
                    Tensor::<1, Int>::from_data(TensorData::new(v, [n]), &labels.device())
                };
                match target {
                    Some(t) => labels.clone().equal(column(t)),
                    None => labels.clone().not_equal(column(focus.label())),
                }
            }
            Output::Scores(scores) => match target {
                Some(t) => Focus::beaten(scores, t).bool_not(),
                None => Focus::beaten(scores, focus.label()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proofmark_domain::{Bounds, Kind, Modality};
    use proofmark_threat::Batch;

    use super::*;

    #[test]
    fn ties_go_to_the_lowest_class_and_nan_is_no_success() {
        let truth = |label, target| Truth {
            sample: 0,
            label,
            target,
        };
        let g = Goal::Untargeted;
        assert!(g.met_by(&[1.0, 2.0], &truth(0, None)));
        assert!(
            !g.met_by(&[2.0, 2.0], &truth(0, None)),
            "class 0 wins the tie"
        );
        assert!(
            g.met_by(&[2.0, 2.0], &truth(1, None)),
            "class 1 loses the tie"
        );
        assert!(!g.met_by(&[f32::NAN, 2.0], &truth(0, None)));
        let t = Goal::Targeted;
        assert!(!t.met_by(&[0.0, 2.0, 1.0], &truth(0, Some(2))));
        assert!(t.met_by(&[0.0, 2.0, 3.0], &truth(0, Some(2))));
        assert!(t.met_by(&[0.0, 3.0, 3.0], &truth(0, Some(1))));
        assert!(!t.met_by(&[0.0, 3.0, 3.0], &truth(0, Some(2))));
        assert_eq!(predict(&[1.0, 1.0]), Some(0));
        assert_eq!(predict(&[1.0, f32::NAN]), None);
    }

    /// Every row of three scores out of five values, including ±∞ and NaN: host and device agree on which rows hold a
    /// decision.
    #[test]
    fn a_class_with_a_score_of_minus_infinity_is_never_predicted() {
        let inf = f32::INFINITY;
        assert_eq!(predict(&[-inf, 1.0, -inf]), Some(1));
        for none in [[-inf, -inf], [inf, 0.0], [f32::NAN, -inf]] {
            assert_eq!(predict(&none), None, "{none:?}");
        }
        let values = [f32::NAN, -inf, 0.0, 1.0, inf];
        let rows: Vec<[f32; 3]> = (0..125)
            .map(|i| [i / 25, i / 5 % 5, i % 5].map(|v: usize| values[v]))
            .collect();
        let flat: Vec<f32> = rows.iter().flatten().copied().collect();
        let scores = Tensor::<2>::from_data(TensorData::new(flat, [125, 3]), &Device::flex());
        let on_device = proofmark_threat::host(&decided(&Output::Scores(scores), 3).float());
        for (row, decides) in rows.iter().zip(on_device) {
            assert_eq!(decides > 0.5, predict(row).is_some(), "{row:?}");
        }
    }

    /// Every row of three scores out of {0, 1, 2} with every label and target: device and host agree.
    #[test]
    fn the_device_decides_as_the_host_does() {
        let rows: Vec<[f32; 3]> = (0..27)
            .map(|i| [i / 9, i / 3 % 3, i % 3].map(|v| v as f32))
            .collect();
        let flat: Vec<f32> = rows.iter().flatten().copied().collect();
        let device = Device::flex();
        let scores = Tensor::<2>::from_data(TensorData::new(flat, [27, 3]), &device);
        let modality = Modality {
            name: "x".into(),
            kind: Kind::Table,
            shape: vec![1],
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        };
        let x0 = Batch::from_host([modality].into(), vec![vec![0.0; 27]], &device).unwrap();
        for class in 0..3 {
            for goal in [Goal::Untargeted, Goal::Targeted] {
                let target = goal.targeted().then_some(class);
                let label = if goal.targeted() {
                    (class + 1) % 3
                } else {
                    class
                };
                let truth = Truth {
                    sample: 0,
                    label,
                    target,
                };
                let focus = Focus::new(x0.clone(), vec![label; 27], target.map(|t| vec![t; 27]));
                let on_device = goal
                    .met(&Output::Scores(scores.clone()), &focus)
                    .unwrap()
                    .float();
                let on_device = proofmark_threat::host(&on_device);
                for (row, met) in rows.iter().zip(on_device) {
                    let argmax = (0..3).rev().max_by(|a, b| row[*a].total_cmp(&row[*b]));
                    let expected = match target {
                        Some(t) => argmax == Some(t),
                        None => argmax != Some(label),
                    };
                    assert_eq!(met > 0.5, expected, "{goal:?} {row:?} {label} {target:?}");
                    assert_eq!(goal.met_by(row, &truth), expected);
                }
            }
        }
    }

    #[test]
    fn a_class_that_does_not_exist_is_no_decision() {
        let device = Device::flex();
        let labels =
            Tensor::<1, Int>::from_data(TensorData::new(vec![-1_i64, 0, 2, 3], [4]), &device);
        let decided = decided(&Output::Labels(labels), 3);
        assert_eq!(
            proofmark_threat::host(&decided.float()),
            [0.0, 1.0, 1.0, 0.0]
        );
    }
}
