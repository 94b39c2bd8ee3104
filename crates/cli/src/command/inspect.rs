use proofmark::models::{DecisionModel as _, Features as _};
use serde_json::json;

use crate::args::{Inspect, InspectFormat};
use crate::failure::Failure;
use crate::output;

/// `proofmark inspect`.
pub(crate) fn run(args: &Inspect) -> Result<u8, Failure> {
    let device = proofmark::device(&args.device)?;
    let model = proofmark::model(&args.model, &device)?;
    let signature = model.signature();
    if args.format == InspectFormat::Json {
        let value = json!({
            "name": signature.name,
            "kind": "burn-module",
            "sha256": signature.sha256,
            "parameters": signature.parameters,
            "classes": signature.classes,
            "inputs": signature.modalities.as_ref(),
            "access": ["decisions", "scores", "gradients", "features"],
            "layers": model.taps(),
        });
        output::print(&serde_json::to_string_pretty(&value)?)?;
        return Ok(0);
    }
    let mut lines = vec![
        format!("model      {}", signature.name),
        "kind       Burn module".to_owned(),
        format!("sha256     {}", signature.sha256),
    ];
    if let Some(parameters) = signature.parameters {
        lines.push(format!("parameters {parameters}"));
    }
    lines.push(format!("classes    {}", signature.classes));
    for m in signature.modalities.iter() {
        lines.push(format!(
            "input      {} ({}, shape {:?}, values {}..{})",
            m.name,
            m.kind,
            m.shape,
            m.bounds.low(0),
            m.bounds.high(0)
        ));
    }
    lines.push("access     decisions, scores, gradients, features".to_owned());
    lines.push(format!("layers     {}", model.taps().join(", ")));
    output::print(&lines.join("\n"))?;
    Ok(0)
}
