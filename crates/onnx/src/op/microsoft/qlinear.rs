//! Elementwise operators on quantised values: dequantise, compute, quantise again.
//!
//! Addition and multiplication round after adding the zero point, the others before it, as in onnxruntime; it matters
//! for halves with an odd zero point.

use super::super::activation::bent;
use super::super::quantise::{Parameter, dequantize, quantised, quantize};
use super::super::softmax::softmax_along;
use super::super::{Gradient, OperatorEntry};
use crate::dtype::DType;
use crate::node::{Args, NodeSpec, OpResult, Run, axis, one, run};
use crate::tensor::Tensor;

/// Reads a scale: one number in single precision.
pub(super) fn scale(x: &mut Args<'_>, i: usize) -> OpResult<f32> {
    let scale = x.scalar_opt(i)?;
    scale
        .map(|s| s as f32)
        .ok_or_else(|| format!("input {i} is missing"))
}

/// Reads a zero point; 0 if none is given.
pub(super) fn zero(x: &mut Args<'_>, i: usize) -> OpResult<f32> {
    Ok(x.scalar_opt(i)?.unwrap_or(0.0) as f32)
}

/// Quantised value with its scale and zero point, which are the two inputs after it.
pub(super) struct Quantised {
    pub(super) values: Tensor,
    pub(super) scale: f32,
    pub(super) zero: f32,
}

impl Quantised {
    pub(super) fn read(x: &mut Args<'_>, i: usize) -> OpResult<Self> {
        Ok(Self {
            values: x.tensor(i)?,
            scale: scale(x, i + 1)?,
            zero: zero(x, i + 2)?,
        })
    }

    pub(super) fn dtype(&self) -> DType {
        self.values.dtype()
    }

    /// Subtracts the zero point.
    pub(super) fn centred(self) -> Tensor {
        self.values.sub_scalar(self.zero.into()).typed(DType::F32)
    }

    /// Dequantises to real numbers.
    pub(super) fn real(self) -> Tensor {
        let scale = self.scale;
        self.centred().mul_scalar(scale.into())
    }
}

/// Scale, zero point and type of a quantised result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) scale: f32,
    pub(super) zero: f32,
    dtype: DType,
}

impl Target {
    /// Reads scale and zero point from inputs `i` and `i + 1`; without a zero point the result has the type `dtype`.
    pub(super) fn read(x: &mut Args<'_>, i: usize, dtype: DType) -> OpResult<Self> {
        let dtype = if x.has(i + 1) {
            x.peek(i + 1)?.dtype()
        } else {
            dtype
        };
        Ok(Self {
            scale: scale(x, i)?,
            zero: zero(x, i + 1)?,
            dtype,
        })
    }

    /// Quantises real numbers.
    pub(super) fn of(self, real: Tensor) -> OpResult<Tensor> {
        self.rounded_first(real.div_scalar(self.scale.into()))
    }

    /// Rounds numbers in units of the scale, then adds the zero point.
    pub(super) fn rounded_first(self, quanta: Tensor) -> OpResult<Tensor> {
        quantised(quanta, Parameter::Number(self.zero.into()), self.dtype)
    }

    /// Rounds numbers in units of the scale that already include the zero point.
    pub(super) fn moved_first(self, moved: Tensor) -> OpResult<Tensor> {
        quantised(moved, Parameter::Number(0.0), self.dtype)
    }
}

fn add(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let (a, b) = (Quantised::read(x, 0)?, Quantised::read(x, 3)?);
        let c = Target::read(x, 6, a.dtype())?;
        let (of_a, of_b) = (a.scale / c.scale, b.scale / c.scale);
        let fixed = c.zero - (of_a * a.zero + of_b * b.zero);
        let a = a.values.mul_scalar(of_a.into()).add_scalar(fixed.into());
        let b = b.values.mul_scalar(of_b.into());
        one(c.moved_first(b.add(a)?)?)
    })
}

fn mul(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let (a, b) = (Quantised::read(x, 0)?, Quantised::read(x, 3)?);
        let c = Target::read(x, 6, a.dtype())?;
        let factor = a.scale * b.scale / c.scale;
        let product = a.centred().mul(b.centred())?.mul_scalar(factor.into());
        one(c.moved_first(product.add_scalar(c.zero.into()))?)
    })
}

