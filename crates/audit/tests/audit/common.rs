//! What tests on real tables share.
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::path::{Path, PathBuf};

/// A table of `datasets/tabular` in `../shared/data` (or `$PROOFMARK_DATA`); with no name the folder. None, with a word,
/// where it is absent.
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
