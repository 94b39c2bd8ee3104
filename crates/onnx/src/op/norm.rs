//! Normalisation by statistics of the input itself.

use burn::backend::Dispatch;
use burn::backend::ops::ModuleOps;

use super::OperatorEntry;
use super::window::spatial;
use crate::dtype::DType;
use crate::lower::{Lowering, lowering};
use crate::node::{NodeSpec, OpResult, Run, axis, one, run};
use crate::tensor::Tensor;
use crate::value::Value;

/// Subtracts the mean along the last dimension and divides by the standard deviation (the root of variance plus
/// epsilon). Returns the result, the mean and the inverse of the standard deviation.
pub(super) fn standardised(x: Tensor, epsilon: f64) -> OpResult<(Tensor, Tensor, Tensor)> {
    let last = [x.rank() - 1];
    let mean = x.clone().mean(&last);
    let centred = x.sub(mean.clone())?;
    let variance = centred.clone().mul(centred.clone())?.mean(&last);
    let inverse = variance.add_scalar(epsilon).sqrt().recip();
    Ok((centred.mul(inverse.clone())?, mean, inverse))
}

/// Reshapes one value per channel to broadcast to `[batch, channels, ..]`. An error if their number is wrong.
fn per_channel(t: Tensor, channels: usize, rank: usize, what: &str) -> OpResult<Tensor> {
    if t.shape() != [channels] {
        return Err(format!(
            "{what} has shape {:?}; expected {channels} values",
            t.shape()
        ));
    }
    let mut shape = vec![1; rank];
    shape[1] = channels;
    t.reshape(&shape)
}

fn instance_norm(node: &NodeSpec<'_>) -> OpResult<Run> {
    let epsilon = node.float("epsilon", 1e-5)?;
    run(move |x| {
        let input = x.tensor(0)?;
        let shape = input.shape();
        let (batch, channels, lengths) = spatial(&shape)?;
        let rows = input.reshape(&[batch, channels, lengths.iter().product()])?;
        let scale = per_channel(x.tensor(1)?, channels, 3, "the scale")?;
        let bias = per_channel(x.tensor(2)?, channels, 3, "the bias")?;
        let y = standardised(rows, epsilon)?.0.mul(scale)?.add(bias)?;
        one(y.reshape(&shape)?)
    })
}

fn group_norm(node: &NodeSpec<'_>) -> OpResult<Run> {
    let epsilon = node.float("epsilon", 1e-5)?;
    let groups = node
        .int_opt("num_groups")?
        .ok_or("attribute `num_groups` is missing")?;
    let groups = usize::try_from(groups)
        .ok()
        .filter(|g| *g > 0)
        .ok_or_else(|| format!("attribute `num_groups` is {groups}; expected at least 1"))?;
    // Before version 21 there was one scale and bias per group, since then per channel.
    let by_group = node.opset < 21;
    run(move |x| {
        let input = x.tensor(0)?;
        let shape = input.shape();
        let (batch, channels, lengths) = spatial(&shape)?;
        if channels % groups != 0 {
            return Err(format!("{channels} channels in {groups} groups"));
        }
        let cells: usize = lengths.iter().product();
        let rows = input.reshape(&[batch, groups, channels / groups * cells])?;
        let rows = standardised(rows, epsilon)?.0;
        let (rows, n) = if by_group {
            (rows, groups)
        } else {
            (rows.reshape(&[batch, channels, cells])?, channels)
        };
        let scale = per_channel(x.tensor(1)?, n, 3, "the scale")?;
        let bias = per_channel(x.tensor(2)?, n, 3, "the bias")?;
        one(rows.mul(scale)?.add(bias)?.reshape(&shape)?)
    })
}

/// Returns the number of rows and the length of each, where a row holds everything from dimension `at` on.
fn rows(shape: &[usize], at: usize) -> (usize, usize) {
    (shape[..at].iter().product(), shape[at..].iter().product())
}

/// Returns the shape of one value per row.
fn row_shape(shape: &[usize], at: usize) -> Vec<usize> {
    let mut row = shape.to_vec();
    row[at..].fill(1);
    row
}

fn layer_norm(node: &NodeSpec<'_>) -> OpResult<Run> {
    let epsilon = node.float("epsilon", 1e-5)?;
    let first = node.int("axis", -1)?;
    let statistics = node.wants(1) || node.wants(2);
    run(move |x| {
        let input = x.tensor(0)?;
        let shape = input.shape();
        let at = axis(first, shape.len())?;
        let (scale, bias) = (x.tensor(1)?, x.tensor_opt(2)?);
        let last = [*shape.last().unwrap_or(&1)];
        let simple = at + 1 == shape.len()
            && scale.shape() == last
            && bias.as_ref().is_none_or(|b| b.shape() == last);
        if simple && !statistics && !shape.contains(&0) {
            let (scale, bias) = (scale.into_dispatch(), bias.map(Tensor::into_dispatch));
            return one(input
                .with(|t| <Dispatch as ModuleOps<Dispatch>>::layer_norm(t, scale, bias, epsilon)));
        }
        let (outer, inner) = rows(&shape, at);
        let (y, mean, inverse) = standardised(input.reshape(&[outer, inner])?, epsilon)?;
        let mut y = y.reshape(&shape)?.mul(scale)?;
        if let Some(bias) = bias {
            y = y.add(bias)?;
        }
        fits(&y, &shape)?;
        let row = row_shape(&shape, at);
        let stash =
            |t: Tensor| -> OpResult<Value> { Ok(t.reshape(&row)?.typed(DType::F32).into()) };
        Ok(vec![y.into(), stash(mean)?, stash(inverse)?])
    })
}

