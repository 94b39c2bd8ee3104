//! Reads files into host arrays: npz, npy, IDX, CSV, CIFAR, folders of images and the shipped digits; properties as
//! [`vnnlib`]. No other crate of proofmark reads a data file, and this crate does not use tensors.
//!
//! [`open`] opens a name or path as a checked [`Dataset`]: finite values inside stated bounds, one label and one
//! distinct id per row. Every fault of a file is a [`DataError`] that names the file, the field, what it holds and what
//! was expected.
//!
//! Sizes stated in a file are not trusted: they are compared with what the file can hold before memory is allocated.

mod array;
mod cifar;
mod column;
mod csv;
mod dataset;
mod digits;
mod error;
mod idx;
mod images;
mod labels;
mod npy;
mod npy_set;
pub mod npz;
mod number;
mod open;
mod options;
mod quotes;
mod records;
mod roles;
mod select;
mod sequence;
mod source;
mod subset;
mod targets;
mod typed;
mod units;
pub mod vnnlib;
mod whole;

pub use column::Column;
pub use dataset::Dataset;
pub use digits::SHIPPED;
pub use error::DataError;
pub use images::{Color, Images, Resize, Side};
pub use labels::Classes;
pub use ndarray;
pub use number::expected_number;
pub use open::{Arrays, Options, files, open};
pub use proofmark_domain::Delimiter;
pub use records::{Records, stream};
pub use select::{Rows, Selection};
pub use sequence::sequence;
pub use source::sha256_of;
pub use units::Units;
pub use whole::write_whole;
