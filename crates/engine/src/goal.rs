use std::fmt::Debug;

use burn::tensor::{Bool, Int, Tensor, TensorData};
use proofmark_domain::Outputs;
use proofmark_model::Output;
use proofmark_threat::{host, mask};

use crate::criterion::Ways;
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
/// [`Goal`] is the plain criterion for classifiers, [`criterion`](crate::criterion) holds others; a criterion looks up a
/// sample's requirement by its place ([`Truth::sample`], [`Focus::sample`]).
pub trait Criterion: Send + Sync + Debug {
    /// Returns whether each point of a query succeeds, on the device, `[q]`. The oracle ignores the result for answers
    /// that give no decision ([`Criterion::decides`]).
    ///
    /// It only monitors a running attack; [`Criterion::met_by`] decides. By default it decides on the host, which is
    /// exact and takes a transfer per query.
    fn met(&self, output: &Output, focus: &Focus) -> Result<Tensor<1, Bool>, EngineError> {
        met_on_host(self, output, focus)
    }

    /// Returns whether one point's outputs succeed, exactly; the judge uses this.
    fn met_by(&self, scores: &[f32], truth: &Truth) -> bool;

    /// Returns whether a decision succeeds. A criterion that needs scores returns an error, so that a sample it cannot
    /// judge is never reported as robust.
    fn met_by_class(&self, class: usize, truth: &Truth) -> Result<bool, EngineError> {
        let _ = (class, truth);
        Err(EngineError::NeedsScores)
    }

    /// Returns whether attacks head for the target class of each sample. False for a criterion with [`Ways`], which
    /// handles targets itself.
    fn targeted(&self) -> bool {
        false
    }

    /// Returns whether it needs a target per sample.
    fn needs_target(&self) -> bool {
        self.targeted()
    }

    /// Returns what the outputs of the model mean.
    fn outputs(&self) -> Outputs {
        Outputs::Classes
    }

    /// Returns whether a model with `width` outputs can be judged; an error names what it lacks.
    fn check(&self, width: usize) -> Result<(), EngineError> {
        let _ = width;
        Ok(())
    }

    /// Returns whether outputs give a decision: a class ([`predict`]), or finite numbers if they are not classes.
    fn decides(&self, scores: &[f32]) -> bool {
        match self.outputs() {
            Outputs::Classes => predict(scores).is_some(),
            Outputs::Labels | Outputs::Values => scores.iter().all(|v| v.is_finite()),
        }
    }

    /// Returns the prediction that records name: the class, or 1 where the criterion is met and 0 where it is not if
    /// the outputs are not classes; `None` without a decision.
    fn prediction(&self, scores: &[f32], truth: &Truth) -> Option<usize> {
        match self.outputs() {
            Outputs::Classes => predict(scores),
            Outputs::Labels | Outputs::Values => self
                .decides(scores)
                .then(|| usize::from(self.met_by(scores, truth))),
        }
    }

    /// Returns the ways to meet it, which attacks see in place of the model's outputs; `None` if they see those.
    fn ways(&self) -> Option<&dyn Ways> {
        None
    }
}

/// Decides on the host whether each point of a query succeeds.
fn met_on_host<C: Criterion + ?Sized>(
    criterion: &C,
    output: &Output,
    focus: &Focus,
) -> Result<Tensor<1, Bool>, EngineError> {
    let truth = |i: usize| Truth {
        // A row that is no sample has no requirement of its own; criteria that look one up refuse it beforehand.
        sample: focus.row[i].sample().unwrap_or(usize::MAX),
        label: focus.label[i],
        target: focus.target.as_ref().map(|t| t[i]),
    };
    let (met, device) = match output {
        Output::Scores(scores) => {
            let values = host(scores);
            let rows = values.chunks(scores.dims()[1].max(1)).enumerate();
            let met = |(i, row): (usize, &[f32])| {
                criterion.decides(row) && criterion.met_by(row, &truth(i))
            };
            (rows.map(met).collect::<Vec<bool>>(), scores.device())
        }
        Output::Labels(labels) => {
            let classes = host(&labels.clone().float());
            let met = |(i, class): (usize, &f32)| match *class {
                class if class >= 0.0 => criterion.met_by_class(class as usize, &truth(i)),
                _ => Ok(false),
            };
            let met: Result<Vec<bool>, EngineError> = classes.iter().enumerate().map(met).collect();
            (met?, labels.device())
        }
    };
    Ok(mask(&met, &device))
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
/// or a label that is one of the model's classes; finite numbers if the outputs are not classes.
pub(crate) fn decided(meaning: Outputs, output: &Output, classes: usize) -> Tensor<1, Bool> {
    match output {
        Output::Scores(scores) if !meaning.is_classes() => {
            let finite = scores.clone().is_finite();
            finite.all_dim(1).squeeze_dim::<1>(1)
        }
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

    fn check(&self, width: usize) -> Result<(), EngineError> {
        two_classes(width)
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

/// Refuses a model with fewer than two classes.
pub(crate) fn two_classes(width: usize) -> Result<(), EngineError> {
    if width >= 2 {
        return Ok(());
    }
    Err(EngineError::Parameter {
        name: "classes",
        given: width.to_string(),
        expected: "2 or more to decide between; a model that predicts a number needs a criterion about numbers, such as regression=BOUND".into(),
    })
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
        let on_device =
            proofmark_threat::host(&decided(Outputs::Classes, &Output::Scores(scores), 3).float());
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
        let decided = decided(Outputs::Classes, &Output::Labels(labels), 3);
        assert_eq!(
            proofmark_threat::host(&decided.float()),
            [0.0, 1.0, 1.0, 0.0]
        );
    }
}
