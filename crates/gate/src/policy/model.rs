use proofmark_domain::OutputKind;
use serde_json::Value;

use super::error::PolicyError;
use super::file::{Known, Named};
use super::reader::{Field, hint};

/// The model of a check.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelRef {
    /// A model that ships with proofmark, by name.
    Shipped(String),
    /// A `[[model]]` entry of the policy.
    Entry(ModelEntry),
}

impl ModelRef {
    /// Returns its name in the policy and in reports.
    pub fn name(&self) -> &str {
        match self {
            Self::Shipped(name) => name,
            Self::Entry(entry) => &entry.name,
        }
    }

    /// Returns the digest that the policy states for it.
    pub fn sha256(&self) -> Option<&str> {
        match self {
            Self::Shipped(_) => None,
            Self::Entry(entry) => entry.sha256.as_deref(),
        }
    }
}

/// One `[[model]]` entry.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelEntry {
    /// Name that checks refer to.
    pub name: String,
    /// Path of the file, relative to the policy.
    pub path: String,
    /// Required SHA-256 digest, lowercase hex.
    pub sha256: Option<String>,
    /// Conversion from data units to model input.
    pub preprocess: Preprocess,
    /// Kind of its outputs.
    pub output: OutputKind,
    /// Name of the output (or inner value) that holds the scores; the first output if absent.
    pub output_name: Option<String>,
    /// Image layout of its inputs; taken from its declared shape if absent.
    pub layout: Option<Layout>,
    /// Inputs held constant, each filled with one number.
    pub fix: Vec<(String, f64)>,
    /// Its fields, without the digest.
    pub(super) request: Value,
}

/// Order of an image's axes in a model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[c, h, w]`.
    Nchw,
    /// `[h, w, c]`.
    Nhwc,
}

/// Conversion from data units to model input: `(x * scale - mean) / std`, per channel.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Preprocess {
    /// Factor; 1 if absent.
    pub scale: Option<f64>,
    /// Values to subtract: one for all channels or one per channel; 0 if empty.
    pub mean: Vec<f64>,
    /// Values to divide by: one for all channels or one per channel; 1 if empty.
    pub std: Vec<f64>,
}

pub(super) fn entry(field: &Field<'_>, known: &Known<'_>) -> Result<ModelEntry, PolicyError> {
    let s = field.section(&[
        "name",
        "path",
        "sha256",
        "preprocess",
        "output",
        "output_name",
        "layout",
        "fix",
    ])?;
    let name = s.need("name")?;
    let text = name.text()?;
    if known.models.contains(&text.as_str()) {
        return Err(name.error(format!(
            "`{text}` is the name of a shipped model; choose another"
        )));
    }
    Ok(ModelEntry {
        name: text,
        path: s.need("path")?.text()?,
        sha256: s.maybe("sha256", Field::sha256)?,
        preprocess: s.maybe("preprocess", preprocess)?.unwrap_or_default(),
        output: s
            .maybe("output", |f| {
                f.word(&OutputKind::ALL.map(|kind| (kind.as_str(), kind)))
            })?
            .unwrap_or_default(),
        output_name: s.maybe("output_name", Field::text)?,
        layout: s.maybe("layout", |f| {
            f.word(&[("nchw", Layout::Nchw), ("nhwc", Layout::Nhwc)])
        })?,
        fix: s.maybe("fix", fixed)?.unwrap_or_default(),
        request: s.request(&["sha256"])?,
    })
}

fn fixed(field: &Field<'_>) -> Result<Vec<(String, f64)>, PolicyError> {
    let section = field.open_section()?;
    section
        .table
        .keys()
        .map(|key| {
            let name = key.get_ref().to_string();
            let number = section.need(&name)?.number()?;
            Ok((name, number))
        })
        .collect()
}

fn preprocess(field: &Field<'_>) -> Result<Preprocess, PolicyError> {
    let s = field.section(&["scale", "mean", "std"])?;
    let nonzero = |f: &Field<'_>| match f.number()? {
        0.0 => Err(f.error("must not be 0")),
        x => Ok(x),
    };
    let positive = |f: &Field<'_>| match f.number()? {
        x if x > 0.0 => Ok(x),
        x => Err(f.error(format!("expected a number above 0, found {x}"))),
    };
    let scale = s.maybe("scale", nonzero)?;
    let mean = s
        .maybe("mean", |f| channels(f, Field::number))?
        .unwrap_or_default();
    let std = s
        .maybe("std", |f| channels(f, positive))?
        .unwrap_or_default();
    if mean.len() > 1 && std.len() > 1 && mean.len() != std.len() {
        return Err(s.error(format!(
            "mean has {} values and std {}; expected as many of each",
            mean.len(),
            std.len()
        )));
    }
    Ok(Preprocess { scale, mean, std })
}

/// Reads one number for all channels, or a list with one per channel.
fn channels<'a>(
    field: &Field<'a>,
    read: impl Fn(&Field<'a>) -> Result<f64, PolicyError>,
) -> Result<Vec<f64>, PolicyError> {
    if !field.node.get_ref().is_array() {
        return Ok(vec![read(field)?]);
    }
    let items = field.items()?;
    if items.is_empty() {
        return Err(field.error("must not be empty"));
    }
    items.iter().map(read).collect()
}

/// Finds the model that a check names.
pub(crate) fn find(field: &Field<'_>, named: &Named<'_>) -> Result<ModelRef, PolicyError> {
    let (entries, known) = (named.models, named.known);
    let name = field.string()?;
    if let Some(entry) = entries.iter().find(|e| e.name == name) {
        return Ok(ModelRef::Entry(entry.clone()));
    }
    if known.models.contains(&name) {
        return Ok(ModelRef::Shipped(name.to_owned()));
    }
    let names: Vec<&str> = entries
        .iter()
        .map(|e| e.name.as_str())
        .chain(known.models.iter().copied())
        .collect();
    Err(field.error(format!(
        "no [[model]] is called `{name}`{}, and no shipped one",
        hint(name, &names)
    )))
}
