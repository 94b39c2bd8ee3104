//! Sets in single .npy files, as `numpy.save` writes them: inputs in one file, labels in another.

use std::path::{Path, PathBuf};

use proofmark_domain::ReadFacts;

use crate::dataset::Parts;
use crate::idx::labels_of;
use crate::npz::ANY;
use crate::roles::labels_beside;
use crate::source::Source;
use crate::{Column, DataError, Dataset, Options, npy, targets};

/// Reads inputs from `source`, and labels from the file that `options` names, else from the file beside it under the
/// matching name (`y_test.npy` for `x_test.npy`), if it exists.
pub(crate) fn read(path: &Path, source: &Source, options: &Options) -> Result<Dataset, DataError> {
    let array = npy::parse(source, "x", &source.bytes, ANY)?;
    let (column, units) = Column::from_array(&array, options, options.bounds_of("x"), "")?;
    let mut reading = ReadFacts::of("x", units);
    let file = labels_file(path, options)?;
    let mut hashed = vec![source.bytes.as_slice()];
    let label_source = file.map(|p| Source::read(&p)).transpose()?;
    let (mut labels, mut targets) = (None, None);
    if let Some(from) = &label_source {
        if options.labels.is_none() {
            reading
                .notes
                .push(format!("labels are in `{}` beside it", from.name));
        }
        if options.outputs.is_classes() {
            labels = Some(labels_of(from, options.classes.as_ref(), &mut reading)?);
        } else {
            let array = npy::parse(from, "y", &from.bytes, ANY)?;
            targets = Some(targets::of_array(&array, options.outputs, &mut reading)?);
        }
        hashed.push(&from.bytes);
    }
    let parts = Parts {
        targets,
        ..Parts::of_one(&source.name, &hashed, column, labels, reading)
    };
    Dataset::assemble(&source.file, parts)
}

/// Returns the file of the labels: the stated one, or the only one beside the inputs; an error if there are several.
pub(crate) fn labels_file(inputs: &Path, options: &Options) -> Result<Option<PathBuf>, DataError> {
    if options.labels.is_some() {
        return Ok(options.labels.clone());
    }
    let stem = inputs.file_stem().unwrap_or_default().to_string_lossy();
    let mut found: Vec<PathBuf> = labels_beside(&stem)
        .into_iter()
        .map(|name| inputs.with_file_name(format!("{name}.npy")))
        .filter(|path| path.is_file())
        .collect();
    // On a file system that ignores case, two names may be one file.
    found.dedup_by_key(|path| path.canonicalize().ok());
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        [first, second, ..] => Err(DataError::Corrupt {
            file: inputs.display().to_string(),
            part: "labels".to_owned(),
            problem: format!(
                "may be in {} or in {}; say which with `--labels-file`",
                first.display(),
                second.display()
            ),
        }),
    }
}
