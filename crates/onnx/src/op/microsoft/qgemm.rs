//! Products of quantised matrices with a bias, and products whose left matrix is quantised at run time.

use super::super::quantise::{fitted, quantised};
use super::super::quantised_matmul::{of_matrix, product, shifted};
use super::super::requantise::factor;
use super::super::{Gradient, OperatorEntry};
use crate::array::Array;
use crate::dtype::DType;
use crate::node::{Args, NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;
use crate::value::Value;

/// Reads a matrix of integers and subtracts its zero point, if one is given.
fn centred(x: &mut Args<'_>, i: usize, zero: usize, rows: bool) -> OpResult<Tensor> {
    let t = x.tensor(i)?;
    if !x.has(zero) {
        return Ok(t.typed(DType::F32));
    }
    let zero = of_matrix(x.take(zero)?, rows, x.device)?;
    Ok(shifted(t, zero)?.typed(DType::F32))
}

fn turned(t: Tensor, turn: bool) -> OpResult<Tensor> {
    match t.rank() {
        2 if turn => Ok(t.transposed()),
        2 => Ok(t),
        _ => Err(format!("shape {:?}; expected a matrix", t.shape())),
    }
}

/// Builds `QGemm`. The result is quantised if its scale is given, and floating point otherwise. `B` may have a scale
/// per column of the product, which is a row of `B` if `B` is transposed.
fn qgemm(node: &NodeSpec<'_>) -> OpResult<Run> {
    let alpha = node.float("alpha", 1.0)? as f32;
    let (turn_a, turn_b) = (node.flag("transA", false)?, node.flag("transB", false)?);
    run(move |x| {
        let dtype = x.peek(0)?.dtype();
        let a = turned(centred(x, 0, 2, false)?, turn_a)?;
        let b = turned(centred(x, 3, 5, turn_b)?, turn_b)?;
        let mut sums = a.matmul(b)?;
        if let Some(bias) = x.tensor_opt(6)? {
            sums = sums.add(bias)?;
        }
        let shape = sums.shape();
        let a_scale = x.take(1)?;
        let a_scale = match &a_scale {
            Value::Host(a) if alpha != 1.0 => {
                let scales = a
                    .to_f32()?
                    .into_iter()
                    .map(|s| alpha * s)
                    .collect::<Vec<_>>();
                Array::try_new(a.shape(), scales)?.into()
            }
            _ if alpha != 1.0 => a_scale.device(x.device)?.mul_scalar(alpha.into()).into(),
            _ => a_scale,
        };
        let y_scale = if x.has(7) { Some(x.take(7)?) } else { None };
        let quantises = y_scale.is_some();
        let factor = factor(a_scale, x.take(4)?, y_scale, x.device)?;
        let scaled = of_matrix(factor, false, x.device)?.multiply(sums)?;
        if scaled.shape() != shape {
            return Err(format!("scales that do not fit a product of {shape:?}"));
        }
        if !quantises {
            return one(scaled.typed(DType::F32));
        }
        let dtype = if x.has(8) { x.peek(8)?.dtype() } else { dtype };
        let zero = if x.has(8) {
            x.take(8)?
        } else {
            Array::new([], vec![0f32]).into()
        };
        one(quantised(scaled, of_matrix(zero, false, x.device)?, dtype)?)
    })
}

/// Multiplies `sums` by both scales and adds the bias.
fn scaled_up(
    sums: Tensor,
    a_scale: Value,
    b_scale: Value,
    bias: Option<Tensor>,
    device: &burn::tensor::Device,
) -> OpResult<Tensor> {
    let factor = factor(a_scale, b_scale, None, device)?;
    let y = of_matrix(factor, false, device)?
        .multiply(sums)?
        .typed(DType::F32);
    match bias {
        Some(bias) => y.add(bias),
        None => Ok(y),
    }
}

/// Builds `MatMulIntegerToFloat`: a floating-point product of quantised matrices.
fn matmul_integer_to_float(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let a = centred(x, 0, 4, true)?;
        let b = centred(x, 1, 5, false)?;
        let sums = product(a, b)?;
        let (a_scale, b_scale) = (x.take(2)?, x.take(3)?);
        let bias = x.tensor_opt(6)?;
        one(scaled_up(sums, a_scale, b_scale, bias, x.device)?)
    })
}

/// Multiplies by a matrix of integers, after quantising the left matrix by the range of its values.
pub(in super::super) fn dynamic_product(
    a: Tensor,
    b: Tensor,
    b_scale: Value,
    bias: Option<Tensor>,
    device: &burn::tensor::Device,
) -> OpResult<Tensor> {
    let [a, scale, zero] = fitted(a)?;
    let sums = product(a.sub(zero)?.typed(DType::F32), b)?;
    scaled_up(sums, scale.into(), b_scale, bias, device)
}

