//! Arrays of files as arrays of models: by name, by type.

use proofmark::data::ndarray::{ArrayD, IxDyn};
use proofmark::data::npz::{self, AnyArray, InUnits, is_fact};
use proofmark::data::{Arrays, Options, Units};
use proofmark::domain::{Bounds, Kind, hint};
use proofmark::onnx::{Array, DType, Data, Declared};

use crate::failure::Failure;

/// Every whole number up to here is a floating-point number of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What a file holds, by name.
pub(crate) type Named = Vec<(String, AnyArray)>;

/// One array per input, in their order, and what was done to get them. `file` is where they come from.
///
/// An input takes the array of its name; a single one also takes the array that `attack` takes: the one stated, `x`, the
/// only one, or the one whose name says so. Arrays that say something about the samples (`y`, `id`, labels of other
/// names) may be there; any other that no input takes is an error.
pub(crate) fn assign(
    file: &str,
    mut arrays: Named,
    inputs: &[Declared],
    options: &Options,
) -> Result<(Vec<Array>, Vec<String>), Failure> {
    let all: Vec<String> = arrays.iter().map(|(name, _)| name.clone()).collect();
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    let roles = npz::roles(&names);
    let labels = roles.as_ref().and_then(|r| r.1);
    let about = |name: &str| is_fact(name) || Some(name) == labels;
    let mut found: Vec<Option<(String, AnyArray)>> = Vec::new();
    if let Some(stated) = &options.arrays {
        found.push(Some(stated_input(file, &mut arrays, inputs, stated)?));
    } else {
        for input in inputs {
            let at = arrays.iter().position(|(name, _)| *name == input.name);
            found.push(at.map(|at| arrays.remove(at)));
        }
        if let [None] = found[..] {
            let data: Vec<&str> = names.iter().copied().filter(|n| !about(n)).collect();
            let by_role = roles.as_ref().and_then(|(inputs, _)| match inputs[..] {
                [only] => Some(only),
                _ => None,
            });
            let only = match (&names[..], &data[..]) {
                ([only], _) | (_, [only]) => Some(*only),
                _ => by_role,
            };
            let wanted = names.iter().copied().find(|n| *n == "x").or(only);
            let at = arrays.iter().position(|(n, _)| Some(n.as_str()) == wanted);
            found[0] = at.map(|at| arrays.remove(at));
        }
    }
    let known = || {
        let list: Vec<String> = inputs.iter().map(|i| format!("`{}`", i.name)).collect();
        list.join(", ")
    };
    let strange = arrays.iter().find(|(name, _)| !about(name));
    if let Some((name, _)) = strange.filter(|_| options.arrays.is_none()) {
        let hint = hint(name, inputs.iter().map(|i| i.name.as_str()));
        let say = if inputs.len() == 1 {
            "; `--arrays NAME` names the one to take"
        } else {
            ""
        };
        return Err(Failure(format!(
            "{file}: array `{name}` is no input of the model{hint}; its inputs are {}{say}",
            known()
        )));
    }
    let mut notes = Vec::new();
    let mut values = Vec::new();
    let mut taken = Vec::new();
    for (input, array) in inputs.iter().zip(found) {
        let (name, array) = array.ok_or_else(|| {
            let dtype = input.dtype.map_or_else(String::new, |d| format!("{d} "));
            Failure(format!(
                "{file}: has no array `{}` ({dtype}{}); give one of that name, or fix it (--fix {}=NUMBER)",
                input.name,
                input.shape_text(),
                input.name
            ))
        })?;
        let own = format!("bounds_{name}");
        let inside = |n: &str| arrays.iter().find(|(name, _)| name == n);
        let of_file = inside(&own).or_else(|| inside("bounds"));
        let stated = options.array_bounds.get(&name).or(options.bounds.as_ref());
        let stated = match (stated, of_file) {
            (Some(bounds), _) => Some(bounds.clone()),
            (None, Some((name, array))) => {
                uniform(array).map_err(|e| Failure(format!("{file}: array `{name}`: {e}")))?
            }
            (None, None) => None,
        };
        let read = Reading {
            units: options.units,
            kind: options.kind_of(&name),
            bounds: stated.as_ref(),
            bounded: stated.is_some() || of_file.is_some(),
        };
        let (value, note) = typed(&array, input.dtype, &read)
            .and_then(|(value, note)| Ok((within(value, stated.as_ref())?, note)))
            .map_err(|e| Failure(format!("{file}: array for input `{}` {e}", input.name)))?;
        notes.extend(note.map(|n| format!("`{}`: {n}", input.name)));
        values.push(value);
        taken.push(name);
    }
    if let Some(name) = options.array_bounds.keys().find(|n| !taken.contains(n)) {
        return Err(Failure(format!(
            "{file}: has no array `{name}` for the model, for which bounds are stated; it has `{}`",
            names.join("`, `")
        )));
    }
    if !arrays.is_empty() && options.arrays.is_none() {
        let left: Vec<String> = arrays.iter().map(|(n, _)| format!("`{n}`")).collect();
        notes.push(format!(
            "not given to the model, as its name says it is about the samples: {}",
            left.join(", ")
        ));
    }
    Ok((values, notes))
}

