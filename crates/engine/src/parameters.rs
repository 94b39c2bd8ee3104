//! Reads parameters from a table: what `--set ID.FIELD=V` and the tables of a policy hold.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Parameters;

/// A parameter that cannot be read or is out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct BadParameter {
    /// Name of the invalid parameter, if one is to blame.
    pub field: Option<String>,
    /// What is wrong and what was expected.
    pub problem: String,
}

impl BadParameter {
    /// Returns an error that names the field, the value and the expected range unless `ok`.
    pub fn unless(
        ok: bool,
        field: &str,
        given: impl std::fmt::Display,
        expected: &str,
    ) -> Result<(), Self> {
        if ok {
            return Ok(());
        }
        Err(Self {
            field: Some(field.to_owned()),
            problem: format!("{field} = {given}; expected {expected}"),
        })
    }
}

/// Reads a configuration. Unknown and ill-typed fields are errors that name the field.
pub fn read_parameters<C: DeserializeOwned + Serialize + Default>(
    parameters: &toml::Table,
) -> Result<C, BadParameter> {
    let known: Vec<String> = write_parameters(&C::default()).keys().cloned().collect();
    for field in parameters.keys() {
        if !known.contains(field) {
            let hint = proofmark_domain::hint(field, known.iter().map(String::as_str));
            return Err(BadParameter {
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
        BadParameter {
            problem: match &field {
                Some(f) => format!("{f} = {}: {message}", parameters[f]),
                None => message,
            },
            field,
        }
    })
}

/// Returns the resolved parameters of a configuration, for reports and lists.
pub fn write_parameters(config: &impl Serialize) -> Parameters {
    match serde_json::to_value(config) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}
