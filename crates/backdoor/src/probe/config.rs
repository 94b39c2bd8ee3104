//! Settings of probes.

use std::fmt::Display;

use proofmark_engine::{BadParameter, read_parameters};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ProbeError;

/// Reads the settings of probe `id`.
pub(super) fn read<C: DeserializeOwned + Serialize + Default>(
    id: &str,
    table: &toml::Table,
) -> Result<C, ProbeError> {
    read_parameters(table).map_err(|e| of(id, &e))
}

fn of(id: &str, e: &BadParameter) -> ProbeError {
    ProbeError::Setting(format!("probe `{id}`: {}", e.problem))
}

/// Refuses a setting outside its range.
pub(super) fn check(
    id: &str,
    name: &str,
    value: impl Display,
    within: bool,
    expected: &str,
) -> Result<(), ProbeError> {
    BadParameter::unless(within, name, value, expected).map_err(|e| of(id, &e))
}

/// Refuses a number of steps, points or the like that is 0.
pub(super) fn at_least_one(id: &str, name: &str, value: usize) -> Result<(), ProbeError> {
    check(id, name, value, value >= 1, "1 or more")
}

/// Refuses a number that is not finite and above 0.
pub(super) fn positive(id: &str, name: &str, value: f64) -> Result<(), ProbeError> {
    let within = value > 0.0 && value.is_finite();
    check(id, name, value, within, "a number above 0")
}

/// Refuses a number that is not finite and at least 0.
pub(super) fn not_negative(id: &str, name: &str, value: f64) -> Result<(), ProbeError> {
    let within = value >= 0.0 && value.is_finite();
    check(id, name, value, within, "0 or more")
}
