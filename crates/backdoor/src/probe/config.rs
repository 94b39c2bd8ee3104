//! Settings of probes.

use serde::de::DeserializeOwned;

use super::ProbeError;

/// Reads the settings of probe `id`.
pub(super) fn read<C: DeserializeOwned>(id: &str, table: &toml::Table) -> Result<C, ProbeError> {
    C::deserialize(table.clone())
        .map_err(|e| ProbeError::Setting(format!("probe `{id}`: {}", e.message())))
}

/// Refuses a setting outside its range.
pub(super) fn check(
    id: &str,
    name: &str,
    value: f64,
    within: bool,
    expected: &str,
) -> Result<(), ProbeError> {
    if within {
        return Ok(());
    }
    Err(ProbeError::Setting(format!(
        "probe `{id}`: {name} = {value}; expected {expected}"
    )))
}
