//! Compares gradients of whole real models with `PyTorch` in double precision.
//!
//! ```text
//! python tests/peers/torch_gradients.py        # needs onnx2torch and ../shared/data (or $PROOFMARK_DATA)
//! cargo test --workspace --test peer_gradients
//! ```
#![expect(
    clippy::print_stderr,
    reason = "a test that is skipped says so, and figures are shown"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use proofmark_data::npz::{self, AnyArray};
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_model::{DecisionModel, GradientModel, Query};
use proofmark_onnx::{OnnxFile, OnnxModel, OnnxOptions};
use proofmark_threat::{Batch, host};

/// Returns the folder that `tests/peers/torch_gradients.py` wrote to.
fn peers() -> Option<PathBuf> {
    let path = std::env::var_os("PROOFMARK_PEER_GRADIENTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peer-gradients"),
        PathBuf::from,
    );
    path.is_dir().then_some(path)
}

fn numbers(arrays: &BTreeMap<String, AnyArray>, name: &str) -> Vec<f64> {
    match &arrays[name] {
        AnyArray::F32(a) => a.iter().map(|x| f64::from(*x)).collect(),
        AnyArray::F64(a) => a.iter().copied().collect(),
        other => panic!("{name} is {other:?}"),
    }
}

/// Returns the largest deviation, relative to the largest value.
fn off(given: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(given.len(), expected.len());
    let size = expected.iter().fold(0f64, |m, x| m.max(x.abs()));
    given
        .iter()
        .zip(expected)
        .map(|(a, b)| (f64::from(*a) - b).abs() / size)
        .fold(0.0, f64::max)
}

#[test]
fn gradients_of_real_models_equal_those_of_pytorch() {
    let (Some(data), Some(peers)) = (proofmark_testkit::shared(""), peers()) else {
        eprintln!(
            "SKIPPED: no ../shared/data, or no target/peer-gradients (tests/peers/torch_gradients.py)"
        );
        return;
    };
    let mut files: Vec<PathBuf> = fs::read_dir(peers)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 6, "{} models", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let name = path
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .replace("__", "/");
        let arrays: BTreeMap<String, AnyArray> = npz::arrays(&path).unwrap().into_iter().collect();
        let AnyArray::F32(x) = &arrays["x"] else {
            panic!("x is not float32")
        };
        let file = OnnxFile::open(&data.join(&name)).unwrap();
        let rows = x.shape()[0];
        let modality = Modality {
            name: file.inputs()[0].name.clone(),
            kind: Kind::Table,
            shape: x.shape()[1..].to_vec(),
            bounds: Bounds::uniform(-1000.0, 1000.0).unwrap(),
        };
        let device = Device::flex();
        let options = OnnxOptions::default();
        let model = OnnxModel::new(file, &[modality], &options, &device).unwrap();
        let own = DecisionModel::signature(&model).modalities.clone();
        let x = Batch::from_host(own, vec![x.iter().copied().collect()], &device).unwrap();
        let keys: Vec<u64> = (0..rows as u64).collect();
        let answer = model
            .gradient(&Query::one_per_row(x, &keys), &|scores, _| {
                let [n, c] = scores.dims();
                let w: Vec<f32> = (1..=n * c)
                    .map(|k| (0.5 + (k as f64 * 0.754_877_666_246_693).fract()) as f32)
                    .collect();
                let w = Tensor::<1>::from_data(w.as_slice(), &scores.device()).reshape([n, c]);
                (scores.clone() * w).sum_dim(1).squeeze_dim(1)
            })
            .unwrap();
        let scores = off(&host(&answer.scores), &numbers(&arrays, "scores"));
        let gradient = off(
            &host(&answer.gradient.blocks()[0]),
            &numbers(&arrays, "gradient"),
        );
        eprintln!("{name}: scores {scores:.1e}, gradient {gradient:.1e} off");
        if scores > 1e-4 || gradient > 1e-3 {
            wrong.push(format!(
                "{name}: scores {scores:.1e}, gradient {gradient:.1e} off"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
