use std::ops::Range;

use proofmark_data::Options;
use proofmark_domain::option::Options as _;
use serde_json::Value;

use super::error::PolicyError;
use super::file::{Known, Named};
use super::reader::{Field, hint};

/// The data set of a check.
#[derive(Debug, Clone, PartialEq)]
pub enum DataRef {
    /// A data set that ships with proofmark, by name.
    Shipped(String),
    /// A `[[data]]` entry of the policy.
    Entry(DataEntry),
}

impl DataRef {
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

/// One `[[data]]` entry.
#[derive(Debug, Clone, PartialEq)]
pub struct DataEntry {
    /// Name that checks refer to.
    pub name: String,
    /// File or folder, relative to the policy.
    pub path: String,
    /// Required SHA-256 digest, lowercase hex.
    pub sha256: Option<String>,
    /// A CSV file with further columns, relative to the policy.
    pub meta: Option<String>,
    /// How the data is read; a file of labels is relative to the policy.
    pub options: Box<Options>,
    /// Size of a seeded, class-stratified subset.
    pub limit: Option<u64>,
    /// Range of rows in file order, end excluded.
    pub range: Option<Range<u64>>,
    /// Seed of the subset; the policy's seed if absent.
    pub seed: Option<u64>,
    /// Its fields, without the digest.
    pub(super) request: Value,
    /// Byte range in the file.
    pub(super) span: Range<usize>,
}

/// Fields of a `[[data]]` entry, besides the reading options of every data set.
const FIELDS: [&str; 7] = ["name", "path", "sha256", "meta", "limit", "range", "seed"];

pub(super) fn entry(field: &Field<'_>, known: &Known<'_>) -> Result<DataEntry, PolicyError> {
    let s = field.open_section()?;
    let options = Options::ALL.iter().map(|o| o.name);
    s.only(&FIELDS.into_iter().chain(options).collect::<Vec<_>>())?;
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
        options: Box::new(s.options()?),
        limit,
        range,
        seed: s.maybe("seed", |f| f.whole(0))?,
        request: s.request(&["sha256"])?,
        span: field.node.span(),
    })
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

/// Finds the data set that a check names.
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
