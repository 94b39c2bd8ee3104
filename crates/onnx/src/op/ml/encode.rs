//! Categories: one-hot columns, and labels for labels.

use std::collections::BTreeMap;

use super::super::OperatorEntry;
use crate::array::{Array, Data};
use crate::node::{NodeSpec, OpResult, Run, one, run};

/// A category that can be compared: integers and floats are keys by their bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Int(i64),
    Float(u32),
    Text(String),
}

impl Key {
    /// Returns the keys of an array, as `like` says how they were stored.
    fn all(array: &Array, like: &Self) -> OpResult<Vec<Self>> {
        let mismatch = || format!("categories of type {}", array.dtype());
        Ok(match (array.data(), like) {
            (Data::Text(v), Self::Text(_)) => v.iter().cloned().map(Self::Text).collect(),
            (Data::Text(_), _) | (_, Self::Text(_)) => return Err(mismatch()),
            (_, Self::Float(_)) => array.to_f32()?.into_iter().map(Self::of_float).collect(),
            (_, Self::Int(_)) => {
                let whole = |v: f64| Self::Int(v as i64);
                match array.to_ints() {
                    Ok(v) => v.into_iter().map(Self::Int).collect(),
                    // Converters store categories that are whole numbers as integers and give floats.
                    Err(_) => array.to_f64()?.into_iter().map(whole).collect(),
                }
            }
        })
    }

    fn of_float(v: f32) -> Self {
        // Zero has two signs and NaN many payloads; each is one category.
        let v = if v == 0.0 { 0.0 } else { v };
        Self::Float(if v.is_nan() { f32::NAN } else { v }.to_bits())
    }

    fn is_nan(&self) -> bool {
        matches!(self, Self::Float(bits) if f32::from_bits(*bits).is_nan())
    }
}

fn one_hot(node: &NodeSpec<'_>) -> OpResult<Run> {
    let ints = node.ints("cats_int64s")?.filter(|v| !v.is_empty());
    let texts = node.texts("cats_strings")?.filter(|v| !v.is_empty());
    let keys: Vec<Key> = match (ints, texts) {
        (Some(v), None) => v.into_iter().map(Key::Int).collect(),
        (None, Some(v)) => v.into_iter().map(Key::Text).collect(),
        _ => return Err("expected `cats_int64s` or `cats_strings`, and not both".into()),
    };
    let count = keys.len();
    let like = keys[0].clone();
    let places: BTreeMap<Key, usize> = keys.into_iter().zip(0..).collect();
    let unknown_is_zero = node.flag("zeros", true)?;
    run(move |x| {
        let input = x.array(0)?;
        let mut hot = vec![0.0_f32; input.len() * count];
        for (i, key) in Key::all(&input, &like)?.iter().enumerate() {
            match places.get(key) {
                Some(at) => hot[i * count + at] = 1.0,
                None if unknown_is_zero => {}
                None => return Err(format!("category {key:?} is none of the {count} known")),
            }
        }
        let mut shape = input.shape().to_vec();
        shape.push(count);
        one(Array::try_new(shape, hot)?)
    })
}

/// Labels of one type, stored in an attribute.
fn labels(node: &NodeSpec<'_>, what: &str) -> OpResult<Option<Data>> {
    let floats = |v: Vec<f64>| v.into_iter().map(|f| f as f32).collect::<Vec<f32>>();
    let texts = node.texts(&format!("{what}_strings"))?.map(Data::from);
    let ints = node.ints(&format!("{what}_int64s"))?.map(Data::from);
    let reals = node
        .floats(&format!("{what}_floats"))?
        .map(|v| Data::from(floats(v)));
    let tensor = node
        .tensor(&format!("{what}_tensor"))?
        .map(|a| a.data().clone());
    let mut given = [texts, ints, reals, tensor].into_iter().flatten();
    let first = given.find(|d| !d.is_empty());
    if given.any(|d| !d.is_empty()) {
        return Err(format!("`{what}` is given in several types"));
    }
    Ok(first)
}

