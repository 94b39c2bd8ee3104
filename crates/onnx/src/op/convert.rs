//! Type conversions, and operators that return their input unchanged.

use super::OperatorEntry;
use super::quantise::with_derivative_of;
use super::shape::as_it_is;
use crate::array::Array;
use crate::dtype::DType;
use crate::node::{Args, NodeSpec, OpResult, Run, one, run};
use crate::room;
use crate::tensor::Tensor;
use crate::value::Value;

/// Converts to another type on the device, where every value is a number of one type: drops what the new type cannot
/// hold.
///
/// Does not round to half precision, so the model's results there are slightly more exact than in half precision.
fn converted(t: Tensor, to: DType) -> OpResult<Tensor> {
    let from = t.dtype();
    if from == to || to.is_float() {
        return Ok(t.typed(to));
    }
    if to == DType::Bool {
        return Ok(t.truth().numbers());
    }
    if from == DType::Bool {
        return Ok(t.typed(to));
    }
    let (low, high) = to.range().ok_or("strings cannot be on a device")?;
    if from.is_float() {
        // Towards zero. The derivative is the identity's, as in quantisation, up to the ends of the type.
        let small = to.size().is_some_and(|s| s <= 2);
        let t = if small {
            t.clamp_min(low).clamp_max(high)
        } else {
            t
        };
        let whole = t.clone().detach().trunc();
        return Ok(with_derivative_of(whole, t, Ok)?.typed(to));
    }
    // Conversions between integers keep the bits, so a narrower type wraps. Wide types are not exact on the device
    // anyway.
    let fits = from.range().is_some_and(|(l, h)| low <= l && h <= high);
    if fits || to.size().is_some_and(|s| s > 2) {
        return Ok(t.typed(to));
    }
    let turns = t
        .clone()
        .detach()
        .sub_scalar(low)
        .div_scalar(high - low + 1.0)
        .floor();
    Ok(t.sub(turns.mul_scalar(high - low + 1.0))?.typed(to))
}

fn cast_to(x: &mut Args<'_>, to: DType) -> OpResult<Value> {
    match x.take(0)? {
        Value::Host(a) => Ok(a.cast(to)?.into()),
        // Strings exist on the host only, and have no gradient.
        value if to == DType::Text => Ok(value.host()?.cast(to)?.into()),
        value => Ok(converted(value.device(x.device)?, to)?.into()),
    }
}

fn cast(node: &NodeSpec<'_>) -> OpResult<Run> {
    let to = node.int_opt("to")?.ok_or("attribute `to` is missing")?;
    let to = i32::try_from(to).map_err(|_| format!("element type {to} is not one of ONNX's"))?;
    let to = DType::from_onnx(to)?;
    run(move |x| one(cast_to(x, to)?))
}

fn cast_like(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let to = x.peek(1)?.dtype();
        one(cast_to(x, to)?)
    })
}

fn identity(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| one(x.take(0)?))
}

/// Error for a Dropout in training mode.
const IN_TRAINING: &str = "it was exported in training mode: it drops values at random, so no sample has scores of its own; export it again in evaluation mode (PyTorch: `model.eval()` before `torch.onnx.export`)";

