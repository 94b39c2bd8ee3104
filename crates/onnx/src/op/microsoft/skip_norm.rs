//! Sum with a residual, normalised along its last dimension.

use super::super::OperatorEntry;
use super::super::norm::{root_mean_square, standardised};
use crate::node::{Args, NodeSpec, OpResult, Run, run};
use crate::tensor::Tensor;
use crate::value::Value;

/// Adds input, residual and, if there is one, bias. An error if the residual or bias changes the input's shape.
fn sum(x: &mut Args<'_>, bias: usize) -> OpResult<Tensor> {
    let input = x.tensor(0)?;
    let shape = input.shape();
    let mut sum = input.add(x.tensor(1)?)?;
    if let Some(bias) = x.tensor_opt(bias)? {
        sum = sum.add(bias)?;
    }
    if sum.shape() != shape || shape.is_empty() || shape.contains(&0) {
        return Err(format!(
            "an input of shape {shape:?} and a sum of shape {:?}",
            sum.shape()
        ));
    }
    Ok(sum)
}

/// Returns the outputs. Mean and variance are left empty, as they are for training; the sum is an output, too.
fn outputs(y: Tensor, sum: Tensor) -> Vec<Value> {
    vec![y.into(), Value::Nothing, Value::Nothing, sum.into()]
}

fn full(node: &NodeSpec<'_>) -> OpResult<Run> {
    let epsilon = node.float("epsilon", 1e-12)?;
    run(move |x| {
        let sum = sum(x, 4)?;
        let (y, ..) = standardised(sum.clone(), epsilon)?;
        let mut y = y.mul(x.tensor(2)?)?;
        if let Some(beta) = x.tensor_opt(3)? {
            y = y.add(beta)?;
        }
        Ok(outputs(y, sum))
    })
}

fn simplified(node: &NodeSpec<'_>) -> OpResult<Run> {
    let epsilon = node.float("epsilon", 1e-12)?;
    run(move |x| {
        let sum = sum(x, 3)?;
        let last = sum.rank() - 1;
        let (y, _) = root_mean_square(sum.clone(), last, epsilon, x.tensor(2)?)?;
        Ok(outputs(y, sum))
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("SkipLayerNormalization", full),
    OperatorEntry::new("SkipSimplifiedLayerNormalization", simplified),
];

#[cfg(test)]
mod tests {
    use crate::check::Case;

    fn case(op: &str) -> Case {
        Case::microsoft(op)
            .scattered(&[2, 2, 3], -1.0, 1.0)
            .scattered(&[2, 2, 3], -1.0, 1.0)
            .scattered(&[3], 0.5, 1.5)
            .float("epsilon", 1e-3)
    }

    #[test]
    fn gradients() {
        case("SkipLayerNormalization").assert_gradient();
        case("SkipLayerNormalization")
            .scattered(&[3], -1.0, 1.0)
            .scattered(&[3], -1.0, 1.0)
            .assert_gradient();
        case("SkipSimplifiedLayerNormalization").assert_gradient();
        case("SkipSimplifiedLayerNormalization")
            .scattered(&[3], -1.0, 1.0)
            .assert_gradient();
    }

    #[test]
    fn a_residual_must_fit() {
        let case = Case::microsoft("SkipLayerNormalization")
            .scattered(&[1, 3], -1.0, 1.0)
            .scattered(&[2, 3], -1.0, 1.0)
            .scattered(&[3], 0.5, 1.5);
        assert!(case.run().unwrap_err().contains("a sum of shape [2, 3]"));
    }
}
