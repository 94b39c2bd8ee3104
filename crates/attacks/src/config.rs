//! Turns a table of parameters into a checked configuration.

use std::fmt::Display;

use proofmark_engine::BuildError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads a configuration. Unknown and ill-typed fields are errors that name the field.
pub(crate) fn read<C: DeserializeOwned + Serialize + Default>(
    attack: &str,
    parameters: &toml::Table,
) -> Result<C, BuildError> {
    let known: Vec<String> = written(&C::default()).keys().cloned().collect();
    for field in parameters.keys() {
        if !known.contains(field) {
            let hint = proofmark_domain::hint(field, known.iter().map(String::as_str));
            return Err(BuildError {
                attack: attack.to_owned(),
                field: Some(field.clone()),
                problem: if known.is_empty() {
                    format!("no parameter `{field}`; it takes none")
                } else {
                    format!(
                        "no parameter `{field}`{hint}; it takes {}",
                        known.join(", ")
                    )
                },
            });
        }
    }
    parameters.clone().try_into().map_err(|e: toml::de::Error| {
        let message = e.message().trim().to_owned();
        let field = parameters.iter().find_map(|(k, v)| {
            let one: toml::Table = [(k.clone(), v.clone())].into_iter().collect();
            one.try_into::<C>().is_err().then(|| k.clone())
        });
        BuildError {
            attack: attack.to_owned(),
            problem: match &field {
                Some(f) => format!("{f} = {}: {message}", parameters[f]),
                None => message,
            },
            field,
        }
    })
}

/// Serialises a configuration for the report.
pub(crate) fn written(config: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
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
    if ok {
        return Ok(());
    }
    Err(BuildError {
        attack: attack.to_owned(),
        field: Some(field.to_owned()),
        problem: format!("{field} = {given}; expected {expected}"),
    })
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