fn lowered_layer_norm(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let epsilon = node.float("epsilon", 1e-5)? as f32;
    let first = node.int("axis", -1)?;
    lowering(move |x| {
        let rank = x.output().len();
        let over: Vec<usize> = (axis(first, rank)?..rank).collect();
        let y = x.mixed(&over, |net, x| Ok(net.normalise(x, epsilon)))?;
        let scale = y.broadcast(x.constant(1)?)?;
        let shift = match x.len() {
            0..=2 => vec![0.0; scale.len()],
            _ => y.broadcast(x.constant(2)?)?,
        };
        x.scaled(&y, &scale, &shift)
    })
}

/// Checks that scale and bias do not make the output larger than the input.
fn fits(y: &Tensor, shape: &[usize]) -> OpResult<()> {
    if y.shape() == shape {
        Ok(())
    } else {
        Err(format!(
            "scale or bias make an output of shape {:?} of an input of shape {shape:?}",
            y.shape()
        ))
    }
}

/// Divides by the root of the mean square from dimension `at` on, and multiplies by the scale. Returns the result and
/// the inverse of the root.
pub(super) fn root_mean_square(
    x: Tensor,
    at: usize,
    epsilon: f64,
    scale: Tensor,
) -> OpResult<(Tensor, Tensor)> {
    let shape = x.shape();
    let (outer, inner) = rows(&shape, at);
    let flat = x.reshape(&[outer, inner])?;
    let squares = flat.clone().mul(flat.clone())?.mean(&[1]);
    let inverse = squares.add_scalar(epsilon).sqrt().recip();
    let y = flat.mul(inverse.clone())?.reshape(&shape)?.mul(scale)?;
    fits(&y, &shape)?;
    Ok((y, inverse.reshape(&row_shape(&shape, at))?))
}

/// Builds `RMSNormalization`, which onnxruntime called `SimplifiedLayerNormalization` before ONNX had it. Outputs the
/// result and the inverse of the root.
fn rms_norm(node: &NodeSpec<'_>) -> OpResult<Run> {
    let epsilon = node.float("epsilon", 1e-5)?;
    let first = node.int("axis", -1)?;
    run(move |x| {
        let input = x.tensor(0)?;
        let at = axis(first, input.rank())?;
        let (y, inverse) = root_mean_square(input, at, epsilon, x.tensor(1)?)?;
        Ok(vec![y.into(), inverse.typed(DType::F32).into()])
    })
}

fn lrn(node: &NodeSpec<'_>) -> OpResult<Run> {
    let (alpha, beta) = (node.float("alpha", 1e-4)?, node.float("beta", 0.75)?);
    let bias = node.float("bias", 1.0)?;
    let size = node.int_opt("size")?.ok_or("attribute `size` is missing")?;
    let size = usize::try_from(size)
        .ok()
        .filter(|s| *s > 0 && i32::try_from(*s).is_ok())
        .ok_or_else(|| format!("attribute `size` is {size}; expected at least 1"))?;
    run(move |x| {
        let input = x.tensor(0)?;
        let shape = input.shape();
        let (batch, channels, lengths) = spatial(&shape)?;
        if shape.contains(&0) {
            return one(input);
        }
        let cells = lengths.iter().product();
        // Channels beyond the existing ones would add nothing.
        let before = ((size - 1) / 2).min(channels);
        let after = (size / 2).min(channels);
        let window = before + after + 1;
        let squares = input
            .clone()
            .mul(input.clone())?
            .reshape(&[batch, 1, channels, cells])?
            .padded(&[(0, 0), (0, 0), (before, after), (0, 0)], 0.0)?
            .with(|t| {
                <Dispatch as ModuleOps<Dispatch>>::avg_pool2d(
                    t,
                    [window, 1],
                    [1, 1],
                    [0, 0],
                    true,
                    false,
                )
            })
            .mul_scalar(alpha * window as f64 / size as f64)
            .add_scalar(bias)
            .powf_scalar(-beta)
            .reshape(&shape)?;
        one(input.mul(squares)?)
    })
}

