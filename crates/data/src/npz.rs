//! npz: a zip archive of .npy arrays, as `numpy.savez` and `numpy.savez_compressed` write it.
//!
//! [`crate::open`] reads every array as a modality under its own name, in the archive's order, except
//!
//! | array | holds |
//! |---|---|
//! | `y` | labels: whole numbers, booleans, one-hot rows, or names that [`crate::Classes`] lists; numbers `[n]` or `[n, outputs]` if the outputs are not classes ([`crate::Options::outputs`]) |
//! | `id` | ids, integers or text `[n]` |
//! | `eps` | a budget per sample, `[n]`, in data units |
//! | `bounds` | `[2]` (low, high) or `[2, features]`, for every modality that needs bounds |
//! | `bounds_NAME` | the same for the modality `NAME` |
//! | `group_*` | groups of the samples: text, integers or booleans `[n]`; arrays of other types are skipped |
//! | `original_*` | samples before an attack; skipped |
//! | `universal`, `universal_*` | changes fitted for all samples, and their runs; skipped |
//!
//! [`arrays()`] reads every array as stored. [`write()`] writes an archive.

use std::io::{BufWriter, Cursor, Read, Write};
use std::path::Path;

use ndarray::Array2;
use proofmark_domain::{Bounds, BoundsError, ReadFacts};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::array::Array;
use crate::dataset::Parts;
use crate::open::Arrays;
use crate::roles::{self, Roles};
use crate::source::{Source, sha256};
use crate::units::meaning;
use crate::whole::write_whole;
use crate::{Column, DataError, Dataset, Options, labels, npy, targets};

pub use crate::typed::{AnyArray, InUnits, NotInUnits, NpzArray};
pub use crate::units::Rule;

/// Supported element types.
pub(crate) const ANY: &str = "bool, integers, f16, f32, f64 or text (`U` or `S`)";
/// Prefix of the names of arrays of groups.
pub const GROUP: &str = "group_";
/// Prefix of the names of arrays of samples before an attack; skipped by [`crate::open`].
pub const ORIGINAL: &str = "original_";
/// Prefix of the names of arrays of universal changes, and without its last letter the array of their runs; skipped by
/// [`crate::open`].
pub const UNIVERSAL: &str = "universal_";
const ALSO: &str = ", or an array `bounds` of shape [2] to the file";

