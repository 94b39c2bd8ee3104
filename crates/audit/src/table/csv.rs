//! Streamed CSV: each row is read, its requested values are kept as numbers, and the row is discarded.

use std::io::Read;
use std::path::Path;

use proofmark_data::{DataError, Records, stream};

use super::field::Field;
use super::load::Loader;
use super::{Options, Table};
use crate::AuditError;

impl Table {
    /// Reads a CSV file: a header row unless the options name the columns, then one person per row.
    pub fn csv(path: &Path, options: &Options) -> Result<Self, AuditError> {
        Self::csv_from(stream(path)?, &path.display().to_string(), options)
    }

    /// Reads a CSV from any reader; `name` appears in messages.
    ///
    /// ```
    /// use proofmark_audit::{Options, Table};
    /// let text = "sex,hired\nf,1\nm,0\n";
    /// let mut options = Options::default();
    /// options.decision = Some("hired".to_owned());
    /// options.groups = vec!["sex".to_owned()];
    /// assert_eq!(Table::csv_from(text.as_bytes(), "t.csv", &options)?.rows(), 2);
    /// # Ok::<(), proofmark_audit::AuditError>(())
    /// ```
    pub fn csv_from(from: impl Read, name: &str, options: &Options) -> Result<Self, AuditError> {
        let mut records = if options.columns.is_empty() {
            let records = Records::headed(from, name, options.delimiter)?;
            check_header(name, records.names())?;
            records
        } else {
            Records::named(from, name, options.delimiter, &options.columns)
        };
        let mut loader = Loader::new(name, "line", records.names(), options)?;
        while let Some((line, record)) = records.next_record()? {
            loader.push(line, |place| Field::Text(record[place].trim()))?;
        }
        let mut table = loader.finish()?;
        table.notes = records.notes();
        Ok(table)
    }
}

fn check_header(file: &str, names: &[String]) -> Result<(), AuditError> {
    if names.is_empty() {
        return Err(AuditError::Empty {
            file: file.to_owned(),
            problem: "holds nothing; expected a header and rows".to_owned(),
        });
    }
    if names.iter().all(|n| n.parse::<f64>().is_ok()) {
        return Err(AuditError::Data(DataError::Corrupt {
            file: file.to_owned(),
            part: "header".to_owned(),
            problem: "holds only numbers; expected the names of the columns: name them if the file has no header (`--columns`)"
                .to_owned(),
        }));
    }
    Ok(())
}