/// Returns the value that stands for unknown keys, of the type of `values`.
fn default(node: &NodeSpec<'_>, values: &Data) -> OpResult<Data> {
    if let Some(a) = node.tensor("default_tensor")? {
        return Ok(a.data().clone());
    }
    Ok(match values {
        Data::Text(_) => vec![node.text("default_string", "_Unused")?].into(),
        Data::I64(_) => vec![node.int("default_int64", -1)?].into(),
        // The attribute is -0.0 by default.
        _ => vec![node.float("default_float", -0.0)? as f32].into(),
    })
}

fn label_encoder(node: &NodeSpec<'_>) -> OpResult<Run> {
    // Version 1: the places of texts in a list, and back.
    if let Some(classes) = node.texts("classes_strings")?.filter(|v| !v.is_empty()) {
        let places = (0..classes.len() as i64).collect::<Vec<i64>>();
        let texts = vec![node.text("default_string", "_Unused")?];
        let ints = vec![node.int("default_int64", -1)?];
        return either_way(classes.into(), &places.into(), texts.into(), ints.into());
    }
    let keys = labels(node, "keys")?.ok_or("its keys are missing")?;
    let values = labels(node, "values")?.ok_or("its values are missing")?;
    let unknown = default(node, &values)?;
    let mut lookup = Lookup::new(&keys, values, unknown)?;
    // Up to version 3 of the operator set NaN equals nothing, itself included.
    if node.opset < 4 {
        lookup.places.retain(|key, _| !key.is_nan());
    }
    run(move |x| one(lookup.of(&x.array(0)?)?))
}

fn category_mapper(node: &NodeSpec<'_>) -> OpResult<Run> {
    let ints = node
        .ints("cats_int64s")?
        .ok_or("`cats_int64s` is missing")?;
    let texts = node
        .texts("cats_strings")?
        .ok_or("`cats_strings` is missing")?;
    let unknown = vec![node.text("default_string", "_Unused")?];
    let number = vec![node.int("default_int64", -1)?];
    either_way(texts.into(), &ints.into(), unknown.into(), number.into())
}

/// Texts to integers or integers to texts, by the type of the input.
fn either_way(texts: Data, ints: &Data, unknown: Data, number: Data) -> OpResult<Run> {
    let to_ints = Lookup::new(&texts, ints.clone(), number)?;
    let to_texts = Lookup::new(ints, texts, unknown)?;
    run(move |x| {
        let input = x.array(0)?;
        let lookup = match input.data() {
            Data::Text(_) => &to_ints,
            _ => &to_texts,
        };
        one(lookup.of(&input)?)
    })
}

struct Lookup {
    places: BTreeMap<Key, usize>,
    like: Key,
    /// Values by place, then the one for unknown keys.
    values: Array,
}

impl Lookup {
    fn new(keys: &Data, values: Data, unknown: Data) -> OpResult<Self> {
        if keys.len() != values.len() || keys.is_empty() {
            return Err(format!("{} keys for {} values", keys.len(), values.len()));
        }
        let like = match keys {
            Data::Text(_) => Key::Text(String::new()),
            Data::F32(_) | Data::F64(_) => Key::Float(0),
            _ => Key::Int(0),
        };
        let stored = Array::try_new([keys.len()], keys.clone())?;
        // Of equal keys the first counts, as in onnxruntime.
        let mut places = BTreeMap::new();
        for (key, at) in Key::all(&stored, &like)?.into_iter().zip(0..) {
            places.entry(key).or_insert(at);
        }
        let parts = [
            Array::try_new([values.len()], values)?,
            Array::try_new([1], unknown)?,
        ];
        Ok(Self {
            places,
            like,
            values: Array::chain(&parts)?,
        })
    }

    fn of(&self, input: &Array) -> OpResult<Array> {
        let unknown = self.values.len() - 1;
        let keys = Key::all(input, &self.like)?;
        let at = keys
            .iter()
            .map(|k| self.places.get(k).copied().unwrap_or(unknown));
        let at: Vec<usize> = at.collect();
        Ok(self.values.pick(&at, input.shape()))
    }
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("CategoryMapper", category_mapper).on_host(),
    OperatorEntry::new("LabelEncoder", label_encoder).on_host(),
    OperatorEntry::new("OneHotEncoder", one_hot).on_host(),
];
