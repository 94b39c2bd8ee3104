//! Golden values of onnxruntime, and nets of one operator per case.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use proofmark_data::npz::AnyArray;
use proofmark_onnx::{Array, OnnxFile, Session};

/// Returns a folder of `tests/golden`.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden")
        .join(name)
}

/// Returns the arrays of an npz file by name.
pub(crate) fn values(path: &Path) -> BTreeMap<String, Array> {
    let arrays = proofmark_data::npz::arrays(path).unwrap();
    arrays.into_iter().map(|(n, a)| (n, to_array(&a))).collect()
}

fn to_array(a: &AnyArray) -> Array {
    macro_rules! by_type {
        ($($variant:ident),*) => {
            match a {
                $(AnyArray::$variant(v) => {
                    Array::try_new(v.shape(), v.iter().cloned().collect::<Vec<_>>()).unwrap()
                })*
            }
        };
    }
    by_type!(
        Bool, I8, I16, I32, I64, U8, U16, U32, U64, F16, F32, F64, Text
    )
}

/// Runs each operator of `operators.onnx` with its inputs given at run time and with its inputs known at load time, and
/// compares at least `least` outputs with `operators.npz`.
pub(crate) fn operators_agree(
    folder: &Path,
    agree: impl Fn(&Array, &Array) -> Result<(), String>,
    least: usize,
) {
    let values = values(&folder.join("operators.npz"));
    let device = Device::flex();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for known in [false, true] {
        let mut file = OnnxFile::open(&folder.join("operators.onnx")).unwrap();
        let names: Vec<String> = file.inputs().into_iter().map(|d| d.name).collect();
        let outputs: Vec<String> = file.outputs().into_iter().map(|d| d.name).collect();
        let mut inputs: Vec<Array> = Vec::new();
        for name in names {
            let value = values[&format!("in:{name}")].clone();
            if known {
                file.fix(&name, value).unwrap();
            } else {
                inputs.push(value);
            }
        }
        let session = Session::new(file, &device).unwrap_or_else(|e| panic!("{e}"));
        let given = session.run(&inputs).unwrap_or_else(|e| panic!("{e}"));
        for (name, given) in outputs.iter().zip(given) {
            count += 1;
            if let Err(e) = agree(&given, &values[&format!("out:{name}")]) {
                wrong.push(format!("{name}, known {known}: {e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= least, "{count}");
}
