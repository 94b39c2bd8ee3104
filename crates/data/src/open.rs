use std::path::{Path, PathBuf};

use proofmark_domain::{Bounds, Delimiter, nearest};

use crate::source::Source;
use crate::{DataError, Dataset, cifar, csv, digits, idx, npz};

/// What a user says about a set beyond its name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// The values that floating-point data may take, in data units. Default: what the file states.
    /// Pixels and 16-bit sound have bounds of their own, which these may only repeat.
    pub bounds: Option<Bounds>,
    /// The column of a CSV file that holds labels. Default: `label` or `y`, if there is one.
    pub label_column: Option<String>,
    /// What stands between the cells of a CSV file. Default: `,`.
    pub delimiter: Delimiter,
    /// The IDX file that holds labels. Default: the one beside the images, under the usual name.
    pub labels: Option<PathBuf>,
}

/// Opens a shipped set by name, or a file by path, and checks it.
///
/// The format follows from the name: `.npz`, `.csv`, CIFAR as `.bin`, IDX as `.idx`, `.idx3` or `-ubyte`, also with
/// `.gz`. The set is ranked with seed 0.
///
/// ```
/// use proofmark_data::{Options, open};
/// let digits = open("digits", &Options::default())?;
/// assert_eq!((digits.len(), digits.classes()), (899, 10));
/// # Ok::<(), proofmark_data::DataError>(())
/// ```
pub fn open(spec: &str, options: &Options) -> Result<Dataset, DataError> {
    if let Some(set) = digits::shipped(spec, options.bounds.as_ref()) {
        return set;
    }
    let path = Path::new(spec);
    let Some(format) = Format::of(spec) else {
        return Err(unknown(spec, path));
    };
    let source = Source::read(path)?;
    match format {
        Format::Npz => npz::read(&source, options),
        Format::Csv => csv::read(&source, options),
        Format::Idx => idx::read(path, &source, options),
        Format::Cifar => cifar::read(&source, options),
    }
}

/// The files that [`open`] reads for a set; none for a shipped one.
pub fn files(spec: &str, options: &Options) -> Vec<PathBuf> {
    if digits::SHIPPED.contains(&spec) {
        return Vec::new();
    }
    let path = Path::new(spec);
    let beside = match Format::of(spec) {
        Some(Format::Idx) => idx::labels(path, options),
        _ => None,
    };
    std::iter::once(path.to_path_buf()).chain(beside).collect()
}

#[derive(Clone, Copy)]
enum Format {
    Npz,
    Csv,
    Idx,
    Cifar,
}

impl Format {
    fn of(spec: &str) -> Option<Self> {
        let name = spec.to_ascii_lowercase();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let ending = plain.rsplit_once('.').map_or("", |(_, ending)| ending);
        if ending.starts_with("idx") || plain.ends_with("ubyte") {
            Some(Self::Idx)
        } else if plain != name {
            None
        } else {
            match ending {
                "npz" => Some(Self::Npz),
                "csv" => Some(Self::Csv),
                "bin" => Some(Self::Cifar),
                _ => None,
            }
        }
    }
}

/// What to say about a name that is neither shipped nor ends like a data file.
fn unknown(spec: &str, path: &Path) -> DataError {
    let file = spec.to_owned();
    if !path.exists() {
        let hint = match nearest(spec, digits::SHIPPED) {
            Some(name) => format!(" (did you mean `{name}`?)"),
            None => ", and no such file".to_owned(),
        };
        return DataError::Unknown {
            given: file,
            hint,
            shipped: digits::SHIPPED.join(", "),
        };
    }
    let ending = path.extension().map(|e| e.to_string_lossy().into_owned());
    let near = ending.and_then(|e| nearest(&e, ["npz", "csv", "idx", "bin"]));
    let hint = near.map_or_else(String::new, |e| format!(" (did you mean .{e}?)"));
    DataError::Format { file, hint }
}
