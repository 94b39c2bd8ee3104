use std::path::{Path, PathBuf};

/// Returns a folder of the models and data beside the repository (`../shared/data`, or `$PROOFMARK_DATA`). `None` if it
/// is absent; a test that needs it then reports that it was skipped.
pub fn shared(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PROOFMARK_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let folder = root.join(folder);
    folder.is_dir().then_some(folder)
}
