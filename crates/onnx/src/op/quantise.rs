//! Quantisation. Rounding passes the gradient straight through; clipped values have none. So do the operators of other
//! files that round.

use super::{Gradient, OperatorEntry};
use crate::dtype::DType;
use crate::node::{NodeSpec, OpResult, Run, axis, one, run};
use crate::room;
use crate::tensor::Tensor;
use crate::value::Value;

/// How scales and zero points map to a value.
#[derive(Clone, Copy)]
struct Layout {
    axis: i64,
    block: usize,
}

/// Scale or zero point: one number known on the host, or a tensor that broadcasts.
pub(super) enum Parameter {
    Number(f64),
    Wide(Tensor),
}

impl Layout {
    fn of(node: &NodeSpec<'_>) -> OpResult<Self> {
        let block = node.int("block_size", 0)?;
        Ok(Self {
            axis: node.int("axis", 1)?,
            block: usize::try_from(block).map_err(|_| format!("blocks of {block}"))?,
        })
    }

    /// Reshapes a scale or zero point to broadcast to `shape`.
    fn lay(
        &self,
        value: Value,
        shape: &[usize],
        device: &burn::tensor::Device,
    ) -> OpResult<Parameter> {
        let own = value.shape();
        if own.iter().all(|d| *d == 1) && (own.len() <= 1 || self.block == 0) {
            if let Value::Host(a) = &value {
                return Ok(Parameter::Number(a.to_f64()?[0]));
            }
            return Ok(Parameter::Wide(value.device(device)?.reshape(&[])?));
        }
        let t = value.device(device)?;
        let at = axis(self.axis, shape.len())?;
        if self.block > 0 {
            return self.blocks(t, shape, at).map(Parameter::Wide);
        }
        if own != [shape[at]] {
            return Err(format!(
                "parameters of shape {own:?} for axis {at} of a value of shape {shape:?}"
            ));
        }
        let mut line = vec![1; shape.len()];
        line[at] = shape[at];
        Ok(Parameter::Wide(t.reshape(&line)?))
    }

    /// Repeats each parameter over its block.
    fn blocks(&self, t: Tensor, shape: &[usize], at: usize) -> OpResult<Tensor> {
        let own = t.shape();
        let mut expected = shape.to_vec();
        expected[at] = shape[at].div_ceil(self.block);
        if own != expected {
            return Err(format!(
                "parameters of shape {own:?} for blocks of {} along axis {at} of {shape:?}; expected {expected:?}",
                self.block
            ));
        }
        let mut split = own.clone();
        split.insert(at + 1, 1);
        let mut repeated = split.clone();
        repeated[at + 1] = self.block.min(shape[at]);
        let mut joined = own;
        joined[at] *= repeated[at + 1];
        let t = t.reshape(&split)?.expand(&repeated)?.reshape(&joined)?;
        Ok(t.narrow(at, 0, shape[at]))
    }
}

impl Parameter {
    pub(super) fn divide(self, t: Tensor) -> OpResult<Tensor> {
        match self {
            Self::Number(v) => Ok(t.div_scalar(v)),
            Self::Wide(p) => t.div(p),
        }
    }

    pub(super) fn multiply(self, t: Tensor) -> OpResult<Tensor> {
        match self {
            Self::Number(1.0) => Ok(t),
            Self::Number(v) => Ok(t.mul_scalar(v)),
            Self::Wide(p) => t.mul(p),
        }
    }

    fn add_to(self, t: Tensor) -> OpResult<Tensor> {
        match self {
            Self::Number(0.0) => Ok(t),
            Self::Number(v) => Ok(t.add_scalar(v)),
            Self::Wide(p) => t.add(p),
        }
    }

    pub(super) fn subtract_from(self, t: Tensor) -> OpResult<Tensor> {
        match self {
            Self::Number(0.0) => Ok(t),
            Self::Number(v) => Ok(t.sub_scalar(v)),
            Self::Wide(p) => t.sub(p),
        }
    }
}

/// Rounds to the nearest integer, with the derivative of the identity.
pub(crate) fn rounded(t: Tensor) -> OpResult<Tensor> {
    let fixed = t.clone().detach();
    let step = fixed.clone().round().sub(fixed)?;
    t.add(step)
}

/// Returns `value`, with the derivative that `smooth` has where it was computed from `t`, instead of its own.
///
/// The difference that carries the derivative is exactly zero; infinities, which would make it a NaN, are cut off.
pub(super) fn with_derivative_of(
    value: Tensor,
    t: Tensor,
    smooth: impl FnOnce(Tensor) -> OpResult<Tensor>,
) -> OpResult<Tensor> {
    let (low, high) = (f64::from(f32::MIN), f64::from(f32::MAX));
    let t = smooth(t.clamp_min(low).clamp_max(high))?;
    value.add(t.clone().sub(t.detach())?)
}

