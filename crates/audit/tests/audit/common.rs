//! Helpers shared by the tests on real tables.
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::path::{Path, PathBuf};

/// Returns the path of a table of `datasets/tabular` in `../shared/data` (or `$PROOFMARK_DATA`); with an empty name,
/// that of the folder. If it is absent, prints a notice and returns `None`.
pub(crate) fn tabular(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PROOFMARK_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join("datasets/tabular").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: no ../shared/data (or $PROOFMARK_DATA)");
    None
}
