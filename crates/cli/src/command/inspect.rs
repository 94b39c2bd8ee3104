use proofmark::burn::tensor::Device;
use proofmark::domain::Bounds;
use proofmark::models::{BurnModel, DecisionModel as _, Features as _, Numbers};
use proofmark::onnx::{
    DType, Declared, Dim, Gradient, OnnxFile, OnnxModel, OnnxOptions, OperatorUse, Summary,
    declared_modalities,
};
use proofmark::{ModelSource, shipped};
use serde_json::{Value, json};

use crate::args::{Inspect, InspectFormat};
use crate::failure::Failure;
use crate::output;

/// Access to a model that gives scores, gradients and inner values.
const ACCESS: [&str; 4] = ["decisions", "scores", "gradients", "features"];

/// Runs `proofmark inspect` and returns the exit code.
pub(crate) fn run(args: &Inspect) -> Result<u8, Failure> {
    let device = proofmark::device(&args.device)?;
    let mut source = ModelSource::new(&args.model);
    source.fixed = args.fixed.values()?;
    let (value, lines, refused) = if let Some(model) = shipped::model(&args.model, &device) {
        let model = model?;
        args.fixed.refuse(&args.model)?;
        if let Some(name) = &args.output {
            return Err(Failure(format!(
                "--output {name}: model `{}` has one output; leave the option out",
                args.model
            )));
        }
        (module_json(&model), module_text(&model), None)
    } else {
        let seen = Seen::new(source.onnx_file()?, args.output.clone(), &device)?;
        (seen.json(), seen.text(), seen.refused())
    };
    match args.format {
        InspectFormat::Json => output::print(&serde_json::to_string_pretty(&value)?)?,
        InspectFormat::Text => output::print(&lines.join("\n"))?,
    }
    refused.map_or(Ok(0), |why| Err(Failure(why)))
}

fn module_json(model: &BurnModel) -> Value {
    let signature = model.signature();
    json!({
        "name": signature.name,
        "kind": "burn-module",
        "sha256": signature.sha256,
        "parameters": signature.parameters,
        "classes": signature.classes,
        "inputs": signature.modalities.as_ref(),
        "access": ACCESS,
        "layers": model.taps(),
    })
}

fn module_text(model: &BurnModel) -> Vec<String> {
    let signature = model.signature();
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
    lines.push(format!("access     {}", ACCESS.join(", ")));
    lines.push(format!("layers     {}", model.taps().join(", ")));
    lines
}

/// Returns the inputs that no attack may change: ids, masks, positions.
fn frozen(model: &OnnxModel) -> Vec<&str> {
    let signature = model.signature();
    let inputs = signature.modalities.iter().zip(&signature.numbers);
    inputs
        .filter(|(_, n)| matches!(n, Numbers::Fixed { .. }))
        .map(|(m, _)| m.name.as_str())
        .collect()
}

/// What kernels compute together, or why they compute nothing.
fn kernels(model: &OnnxModel) -> Value {
    match model.plan() {
        Ok(steps) => {
            json!({ "instruction_set": model.instruction_set(), "steps": steps, "problem": null })
        }
        Err(why) => json!({ "instruction_set": null, "steps": null, "problem": why }),
    }
}

/// Returns the access that a model allows, without gradients if every input is frozen.
fn access(model: &OnnxModel) -> Vec<&'static str> {
    let changeable = frozen(model).len() < model.signature().modalities.len();
    let mut all = ACCESS.to_vec();
    all.retain(|a| changeable || *a != "gradients");
    all
}

/// Result of inspecting an ONNX file.
struct Seen {
    summary: Summary,
    /// Why some outputs cannot be computed; `None` if all can.
    problem: Option<String>,
    /// Value used as the scores if it is not the first output.
    output: Option<String>,
    /// The file opened as a classifier, or why it cannot be.
    model: Result<OnnxModel, String>,
    /// Whether opening it as a classifier needs data, because the file leaves sizes open.
    needs_data: bool,
}

