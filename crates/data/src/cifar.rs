//! Binary files of CIFAR: records of labels and 3 x 32 x 32 pixels, channel by channel.
//!
//! | set | one record |
//! |---|---|
//! | CIFAR-10 | label, 3,072 pixels |
//! | CIFAR-100 | coarse label (not read), fine label, 3,072 pixels |
//!
//! **Reference.** A. Krizhevsky: *Learning Multiple Layers of Features from Tiny Images* (2009), "binary version".

use proofmark_domain::ReadFacts;

use crate::array::{Array, Dtype, Element};
use crate::dataset::Parts;
use crate::labels::{Label, resolve};
use crate::source::Source;
use crate::{Column, DataError, Dataset, Options};

const PIXELS: usize = 3 * 32 * 32;

/// Reads images `[3, 32, 32]`, with values in `[0, 1]` unless other units are stated, and their labels.
pub(crate) fn read(source: &Source, options: &Options) -> Result<Dataset, DataError> {
    let bytes = source.bytes.as_slice();
    let fits = |labels: &[u8]| {
        let record = labels.len() + PIXELS;
        bytes.len().is_multiple_of(record)
            && bytes
                .chunks_exact(record)
                .all(|r| r.iter().zip(labels).all(|(label, classes)| label < classes))
    };
    let head = if fits(&[10]) {
        1
    } else if fits(&[20, 100]) {
        2
    } else {
        return Err(source.corrupt(
            "CIFAR records",
            format!(
                "{} bytes are no whole number of records of 3,073 (CIFAR-10, labels below 10) or 3,074 (CIFAR-100, labels below 20 and 100)",
                bytes.len()
            ),
        ));
    };
    let records = bytes.chunks_exact(head + PIXELS);
    let labels: Vec<Label> = records
        .clone()
        .map(|r| Label::Number(r[head - 1].into()))
        .collect();
    let pixels: Vec<u8> = records.flat_map(|r| &r[head..]).copied().collect();
    let dtype = Dtype {
        element: Element::Unsigned,
        size: 1,
        big_endian: false,
        text: "u8".to_owned(),
    };
    let shape = vec![pixels.len() / PIXELS, 3, 32, 32];
    let images = Array::new(&source.file, "x", dtype, shape, false, &pixels)?;
    let (column, units) = Column::from_array(&images, options, options.bounds_of("x"), "")?;
    let mut reading = ReadFacts::of("x", units);
    let place = |row| format!("record {row}");
    let classes = options.classes.as_ref();
    let labels = resolve(&source.file, &labels, &place, classes, &mut reading)?;
    let parts = Parts::of_one(&source.name, &[bytes], column, Some(labels), reading);
    Dataset::assemble(&source.file, parts)
}
