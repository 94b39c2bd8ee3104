//! The function under fuzzing; an ordinary test runs it over the corpus (`crates/onnx/tests/fuzz_corpus.rs`).

use burn::tensor::Device;
use proofmark_onnx::{OnnxError, OnnxFile, Session};

/// Reads a model from untrusted bytes and builds it. An error is acceptable; a panic or an excessive allocation is not.
pub(crate) fn load(bytes: &[u8]) -> Result<Session, OnnxError> {
    let file = OnnxFile::decode("untrusted", bytes.to_vec(), None)?;
    Session::new(file, &Device::flex())
}
