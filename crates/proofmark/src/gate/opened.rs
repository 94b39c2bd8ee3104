use std::sync::Arc;

use proofmark_audit::Table;
use proofmark_data::Dataset;

use super::GateError;
use crate::model::OpenModel;

/// The models, data sets and tables that the checks of a policy have opened so far. Checks of the same model, the same
/// selection of data or the same table share them.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) data: Vec<(String, Arc<Dataset>)>,
    pub(super) models: Vec<(String, Arc<OpenModel>)>,
    pub(super) tables: Vec<(String, Arc<Table>)>,
}

/// Returns the value under `key`, made if it is not there yet.
pub(super) fn shared<T>(
    kept: &mut Vec<(String, Arc<T>)>,
    key: String,
    make: impl FnOnce() -> Result<T, GateError>,
) -> Result<Arc<T>, GateError> {
    if let Some((_, found)) = kept.iter().find(|(k, _)| *k == key) {
        return Ok(found.clone());
    }
    let made = Arc::new(make()?);
    kept.push((key, made.clone()));
    Ok(made)
}
