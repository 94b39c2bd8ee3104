//! npz files: one array per column, all of the same length.

use std::path::Path;

use proofmark_data::DataError;
use proofmark_data::ndarray::{ArrayD, Axis};
use proofmark_data::npz::{AnyArray, GROUP, arrays};

use super::field::Field;
use super::load::Loader;
use super::{Options, Table};
use crate::AuditError;

/// A column that is read cell by cell.
enum Column {
    Numbers(Vec<f64>),
    Flags(Vec<bool>),
    Texts(Vec<String>),
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(v) => v.len(),
            Self::Flags(v) => v.len(),
            Self::Texts(v) => v.len(),
        }
    }

    fn field(&self, row: usize) -> Field<'_> {
        match self {
            Self::Numbers(v) => Field::Number(v[row]),
            Self::Flags(v) => Field::Flag(v[row]),
            Self::Texts(v) => Field::Text(v[row].trim()),
        }
    }
}

impl Table {
    /// Reads an npz file: arrays with one axis are columns. An array with two axes may be named as a feature; each of
    /// its columns becomes one feature.
    pub fn npz(path: &Path, options: &Options) -> Result<Self, AuditError> {
        let file = path.display().to_string();
        let mut options = options.clone();
        let (mut names, mut columns) = (Vec::new(), Vec::new());
        let mut others: Vec<(String, Vec<usize>)> = Vec::new();
        for (name, array) in arrays(path)? {
            if array.shape().len() == 1 {
                names.push(name);
                columns.push(column(&array));
            } else if let Some(at) = options.features.iter().position(|f| *f == name)
                && array.shape().len() == 2
            {
                let (own, split) = split(&name, &array);
                options.features.splice(at..=at, own.clone());
                names.extend(own);
                columns.extend(split);
            } else {
                others.push((name, array.shape().to_vec()));
            }
        }
        // Data sets name their groups `group_sex`; either name works.
        for name in &options.groups {
            let long = format!("{GROUP}{name}");
            if !names.contains(name)
                && let Some(at) = names.iter().position(|n| *n == long)
            {
                names[at].clone_from(name);
            }
        }
        let loader = Loader::new(&file, "row", &names, &options);
        let mut loader = loader.map_err(|error| wrong_shape(error, &others))?;
        let places = loader.places();
        let rows = places.first().map_or(0, |p| columns[*p].len());
        if let Some(other) = places.iter().find(|p| columns[**p].len() != rows) {
            return Err(AuditError::Data(DataError::Length {
                first: names[places[0]].clone(),
                first_len: rows,
                second: names[*other].clone(),
                second_len: columns[*other].len(),
                file,
            }));
        }
        for row in 0..rows {
            loader.push(row as u64, |place| columns[place].field(row))?;
        }
        loader.finish()
    }
}

/// Replaces the error for an unknown column if the file has an array of that name with the wrong shape.
fn wrong_shape(error: AuditError, others: &[(String, Vec<usize>)]) -> AuditError {
    match error {
        AuditError::Column { file, name, hint } => match others.iter().find(|o| o.0 == name) {
            None => AuditError::Column { file, name, hint },
            Some((_, shape)) => AuditError::Data(DataError::Shape {
                file,
                array: name,
                shape: shape.clone(),
                expected: "one axis, a value per row".to_owned(),
            }),
        },
        other => other,
    }
}

fn numbers(array: &AnyArray) -> Option<ArrayD<f64>> {
    Some(match array {
        AnyArray::I8(a) => a.mapv(f64::from),
        AnyArray::I16(a) => a.mapv(f64::from),
        AnyArray::I32(a) => a.mapv(f64::from),
        AnyArray::I64(a) => a.mapv(|v| v as f64),
        AnyArray::U8(a) => a.mapv(f64::from),
        AnyArray::U16(a) => a.mapv(f64::from),
        AnyArray::U32(a) => a.mapv(f64::from),
        AnyArray::U64(a) => a.mapv(|v| v as f64),
        AnyArray::F16(a) => a.mapv(f64::from),
        AnyArray::F32(a) => a.mapv(f64::from),
        AnyArray::F64(a) => a.clone(),
        AnyArray::Bool(_) | AnyArray::Text(_) => return None,
    })
}

fn column(array: &AnyArray) -> Column {
    match array {
        AnyArray::Bool(a) => Column::Flags(a.iter().copied().collect()),
        AnyArray::Text(a) => Column::Texts(a.iter().cloned().collect()),
        // Integers that a double cannot hold exactly are read as names.
        AnyArray::I64(a) if a.iter().any(|v| v.unsigned_abs() > 1 << 53) => {
            Column::Texts(a.iter().map(ToString::to_string).collect())
        }
        AnyArray::U64(a) if a.iter().any(|v| *v > 1 << 53) => {
            Column::Texts(a.iter().map(ToString::to_string).collect())
        }
        other => {
            Column::Numbers(numbers(other).map_or_else(Vec::new, |a| a.iter().copied().collect()))
        }
    }
}

fn split(name: &str, array: &AnyArray) -> (Vec<String>, Vec<Column>) {
    let Some(array) = numbers(array) else {
        return (Vec::new(), Vec::new());
    };
    array
        .axis_iter(Axis(1))
        .enumerate()
        .map(|(at, c)| {
            (
                format!("{name}[{at}]"),
                Column::Numbers(c.iter().copied().collect()),
            )
        })
        .unzip()
}
