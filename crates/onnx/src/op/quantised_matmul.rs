//! Products of quantised matrices.

use super::quantise::{Parameter, quantised};
use super::requantise::factor;
use super::{Gradient, OperatorEntry};
use crate::dtype::DType;
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;
use crate::value::Value;

/// Reads a parameter of a matrix: one number, or one for each row (or column).
pub(super) fn of_matrix(
    value: Value,
    rows: bool,
    device: &burn::tensor::Device,
) -> OpResult<Parameter> {
    let own = value.shape();
    if own.iter().all(|d| *d == 1) {
        if let Value::Host(a) = &value {
            return Ok(Parameter::Number(a.to_f64()?[0]));
        }
        return Ok(Parameter::Wide(value.device(device)?.reshape(&[])?));
    }
    let t = value.device(device)?;
    Ok(Parameter::Wide(match own[..] {
        [n] if rows => t.reshape(&[n, 1])?,
        _ => t,
    }))
}

/// Multiplies matrices; a vector is a matrix of one row on the left or one column on the right.
pub(super) fn product(a: Tensor, b: Tensor) -> OpResult<Tensor> {
    let (sa, sb) = (a.shape(), b.shape());
    let a = match sa[..] {
        [k] => a.reshape(&[1, k])?,
        _ => a,
    };
    let b = match sb[..] {
        [k] => b.reshape(&[k, 1])?,
        _ => b,
    };
    let c = a.matmul(b)?;
    let mut shape = c.shape();
    if sb.len() == 1 {
        shape.pop();
    }
    if sa.len() == 1 {
        let row = shape.len() - usize::from(sb.len() > 1) - 1;
        shape.remove(row);
    }
    c.reshape(&shape)
}

/// Subtracts the zero point. An error if that changes the shape of the matrix.
pub(super) fn shifted(t: Tensor, zero: Parameter) -> OpResult<Tensor> {
    let shape = t.shape();
    let t = zero.subtract_from(t)?;
    if t.shape() == shape {
        Ok(t)
    } else {
        Err(format!("zero points that do not fit a matrix of {shape:?}"))
    }
}

/// Builds `MatMulInteger`. Sums of products are exact on the device up to 2^24, which is 258 products of the largest
/// bytes; beyond that they have floating-point precision.
fn matmul_integer(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let (mut a, mut b) = (x.tensor(0)?, x.tensor(1)?);
        if x.has(2) {
            a = shifted(a, of_matrix(x.take(2)?, true, x.device)?)?;
        }
        if x.has(3) {
            b = shifted(b, of_matrix(x.take(3)?, false, x.device)?)?;
        }
        one(product(a, b)?.typed(DType::I32))
    })
}

fn qlinear_matmul(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let dtype = x.peek(7)?.dtype();
        let (a, b) = (x.tensor(0)?, x.tensor(3)?);
        let a = shifted(a, of_matrix(x.take(2)?, true, x.device)?)?;
        let b = shifted(b, of_matrix(x.take(5)?, false, x.device)?)?;
        let (a_scale, b_scale, y_scale) = (x.take(1)?, x.take(4)?, x.take(6)?);
        let y_zero = of_matrix(x.take(7)?, true, x.device)?;
        let sums = product(a, b)?;
        let shape = sums.shape();
        let scaled = if a_scale.elements() == 1 && y_scale.elements() == 1 {
            let factor = factor(a_scale, b_scale, Some(y_scale), x.device)?;
            of_matrix(factor, false, x.device)?.multiply(sums)?
        } else {
            let a_scale = of_matrix(a_scale, true, x.device)?;
            let b_scale = of_matrix(b_scale, false, x.device)?;
            let product = b_scale.multiply(a_scale.multiply(sums)?)?;
            of_matrix(y_scale, true, x.device)?.divide(product)?
        };
        let t = quantised(scaled, y_zero, dtype)?;
        if t.shape() != shape {
            return Err(format!("scales that do not fit a product of {shape:?}"));
        }
        one(t)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("MatMulInteger", matmul_integer),
    OperatorEntry::new("QLinearMatMul", qlinear_matmul).gradient(Gradient::StraightThrough),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, byte, computed, number, weight};

    #[test]
    fn gradients() {
        // The sums are integers, so finite differences are useless: the derivative is the other matrix less its zero
        // points.
        let gradient = Case::new("MatMulInteger")
            .tracked(&[1, 2], vec![5.0, 7.0])
            .tracked(&[2, 2], vec![4.0, -2.0, 9.0, 6.0])
            .host(byte(2))
            .host(Array::new([2], vec![1u8, 3]))
            .gradient();
        let (p, q) = (weight(0, 0), weight(0, 1));
        let expected = [
            vec![p * 3.0 + q * -5.0, p * 8.0 + q * 3.0],
            vec![p * 3.0, q * 3.0, p * 5.0, q * 5.0],
        ];
        for (g, e) in gradient.iter().flatten().zip(expected.iter().flatten()) {
            assert!((g - e).abs() < 1e-5, "{gradient:?}");
        }
    }

    #[test]
    fn gradients_of_products() {
        // All values are inside the range: the derivative is that of the product, scaled.
        let case = Case::new("QLinearMatMul")
            .tracked(&[1, 2], vec![130.0, 120.0])
            .host(number(0.5))
            .host(byte(128))
            .host(Array::new([2, 1], vec![3u8, 9]))
            .host(number(0.25))
            .host(byte(5))
            .host(number(0.5))
            .host(byte(128));
        // (2, -8) times (-2, 4) is -36; times 0.5 * 0.25 / 0.5 is -9.
        assert_eq!(computed(&case), Array::new([1, 1], vec![119u8]));
        let gradient = case.gradient().remove(0);
        for (g, b) in gradient.iter().zip([-2.0, 4.0]) {
            assert!((g - weight(0, 0) * b * 0.25).abs() < 1e-6, "{gradient:?}");
        }
    }

    #[test]
    fn vectors() {
        let case = Case::new("MatMulInteger")
            .host(Array::new([2], vec![255u8, 3]))
            .host(Array::new([2, 2], vec![1i8, -2, 3, 4]));
        assert_eq!(computed(&case), Array::new([2], vec![264i32, -498]));
    }

    #[test]
    fn invalid_nodes_are_errors() {
        let value = |op: &str| Case::new(op).scattered(&[2, 3], 0.0, 1.0);
        for (c, part) in [
            (
                value("MatMulInteger").scattered(&[2, 2], 0.0, 1.0),
                "cannot be multiplied",
            ),
            (
                value("MatMulInteger")
                    .scattered(&[3, 2], 0.0, 1.0)
                    .host(Array::new([3], vec![1u8; 3])),
                "do not broadcast",
            ),
            (
                Case::new("MatMulInteger").host(byte(1)).host(byte(1)),
                "cannot be multiplied",
            ),
            (value("QLinearMatMul"), "input 7 is missing"),
        ] {
            let problem = c.run().unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
