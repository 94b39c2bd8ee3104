//! Runs the operator conformance cases of the ONNX project. Each runs twice: with its inputs given at run time
//! (floating point on the device), and with its inputs known at load time (folded, on the host where an operator can).
//!
//! The cases are in `../shared/data` (or `$PROOFMARK_DATA`), not in this repository.
#![expect(
    clippy::print_stderr,
    reason = "a test that is skipped says so, and figures are shown"
)]

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use proofmark_onnx::{Array, DType, Data, OnnxFile, Session};

/// Cases outside the supported range, each with the reason.
const OUT_OF_SCOPE: &[(&str, &str)] = &[
    ("FLOAT8", "8-bit floats"),
    ("INT4", "4-bit integers"),
    ("_opt", "optional values"),
    ("if_seq", "sequences"),
    ("e4m3fn", "8-bit floats"),
];

/// Cases that fail, each with the reason. A listed case that passes is an error as well.
const KNOWN: &[(&str, &str)] = &[
    (
        "test_resize_downsample_scales_cubic_align_corners",
        "it aligns corners by scale × length, which is not whole; onnxruntime and PyTorch do so by the output's length",
    ),
    (
        "test_resize_downsample_scales_linear_align_corners",
        "it aligns corners by scale × length, which is not whole; onnxruntime and PyTorch do so by the output's length",
    ),
    (
        "test_cast_FLOAT_to_BFLOAT16",
        "its values are cut off where the operator is defined to round to nearest",
    ),
    (
        "test_qlinearmatmul_2D_int8_float32",
        "it expects a value below int8 to wrap; the operator is defined to saturate",
    ),
];

fn tensors(set: &Path, prefix: &str) -> Result<Vec<Array>, String> {
    (0..)
        .map(|i| set.join(format!("{prefix}_{i}.pb")))
        .take_while(|p| p.is_file())
        .map(|p| Array::from_onnx(&fs::read(p).map_err(|e| e.to_string())?))
        .collect()
}

/// Converts bfloat16 values, which the cases store as `uint16` bits.
fn as_declared(array: Array, declared: DType) -> Array {
    match array.data() {
        Data::U16(bits) if declared == DType::BF16 => {
            let values: Vec<_> = bits.iter().map(|b| half::bf16::from_bits(*b)).collect();
            Array::try_new(array.shape(), values).unwrap()
        }
        _ => array,
    }
}

/// Compares with ONNX's own tolerances: relative 1e-3, absolute 1e-7.
fn agree(given: &Array, expected: &Array) -> Result<(), String> {
    if given.shape() != expected.shape() {
        return Err(format!(
            "shape {:?}; expected {:?}",
            given.shape(),
            expected.shape()
        ));
    }
    if given.dtype() != expected.dtype() {
        return Err(format!(
            "type {}; expected {}",
            given.dtype(),
            expected.dtype()
        ));
    }
    if let (Data::Text(a), Data::Text(b)) = (given.data(), expected.data()) {
        return if a == b {
            Ok(())
        } else {
            Err(format!("{a:?}; expected {b:?}"))
        };
    }
    let exact = !expected.dtype().is_float();
    for (i, (a, b)) in given
        .to_f64()?
        .into_iter()
        .zip(expected.to_f64()?)
        .enumerate()
    {
        let same = a == b || (a.is_nan() && b.is_nan());
        if !same && (exact || (a - b).abs().is_nan() || (a - b).abs() > 1e-7 + 1e-3 * b.abs()) {
            return Err(format!("element {i} is {a}; expected {b}"));
        }
    }
    Ok(())
}

fn case(folder: &Path, known: bool) -> Result<(), String> {
    let device = Device::flex();
    for set in 0.. {
        let set = folder.join(format!("test_data_set_{set}"));
        if !set.is_dir() {
            break;
        }
        let mut file = OnnxFile::open(&folder.join("model.onnx")).map_err(|e| e.to_string())?;
        let mut inputs: Vec<Array> = tensors(&set, "input")?
            .into_iter()
            .zip(file.inputs())
            .map(|(a, d)| as_declared(a, d.dtype.unwrap_or(DType::F32)))
            .collect();
        let expected = tensors(&set, "output")?;
        if known {
            for (name, array) in file
                .inputs()
                .into_iter()
                .map(|d| d.name)
                .zip(inputs.drain(..))
            {
                file.fix(&name, array).map_err(|e| e.to_string())?;
            }
        }
        let session = Session::new(file, &device).map_err(|e| e.to_string())?;
        let outputs = session.run(&inputs).map_err(|e| e.to_string())?;
        if outputs.len() != expected.len() {
            return Err(format!(
                "{} outputs; expected {}",
                outputs.len(),
                expected.len()
            ));
        }
        for (given, expected) in outputs.iter().zip(&expected) {
            agree(given, &as_declared(expected.clone(), given.dtype()))?;
        }
    }
    Ok(())
}

#[test]
fn operators_conform() {
    let Some(folder) = proofmark_testkit::shared("onnx_node_tests") else {
        eprintln!(
            "SKIPPED: no conformance cases (../shared/data/onnx_node_tests or $PROOFMARK_DATA)"
        );
        return;
    };
    // `CASE=conv cargo test …` runs the cases with that in their name.
    let only = std::env::var("CASE").unwrap_or_default();
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.path().is_dir())
        .map(|e| e.file_name().into_string().unwrap())
        .filter(|n| n.contains(&only))
        .collect();
    names.sort();
    let (mut passed, mut failed, mut skipped, mut wrong) = (0, Vec::new(), 0, Vec::new());
    for name in names {
        if OUT_OF_SCOPE.iter().any(|(part, _)| name.contains(part)) {
            skipped += 1;
            continue;
        }
        let result = case(&folder.join(&name), false)
            .map_err(|e| format!("given when it runs: {e}"))
            .and_then(|()| {
                case(&folder.join(&name), true).map_err(|e| format!("known when loaded: {e}"))
            });
        let listed = KNOWN.iter().any(|(n, _)| *n == name);
        match result {
            Ok(()) => {
                passed += 1;
                if listed {
                    wrong.push(format!("{name} passes and is listed as failing"));
                }
            }
            Err(e) => {
                failed.push(format!("{name}: {e}"));
                if !listed {
                    wrong.push(format!("{name}: {e}"));
                }
            }
        }
    }
    eprintln!(
        "{passed} cases pass, {} fail, {skipped} are out of scope\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert!(
        wrong.is_empty(),
        "{} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    if only.is_empty() {
        let share = f64::from(passed) / (f64::from(passed) + failed.len() as f64);
        assert!(share >= 0.95, "{share}");
    }
}
