//! Opens a table from a file of either format, and records where it came from.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Options, Table};
use crate::AuditError;

/// The file a table was read from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// File name without folders, so that a report contains no local paths.
    pub file: String,
    /// SHA-256 digest of the file, in hex.
    pub sha256: String,
    /// How its columns were read.
    pub options: Options,
}

impl Table {
    /// Reads a file and keeps its digest: an npz by its extension, otherwise a CSV.
    pub fn open(path: &Path, options: &Options) -> Result<Self, AuditError> {
        let npz = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("npz"));
        let mut table = if npz {
            Self::npz(path, options)?
        } else {
            Self::csv(path, options)?
        };
        let file = path.file_name().unwrap_or(path.as_os_str());
        table.origin = Some(Origin {
            file: file.to_string_lossy().into_owned(),
            sha256: proofmark_data::sha256_of(path)?,
            options: options.clone(),
        });
        Ok(table)
    }
}
