use ndarray::Array2;
use proofmark_domain::{Bounds, Kind, Modality};

use crate::DataError;
use crate::array::{Array, Element};

/// One modality of a set: what it is, and its values in data units.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Name, kind, per-sample shape and bounds.
    pub modality: Modality,
    /// `[n, features]`, each sample flattened row-major; finite and inside the bounds.
    pub values: Array2<f32>,
}

impl Column {
    /// A modality from an array: pixels to `[0, 1]`, sound to `[-1, 1]`, floating-point numbers as
    /// they are within `stated` bounds. `also` is the format's own way to state them.
    pub(crate) fn from_array(
        file: &str,
        array: &Array<'_>,
        stated: Option<Bounds>,
        also: &'static str,
    ) -> Result<Self, DataError> {
        let values = array
            .data_units()
            .ok_or_else(|| array.wrong_dtype("u8 pixels, i16 sound, f32 or f64"))?;
        if array.shape.first() == Some(&0) {
            return Err(DataError::Empty {
                file: file.to_owned(),
            });
        }
        let (kind, shape) = kind_and_shape(array)?;
        let bounds = match implied_bounds(file, array)? {
            None => stated.ok_or_else(|| DataError::NoBounds {
                file: file.to_owned(),
                array: array.name.clone(),
                also,
            })?,
            Some(implied) => {
                if let Some(stated) = stated.filter(|s| *s != implied) {
                    return Err(DataError::BoundsFit {
                        file: file.to_owned(),
                        array: array.name.clone(),
                        problem: format!(
                            "begin {},{}, but its {} become {},{}; leave the bounds out",
                            stated.low(0),
                            stated.high(0),
                            array.dtype.text,
                            implied.low(0),
                            implied.high(0)
                        ),
                    });
                }
                implied
            }
        };
        let modality = Modality {
            name: array.name.clone(),
            kind,
            shape,
            bounds,
        };
        Self::checked(file, modality, values, |row, feature| {
            format!("`{}`, row {row}, feature {feature}", array.name)
        })
    }

    /// Checks every value; `place` names where one stands in the file.
    pub(crate) fn checked(
        file: &str,
        modality: Modality,
        values: Vec<f32>,
        place: impl Fn(usize, usize) -> String,
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
                        format!("a value within the stated bounds {low},{high}")
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

/// The bounds that a type of element brings along: `None` for floating-point numbers.
fn implied_bounds(file: &str, array: &Array<'_>) -> Result<Option<Bounds>, DataError> {
    let (low, high) = match array.dtype.element {
        Element::Unsigned => (0.0, 1.0),
        Element::Signed => (-1.0, 1.0),
        _ => return Ok(None),
    };
    let bounds = Bounds::uniform(low, high).map_err(|source| DataError::Bounds {
        file: file.to_owned(),
        source,
    })?;
    Ok(Some(bounds))
}

fn kind_and_shape(array: &Array<'_>) -> Result<(Kind, Vec<usize>), DataError> {
    let expected = if array.dtype.element == Element::Signed {
        "[n, samples] for 16-bit sound"
    } else {
        "[n, features], [n, h, w] or [n, c, h, w]"
    };
    let sample = array.shape.get(1..).unwrap_or_default();
    let (kind, shape) = match (sample, array.dtype.element) {
        ([f], Element::Signed) => (Kind::Audio, vec![*f]),
        ([f], _) => (Kind::Table, vec![*f]),
        (_, Element::Signed) => return Err(array.wrong_shape(expected)),
        ([h, w], _) => (Kind::Image, vec![1, *h, *w]),
        ([c, h, w], _) => (Kind::Image, vec![*c, *h, *w]),
        _ => return Err(array.wrong_shape(expected)),
    };
    if sample.contains(&0) {
        return Err(array.wrong_shape(format!("{expected}, with no empty axis")));
    }
    Ok((kind, shape))
}
