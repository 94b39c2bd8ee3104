//! Recognises files that are not ONNX models by their first bytes, and says how to get an ONNX file from them.

use std::path::Path;

const PYTORCH: &str =
    "load it in PyTorch and export it: `torch.onnx.export(model.eval(), example, \"model.onnx\")`";
const KERAS: &str = "convert it: `python -m tf2onnx.convert --keras FILE --output model.onnx`";
const TFLITE: &str = "convert it: `python -m tf2onnx.convert --tflite FILE --output model.onnx`";
const SAVED_MODEL: &str =
    "convert its folder: `python -m tf2onnx.convert --saved-model FOLDER --output model.onnx`";
const WEIGHTS: &str = "it holds weights without the network; export the network with them to ONNX";
const PICKLE: &str = "load it in Python and export it: `torch.onnx.export` for PyTorch, skl2onnx for scikit-learn, onnxmltools for XGBoost and LightGBM";

/// Returns the end of a sentence that says what a file is and what to do, or `None` if it may be ONNX.
pub(crate) fn other_format(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some("is empty (0 bytes); expected a model exported to ONNX".into());
    }
    let (what, todo) = format(bytes)?;
    Some(format!("is {what}, not an ONNX file; {todo}"))
}

fn format(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    let identifier = bytes.get(4..8).unwrap_or_default();
    Some(if begins(b"version https://git-lfs") {
        (
            "a Git LFS pointer (the model itself was not downloaded)",
            "run `git lfs pull` in its repository",
        )
    } else if begins(b"PK\x03\x04") || begins(b"PK\x05\x06") {
        archive(bytes)
    } else if begins(b"\x89HDF\r\n\x1a\n") {
        ("an HDF5 file (Keras .h5)", KERAS)
    } else if identifier == b"TFL3" {
        ("a TensorFlow Lite model", TFLITE)
    } else if identifier == b"ORTM" {
        (
            "a model in onnxruntime's own format (.ort)",
            "pass the .onnx file it was made from",
        )
    } else if begins(b"\x93NUMPY") {
        ("a NumPy array (.npy)", "it holds data; pass it to --data")
    } else if begins(b"GGUF") {
        ("a GGUF file", WEIGHTS)
    } else if safetensors(bytes) {
        ("a safetensors file", WEIGHTS)
    } else if begins(b"\x1f\x8b") || begins(b"BZh") || begins(b"\xfd7zXZ\0") || zstd(bytes) {
        ("compressed", "unpack it first")
    } else if bytes.get(257..262) == Some(b"ustar") {
        ("a tar archive", "unpack it first")
    } else if pickle(bytes) {
        ("a Python pickle (.pkl, .joblib, old .pt and .pth)", PICKLE)
    } else if saved_model(bytes) {
        ("a TensorFlow SavedModel", SAVED_MODEL)
    } else {
        return text(bytes);
    })
}

/// Identifies a zip archive by the names of its entries.
fn archive(bytes: &[u8]) -> (&'static str, &'static str) {
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|w| w == part);
    if holds(b"model.weights.h5") {
        ("a Keras archive (.keras)", KERAS)
    } else if holds(b"saved_model.pb") {
        ("a zipped TensorFlow SavedModel", SAVED_MODEL)
    } else if holds(b"/constants.pkl") || holds(b"/code/__torch__") {
        ("a TorchScript archive", PYTORCH)
    } else if holds(b"data.pkl") {
        ("a PyTorch checkpoint (.pt, .pth)", PYTORCH)
    } else if holds(b".npy") {
        ("an npz archive", "it holds data; pass it to --data")
    } else {
        ("a zip archive", "unpack it, and pass the .onnx file in it")
    }
}

/// A safetensors file starts with a length of eight bytes, then JSON.
fn safetensors(bytes: &[u8]) -> bool {
    let length = bytes.first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
    bytes.get(8) == Some(&b'{') && length > 1 && length < bytes.len() as u64
}

fn zstd(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x28\xb5\x2f\xfd")
}

/// Pickle protocols 2 to 5 end with a dot.
fn pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..]) && bytes.last() == Some(&b'.')
        || bytes.windows(13).take(64).any(|w| w == b"joblib.numpy_")
        // PyTorch's old format begins with its magic number as a separate pickle.
        || bytes.starts_with(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
}