/// The array that `--arrays` names for the only input.
fn stated_input(
    file: &str,
    arrays: &mut Named,
    inputs: &[Declared],
    stated: &Arrays,
) -> Result<(String, AnyArray), Failure> {
    if inputs.len() != 1 {
        return Err(Failure(format!(
            "--arrays names one input, and the model has {}; leave it out: arrays are found by the inputs' names",
            inputs.len()
        )));
    }
    let place = |name: &String| {
        let at = arrays.iter().position(|(n, _)| n == name);
        at.ok_or_else(|| {
            let has: Vec<&str> = arrays.iter().map(|(n, _)| n.as_str()).collect();
            Failure(format!(
                "{file}: has no array `{name}`{}; it has `{}`",
                hint(name, has.iter().copied()),
                has.join("`, `")
            ))
        })
    };
    let at = place(&stated.inputs)?;
    stated.labels.as_ref().map(place).transpose()?;
    Ok(arrays.remove(at))
}

/// How arrays of whole numbers are read.
struct Reading<'a> {
    units: Option<Units>,
    kind: Option<Kind>,
    /// The same bounds for every feature, where such are stated.
    bounds: Option<&'a Bounds>,
    /// Whether any are stated.
    bounded: bool,
}

/// The bounds a file states, where they are the same for every feature.
fn uniform(array: &AnyArray) -> Result<Option<Bounds>, String> {
    let read = array.clone().in_units(Some(Units::Raw), None);
    match read.map_err(|e| e.to_string())?.values[..] {
        [low, high] => Bounds::uniform(low, high)
            .map(Some)
            .map_err(|e| e.to_string()),
        _ => Ok(None),
    }
}

/// The array, if all of it lies within the bounds stated.
fn within(array: Array, bounds: Option<&Bounds>) -> Result<Array, String> {
    let Some(bounds) = bounds else {
        return Ok(array);
    };
    let (low, high) = (bounds.low(0), bounds.high(0));
    let values = array.to_f32()?;
    match values.iter().find(|v| !(low..=high).contains(*v)) {
        None => Ok(array),
        Some(v) => Err(format!(
            "holds {v}; expected values within the stated bounds {low},{high}"
        )),
    }
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
    read: &Reading<'_>,
) -> Result<(Array, Option<String>), String> {
    let given = plain(array)?;
    let from = given.dtype();
    let Some(to) = wanted.filter(|to| *to != from) else {
        return Ok((given, None));
    };
    if from == DType::Text || to == DType::Text {
        return Err(format!("is {from}; expected {to}"));
    }
    if to.is_float() && !from.is_float() {
        let InUnits {
            values,
            divisor,
            text,
            ..
        } = in_units(array, to, read)?;
        let values = Array::try_new(array.shape(), values)?;
        let converted = values.cast(to)?;
        if let Some(value) = lost(&values, &converted, divisor.is_none())? {
            return Err(format!("is {from}, and its {value} does not fit {to}"));
        }
        return Ok((converted, Some(format!("{text}, as {to}"))));
    }
    let converted = given.cast(to)?;
    match lost(&given, &converted, !to.is_float())? {
        Some(value) if value.fract() != 0.0 => Err(format!(
            "is {from}, and holds {value}; expected the whole numbers of {to}, as they are stored (`--units raw` where they were divided)"
        )),
        Some(value) => Err(format!("is {from}, and its {value} does not fit {to}")),
        None => Ok((converted, Some(format!("{from} converted to {to}")))),
    }
}

