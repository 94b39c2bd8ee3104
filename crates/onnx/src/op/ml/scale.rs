//! Scaling, normalising, filling gaps and thresholds, feature by feature.

use super::super::Gradient;
use super::super::OperatorEntry;
use super::classes::matrix;
use crate::array::Array;
use crate::dtype::DType;
use crate::node::{NodeSpec, OpResult, Run, one, run};

/// One number per feature, or one for all, as a row that broadcasts over samples.
fn row(values: Vec<f64>) -> OpResult<Array> {
    let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
    Array::try_new([1, values.len()], values)
}

/// Checks that there is one number for each feature, or one for all.
fn fits(what: &str, count: usize, features: usize) -> OpResult<()> {
    if count == features || count == 1 {
        return Ok(());
    }
    Err(format!(
        "{count} numbers in `{what}` for {features} features; expected one each, or one for all"
    ))
}

fn scaler(node: &NodeSpec<'_>) -> OpResult<Run> {
    let list = |name: &str, default: f64| -> OpResult<Array> {
        let given = node.floats(name)?.filter(|v| !v.is_empty());
        row(given.unwrap_or_else(|| vec![default]))
    };
    let (offset, scale) = (list("offset", 0.0)?, list("scale", 1.0)?);
    run(move |x| {
        let input = x.tensor(0)?.typed(DType::F32);
        let shape = input.shape();
        let [n, features] = matrix(&shape)?;
        fits("offset", offset.len(), features)?;
        fits("scale", scale.len(), features)?;
        let rows = input.reshape(&[n, features])?;
        let moved = rows.sub(offset.on(x.device)?)?.mul(scale.on(x.device)?)?;
        one(moved.reshape(&shape)?)
    })
}

fn normalizer(node: &NodeSpec<'_>) -> OpResult<Run> {
    let norm = node.text("norm", "MAX")?;
    if !["MAX", "L1", "L2"].contains(&norm.as_str()) {
        return Err(format!("norm `{norm}`; expected MAX, L1 or L2"));
    }
    run(move |x| {
        let input = x.tensor(0)?.typed(DType::F32);
        let shape = input.shape();
        let [n, features] = matrix(&shape)?;
        let rows = input.reshape(&[n, features])?;
        let size = match norm.as_str() {
            // The largest value, not the largest size.
            "MAX" => rows.clone().max(&[1]),
            "L1" => rows.clone().abs().sum(&[1]),
            _ => rows.clone().mul(rows.clone())?.sum(&[1]).sqrt(),
        };
        // A row of zeros stays one.
        let zero = size.clone().equal_scalar(0.0);
        one(rows.div(zero.fill(size, 1.0)?)?.reshape(&shape)?)
    })
}

fn imputer(node: &NodeSpec<'_>) -> OpResult<Run> {
    let floats = node
        .floats("imputed_value_floats")?
        .filter(|v| !v.is_empty());
    let ints = node.ints("imputed_value_int64s")?.filter(|v| !v.is_empty());
    let (filling, gap) = match (floats, ints) {
        (Some(v), None) => (v, node.float("replaced_value_float", 0.0)?),
        (None, Some(v)) => (
            v.into_iter().map(|i| i as f64).collect(),
            node.int("replaced_value_int64", 0)? as f64,
        ),
        _ => {
            return Err(
                "expected `imputed_value_floats` or `imputed_value_int64s`, and not both".into(),
            );
        }
    };
    let filling = row(filling)?;
    run(move |x| {
        let input = x.tensor(0)?;
        let (shape, dtype) = (input.shape(), input.dtype());
        let [n, features] = matrix(&shape)?;
        fits("imputed_value", filling.len(), features)?;
        let rows = input.reshape(&[n, features])?;
        let missing = if gap.is_nan() {
            rows.clone().is_nan()
        } else {
            rows.clone().equal_scalar(gap)
        };
        let filled = filling.on(x.device)?.expand(&[n, features])?;
        let filled = missing.choose(filled.typed(dtype), rows)?;
        one(filled.reshape(&shape)?)
    })
}

fn binarizer(node: &NodeSpec<'_>) -> OpResult<Run> {
    let threshold = node.float("threshold", 0.0)?;
    run(move |x| {
        let input = x.tensor(0)?;
        let dtype = input.dtype();
        one(input.greater_scalar(threshold).numbers().typed(dtype))
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Binarizer", binarizer).gradient(Gradient::Zero),
    OperatorEntry::new("Imputer", imputer),
    OperatorEntry::new("Normalizer", normalizer),
    OperatorEntry::new("Scaler", scaler),
];
