//! Models by name.

use burn::tensor::Device;
use proofmark_model::BurnModel;

use crate::{RunError, shipped};

/// The model a user names: one that is shipped. (ONNX files are to come; Burn modules go through the library.)
pub fn model(name: &str, device: &Device) -> Result<BurnModel, RunError> {
    if let Some(model) = shipped::model(name, device) {
        return Ok(model?);
    }
    let is_onnx = std::path::Path::new(name)
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("onnx"));
    let hint = if is_onnx {
        " (this version does not read ONNX files)".to_owned()
    } else {
        proofmark_domain::nearest(name, shipped::NAMES)
            .map_or_else(String::new, |n| format!(" (did you mean `{n}`?)"))
    };
    Err(RunError::UnknownModel {
        given: name.to_owned(),
        hint,
        known: shipped::NAMES.join(", "),
    })
}
