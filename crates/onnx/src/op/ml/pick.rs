//! Columns: choosing some, putting several inputs side by side, and the map of class names that converters put last.

use super::super::OperatorEntry;
use super::super::gather::chosen;
use super::classes::matrix;
use crate::dtype::DType;
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;

/// Chooses entries of the last axis; a vector becomes a row.
fn array_feature_extractor(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let (value, at) = (x.take(0)?, x.array(1)?.to_ints()?);
        let shape = value.shape();
        let (before, width) = match shape.as_slice() {
            [] => return Err("a single number has no columns to choose".into()),
            [w] => (vec![1], *w),
            [before @ .., w] => (before.to_vec(), *w),
        };
        let at: Vec<usize> = (at.iter())
            .map(|i| {
                let inside = usize::try_from(*i).ok().filter(|i| *i < width);
                inside.ok_or_else(|| format!("column {i} of {width}"))
            })
            .collect::<OpResult<_>>()?;
        let rows: usize = before.iter().product();
        let from: Vec<usize> = (0..rows)
            .flat_map(|r| at.iter().map(move |c| r * width + c))
            .collect();
        let mut to = before;
        to.push(at.len());
        one(chosen(value, &from, &to, x.device)?)
    })
}

fn feature_vectorizer(node: &NodeSpec<'_>) -> OpResult<Run> {
    let widths = node.sizes("inputdimensions")?.unwrap_or_default();
    run(move |x| {
        let mut parts: Vec<Tensor> = Vec::with_capacity(x.len());
        for i in 0..x.len() {
            let part = x.tensor(i)?.typed(DType::F32);
            let shape = part.shape();
            // A vector is a column here: one number per sample.
            let [n, width] = match shape.as_slice() {
                [n] => [*n, 1],
                [n, rest @ ..] => [*n, rest.iter().product()],
                [] => [1, 1],
            };
            if let Some(stated) = widths.get(i).filter(|w| **w != width) {
                return Err(format!(
                    "input {i} has {width} columns; `inputdimensions` states {stated}"
                ));
            }
            parts.push(part.reshape(&[n, width])?);
        }
        one(Tensor::cat(parts, 1)?)
    })
}

/// Passes the scores on, `[n, classes]`: a map from class names to scores holds the same numbers in the same order.
fn zip_map(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let scores = x.take(0)?;
        matrix(&scores.shape())?;
        one(scores)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("ArrayFeatureExtractor", array_feature_extractor),
    OperatorEntry::new("FeatureVectorizer", feature_vectorizer),
    OperatorEntry::new("ZipMap", zip_map),
];
