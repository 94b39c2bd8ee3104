//! Files to host arrays: npz, npy, IDX, CSV, CIFAR, folders of images and the shipped digits; properties as [`vnnlib`]. Nothing else in
//! proofmark reads a data file, and nothing here knows a tensor.
//!
//! [`open`] turns a name or path into a [`Dataset`] that has been checked: finite values inside stated
//! bounds, one label and one distinct id per row. Every fault of a file is a [`DataError`] that names
//! the file, the field, what it holds and what was expected.
//!
//! A file is never believed about sizes: what it announces is compared with what it can hold before
//! memory is taken.

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
mod source;
mod subset;
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
pub use source::sha256_of;
pub use units::Units;
pub use whole::write_whole;
