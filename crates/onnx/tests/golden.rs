//! Compares small models exported by `PyTorch` and similar tools with the results of onnxruntime and `PyTorch`
//! (`tests/golden/README.md`): outputs together and alone, gradients, batch modes.
#![expect(
    clippy::print_stderr,
    reason = "a test that is skipped says so, and figures are shown"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use proofmark_data::npz::AnyArray;
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_model::{DecisionModel, GradientModel, Query, ScoreModel};
use proofmark_onnx::{Array, BatchMode, OnnxFile, OnnxModel, OnnxOptions, Session};
use proofmark_threat::{Batch, host};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

/// Returns every model with its values: the models of `tests/golden` and the twins of the shipped nets.
fn models() -> Vec<(String, PathBuf, BTreeMap<String, AnyArray>)> {
    let mut paths: Vec<PathBuf> = [
        golden().join("models"),
        golden().join("../../datasets/digits"),
    ]
    .iter()
    .flat_map(|f| fs::read_dir(f).unwrap().map(|e| e.unwrap().path()))
    .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
    .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let net = name.split('.').next().unwrap().to_owned();
            let values = proofmark_data::npz::arrays(&golden().join(format!("{net}.npz")))
                .unwrap()
                .into_iter()
                .collect();
            (name, path, values)
        })
        .collect()
}

fn to_array(a: &AnyArray) -> Array {
    macro_rules! by_type {
        ($($variant:ident),*) => {
            match a {
                $(AnyArray::$variant(v) => {
                    Array::try_new(v.shape(), v.iter().cloned().collect::<Vec<_>>()).unwrap()
                })*
                _ => panic!("an array of text"),
            }
        };
    }
    by_type!(Bool, I8, I16, I32, I64, U8, U16, U32, U64, F16, F32, F64)
}

fn floats(a: &AnyArray) -> Vec<f32> {
    to_array(a).to_f32().unwrap()
}

/// Returns the relative tolerance. Other runtimes round between nodes in half precision; this crate does not.
fn tolerance(name: &str) -> f32 {
    if name.starts_with("half") { 1e-2 } else { 1e-4 }
}

fn close(given: &[f32], expected: &[f32], relative: f32, absolute: f32) -> Result<(), String> {
    if given.len() != expected.len() {
        return Err(format!(
            "{} values; expected {}",
            given.len(),
            expected.len()
        ));
    }
    let size = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
    let worst = given
        .iter()
        .zip(expected)
        .map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() })
        .fold(
            0f32,
            |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) },
        );
    if worst <= relative * size + absolute {
        Ok(())
    } else {
        Err(format!("off by {worst} where the largest is {size}"))
    }
}

/// Returns the first `rows` rows of an array.
fn head(a: &Array, rows: usize) -> Array {
    let mut shape = a.shape().to_vec();
    let width: usize = shape[1..].iter().product();
    shape[0] = rows;
    let numbers = a.to_f64().unwrap()[..rows * width].to_vec();
    Array::try_new(shape, numbers)
        .unwrap()
        .cast(a.dtype())
        .unwrap()
}

fn opened(path: &Path, values: &BTreeMap<String, AnyArray>) -> OnnxFile {
    let mut file = OnnxFile::open(path).unwrap();
    for (name, value) in values {
        if let Some(input) = name.strip_prefix("fix:") {
            file.fix(input, to_array(value)).unwrap();
        }
    }
    file
}

