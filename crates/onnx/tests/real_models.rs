//! Loads every real model of `../shared/data` (or `$PROOFMARK_DATA`) and reports how its samples are batched.
#![expect(
    clippy::print_stderr,
    reason = "a test that is skipped says so, and figures are shown"
)]

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use proofmark_domain::{Bounds, OutputKind};
use proofmark_onnx::{BatchMode, OnnxFile, OnnxModel, OnnxOptions, declared_modalities};

fn onnx_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            onnx_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "onnx") {
            found.push(path);
        }
    }
}

#[test]
fn every_model_loads_and_takes_samples_together() {
    let Some(root) = proofmark_testkit::shared("") else {
        eprintln!("SKIPPED: no ../shared/data (or $PROOFMARK_DATA)");
        return;
    };
    let mut files = Vec::new();
    for folder in ["models", "backdoor", "vnn"] {
        onnx_files(&root.join(folder), &mut files);
    }
    assert!(files.len() >= 50, "{}", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let opened = OnnxFile::open(&path).and_then(|mut file| {
            if name.contains("silero") {
                for input in file.inputs() {
                    match input.name.as_str() {
                        "sr" => file.fix_number("sr", 16000.0)?,
                        "state" | "h" | "c" => file.fix_number(&input.name, 0.0)?,
                        _ => {}
                    }
                }
            }
            let bounds = Bounds::uniform(0.0, 1.0).unwrap();
            let mut modalities = declared_modalities(&file, &bounds).or_else(|e| {
                if name.contains("silero") {
                    Ok(vec![proofmark_domain::Modality {
                        name: "input".into(),
                        kind: proofmark_domain::Kind::Audio,
                        shape: vec![512],
                        bounds: Bounds::uniform(-1.0, 1.0).unwrap(),
                    }]
                    .into())
                } else {
                    Err(e)
                }
            })?;
            if modalities.is_empty() {
                modalities = Vec::new().into();
            }
            let mut options = OnnxOptions::default();
            options.raw = name.starts_with("vnn");
            if name.contains("silero") {
                options.kind = OutputKind::Probabilities;
            }
            OnnxModel::new(file, &modalities, &options, &Device::flex())
        });
        match opened {
            Ok(model) => {
                let mode = model.batch_mode().to_string();
                let note = model.scores_note().unwrap_or_default();
                eprintln!(
                    "{name}: {mode}. {note} {}",
                    model.approximate_gradients().join(", ")
                );
                if matches!(model.batch_mode(), BatchMode::Chunks { .. }) {
                    wrong.push(format!("{name}: {mode}"));
                }
            }
            Err(e) => wrong.push(format!("{name}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
