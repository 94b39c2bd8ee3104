//! Compares operators of onnxruntime's own domain, and nets made by its tools, with onnxruntime's results
//! (`tests/golden/README.md`, `tests/peers/generate_microsoft.py`).

mod goldens;

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Device;
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_model::{DecisionModel, GradientModel, Query, ScoreModel};
use proofmark_onnx::{Array, BatchMode, OnnxFile, OnnxModel, OnnxOptions};
use proofmark_threat::{Batch, host};

fn folder() -> PathBuf {
    goldens::folder("microsoft")
}

fn values(name: &str) -> BTreeMap<String, Array> {
    goldens::values(&folder().join(name))
}

/// Integers must be equal; floats must agree within 2e-5 of the largest.
fn agree(given: &Array, expected: &Array) -> Result<(), String> {
    if (given.shape(), given.dtype()) != (expected.shape(), expected.dtype()) {
        return Err(format!(
            "{} {:?}; expected {} {:?}",
            given.dtype(),
            given.shape(),
            expected.dtype(),
            expected.shape()
        ));
    }
    let (a, b) = (given.to_f64()?, expected.to_f64()?);
    let largest = b.iter().fold(0f64, |m, x| m.max(x.abs()));
    let allowed = if expected.dtype().is_float() {
        2e-5 * largest + 1e-6
    } else {
        0.0
    };
    let wrong: Vec<usize> = (0..a.len())
        .filter(|i| (a[*i] - b[*i]).abs().is_nan() || (a[*i] - b[*i]).abs() > allowed)
        .collect();
    match wrong.first() {
        None => Ok(()),
        Some(i) => Err(format!(
            "{} of {} elements, the first {} instead of {}",
            wrong.len(),
            a.len(),
            a[*i],
            b[*i]
        )),
    }
}

/// Runs each operator with its inputs given at run time and with its inputs known at load time.
#[test]
fn operators_equal_those_of_onnxruntime() {
    goldens::operators_agree(&folder(), agree, 200);
}

fn scores(path: &str, x: &Array) -> (OnnxModel, Vec<f32>, Vec<f32>) {
    let file = OnnxFile::open(&folder().join(path)).unwrap();
    let shape = x.shape()[1..].to_vec();
    let modality = Modality {
        name: "x".into(),
        kind: if shape.len() == 3 {
            Kind::Image
        } else {
            Kind::Table
        },
        shape,
        bounds: Bounds::uniform(-4.0, 4.0).unwrap(),
    };
    let device = Device::flex();
    let model = OnnxModel::new(file, &[modality], &OnnxOptions::default(), &device)
        .unwrap_or_else(|e| panic!("{e}"));
    let own = DecisionModel::signature(&model).modalities.clone();
    let batch = Batch::from_host(own, vec![x.to_f32().unwrap()], &device).unwrap();
    let rows: Vec<u64> = (0..x.shape()[0] as u64).collect();
    let query = Query::one_per_row(batch, &rows);
    let scores = host(&model.scores(&query).unwrap());
    let gradient = model
        .gradient(&query, &|scores, _| {
            scores.clone().slice([0..rows.len(), 0..1]).squeeze_dim(1)
        })
        .unwrap();
    let gradient = host(&gradient.gradient.blocks()[0]);
    (model, scores, gradient)
}

/// Runs whole nets, exported for any number of samples and for one.
#[test]
fn nets_are_those_of_onnxruntime() {
    for (path, golden, exact) in [
        ("qoperator-u8.onnx", "qoperator-u8.npz", true),
        ("qoperator-u8-one.onnx", "qoperator-u8.npz", true),
        ("qoperator-i8.onnx", "qoperator-i8.npz", true),
        ("qdq-u8.onnx", "qdq-u8.npz", true),
        ("qdq-u8-one.onnx", "qdq-u8.npz", true),
        ("qdq-i8.onnx", "qdq-i8.npz", true),
        ("optimised-conv.onnx", "optimised-conv.npz", false),
        (
            "optimised-transformer.onnx",
            "optimised-transformer.npz",
            false,
        ),
    ] {
        let values = values(golden);
        let (x, y) = (&values["in:x"], &values["out:y"]);
        let (model, scores, gradient) = scores(path, x);
        let given = Array::try_new(y.shape(), scores).unwrap();
        if exact {
            // A single rounding in the other direction would move a score by a quantum.
            assert_eq!(&given, y, "{path}");
        } else {
            agree(&given, y).unwrap_or_else(|e| panic!("{path}: {e}"));
        }
        let together = !matches!(model.batch_mode(), BatchMode::Chunks { .. });
        assert!(together, "{path}: {}", model.batch_mode());
        assert_eq!(model.approximate_gradients().is_empty(), !exact, "{path}");
        let moved = gradient.iter().filter(|g| **g != 0.0).count();
        assert!(
            moved * 2 > gradient.len(),
            "{path}: {moved} of {}",
            gradient.len()
        );
    }
}