/// The first number that another type does not hold: one that is not the same, where all are to be `kept`, else one
/// beyond its range.
fn lost(given: &Array, converted: &Array, kept: bool) -> Result<Option<f64>, String> {
    let doubles = |array: &Array| match array.cast(DType::F64)?.data() {
        Data::F64(v) => Ok(v.clone()),
        other => Err(format!("is {}; expected numbers", other.dtype())),
    };
    let (from, to) = (given.dtype(), converted.dtype());
    let (before, after) = (doubles(given)?, doubles(converted)?);
    let holds = |before: f64, after: f64| {
        if kept {
            before == after && (to.is_float() || !from.is_float() || before.abs() <= EXACT)
        } else {
            before.is_finite() == after.is_finite()
        }
    };
    let pairs = before.into_iter().zip(after);
    Ok(pairs.into_iter().find(|(b, a)| !holds(*b, *a)).map(|p| p.0))
}

/// Whole numbers and booleans as a floating-point input takes them, by the rules of data sets, and which rule it was.
fn in_units(array: &AnyArray, to: DType, how: &Reading<'_>) -> Result<InUnits, String> {
    let read = array.clone().in_units(how.units, how.kind);
    let read = read.map_err(|e| e.to_string())?;
    if let (Some(_), Some(bounds)) = (read.divisor, how.bounds) {
        let low = if array.dtype().starts_with('u') {
            0.0
        } else {
            -1.0
        };
        if (bounds.low(0), bounds.high(0)) != (low, 1.0) {
            return Err(format!(
                "is read as {}, within {low},1, and the bounds stated are {},{}; leave the bounds out, or add `--units raw` to keep the numbers as they are",
                read.text,
                bounds.low(0),
                bounds.high(0)
            ));
        }
    }
    if array.is_whole() && read.divisor.is_none() && how.units.is_none() && !how.bounded {
        let scaled = array.scale().map_or_else(String::new, |s| {
            format!(", `--units scaled` to divide them by {s}")
        });
        return Err(format!(
            "is {}, and the input {to}; add `--units raw` to keep the numbers as they are{scaled}",
            array.dtype()
        ));
    }
    Ok(read)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// 2049 lies between two halves, 65520 rounds to infinity.
    #[test]
    fn whole_numbers_that_half_precision_does_not_hold_are_refused() {
        let read = |units| Reading {
            units: Some(units),
            kind: None,
            bounds: None,
            bounded: false,
        };
        for (value, holds) in [(2048, true), (2049, false), (65_504, true), (65_520, false)] {
            let array = AnyArray::from(ArrayD::from_elem(IxDyn(&[1, 2]), value));
            let given = typed(&array, Some(DType::F16), &read(Units::Raw));
            assert_eq!(given.is_ok(), holds, "{value}");
            if let Err(told) = given {
                assert!(
                    told.contains(&value.to_string()) && told.contains("float16"),
                    "{told}"
                );
            }
        }
        // Divided, they are no whole numbers any more.
        let bytes = AnyArray::from(ArrayD::from_elem(IxDyn(&[1, 2]), 51_u8));
        assert!(typed(&bytes, Some(DType::F16), &read(Units::Scaled)).is_ok());
    }
}