#[test]
fn outputs_equal_those_of_onnxruntime() {
    let mut wrong = Vec::new();
    for (name, path, values) in models() {
        let check = || -> Result<(), String> {
            let session =
                Session::new(opened(&path, &values), &Device::flex()).map_err(|e| e.to_string())?;
            let inputs: Vec<Array> = session
                .inputs()
                .iter()
                .map(|d| to_array(&values[&format!("in:{}", d.name)]))
                .collect();
            let all = inputs[0].shape()[0];
            // An `If` on the data is correct for one sample at a time only.
            let counts = if name.starts_with("branch") {
                vec![1]
            } else {
                vec![1, all]
            };
            for rows in counts {
                let inputs: Vec<Array> = inputs.iter().map(|a| head(a, rows)).collect();
                let outputs = session.run(&inputs).map_err(|e| e.to_string())?;
                for (declared, given) in session.outputs().iter().zip(outputs) {
                    let Some(expected) = values.get(&format!("out:{}", declared.name)) else {
                        continue;
                    };
                    // A state is returned with the samples along its second axis.
                    if given.shape().first() != Some(&rows) {
                        continue;
                    }
                    let expected = head(&to_array(expected), rows);
                    close(
                        &given.to_f32()?,
                        &expected.to_f32()?,
                        tolerance(&name),
                        1e-5,
                    )
                    .map_err(|e| format!("{rows} rows, output `{}`: {e}", declared.name))?;
                }
            }
            Ok(())
        };
        if let Err(e) = check() {
            wrong.push(format!("{name}: {e}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn weight(i: usize, j: usize, classes: usize) -> f32 {
    let n = (i * classes + j + 1) as f64;
    (0.5 + (n * 0.754_877_666_246_693).fract()) as f32
}

/// Models that are not classifiers of floating-point inputs.
const NO_CLASSIFIER: [&str; 2] = ["segmenter", "tokens"];
/// Models whose samples cannot run together.
const ONE_BY_ONE: [&str; 1] = ["branch"];

/// Returns a classifier and the query with the golden samples.
fn bound(path: &Path, values: &BTreeMap<String, AnyArray>) -> Result<(OnnxModel, Query), String> {
    let file = opened(path, values);
    let given = |name: &str| to_array(&values[&format!("in:{name}")]);
    let modality = |name: String| {
        let shape = given(&name).shape()[1..].to_vec();
        Modality {
            kind: if shape.len() == 3 {
                Kind::Image
            } else {
                Kind::Table
            },
            name,
            shape,
            bounds: Bounds::uniform(-10.0, 10.0).unwrap(),
        }
    };
    let modalities: Vec<Modality> = file
        .inputs()
        .into_iter()
        .map(|d| modality(d.name))
        .collect();
    let device = Device::flex();
    let model = OnnxModel::new(file, &modalities, &OnnxOptions::default(), &device)
        .map_err(|e| e.to_string())?;
    let blocks: Vec<Vec<f32>> = modalities
        .iter()
        .map(|m| given(&m.name).to_f32().unwrap())
        .collect();
    let rows = blocks[0].len() / modalities[0].features();
    let own = DecisionModel::signature(&model).modalities.clone();
    let x = Batch::from_host(own, blocks, &device).map_err(|e| e.to_string())?;
    let keys: Vec<u64> = (0..rows as u64).collect();
    Ok((model, Query::one_per_row(x, &keys)))
}

#[test]
fn scores_and_gradients_are_those_of_pytorch() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (name, path, values) in models() {
        if NO_CLASSIFIER.iter().any(|n| name.starts_with(n)) {
            continue;
        }
        let mut check = || -> Result<(), String> {
            let (model, query) = bound(&path, &values)?;
            let modalities = DecisionModel::signature(&model).modalities.clone();
            let alone = ONE_BY_ONE.iter().any(|n| name.starts_with(n));
            if alone != matches!(model.batch_mode(), BatchMode::Chunks { .. }) {
                return Err(format!("{}", model.batch_mode()));
            }
            let rows = query.len();
            let scores = host(&model.scores(&query).map_err(|e| e.to_string())?);
            let classes = scores.len() / rows;
            let expected = values.get("scores").or_else(|| {
                let first = OnnxFile::open(&path).ok()?.outputs().into_iter().next()?;
                values.get(&format!("out:{}", first.name))
            });
            let expected = expected.map(floats).ok_or("no golden scores")?;
            // One logit becomes two scores, half of it each way.
            let binary = classes == 2 && expected.len() == rows;
            let told: Vec<f32> = if binary {
                scores.chunks(2).map(|s| s[1] - s[0]).collect()
            } else {
                scores.clone()
            };
            close(&told, &expected, tolerance(&name), 1e-5).map_err(|e| format!("scores {e}"))?;
            // A sign and a rounding in it pass gradients on that PyTorch takes for zero.
            if name.starts_with("activations.dy") {
                return Ok(());
            }
            let golden = if values.contains_key("scores") {
                "scores-grad:"
            } else {
                "grad:"
            };
            if !values.keys().any(|k| k.starts_with(golden)) {
                return Ok(());
            }
            let gradient = model
                .gradient(&query, &|scores, _| {
                    let [n, c] = scores.dims();
                    let w: Vec<f32> = (0..n * c)
                        .map(|k| {
                            if binary {
                                weight(k / 2, 0, 1) * if k % 2 == 0 { -1.0 } else { 1.0 }
                            } else {
                                weight(k / c, k % c, c)
                            }
                        })
                        .collect();
                    let w = burn::tensor::Tensor::<1>::from_data(w.as_slice(), &scores.device());
                    (scores.clone() * w.reshape([n, c]))
                        .sum_dim(1)
                        .squeeze_dim(1)
                })
                .map_err(|e| e.to_string())?;
            for (m, block) in modalities.iter().zip(gradient.gradient.blocks()) {
                let Some(expected) = values.get(&format!("{golden}{}", m.name)) else {
                    continue;
                };
                compared += 1;
                close(
                    &host(block),
                    &floats(expected),
                    tolerance(&name).max(1e-3),
                    1e-7,
                )
                .map_err(|e| format!("gradient of `{}`: {e}", m.name))?;
            }
            Ok(())
        };
        if let Err(e) = check() {
            wrong.push(format!("{name}: {e}"));
        }
    }
    eprintln!("{compared} gradients compared");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= 50, "{compared} gradients compared");
}
