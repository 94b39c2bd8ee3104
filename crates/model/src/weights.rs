//! Weights of Burn modules as safetensors.

use std::path::Path;

use burn::module::Module;
use burn::store::{ModuleSnapshot, SafetensorsStore};

use crate::{ModelError, boundary};

/// Loads safetensors weights into a module of the same architecture.
///
/// Every parameter of the module must be in the file, with its shape; otherwise loading fails instead of silently
/// keeping initial values.
pub fn load_weights<M: Module>(module: &mut M, file: &Path) -> Result<(), ModelError> {
    let name = file.display().to_string();
    if !file.is_file() {
        return Err(ModelError::Weights {
            file: name,
            problem: "no such file".into(),
        });
    }
    load(module, SafetensorsStore::from_file(file), &name)
}

/// Loads safetensors weights from memory (a model embedded in the binary).
pub fn load_weights_from<M: Module>(module: &mut M, bytes: &[u8]) -> Result<(), ModelError> {
    load(
        module,
        SafetensorsStore::from_bytes(Some(bytes.to_vec())),
        "(embedded)",
    )
}

/// Writes a module's weights as safetensors, atomically: the complete file or none.
pub fn save_weights<M: Module>(module: &M, file: &Path) -> Result<(), ModelError> {
    let problem = |e: &dyn std::fmt::Display| ModelError::Weights {
        file: file.display().to_string(),
        problem: e.to_string(),
    };
    let mut store = SafetensorsStore::from_bytes(None);
    module.save_into(&mut store).map_err(|e| problem(&e))?;
    let bytes = store.get_bytes().map_err(|e| problem(&e))?;
    let part = file.with_extension("part");
    std::fs::write(&part, bytes)
        .and_then(|()| std::fs::rename(&part, file))
        .map_err(|e| {
            // Leave no partial file behind; if it cannot be removed, the original error still counts.
            let _ = std::fs::remove_file(&part);
            problem(&e)
        })
}

fn load<M: Module>(module: &mut M, store: SafetensorsStore, file: &str) -> Result<(), ModelError> {
    let problem = |problem: String| ModelError::Weights {
        file: file.to_owned(),
        problem,
    };
    // The store is third-party code reading a user's file: a panic in it becomes an error about that file.
    let result = boundary::guarded(file, || {
        let mut store = store.allow_partial(false);
        module
            .load_from(&mut store)
            .map_err(|e| problem(e.to_string()))
    })?;
    if result.missing.is_empty() {
        Ok(())
    } else {
        let names: Vec<String> = result.missing.iter().map(|m| format!("{m:?}")).collect();
        Err(problem(format!("no values for {}", names.join(", "))))
    }
}
