//! The softmax family, along one axis.

use burn::backend::Dispatch;
use burn::backend::ops::ActivationOps;
use burn::tensor::Device;

use super::{Gradient, OperatorEntry};
use crate::dtype::DType;
use crate::lower::{Lowering, lowering};
use crate::node::{NodeSpec, OpResult, Run, axis, one, run};
use crate::room;
use crate::tensor::Tensor;

/// Builds an operator along one axis. Before version 13 it works on the value as a matrix whose columns are all the
/// dimensions from the axis on.
fn along(node: &NodeSpec<'_>, f: fn(Tensor, usize, &Device) -> OpResult<Tensor>) -> OpResult<Run> {
    let flat = node.opset < 13;
    let named = node.int("axis", if flat { 1 } else { -1 })?;
    run(move |x| one(applied(x.tensor(0)?, named, flat, f, x.device)?))
}

/// Applies a function along the axis `named`, or over all dimensions from it on if `flat`.
fn applied(
    t: Tensor,
    named: i64,
    flat: bool,
    f: fn(Tensor, usize, &Device) -> OpResult<Tensor>,
    device: &Device,
) -> OpResult<Tensor> {
    let shape = t.shape();
    let rank = shape.len();
    // An axis equal to the rank means a matrix of one column.
    if flat && usize::try_from(named) == Ok(rank) {
        let n = room::elements(&shape)?;
        return f(t.reshape(&[n, 1])?, 1, device)?.reshape(&shape);
    }
    if rank == 0 {
        axis(named, 1)?;
        return f(t.reshape(&[1])?, 0, device)?.reshape(&[]);
    }
    let at = axis(named, rank)?;
    if shape.contains(&0) {
        return Ok(t);
    }
    if !flat || at == rank - 1 {
        return f(t, at, device);
    }
    let rows = shape[..at].iter().product();
    let columns = shape[at..].iter().product();
    f(t.reshape(&[rows, columns])?, 1, device)?.reshape(&shape)
}

/// Computes the softmax of version 13 and later, or of earlier versions if `flat`.
pub(super) fn softmax_along(t: Tensor, axis: i64, flat: bool, device: &Device) -> OpResult<Tensor> {
    applied(t, axis, flat, native, device)
}

#[allow(clippy::unnecessary_wraps)] // has the signature that `applied` takes
fn native(t: Tensor, at: usize, _: &Device) -> OpResult<Tensor> {
    Ok(t.with(|t| <Dispatch as ActivationOps<Dispatch>>::softmax(t, at)))
}

fn softmax(node: &NodeSpec<'_>) -> OpResult<Run> {
    along(node, native)
}

fn log_softmax(node: &NodeSpec<'_>) -> OpResult<Run> {
    along(node, |t, at, _| {
        Ok(t.with(|t| <Dispatch as ActivationOps<Dispatch>>::log_softmax(t, at)))
    })
}

fn lowered(node: &NodeSpec<'_>, is_log: bool) -> OpResult<Lowering> {
    let flat = node.opset < 13;
    let named = node.int("axis", if flat { 1 } else { -1 })?;
    lowering(move |x| {
        let rank = x.output().len();
        let at = axis(named, rank)?;
        let over: Vec<usize> = if flat { (at..rank).collect() } else { vec![at] };
        x.mixed(&over, |net, x| Ok(net.softmax(x, is_log)))
    })
}

/// Builds `Hardmax`: 1 at the first maximum, 0 elsewhere.
fn hardmax(node: &NodeSpec<'_>) -> OpResult<Run> {
    along(node, |t, at, device| {
        let (dtype, rank) = (t.dtype(), t.rank());
        let mut shape = vec![1; rank];
        shape[at] = t.shape()[at];
        let places = (0..shape[at]).map(|i| i as f32).collect();
        let places = Tensor::upload(places, &shape, DType::F32, device)?;
        let first = t.detach().argmax(at);
        Ok(places.equal(first)?.numbers().typed(dtype))
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Softmax", softmax).lowered(|node| lowered(node, false)),
    OperatorEntry::new("LogSoftmax", log_softmax).lowered(|node| lowered(node, true)),
    OperatorEntry::new("Hardmax", hardmax).gradient(Gradient::Zero),
];

#[cfg(test)]
mod tests {
    use crate::check::{Case, computed};

    fn close(case: &Case, expected: &[f64]) {
        let v = computed(case).to_f64().unwrap();
        assert_eq!(v.len(), expected.len());
        for (a, b) in v.iter().zip(expected) {
            assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{v:?}");
        }
    }

    #[test]
    fn gradients_along_an_axis() {
        for op in ["Softmax", "LogSoftmax", "Hardmax"] {
            for axis in [-1, 0, 1] {
                for opset in [11, 13] {
                    Case::new(op)
                        .opset(opset)
                        .int("axis", axis)
                        .scattered(&[2, 3, 2], -3.0, 3.0)
                        .assert_gradient();
                }
            }
        }
    }

    #[test]
    fn gradients_are_finite_far_out() {
        for op in ["Softmax", "LogSoftmax"] {
            Case::new(op)
                .tracked(&[3], vec![-2000.0, 1999.5, 2000.0])
                .assert_gradient();
        }
    }

    #[test]
    fn axes_before_and_since_version_13() {
        let values = vec![1.0, 2.0, 3.0, 4.0];
        let of = |opset: i64| {
            Case::new("Softmax")
                .opset(opset)
                .tracked(&[1, 2, 2], values.clone())
        };
        let e: Vec<f64> = values.iter().map(|v| v.exp()).collect();
        let all: f64 = e.iter().sum();
        close(&of(11), &e.iter().map(|v| v / all).collect::<Vec<_>>());
        let (p, q) = (1.0 / (1.0 + 1f64.exp()), 1.0 / (1.0 + (-1f64).exp()));
        close(&of(13), &[p, q, p, q]);
        let c = Case::new("Hardmax").tracked(&[2, 3], vec![1.0, 3.0, 3.0, 5.0, 0.0, 5.0]);
        close(&c, &[0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        let c = c.int("axis", 0);
        close(&c, &[0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
        for op in ["Softmax", "LogSoftmax", "Hardmax"] {
            let c = Case::new(op).tracked(&[2, 0], vec![]);
            assert_eq!(computed(&c).shape(), [2, 0]);
        }
    }

    #[test]
    fn invalid_nodes_are_errors() {
        let c = Case::new("Softmax")
            .int("axis", 2)
            .scattered(&[2, 3], 0.0, 1.0);
        assert_eq!(c.run().unwrap_err(), "axis 2 of a value with 2 dimensions");
    }
}
