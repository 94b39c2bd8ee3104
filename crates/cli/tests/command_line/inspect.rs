//! `proofmark inspect`: the contents of an ONNX file and the access it allows.

use proofmark::onnx::writer::{Attr, FLOAT, INT64, OnnxWriter};
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

/// Returns a linear classifier of three classes with a softmax on top.
fn classifier(rows: &str, width: &str) -> OnnxWriter {
    OnnxWriter::new(17)
        .input_of("x", FLOAT, &format!("{rows},{width}"))
        .constant("w", &[2, 3], &[1.0, 0.0, 0.5, 0.0, 1.0, 0.25])
        .node("MatMul", &["x", "w"], &["scores"], &[])
        .node("Softmax", &["scores"], &["p"], &[])
        .output_of("p", FLOAT, &format!("{rows},3"))
}

#[test]
fn a_classifier_is_described() {
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
        ("frozen", json!([])),
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
    // A model exported for one sample serves many.
    let one = folder.put("one.onnx", &classifier("1", "2").bytes());
    says(
        inspect(&one, &[])["batch"].as_str().unwrap_or_default(),
        &["exported for one"],
    );
}

/// Returns the output and the error of a model that cannot be run, asserting exit code 2.
fn refused(path: &str, format: &str) -> (String, String) {
    let ran = run(&["inspect", path, "--format", format]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    (ran.out, ran.err)
}

#[test]
fn unsupported_operators_are_listed_and_refused() {
    let folder = Folder::new();
    let file = OnnxWriter::new(17)
        .input_of("x", FLOAT, "2")
        .node("Strange", &["x"], &["a"], &[])
        .node("Relu", &["a"], &["b"], &[])
        .node("Stranger", &["b"], &["c"], &[])
        .output_of("c", FLOAT, "2");
    let path = folder.put("a.onnx", &file.bytes());
    let (seen, problem) = refused(&path, "json");
    says(&problem, &["a.onnx", "Strange_0", "not supported"]);
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    assert_eq!(seen["supported"], false);
    assert_eq!(seen["computable"], json!([]));
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
    says(&refused(&path, "text").0, &words);
}

#[test]
fn nodes_off_the_path_to_the_scores_may_be_unsupported() {
    let folder = Folder::new();
    // The first output is a label; the scores are a later output or only an inner value.
    let labelled = || {
        OnnxWriter::new(17)
            .input_of("x", FLOAT, "N,2")
            .constant("w", &[2, 3], &[1.0, 0.0, 0.5, 0.0, 1.0, 0.25])
            .node("MatMul", &["x", "w"], &["scores"], &[])
            .node("Softmax", &["scores"], &["p"], &[])
            .node("ArgMax", &["p"], &["i"], &[("axis", Attr::Int(1))])
            .node("Lookup", &["i"], &["label"], &[])
            .output_of("label", INT64, "N")
    };
    let map = labelled().node("Zip", &["p"], &["map"], &[]).output("map");
    for (name, file) in [("out", labelled().output("p")), ("inside", map)] {
        let path = folder.put(&format!("{name}.onnx"), &file.bytes());
        let seen = inspect(&path, &[]);
        assert_eq!(
            (&seen["supported"], &seen["computable"], &seen["output"]),
            (&json!(false), &json!(["p"]), &json!("p")),
            "{name}"
        );
        assert_eq!(seen["classes"], 3);
        says(&text(&path), &["taken      --output p", "classes    3"]);
        let data = folder.put("x.npy", &npy(&[[0.0, 1.0], [1.0, 0.0]]));
        let out = folder.path("y.npz").display().to_string();
        let infer = |more: &[&str]| {
            let mut all = vec!["infer", &path, "--data", &data, "--out", &out];
            all.extend(more);
            run(&all)
        };
        let ran = infer(&[]);
        assert_eq!(ran.code, 2);
        says(
            &ran.err,
            &["Lookup", "`p` needs none of them: pass --output p"],
        );
        let ran = infer(&["--output", "p"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        says(&ran.err, &["`p`: float32 [2, 3]"]);
    }
    let path = folder.path("out.onnx").display().to_string();
    let ran = run(&["inspect", &path, "--output", "i"]);
    says(&ran.out, &["the class that was chosen", "--output p"]);
    let ran = run(&["inspect", &path, "--output", "score"]);
    says(&ran.out, &["no value `score` (did you mean `scores`?)"]);
}

/// Returns rows of two numbers as a .npy file.
fn npy(rows: &[[f32; 2]]) -> Vec<u8> {
    let header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, 2), }}",
        rows.len()
    );
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(
        u16::try_from(header.len() + 1)
            .expect("short")
            .to_le_bytes(),
    );
    bytes.extend(header.as_bytes());
    bytes.push(b'\n');
    bytes.extend(rows.iter().flatten().flat_map(|x| x.to_le_bytes()));
    bytes
}