/// Writes arrays under their names, whole or not at all; `numpy.load` and [`crate::open`] read the file. The same
/// arrays give the same bytes.
pub fn write(path: &Path, arrays: &[(&str, NpzArray<'_>)]) -> Result<(), DataError> {
    write_whole(path, |file| {
        let mut zip = ZipWriter::new(BufWriter::new(file));
        for (name, array) in arrays {
            let (header, size) = array.header();
            // Adversarial noise does not compress, and stored entries can be mapped into memory.
            let options = SimpleFileOptions::DEFAULT
                .compression_method(CompressionMethod::Stored)
                .large_file(size > u64::from(u32::MAX / 2));
            zip.start_file(format!("{name}.npy"), options)?;
            let mut entry = BufWriter::new(&mut zip);
            entry.write_all(&header)?;
            array.write_data(&mut entry)?;
            entry.flush()?;
        }
        zip.finish()?.flush()
    })
}

/// Reads every array of an .npz file under its name, or the array of a single .npy file under the file's name without
/// its ending. Each array has its own element type, in row-major order whatever its order in the file.
pub fn arrays(path: &Path) -> Result<Vec<(String, AnyArray)>, DataError> {
    let source = Source::read(path)?;
    let any = |name: &str, bytes: &[u8]| npy::parse(&source, name, bytes, ANY)?.any();
    if source.bytes.starts_with(npy::MAGIC) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        return Ok(vec![(
            name.clone().into_owned(),
            any(&name, &source.bytes)?,
        )]);
    }
    unpack(&source, |_| true)?
        .into_iter()
        .map(|(name, bytes)| {
            let array = any(&name, &bytes)?;
            Ok((name, array))
        })
        .collect()
}

pub(crate) fn read(source: &Source, options: &Options) -> Result<Dataset, DataError> {
    let names = names(source)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut reading = ReadFacts::default();
    let roles = match &options.arrays {
        Some(stated) => stated_roles(source, &names, stated)?,
        None => roles::roles(&names).map_err(|()| DataError::Arrays {
            file: source.file.clone(),
            has: quoted(&names),
        })?,
    };
    if roles.inputs.is_empty() {
        return Err(DataError::Missing {
            file: source.file.clone(),
            what: "array `x`, nor any other that holds data".to_owned(),
            has: quoted(&names),
        });
    }
    if roles.guessed {
        reading.notes.push(format!(
            "inputs are {}, labels are `{}`, by their names",
            quoted(&roles.inputs),
            roles.labels.unwrap_or_default()
        ));
    }
    let chosen = |name: &str| roles.inputs.contains(&name) || roles.labels == Some(name);
    let entries = unpack(source, |name| {
        chosen(name) || (is_fact(name) && !is_skipped(name))
    })?;
    let mut arrays: Vec<(&str, Array<'_>)> = Vec::new();
    let mut groups = Vec::new();
    for (name, bytes) in &entries {
        match name.strip_prefix(GROUP) {
            Some(group) if !chosen(name) => {
                let array = npy::parse(source, name, bytes, ANY).and_then(|a| a.any());
                let values = array.ok().and_then(|a| group_values(&a));
                groups.extend(values.map(|v| (group.to_owned(), v)));
            }
            // If other arrays were chosen, `y` is skipped: its labels do not belong to them.
            _ if name == "y" && !chosen(name) => {}
            _ => arrays.push((name, npy::parse(source, name, bytes, ANY)?)),
        }
    }
    let named = |name: &str| arrays.iter().find(|(n, _)| *n == name).map(|(_, a)| a);
    let data: Vec<&Array<'_>> = arrays
        .iter()
        .filter(|(name, _)| roles.inputs.contains(name))
        .map(|(_, array)| array)
        .collect();
    for own in names.iter().filter_map(|n| n.strip_prefix("bounds_")) {
        if options.arrays.is_none() && !roles.inputs.contains(&own) {
            return Err(DataError::Missing {
                file: source.file.clone(),
                what: format!("array `{own}`, though it has `bounds_{own}`"),
                has: quoted(&names),
            });
        }
    }
    let several = data.len() > 1;
    let inputs: Vec<(&str, bool)> = (data.iter())
        .map(|a| Ok((a.name.as_str(), needs_bounds(a, options, several)?)))
        .collect::<Result<_, DataError>>()?;
    let of_file = |name: &str| named(name).map(|a| bounds(source, a)).transpose();
    let stated = stated_bounds(&inputs, options, of_file)?;
    let mut modalities = Vec::new();
    for (array, stated) in data.iter().zip(stated) {
        let (column, units) = Column::from_array(array, options, stated, ALSO)?;
        reading.units.insert(array.name.clone(), units);
        modalities.push(column);
    }
    let stated = roles.labels.and_then(named);
    let (labels, targets) = labels_or_targets(stated, options, &mut reading)?;
    let parts = Parts {
        name: source.name.clone(),
        sha256: sha256(&[&source.bytes]),
        modalities,
        labels,
        targets,
        ids: named("id").map(Array::ids).transpose()?,
        eps: named("eps").map(Array::budgets).transpose()?,
        groups,
        reading,
    };
    Dataset::assemble(&source.file, parts)
}

/// Classes or targets of the samples; neither if there is no array of labels.
pub(crate) type LabelsOrTargets = (Option<Vec<usize>>, Option<Array2<f64>>);

/// Returns what an array of labels holds: classes, or targets if the outputs are not classes.
pub(crate) fn labels_or_targets(
    array: Option<&Array<'_>>,
    options: &Options,
    reading: &mut ReadFacts,
) -> Result<LabelsOrTargets, DataError> {
    let Some(array) = array else {
        return Ok((None, None));
    };
    if options.outputs.is_classes() {
        let labels = labels::of_array(array, options.classes.as_ref(), reading)?;
        return Ok((Some(labels), None));
    }
    let targets = targets::of_array(array, options.outputs, reading)?;
    Ok((None, Some(targets)))
}

/// Whether an array needs stated bounds. An error if it cannot be an input; if there are several arrays, the error
/// names the option that excludes it, because every array that does not describe the samples is taken for an input.
fn needs_bounds(array: &Array<'_>, options: &Options, several: bool) -> Result<bool, DataError> {
    match meaning(array, options) {
        Ok(meaning) => Ok(meaning.rule.needs_bounds()),
        Err(DataError::Shape {
            file,
            array,
            shape,
            expected,
        }) if several => Err(DataError::Shape {
            file,
            array,
            shape,
            expected: format!(
                "{expected}; if it is no input, `--arrays INPUTS,LABELS` names the arrays to read (in a policy `arrays = [\"INPUTS\", \"LABELS\"]` under [[data]])"
            ),
        }),
        Err(e) => Err(e),
    }
}

/// Returns the roles that the user states: inputs, and labels if there is a second name.
fn stated_roles<'a>(
    source: &Source,
    names: &[&'a str],
    stated: &Arrays,
) -> Result<Roles<'a>, DataError> {
    let find = |name: &String| {
        let found = names.iter().find(|n| *n == name);
        found.copied().ok_or_else(|| DataError::Missing {
            file: source.file.clone(),
            what: format!("array `{name}`"),
            has: quoted(names),
        })
    };
    Ok(Roles {
        inputs: vec![find(&stated.inputs)?],
        labels: stated.labels.as_ref().map(find).transpose()?,
        guessed: false,
    })
}

fn quoted(names: &[&str]) -> String {
    if names.is_empty() {
        return "no arrays".to_owned();
    }
    format!("`{}`", names.join("`, `"))
}

/// Returns which arrays of an archive are inputs and which one holds labels, by their names alone; `None` if the names
/// allow more than one reading.
///
/// ```
/// use proofmark_data::npz::roles;
/// assert_eq!(roles(&["x_test", "y_test"]), Some((vec!["x_test"], Some("y_test"))));
/// assert_eq!(roles(&["x_train", "y_train", "x_test", "y_test"]), None);
/// ```
pub fn roles<'a>(names: &[&'a str]) -> Option<(Vec<&'a str>, Option<&'a str>)> {
    let roles = roles::roles(names).ok()?;
    Some((roles.inputs, roles.labels))
}

