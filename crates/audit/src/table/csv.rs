//! CSV, streamed: a row is read, what is asked for is kept as numbers, and the row is forgotten.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::field::Field;
use super::load::Loader;
use super::{Options, Table};
use crate::AuditError;

impl Table {
    /// Reads a CSV file: a header row unless the options name the columns, then one person per row.
    pub fn csv(path: &Path, options: &Options) -> Result<Self, AuditError> {
        let file = path.display().to_string();
        let open = File::open(path).map_err(|source| AuditError::Read {
            file: file.clone(),
            source,
        })?;
        Self::csv_from(BufReader::with_capacity(1 << 16, open), &file, options)
    }

    /// The same from anything that can be read; `name` is for messages.
    ///
    /// ```
    /// use proofmark_audit::{Options, Table};
    /// let text = "sex,hired\nf,1\nm,0\n";
    /// let options = Options {
    ///     decision: Some("hired".to_owned()),
    ///     groups: vec!["sex".to_owned()],
    ///     ..Options::default()
    /// };
    /// assert_eq!(Table::csv_from(text.as_bytes(), "t.csv", &options)?.rows(), 2);
    /// # Ok::<(), proofmark_audit::AuditError>(())
    /// ```
    pub fn csv_from(from: impl Read, name: &str, options: &Options) -> Result<Self, AuditError> {
        // Flexible, so that a ragged line is ours to report, with its number.
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(options.delimiter)
            .from_reader(from);
        let mut record = StringRecord::new();
        let mut next =
            |record: &mut StringRecord| reader.read_record(record).map_err(|e| failure(name, e));
        let headed = options.columns.is_empty();
        let names = if headed {
            if !next(&mut record)? {
                return Err(AuditError::Empty {
                    file: name.to_owned(),
                    problem: "holds nothing; expected a header and rows".to_owned(),
                });
            }
            header(name, &record)?
        } else {
            options.columns.clone()
        };
        let mut loader = Loader::new(name, "line", &names, options)?;
        while next(&mut record)? {
            let line = record.position().map_or(0, csv::Position::line);
            if record.len() != names.len() {
                let like = if headed {
                    "as the header"
                } else {
                    "as columns were named"
                };
                return Err(AuditError::Line {
                    file: name.to_owned(),
                    line,
                    problem: format!(
                        "has {} cells; expected {}, {like}",
                        record.len(),
                        names.len()
                    ),
                });
            }
            loader.push(line, |place| Field::Text(record[place].trim()))?;
        }
        loader.finish()
    }
}

fn header(file: &str, record: &StringRecord) -> Result<Vec<String>, AuditError> {
    let clean = |n: &str| n.trim_start_matches('\u{feff}').trim().to_owned();
    let names: Vec<String> = record.iter().map(clean).collect();
    if names.iter().all(|n| n.parse::<f64>().is_ok()) {
        return Err(AuditError::Header {
            file: file.to_owned(),
            problem: "holds only numbers; expected the names of the columns: name them if the file has no header"
                .to_owned(),
        });
    }
    Ok(names)
}

fn failure(file: &str, error: csv::Error) -> AuditError {
    let line = error.position().map_or(0, csv::Position::line);
    let file = file.to_owned();
    match error.into_kind() {
        ErrorKind::Io(source) => AuditError::Read { file, source },
        ErrorKind::Utf8 { err, .. } => AuditError::Line {
            file,
            line,
            problem: format!(
                "is not UTF-8 in cell {}; expected UTF-8 text",
                err.field() + 1
            ),
        },
        other => AuditError::Line {
            file,
            line,
            problem: format!("{other:?}"),
        },
    }
}