#[test]
fn files_of_other_kinds_are_named() {
    let folder = Folder::new();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    for (name, bytes, words) in [
        ("a.onnx", pointer.as_slice(), ["Git LFS", "git lfs pull"]),
        ("b.onnx", b"", ["is empty", "0 bytes"]),
        (
            "c.pt",
            b"PK\x03\x04      archive/data.pkl",
            ["PyTorch", "torch.onnx.export"],
        ),
        ("d.h5", b"\x89HDF\r\n\x1a\n", ["Keras", "tf2onnx"]),
    ] {
        let path = folder.put(name, bytes);
        let ran = run(&["inspect", &path]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{name}");
        says(&ran.err, &words);
    }
}

#[test]
fn a_model_in_training_mode_is_refused() {
    let folder = Folder::new();
    let file = OnnxWriter::new(17)
        .input_of("x", FLOAT, "N,2")
        .constant("s", &[2], &[1.0, 1.0])
        .constant("b", &[2], &[0.0, 0.0])
        .node(
            "BatchNormalization",
            &["x", "s", "b", "b", "s"],
            &["y"],
            &[("training_mode", Attr::Int(1))],
        )
        .output_of("y", FLOAT, "N,2");
    let path = folder.put("a.onnx", &file.bytes());
    says(&text(&path), &["exported in training mode", "model.eval()"]);
    // A Dropout in training mode cannot be run at all.
    let file = classifier("N", "2")
        .constant("ratio", &[1], &[0.3])
        .constant("yes", &[1], &[1.0])
        .node("Dropout", &["p", "ratio", "yes"], &["q"], &[])
        .output_of("q", FLOAT, "N,3");
    let path = folder.put("b.onnx", &file.bytes());
    let (_, problem) = refused(&path, "text");
    says(
        &problem,
        &["Dropout", "drops values at random", "model.eval()"],
    );
}

#[test]
fn half_precision_is_noted_to_be_computed_in_single() {
    const HALF: i32 = 10;
    let folder = Folder::new();
    let half = OnnxWriter::new(17)
        .input_of("x", FLOAT, "N,2")
        .constant("w", &[2, 3], &[1.0, 0.0, 0.5, 0.0, 1.0, 0.25])
        .node("Cast", &["x"], &["h"], &[("to", Attr::Int(HALF.into()))])
        .node("Cast", &["w"], &["v"], &[("to", Attr::Int(HALF.into()))])
        .node("MatMul", &["h", "v"], &["y"], &[])
        .output_of("y", HALF, "N,3");
    let path = folder.put("half.onnx", &half.bytes());
    let note = "computed in single precision";
    says(&text(&path), &[note, "--tol 1e-2"]);
    let single = folder.put("single.onnx", &classifier("N", "2").bytes());
    assert!(!text(&single).contains(note));
}

#[test]
fn a_model_that_is_no_classifier_gets_a_reason() {
    let folder = Folder::new();
    let open = folder.put("open.onnx", &classifier("N", "?").bytes());
    let whole = OnnxWriter::new(17)
        .input_of("x", INT64, "1")
        .node("Identity", &["x"], &["y"], &[])
        .output_of("y", INT64, "1");
    let whole = folder.put("whole.onnx", &whole.bytes());
    let huge = OnnxWriter::new(17)
        .input_of("x", FLOAT, "N,1099511627776,1099511627776")
        .node("Identity", &["x"], &["y"], &[])
        .output_of("y", FLOAT, "N,1099511627776,1099511627776");
    let huge = folder.put("huge.onnx", &huge.bytes());
    let one = "`y` is one number per sample";
    let (settled, none) = ("settled by the data", "no classifier as it stands");
    for (path, what, why) in [
        (open, settled, "leaves dimension ? open; data are needed"),
        (whole, none, one),
        // No data can settle this.
        (huge, none, "more than"),
    ] {
        let seen = inspect(&path, &[]);
        assert_eq!(
            (&seen["supported"], &seen["access"]),
            (&json!(true), &json!([]))
        );
        says(seen["no_access"].as_str().unwrap_or_default(), &[why]);
        says(&text(&path), &[what, why]);
    }
}

/// Returns a model in which each sample is the mean of the table rows named by its ids.
fn of_ids() -> OnnxWriter {
    OnnxWriter::new(17)
        .input_of("ids", INT64, "N,3")
        .constant("table", &[2, 4], &[1.0, 0.0, 0.5, 0.0, 0.0, 1.0, 0.25, 2.0])
        .node("Gather", &["table", "ids"], &["rows"], &[])
        .node(
            "ReduceMean",
            &["rows"],
            &["mean"],
            &[("axes", Attr::Ints(vec![1])), ("keepdims", Attr::Int(0))],
        )
}

#[test]
fn inputs_that_no_attack_may_change_have_no_gradients() {
    let folder = Folder::new();
    let alone = of_ids().output_of("mean", FLOAT, "N,4");
    let alone = folder.put("ids.onnx", &alone.bytes());
    let seen = inspect(&alone, &[]);
    assert_eq!(seen["access"], json!(["decisions", "scores", "features"]));
    assert_eq!(seen["frozen"], json!(["ids"]));
    let words = [
        "frozen     ids (int64)",
        "access     decisions, scores, features; no gradients",
    ];
    says(&text(&alone), &words);

    let beside = of_ids()
        .input_of("x", FLOAT, "N,4")
        .node("Add", &["mean", "x"], &["y"], &[])
        .output_of("y", FLOAT, "N,4");
    let beside = folder.put("beside.onnx", &beside.bytes());
    let seen = inspect(&beside, &[]);
    let all = json!(["decisions", "scores", "gradients", "features"]);
    assert_eq!((&seen["access"], &seen["frozen"]), (&all, &json!(["ids"])));
    let shown = text(&beside);
    says(&shown, &["--freeze ids", "scores, gradients, features"]);
    assert!(!shown.contains("no gradients"), "{shown}");
}

#[test]
fn fixed_inputs_are_not_listed() {
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
