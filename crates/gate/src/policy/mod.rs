//! The policy file, `proofmark/policy/1`: reads TOML into checked values and reports every error with its line, column
//! and field.
//!
//! Two stages: `reader` walks the parsed TOML with its spans and returns typed fields; the other files check them.
//! Serde is not used here: its errors name neither the field nor the position of a value inside an attack's table.

mod check;
mod data;
mod error;
mod exemption;
mod file;
mod model;
mod reader;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use check::COMMON;
pub use check::{Check, Effect};
pub(crate) use data::find as find_data;
pub use data::{DataEntry, DataRef};
pub use error::PolicyError;
pub use exemption::{Accept, Exemption, Waiver};
pub(crate) use file::Named;
pub use file::{Known, Limits, POLICY_SCHEMA, Policy};
pub(crate) use model::find as find_model;
pub use model::{Layout, ModelEntry, ModelRef, Preprocess};
pub(crate) use reader::{Field, Section, hint};