impl Seen {
    fn new(file: OnnxFile, output: Option<String>, device: &Device) -> Result<Self, Failure> {
        let summary = file.summary();
        let problem = file.check(device).err().map(|e| e.to_string());
        // Some outputs may not depend on the unsupported operators.
        let output = output.or_else(|| match &problem {
            Some(_) if !summary.unsupported.is_empty() => summary.computable.first().cloned(),
            _ => None,
        });
        // The bounds do not affect how the model takes samples.
        let bounds = Bounds::uniform(0.0, 1.0)?;
        let mut options = OnnxOptions::default();
        options.output.clone_from(&output);
        let inputs = declared_modalities(&file, &bounds);
        // Data does not help with every input that cannot be declared: one may be too large for any data.
        let open = |d: &Declared| {
            let dims = d.shape.as_deref().unwrap_or_default();
            let sample = &dims[usize::from(dims.len() > 1)..];
            sample.iter().any(|dim| !matches!(dim, Dim::Fixed(_)))
        };
        let needs_data = inputs.is_err() && file.inputs().iter().any(open);
        let model = match &problem {
            Some(problem) if output.is_none() => Err(problem.clone()),
            _ => inputs
                .and_then(|m| OnnxModel::new(file, &m, &options, device))
                .map_err(|e| e.to_string()),
        };
        Ok(Self {
            summary,
            problem,
            output,
            model,
            needs_data,
        })
    }

    /// Returns why the model cannot be run at all; `None` if it can, even if it is no classifier.
    fn refused(&self) -> Option<String> {
        self.problem.clone().filter(|_| !self.runs())
    }

    /// Whether at least one output, or inner value, can be computed.
    fn runs(&self) -> bool {
        let unsupported = !self.summary.unsupported.is_empty();
        self.problem.is_none() || (unsupported && !self.summary.computable.is_empty())
    }

    /// Returns the JSON form; the command's help describes the keys.
    fn json(&self) -> Value {
        let s = &self.summary;
        let model = self.model.as_ref().ok();
        json!({
            "name": s.name,
            "kind": "onnx",
            "sha256": s.sha256,
            "producer": s.producer,
            "ir_version": s.ir_version,
            "opsets": s.opsets,
            "parameters": s.parameters,
            "inputs": s.inputs.iter().map(declared).collect::<Vec<_>>(),
            "outputs": s.outputs.iter().map(declared).collect::<Vec<_>>(),
            "supported": self.problem.is_none(),
            "problem": self.problem,
            "computable": s.computable,
            "output": self.output,
            "notes": model.map(OnnxModel::notes),
            "operators": s.operators.iter().map(operator).collect::<Vec<_>>(),
            "unsupported": s.unsupported.iter().map(|u| json!({
                "node": u.node,
                "operator": u.operator,
                "opset": u.opset,
            })).collect::<Vec<_>>(),
            "access": model.map(access).unwrap_or_default(),
            "frozen": model.map(frozen),
            "no_access": self.model.as_ref().err(),
            "classes": model.map(|m| m.signature().classes),
            "batch": model.map(|m| m.batch_mode().to_string()),
            "kernels": model.map(kernels),
            "scores": model.and_then(OnnxModel::scores_note),
            "approximate_gradients": model.map(OnnxModel::approximate_gradients),
            "layers": model.map(OnnxModel::taps),
        })
    }

