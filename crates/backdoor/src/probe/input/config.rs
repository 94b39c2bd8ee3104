//! Turns a table of parameters into a configuration, and a configuration into what a report shows.

pub(crate) use proofmark_engine::write_parameters as written;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ProbeError;

/// Reads a configuration. Unknown and ill-typed parameters are errors that name them.
pub(crate) fn read<C: DeserializeOwned + Serialize + Default>(
    probe: &str,
    table: &toml::Table,
) -> Result<C, ProbeError> {
    proofmark_engine::read_parameters(table).map_err(|e| ProbeError::parameter(probe, e.problem))
}
