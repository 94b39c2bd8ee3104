//! IDX, the format of MNIST: a magic that states type and rank, big-endian sizes, then the elements. Plain or gzipped;
//! images in one file, labels in another.
//!
//! **Reference.** Y. `LeCun`, C. Cortes, C. Burges: *The MNIST database*, "the IDX file format".

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use proofmark_domain::ReadFacts;

use crate::array::{Array, Dtype, Element, bytes_needed};
use crate::dataset::Parts;
use crate::npz::ANY;
use crate::source::Source;
use crate::{Classes, Column, DataError, Dataset, Options, labels, npy};

/// First bytes of a gzip file.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Reads images from `source`, and labels from the file that `options` names, else from the file beside the images
/// under the usual name, if it exists.
pub(crate) fn read(path: &Path, source: &Source, options: &Options) -> Result<Dataset, DataError> {
    let unpacked = unpack(source)?;
    let images = parse(source, "x", &unpacked)?;
    if images.shape.len() == 1 {
        return Err(images.wrong_shape(
            "[n, h, w], [n, c, h, w] or [n, features]; this looks like a file of labels, give the images",
        ));
    }
    let (column, units) = Column::from_array(&images, options, options.bounds_of("x"), "")?;
    let mut reading = ReadFacts::of("x", units);

    let beside = labels_file(path, options);
    let label_source = beside.map(|p| Source::read(&p)).transpose()?;
    let classes = options.classes.as_ref();
    let labels = label_source
        .as_ref()
        .map(|source| labels_of(source, classes, &mut reading))
        .transpose()?;

    let mut hashed = vec![source.bytes.as_slice()];
    hashed.extend(label_source.iter().map(|s| s.bytes.as_slice()));
    let parts = Parts::of_one(&source.name, &hashed, column, labels, reading);
    Dataset::assemble(&source.file, parts)
}

/// Returns the file of the labels; `None` if there is none.
pub(crate) fn labels_file(images: &Path, options: &Options) -> Option<PathBuf> {
    options.labels.clone().or_else(|| labels_beside(images))
}

/// Returns the labels of an IDX or .npy file.
pub(crate) fn labels_of(
    source: &Source,
    classes: Option<&Classes>,
    reading: &mut ReadFacts,
) -> Result<Vec<usize>, DataError> {
    if source.bytes.starts_with(npy::MAGIC) {
        let array = npy::parse(source, "y", &source.bytes, ANY)?;
        return labels::of_array(&array, classes, reading);
    }
    if !source.bytes.starts_with(&[0, 0]) && !source.bytes.starts_with(GZIP) {
        return Err(source.corrupt(
            "labels",
            "is neither .npy nor IDX; expected the labels in one of them (`numpy.save`)",
        ));
    }
    let unpacked = unpack(source)?;
    labels::of_array(&parse(source, "y", &unpacked)?, classes, reading)
}

/// Returns `train-labels-idx1-ubyte.gz` for `train-images-idx3-ubyte.gz`, if it exists, with or without `.gz`.
fn labels_beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let labels = ["images-idx3", "images.idx3", "images-idx4", "images.idx4"]
        .iter()
        .find(|part| name.contains(*part))
        .map(|part| {
            let mark = &part[6..=6];
            name.replace(part, &format!("labels{mark}idx1"))
        })?;
    let plain = labels.strip_suffix(".gz").unwrap_or(&labels);
    [labels.clone(), plain.to_owned(), format!("{plain}.gz")]
        .into_iter()
        .map(|name| images.with_file_name(name))
        .find(|path| path.is_file())
}

/// Returns the file's bytes, unpacked if they are a gzip: at most one byte more than the header states.
fn unpack(source: &Source) -> Result<Vec<u8>, DataError> {
    if !source.bytes.starts_with(GZIP) {
        return Ok(source.bytes.clone());
    }
    let broken = |e| source.corrupt("gzip", format!("cannot be unpacked: {e}"));
    let mut gzip = MultiGzDecoder::new(source.bytes.as_slice());
    let mut bytes = Vec::new();
    // The magic and, for the highest rank, 255 sizes.
    gzip.by_ref()
        .take(4 + 255 * 4)
        .read_to_end(&mut bytes)
        .map_err(broken)?;
    let header = Header::parse(source, &bytes)?;
    let declared = header.declared();
    match declared {
        Some(declared) if declared <= u128::from(source.allowed()) => {
            let left = (declared as u64 + 1).saturating_sub(bytes.len() as u64);
            gzip.take(left).read_to_end(&mut bytes).map_err(broken)?;
            Ok(bytes)
        }
        _ => Err(source.too_large("its header", declared.unwrap_or(u128::MAX))),
    }
}

fn parse<'a>(source: &'a Source, name: &str, bytes: &'a [u8]) -> Result<Array<'a>, DataError> {
    let header = Header::parse(source, bytes)?;
    let data = &bytes[header.length..];
    Array::new(&source.file, name, header.dtype, header.shape, false, data)
}

struct Header {
    dtype: Dtype,
    shape: Vec<usize>,
    length: usize,
}

impl Header {
    fn parse(source: &Source, bytes: &[u8]) -> Result<Self, DataError> {
        let bad = |problem: String| source.corrupt("IDX header", problem);
        let short = || {
            bad(format!(
                "is truncated: the file holds {} bytes",
                bytes.len()
            ))
        };
        let ([zero, zero2, code, rank], mut rest) = bytes.split_first_chunk().ok_or_else(short)?;
        let (element, size, text) = match (zero, zero2, code) {
            (0, 0, 0x08) => (Element::Unsigned, 1, "u8"),
            (0, 0, 0x09) => (Element::Signed, 1, "i8"),
            (0, 0, 0x0b) => (Element::Signed, 2, "i16"),
            (0, 0, 0x0c) => (Element::Signed, 4, "i32"),
            (0, 0, 0x0d) => (Element::Float, 4, "f32"),
            (0, 0, 0x0e) => (Element::Float, 8, "f64"),
            _ => {
                return Err(bad(format!(
                    "begins {zero:02x} {zero2:02x} {code:02x}; expected 00 00 and a type of 08, 09, 0b, 0c, 0d or 0e"
                )));
            }
        };
        let mut shape = Vec::new();
        for _ in 0..*rank {
            let (axis, after) = rest.split_first_chunk().ok_or_else(short)?;
            shape.push(u32::from_be_bytes(*axis) as usize);
            rest = after;
        }
        Ok(Self {
            dtype: Dtype {
                element,
                size,
                big_endian: true,
                text: text.to_owned(),
            },
            shape,
            length: bytes.len() - rest.len(),
        })
    }

    /// Returns the size of the whole file in bytes, header included, as the header states it.
    fn declared(&self) -> Option<u128> {
        bytes_needed(&self.shape, self.dtype.size)?.checked_add(self.length as u128)
    }
}
