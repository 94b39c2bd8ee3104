use ndarray::Array2;
use proofmark_domain::{Bounds, Modality};

use crate::array::Array;
use crate::units::{meaning, scale};
use crate::{DataError, Units};

/// One modality of a set: what it is, and its values in data units.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name, kind, per-sample shape and bounds.
    pub modality: Modality,
    /// `[n, features]`, each sample flattened row-major; finite and inside the bounds.
    pub values: Array2<f32>,
}

impl Column {
    /// A modality from an array, and what its values are (`units.rs` has the rules). `also` is the format's own way to
    /// state bounds.
    pub(crate) fn from_array(
        array: &Array<'_>,
        units: Option<Units>,
        stated: Option<Bounds>,
        also: &'static str,
    ) -> Result<(Self, String), DataError> {
        let meaning = meaning(array, units)?;
        let mut values = array
            .numbers()
            .ok_or_else(|| array.wrong_dtype("numbers or booleans"))?;
        if let Some((at, whole)) = array.rounded(&values) {
            let features = meaning.shape.iter().product::<usize>().max(1);
            return Err(array.wrong_value(
                format!("row {}, feature {}", at / features, at % features),
                whole,
                "whole numbers that a 32-bit float holds exactly, as it does all up to 16777216; store the array as float32 to accept the rounding",
            ));
        }
        let bounds = meaning.bounds(array, units, &values, stated, also)?;
        if let Some(divisor) = meaning.divisor {
            for value in &mut values {
                *value /= divisor;
            }
        }
        let modality = Modality {
            name: array.name.clone(),
            kind: meaning.kind,
            shape: meaning.shape,
            bounds,
        };
        let hint = match scale(array) {
            Some(scale) if units.is_none() && meaning.divisor.is_none() => {
                format!(
                    "; `--units scaled` divides {} by {scale}",
                    array.dtype.name()
                )
            }
            _ => String::new(),
        };
        let place = |row, feature| format!("`{}`, row {row}, feature {feature}", array.name);
        let column = Self::checked(array.file, modality, values, place, &hint)?;
        Ok((column, meaning.text))
    }

    /// Checks every value; `place` names where one stands in the file, `hint` is for one out of bounds.
    pub(crate) fn checked(
        file: &str,
        modality: Modality,
        values: Vec<f32>,
        place: impl Fn(usize, usize) -> String,
        hint: &str,
    ) -> Result<Self, DataError> {
        let features = modality.features();
        let bounds = &modality.bounds;
        if let Some(given) = bounds.features().filter(|given| *given != features) {
            return Err(DataError::BoundsFit {
                file: file.to_owned(),
                array: modality.name,
                problem: format!(
                    "are for {given} features; expected {features}, or one pair for all"
                ),
            });
        }
        for (i, value) in values.iter().enumerate() {
            let feature = i % features;
            let (low, high) = (bounds.low(feature), bounds.high(feature));
            // NaN lies in no range.
            if !(low..=high).contains(value) {
                return Err(DataError::Value {
                    file: file.to_owned(),
                    at: place(i / features, feature),
                    value: value.to_string(),
                    expected: if value.is_finite() {
                        format!("a value within the stated bounds {low},{high}{hint}")
                    } else {
                        "a finite 32-bit number".to_owned()
                    },
                });
            }
        }
        let rows = values.len() / features.max(1);
        match Array2::from_shape_vec((rows, features), values) {
            Ok(values) => Ok(Self { modality, values }),
            Err(e) => Err(DataError::Corrupt {
                file: file.to_owned(),
                part: format!("array `{}`", modality.name),
                problem: e.to_string(),
            }),
        }
    }
}
