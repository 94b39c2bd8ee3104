//! Convolution of quantised values: integers, computed as floating point on the device.

use super::conv::Convolution;
use super::quantise::quantised;
use super::requantise::{factor, parameter};
use super::{Gradient, OperatorEntry};
use crate::dtype::DType;
use crate::node::{Args, NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;

/// Reshapes a scale or zero point to broadcast along `axis` of a value with `rank` dimensions.
fn along(t: Tensor, axis: usize, rank: usize) -> OpResult<Tensor> {
    let n: usize = t.shape().iter().product();
    let mut shape = vec![1; rank];
    if n != 1 {
        shape[axis] = n;
    }
    t.reshape(&shape)
}

/// Returns input `i` minus its zero point, input `zero`.
fn centred(x: &mut Args<'_>, i: usize, zero: usize, axis: usize) -> OpResult<Tensor> {
    let value = x.tensor(i)?;
    match x.tensor_opt(zero)? {
        Some(z) => {
            let rank = value.rank();
            if rank <= axis {
                return Err(format!("input {i} has {rank} dimensions"));
            }
            value.sub(along(z, axis, rank)?)
        }
        None => Ok(value),
    }
}

fn conv_integer(node: &NodeSpec<'_>) -> OpResult<Run> {
    let convolution = Convolution::read(node)?;
    run(move |x| {
        let input = centred(x, 0, 2, 1)?;
        let w = centred(x, 1, 3, 0)?;
        one(convolution.apply(input, w, None)?.typed(DType::I32))
    })
}

fn qlinear_conv(node: &NodeSpec<'_>) -> OpResult<Run> {
    let convolution = Convolution::read(node)?;
    run(move |x| {
        let input = centred(x, 0, 2, 1)?;
        let w = centred(x, 3, 5, 0)?;
        let factor = factor(x.take(1)?, x.take(4)?, Some(x.take(6)?), x.device)?;
        let dtype = x.peek(7)?.dtype();
        let zero = x.take(7)?;
        let y = convolution.apply(input, w, x.tensor_opt(8)?)?;
        let rank = y.rank();
        let scaled = parameter(factor, 1, rank, x.device)?.multiply(y)?;
        one(quantised(
            scaled,
            parameter(zero, 1, rank, x.device)?,
            dtype,
        )?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("ConvInteger", conv_integer),
    OperatorEntry::new("QLinearConv", qlinear_conv).gradient(Gradient::StraightThrough),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::Case;
    use crate::dtype::DType;

    #[test]
    fn zero_points_are_subtracted_first() {
        let y = Case::new("ConvInteger")
            .host(Array::new([1, 1, 3], vec![3u8, 4, 5]))
            .host(Array::new([1, 1, 2], vec![2u8, 3]))
            .host(Array::new([], vec![3u8]))
            .host(Array::new([1], vec![1u8]))
            .ints("pads", &[1, 0])
            .run()
            .unwrap();
        // Padding equals the zero point, so it adds nothing.
        assert_eq!(y[0], Array::new([1, 1, 3], vec![0i32, 2, 5]));
    }

    fn quantised(x: Case) -> Case {
        let scale = |s: f32| Array::new([], vec![s]);
        x.host(scale(0.5))
            .host(Array::new([], vec![0u8]))
            .host(Array::new([2, 1, 1], vec![1i8, -3]))
            .host(Array::new([2], vec![1.0f32, 2.0]))
            .host(Array::new([2], vec![0i8, 0]))
            .host(scale(2.0))
            .host(Array::new([], vec![10u8]))
    }

    #[test]
    fn results_are_rounded_and_stay_in_range() {
        let x = Case::new("QLinearConv").host(Array::new([1, 1, 3], vec![2u8, 6, 200]));
        let y = quantised(x).run().unwrap();
        assert_eq!(y[0].dtype(), DType::U8);
        // 0.25 x: 0.5 and 1.5 round to even.
        assert_eq!(y[0].to_f64().unwrap(), [10.0, 12.0, 60.0, 7.0, 1.0, 0.0]);
    }

    /// Halves round to even before the zero point is added, as in onnxruntime.
    #[test]
    fn halves_are_rounded_before_an_odd_zero_point() {
        let scale = |s: f32| Array::new([], vec![s]);
        let y = Case::new("QLinearConv")
            .host(Array::new([1, 1, 4], vec![1u8, 3, 5, 7]))
            .host(scale(0.5))
            .host(Array::new([], vec![0u8]))
            .host(Array::new([1, 1, 1], vec![1i8]))
            .host(scale(1.0))
            .host(Array::new([], vec![0i8]))
            .host(scale(1.0))
            .host(Array::new([], vec![7u8]))
            .run()
            .unwrap();
        // 0.5, 1.5, 2.5 and 3.5 round to 0, 2, 2 and 4.
        assert_eq!(y[0].to_f64().unwrap(), [7.0, 9.0, 9.0, 11.0]);
    }

    /// Compares with exact gradients: rounded values have no useful finite differences.
    #[test]
    fn gradients_pass_through_the_rounding_and_stop_at_the_ends() {
        let x = Case::new("QLinearConv").tracked(&[1, 1, 3], vec![2.0, 6.0, 2000.0]);
        let weight = |i: f64| 0.5 + ((i + 1.0) * 0.754_877_666_246_693).fract();
        let expected: Vec<f64> = (0..2)
            .map(f64::from)
            .map(|i| 0.25 * weight(i) - 1.5 * weight(i + 3.0))
            .chain([0.0])
            .collect();
        for (a, b) in quantised(x).gradient()[0].iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{a} and {b}");
        }
        let g = Case::new("ConvInteger")
            .tracked(&[1, 1, 2], vec![2.0, 6.0])
            .host(Array::new([1, 1, 2], vec![2u8, 3]))
            .gradient();
        assert!((g[0][1] / g[0][0] - 1.5).abs() < 1e-6);
    }

    #[test]
    fn invalid_shapes_and_attributes_are_errors() {
        let x = Case::new("QLinearConv").host(Array::new([1, 2, 3], vec![2u8; 6]));
        assert!(quantised(x).run().unwrap_err().contains("groups"));
        let x = Case::new("QLinearConv").host(Array::new([1], vec![2u8]));
        assert!(!quantised(x).run().unwrap_err().contains("panicked"));
    }
}
