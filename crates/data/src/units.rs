//! Units of an array: what its numbers mean.
//!
//! | array | taken as | `raw` | `scaled` |
//! |---|---|---|---|
//! | `uint8`, shape of images | pixels / 255 in [0, 1] | as stored, in [0, 255] or the bounds stated | / 255 |
//! | `uint8` `[n, features]` | as stored, in the bounds stated | the same; [0, 255] if none are | / 255 |
//! | `uint16` | as stored, in the bounds stated | the same; [0, 65535] for images if none are | / 65535 |
//! | `int16` | as stored, in the bounds stated | the same | sound: / 32768 in [-1, 1] |
//! | other integers, floats | as stored, in the bounds stated | the same | refused |
//! | `bool` | 0 and 1 | the same | the same |
//!
//! If bounds are needed and none are stated, the array is refused: a table and flattened pixels, sound and whole
//! numbers have the same type and shape, and only the owner knows which they are.

use proofmark_domain::{Bounds, Kind};

use crate::array::{Array, Element};
use crate::{DataError, Options};

/// How whole numbers become data units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
#[strum(parse_err_ty = String, parse_err_fn = unknown)]
pub enum Units {
    /// As stored.
    Raw,
    /// `uint8` / 255, `uint16` / 65535, `int16` / 32768.
    Scaled,
}

fn unknown(text: &str) -> String {
    format!("units `{text}`; expected raw or scaled")
}

/// How the numbers of an array become data units, by its type, its number of axes and its stated kind, and the bounds
/// that they then have.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Divisor of the numbers; `None` if they are kept as stored.
    pub divisor: Option<f32>,
    /// Description of the numbers: `uint8 / 255`, `int64 as stored`.
    pub text: String,
    pub(crate) implied: Implied,
}

impl Rule {
    /// Whether bounds must be stated.
    pub fn needs_bounds(&self) -> bool {
        self.implied == Implied::None
    }

    /// Returns the `stated` bounds if they are permitted, else those of the type; `None` if there are neither.
    ///
    /// The error says why the stated bounds cannot be those of such numbers.
    pub fn bounds(&self, stated: Option<Bounds>) -> Result<Option<Bounds>, String> {
        let uniform = |(low, high)| match Bounds::uniform(low, high) {
            Ok(bounds) => bounds,
            Err(e) => unreachable!("{e}"),
        };
        match (self.implied, stated) {
            (Implied::Fixed(low, high), Some(stated)) => {
                let implied = uniform((low, high));
                if stated == implied {
                    return Ok(Some(implied));
                }
                let raw = if self.divisor.is_some() {
                    ", or keep the numbers as they are with `--units raw`"
                } else {
                    ""
                };
                Err(format!(
                    "begin {},{}, but it is read as {}, within {low},{high}; leave the bounds out{raw}",
                    stated.low(0),
                    stated.high(0),
                    self.text,
                ))
            }
            (Implied::None | Implied::Default(..), Some(stated)) => Ok(Some(stated)),
            (Implied::Fixed(low, high) | Implied::Default(low, high), None) => {
                Ok(Some(uniform((low, high))))
            }
            (Implied::None, None) => Ok(None),
        }
    }
}

/// Returns the rule for an array of a type (`NumPy`'s name) and of its stated kind, if any; `None` if `scaled` is
/// requested and the type has no scale. Data stated not to be an image is not divided by default.
pub(crate) fn rule(
    dtype: &str,
    axes: usize,
    units: Option<Units>,
    kind: Option<Kind>,
) -> Option<Rule> {
    let image = matches!(kind, None | Some(Kind::Image));
    let divisor = match units {
        None => scale(dtype).filter(|_| image && is_pixels(dtype, axes)),
        Some(Units::Scaled) if is_whole(dtype) => Some(scale(dtype)?),
        Some(Units::Raw | Units::Scaled) => None,
    };
    let text = match divisor {
        Some(divisor) => format!("{dtype} / {divisor}"),
        None if dtype == "bool" => "bool as 0 and 1".to_owned(),
        None => format!("{dtype} as stored"),
    };
    let implied = match divisor {
        _ if dtype == "bool" => Implied::Fixed(0.0, 1.0),
        Some(_) if dtype.starts_with("uint") => Implied::Fixed(0.0, 1.0),
        Some(_) => Implied::Fixed(-1.0, 1.0),
        None if units.is_some() && dtype == "uint8" => Implied::Default(0.0, 255.0),
        None if units.is_some() && dtype == "uint16" && axes > 2 => Implied::Default(0.0, 65_535.0),
        None => Implied::None,
    };
    Some(Rule {
        divisor,
        text,
        implied,
    })
}

/// Whether a type is an integer type.
pub(crate) fn is_whole(dtype: &str) -> bool {
    dtype.starts_with("int") || dtype.starts_with("uint")
}

/// Whether a type and number of axes are those of images of bytes.
fn is_pixels(dtype: &str, axes: usize) -> bool {
    dtype == "uint8" && axes > 2
}

