//! Turns a table of parameters into a checked configuration.

use std::fmt::Display;

pub(crate) use proofmark_engine::write_parameters as written;
use proofmark_engine::{BadParameter, BuildError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a configuration. Unknown and ill-typed fields are errors that name the field.
pub(crate) fn read<C: DeserializeOwned + Serialize + Default>(
    attack: &str,
    parameters: &toml::Table,
) -> Result<C, BuildError> {
    proofmark_engine::read_parameters(parameters).map_err(|e| of(attack, e))
}

/// Returns the error of an attack's parameter.
fn of(attack: &str, BadParameter { field, problem }: BadParameter) -> BuildError {
    BuildError {
        attack: attack.to_owned(),
        field,
        problem,
    }
}

/// Returns an error that names the field, the value and the expected range unless `ok`.
pub(crate) fn require(
    ok: bool,
    attack: &str,
    field: &str,
    given: impl Display,
    expected: &str,
) -> Result<(), BuildError> {
    BadParameter::unless(ok, field, given, expected).map_err(|e| of(attack, e))
}

/// Returns an error unless `given` is at least 1.
pub(crate) fn at_least_one(attack: &str, field: &str, given: u32) -> Result<(), BuildError> {
    require(given >= 1, attack, field, given, "at least 1")
}

/// Returns an error unless `given` is finite and above 0; `unit` is named if it is not empty.
pub(crate) fn positive(
    attack: &str,
    field: &str,
    given: impl Into<f64> + Display + Copy,
    unit: &str,
) -> Result<(), BuildError> {
    let value: f64 = given.into();
    let mut expected = "a finite number above 0".to_owned();
    if !unit.is_empty() {
        expected = format!("{expected}, {unit}");
    }
    let ok = value.is_finite() && value > 0.0;
    require(ok, attack, field, given, &expected)
}

/// Returns an error unless `given` is finite and at least 0.
pub(crate) fn not_negative(
    attack: &str,
    field: &str,
    given: impl Into<f64> + Display + Copy,
) -> Result<(), BuildError> {
    let value: f64 = given.into();
    let ok = value.is_finite() && value >= 0.0;
    require(ok, attack, field, given, "a finite number of at least 0")
}

/// Returns an error unless `given` is above 0 and below 1.
pub(crate) fn between_0_and_1(
    attack: &str,
    field: &str,
    given: impl Into<f64> + Display + Copy,
) -> Result<(), BuildError> {
    let value: f64 = given.into();
    let ok = value > 0.0 && value < 1.0;
    require(ok, attack, field, given, "a number between 0 and 1")
}

/// Returns an error unless the number of last bisections is one that `f32` scores can resolve.
pub(crate) fn bisections(attack: &str, given: u32) -> Result<(), BuildError> {
    require(given <= 20, attack, "bisections", given, "0 to 20")
}

/// Returns an error unless the step size, if given, is finite and above 0.
pub(crate) fn steps_forward(attack: &str, step_size: Option<f64>) -> Result<(), BuildError> {
    step_size.map_or(Ok(()), |s| positive(attack, "step_size", s, "data units"))
}