/// A `SavedModel` starts with its schema version (1) and the first graph; ONNX has used format version 3 or later since
/// its release.
fn saved_model(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x08\x01\x12")
}

/// Recognises text, which is never a model: an error page of a failed download, a description of a network.
fn text(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let start = &bytes[..bytes.len().min(512)];
    let printable = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..);
    // The last character may be cut in two.
    let whole = std::str::from_utf8(start).map_or_else(|e| e.error_len().is_none(), |_| true);
    if !whole || !start.iter().all(printable) {
        return None;
    }
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let start = start.trim_ascii_start();
    Some(match start.first() {
        Some(b'<') => (
            "a web page or XML (a download that was answered with an error page?)",
            "expected a model exported to ONNX",
        ),
        Some(b'{' | b'[') => (
            "JSON text (a configuration, or a booster of XGBoost)",
            "expected a model exported to ONNX",
        ),
        _ => ("text", "expected a model exported to ONNX"),
    })
}

/// Returns the error for a folder that was given as a model.
pub(crate) fn folder(path: &Path) -> String {
    let has = |name: &str| path.join(name).is_file();
    if has("saved_model.pb") {
        return format!("is the folder of a TensorFlow SavedModel; {SAVED_MODEL}");
    }
    if has("model.onnx") {
        return "is a folder; pass the model.onnx in it".into();
    }
    "is a folder; expected an .onnx file".into()
}

#[cfg(test)]
mod tests {
    use super::other_format;

    #[test]
    fn other_formats_are_named_with_what_to_do() {
        let zip = |name: &str| [b"PK\x03\x04".as_slice(), &[0; 26], name.as_bytes()].concat();
        let safetensors = [&10u64.to_le_bytes()[..], br#"{"a": {}} "#, &[0; 4]].concat();
        let tar = [vec![b'a'; 100], vec![0; 157], b"ustar\0".to_vec()].concat();
        for (bytes, words) in [
            (Vec::new(), ["is empty", "ONNX"]),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n".to_vec(),
                ["Git LFS pointer", "git lfs pull"],
            ),
            (
                zip("archive/data.pkl"),
                ["PyTorch checkpoint", "torch.onnx"],
            ),
            (
                zip("m/code/__torch__.py m/data.pkl"),
                ["TorchScript", "torch.onnx"],
            ),
            (zip("x.npy"), ["npz", "--data"]),
            (zip("model.weights.h5"), [".keras", "tf2onnx"]),
            (zip("notes.txt"), ["zip archive", "unpack"]),
            (b"\x89HDF\r\n\x1a\n\0\0".to_vec(), ["HDF5", "tf2onnx"]),
            (
                b"\x1c\0\0\0TFL3\0\0".to_vec(),
                ["TensorFlow Lite", "--tflite"],
            ),
            (b"\x1c\0\0\0ORTM\0\0".to_vec(), [".ort", ".onnx file"]),
            (
                b"\x80\x04\x95\x10\0\0\0\0\0\0\0.".to_vec(),
                ["pickle", "skl2onnx"],
            ),
            (b"\x93NUMPY\x01\0".to_vec(), [".npy", "--data"]),
            (b"GGUF\x03\0\0\0".to_vec(), ["GGUF", "weights"]),
            (safetensors, ["safetensors", "weights"]),
            (b"\x1f\x8b\x08\0".to_vec(), ["compressed", "unpack"]),
            (tar, ["tar", "unpack"]),
            (b"\x08\x01\x12\xff\x01".to_vec(), ["SavedModel", "tf2onnx"]),
            (b"\n <!DOCTYPE html><html>".to_vec(), ["web page", "ONNX"]),
            (br#"{"learner": {}}"#.to_vec(), ["JSON", "ONNX"]),
            (
                "Modèle à télécharger\n".as_bytes().to_vec(),
                ["text", "ONNX"],
            ),
        ] {
            let said = other_format(&bytes).unwrap_or_default();
            assert!(words.iter().all(|w| said.contains(w)), "{words:?}: {said}");
        }
        // Format versions, followed by arbitrary bytes.
        for bytes in [
            &b"\x08\x03\x12\x07pytorch"[..],
            b"\x08\x0a\x3a\x04",
            b"\xff\x00",
        ] {
            assert_eq!(other_format(bytes), None);
        }
    }
}