/// Builds an operator that applies a function of real numbers to a quantised value.
fn each(f: impl Fn(Tensor) -> OpResult<Tensor> + Send + Sync + 'static) -> OpResult<Run> {
    run(move |x| {
        let a = Quantised::read(x, 0)?;
        let y = Target::read(x, 3, a.dtype())?;
        one(y.of(f(a.real())?)?)
    })
}

fn leaky_relu(node: &NodeSpec<'_>) -> OpResult<Run> {
    let alpha = node.float("alpha", 0.01)?;
    each(move |t| bent(t, |t| Ok(t.mul_scalar(alpha))))
}

fn softmax(node: &NodeSpec<'_>) -> OpResult<Run> {
    let along = node.int("axis", -1)?;
    let flat = node.int("opset", 13)? < 13;
    run(move |x| {
        let a = Quantised::read(x, 0)?;
        let y = Target::read(x, 3, a.dtype())?;
        one(y.of(softmax_along(a.real(), along, flat, x.device)?)?)
    })
}

/// Builds `QLinearConcat`: scale and zero point of the result come first, then three inputs for each part.
fn concat(node: &NodeSpec<'_>) -> OpResult<Run> {
    let along = node.int_opt("axis")?.ok_or("attribute `axis` is missing")?;
    run(move |x| {
        if x.len() < 5 || !(x.len() - 2).is_multiple_of(3) {
            return Err(format!(
                "{} inputs; expected 2, and 3 for each part",
                x.len()
            ));
        }
        let y = Target::read(x, 0, x.peek(2)?.dtype())?;
        let parts: Vec<Tensor> = (2..x.len())
            .step_by(3)
            .map(|i| y.of(Quantised::read(x, i)?.real()))
            .collect::<OpResult<_>>()?;
        let at = axis(along, parts[0].rank())?;
        one(Tensor::cat(parts, at)?)
    })
}

/// Builds `QLinearWhere`: the condition comes first.
fn choose(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let condition = x.tensor(0)?.truth();
        let (a, b) = (Quantised::read(x, 1)?, Quantised::read(x, 4)?);
        let y = Target::read(x, 7, a.dtype())?;
        let (a, b) = (y.of(a.real())?, y.of(b.real())?);
        one(condition.choose(a, b)?)
    })
}

