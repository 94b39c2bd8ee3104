//! Reports as text: one file per format.

mod json;
mod registry;
mod table;

pub use registry::{ALL, Entry, find};
