//! Streams a CSV one record at a time, each with its line.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};
use proofmark_domain::Delimiter;

use crate::DataError;
use crate::quotes::Quotes;
use crate::source::refuse_pointer;

/// Records of a CSV: UTF-8, each as long as the header (or the names given in its place), every quote closed.
///
/// ```
/// use proofmark_data::{Delimiter, Records};
/// let mut records = Records::headed("sex, age\nf,\"3\"\n".as_bytes(), "t.csv", Delimiter::COMMA)?;
/// assert_eq!(records.names(), ["sex", "age"]);
/// while let Some((line, record)) = records.next_record()? {
///     assert_eq!((line, &record[1]), (2, "3"));
/// }
/// # Ok::<(), proofmark_data::DataError>(())
/// ```
pub struct Records<R> {
    file: String,
    reader: Reader<Quotes<R>>,
    delimiter: Delimiter,
    record: StringRecord,
    names: Vec<String>,
    headed: bool,
}

impl<R> std::fmt::Debug for Records<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("file", &self.file)
            .field("delimiter", &self.delimiter)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Records<R> {
    /// Reads the names of the columns from the first record; an empty file has no names. `file` is for messages.
    pub fn headed(from: R, file: &str, delimiter: Delimiter) -> Result<Self, DataError> {
        let mut records = Self::new(from, file, delimiter);
        if records.read()? {
            let clean = |n: &str| n.trim_start_matches('\u{feff}').trim().to_owned();
            records.names = records.record.iter().map(clean).collect();
            if let ([only], Some(hint)) = (records.names.as_slice(), records.other_delimiter()) {
                return Err(DataError::Corrupt {
                    file: file.to_owned(),
                    part: "header".to_owned(),
                    problem: format!("is one column, `{only}`; {hint}"),
                });
            }
        }
        Ok(records)
    }

    /// Treats every record as data, with these names of the columns.
    pub fn named(from: R, file: &str, delimiter: Delimiter, names: &[String]) -> Self {
        let mut records = Self::new(from, file, delimiter);
        (records.names, records.headed) = (names.to_vec(), false);
        records
    }

    fn new(from: R, file: &str, delimiter: Delimiter) -> Self {
        // Flexible, so that ragged lines are reported here, with their line number.
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter.byte())
            .from_reader(Quotes::new(from, delimiter));
        Self {
            file: file.to_owned(),
            reader,
            delimiter,
            record: StringRecord::new(),
            names: Vec::new(),
            headed: true,
        }
    }

    /// Returns the names of the columns, without spaces around them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns notes on what looks wrong so far but is not an error: cells that span an unlikely number of lines.
    pub fn notes(&self) -> Vec<String> {
        self.reader.get_ref().notes()
    }

    /// Returns the next record and the line it begins on, from 1. It has as many cells as there are names, with the
    /// spaces around them.
    pub fn next_record(&mut self) -> Result<Option<(u64, &StringRecord)>, DataError> {
        if !self.read()? {
            return Ok(None);
        }
        let line = self.line();
        if self.record.len() != self.names.len() {
            let like = if self.headed {
                "as the header"
            } else {
                "as columns were named"
            };
            let hint = match (self.record.len(), self.other_delimiter()) {
                (1, Some(hint)) => format!("; {hint}"),
                _ => String::new(),
            };
            return Err(DataError::Corrupt {
                file: self.file.clone(),
                part: format!("line {line}"),
                problem: format!(
                    "has {} cells; expected {}, {like}{hint}",
                    self.record.len(),
                    self.names.len()
                ),
            });
        }
        Ok(Some((line, &self.record)))
    }

    /// Reads a record; `false` at the end. Faults of quotes come first: such a record may be the rest of the file.
    fn read(&mut self) -> Result<bool, DataError> {
        let read = self.reader.read_record(&mut self.record);
        match self.reader.get_ref().fault() {
            Some(fault) => Err(DataError::Corrupt {
                file: self.file.clone(),
                part: format!("line {}", fault.line),
                problem: fault.problem,
            }),
            None => read.map_err(|e| {
                let line = self.line();
                failure(&self.file, line, e)
            }),
        }
    }

    /// Returns the line on which the last record begins.
    fn line(&mut self) -> u64 {
        let last = self.reader.position().byte().saturating_sub(1);
        let before = self.reader.get_mut().lines_before(last);
        let within = self.record.as_slice().bytes().filter(|b| *b == b'\n');
        (before + 1).saturating_sub(within.count() as u64)
    }

    /// Returns a hint if the record contains another common delimiter.
    fn other_delimiter(&self) -> Option<String> {
        let count = |d: &Delimiter| {
            let cells = self.record.as_slice().bytes();
            cells.filter(|b| *b == d.byte()).count()
        };
        let others = Delimiter::OTHERS.into_iter().chain([Delimiter::COMMA]);
        let others = others.filter(|d| *d != self.delimiter);
        let counted = others.map(|d| (count(&d), d)).filter(|(n, _)| *n > 0);
        // Picks the most frequent delimiter, the first of equals.
        let most = counted.reduce(|a, b| if b.0 > a.0 { b } else { a });
        most.map(|(n, d)| {
            format!(
                "it holds `{d}` {n} {}: if that is the delimiter, state it (`--delimiter '{d}'`)",
                if n == 1 { "time" } else { "times" }
            )
        })
    }
}

