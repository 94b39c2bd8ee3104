//! Linear classifiers and regressors.

use super::super::OperatorEntry;
use super::super::matmul::product;
use super::classes::{Classes, largest, matrix};
use super::transform::{Second, Transform};
use crate::array::Array;
use crate::dtype::DType;
use crate::node::{Args, NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;

/// `x W + b`, one column per target.
struct Linear {
    weights: Array,
    bias: Array,
    features: usize,
}

impl Linear {
    /// Reads the parameters of so many targets; coefficients are stored target by target.
    fn read(node: &NodeSpec<'_>, targets: usize) -> OpResult<Self> {
        let rows = node.floats("coefficients")?.unwrap_or_default();
        let bias = node.floats("intercepts")?.filter(|b| !b.is_empty());
        let bias = bias.unwrap_or_else(|| vec![0.0; targets]);
        if targets == 0 || rows.is_empty() || !rows.len().is_multiple_of(targets) {
            return Err(format!(
                "{} coefficients for {targets} scores; expected as many for each score",
                rows.len()
            ));
        }
        if bias.len() != targets {
            return Err(format!(
                "{} intercepts for {targets} scores; expected one each",
                bias.len()
            ));
        }
        let features = rows.len() / targets;
        let turned: Vec<f32> = (0..features)
            .flat_map(|f| (0..targets).map(move |t| t * features + f))
            .map(|at| rows[at] as f32)
            .collect();
        let bias: Vec<f32> = bias.into_iter().map(|b| b as f32).collect();
        Ok(Self {
            weights: Array::try_new([features, targets], turned)?,
            bias: Array::try_new([1, targets], bias)?,
            features,
        })
    }

    /// Returns the scores `[n, targets]` of input 0.
    fn of(&self, x: &mut Args<'_>) -> OpResult<Tensor> {
        let input = x.tensor(0)?.typed(DType::F32);
        let [n, features] = matrix(&input.shape())?;
        if features != self.features {
            return Err(format!(
                "samples of {features} features; its coefficients are for {}",
                self.features
            ));
        }
        let input = input.reshape(&[n, features])?;
        product(input, self.weights.on(x.device)?, x.device)?.add(self.bias.on(x.device)?)
    }
}

fn classifier(node: &NodeSpec<'_>) -> OpResult<Run> {
    let classes = Classes::read(node, "classlabels_ints", "classlabels_strings")?;
    let given = node.floats("intercepts")?.map_or(0, |b| b.len());
    let targets = if given > 0 { given } else { classes.len() };
    let linear = Linear::read(node, targets)?;
    let transform = Transform::read(node)?;
    let second = match (targets, classes.len()) {
        (1, 2) => Second::Complement,
        (1, 1) => Second::None,
        (a, b) if a == b => Second::None,
        (a, b) => return Err(format!("{a} scores and {b} class labels")),
    };
    run(move |x| {
        let scores = linear.of(x)?;
        let raw = scores.clone().download()?.to_f64()?;
        let chosen = |row: &[f64]| match row {
            [score] => usize::from(*score > 0.0).min(classes.len() - 1),
            row => largest(row),
        };
        let chosen: Vec<usize> = raw.chunks(targets).map(chosen).collect();
        let labels = classes.of(&chosen)?;
        Ok(vec![
            labels.into(),
            transform.on_device(scores, second)?.into(),
        ])
    })
}

fn regressor(node: &NodeSpec<'_>) -> OpResult<Run> {
    let targets = node.int("targets", 1)?;
    let targets = usize::try_from(targets).map_err(|_| format!("targets = {targets}"))?;
    let linear = Linear::read(node, targets)?;
    let transform = Transform::read(node)?;
    run(move |x| one(transform.on_device(linear.of(x)?, Second::None)?))
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("LinearClassifier", classifier),
    OperatorEntry::new("LinearRegressor", regressor),
];
