//! CSV: a header row, then one sample per line.
//!
//! The column `label` or `y` (or the one named) holds labels (numbers, also in `target` or in several columns, if the
//! outputs are not classes), `id` holds ids, and all others are the features of one table called `x`, in order.

use std::collections::HashSet;

use proofmark_domain::{Bounds, Kind, Modality, ReadFacts, SampleId, nearest};

use crate::dataset::Parts;
use crate::labels::{Label, resolve};
use crate::number::expected_number;
use crate::records::refuse_packed;
use crate::source::Source;
use crate::units::range;
use crate::{Column, DataError, Dataset, Options, Records, Units, targets, units};

pub(crate) fn read(source: &Source, options: &Options) -> Result<Dataset, DataError> {
    refuse_packed(&source.file, &source.bytes)?;
    let mut records = Records::headed(source.bytes.as_slice(), &source.file, options.delimiter)?;
    let columns = Columns::find(source, records.names(), options)?;
    let (mut values, mut labels, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lines, mut of_targets) = (Vec::new(), Vec::new());
    while let Some((line, record)) = records.next_record()? {
        let wrong = |column: usize, expected: &str| DataError::Value {
            file: source.file.clone(),
            at: format!("`{}`, line {line}", columns.names[column]),
            value: match record[column].trim() {
                "" => "an empty cell".to_owned(),
                text => format!("`{text}`"),
            },
            expected: expected.to_owned(),
        };
        for column in &columns.features {
            let cell = &record[*column];
            let value: f32 = cell
                .trim()
                .parse()
                .map_err(|_| wrong(*column, &expected_number(cell, "a number")))?;
            values.push(value);
        }
        for column in &columns.targets {
            let cell = &record[*column];
            let value = cell.trim().parse::<f64>().ok();
            let expected = targets::describe(options.outputs);
            let value = value.filter(|v| targets::expected(options.outputs, *v));
            let value = value.ok_or_else(|| wrong(*column, &expected_number(cell, expected)))?;
            of_targets.push(value);
        }
        if let Some(column) = columns.label {
            labels.push(Label::of_text(&record[column]));
        }
        if let Some(column) = columns.id {
            let id = record[column].trim();
            if id.is_empty() {
                return Err(wrong(column, "an id"));
            }
            ids.push(id.to_owned());
        }
        lines.push(line);
    }

    let place = |row: usize, feature: usize| {
        let name = &columns.names[columns.features[feature]];
        format!("`{name}`, line {}", lines[row])
    };
    let bytes = |v: &f32| (0.0..=255.0).contains(v) && v.fract() == 0.0;
    let (bounds, units) = if options.units == Some(Units::Scaled) {
        if let Some(at) = values.iter().position(|v| !bytes(v)) {
            return Err(DataError::Value {
                file: source.file.clone(),
                at: place(at / columns.features.len(), at % columns.features.len()),
                value: values[at].to_string(),
                expected: "a whole number from 0 to 255, which `--units scaled` divides by 255"
                    .to_owned(),
            });
        }
        for value in &mut values {
            *value /= 255.0;
        }
        (stated_or_unit(source, options)?, "whole numbers / 255")
    } else {
        (stated(source, options, &values)?, "numbers as written")
    };
    let hint = if options.units.is_none() && values.iter().all(bytes) {
        "; `--units scaled` divides whole numbers from 0 to 255 by 255"
    } else {
        ""
    };
    let modality = Modality {
        name: "x".to_owned(),
        kind: Kind::Table,
        shape: vec![columns.features.len()],
        bounds,
    };
    let table = Column::checked(&source.file, modality, values, place, hint)?;
    let mut reading = ReadFacts::of("x", units);
    reading.notes.extend(records.notes());
    if columns.label.is_none() && columns.targets.is_empty() {
        reading.notes.push(format!(
            "no column is called `label` or `y`: all {} are features; `--label-column COL` names the one with labels",
            columns.features.len()
        ));
    }
    let labels = columns.label.map(|column| {
        let place = |row: usize| format!("`{}`, line {}", columns.names[column], lines[row]);
        let classes = options.classes.as_ref();
        resolve(&source.file, &labels, &place, classes, &mut reading)
    });
    let labels = labels.transpose()?;
    let width = columns.targets.len();
    let parts = Parts {
        targets: (width > 0)
            .then(|| targets::of_cells(of_targets, width))
            .flatten(),
        ids: columns.id.map(|_| sample_ids(ids)),
        ..Parts::of_one(&source.name, &[&source.bytes], table, labels, reading)
    };
    Dataset::assemble(&source.file, parts)
}

