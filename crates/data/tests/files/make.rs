//! Files made byte by byte, without the crate's own writer.

use std::io::{Cursor, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use proofmark_data::{DataError, Dataset, Options, Units, open};
use proofmark_domain::Bounds;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Temporary folder with files, removed on drop.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// Opens bytes as a file of this name.
pub(crate) fn open_as(name: &str, bytes: &[u8], options: &Options) -> Result<Dataset, DataError> {
    open(&Folder::new().put(name, bytes), options)
}

/// Returns the message for bytes that must be refused, and checks that it names the file.
pub(crate) fn refusal(name: &str, bytes: &[u8], options: &Options) -> String {
    let message = open_as(name, bytes, options).unwrap_err().to_string();
    assert!(message.contains(name), "{message}");
    message
}

#[track_caller]
pub(crate) fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
}

pub(crate) fn unit() -> Options {
    within(0.0, 1.0)
}

pub(crate) fn scaled() -> Options {
    let mut options = Options::default();
    options.units = Some(Units::Scaled);
    options
}

pub(crate) fn raw() -> Options {
    let mut options = Options::default();
    options.units = Some(Units::Raw);
    options
}

pub(crate) fn classes(list: &str) -> Options {
    let mut options = unit();
    options.classes = Some(list.parse().unwrap());
    options
}

pub(crate) fn within(low: f32, high: f32) -> Options {
    let mut options = Options::default();
    options.bounds = Some(Bounds::uniform(low, high).unwrap());
    options
}

/// Returns a .npy file; `shape` as Python writes it, such as `(2, 3)`.
pub(crate) fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let header =
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

pub(crate) fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub(crate) fn i64s(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub(crate) fn labels(values: &[i64]) -> Vec<u8> {
    npy("<i8", false, &format!("({},)", values.len()), &i64s(values))
}

/// Returns an array of two rows of two numbers in `[0, 1]`.
pub(crate) fn small_x() -> Vec<u8> {
    npy("<f4", false, "(2, 2)", &f32s(&[0.0, 0.25, 0.5, 1.0]))
}

pub(crate) fn zipped(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    zipped_as(CompressionMethod::Deflated, entries)
}

pub(crate) fn zipped_as(method: CompressionMethod, entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = SimpleFileOptions::DEFAULT.compression_method(method);
        zip.start_file(format!("{name}.npy"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

pub(crate) fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Returns an IDX file of this type code.
pub(crate) fn idx(code: u8, shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, shape.len() as u8];
    bytes.extend(shape.iter().flat_map(|n| n.to_be_bytes()));
    bytes.extend(data);
    bytes
}
