use proofmark::models::{DecisionModel as _, Features as _};
use serde_json::json;

use crate::args::{Inspect, InspectFormat};
use crate::failure::Failure;

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
        println!("{}", serde_json::to_string_pretty(&value)?);
        return Ok(0);
    }
    println!("model      {}", signature.name);
    println!("kind       Burn module");
    println!("sha256     {}", signature.sha256);
    if let Some(parameters) = signature.parameters {
        println!("parameters {parameters}");
    }
    println!("classes    {}", signature.classes);
    for m in signature.modalities.iter() {
        println!(
            "input      {} ({}, shape {:?}, values {}..{})",
            m.name,
            m.kind,
            m.shape,
            m.bounds.low(0),
            m.bounds.high(0)
        );
    }
    println!("access     decisions, scores, gradients, features");
    println!("layers     {}", model.taps().join(", "));
    Ok(0)
}
