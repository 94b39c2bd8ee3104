//! Runs the fuzzer's corpus through the fuzzer's own function in every ordinary test run.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/load.rs"]
mod load;

#[test]
fn every_file_of_the_corpus_loads_or_is_refused() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/onnx_load");
    let mut built = 0;
    let mut files = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() < 10_000, "{}", path.display());
        files += 1;
        match load::load(&bytes) {
            Ok(_) => built += 1,
            Err(e) => assert!(!e.to_string().is_empty(), "{}", path.display()),
        }
        // Truncated files, which the fuzzer tries first.
        for length in 0..bytes.len() {
            let _ = load::load(&bytes[..length]);
        }
    }
    assert!(files >= 10 && built >= 5, "{built} of {files} built");
}