/// Opens a file for streaming. Messages name it by the given path.
pub fn stream(path: &Path) -> Result<BufReader<File>, DataError> {
    let open = File::open(path).map_err(|source| DataError::Read {
        file: path.display().to_string(),
        source,
    })?;
    let mut reader = BufReader::with_capacity(1 << 16, open);
    let file = path.display().to_string();
    match reader.fill_buf() {
        Ok(head) => refuse_packed(&file, head)?,
        Err(source) => return Err(DataError::Read { file, source }),
    }
    Ok(reader)
}

/// Refuses files that are not text, by their first bytes: an error about UTF-8 would not help.
pub(crate) fn refuse_packed(file: &str, head: &[u8]) -> Result<(), DataError> {
    const UTF16: &str = "is UTF-16; expected UTF-8 text (`iconv -f UTF-16 -t UTF-8`)";
    const PACKED: [(&[u8], &str); 4] = [
        (
            b"\x1f\x8b",
            "is compressed (gzip); expected text: unpack it",
        ),
        (
            b"PK\x03\x04",
            "is a zip archive, as .npz and .xlsx are; expected text",
        ),
        (b"\xff\xfe", UTF16),
        (b"\xfe\xff", UTF16),
    ];
    refuse_pointer(file, head)?;
    match PACKED.iter().find(|(magic, _)| head.starts_with(magic)) {
        None => Ok(()),
        Some((_, problem)) => Err(DataError::Corrupt {
            file: file.to_owned(),
            part: "content".to_owned(),
            problem: (*problem).to_owned(),
        }),
    }
}

fn failure(file: &str, line: u64, error: csv::Error) -> DataError {
    let part = format!("line {line}");
    let file = file.to_owned();
    let problem = match error.into_kind() {
        ErrorKind::Io(source) => return DataError::Read { file, source },
        ErrorKind::Utf8 { err, .. } => format!(
            "is not UTF-8 in cell {}; expected UTF-8 text (files of Excel are often Windows-1252: save as CSV UTF-8)",
            err.field() + 1
        ),
        other => format!("{other:?}"),
    };
    DataError::Corrupt {
        file,
        part,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::{Records, refuse_packed};
    use proofmark_domain::Delimiter;

    /// Holds for every line ending and for empty lines between records.
    #[test]
    fn records_have_the_line_they_begin_on() {
        let lines = |text: &str| {
            let mut records = Records::headed(text.as_bytes(), "t.csv", Delimiter::COMMA)?;
            let mut lines = Vec::new();
            while let Some((line, _)) = records.next_record()? {
                lines.push(line);
            }
            Ok(lines)
        };
        let lines = |text: &str| lines(text).map_err(|e: crate::DataError| e.to_string());
        for end in ["\n", "\r\n"] {
            for mark in ["", "\u{feff}"] {
                let text = format!("{mark}a,b\n1,2\n\n3,\"4\n5\"\n6,7\n\n\n8,9").replace('\n', end);
                assert_eq!(lines(&text), Ok(vec![2, 4, 6, 9]), "{text:?}");
                let ragged = format!("{mark}a,b\n1,2\n3\n").replace('\n', end);
                assert!(lines(&ragged).is_err_and(|e| e.contains("line 3:")));
            }
        }
        // More records than a buffer holds.
        let many = format!("a,b\r\n{}", "1,2\r\n".repeat(5000));
        assert_eq!(lines(&many), Ok((2..5002).collect()));
        assert_eq!(lines("a,b\r\n1,2\n3,4\r\n5,6\n"), Ok(vec![2, 3, 4]));
    }

    #[test]
    fn packed_files_are_refused_with_their_format() {
        let told = |head: &[u8]| refuse_packed("t.csv", head).map_err(|e| e.to_string());
        let gzip = told(b"\x1f\x8b\x08").expect_err("refused");
        assert_eq!(
            gzip,
            "t.csv: content: is compressed (gzip); expected text: unpack it"
        );
        assert!(told(b"PK\x03\x04").is_err_and(|e| e.contains("zip archive")));
        assert!(told(b"\xff\xfea\0").is_err_and(|e| e.contains("UTF-16")));
        let pointer = told(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n");
        assert!(pointer.is_err_and(|e| e.contains("git lfs pull")));
        assert_eq!(told(b"sex,age\n"), Ok(()));
        assert_eq!(told(b""), Ok(()));
    }
}
