use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use proofmark_data::{Arrays, Classes, Color, Images, Options, Units};
use proofmark_domain::{Bounds, Delimiter, DelimiterError, Kind};
use serde_json::Value;

use super::error::PolicyError;
use super::file::{Known, Named};
use super::reader::{Field, Section, hint};

/// Which data a check is about.
#[derive(Debug, Clone, PartialEq)]
pub enum DataRef {
    /// A set that ships with proofmark, by name.
    Shipped(String),
    /// A `[[data]]` of the policy.
    Entry(DataEntry),
}

impl DataRef {
    /// Its name in the policy and in reports.
    pub fn name(&self) -> &str {
        match self {
            Self::Shipped(name) => name,
            Self::Entry(entry) => &entry.name,
        }
    }
}

/// One `[[data]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct DataEntry {
    /// What checks call it.
    pub name: String,
    /// The file or folder, relative to the policy.
    pub path: String,
    /// The digest it must have, lowercase hex.
    pub sha256: Option<String>,
    /// A CSV file with further columns, relative to the policy.
    pub meta: Option<String>,
    /// How it is read; a file of labels is relative to the policy.
    pub options: Box<Options>,
    /// A seeded, class-stratified subset of this many samples.
    pub limit: Option<u64>,
    /// Rows as they stand, the last one not included.
    pub range: Option<Range<u64>>,
    /// Seed of the subset; absent means the policy's.
    pub seed: Option<u64>,
    /// What it says, but for its digest.
    pub(super) request: Value,
    /// Where it stands in the file.
    pub(super) span: Range<usize>,
}

pub(super) fn entry(field: &Field<'_>, known: &Known<'_>) -> Result<DataEntry, PolicyError> {
    let s = field.section(&[
        "name",
        "path",
        "sha256",
        "meta",
        "bounds",
        "units",
        "kind",
        "classes",
        "arrays",
        "labels_file",
        "label_column",
        "delimiter",
        "resize",
        "crop",
        "color",
        "limit",
        "range",
        "seed",
    ])?;
    let name = s.need("name")?;
    let text = name.text()?;
    if known.data.contains(&text.as_str()) {
        return Err(name.error(format!(
            "`{text}` is the name of a shipped set; choose another"
        )));
    }
    let limit = s.maybe("limit", |f| f.whole(1))?;
    let range = s.maybe("range", |f| {
        if limit.is_some() {
            Err(f.error("limit and range exclude each other"))
        } else {
            range(f)
        }
    })?;
    Ok(DataEntry {
        name: text,
        path: s.need("path")?.text()?,
        sha256: s.maybe("sha256", Field::sha256)?,
        meta: s.maybe("meta", Field::text)?,
        options: Box::new(options(&s)?),
        limit,
        range,
        seed: s.maybe("seed", |f| f.whole(0))?,
        request: s.request(&["sha256"])?,
        span: field.node.span(),
    })
}

fn options(s: &Section<'_>) -> Result<Options, PolicyError> {
    let mut options = Options {
        units: s.maybe("units", |f| {
            f.word(&[("raw", Units::Raw), ("scaled", Units::Scaled)])
        })?,
        classes: s.maybe("classes", classes)?,
        arrays: s.maybe("arrays", |f| {
            let names = strings(f)?;
            Arrays::named(names).map_err(|e| f.error(e))
        })?,
        labels: s.maybe("labels_file", Field::text)?.map(PathBuf::from),
        label_column: s.maybe("label_column", Field::text)?,
        delimiter: s.maybe("delimiter", delimiter)?.unwrap_or_default(),
        images: Images {
            color: s.maybe("color", |f| {
                f.word(&[("gray", Color::Gray), ("rgb", Color::Rgb)])
            })?,
            resize: s.maybe("resize", size)?,
            crop: s.maybe("crop", size)?,
        },
        ..Options::default()
    };
    if let Some(field) = s.get("bounds") {
        bounds(&field, &mut options)?;
    }
    if let Some(field) = s.get("kind") {
        kind(&field, &mut options)?;
    }
    Ok(options)
}

