//! What an ONNX file holds, and what it allows.

use proofmark_testkit::onnx::{FLOAT, INT64, OnnxWriter};
use serde_json::{Value, json};

use crate::harness::{Folder, run};

fn inspect(path: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["inspect", path, "--format", "json"];
    arguments.extend(more);
    let ran = run(&arguments);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    serde_json::from_str(&ran.out).expect("JSON")
}

fn text(path: &str) -> String {
    let ran = run(&["inspect", path]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    ran.out
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no `{word}` in:\n{text}");
    }
}

/// A linear classifier of three classes with a softmax on top.
fn classifier(rows: &str, width: &str) -> OnnxWriter {
    OnnxWriter::new(17)
        .input_of("x", FLOAT, &format!("{rows},{width}"))
        .constant("w", &[2, 3], &[1.0, 0.0, 0.5, 0.0, 1.0, 0.25])
        .node("MatMul", &["x", "w"], &["scores"], &[])
        .node("Softmax", &["scores"], &["p"], &[])
        .output_of("p", FLOAT, &format!("{rows},3"))
}

#[test]
fn a_classifier_is_summed_up() {
    let folder = Folder::new();
    let path = folder.put("a.onnx", &classifier("N", "2").bytes());
    let seen = inspect(&path, &[]);
    for (key, value) in [
        ("kind", json!("onnx")),
        ("name", json!(path)),
        ("producer", json!("testkit")),
        ("ir_version", json!(8)),
        ("opsets", json!({"ai.onnx": 17})),
        ("parameters", json!(6)),
        (
            "inputs",
            json!([{"name": "x", "dtype": "float32", "shape": ["N", 2]}]),
        ),
        (
            "outputs",
            json!([{"name": "p", "dtype": "float32", "shape": ["N", 3]}]),
        ),
        ("supported", json!(true)),
        ("problem", Value::Null),
        ("unsupported", json!([])),
        (
            "access",
            json!(["decisions", "scores", "gradients", "features"]),
        ),
        ("no_access", Value::Null),
        ("classes", json!(3)),
        ("batch", json!("any number of samples together")),
        (
            "scores",
            json!("the scores are those before the Softmax (node `Softmax_1`)"),
        ),
        ("approximate_gradients", json!([])),
        ("layers", json!(["x", "scores", "p"])),
    ] {
        assert_eq!(seen[key], value, "{key}");
    }
    assert_eq!(seen["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(
        seen["operators"][0],
        json!({"name": "MatMul", "domain": "ai.onnx", "opset": 17, "count": 1, "supported": true,
            "gradient": "exact", "reads_back": false})
    );
    let digest = seen["sha256"].as_str().unwrap_or_default();
    let words = [
        digest,
        "x (float32, [N, 2])",
        "p (float32, [N, 3])",
        "MatMul ",
        "gradient exact",
        "classes    3",
        "before the Softmax",
        "decisions, scores, gradients, features",
    ];
    says(&text(&path), &words);
    // Exported for one sample, it serves many.
    let one = folder.put("one.onnx", &classifier("1", "2").bytes());
    says(
        inspect(&one, &[])["batch"].as_str().unwrap_or_default(),
        &["exported for one"],
    );
}

#[test]
fn unsupported_operators_are_listed_and_no_error() {
    let folder = Folder::new();
    let file = OnnxWriter::new(17)
        .input_of("x", FLOAT, "2")
        .node("Strange", &["x"], &["a"], &[])
        .node("Relu", &["a"], &["b"], &[])
        .node("Stranger", &["b"], &["c"], &[])
        .output_of("c", FLOAT, "2");
    let path = folder.put("a.onnx", &file.bytes());
    let seen = inspect(&path, &[]);
    assert_eq!(seen["supported"], false);
    assert_eq!(
        seen["unsupported"],
        json!([
            {"node": "Strange_0", "operator": "Strange", "opset": 17},
            {"node": "Stranger_2", "operator": "Stranger", "opset": 17},
        ])
    );
    assert_eq!(
        (&seen["access"], &seen["classes"]),
        (&json!([]), &Value::Null)
    );
    let strange = &seen["operators"][1];
    assert_eq!(
        (&strange["name"], &strange["supported"]),
        (&json!("Strange"), &json!(false))
    );
    assert_eq!(strange["gradient"], Value::Null);
    let words = [
        "node `Strange_0` (Strange, opset 17)",
        "`Stranger_2`",
        "not supported",
        "cannot be run",
    ];
    says(&text(&path), &words);
}

#[test]
fn what_is_no_classifier_is_told_why() {
    let folder = Folder::new();
    let open = folder.put("open.onnx", &classifier("N", "?").bytes());
    let whole = OnnxWriter::new(17)
        .input_of("x", INT64, "1")
        .node("Identity", &["x"], &["y"], &[])
        .output_of("y", INT64, "1");
    let whole = folder.put("whole.onnx", &whole.bytes());
    for (path, why) in [(open, "data are needed to settle it"), (whole, "int64")] {
        let seen = inspect(&path, &[]);
        assert_eq!(
            (&seen["supported"], &seen["access"]),
            (&json!(true), &json!([]))
        );
        says(seen["no_access"].as_str().unwrap_or_default(), &[why]);
        says(&text(&path), &["no classifier as it stands", why]);
    }
}

#[test]
fn fixed_inputs_are_none() {
    let folder = Folder::new();
    let file = classifier("N", "2")
        .input_of("extra", FLOAT, "3")
        .node("Add", &["p", "extra"], &["q"], &[])
        .output_of("q", FLOAT, "N,3");
    let path = folder.put("a.onnx", &file.bytes());
    let seen = inspect(&path, &["--fix", "extra=0"]);
    assert_eq!(seen["inputs"].as_array().map(Vec::len), Some(1));
    assert_eq!(seen["classes"], 3);
    for (arguments, word) in [
        (
            ["inspect", path.as_str(), "--fix", "none=0"],
            "no input `none`",
        ),
        (
            ["inspect", "nowhere.onnx", "--format", "json"],
            "nowhere.onnx",
        ),
        (
            ["inspect", "digits-robst", "--format", "text"],
            "did you mean `digits-robust`",
        ),
    ] {
        let ran = run(&arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        says(&ran.err, &[word]);
    }
}
