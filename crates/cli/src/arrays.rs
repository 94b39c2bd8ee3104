//! Arrays of files as arrays of models: by name, by type.

use proofmark::data::Units;
use proofmark::data::ndarray::{ArrayD, IxDyn};
use proofmark::data::npz::{AnyArray, is_fact};
use proofmark::domain::nearest;
use proofmark::onnx::{Array, DType, Data, Declared};

use crate::failure::Failure;

/// What a file holds, by name.
pub(crate) type Named = Vec<(String, AnyArray)>;

/// One array per input, in their order, and what was done to get them. `file` is where they come from.
///
/// An input takes the array of its name; a single one also takes `x`, or the only array. Arrays that say something
/// about the samples (`y`, `id`, …) may be there; any other that no input takes is an error.
pub(crate) fn assign(
    file: &str,
    mut arrays: Named,
    inputs: &[Declared],
    units: Option<Units>,
) -> Result<(Vec<Array>, Vec<String>), Failure> {
    let mut found: Vec<Option<AnyArray>> = Vec::new();
    for input in inputs {
        let at = arrays.iter().position(|(name, _)| *name == input.name);
        found.push(at.map(|at| arrays.remove(at).1));
    }
    if let [None] = found[..] {
        let at = arrays.iter().position(|(name, _)| name == "x");
        let data = arrays.iter().filter(|(name, _)| !is_fact(name)).count();
        let only = arrays
            .iter()
            .position(|(name, _)| arrays.len() == 1 || (data == 1 && !is_fact(name)));
        found[0] = at.or(only).map(|at| arrays.remove(at).1);
    }
    let names = || {
        let list: Vec<String> = inputs.iter().map(|i| format!("`{}`", i.name)).collect();
        list.join(", ")
    };
    if let Some((name, _)) = arrays.iter().find(|(name, _)| !is_fact(name)) {
        let hint = hint(name, inputs.iter().map(|i| i.name.as_str()));
        return Err(Failure(format!(
            "{file}: array `{name}` is no input of the model{hint}; its inputs are {}",
            names()
        )));
    }
    let mut notes = Vec::new();
    let mut values = Vec::new();
    for (input, array) in inputs.iter().zip(found) {
        let array = array.ok_or_else(|| {
            let dtype = input.dtype.map_or_else(String::new, |d| format!("{d} "));
            Failure(format!(
                "{file}: has no array `{}` ({dtype}{}); give one of that name, or fix it (--fix {}=NUMBER)",
                input.name,
                input.shape_text(),
                input.name
            ))
        })?;
        let (value, note) = typed(&array, input.dtype, units)
            .map_err(|e| Failure(format!("{file}: array for input `{}` {e}", input.name)))?;
        notes.extend(note.map(|n| format!("`{}`: {n}", input.name)));
        values.push(value);
    }
    if !arrays.is_empty() {
        let left: Vec<String> = arrays.iter().map(|(n, _)| format!("`{n}`")).collect();
        notes.push(format!(
            "not given to the model, as its name says it is about the samples: {}",
            left.join(", ")
        ));
    }
    Ok((values, notes))
}

/// `" (did you mean `x`?)"`, or nothing.
pub(crate) fn hint<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, known).map_or_else(String::new, |n| format!(" (did you mean `{n}`?)"))
}

/// An array with the type it has.
pub(crate) fn plain(array: &AnyArray) -> Result<Array, String> {
    fn all<T: Clone>(a: &ArrayD<T>) -> Vec<T> {
        a.iter().cloned().collect()
    }
    let data: Data = match array {
        AnyArray::Bool(a) => all(a).into(),
        AnyArray::I8(a) => all(a).into(),
        AnyArray::I16(a) => all(a).into(),
        AnyArray::I32(a) => all(a).into(),
        AnyArray::I64(a) => all(a).into(),
        AnyArray::U8(a) => all(a).into(),
        AnyArray::U16(a) => all(a).into(),
        AnyArray::U32(a) => all(a).into(),
        AnyArray::U64(a) => all(a).into(),
        AnyArray::F16(a) => all(a).into(),
        AnyArray::F32(a) => all(a).into(),
        AnyArray::F64(a) => all(a).into(),
        AnyArray::Text(a) => all(a).into(),
    };
    Array::try_new(array.shape(), data)
}

