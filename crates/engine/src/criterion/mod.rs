//! Criteria other than the plain goals ([`Goal`]), one file each.
//!
//! Each decides success from a model's outputs on the host, in `f64` ([`Criterion::met_by`]),
//! and shows attacks the [`Ways`] to reach it. An attack sees a classifier: class 0 is "not met" and has the score 0;
//! every other class is one way to meet the criterion, and its score says by how much it is met. So losses, targets and
//! boundaries of classes serve every criterion, and no attack knows which one it works on.

mod all;
mod interval;
mod margin;
mod multi_label;
mod probability_margin;
mod regression;
mod top_k;

use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};
use proofmark_domain::{Criteria, CriterionSpec};

pub use all::All;
pub use interval::Interval;
pub use margin::Margin;
pub use multi_label::MultiLabel;
pub use probability_margin::ProbabilityMargin;
pub use regression::Regression;
pub use top_k::TopK;

use crate::{Criterion, EngineError, Focus, Goal};

/// The ways to meet a criterion, as attacks see them.
pub trait Ways: Send + Sync + Debug {
    /// Returns the number of ways for a model with `width` outputs, at least 1.
    fn count(&self, width: usize) -> usize;

    /// Returns by how much the criterion is met in each way, `[q, ways]`: above 0 where it is met. Differentiable in
    /// the outputs `[q, width]`; `focus` holds the facts of the samples.
    ///
    /// It guides attacks and decides nothing.
    fn excess(&self, outputs: &Tensor<2>, focus: &Focus) -> Tensor<2>;
}

/// What outputs are compared with.
#[derive(Debug, Clone, Default)]
pub struct References {
    /// Per sample and output: the number expected.
    pub values: Option<Arc<[f64]>>,
    /// Per sample and label: whether it applies.
    pub labels: Option<Arc<[bool]>>,
}

/// Builds the criterion of a run on a model with `width` outputs.
pub fn build(
    criteria: &Criteria,
    targeted: bool,
    width: usize,
    references: &References,
) -> Result<Arc<dyn Criterion>, EngineError> {
    if criteria.is_default() {
        return Ok(Arc::new(if targeted {
            Goal::Targeted
        } else {
            Goal::Untargeted
        }));
    }
    let each = |spec| one(spec, targeted, width, references);
    let mut all: Vec<Arc<dyn Criterion>> =
        criteria.all().iter().map(each).collect::<Result<_, _>>()?;
    Ok(match all.len() {
        1 => all.remove(0),
        _ => Arc::new(All::new(all)),
    })
}

fn one(
    spec: &CriterionSpec,
    targeted: bool,
    width: usize,
    references: &References,
) -> Result<Arc<dyn Criterion>, EngineError> {
    let wrong = |expected: String| EngineError::Parameter {
        name: "criterion",
        given: spec.to_string(),
        expected,
    };
    let exists = |place: &Option<usize>, what: &str| match place {
        Some(p) if *p >= width => Err(wrong(format!(
            "{what} below {width}: the model returns {width} number{} per sample",
            if width == 1 { "" } else { "s" }
        ))),
        _ => Ok(()),
    };
    let selected = |output: &Option<usize>| -> Vec<usize> {
        output.map_or_else(|| (0..width).collect(), |o| vec![o])
    };
    Ok(match spec {
        // The decision is wrong (or the target) if and only if it leads by 0 or more.
        CriterionSpec::Misclassification => Arc::new(Margin::new(0.0, targeted)),
        CriterionSpec::Margin { lead } => Arc::new(Margin::new(*lead, targeted)),
        CriterionSpec::ProbabilityMargin { lead } => {
            Arc::new(ProbabilityMargin::new(*lead, targeted))
        }
        CriterionSpec::TopK { k } if *k >= width => {
            return Err(wrong(format!(
                "k below {width}: the model has {width} classes, and every class is among the {width} highest"
            )));
        }
        CriterionSpec::TopK { k } => Arc::new(TopK::new(*k, targeted)),
        CriterionSpec::MultiLabel {
            least,
            label,
            threshold,
        } => {
            exists(label, "a label")?;
            if *least > width {
                return Err(wrong(format!(
                    "at most {width} labels to flip: the model has {width}"
                )));
            }
            let labels = references.labels.clone();
            let labels =
                labels.ok_or_else(|| wrong("data with the labels of each sample".into()))?;
            Arc::new(MultiLabel::new(*least, *label, *threshold, labels, width))
        }
        CriterionSpec::Regression { bound, output } => {
            exists(output, "an output")?;
            let outputs = selected(output);
            let bounds = match bound.len() {
                1 => vec![bound[0]; outputs.len()],
                n if n == width => bound.clone(),
                n => {
                    return Err(wrong(format!(
                        "one bound, or {width}, one per output of the model; there are {n}"
                    )));
                }
            };
            let values = references.values.clone();
            let values =
                values.ok_or_else(|| wrong("data with the targets of each sample".into()))?;
            Arc::new(Regression::new(outputs, bounds, values, width))
        }
        CriterionSpec::Interval { low, high, output } => {
            exists(output, "an output")?;
            Arc::new(Interval::new(*low, *high, selected(output)))
        }
        other => return Err(wrong(format!("a criterion of this version, not {other}"))),
    })
}

/// Returns the scores of all classes but each point's, `[q, width - 1]`, in the order of the classes.
fn others(scores: &Tensor<2>, classes: &[usize]) -> Tensor<2> {
    let [n, width] = scores.dims();
    let places: Vec<i64> = classes
        .iter()
        .flat_map(|own| (0..width).filter(move |c| c != own).map(|c| c as i64))
        .collect();
    let places = Tensor::<2, Int>::from_data(
        TensorData::new(places, [n, width - 1]),
        &scores.device().inner(),
    );
    scores.clone().gather(1, places)
}

/// Returns the `k`th largest value of each row, counted from 1, `[q, 1]`.
fn kth_largest(values: &Tensor<2>, k: usize) -> Tensor<2> {
    let n = values.dims()[0];
    // The untracked values give the order; gathering keeps the gradient.
    let order = values.clone().inner().argsort_descending(1);
    values.clone().gather(1, order.slice([0..n, k - 1..k]))
}

/// Returns the columns `at`, `[q, at.len()]`.
fn columns(values: &Tensor<2>, at: &[usize]) -> Tensor<2> {
    let places: Vec<i64> = at.iter().map(|o| *o as i64).collect();
    let places = Tensor::<1, Int>::from_data(
        TensorData::new(places, [at.len()]),
        &values.device().inner(),
    );
    values.clone().select(1, places)
}

/// Returns one number per point and column, as a tensor beside `like`.
fn numbers(values: Vec<f32>, columns: usize, like: &Tensor<2>) -> Tensor<2> {
    let rows = values.len() / columns.max(1);
    Tensor::from_data(TensorData::new(values, [rows, columns]), &like.device())
}

#[cfg(test)]
mod tests;