fn dynamic_quantize_matmul(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let b = centred(x, 1, 3, false)?;
        let (a, b_scale, bias) = (x.tensor(0)?, x.take(2)?, x.tensor_opt(4)?);
        one(dynamic_product(a, b, b_scale, bias, x.device)?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("QGemm", qgemm).gradient(Gradient::StraightThrough),
    OperatorEntry::new("MatMulIntegerToFloat", matmul_integer_to_float),
    OperatorEntry::new("DynamicQuantizeMatMul", dynamic_quantize_matmul)
        .gradient(Gradient::StraightThrough),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, byte, computed, number, weight};

    /// Returns (2, 4) times ((1, -2), (3, 1)), where the left matrix is stored with a zero point of 3.
    fn product() -> Case {
        Case::microsoft("QGemm")
            .tracked(&[1, 2], vec![5.0, 7.0])
            .host(number(0.5))
            .host(byte(3))
            .host(Array::new([2, 2], vec![1i8, -2, 3, 1]))
            .host(Array::new([2], vec![0.5f32, 0.25]))
            .host(Array::new([2], vec![0i8, 0]))
            .host(Array::new([2], vec![2i32, 0]))
    }

    #[test]
    fn a_bias_is_added_before_scaling() {
        let case = product();
        // (14 + 2) 0.25, and 0 times 0.125.
        let y = computed(&case);
        assert_eq!(y, Array::new([1, 2], vec![4.0f32, 0.0]));
        let case = product().host(number(0.5)).host(byte(7));
        assert_eq!(computed(&case), Array::new([1, 2], vec![15u8, 7]));
        let gradient = case.gradient().remove(0);
        let (p, q) = (weight(0, 0) * 0.5, weight(0, 1) * 0.25);
        for (g, e) in gradient.iter().zip([p - 2.0 * q, 3.0 * p + q]) {
            assert!((g - e).abs() < 1e-6, "{gradient:?}");
        }
        let case = product().int("transB", 1).float("alpha", 2.0);
        // (2 - 8 + 2) 0.5, (6 + 4) 0.25.
        assert_eq!(computed(&case), Array::new([1, 2], vec![-2.0f32, 2.5]));
    }

    #[test]
    fn the_left_matrix_is_quantised_by_its_range() {
        // The range is -1 to 1.55: scale 0.01, zero point 100.
        let case = Case::microsoft("DynamicQuantizeMatMul")
            .tracked(&[1, 3], vec![-1.0, 0.3, 1.55])
            .host(Array::new([3, 1], vec![3i8, 6, 2]))
            .host(number(0.5))
            .host(Array::new([], vec![1i8]))
            .host(Array::new([1], vec![10.0f32]));
        let y = computed(&case).to_f64().unwrap();
        // (-100 * 2 + 30 * 5 + 155) 0.005 + 10.
        assert!((y[0] - 10.525).abs() < 1e-5, "{y:?}");
        let gradient = case.gradient().remove(0);
        assert!(
            (gradient[1] - weight(0, 0) * 2.5).abs() < 1e-4,
            "{gradient:?}"
        );
        let case = Case::microsoft("MatMulIntegerToFloat")
            .tracked(&[1, 2], vec![5.0, 7.0])
            .host(Array::new([2, 2], vec![1i8, -2, 3, 1]))
            .host(number(0.5))
            .host(Array::new([2], vec![0.5f32, 0.25]))
            .host(byte(3))
            .absent()
            .host(Array::new([2], vec![1.0f32, -1.0]));
        assert_eq!(computed(&case), Array::new([1, 2], vec![4.5f32, -1.0]));
        let gradient = case.gradient().remove(0);
        let (p, q) = (weight(0, 0) * 0.25, weight(0, 1) * 0.125);
        for (g, e) in gradient.iter().zip([p - 2.0 * q, 3.0 * p + q]) {
            assert!((g - e).abs() < 1e-6, "{gradient:?}");
        }
    }

    #[test]
    fn invalid_shapes_are_errors() {
        let scales = |n: usize| {
            Case::microsoft("QGemm")
                .scattered(&[1, 2], 0.0, 9.0)
                .host(number(1.0))
                .host(byte(0))
                .host(Array::new([2, 2], vec![1i8; 4]))
                .host(Array::new([n], vec![1.0f32; n]))
                .host(Array::new([], vec![0i8]))
        };
        let problem = scales(3).run().unwrap_err();
        assert!(problem.contains("broadcast"), "{problem}");
        let flat = Case::microsoft("QGemm").scattered(&[2], 0.0, 1.0);
        assert!(flat.run().unwrap_err().contains("expected a matrix"));
    }
}
