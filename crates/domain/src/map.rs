//! What an attacker changes in place of the values themselves, as a user writes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hint;

/// Values outside an image that was moved.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Padding {
    /// Zero, or the nearest value within the bounds.
    #[default]
    Zero,
    /// The value of the nearest pixel of the edge.
    Edge,
}

/// Shape of a patch.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum PatchShape {
    /// A square.
    #[default]
    Square,
    /// A circle.
    Round,
}

/// How many of the random placements of a patch must succeed.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum PlacementRule {
    /// More than half.
    #[default]
    Majority,
    /// At least one.
    Any,
    /// Every one.
    All,
}

/// A map from a few parameters to a changed input: the attacker chooses the parameters, each within a limit.
///
/// Written `NAME` or `NAME:FIELD=VALUE`:
///
/// ```
/// use proofmark_domain::{MapSpec, Padding};
/// let one: MapSpec = "spatial:degrees=30:shift=0.1".parse()?;
/// assert_eq!(one, MapSpec::Spatial { degrees: 30.0, shift: 0.1, padding: Padding::Zero });
/// assert_eq!(one.to_string(), "spatial:degrees=30:shift=0.1:padding=zero");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum MapSpec {
    /// `spatial`: rotation about the centre and translation of an image.
    Spatial {
        /// Largest angle in degrees, either way, 0 to 180; default 30.
        degrees: f64,
        /// Largest shift along each axis, either way, as a share of the image's height or width, 0 to 1; default 0.1.
        shift: f64,
        /// Values outside the image; default zero.
        padding: Padding,
    },
    /// `patch`: a patch of any content, pasted at random places.
    Patch {
        /// Area of the patch at scale 1, as a share of the image, above 0 and at most 1; default 0.05.
        share: f64,
        /// Its shape; default square.
        shape: PatchShape,
        /// Largest random angle in degrees, either way, 0 to 180; default 20.
        degrees: f64,
        /// Largest random scale, at least 1: sides are drawn from 1/scale to scale times those of `share`; default 1.2.
        scale: f64,
        /// Random placements that the judge draws, 1 to 1000; default 25.
        placements: u32,
        /// How many of them must succeed; default majority.
        rule: PlacementRule,
    },
}

impl MapSpec {
    const NAMES: [&str; 2] = ["spatial", "patch"];

    /// Returns the name of the map.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Spatial { .. } => "spatial",
            Self::Patch { .. } => "patch",
        }
    }
}

impl fmt::Display for MapSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spatial {
                degrees,
                shift,
                padding,
            } => write!(
                f,
                "spatial:degrees={degrees}:shift={shift}:padding={padding}"
            ),
            Self::Patch {
                share,
                shape,
                degrees,
                scale,
                placements,
                rule,
            } => write!(
                f,
                "patch:share={share}:shape={shape}:degrees={degrees}:scale={scale}:placements={placements}:rule={rule}"
            ),
        }
    }
}

/// Takes a field from the list, or its default.
fn take<T>(
    fields: &mut Vec<(&str, &str)>,
    name: &str,
    default: T,
    read: impl FnOnce(&str) -> Option<T>,
    expected: &str,
) -> Result<T, String> {
    let Some(at) = fields.iter().position(|(n, _)| *n == name) else {
        return Ok(default);
    };
    let (_, text) = fields.remove(at);
    read(text).ok_or_else(|| format!("{name}={text}; expected {expected}"))
}

fn number(text: &str, ok: impl FnOnce(f64) -> bool) -> Option<f64> {
    let value: f64 = text.trim().parse().ok()?;
    (value.is_finite() && ok(value)).then_some(value)
}

fn degrees(fields: &mut Vec<(&str, &str)>, default: f64) -> Result<f64, String> {
    let read = |t: &str| number(t, |v| (0.0..=180.0).contains(&v));
    take(fields, "degrees", default, read, "0 to 180")
}