/// `"sorted"`, `"numeric"`, or a list of names, each with its index (`"cat=3"`) or none.
fn classes(field: &Field<'_>) -> Result<Classes, PolicyError> {
    if field.node.get_ref().is_array() {
        return Classes::listed(strings(field)?).map_err(|e| field.error(e));
    }
    field.word(&[("sorted", ()), ("numeric", ())])?;
    field.string()?.parse().map_err(|e: String| field.error(e))
}

/// `224`, `"224"` or `"240x320"`.
fn size<T: FromStr<Err = String>>(field: &Field<'_>) -> Result<T, PolicyError> {
    let text = match field.node.get_ref().as_str() {
        Some(text) => text.to_owned(),
        None => field.whole(1)?.to_string(),
    };
    text.parse().map_err(|e| field.error(e))
}

fn strings<'a>(field: &Field<'a>) -> Result<Vec<&'a str>, PolicyError> {
    field.items()?.iter().map(Field::string).collect()
}

/// `[low, high]`, or such a pair by the array's name.
fn bounds(field: &Field<'_>, options: &mut Options) -> Result<(), PolicyError> {
    if field.node.get_ref().is_array() {
        options.bounds = Some(pair(field)?);
        return Ok(());
    }
    let section = field.open_section()?;
    for name in section.table.keys() {
        let name = name.get_ref().to_string();
        let bounds = pair(&section.need(&name)?)?;
        options.array_bounds.insert(name, bounds);
    }
    if options.array_bounds.is_empty() {
        return Err(field.error("must not be empty"));
    }
    Ok(())
}

/// `"audio"`, or such a word by the array's name.
fn kind(field: &Field<'_>, options: &mut Options) -> Result<(), PolicyError> {
    let words = Kind::ALL.map(|k| (k.as_str(), k));
    if field.node.get_ref().is_str() {
        options.kind = Some(field.word(&words)?);
        return Ok(());
    }
    let section = field.open_section()?;
    for name in section.table.keys() {
        let name = name.get_ref().to_string();
        let kind = section.need(&name)?.word(&words)?;
        options.array_kinds.insert(name, kind);
    }
    if options.array_kinds.is_empty() {
        return Err(field.error("must not be empty"));
    }
    Ok(())
}

fn pair(field: &Field<'_>) -> Result<Bounds, PolicyError> {
    match field.items()?.as_slice() {
        [low, high] => Bounds::uniform(low.number()? as f32, high.number()? as f32)
            .map_err(|e| field.error(e.to_string())),
        items => Err(field.error(format!(
            "expected two numbers, [low, high], found {}",
            items.len()
        ))),
    }
}

fn range(field: &Field<'_>) -> Result<Range<u64>, PolicyError> {
    let text = field.string()?;
    text.split_once("..")
        .and_then(|(a, b)| Some(a.trim().parse().ok()?..b.trim().parse().ok()?))
        .filter(|r: &Range<u64>| r.start < r.end)
        .ok_or_else(|| {
            field.error(format!(
                "`{text}` is no range; expected \"A..B\" with A below B, such as \"0..500\""
            ))
        })
}

/// What stands between the cells of a CSV.
pub(crate) fn delimiter(field: &Field<'_>) -> Result<Delimiter, PolicyError> {
    let text = field.string()?.parse();
    text.map_err(|e: DelimiterError| field.error(e.to_string()))
}

/// Finds the data a check names.
pub(crate) fn find(field: &Field<'_>, named: &Named<'_>) -> Result<DataRef, PolicyError> {
    let (entries, known) = (named.data, named.known);
    let name = field.string()?;
    if let Some(entry) = entries.iter().find(|e| e.name == name) {
        return Ok(DataRef::Entry(entry.clone()));
    }
    if known.data.contains(&name) {
        return Ok(DataRef::Shipped(name.to_owned()));
    }
    let names: Vec<&str> = entries
        .iter()
        .map(|e| e.name.as_str())
        .chain(known.data.iter().copied())
        .collect();
    Err(field.error(format!(
        "no [[data]] is called `{name}`{}, and no shipped set",
        hint(name, &names)
    )))
}