    fn text(&self) -> Vec<String> {
        let s = &self.summary;
        let mut lines = vec![
            format!("model      {}", s.name),
            format!("kind       ONNX file{}", made_by(s)),
            format!("sha256     {}", s.sha256),
            format!("parameters {}", s.parameters),
        ];
        for (what, list) in [("input ", &s.inputs), ("output", &s.outputs)] {
            for d in list {
                let dtype = d.dtype.map_or("another type", |t| t.name());
                lines.push(format!(
                    "{what}     {} ({dtype}, {})",
                    d.name,
                    d.shape_text()
                ));
            }
        }
        lines.extend(table(&s.operators));
        for node in &s.unsupported {
            lines.push(format!("unsupported {node}"));
        }
        if let (Some(output), Ok(_)) = (&self.output, &self.model) {
            let why = if self.problem.is_some() {
                ", which needs nothing that is unsupported (pass it to other commands, too)"
            } else {
                ""
            };
            lines.push(format!("taken      --output {output}{why}"));
        }
        match &self.model {
            Ok(model) => {
                for note in model.notes() {
                    lines.push(format!("note       {note}"));
                }
                lines.push(format!("classes    {}", model.signature().classes));
                lines.push(format!("batch      {}", model.batch_mode()));
                lines.push(match model.plan() {
                    Ok(steps) => format!(
                        "kernels    {}, {} steps (--format json lists them); a row's bits depend on that row alone",
                        model.instruction_set().unwrap_or_default(),
                        steps.len()
                    ),
                    Err(why) => format!("kernels    none, operators are computed one by one: {why}"),
                });
                if let Some(note) = model.scores_note() {
                    lines.push(format!("scores     {note}"));
                }
                let rough = model.approximate_gradients();
                if !rough.is_empty() {
                    lines.push(format!(
                        "gradients  replaced, zero or cut at {}",
                        rough.join(", ")
                    ));
                }
                for name in frozen(model) {
                    let input = s.inputs.iter().find(|d| d.name == name);
                    let dtype = input.and_then(|d| d.dtype).map_or("integers", DType::name);
                    lines.push(format!(
                        "frozen     {name} ({dtype}): read as ids, places or a mask, so no attack may change it (--freeze {name})"
                    ));
                }
                let access = access(model);
                let none = if access.contains(&"gradients") {
                    ""
                } else {
                    "; no gradients, since no input may be changed: there is nothing to attack"
                };
                lines.push(format!("access     {}{none}", access.join(", ")));
                lines.push(format!(
                    "layers     {} inner values (--format json names them)",
                    model.taps().len()
                ));
            }
            Err(_) if !s.unsupported.is_empty() && !self.runs() => {
                lines.push(
                    "access     none: it cannot be run: it needs unsupported operators".to_owned(),
                );
            }
            Err(why) if !self.runs() => {
                lines.push(format!("access     none: it cannot be run: {why}"));
            }
            Err(why) if self.needs_data => lines.push(format!(
                "access     settled by the data that attack, infer or a policy give it: {why}"
            )),
            Err(why) => lines.push(format!(
                "access     runs (proofmark infer), and is no classifier as it stands: {why}"
            )),
        }
        lines
    }
}

fn made_by(s: &Summary) -> String {
    let producer = s.producer.as_ref().map(|p| format!("by {p}"));
    let ir = s.ir_version.map(|v| format!("IR version {v}"));
    let sets = s.opsets.iter().map(|(d, v)| format!("{d} opset {v}"));
    let all: Vec<String> = producer.into_iter().chain(ir).chain(sets).collect();
    if all.is_empty() {
        String::new()
    } else {
        format!(" ({})", all.join(", "))
    }
}

/// Returns an input or output as JSON; a dimension is its length, its name or null.
fn declared(d: &Declared) -> Value {
    let dim = |dim: &Dim| match dim {
        Dim::Fixed(n) => json!(n),
        Dim::Named(name) => json!(name),
        Dim::Free => Value::Null,
    };
    json!({
        "name": d.name,
        "dtype": d.dtype.map(DType::name),
        "shape": d.shape.as_ref().map(|s| s.iter().map(dim).collect::<Vec<_>>()),
    })
}

const fn gradient(gradient: Gradient) -> &'static str {
    match gradient {
        Gradient::Exact => "exact",
        Gradient::Zero => "zero",
        Gradient::StraightThrough => "straight-through",
        Gradient::None => "none",
    }
}

fn operator(o: &OperatorUse) -> Value {
    json!({
        "name": o.name,
        "domain": o.domain,
        "opset": o.opset,
        "count": o.count,
        "supported": o.support.is_some(),
        "gradient": o.support.map(|s| gradient(s.gradient)),
        "reads_back": o.support.map(|s| s.reads_back),
    })
}

fn table(operators: &[OperatorUse]) -> Vec<String> {
    let name = |o: &OperatorUse| {
        if o.domain == "ai.onnx" {
            o.name.clone()
        } else {
            format!("{}.{}", o.domain, o.name)
        }
    };
    let width = operators.iter().map(|o| name(o).len()).max().unwrap_or(0);
    operators
        .iter()
        .map(|o| {
            let about = match o.support {
                None => "not supported".to_owned(),
                Some(s) => format!(
                    "gradient {}{}",
                    gradient(s.gradient),
                    if s.reads_back {
                        ", computed on the host"
                    } else {
                        ""
                    }
                ),
            };
            format!("operator   {:width$} {:>5} × {about}", name(o), o.count)
        })
        .collect()
}