/// Rounds, adds the zero point, and clips to the range of the type.
pub(super) fn quantised(scaled: Tensor, zero: Parameter, dtype: DType) -> OpResult<Tensor> {
    let (low, high) = dtype
        .range()
        .filter(|_| dtype.is_int())
        .ok_or_else(|| format!("quantisation to {dtype}"))?;
    Ok(match zero {
        // Clip first: with integer bounds the result is the same, and an infinity does not become NaN in rounding.
        Parameter::Number(zero) => {
            let t = scaled.clamp_min(low - zero).clamp_max(high - zero);
            Parameter::Number(zero).add_to(rounded(t)?)?
        }
        zero @ Parameter::Wide(_) => {
            let t = zero.add_to(rounded(scaled)?)?;
            t.clamp_min(low).clamp_max(high)
        }
    }
    .typed(dtype))
}

pub(super) fn quantize(node: &NodeSpec<'_>) -> OpResult<Run> {
    let layout = Layout::of(node)?;
    let requested = match node.int("output_dtype", 0)? {
        0 => None,
        _ => Some(node.dtype("output_dtype", DType::U8)?),
    };
    run(move |x| {
        let dtype = if x.has(2) {
            x.peek(2)?.dtype()
        } else {
            requested.unwrap_or(DType::U8)
        };
        let host = x.all_host();
        let t = x.tensor(0)?;
        let shape = t.shape();
        let scale = layout.lay(x.take(1)?, &shape, x.device)?;
        let zero = if x.has(2) {
            layout.lay(x.take(2)?, &shape, x.device)?
        } else {
            Parameter::Number(0.0)
        };
        let t = quantised(scale.divide(t)?, zero, dtype)?;
        // A value known at load time returns to the host, where its type is exact.
        if host { one(t.download()?) } else { one(t) }
    })
}

pub(super) fn dequantize(node: &NodeSpec<'_>) -> OpResult<Run> {
    let layout = Layout::of(node)?;
    let requested = match node.int("output_dtype", 0)? {
        0 => None,
        _ => Some(node.dtype("output_dtype", DType::F32)?),
    };
    run(move |x| {
        // By default the result has the type of the scale, not of the input.
        let dtype = requested.unwrap_or(x.peek(1)?.dtype());
        let t = x.tensor(0)?;
        let shape = t.shape();
        let scale = layout.lay(x.take(1)?, &shape, x.device)?;
        let zero = if x.has(2) {
            layout.lay(x.take(2)?, &shape, x.device)?
        } else {
            Parameter::Number(0.0)
        };
        one(scale.multiply(zero.subtract_from(t)?)?.typed(dtype))
    })
}

/// Quantises to eight bits with the scale and zero point that fit the values; returns the three, the last two without
/// dimensions. The gradient also flows through the scale, so that quantising and scaling back together have the
/// derivative of the identity.
pub(super) fn fitted(t: Tensor) -> OpResult<[Tensor; 3]> {
    let shape = t.shape();
    let n = room::elements(&shape)?;
    if n == 0 {
        return Err("no values to fit a scale to".into());
    }
    let flat = t.reshape(&[n])?;
    let high = flat.clone().max(&[0]).clamp_min(0.0);
    let low = flat.clone().min(&[0]).clamp_max(0.0);
    let scale = high.sub(low.clone())?.div_scalar(255.0);
    // If all values are zero, any scale fits.
    let scale = scale.clone().equal_scalar(0.0).fill(scale, 1.0)?;
    let zero = low.neg().div(scale.clone())?.detach().round();
    let zero = zero.clamp_min(0.0).clamp_max(255.0).typed(DType::U8);
    let scaled = flat.div(scale.clone())?;
    let t = quantised(scaled, Parameter::Wide(zero.clone()), DType::U8)?;
    Ok([t.reshape(&shape)?, scale.reshape(&[])?, zero.reshape(&[])?])
}