fn lp_norm(node: &NodeSpec<'_>) -> OpResult<Run> {
    let along = node.int("axis", -1)?;
    let p = node.int("p", 2)?;
    if p != 1 && p != 2 {
        return Err(format!("attribute `p` is {p}; expected 1 or 2"));
    }
    run(move |x| {
        let input = x.tensor(0)?;
        let at = [axis(along, input.rank())?];
        let sums = if p == 1 {
            input.clone().abs().sum(&at)
        } else {
            input.clone().mul(input.clone())?.sum(&at)
        };
        // A row of zeros stays zero.
        let lifted = sums.clone().add(sums.equal_scalar(0.0).numbers())?;
        let norms = if p == 1 { lifted } else { lifted.sqrt() };
        one(input.div(norms)?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("InstanceNormalization", instance_norm),
    OperatorEntry::new("GroupNormalization", group_norm),
    OperatorEntry::new("LayerNormalization", layer_norm).lowered(lowered_layer_norm),
    OperatorEntry::new("RMSNormalization", rms_norm),
    OperatorEntry::new("SimplifiedLayerNormalization", rms_norm),
    OperatorEntry::new("LRN", lrn),
    OperatorEntry::new("LpNormalization", lp_norm),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::Case;

    fn case(op: &str, shapes: &[&[usize]]) -> Case {
        shapes
            .iter()
            .fold(Case::new(op), |c, s| c.scattered(s, -1.0, 1.0))
    }

    #[test]
    fn gradients() {
        case("InstanceNormalization", &[&[2, 2, 3, 2], &[2], &[2]]).assert_gradient();
        case("GroupNormalization", &[&[2, 4, 3], &[4], &[4]])
            .int("num_groups", 2)
            .assert_gradient();
        case("GroupNormalization", &[&[2, 4, 3], &[2], &[2]])
            .int("num_groups", 2)
            .opset(18)
            .assert_gradient();
        case("LayerNormalization", &[&[2, 3, 4], &[4], &[4]]).assert_gradient();
        case("LayerNormalization", &[&[2, 3, 4], &[4]]).assert_gradient();
        case("LayerNormalization", &[&[2, 3, 4], &[3, 4], &[4]])
            .int("axis", 1)
            .outputs(3)
            .assert_gradient();
        case("RMSNormalization", &[&[2, 3, 4], &[3, 4]])
            .int("axis", -2)
            .assert_gradient();
        case("LRN", &[&[2, 5, 2]])
            .int("size", 4)
            .float("alpha", 0.5)
            .assert_gradient();
        for p in [1, 2] {
            case("LpNormalization", &[&[2, 3]])
                .int("p", p)
                .int("axis", 0)
                .assert_gradient();
        }
    }

    #[test]
    fn neighbouring_channels_are_counted() {
        let y = Case::new("LRN")
            .tracked(&[1, 4, 1], vec![1.0, 2.0, 3.0, 4.0])
            .int("size", 2)
            .float("alpha", 2.0)
            .float("beta", 1.0)
            .float("bias", 0.0)
            .run()
            .unwrap();
        let expected = [1.0 / 5.0, 2.0 / 13.0, 3.0 / 25.0, 4.0 / 16.0];
        for (a, b) in y[0].to_f64().unwrap().into_iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{a} and {b}");
        }
        // A window far larger than the input.
        case("LRN", &[&[1, 3, 1]])
            .int("size", i64::from(i32::MAX))
            .run()
            .unwrap();
    }

    #[test]
    fn hand_computed() {
        let one = || Array::new([2], vec![1.0f32, 2.0]);
        let y = Case::new("RMSNormalization")
            .tracked(&[1, 2], vec![3.0, -4.0])
            .host(one())
            .float("epsilon", 0.0)
            .run()
            .unwrap();
        let y = y[0].to_f64().unwrap();
        assert!((y[0] - 3.0 / 12.5f64.sqrt()).abs() < 1e-6);
        assert!((y[1] + 8.0 / 12.5f64.sqrt()).abs() < 1e-6);
        let y = Case::new("LpNormalization")
            .tracked(&[2, 2], vec![3.0, -4.0, 0.0, 0.0])
            .run()
            .unwrap();
        let y = y[0].to_f64().unwrap();
        assert!((y[0] - 0.6).abs() < 1e-6 && (y[1] + 0.8).abs() < 1e-6);
        assert_eq!(y[2..], [0.0, 0.0]);
    }

    #[test]
    fn invalid_shapes_and_attributes_are_errors() {
        let e = |c: Case| c.run().unwrap_err();
        assert!(e(case("InstanceNormalization", &[&[2, 2, 3], &[3], &[2]])).contains("scale"));
        assert!(e(case("GroupNormalization", &[&[2, 4, 3], &[4], &[4]])).contains("num_groups"));
        let groups = case("GroupNormalization", &[&[2, 4, 3], &[4], &[4]]).int("num_groups", 3);
        assert!(e(groups).contains("3 groups"));
        assert!(e(case("LayerNormalization", &[&[2, 3], &[3]]).int("axis", 2)).contains("axis 2"));
        assert!(e(case("LayerNormalization", &[&[1, 3], &[2, 3]])).contains("output of shape"));
        assert!(e(case("LRN", &[&[2, 3, 1]])).contains("`size`"));
        assert!(e(case("LpNormalization", &[&[2, 3]]).int("p", 3)).contains("`p`"));
    }
}
