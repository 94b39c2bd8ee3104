//! Normalisation by the statistics of the training data.

use super::OperatorEntry;
use crate::array::Array;
use crate::dtype::DType;
use crate::lower::{Lowering, floats, lowering};
use crate::node::{Args, NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;
use crate::value::Value;

/// Error for a model that was not switched to evaluation before it was exported.
pub(crate) const IN_TRAINING: &str = "it was exported in training mode: it normalises each batch by the batch's own statistics, so a sample's scores depend on the samples beside it; export it again in evaluation mode (PyTorch: `model.eval()` before `torch.onnx.export`)";

/// Ranks with precomputed factor and offset; inputs of another rank compute them at run time.
const RANKS: std::ops::RangeInclusive<usize> = 2..=5;

/// Returns the shape that broadcasts one value per channel over an input of `rank` dimensions.
fn wide(channels: usize, rank: usize) -> Vec<usize> {
    let mut shape = vec![1; rank];
    shape[usize::from(rank > 1)] = channels;
    shape
}

/// Computes factor and offset from scale, bias, mean and variance, for each of [`RANKS`]; `None` unless all four are
/// constants.
fn folded(node: &NodeSpec<'_>, epsilon: f64) -> OpResult<Option<Vec<(Array, Array)>>> {
    let mut known = Vec::new();
    for i in 1..5 {
        let Some(array) = node.constant(i) else {
            return Ok(None);
        };
        known.push(array.to_f64()?);
    }
    let n = known[0].len();
    if let Some(other) = known.iter().find(|v| v.len() != n) {
        return Err(format!("statistics of {n} and {} channels", other.len()));
    }
    let (scale, bias, mean, variance) = (&known[0], &known[1], &known[2], &known[3]);
    let factor: Vec<f64> = (0..n)
        .map(|c| scale[c] / (variance[c] + epsilon).sqrt())
        .collect();
    let offset = Array::new(
        [n],
        (0..n)
            .map(|c| (bias[c] - mean[c] * factor[c]) as f32)
            .collect::<Vec<_>>(),
    );
    let factor = Array::new([n], factor.iter().map(|f| *f as f32).collect::<Vec<_>>());
    RANKS
        .map(|rank| {
            let shape = wide(n, rank);
            Ok((factor.reshape(&shape)?, offset.reshape(&shape)?))
        })
        .collect::<OpResult<_>>()
        .map(Some)
}

/// Reads scale, bias, mean and variance for an input of shape `[batch, channels, ..]`.
fn statistics(x: &mut Args<'_>, shape: &[usize], by_channel: bool) -> OpResult<[Tensor; 4]> {
    let channels = [shape.get(1).copied().unwrap_or(1)];
    let expected = if by_channel {
        &channels[..]
    } else {
        &shape[1..]
    };
    let wide = if by_channel {
        wide(channels[0], shape.len())
    } else {
        expected.to_vec()
    };
    let mut one = |i: usize| {
        let t = x.tensor(i)?;
        if t.shape() != expected {
            return Err(format!(
                "input {i} has shape {:?}; expected {expected:?}",
                t.shape()
            ));
        }
        t.reshape(&wide)
    };
    Ok([one(1)?, one(2)?, one(3)?, one(4)?])
}

fn normalised(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: f64,
) -> OpResult<Tensor> {
    let factor = scale.div(variance.add_scalar(epsilon).sqrt())?;
    let offset = bias.sub(mean.mul(factor.clone())?)?;
    x.mul(factor)?.add(offset)
}

fn batch_norm(node: &NodeSpec<'_>) -> OpResult<Run> {
    let epsilon = node.float("epsilon", 1e-5)?;
    let momentum = node.float("momentum", 0.9)?;
    // Before version 9 there could be statistics for every element of a sample.
    let by_channel = node.opset >= 9 || node.flag("spatial", true)?;
    if node.flag("training_mode", false)? {
        return training(epsilon, momentum);
    }
    if (1..node.outputs()).any(|i| node.wants(i)) {
        return Err(IN_TRAINING.into());
    }
    let folded = if by_channel {
        folded(node, epsilon)?
    } else {
        None
    };
    run(move |x| {
        let input = x.tensor(0)?;
        let shape = input.shape();
        let ready = folded
            .as_ref()
            .and_then(|f| f.get(shape.len().checked_sub(*RANKS.start())?));
        if let Some((factor, offset)) = ready {
            if factor.shape()[1] != shape[1] {
                return Err(format!(
                    "statistics of {} channels for an input of shape {shape:?}",
                    factor.shape()[1]
                ));
            }
            let scaled = input.mul(factor.on(x.device)?)?;
            return one(scaled.add(offset.on(x.device)?)?);
        }
        if shape.is_empty() {
            return Err("an input without dimensions".into());
        }
        let [scale, bias, mean, variance] = statistics(x, &shape, by_channel)?;
        one(normalised(input, scale, bias, mean, variance, epsilon)?)
    })
}

/// Normalises by the statistics of the batch itself, and moves the running statistics towards them.
fn training(epsilon: f64, momentum: f64) -> OpResult<Run> {
    run(move |x| {
        let input = x.tensor(0)?;
        let shape = input.shape();
        if shape.len() < 2 || shape.contains(&0) {
            return Err(format!("an input of shape {shape:?} has no statistics"));
        }
        let [scale, bias, old_mean, old_variance] = statistics(x, &shape, true)?;
        let axes: Vec<usize> = (0..shape.len()).filter(|i| *i != 1).collect();
        let mean = input.clone().mean(&axes);
        let centred = input.clone().sub(mean.clone())?;
        let variance = centred.clone().mul(centred)?.mean(&axes);
        let moved = |old: Tensor, new: Tensor| -> OpResult<Value> {
            let new = new.mul_scalar(1.0 - momentum);
            let t = old.mul_scalar(momentum).add(new)?;
            Ok(t.reshape(&[shape[1]])?.typed(DType::F32).into())
        };
        let means = moved(old_mean, mean.clone())?;
        let variances = moved(old_variance, variance.clone())?;
        let y = normalised(input, scale, bias, mean, variance, epsilon)?;
        Ok(vec![y.into(), means, variances])
    })
}

fn lowered(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let by_channel = node.opset >= 9 || node.flag("spatial", true)?;
    let folded = folded(node, node.float("epsilon", 1e-5)?)?.filter(|_| by_channel);
    lowering(move |x| {
        let (factor, offset) = folded
            .as_ref()
            .and_then(|f| f.first())
            .ok_or("its statistics are not constants, one per channel")?;
        let s = x.sample(0)?;
        let channels = s.shape().get(1).copied().unwrap_or(0);
        let each: usize = s.shape().iter().skip(2).product();
        if factor.len() != channels {
            return Err(format!(
                "statistics of {} channels for {channels}",
                factor.len()
            ));
        }
        let wide = |a: &Array| -> OpResult<Vec<f32>> {
            Ok(floats(a)?
                .into_iter()
                .flat_map(|v| std::iter::repeat_n(v, each))
                .collect())
        };
        x.scaled(&s, &wide(factor)?, &wide(offset)?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] =
    &[OperatorEntry::new("BatchNormalization", batch_norm).lowered(lowered)];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::Case;

    fn list(v: &[f32]) -> Array {
        Array::new([v.len()], v.to_vec())
    }

    #[test]
    fn known_statistics_are_folded() {
        let case = |shape: &[usize], n: usize| {
            Case::new("BatchNormalization")
                .tracked(shape, (0..n).map(|i| i as f64).collect())
                .float("epsilon", 0.0)
                .host(list(&[2.0, 1.0]))
                .host(list(&[0.5, -1.0]))
                .host(list(&[1.0, 0.0]))
                .host(list(&[4.0, 0.25]))
        };
        for opset in [7, 9, 14, 22] {
            let y = case(&[1, 2, 2], 4).opset(opset).run().unwrap();
            assert_eq!(y[0].to_f64().unwrap(), [-0.5, 0.5, 3.0, 5.0]);
        }
        // A rank without precomputed factor and offset.
        let y = case(&[1, 2, 1, 1, 1, 2], 4).run().unwrap();
        assert_eq!(y[0].to_f64().unwrap(), [-0.5, 0.5, 3.0, 5.0]);
        let e = case(&[1, 3, 1], 3).run().unwrap_err();
        assert!(e.contains("2 channels"), "{e}");
        let e = case(&[3], 3).run().unwrap_err();
        assert!(e.contains("expected [1]"), "{e}");
    }

    #[test]
    fn every_element_may_have_statistics_of_its_own() {
        let y = Case::new("BatchNormalization")
            .opset(7)
            .int("spatial", 0)
            .float("epsilon", 0.0)
            .tracked(&[2, 1, 2], vec![1.0, 2.0, 3.0, 4.0])
            .host(Array::new([1, 2], vec![1.0f32, 2.0]))
            .host(Array::new([1, 2], vec![0.0f32, 0.0]))
            .host(Array::new([1, 2], vec![1.0f32, 0.0]))
            .host(Array::new([1, 2], vec![1.0f32, 4.0]))
            .run()
            .unwrap();
        assert_eq!(y[0].to_f64().unwrap(), [0.0, 2.0, 2.0, 4.0]);
    }

    #[test]
    fn gradients() {
        Case::new("BatchNormalization")
            .scattered(&[2, 2, 3], -1.0, 1.0)
            .host(list(&[2.0, 1.0]))
            .host(list(&[0.5, -1.0]))
            .host(list(&[1.0, 0.0]))
            .host(list(&[4.0, 0.25]))
            .assert_gradient();
        let all = Case::new("BatchNormalization")
            .scattered(&[2, 2, 3], -1.0, 1.0)
            .scattered(&[2], -1.0, 1.0)
            .scattered(&[2], -1.0, 1.0)
            .scattered(&[2], -1.0, 1.0)
            .scattered(&[2], 0.5, 1.0);
        all.assert_gradient();
        Case::new("BatchNormalization")
            .int("training_mode", 1)
            .scattered(&[2, 2, 3], -1.0, 1.0)
            .scattered(&[2], -1.0, 1.0)
            .scattered(&[2], -1.0, 1.0)
            .scattered(&[2], -1.0, 1.0)
            .scattered(&[2], 0.5, 1.0)
            .outputs(3)
            .assert_gradient();
    }

    #[test]
    fn training_outputs_are_an_error() {
        let e = Case::new("BatchNormalization")
            .outputs(3)
            .run()
            .unwrap_err();
        assert!(e.contains("training"), "{e}");
    }
}
