use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proofmark_domain::{Bounds, Delimiter, Kind, hint, nearest};

use crate::source::Source;
use crate::{
    Classes, DataError, Dataset, Images, Selection, Units, cifar, csv, digits, idx, images,
    npy_set, npz,
};

/// What a user says about a set beyond its name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// The values that data may take, in data units, for all that need bounds. Default: what the file states. Pixels
    /// and 16-bit sound have bounds of their own, which these may only repeat.
    pub bounds: Option<Bounds>,
    /// The same for single arrays, by name.
    pub array_bounds: BTreeMap<String, Bounds>,
    /// How whole numbers become data units. Default: pixels are scaled, all else is left as it is.
    pub units: Option<Units>,
    /// What every array is. Default: by its shape.
    pub kind: Option<Kind>,
    /// The same for single arrays, by name.
    pub array_kinds: BTreeMap<String, Kind>,
    /// The classes' names and indices. Default: labels are indices.
    pub classes: Option<Classes>,
    /// Which arrays of an npz are inputs and labels. Default: by their names.
    pub arrays: Option<Arrays>,
    /// The column of a CSV file that holds labels. Default: `label` or `y`, if there is one.
    pub label_column: Option<String>,
    /// What stands between the cells of a CSV file. Default: `,`.
    pub delimiter: Delimiter,
    /// The file that holds the labels of an IDX or .npy file. Default: the one beside it, under the usual name.
    pub labels: Option<PathBuf>,
    /// What is done to the images of a folder.
    pub images: Images,
    /// Nothing is attacked: data that need bounds and have none may take any value.
    pub unbounded: bool,
    /// Which rows to keep. Default: all, ranked with seed 0.
    pub select: Selection,
}

/// Arrays by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrays {
    /// The one with the inputs.
    pub inputs: String,
    /// The one with the labels, if any.
    pub labels: Option<String>,
}

impl Arrays {
    /// From one or two names.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let names: Vec<&str> = names.into_iter().map(str::trim).collect();
        let (inputs, labels) = match names[..] {
            [inputs] => (inputs, None),
            [inputs, labels] => (inputs, Some(labels.to_owned())),
            _ => ("", None),
        };
        if inputs.is_empty() || labels.as_deref() == Some("") {
            return Err(format!(
                "arrays `{}`; expected the names of two, INPUTS,LABELS, or of one",
                names.join(",")
            ));
        }
        Ok(Self {
            inputs: inputs.to_owned(),
            labels,
        })
    }
}

impl Options {
    /// The bounds stated for an array.
    pub(crate) fn bounds_of(&self, array: &str) -> Option<Bounds> {
        let own = self.array_bounds.get(array);
        own.or(self.bounds.as_ref()).cloned()
    }

    /// The kind stated for an array.
    /// The kind that is stated for an array, if any.
    pub fn kind_of(&self, array: &str) -> Option<Kind> {
        self.array_kinds.get(array).copied().or(self.kind)
    }

    /// Refuses what has no meaning for the format of a set; [`open`] does so, too.
    pub fn refuse_unfit(&self, spec: &str) -> Result<(), DataError> {
        Format::of(spec).map_or(Ok(()), |format| self.check(spec, format))
    }

    /// Refuses what has no meaning for a format.
    fn check(&self, spec: &str, format: Format) -> Result<(), DataError> {
        let stated = [
            (
                self.label_column.is_some(),
                "--label-column",
                "a .csv file",
                format == Format::Csv,
            ),
            (
                self.delimiter != Delimiter::default(),
                "--delimiter",
                "a .csv file",
                format == Format::Csv,
            ),
            (
                self.labels.is_some(),
                "--labels-file",
                "an IDX or .npy file",
                matches!(format, Format::Idx | Format::Npy),
            ),
            (
                self.arrays.is_some(),
                "--arrays",
                "an .npz file",
                format == Format::Npz,
            ),
            (
                self.images != Images::default(),
                "--resize, --crop or --color",
                "a folder of images",
                format == Format::Folder,
            ),
            (
                self.kind.is_some() || !self.array_kinds.is_empty(),
                "--kind",
                "an .npz, .npy or IDX file",
                matches!(format, Format::Npz | Format::Npy | Format::Idx),
            ),
            (
                self.units.is_some(),
                "--units",
                "sets that are not shipped",
                format != Format::Shipped,
            ),
            (
                self.classes.is_some(),
                "--classes",
                "sets that are not shipped",
                format != Format::Shipped,
            ),
        ];
        match stated.iter().find(|(stated, .., fits)| *stated && !fits) {
            None => Ok(()),
            Some((_, option, only, _)) => Err(DataError::Option {
                file: spec.to_owned(),
                option,
                only,
            }),
        }
    }
}

