//! Converts arrays of files to arrays of models, matched by name and type.

use proofmark::data::ndarray::{ArrayD, IxDyn};
use proofmark::data::npz::{self, AnyArray, InUnits, is_fact};
use proofmark::data::{Arrays, Options, Units};
use proofmark::domain::{Bounds, Kind, hint};
use proofmark::onnx::{Array, DType, Data, Declared};

use crate::failure::Failure;

/// 2^53: every integer up to this magnitude is exact in an `f64`.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Arrays of a file, with their names.
pub(crate) type Named = Vec<(String, AnyArray)>;

/// Returns one array per input, in the order of the inputs, and notes on how they were obtained. `file` names the
/// source in messages.
///
/// An input takes the array of its name. If the model has one input, it also takes the array that `attack` would take:
/// the one stated, `x`, the only one, or the one recognised by its name. Arrays that describe the samples (`y`, `id`,
/// labels under other names) may be present; any other array that no input takes is an error.
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
    let mut taken = Vec::new();
    for (input, array) in inputs.iter().zip(found) {
        taken.push(array.ok_or_else(|| {
            let dtype = input.dtype.map_or_else(String::new, |d| format!("{d} "));
            Failure(format!(
                "{file}: has no array `{}` ({dtype}{}); give one of that name, or fix it (--fix {}=NUMBER)",
                input.name,
                input.shape_text(),
                input.name
            ))
        })?);
    }
    let bounds = bounds(file, &taken, &arrays, options)?;
    let mut notes = Vec::new();
    let mut values = Vec::new();
    for ((input, (name, array)), bounds) in inputs.iter().zip(&taken).zip(bounds) {
        let read = Reading {
            units: options.units,
            kind: options.kind_of(name),
            bounds,
        };
        let (value, note) = typed(array, input.dtype, read)
            .map_err(|e| Failure(format!("{file}: array for input `{}` {e}", input.name)))?;
        notes.extend(note.map(|n| format!("`{}`: {n}", input.name)));
        values.push(value);
    }
    if let Some(name) = options
        .array_bounds
        .keys()
        .find(|n| taken.iter().all(|(name, _)| name != *n))
    {
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

/// Removes and returns the array that `--arrays` names for the only input.
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

/// Returns the bounds stated for each array in `taken`, by the rules of data sets; `others` are the remaining arrays of
/// the file.
fn bounds(
    file: &str,
    taken: &Named,
    others: &Named,
    options: &Options,
) -> Result<Vec<Option<Bounds>>, Failure> {
    let needs = |name: &str, array: &AnyArray| {
        let rule = array.rule(options.units, options.kind_of(name));
        rule.map_or(true, |r| r.needs_bounds())
    };
    let inputs: Vec<(&str, bool)> = (taken.iter())
        .map(|(name, array)| (name.as_str(), needs(name, array)))
        .collect();
    let of_file = |name: &str| {
        let Some((_, array)) = others.iter().find(|(n, _)| n == name) else {
            return Ok(None);
        };
        let values = plain(array).and_then(|a| a.to_f32());
        let bounds = values.and_then(|values| match npz::bounds_of(array.shape(), &values) {
            Some(bounds) => bounds.map_err(|e| e.to_string()),
            None => Err(format!(
                "has shape {:?}; expected [2], low and high, or [2, features]",
                array.shape()
            )),
        });
        bounds
            .map(Some)
            .map_err(|e| Failure(format!("{file}: array `{name}`: {e}")))
    };
    npz::stated_bounds(&inputs, options, of_file)
}

/// How to read an array.
struct Reading {
    units: Option<Units>,
    kind: Option<Kind>,
    /// Bounds stated for the array.
    bounds: Option<Bounds>,
}

/// Refuses values outside the stated bounds; `shape` is the shape of `values`, with samples along its first axis.
fn within(values: &[f32], shape: &[usize], bounds: &Bounds) -> Result<(), String> {
    let features = shape.iter().skip(1).product::<usize>();
    if let Some(given) = bounds.features().filter(|given| *given != features) {
        return Err(format!(
            "has bounds for {given} features; expected {features}, or one pair for all"
        ));
    }
    bounds.first_outside(values).map_or(Ok(()), |at| {
        let feature = at % features.max(1);
        Err(format!(
            "holds {}; expected values within the stated bounds {},{}",
            values[at],
            bounds.low(feature),
            bounds.high(feature)
        ))
    })
}

/// Converts an array without changing its type.
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

/// Converts an array to the wanted type; returns a note if the type changed.
fn typed(
    array: &AnyArray,
    wanted: Option<DType>,
    how: Reading,
) -> Result<(Array, Option<String>), String> {
    let given = plain(array)?;
    let from = given.dtype();
    let to = wanted.unwrap_or(from);
    if from != to && (from == DType::Text || to == DType::Text) {
        return Err(format!("is {from}; expected {to}"));
    }
    if to.is_float() && !from.is_float() && from != DType::Text {
        let InUnits { values, rule, .. } = in_units(array, to, how)?;
        let values = Array::try_new(array.shape(), values)?;
        let converted = values.cast(to)?;
        if let Some(value) = lost(&values, &converted, rule.divisor.is_none())? {
            return Err(format!("is {from}, and its {value} does not fit {to}"));
        }
        return Ok((converted, Some(format!("{}, as {to}", rule.text))));
    }
    if let Some(bounds) = how.bounds.as_ref().filter(|_| from != DType::Text) {
        within(&given.to_f32()?, given.shape(), bounds)?;
    }
    if from == to {
        return Ok((given, None));
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

/// Returns the first number that the conversion loses: if `kept`, one whose value changes, else one beyond the range of
/// the new type.
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

/// Converts whole numbers and booleans for a floating-point input, by the rules of data sets.
fn in_units(array: &AnyArray, to: DType, how: Reading) -> Result<InUnits, String> {
    let read = array.clone().in_units(how.units, how.kind);
    let read = read.map_err(|e| e.to_string())?;
    let as_stored = array.is_whole() && read.rule.divisor.is_none();
    if as_stored && how.units.is_none() && how.bounds.is_none() {
        let scaled = array.scale().map_or_else(String::new, |s| {
            format!(", `--units scaled` to divide them by {s}")
        });
        return Err(format!(
            "is {}, and the input {to}; add `--units raw` to keep the numbers as they are{scaled}",
            array.dtype()
        ));
    }
    let bounds = read.rule.bounds(how.bounds);
    if let Some(bounds) = bounds.map_err(|e| format!("has bounds that {e}"))? {
        within(&read.values, array.shape(), &bounds)?;
    }
    Ok(read)
}

/// Converts an array to one that can be written; bfloat16, which .npy files lack, becomes float32.
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

    /// In float16, 2049 lies between two neighbouring numbers and 65520 rounds to infinity.
    #[test]
    fn whole_numbers_that_half_precision_does_not_hold_are_refused() {
        let read = |units| Reading {
            units: Some(units),
            kind: None,
            bounds: None,
        };
        for (value, holds) in [(2048, true), (2049, false), (65_504, true), (65_520, false)] {
            let array = AnyArray::from(ArrayD::from_elem(IxDyn(&[1, 2]), value));
            let given = typed(&array, Some(DType::F16), read(Units::Raw));
            assert_eq!(given.is_ok(), holds, "{value}");
            if let Err(told) = given {
                assert!(
                    told.contains(&value.to_string()) && told.contains("float16"),
                    "{told}"
                );
            }
        }
        // Scaled values are no longer whole numbers and may be rounded.
        let bytes = AnyArray::from(ArrayD::from_elem(IxDyn(&[1, 2]), 51_u8));
        assert!(typed(&bytes, Some(DType::F16), read(Units::Scaled)).is_ok());
    }
}