/// Builds `Dropout`. Models run in inference mode, so it drops nothing.
fn dropout(node: &NodeSpec<'_>) -> OpResult<Run> {
    let drops = |training: Option<f64>, ratio: Option<f64>| {
        training.is_some_and(|t| t != 0.0) && ratio.unwrap_or(0.5) != 0.0
    };
    let known = |i: usize| -> OpResult<Option<f64>> {
        let values = node.constant(i).map(Array::to_f64).transpose()?;
        Ok(values.and_then(|v| v.first().copied()))
    };
    // Report the error when the file is loaded, not at the first run.
    if drops(known(2)?, known(1)?) {
        return Err(IN_TRAINING.into());
    }
    let masked = node.wants(1);
    let typed = node.opset < 10;
    run(move |x| {
        if drops(x.scalar_opt(2)?, x.scalar_opt(1)?) {
            return Err(IN_TRAINING.into());
        }
        let value = x.take(0)?;
        if !masked {
            return one(value);
        }
        let (shape, dtype) = (value.shape(), value.dtype());
        let mask = Array::try_new(shape.clone(), vec![true; room::elements(&shape)?])?;
        // Up to version 9 the mask had the type of the value.
        let mask = if typed { mask.cast(dtype)? } else { mask };
        Ok(vec![value, mask.into()])
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Cast", cast),
    OperatorEntry::new("CastLike", cast_like),
    OperatorEntry::new("Identity", identity).lowered(|_| as_it_is()),
    OperatorEntry::new("Dropout", dropout).lowered(|_| as_it_is()),
];

#[cfg(test)]
mod tests {
    use crate::array::{Array, Data};
    use crate::check::{Case, computed};

    const F32: i64 = 1;
    const U8: i64 = 2;
    const I8: i64 = 3;
    const I32: i64 = 6;
    const I64: i64 = 7;
    const BOOL: i64 = 9;
    const F16: i64 = 10;

    #[test]
    fn gradients() {
        for to in [F32, BOOL] {
            Case::new("Cast")
                .int("to", to)
                .scattered(&[5], -3.0, 3.0)
                .assert_gradient();
        }
        // To integers it passes straight through, and stops where the type ends.
        for (to, passes) in [(I32, [1.0, 1.0, 1.0]), (U8, [0.0, 1.0, 0.0])] {
            let case = Case::new("Cast")
                .int("to", to)
                .tracked(&[3], vec![-2.5, 1.7, 300.4]);
            for (i, g) in case.gradient().remove(0).into_iter().enumerate() {
                let expected = passes[i] * crate::check::weight(0, i);
                assert!((g - expected).abs() < 1e-5, "{to}: {i}");
            }
        }
        Case::new("Identity")
            .scattered(&[2, 2], -1.0, 1.0)
            .assert_gradient();
        Case::new("Dropout")
            .scattered(&[2, 2], -1.0, 1.0)
            .assert_gradient();
        Case::new("CastLike")
            .scattered(&[3], -1.0, 1.0)
            .host(Array::new([], vec![0.0f64]))
            .assert_gradient();
        // Half precision is only a label on the device.
        let gradient = Case::new("Cast")
            .int("to", F16)
            .tracked(&[1], vec![2.0])
            .gradient();
        assert!((gradient[0][0] - crate::check::weight(0, 0)).abs() < 1e-6);
    }

    #[test]
    fn device_and_host_agree() {
        let values = vec![-300.5, -1.9, -0.4, 0.0, 0.6, 1.9, 254.9, 300.0];
        for to in [F32, U8, I8, I32, I64, BOOL, F16] {
            let there = Case::new("Cast")
                .int("to", to)
                .tracked(&[8], values.clone());
            let host = Array::new([8], values.iter().map(|v| *v as f32).collect::<Vec<_>>());
            let here = Case::new("Cast").int("to", to).host(host);
            assert_eq!(computed(&there), computed(&here), "{to}");
        }
    }

    #[test]
    fn integers_wrap_on_the_device_as_on_the_host() {
        use crate::tensor::Tensor;
        let device = burn::tensor::Device::flex();
        let values = vec![-300.0f32, -129.0, -1.0, 127.0, 128.0, 256.0, 700.0];
        let ints: Vec<i32> = values.iter().map(|v| *v as i32).collect();
        for to in [crate::DType::U8, crate::DType::I8, crate::DType::I16] {
            let t = Tensor::upload(values.clone(), &[7], crate::DType::I32, &device).unwrap();
            let t = super::converted(t, to).unwrap().download().unwrap();
            assert_eq!(t, Array::new([7], ints.clone()).cast(to).unwrap());
        }
    }

    #[test]
    fn masks() {
        let masked = |c: Case| c.outputs(2).scattered(&[2], 0.0, 1.0).run().unwrap();
        let mask = masked(Case::new("Dropout")).remove(1);
        assert_eq!(mask, Array::new([2], vec![true, true]));
        let mask = masked(Case::new("Dropout").opset(9)).remove(1);
        assert_eq!(mask, Array::new([2], vec![1.0f32, 1.0]));
    }

    #[test]
    fn a_dropout_of_ratio_zero_returns_its_input() {
        let (none, flag) = (Array::new([], vec![0.0f32]), Array::new([], vec![true]));
        let case = Case::new("Dropout").tracked(&[2], vec![0.5, 3.0]);
        let value = computed(&case.host(none).host(flag));
        assert_eq!(value, Array::new([2], vec![0.5f32, 3.0]));
    }

    #[test]
    fn strings() {
        let c = Case::new("Cast").int("to", 8).tracked(&[2], vec![0.5, 3.0]);
        let text = computed(&c);
        assert!(matches!(text.data(), Data::Text(_)));
        let c = Case::new("Cast").int("to", F32).host(text);
        assert_eq!(computed(&c), Array::new([2], vec![0.5f32, 3.0]));
    }

    #[test]
    fn invalid_nodes_are_errors() {
        let one = || Array::new([], vec![1.0f32]);
        let flag = || Array::new([], vec![true]);
        for (c, part) in [
            (Case::new("Cast").host(one()), "`to` is missing"),
            (
                Case::new("Cast").int("to", 99).host(one()),
                "element type 99",
            ),
            (
                Case::new("Cast").int("to", i64::MAX).host(one()),
                "element type",
            ),
            (Case::new("Cast").int("to", 17).host(one()), "float8e4m3fn"),
            (
                Case::new("Cast")
                    .int("to", F32)
                    .host(Array::new([1], vec!["x".to_owned()])),
                "`x` is not a number",
            ),
            (
                Case::new("Dropout").host(one()).host(one()).host(flag()),
                "training mode",
            ),
        ] {
            let problem = c.run().unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