/// Opens a shipped set by name, or a file by path, and checks it.
///
/// The format follows from the name: `.npz`, `.npy`, `.csv`, CIFAR as `.bin`, IDX as `.idx`, `.idx3` or `-ubyte`, also
/// with `.gz`; a folder holds one sub-folder of images per class.
///
/// ```
/// use proofmark_data::{Options, open};
/// let digits = open("digits", &Options::default())?;
/// assert_eq!((digits.len(), digits.classes()), (899, 10));
/// # Ok::<(), proofmark_data::DataError>(())
/// ```
pub fn open(spec: &str, options: &Options) -> Result<Dataset, DataError> {
    let path = Path::new(spec);
    let Some(format) = Format::of(spec) else {
        return Err(unknown(spec, path));
    };
    options.check(spec, format)?;
    let set = match format {
        Format::Shipped => digits::shipped(spec, options.bounds.as_ref()),
        Format::Npz => npz::read(&Source::read(path)?, options),
        Format::Npy => npy_set::read(path, &Source::read(path)?, options),
        Format::Csv => csv::read(&Source::read(path)?, options),
        Format::Idx => idx::read(path, &Source::read(path)?, options),
        Format::Cifar => cifar::read(&Source::read(path)?, options),
        Format::Folder => images::read(path, options),
    }?;
    let names: Vec<&str> = set
        .modalities
        .iter()
        .map(|c| c.modality.name.as_str())
        .collect();
    let stated = options.array_bounds.keys().map(|name| (name, "bounds are"));
    let kinds = options.array_kinds.keys().map(|name| (name, "a kind is"));
    let stray = stated.chain(kinds).find(|s| !names.contains(&s.0.as_str()));
    match stray {
        // A folder has read no other rows.
        None if format == Format::Folder => Ok(set),
        None => set.selected(&options.select),
        Some((name, what)) => Err(DataError::Missing {
            file: spec.to_owned(),
            what: format!("array `{name}`, for which {what} stated"),
            has: format!("`{}`", names.join("`, `")),
        }),
    }
}

/// The files that [`open`] reads for a set; none for a shipped one.
pub fn files(spec: &str, options: &Options) -> Vec<PathBuf> {
    if digits::SHIPPED.contains(&spec) {
        return Vec::new();
    }
    let path = Path::new(spec);
    let more = match Format::of(spec) {
        Some(Format::Idx) => idx::labels_file(path, options).into_iter().collect(),
        Some(Format::Npy) => {
            let labels = npy_set::labels_file(path, options);
            labels.ok().flatten().into_iter().collect()
        }
        Some(Format::Folder) => images::files(path),
        _ => Vec::new(),
    };
    std::iter::once(path.to_path_buf()).chain(more).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Shipped,
    Npz,
    Npy,
    Csv,
    Idx,
    Cifar,
    Folder,
}

impl Format {
    fn of(spec: &str) -> Option<Self> {
        if digits::SHIPPED.contains(&spec) {
            return Some(Self::Shipped);
        }
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
                "npy" => Some(Self::Npy),
                "csv" | "tsv" => Some(Self::Csv),
                "bin" => Some(Self::Cifar),
                _ if Path::new(spec).is_dir() => Some(Self::Folder),
                _ => None,
            }
        }
    }
}

/// What to say about a name that is neither shipped nor ends like a data file.
fn unknown(spec: &str, path: &Path) -> DataError {
    let file = spec.to_owned();
    if !path.exists() {
        let mut hint = hint(spec, digits::SHIPPED);
        if hint.is_empty() {
            ", and no such file".clone_into(&mut hint);
        }
        return DataError::Unknown {
            given: file,
            hint,
            shipped: digits::SHIPPED.join(", "),
        };
    }
    let ending = path.extension().map(|e| e.to_string_lossy().into_owned());
    let near = ending.and_then(|e| nearest(&e, ["npz", "npy", "csv", "idx", "bin"]));
    let hint = near.map_or_else(String::new, |e| format!(" (did you mean .{e}?)"));
    DataError::Format { file, hint }
}
