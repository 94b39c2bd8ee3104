//! Turns a table of parameters into a configuration, and a configuration into what a report shows.

use proofmark_domain::hint;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ProbeError;

/// Reads a configuration. Unknown and ill-typed parameters are errors that name them.
pub(crate) fn read<C: DeserializeOwned + Serialize + Default>(
    probe: &str,
    table: &toml::Table,
) -> Result<C, ProbeError> {
    let known: Vec<String> = written(&C::default()).keys().cloned().collect();
    if let Some(field) = table.keys().find(|k| !known.contains(k)) {
        let hint = hint(field, known.iter().map(String::as_str));
        return Err(ProbeError::parameter(
            probe,
            format!(
                "no parameter `{field}`{hint}; it takes {}",
                known.join(", ")
            ),
        ));
    }
    table.clone().try_into().map_err(|e: toml::de::Error| {
        let wrong = table.iter().find(|(k, v)| {
            let one: toml::Table = [((*k).clone(), (*v).clone())].into_iter().collect();
            one.try_into::<C>().is_err()
        });
        let message = e.message().trim().to_owned();
        ProbeError::parameter(
            probe,
            wrong.map_or(message.clone(), |(k, v)| format!("{k} = {v}: {message}")),
        )
    })
}

/// Serialises a configuration for the report.
pub(crate) fn written(config: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}