fn dynamic_quantize(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| Ok(fitted(x.tensor(0)?)?.map(Value::from).to_vec()))
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("QuantizeLinear", quantize).gradient(Gradient::StraightThrough),
    OperatorEntry::new("DequantizeLinear", dequantize),
    OperatorEntry::new("DynamicQuantizeLinear", dynamic_quantize)
        .gradient(Gradient::StraightThrough),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, byte, computed, number, weight};

    fn floats(v: &[f32]) -> Array {
        Array::new([v.len()], v.to_vec())
    }

    #[test]
    fn gradients_go_straight_through_and_stop_where_clipped() {
        let case = Case::new("QuantizeLinear")
            .tracked(&[5], vec![-70.0, -1.3, 0.2, 30.1, 80.0])
            .host(number(0.5))
            .host(byte(100));
        assert_eq!(
            computed(&case),
            Array::new([5], vec![0u8, 97, 100, 160, 255])
        );
        let gradient = case.gradient().remove(0);
        for (i, g) in gradient.iter().enumerate() {
            let expected = if i == 0 || i == 4 {
                0.0
            } else {
                weight(0, i) / 0.5
            };
            assert!((g - expected).abs() < 1e-5, "{gradient:?}");
        }
        // With a zero point per channel.
        let case = Case::new("QuantizeLinear")
            .tracked(&[2, 2], vec![-70.0, 1.3, 0.2, 80.0])
            .host(floats(&[0.5, 2.0]))
            .host(Array::new([2], vec![100i8, -20]));
        assert_eq!(
            computed(&case),
            Array::new([2, 2], vec![-40i8, -19, 100, 20])
        );
        let gradient = case.gradient().remove(0);
        for (i, scale) in [0.5, 2.0, 0.5, 2.0].into_iter().enumerate() {
            let expected = weight(0, i) / scale;
            assert!((gradient[i] - expected).abs() < 1e-5, "{gradient:?}");
        }
    }

    #[test]
    fn gradients_of_dequantisation() {
        Case::new("DequantizeLinear")
            .scattered(&[2, 3], -5.0, 5.0)
            .host(number(0.5))
            .host(byte(3))
            .assert_gradient();
        Case::new("DequantizeLinear")
            .int("axis", -1)
            .scattered(&[2, 3], -5.0, 5.0)
            .host(floats(&[0.5, 1.0, 2.0]))
            .assert_gradient();
        Case::new("DequantizeLinear")
            .int("axis", 1)
            .int("block_size", 2)
            .scattered(&[2, 3], -5.0, 5.0)
            .scattered(&[2, 2], 0.5, 2.0)
            .assert_gradient();
    }

    #[test]
    fn dynamic_scales() {
        let case = Case::new("DynamicQuantizeLinear")
            .outputs(3)
            .tracked(&[6], vec![0.0, 2.0, -3.0, -2.5, 1.34, 0.5]);
        let out = case.run().unwrap();
        assert_eq!(out[0], Array::new([6], vec![153u8, 255, 0, 26, 221, 179]));
        assert!((out[1].to_f64().unwrap()[0] - 5.0 / 255.0).abs() < 1e-8);
        assert_eq!(out[2], byte(153));
        assert!(out[1].shape().is_empty());
        let zeros = Case::new("DynamicQuantizeLinear")
            .outputs(3)
            .tracked(&[2], vec![0.0, 0.0]);
        assert_eq!(zeros.run().unwrap()[0], Array::new([2], vec![0u8, 0]));
        assert!(zeros.gradient()[0].iter().all(|g| g.is_finite()));
        // The derivative is 1 / scale, except for the largest and the smallest value, which set the scale.
        let case = Case::new("DynamicQuantizeLinear").tracked(&[3], vec![-1.0, 0.3, 1.55]);
        let gradient = case.gradient().remove(0);
        assert!(
            (gradient[1] - weight(0, 1) * 100.0).abs() < 1e-3,
            "{gradient:?}"
        );
    }

    #[test]
    fn types_and_blocks() {
        let case = Case::new("QuantizeLinear")
            .int("output_dtype", 3)
            .tracked(&[3], vec![-1e30, 2.5, f64::INFINITY])
            .host(number(1.0));
        assert_eq!(computed(&case), Array::new([3], vec![-128i8, 2, 127]));
        let case = Case::new("QuantizeLinear")
            .host(floats(&[3.5, 70000.0]))
            .host(number(1.0))
            .host(Array::new([], vec![0u16]));
        assert_eq!(computed(&case), Array::new([2], vec![4u16, 65535]));
        let case = Case::new("DequantizeLinear")
            .int("axis", 0)
            .int("block_size", 2)
            .host(Array::new([3, 1], vec![10i8, 20, 30]))
            .host(Array::new([2, 1], vec![0.5f32, 2.0]))
            .host(Array::new([2, 1], vec![2i8, 0]));
        assert_eq!(computed(&case), Array::new([3, 1], vec![4.0f32, 9.0, 60.0]));
        let case = Case::new("DequantizeLinear")
            .host(Array::new([2], vec![10i32, -20]))
            .host(number(0.5));
        assert_eq!(computed(&case), floats(&[5.0, -10.0]));
    }

    #[test]
    fn invalid_nodes_are_errors() {
        let value = |op: &str| Case::new(op).scattered(&[2, 3], 0.0, 1.0);
        for (c, part) in [
            (
                value("QuantizeLinear").host(floats(&[1.0, 2.0])),
                "parameters of shape [2] for axis 1",
            ),
            (
                value("QuantizeLinear")
                    .int("axis", 5)
                    .host(floats(&[1.0, 2.0])),
                "axis 5",
            ),
            (
                value("QuantizeLinear").host(number(1.0)).host(number(0.0)),
                "quantisation to float32",
            ),
            (
                value("DequantizeLinear")
                    .int("block_size", 2)
                    .host(floats(&[1.0, 2.0])),
                "for blocks of 2",
            ),
            (
                value("DequantizeLinear")
                    .int("block_size", -2)
                    .host(number(1.0)),
                "blocks of -2",
            ),
            (
                value("QuantizeLinear")
                    .int("output_dtype", 22)
                    .host(number(1.0)),
                "int4",
            ),
            (
                Case::new("DynamicQuantizeLinear").tracked(&[0], vec![]),
                "no values",
            ),
        ] {
            let problem = c.run().unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