/// Reads the fields of `spatial`.
fn spatial(fields: &mut Vec<(&str, &str)>) -> Result<MapSpec, String> {
    let degrees = degrees(fields, 30.0)?;
    let share = |t: &str| number(t, |v| (0.0..=1.0).contains(&v));
    let shift = take(fields, "shift", 0.1, share, "0 to 1")?;
    if degrees == 0.0 && shift == 0.0 {
        return Err("degrees=0 and shift=0 change nothing".into());
    }
    let padding = |t: &str| t.parse().ok();
    Ok(MapSpec::Spatial {
        degrees,
        shift,
        padding: take(fields, "padding", Padding::Zero, padding, "zero or edge")?,
    })
}

/// Reads the fields of `patch`.
fn patch(fields: &mut Vec<(&str, &str)>) -> Result<MapSpec, String> {
    let share = |t: &str| number(t, |v| v > 0.0 && v <= 1.0);
    let shape = |t: &str| t.parse().ok();
    let scale = |t: &str| number(t, |v| (1.0..=10.0).contains(&v));
    let placements = |t: &str| t.parse().ok().filter(|n| (1..=1000).contains(n));
    let rule = |t: &str| t.parse().ok();
    Ok(MapSpec::Patch {
        share: take(fields, "share", 0.05, share, "above 0 and at most 1")?,
        shape: take(
            fields,
            "shape",
            PatchShape::Square,
            shape,
            "square or round",
        )?,
        degrees: degrees(fields, 20.0)?,
        scale: take(fields, "scale", 1.2, scale, "1 to 10")?,
        placements: take(fields, "placements", 25, placements, "1 to 1000")?,
        rule: take(
            fields,
            "rule",
            PlacementRule::Majority,
            rule,
            "majority, any or all",
        )?,
    })
}

impl FromStr for MapSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.trim().split(':');
        let name = parts.next().unwrap_or_default();
        let mut fields = Vec::new();
        for part in parts {
            let Some((field, value)) = part.split_once('=') else {
                return Err(format!("`{part}`; expected FIELD=VALUE"));
            };
            if fields.iter().any(|(n, _)| *n == field) {
                return Err(format!("field `{field}` is given twice"));
            }
            fields.push((field, value));
        }
        let (spec, known): (Self, &[&str]) = match name {
            "spatial" => (spatial(&mut fields)?, &["degrees", "shift", "padding"]),
            "patch" => (
                patch(&mut fields)?,
                &["share", "shape", "degrees", "scale", "placements", "rule"],
            ),
            other => {
                return Err(format!(
                    "no map `{other}`{}; expected spatial or patch",
                    hint(other, Self::NAMES)
                ));
            }
        };
        if let Some((field, _)) = fields.first() {
            return Err(format!(
                "map {name} has no field `{field}`{}; it has {}",
                hint(field, known.iter().copied()),
                known.join(", ")
            ));
        }
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in [
            "spatial",
            "patch:shape=round:rule=all:placements=3",
            "spatial:padding=edge:shift=0",
        ] {
            let spec: MapSpec = text.parse().unwrap();
            assert_eq!(spec.to_string().parse(), Ok(spec));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_was_expected() {
        for (text, words) in [
            ("spatail", "did you mean `spatial`"),
            ("spatial:degree=3", "did you mean `degrees`"),
            ("spatial:degrees=181", "expected 0 to 180"),
            ("spatial:shift=NaN", "expected 0 to 1"),
            ("spatial:degrees=0:shift=0", "change nothing"),
            ("spatial:degrees", "expected FIELD=VALUE"),
            ("spatial:shift=0.1:shift=0.2", "given twice"),
            ("patch:share=0", "above 0"),
            ("patch:share=1.5", "at most 1"),
            ("patch:placements=0", "1 to 1000"),
            ("patch:rule=most", "majority, any or all"),
            ("patch:scale=0.5", "1 to 10"),
        ] {
            let told = text.parse::<MapSpec>().unwrap_err();
            assert!(told.contains(words), "{text}: {told}");
        }
    }
}