/// Whether an array of this name describes the samples instead of holding their data.
pub fn is_fact(name: &str) -> bool {
    matches!(name, "y" | "id" | "bounds" | "eps")
        || name.starts_with("bounds_")
        || name.starts_with(GROUP)
        || is_skipped(name)
}

/// Whether an array of this name is never read as part of a data set.
fn is_skipped(name: &str) -> bool {
    name.starts_with(ORIGINAL)
        || name.starts_with(UNIVERSAL)
        || name == UNIVERSAL.trim_end_matches('_')
}

/// Returns one name per sample; `None` if the type or shape of the array cannot name groups.
fn group_values(array: &AnyArray) -> Option<Vec<String>> {
    macro_rules! texts {
        ($($variant:ident),*) => {
            match array {
                $(AnyArray::$variant(a) => a.iter().map(ToString::to_string).collect(),)*
                AnyArray::F16(_) | AnyArray::F32(_) | AnyArray::F64(_) => return None,
            }
        };
    }
    if array.shape().len() != 1 {
        return None;
    }
    Some(texts!(Bool, I8, I16, I32, I64, U8, U16, U32, U64, Text))
}

/// Returns the names of the arrays, in the archive's order.
fn names(source: &Source) -> Result<Vec<String>, DataError> {
    let zip = archive(source)?;
    let entries = zip.file_names().map(|n| {
        let name = n.map_err(|e| source.corrupt("archive", e))?;
        let name = name.strip_suffix(".npy").unwrap_or(&name);
        Ok(name.to_owned())
    });
    entries.collect()
}

