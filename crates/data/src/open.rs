use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proofmark_domain::{Bounds, Delimiter, Kind, Outputs, hint, nearest};

use crate::source::Source;
use crate::{
    Classes, DataError, Dataset, Images, Selection, Units, cifar, csv, digits, idx, images,
    npy_set, npz,
};

/// Options for opening a data set.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Values that data may take, in data units, for all arrays that need bounds. Default: what the file states. Scaled
    /// pixels and sound have fixed bounds; stated ones must be equal to them.
    pub bounds: Option<Bounds>,
    /// Bounds of single arrays, by name.
    pub array_bounds: BTreeMap<String, Bounds>,
    /// How whole numbers become data units. Default: pixels are scaled, everything else is left as stored.
    pub units: Option<Units>,
    /// Kind of every array. Default: by its shape.
    pub kind: Option<Kind>,
    /// Kinds of single arrays, by name.
    pub array_kinds: BTreeMap<String, Kind>,
    /// Names and indices of the classes. Default: labels are indices.
    pub classes: Option<Classes>,
    /// Arrays of an npz that are inputs and labels. Default: by their names.
    pub arrays: Option<Arrays>,
    /// Column of a CSV file that holds labels. Default: `label` or `y`, if there is one. Several, separated by commas, if
    /// the outputs are not classes.
    pub label_column: Option<String>,
    /// Meaning of the model's outputs, and so of the labels: classes, a 0 or 1 per label, or numbers
    /// ([`Dataset::targets`]).
    pub outputs: Outputs,
    /// Delimiter between the cells of a CSV file. Default: `,`.
    pub delimiter: Delimiter,
    /// File that holds the labels of an IDX or .npy file. Default: the one beside it, under the usual name.
    pub labels: Option<PathBuf>,
    /// Transforms of the images of a folder.
    pub images: Images,
    /// Whether data that needs bounds and has none may take any value, because nothing is attacked.
    pub unbounded: bool,
    /// Rows to keep. Default: all, ranked with seed 0.
    pub select: Selection,
}

/// Names of the input and label arrays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrays {
    /// Array with the inputs.
    pub inputs: String,
    /// Array with the labels, if any.
    pub labels: Option<String>,
}

impl Arrays {
    /// Returns arrays from one or two names.
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
    /// Returns the bounds stated for an array, if any.
    pub(crate) fn bounds_of(&self, array: &str) -> Option<Bounds> {
        let own = self.array_bounds.get(array);
        own.or(self.bounds.as_ref()).cloned()
    }

    /// Returns the kind stated for an array, if any.
    pub fn kind_of(&self, array: &str) -> Option<Kind> {
        self.array_kinds.get(array).copied().or(self.kind)
    }

    /// Refuses options that do not apply to the format of a set, as [`open`] does.
    pub fn refuse_unfit(&self, spec: &str) -> Result<(), DataError> {
        Format::of(spec).map_or(Ok(()), |format| self.check(spec, format))
    }

    /// Refuses options that do not apply to a format.
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
/// The format follows from the name: `.npz`, `.npy`, `.csv` or `.tsv`, CIFAR as `.bin`, IDX as `.idx`, `.idx3` or
/// `-ubyte`, also with `.gz`; a folder holds one sub-folder of images per class.
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
    let mut set = match format {
        Format::Shipped => digits::shipped(spec, options.bounds.as_ref()),
        Format::Npz => npz::read(&Source::read(path)?, options),
        Format::Npy => npy_set::read(path, &Source::read(path)?, options),
        Format::Csv => csv::read(&Source::read(path)?, options),
        Format::Idx => idx::read(path, &Source::read(path)?, options),
        Format::Cifar => cifar::read(&Source::read(path)?, options),
        Format::Folder => images::read(path, options),
    }?;
    if !options.outputs.is_classes() && set.labels.take().is_some() {
        let text = format!(
            "the classes of the set are not used: the model's outputs are {}",
            options.outputs
        );
        set.read_as.notes.push(text);
    }
    let names: Vec<&str> = set
        .modalities
        .iter()
        .map(|c| c.modality.name.as_str())
        .collect();
    let stated = options.array_bounds.keys().map(|name| (name, "bounds are"));
    let kinds = options.array_kinds.keys().map(|name| (name, "a kind is"));
    let stray = stated.chain(kinds).find(|s| !names.contains(&s.0.as_str()));
    match stray {
        // A folder is read with its selection applied.
        None if format == Format::Folder => Ok(set),
        None => set.selected(&options.select),
        Some((name, what)) => Err(DataError::Missing {
            file: spec.to_owned(),
            what: format!("array `{name}`, for which {what} stated"),
            has: format!("`{}`", names.join("`, `")),
        }),
    }
}

/// Returns the files that [`open`] reads for a set; none for a shipped set.
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

/// Returns the error for a name that is not shipped and has no known ending.
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