/// An array with the type that is wanted, and a note where it had to be converted.
fn typed(
    array: &AnyArray,
    wanted: Option<DType>,
    units: Option<Units>,
) -> Result<(Array, Option<String>), String> {
    let given = plain(array)?;
    let from = given.dtype();
    let Some(to) = wanted.filter(|to| *to != from) else {
        return Ok((given, None));
    };
    if to.is_float() && !from.is_float() && !matches!(array, AnyArray::Text(_)) {
        let (values, note) = in_units(array, to, units)?;
        let values = Array::try_new(array.shape(), values)?;
        return Ok((values.cast(to)?, Some(format!("{note}, as {to}"))));
    }
    let lost = match (given.data(), to) {
        (Data::F64(v), DType::F32) => v
            .iter()
            .find(|x| x.is_finite() && !(**x as f32).is_finite())
            .map(ToString::to_string),
        (Data::I64(v), DType::I32) => v
            .iter()
            .find(|x| i32::try_from(**x).is_err())
            .map(ToString::to_string),
        // There is no bfloat16 in .npy files.
        (Data::I32(_), DType::I64) | (Data::F32(_), DType::BF16) => None,
        _ => return Err(format!("is {from}; expected {to}")),
    };
    match lost {
        Some(value) => Err(format!("is {from}, and its {value} does not fit {to}")),
        None => Ok((given.cast(to)?, Some(format!("{from} converted to {to}")))),
    }
}

/// Whole numbers and booleans as a floating-point input takes them, by the rules of data sets, and which rule it was.
fn in_units(
    array: &AnyArray,
    to: DType,
    units: Option<Units>,
) -> Result<(Vec<f32>, String), String> {
    macro_rules! values {
        ($a:expr, $to:expr) => {
            $a.iter().map($to).collect::<Vec<f32>>()
        };
    }
    macro_rules! exact {
        ($a:expr) => {{
            let values = values!($a, |v| *v as f32);
            let rounded = $a.iter().zip(&values).find(|(v, x)| **x as i128 != i128::from(**v));
            if let Some((v, _)) = rounded {
                return Err(format!(
                    "holds {v}; expected whole numbers that a 32-bit float holds exactly, as it does all up to 16777216"
                ));
            }
            values
        }};
    }
    let dtype = array.dtype();
    let (values, scale) = match array {
        AnyArray::U8(a) => (values!(a, |v| f32::from(*v)), Some(255.0)),
        AnyArray::U16(a) => (values!(a, |v| f32::from(*v)), Some(65_535.0)),
        AnyArray::I16(a) => (values!(a, |v| f32::from(*v)), Some(32_768.0)),
        AnyArray::Bool(a) => (values!(a, |v| f32::from(u8::from(*v))), None),
        AnyArray::I8(a) => (values!(a, |v| f32::from(*v)), None),
        AnyArray::I32(a) => (exact!(a), None),
        AnyArray::I64(a) => (exact!(a), None),
        AnyArray::U32(a) => (exact!(a), None),
        AnyArray::U64(a) => (exact!(a), None),
        _ => return Err(format!("is {dtype}; expected numbers")),
    };
    let pixels = matches!(array, AnyArray::U8(a) if a.ndim() > 2);
    match (units, scale) {
        (Some(Units::Raw), _) => Ok((values, format!("{dtype} as stored"))),
        (None, _) if dtype == "bool" => Ok((values, "bool as 0 and 1".to_owned())),
        (Some(Units::Scaled), Some(scale)) => Ok(scaled(values, dtype, scale)),
        (None, Some(scale)) if pixels => Ok(scaled(values, dtype, scale)),
        (None, scale) => {
            let scaled = scale.map_or_else(String::new, |s| {
                format!(", `--units scaled` to divide them by {s}")
            });
            Err(format!(
                "is {dtype}, and the input {to}; add `--units raw` to keep the numbers as they are{scaled}"
            ))
        }
        (Some(Units::Scaled), None) => Err(format!(
            "is {dtype}, which has no scale; leave `--units scaled` out, or say `--units raw`"
        )),
    }
}

fn scaled(values: Vec<f32>, dtype: &str, scale: f32) -> (Vec<f32>, String) {
    let values = values.into_iter().map(|v| v / scale).collect();
    (values, format!("{dtype} / {scale}"))
}

/// An array as it can be written; bfloat16, which .npy files do not have, as float32.
pub(crate) fn written(array: &Array) -> Result<AnyArray, Failure> {
    fn shaped<T: Clone>(array: &Array, values: &[T]) -> Result<AnyArray, Failure>
    where
        ArrayD<T>: Into<AnyArray>,
    {
        Ok(ArrayD::from_shape_vec(IxDyn(array.shape()), values.to_vec())?.into())
    }
    match array.data() {
        Data::Bool(v) => shaped(array, v),
        Data::I8(v) => shaped(array, v),
        Data::I16(v) => shaped(array, v),
        Data::I32(v) => shaped(array, v),
        Data::I64(v) => shaped(array, v),
        Data::U8(v) => shaped(array, v),
        Data::U16(v) => shaped(array, v),
        Data::U32(v) => shaped(array, v),
        Data::U64(v) => shaped(array, v),
        Data::F16(v) => shaped(array, v),
        Data::BF16(_) => shaped(array, &array.to_f32()?),
        Data::F32(v) => shaped(array, v),
        Data::F64(v) => shaped(array, v),
        Data::Text(v) => shaped(array, v),
    }
}
