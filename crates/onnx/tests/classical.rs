//! Compares the operators of `ai.onnx.ml`, and models exported from scikit-learn, `XGBoost` and `LightGBM`, with
//! onnxruntime's results (`tests/golden/README.md`, `tests/peers/generate_ml.py`).

mod goldens;

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Device;
use proofmark_domain::{Bounds, Kind, Modality, Needs};
use proofmark_model::{Access, DecisionModel, Query, ScoreModel};
use proofmark_onnx::{Array, Data, OnnxFile, OnnxModel, OnnxOptions, Session};
use proofmark_threat::{Batch, host};

fn folder() -> PathBuf {
    goldens::folder("ml")
}

fn values(name: &str) -> BTreeMap<String, Array> {
    goldens::values(&folder().join(name))
}

/// Texts and integers must be equal; floats must agree within 2e-5 of the largest.
fn agree(given: &Array, expected: &Array) -> Result<(), String> {
    let differ =
        |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| format!("{a:?}; expected {b:?}");
    if given.shape() != expected.shape() {
        return Err(differ(&given.shape(), &expected.shape()));
    }
    if !expected.dtype().is_float() {
        let equal = match (given.data(), expected.data()) {
            (Data::Text(a), Data::Text(b)) => a == b,
            _ => given.to_ints() == expected.to_ints(),
        };
        return equal
            .then_some(())
            .ok_or_else(|| differ(given.data(), expected.data()));
    }
    let (a, b) = (given.to_f64()?, expected.to_f64()?);
    let largest = b.iter().fold(0f64, |m, x| m.max(x.abs()));
    let wrong = (0..a.len()).find(|i| {
        let same = a[*i] == b[*i] || (a[*i].is_nan() && b[*i].is_nan());
        let near = (a[*i] - b[*i]).abs() <= 2e-5 * largest + 1e-6;
        !same && !near
    });
    wrong.map_or(Ok(()), |i| {
        Err(format!("element {i} is {} instead of {}", a[i], b[i]))
    })
}

/// Runs each operator with its inputs given at run time and with its inputs known at load time.
#[test]
fn operators_equal_those_of_onnxruntime() {
    goldens::operators_agree(&folder(), agree, 200);
}

#[test]
fn ensembles_of_version_5_equal_those_of_onnxruntime() {
    let mut wrong = Vec::new();
    for name in [0, 1, 2, 3] {
        let path = folder().join(format!("ensemble-{name}.onnx"));
        let values = values(&format!("ensemble-{name}.npz"));
        let session = Session::new(OnnxFile::open(&path).unwrap(), &Device::flex()).unwrap();
        let given = session.run(&[values["in:x"].clone()]).unwrap();
        if let Err(e) = agree(&given[0], &values["out:y"]) {
            wrong.push(format!("{name}: {e}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn modality() -> Modality {
    Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![4],
        bounds: Bounds::uniform(-2.0, 2.0).unwrap(),
    }
}

/// A clustering gives the nearest centre and the distances: the largest of those chooses nothing.
#[test]
fn distances_beside_a_label_are_not_taken_for_scores() {
    let open = |options: &OnnxOptions| {
        let file = OnnxFile::open(&folder().join("kmeans.onnx")).unwrap();
        OnnxModel::new(file, &[modality()], options, &Device::flex())
    };
    let refused = open(&OnnxOptions::default()).unwrap_err().to_string();
    assert!(
        refused.contains("not the class with the largest of `scores`")
            && refused.contains("--output"),
        "{refused}"
    );
}

/// Whole models: outputs as onnxruntime's, decisions as their labels, and what an attack may ask of them.
#[test]
fn exported_models_are_those_of_onnxruntime() {
    use Needs::{Gradients, Scores};
    for (name, gives) in [
        ("logistic", Gradients),
        ("logistic-two", Gradients),
        ("forest", Scores),
        ("forest-two", Scores),
        ("boosting", Scores),
        ("svc", Scores),
        ("svc-two", Scores),
        ("svc-probabilities", Scores),
        ("svc-two-probabilities", Scores),
        ("linear-svc", Gradients),
        ("mlp", Gradients),
        ("xgboost", Scores),
        ("xgboost-two", Scores),
        ("lightgbm", Scores),
        ("lightgbm-two", Scores),
    ] {
        let path = folder().join(format!("{name}.onnx"));
        let values = values(&format!("{name}.npz"));
        let (x, labels) = (&values["in:x"], values["label"].to_ints().unwrap());
        let session = Session::new(OnnxFile::open(&path).unwrap(), &Device::flex()).unwrap();
        let given = session
            .run(std::slice::from_ref(x))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        agree(&given[0], &values["label"]).unwrap_or_else(|e| panic!("{name}, label: {e}"));
        agree(&given[1], &values["scores"]).unwrap_or_else(|e| panic!("{name}, scores: {e}"));

        let file = OnnxFile::open(&path).unwrap();
        let model = OnnxModel::new(
            file,
            &[modality()],
            &OnnxOptions::default(),
            &Device::flex(),
        )
        .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(Access::from(&model).gives(), gives, "{name}");
        let own = DecisionModel::signature(&model).modalities.clone();
        let batch = Batch::from_host(own, vec![x.to_f32().unwrap()], &Device::flex()).unwrap();
        let rows: Vec<u64> = (0..30).collect();
        let scores = model.scores(&Query::one_per_row(batch, &rows)).unwrap();
        let classes = scores.dims()[1];
        let decided: Vec<i64> = host(&scores)
            .chunks(classes)
            .map(|row| (0..classes).fold(0, |b, c| if row[c] > row[b] { c } else { b }) as i64)
            .collect();
        // libsvm chooses by the votes of pairs and estimates probabilities otherwise: they may disagree.
        let apart = (decided.iter().zip(&labels))
            .filter(|(a, b)| a != b)
            .count();
        let allowed = if name == "svc-probabilities" { 3 } else { 0 };
        assert!(apart <= allowed, "{name}: {apart}");
        let notes = model.notes().join("\n");
        assert!(
            notes.contains("the scores are those of output"),
            "{name}: {notes}"
        );
        // Probabilities are attacked as logarithms.
        let sums = values["scores"].to_f64().unwrap();
        let are_probabilities = sums.chunks(classes).all(|r| {
            r.iter().all(|p| (0.0..=1.0).contains(p)) && (r.iter().sum::<f64>() - 1.0).abs() < 0.01
        });
        assert_eq!(model.cured_probabilities(), are_probabilities, "{name}");
    }
}