/// Returns the divisor of `scaled`; `None` for a type that has no usual scale.
pub(crate) fn scale(dtype: &str) -> Option<f32> {
    match dtype {
        "uint8" => Some(255.0),
        "uint16" => Some(65_535.0),
        "int16" => Some(32_768.0),
        _ => None,
    }
}

/// Returns unlimited bounds, for data that is not attacked.
pub(crate) fn any() -> Bounds {
    match Bounds::uniform(f32::MIN, f32::MAX) {
        Ok(bounds) => bounds,
        Err(e) => unreachable!("{e}"),
    }
}

/// Interpretation of one array.
pub(crate) struct Meaning {
    pub(crate) kind: Kind,
    /// Shape of one sample.
    pub(crate) shape: Vec<usize>,
    pub(crate) rule: Rule,
}

/// Bounds implied by a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Implied {
    /// No bounds: they must be stated.
    None,
    /// Range of the type, unless others are stated.
    Default(f32, f32),
    /// Only these bounds.
    Fixed(f32, f32),
}

/// Returns the interpretation of `array`, by type, shape and stated options.
pub(crate) fn meaning(array: &Array<'_>, options: &Options) -> Result<Meaning, DataError> {
    let units = options.units;
    if array.shape.first() == Some(&0) {
        return Err(DataError::Empty {
            file: array.file.to_owned(),
        });
    }
    let dtype = array.dtype.name();
    let stated = options.kind_of(&array.name);
    let mut rule =
        rule(&dtype, array.shape.len(), units, stated).ok_or_else(|| DataError::Scale {
            file: array.file.to_owned(),
            array: array.name.clone(),
            dtype,
        })?;
    let sound = rule.divisor.is_some() && array.dtype.element == Element::Signed;
    let (kind, shape) = kind_and_shape(array, stated.or(sound.then_some(Kind::Audio)))?;
    if let Some(kind) = stated {
        rule.text = format!("{}, {kind}", rule.text);
    }
    Ok(Meaning { kind, shape, rule })
}

impl Meaning {
    /// Returns the bounds of the array, the `stated` ones if they are permitted; an error if bounds are needed and
    /// missing.
    pub(crate) fn bounds(
        &self,
        array: &Array<'_>,
        options: &Options,
        values: &[f32],
        stated: Option<Bounds>,
        also: &'static str,
    ) -> Result<Bounds, DataError> {
        let units = options.units;
        let file = || array.file.to_owned();
        let bounds = self.rule.bounds(stated);
        let bounds = bounds.map_err(|problem| DataError::BoundsFit {
            file: file(),
            array: array.name.clone(),
            problem,
        })?;
        match bounds {
            Some(bounds) => Ok(bounds),
            None if options.unbounded && (units.is_some() || !is_whole(&array.dtype.name())) => {
                Ok(any())
            }
            None => {
                let range = range(values);
                Err(
                    match scale(&array.dtype.name()).filter(|_| units.is_none()) {
                        Some(scale) => DataError::NoUnits {
                            file: file(),
                            array: array.name.clone(),
                            values: format!(
                                "{} values {range} in shape {:?}",
                                array.dtype.name(),
                                array.shape
                            ),
                            scale,
                            also,
                        },
                        None => DataError::NoBounds {
                            file: file(),
                            array: array.name.clone(),
                            values: format!("{} values {range}", array.dtype.name()),
                            also,
                        },
                    },
                )
            }
        }
    }
}

/// Describes the least and the greatest of the finite values, for messages.
pub(crate) fn range(values: &[f32]) -> String {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    let low = finite.clone().fold(f32::INFINITY, f32::min);
    let high = finite.fold(f32::NEG_INFINITY, f32::max);
    format!("from {low} to {high}")
}

/// Returns the kind and the shape of a sample: the stated kind, else the one of the shape.
fn kind_and_shape(
    array: &Array<'_>,
    stated: Option<Kind>,
) -> Result<(Kind, Vec<usize>), DataError> {
    let expected = match stated {
        Some(Kind::Audio) => "[n, samples] or [n, channels, samples], as sound has",
        Some(Kind::Image) => "[n, h, w] or [n, c, h, w], as images have",
        Some(Kind::Table) => "[n, features] or [n, rows, columns], as tables have",
        None => "[n, features], [n, h, w] or [n, c, h, w]",
    };
    let sample = array.shape.get(1..).unwrap_or_default();
    let (kind, shape) = match (sample, stated) {
        ([_] | [_, _], Some(kind @ (Kind::Audio | Kind::Table))) => (kind, sample.to_vec()),
        ([f], None) => (Kind::Table, vec![*f]),
        ([h, w], None | Some(Kind::Image)) => (Kind::Image, vec![1, *h, *w]),
        ([c, h, w], None | Some(Kind::Image)) => (Kind::Image, vec![*c, *h, *w]),
        _ => return Err(array.wrong_shape(expected)),
    };
    if sample.contains(&0) {
        return Err(array.wrong_shape(format!("{expected}, with no empty axis")));
    }
    Ok((kind, shape))
}
