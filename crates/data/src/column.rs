use ndarray::Array2;
use proofmark_domain::{Bounds, Modality};

use crate::array::{Array, Element};
use crate::typed::{EXACT, InUnits, NotInUnits};
use crate::units::{meaning, scale};
use crate::{DataError, Options};

/// One modality of a set: its description, and its values in data units.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name, kind, per-sample shape and bounds.
    pub modality: Modality,
    /// `[n, features]`, each sample flattened row-major; finite and inside the bounds.
    pub values: Array2<f32>,
    /// `NumPy`'s name of the integer type (or `bool`) of the values in the file; `None` if they are not as stored
    /// there.
    pub whole: Option<&'static str>,
}

impl Column {
    /// Returns a modality from an array, and a description of its units (`units.rs` has the rules). `also` names the
    /// format's own way to state bounds.
    pub(crate) fn from_array(
        array: &Array<'_>,
        options: &Options,
        stated: Option<Bounds>,
        also: &'static str,
    ) -> Result<(Self, String), DataError> {
        let units = options.units;
        let meaning = meaning(array, options)?;
        if matches!(array.dtype.element, Element::Bytes | Element::Text) {
            return Err(array.wrong_dtype("numbers or booleans"));
        }
        let InUnits { values, whole, .. } = array
            .any()?
            .in_units(units, options.kind_of(&array.name))
            .map_err(|e| match e {
                NotInUnits::Rounded { at, value } => {
                    let features = meaning.shape.iter().product::<usize>().max(1);
                    array.wrong_value(
                        format!("row {}, feature {}", at / features, at % features),
                        value,
                        format!("{EXACT}; store the array as float32 to accept the rounding"),
                    )
                }
                NotInUnits::NoScale(_) | NotInUnits::Text => {
                    array.wrong_dtype("numbers or booleans")
                }
            })?;
        let bounds = meaning.bounds(array, options, &values, stated, also)?;
        let modality = Modality {
            name: array.name.clone(),
            kind: meaning.kind,
            shape: meaning.shape,
            bounds,
        };
        let hint = match scale(&array.dtype.name()) {
            Some(scale) if units.is_none() && meaning.rule.divisor.is_none() => {
                format!(
                    "; `--units scaled` divides {} by {scale}",
                    array.dtype.name()
                )
            }
            _ => String::new(),
        };
        let place = |row, feature| format!("`{}`, row {row}, feature {feature}", array.name);
        let mut column = Self::checked(array.file, modality, values, place, &hint)?;
        column.whole = whole;
        Ok((column, meaning.rule.text))
    }

    /// Checks every value; `place` names the position of a value in the file, `hint` is appended to the error for a
    /// value out of bounds.
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
        if let Some(i) = bounds.first_outside(&values) {
            let (value, feature) = (values[i], i % features);
            let (low, high) = (bounds.low(feature), bounds.high(feature));
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
        let rows = values.len() / features.max(1);
        match Array2::from_shape_vec((rows, features), values) {
            Ok(values) => Ok(Self {
                modality,
                values,
                whole: None,
            }),
            Err(e) => Err(DataError::Corrupt {
                file: file.to_owned(),
                part: format!("array `{}`", modality.name),
                problem: e.to_string(),
            }),
        }
    }
}
