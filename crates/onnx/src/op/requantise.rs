//! Requantisation: converts sums of products of quantised values back to a type of few bits, in onnxruntime's order:
//! one factor in single precision, rounding half to even, then the zero point, then clipping to the type.

use burn::tensor::Device;

use super::quantise::Parameter;
use crate::array::Array;
use crate::node::OpResult;
use crate::value::Value;

/// Returns a scale or zero point for a value of `rank` dimensions: one number, or one for each position along `axis`.
pub(super) fn parameter(
    value: Value,
    axis: usize,
    rank: usize,
    device: &Device,
) -> OpResult<Parameter> {
    let n = value.elements();
    if let (1, Value::Host(a)) = (n, &value) {
        return Ok(Parameter::Number(a.to_f64()?[0]));
    }
    let mut shape = vec![1; rank];
    if n != 1 {
        *shape
            .get_mut(axis)
            .ok_or_else(|| format!("a value of {rank} dimensions"))? = n;
    }
    Ok(Parameter::Wide(value.device(device)?.reshape(&shape)?))
}

/// Returns `a * b / y`; each may hold one number per channel, and a missing `y` is 1.
pub(super) fn factor(a: Value, b: Value, y: Option<Value>, device: &Device) -> OpResult<Value> {
    let known = |v: &Value| matches!(v, Value::Host(_));
    if !(known(&a) && known(&b) && y.as_ref().is_none_or(known)) {
        let product = a.device(device)?.mul(b.device(device)?)?;
        return Ok(match y {
            Some(y) => product.div(y.device(device)?)?.into(),
            None => product.into(),
        });
    }
    let (a, b) = (a.host()?, b.host()?);
    let y = y.map_or_else(|| Ok(Array::new([], vec![1f32])), Value::host)?;
    let n = a.len().max(b.len()).max(y.len());
    let (a, b, y) = (of_length(&a, n)?, of_length(&b, n)?, of_length(&y, n)?);
    let all: Vec<f32> = (0..n).map(|i| a[i] * b[i] / y[i]).collect();
    Ok(if n == 1 {
        Array::new([], all).into()
    } else {
        Array::try_new([n], all)?.into()
    })
}

fn of_length(array: &Array, n: usize) -> OpResult<Vec<f32>> {
    let own = array.to_f32()?;
    match own.len() {
        1 => Ok(vec![own[0]; n]),
        m if m == n => Ok(own),
        m => Err(format!("{m} scales; expected 1 or {n}")),
    }
}