fn archive(source: &Source) -> Result<ZipArchive<Cursor<&[u8]>>, DataError> {
    if source.bytes.is_empty() {
        return Err(source.corrupt(
            "archive",
            "is an empty file; expected what `numpy.savez` writes",
        ));
    }
    ZipArchive::new(Cursor::new(source.bytes.as_slice()))
        .map_err(|e| source.corrupt("archive", format!("{e}; it is truncated or no npz")))
}

/// Unpacks the wanted entries, after checking the size that each states.
fn unpack(
    source: &Source,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Vec<u8>)>, DataError> {
    let mut zip = archive(source)?;
    let mut left = source.allowed();
    let mut entries = Vec::new();
    for i in 0..zip.len() {
        let entry = zip
            .by_index(i)
            .map_err(|e| source.corrupt(format!("entry {i}"), e))?;
        let name = entry
            .name()
            .map_err(|e| source.corrupt(format!("entry {i}"), e))?
            .into_owned();
        let part = format!("entry `{name}`");
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else {
            return Err(source.corrupt(part, "is no array; expected only names ending in .npy"));
        };
        if !wanted(&name) {
            continue;
        }
        let declared = entry.size();
        if declared > left {
            return Err(source.too_large(part, declared.into()));
        }
        left -= declared;
        // The stated size is not used as a capacity: the buffer grows with the actual data.
        let mut bytes = Vec::new();
        entry
            .take(declared.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|e| source.corrupt(part.clone(), format!("cannot be unpacked: {e}")))?;
        if bytes.len() as u64 != declared {
            return Err(source.corrupt(
                part,
                format!(
                    "announces {declared} bytes and holds {} or more; expected the same",
                    bytes.len()
                ),
            ));
        }
        entries.push((name, bytes));
    }
    Ok(entries)
}

/// Reads `[2]` or `[2, ...]`: low and high, for all features or for each.
fn bounds(source: &Source, array: &Array<'_>) -> Result<Bounds, DataError> {
    let values = array
        .numbers()
        .ok_or_else(|| array.wrong_dtype("f32, f64 or integers"))?;
    let bounds = bounds_of(&array.shape, &values)
        .ok_or_else(|| array.wrong_shape("[2], low and high, or [2, features]"))?;
    bounds.map_err(|e| DataError::Bounds {
        file: source.file.clone(),
        source: e,
    })
}

/// Returns the bounds that an array of this shape holds: `[2]` (low, high), or `[2, features]`; `None` for any other
/// shape.
pub fn bounds_of(shape: &[usize], values: &[f32]) -> Option<Result<Bounds, BoundsError>> {
    if shape.first() != Some(&2) || values.is_empty() {
        return None;
    }
    let (low, high) = values.split_at(values.len() / 2);
    Some(match (low, high) {
        ([low], [high]) => Bounds::uniform(*low, *high),
        _ => Bounds::per_feature(low.to_vec(), high.to_vec()),
    })
}

/// Returns the bounds stated for each input of an archive: its own, else the common ones. `inputs` says of each whether
/// it [needs](Rule::needs_bounds) bounds; `options` come before the file, in which `of_file` looks up bounds by name.
///
/// If some inputs need bounds, common bounds apply to those only and not to pixels and sound.
pub fn stated_bounds<E>(
    inputs: &[(&str, bool)],
    options: &Options,
    of_file: impl Fn(&str) -> Result<Option<Bounds>, E>,
) -> Result<Vec<Option<Bounds>>, E> {
    let any_needs = inputs.iter().any(|(_, needs)| *needs);
    let common = match &options.bounds {
        Some(bounds) => Some(bounds.clone()),
        None => of_file("bounds")?,
    };
    let of = |(name, needs): &(&str, bool)| {
        let own = match (options.array_bounds.get(*name), &options.bounds) {
            (Some(bounds), _) => Some(bounds.clone()),
            (None, None) => of_file(&format!("bounds_{name}"))?,
            (None, Some(_)) => None,
        };
        let common = common.as_ref().filter(|_| *needs || !any_needs);
        Ok(own.or_else(|| common.cloned()))
    };
    inputs.iter().map(of).collect()
}
