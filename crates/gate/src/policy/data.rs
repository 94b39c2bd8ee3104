use std::ops::Range;

use proofmark_domain::Bounds;

use super::error::PolicyError;
use super::file::Known;
use super::reader::{Field, hint};

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
    /// The values features may take, for float data that do not say so themselves.
    pub bounds: Option<DataBounds>,
    /// A seeded, class-stratified subset of this many samples.
    pub limit: Option<u64>,
    /// Rows as they stand, the last one not included.
    pub range: Option<Range<u64>>,
    /// Seed of the subset; absent means the policy's.
    pub seed: Option<u64>,
    /// Where it stands in the file.
    pub(super) span: Range<usize>,
}

/// The bounds a policy states.
#[derive(Debug, Clone, PartialEq)]
pub enum DataBounds {
    /// The same for every modality.
    All(Bounds),
    /// By modality name.
    PerModality(Vec<(String, Bounds)>),
}

pub(super) fn entry(field: &Field<'_>, known: &Known<'_>) -> Result<DataEntry, PolicyError> {
    let s = field.section(&[
        "name", "path", "sha256", "meta", "bounds", "limit", "range", "seed",
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
        bounds: s.maybe("bounds", bounds)?,
        limit,
        range,
        seed: s.maybe("seed", |f| f.whole(0))?,
        span: field.node.span(),
    })
}

fn bounds(field: &Field<'_>) -> Result<DataBounds, PolicyError> {
    if field.node.get_ref().is_array() {
        return Ok(DataBounds::All(pair(field)?));
    }
    let section = field.open_section()?;
    let mut all = Vec::new();
    for name in section.table.keys() {
        let name = name.get_ref().to_string();
        let bounds = pair(&section.need(&name)?)?;
        all.push((name, bounds));
    }
    if all.is_empty() {
        Err(field.error("must not be empty"))
    } else {
        Ok(DataBounds::PerModality(all))
    }
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

/// Finds the data a check names.
pub(super) fn find(
    field: &Field<'_>,
    entries: &[DataEntry],
    known: &Known<'_>,
) -> Result<DataRef, PolicyError> {
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