/// Returns the stated bounds of the features, or unlimited ones if `options.unbounded`; an error if there are neither.
fn stated(source: &Source, options: &Options, values: &[f32]) -> Result<Bounds, DataError> {
    // Before anything is said of a range that no number has.
    if values.is_empty() {
        return Err(DataError::Empty {
            file: source.file.clone(),
        });
    }
    let none = options.unbounded.then_some(units::any());
    options
        .bounds_of("x")
        .or(none)
        .ok_or_else(|| DataError::NoBounds {
            file: source.file.clone(),
            array: "x".to_owned(),
            values: format!("numbers {}", range(values)),
            also: "",
        })
}

/// Returns [0, 1]; stated bounds must be equal to it.
fn stated_or_unit(source: &Source, options: &Options) -> Result<Bounds, DataError> {
    let unit = Bounds::uniform(0.0, 1.0).map_err(|e| DataError::Bounds {
        file: source.file.clone(),
        source: e,
    })?;
    match options.bounds_of("x") {
        Some(stated) if stated != unit => Err(DataError::BoundsFit {
            file: source.file.clone(),
            array: "x".to_owned(),
            problem: format!(
                "begin {},{}, but `--units scaled` makes them 0,1; leave one of them out",
                stated.low(0),
                stated.high(0)
            ),
        }),
        _ => Ok(unit),
    }
}

/// Returns numbers if every text is a number in canonical form, else names.
fn sample_ids(texts: Vec<String>) -> Vec<SampleId> {
    let number = |text: &String| text.parse().ok().filter(|n: &u64| n.to_string() == *text);
    let numbers: Option<Vec<u64>> = texts.iter().map(number).collect();
    match numbers {
        Some(numbers) => numbers.into_iter().map(SampleId::Row).collect(),
        None => texts.into_iter().map(SampleId::Name).collect(),
    }
}

/// Role of each column of the table.
struct Columns {
    names: Vec<String>,
    label: Option<usize>,
    /// Columns of targets, if the outputs are not classes.
    targets: Vec<usize>,
    id: Option<usize>,
    features: Vec<usize>,
}

impl Columns {
    fn find(source: &Source, header: &[String], options: &Options) -> Result<Self, DataError> {
        let names = header.to_vec();
        let bad = |problem: String| source.corrupt("header", problem);
        if names.iter().all(|n| n.parse::<f64>().is_ok()) && !names.is_empty() {
            return Err(bad(
                "holds only numbers; expected the names of the columns".to_owned()
            ));
        }
        if let Some(at) = names.iter().position(String::is_empty)
            && names.len() > 1
        {
            return Err(bad(format!(
                "has no name for column {}; name it, or leave it out (pandas writes its index so: `to_csv(index=False)` does not)",
                at + 1
            )));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|n| !seen.insert(n.as_str())) {
            return Err(bad(format!(
                "names `{twice}` twice; expected distinct names"
            )));
        }
        let place = |name: &str| names.iter().position(|n| n == name);
        let missing = |name: &str| DataError::Missing {
            file: source.file.clone(),
            what: format!("column `{name}`"),
            has: nearest(name, names.iter().map(String::as_str)).map_or_else(
                || format!("{} others", names.len()),
                |n| format!("`{n}`; is that the one?"),
            ),
        };
        let by_name = match (place("label"), place("y")) {
            (Some(_), Some(_)) => Err(bad(
                "has both `label` and `y`; expected one, or the name of the label column"
                    .to_owned(),
            )),
            (label, y) => Ok(label.or(y)),
        };
        let is_classes = options.outputs.is_classes();
        let (label, targets) = match &options.label_column {
            Some(name) if is_classes => {
                (Some(place(name).ok_or_else(|| missing(name))?), Vec::new())
            }
            None if is_classes => (by_name?, Vec::new()),
            // A name may hold a comma.
            Some(name) if place(name).is_some() => (None, place(name).into_iter().collect()),
            Some(list) => {
                let each = list.split(',').map(str::trim);
                let each = each.map(|name| place(name).ok_or_else(|| missing(name)));
                (None, each.collect::<Result<Vec<usize>, _>>()?)
            }
            None => (
                None,
                by_name?.or_else(|| place("target")).into_iter().collect(),
            ),
        };
        let mut distinct = HashSet::new();
        if let Some(twice) = targets.iter().find(|t| !distinct.insert(**t)) {
            return Err(bad(format!(
                "`{}` is named twice as a column of targets; expected distinct columns",
                names[*twice]
            )));
        }
        let id = place("id").filter(|id| Some(*id) != label && !targets.contains(id));
        let features: Vec<usize> = (0..names.len())
            .filter(|column| {
                Some(*column) != label && Some(*column) != id && !targets.contains(column)
            })
            .collect();
        if features.is_empty() {
            return Err(DataError::Missing {
                file: source.file.clone(),
                what: "column of features".to_owned(),
                has: match names.len() {
                    0 => "no header row".to_owned(),
                    _ => format!("`{}`", names.join("`, `")),
                },
            });
        }
        Ok(Self {
            names,
            label,
            targets,
            id,
            features,
        })
    }
}