const fn through(name: &'static str, build: fn(&NodeSpec<'_>) -> OpResult<Run>) -> OperatorEntry {
    OperatorEntry::new(name, build).gradient(Gradient::StraightThrough)
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    through("QLinearAdd", add),
    through("QLinearMul", mul),
    through("QLinearSigmoid", |_| each(|t| Ok(t.sigmoid()))),
    through("QLinearLeakyRelu", leaky_relu),
    through("QLinearSoftmax", softmax),
    through("QLinearConcat", concat),
    through("QLinearWhere", choose),
    // ONNX's own operators, for types that ONNX did not support yet.
    through("QuantizeLinear", quantize),
    OperatorEntry::new("DequantizeLinear", dequantize),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, byte, computed, number, weight};

    /// Returns a case of two quantised values of one element each, scales 0.5 and 0.25, zero points 3 and 5, and a
    /// result.
    fn pair(op: &str, a: f64, b: f64, scale: f32, zero: u8) -> Case {
        Case::microsoft(op)
            .tracked(&[1], vec![a])
            .host(number(0.5))
            .host(byte(3))
            .tracked(&[1], vec![b])
            .host(number(0.25))
            .host(byte(5))
            .host(number(scale))
            .host(byte(zero))
    }

    fn close(given: f64, expected: f64) {
        assert!(
            (given - expected).abs() < 1e-5 * expected.abs().max(1.0),
            "{given}; {expected}"
        );
    }

    #[test]
    fn sums_and_products() {
        // (13 - 3) 0.5 + (9 - 5) 0.25 = 6; in units of 2 that is 3, plus 7.
        let sum = pair("QLinearAdd", 13.0, 9.0, 2.0, 7);
        assert_eq!(computed(&sum), Array::new([1], vec![10u8]));
        let gradient = sum.gradient();
        close(gradient[0][0], weight(0, 0) * 0.25);
        close(gradient[1][0], weight(0, 0) * 0.125);
        // 10 * 0.5 times 4 * 0.25 is 5; in units of 2 that is 2.5, plus 7 is 9.5, which rounds to the even 10.
        let product = pair("QLinearMul", 13.0, 9.0, 2.0, 7);
        assert_eq!(computed(&product), Array::new([1], vec![10u8]));
        let gradient = product.gradient();
        close(gradient[0][0], weight(0, 0) * 4.0 / 16.0);
        close(gradient[1][0], weight(0, 0) * 10.0 / 16.0);
        // Clipped at the end of the type, where the derivative is 0.
        let cut = pair("QLinearMul", 255.0, 255.0, 0.01, 7);
        assert_eq!(computed(&cut), Array::new([1], vec![255u8]));
        assert_eq!(cut.gradient()[0], [0.0]);
    }

    fn single(op: &str) -> Case {
        Case::microsoft(op)
            .tracked(&[1, 2], vec![-20.0, 12.0])
            .host(number(0.5))
            .host(Array::new([], vec![2i8]))
            .host(number(0.25))
            .host(Array::new([], vec![1i8]))
    }

    #[test]
    fn functions() {
        // The real inputs are -11 and 5. -1.1 / 0.25 is -4.4.
        let case = single("QLinearLeakyRelu").float("alpha", 0.1);
        assert_eq!(computed(&case), Array::new([1, 2], vec![-3i8, 21]));
        let gradient = case.gradient().remove(0);
        close(gradient[0], weight(0, 0) * 0.1 * 2.0);
        close(gradient[1], weight(0, 1) * 2.0);
        // 0.0000167 and 0.9933, in quarters.
        let case = single("QLinearSigmoid");
        assert_eq!(computed(&case), Array::new([1, 2], vec![1i8, 5]));
        let gradient = case.gradient().remove(0);
        let s = 1.0 / (1.0 + (-5f64).exp());
        close(gradient[1], weight(0, 1) * s * (1.0 - s) * 2.0);
        let case = single("QLinearSoftmax").int("opset", 13);
        assert_eq!(computed(&case), Array::new([1, 2], vec![1i8, 5]));
        // Equal inputs: half each, so neither is saturated.
        let case = Case::microsoft("QLinearSoftmax")
            .int("opset", 11)
            .int("axis", 1)
            .tracked(&[1, 2], vec![3.0, 3.0])
            .host(number(1.0))
            .host(byte(0))
            .host(number(0.01))
            .host(byte(0));
        assert_eq!(computed(&case), Array::new([1, 2], vec![50u8, 50]));
        let gradient = case.gradient().remove(0);
        close(gradient[0], (weight(0, 0) - weight(0, 1)) * 0.25 * 100.0);
    }

    #[test]
    fn parts_are_requantised_to_one_scale() {
        let case = Case::microsoft("QLinearConcat")
            .int("axis", 1)
            .host(number(0.5))
            .host(byte(7))
            .tracked(&[1, 1], vec![13.0])
            .host(number(0.25))
            .host(byte(3))
            .host(Array::new([1, 1], vec![9u8]))
            .host(number(0.5))
            .host(byte(7));
        // 2.5 in units of 0.5 is 5; the second part is unchanged.
        let y = computed(&case).to_f64().unwrap();
        assert_eq!(y, [12.0, 9.0]);
        close(case.gradient()[0][0], weight(0, 0) * 0.5);
        let odd = Case::microsoft("QLinearConcat")
            .int("axis", 0)
            .host(number(1.0));
        assert!(
            odd.run()
                .unwrap_err()
                .contains("expected 2, and 3 for each")
        );
    }

    #[test]
    fn one_of_two_is_chosen() {
        let case = Case::microsoft("QLinearWhere")
            .host(Array::new([2], vec![true, false]))
            .tracked(&[2], vec![13.0, 13.0])
            .host(number(0.5))
            .host(byte(3))
            .tracked(&[2], vec![9.0, 9.0])
            .host(number(0.25))
            .host(byte(5))
            .host(number(1.0))
            .host(byte(0));
        assert_eq!(computed(&case).to_f64().unwrap(), [5.0, 1.0]);
        let gradient = case.gradient();
        close(gradient[0][0], weight(0, 0) * 0.5);
        assert_eq!(gradient[0][1], 0.0);
        close(gradient[1][1], weight(0, 1) * 0.25);
    }
}
