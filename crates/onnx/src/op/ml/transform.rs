//! What is done to scores at the end of a classical model (`post_transform`), and how one score becomes two.

use crate::node::{NodeSpec, OpResult};
use crate::tensor::Tensor;

/// Transformation of the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transform {
    None,
    Softmax,
    Logistic,
    /// Softmax over the scores that are not zero.
    SoftmaxZero,
    Probit,
}

/// What stands for the class that has no score of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Second {
    /// Nothing: one score stays one.
    None,
    /// The complement of a probability, `1 - s`.
    Complement,
    /// The negative score, `-s`.
    Negative,
}

impl Transform {
    pub(super) fn read(node: &NodeSpec<'_>) -> OpResult<Self> {
        Ok(match node.text("post_transform", "NONE")?.as_str() {
            "NONE" => Self::None,
            "SOFTMAX" => Self::Softmax,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            other => return Err(format!("post_transform `{other}` is not one of ONNX's")),
        })
    }

    /// Reads the number that `TreeEnsemble` uses.
    pub(super) fn numbered(number: i64) -> OpResult<Self> {
        Ok(match number {
            0 => Self::None,
            1 => Self::Softmax,
            2 => Self::Logistic,
            3 => Self::SoftmaxZero,
            4 => Self::Probit,
            other => return Err(format!("post_transform {other}; expected 0 to 4")),
        })
    }

    /// Transforms the scores of one sample, of which there is one per class, or a single one.
    pub(super) fn of(self, scores: &mut Vec<f64>, second: Second) {
        if let [score] = scores[..] {
            // onnxruntime leaves a single score alone otherwise, whatever the transformation says.
            match (self, second) {
                (Self::Probit, _) => scores[0] = probit(score),
                (_, Second::None) => {}
                (Self::Logistic, _) => *scores = vec![logistic(-score), logistic(score)],
                (_, Second::Complement) => *scores = vec![1.0 - score, score],
                (_, Second::Negative) => *scores = vec![-score, score],
            }
            return;
        }
        match self {
            Self::None => {}
            Self::Logistic => scores.iter_mut().for_each(|s| *s = logistic(*s)),
            Self::Probit => scores.iter_mut().for_each(|s| *s = probit(*s)),
            Self::Softmax => softmax(scores, |_| true),
            Self::SoftmaxZero => softmax(scores, |s| s.abs() > ZERO),
        }
    }

    /// The same on the device, differentiable: `scores` is `[n, targets]`.
    pub(super) fn on_device(self, scores: Tensor, second: Second) -> OpResult<Tensor> {
        if scores.shape().last() == Some(&1) {
            let pair = |first: Tensor, score| Tensor::cat(vec![first, score], 1);
            return match (self, second) {
                (Self::Probit, _) => Err(PROBIT.into()),
                (_, Second::None) => Ok(scores),
                (Self::Logistic, _) => pair(scores.clone().neg().sigmoid(), scores.sigmoid()),
                (_, Second::Complement) => pair(scores.clone().neg().add_scalar(1.0), scores),
                (_, Second::Negative) => pair(scores.clone().neg(), scores),
            };
        }
        Ok(match self {
            Self::None => scores,
            Self::Logistic => scores.sigmoid(),
            Self::Probit => return Err(PROBIT.into()),
            Self::Softmax | Self::SoftmaxZero => {
                let kept = if self == Self::Softmax {
                    None
                } else {
                    Some(scores.clone().abs().greater_scalar(ZERO).numbers())
                };
                let top = scores.clone().max(&[1]);
                let each = scores.sub(top)?.exp();
                let each = match kept {
                    Some(kept) => each.mul(kept)?,
                    None => each,
                };
                let sum = each.clone().sum(&[1]);
                each.div(sum)?
            }
        })
    }
}

const PROBIT: &str = "post_transform PROBIT is supported for trees alone";

/// Scores below this count as zero in `SOFTMAX_ZERO`.
const ZERO: f64 = 1e-7;

pub(super) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softmax(scores: &mut [f64], counts: impl Fn(f64) -> bool) {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let each: Vec<f64> = (scores.iter())
        .map(|s| if counts(*s) { (s - top).exp() } else { 0.0 })
        .collect();
    let sum: f64 = each.iter().sum();
    for (s, e) in scores.iter_mut().zip(each) {
        *s = if sum > 0.0 { e / sum } else { 0.0 };
    }
}

/// Approximate quantile of the normal distribution, `√2 erf⁻¹(2 p - 1)`, as onnxruntime computes it.
fn probit(p: f64) -> f64 {
    let x = 2.0 * p - 1.0;
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let v = 2.0 / (std::f64::consts::PI * 0.147) + 0.5 * log;
    let v2 = log / 0.147;
    std::f64::consts::SQRT_2 * sign * ((v * v - v2).sqrt() - v).sqrt()
}
