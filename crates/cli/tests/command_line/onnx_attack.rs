//! `attack` on ONNX files: results, and models that are refused.

use proofmark::onnx::writer::{Attr, FLOAT, OnnxWriter};

use crate::harness::{Folder, Ran, run};

fn attack(model: &str, more: &[&str]) -> Ran {
    let mut arguments = vec![
        "attack", model, "--data", "digits", "--attack", "pgd", "--norm", "linf", "--eps", "0.15",
        "--steps", "10", "--limit", "60",
    ];
    arguments.extend(more);
    run(&arguments)
}

fn report(folder: &Folder) -> serde_json::Value {
    let bytes = std::fs::read(folder.path("report.json")).expect("a report");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn a_model_with_softmax_is_attacked_before_it_and_flagged() {
    let folder = Folder::new();
    let out = folder.path("report.json").display().to_string();
    let mut counts = Vec::new();
    for twin in ["digits-standard.onnx", "digits-standard-softmax.onnx"] {
        let ran = attack(&format!("datasets/digits/{twin}"), &["--out", &out]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let report = report(&folder);
        counts.push(report["worst_case"]["correct"].clone());
        let cured = twin.contains("softmax");
        let flags = report["trust"].as_array().expect("flags");
        assert_eq!(flags.len(), usize::from(cured), "{flags:?}");
        if cured {
            assert_eq!(flags[0]["code"], "probabilities-as-logits");
            assert_eq!(flags[0]["cured"], true);
            assert_eq!(report["model"]["stated"], report["trust"]);
        }
    }
    assert_eq!(counts[0], counts[1]);
}

#[test]
fn preprocessing_happens_before_the_model_and_is_reported() {
    let folder = Folder::new();
    let out = folder.path("report.json").display().to_string();
    // Scale 2, mean 0 and standard deviation 2 leave the values unchanged.
    let same = ["--scale", "2", "--mean", "0.0", "--std", "2", "--out", &out];
    let ran = attack("datasets/digits/digits-robust.onnx", &same);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let with = report(&folder);
    assert_eq!(with["preprocessing"]["scale"], 2.0);
    let ran = attack("datasets/digits/digits-robust.onnx", &["--out", &out]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(with["worst_case"], report(&folder)["worst_case"]);
}

#[test]
fn models_that_cannot_be_attacked_are_refused_with_a_reason() {
    let folder = Folder::new();
    let linear = |op: &str| {
        OnnxWriter::new(17)
            .input_of("x", FLOAT, "N,1,8,8")
            .output_of("y", FLOAT, "N,1,8,8")
            .node(op, &["x"], &["y"], &[])
            .bytes()
    };
    let picture = folder.put("picture.onnx", &linear("Relu"));
    let strange = folder.put("strange.onnx", &linear("NoSuchOperator"));
    let noise = folder.put("noise.onnx", b"\x07this is no model");
    let twin = "datasets/digits/digits-robust.onnx";
    let before = folder.names();
    let out = folder.path("report.json").display().to_string();
    let cases: [(&str, &[&str], &[&str]); 9] = [
        (
            &picture,
            &[],
            &["picture.onnx", "`y`", "one score per class"],
        ),
        (
            &strange,
            &[],
            &["strange.onnx", "NoSuchOperator", "opset 17"],
        ),
        (&noise, &[], &["noise.onnx", "well-formed"]),
        ("nowhere.onnx", &[], &["nowhere.onnx", "cannot be read"]),
        (twin, &["--output", "nothing"], &["`nothing`"]),
        (twin, &["--fix", "sr=16000"], &["no input `sr`"]),
        (twin, &["--fix", "sr"], &["--fix sr", "INPUT=NUMBER"]),
        (twin, &["--layout", "chwn"], &["chwn", "nchw or nhwc"]),
        ("digits-robust", &["--layout", "nhwc"], &["no ONNX file"]),
    ];
    for (model, more, words) in cases {
        let mut more = more.to_vec();
        more.extend(["--out", &out]);
        let ran = attack(model, &more);
        assert_eq!(ran.code, 2, "{model}: {}", ran.err);
        for word in words {
            assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
        }
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        assert_eq!(folder.names(), before, "something was left behind");
    }
}

#[test]
fn a_shape_mismatch_names_both_shapes() {
    let folder = Folder::new();
    let bytes = OnnxWriter::new(17)
        .input_of("x", FLOAT, "1,3,32,32")
        .output_of("y", FLOAT, "")
        .node("Relu", &["x"], &["y"], &[])
        .bytes();
    let model = folder.put("large.onnx", &bytes);
    let ran = attack(&model, &[]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for word in ["`x`", "3, 32, 32", "[1, 8, 8]"] {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
}

/// Returns a model that shrinks images from 8 × 8 to 5 × 8 and computes a score per class from the result.
fn shrinking() -> OnnxWriter {
    let weights: Vec<f32> = (0..400).map(|i| (i * 7 % 11) as f32).collect();
    OnnxWriter::new(17)
        .input("x", &[-1, 1, 8, 8])
        .constant("s", &[4], &[1.0, 1.0, 0.7, 1.0])
        .constant("w", &[40, 10], &weights)
        .node(
            "Resize",
            &["x", "", "s"],
            &["small"],
            &[
                ("mode", Attr::Text("linear")),
                (
                    "coordinate_transformation_mode",
                    Attr::Text("align_corners"),
                ),
            ],
        )
        .node("Flatten", &["small"], &["flat"], &[])
        .node("MatMul", &["flat", "w"], &["y"], &[])
        .output("y")
}

#[test]
fn a_gate_prints_the_notes_of_each_model_once() {
    let folder = Folder::new();
    let path = folder.put("small.onnx", &shrinking().bytes());
    let note = "(Resize, align_corners): scale 0.7 × length 8 is not whole";
    let ran = attack(&path, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.err.matches(note).count(), 1, "{}", ran.err);
    let check = |id: &str| {
        format!(
            "[[check]]\nid = \"{id}\"\nkind = \"clean\"\nmodel = \"mine\"\ndata = \"digits\"\nlimit = 20\nrequire = \"accuracy >= 0\"\n"
        )
    };
    let policy = format!(
        "schema = \"proofmark/policy/1\"\nseed = 1\n[[model]]\nname = \"mine\"\npath = \"small.onnx\"\n{}{}",
        check("one"),
        check("two")
    );
    let policy = folder.put("policy.toml", policy.as_bytes());
    let told = run(&["gate", &policy]);
    // The model is untrained, so the verdict is inconclusive.
    assert_eq!(told.code, 3, "{}", told.err);
    // The note appears once, although two checks use the model.
    let line = "note: mine: node `";
    assert_eq!(told.err.matches(line).count(), 1, "{}", told.err);
    assert_eq!(told.err.matches(note).count(), 1, "{}", told.err);
    let quiet = run(&["gate", "--quiet", &policy]);
    assert_eq!((quiet.code, quiet.err.as_str()), (3, ""));
}
