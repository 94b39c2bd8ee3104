//! An epsilon in a different unit than the data never yields a pass, and a model at chance level is reported with its
//! likely cause.

use proofmark::data::ndarray::{ArrayD, Axis};
use proofmark::data::npz::{self, NpzArray};
use proofmark::data::{Options, open};
use proofmark::onnx::writer::{Attr, FLOAT, OnnxWriter};
use serde_json::Value;

use crate::harness::{Folder, Ran, root, run};

const MODEL: &str = "datasets/digits/digits-robust.onnx";
/// 1/255, as a user types it.
const SCALE: &str = "0.00392156862745098";
const SAMPLES: usize = 120;

/// Writes the first digits as whole pixels in 0 to 255, with labels shifted by `offset` and optionally a budget per
/// sample.
fn pixels(folder: &Folder, name: &str, offset: i64, eps: Option<&[f32]>) -> String {
    let digits = open("digits", &Options::default()).expect("shipped");
    let values: Vec<f32> = digits.modalities[0]
        .values
        .axis_iter(Axis(0))
        .take(SAMPLES)
        .flat_map(|row| row.iter().map(|v| (v * 255.0).round()).collect::<Vec<_>>())
        .collect();
    let labels = digits.labels.expect("labels");
    let labels: Vec<i64> = labels[..SAMPLES]
        .iter()
        .map(|l| (*l as i64 + offset).clamp(0, 9))
        .collect();
    let x = ArrayD::from_shape_vec(vec![SAMPLES, 1, 8, 8], values).expect("a shape");
    let y = ArrayD::from_shape_vec(vec![SAMPLES], labels).expect("a shape");
    let bounds = ArrayD::from_shape_vec(vec![2], vec![0.0_f32, 255.0]).expect("a shape");
    let eps = eps.map(|e| ArrayD::from_shape_vec(vec![e.len()], e.to_vec()).expect("a shape"));
    let mut arrays = vec![
        ("x", NpzArray::F32(x.view())),
        ("y", NpzArray::I64(y.view())),
        ("bounds", NpzArray::F32(bounds.view())),
    ];
    if let Some(eps) = &eps {
        arrays.push(("eps", NpzArray::F32(eps.view())));
    }
    let path = folder.path(name);
    npz::write(&path, &arrays).expect("writable");
    path.display().to_string()
}

fn attack(data: &str, more: &[&str]) -> Ran {
    let line = [
        "attack", MODEL, "--data", data, "--scale", SCALE, "--attack", "fgsm", "--norm",
    ];
    run(&[&line, more].concat())
}

fn read(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a report")).expect("JSON")
}

fn codes(report: &Value) -> Vec<&str> {
    let flags = report["trust"].as_array().expect("flags");
    flags.iter().filter_map(|f| f["code"].as_str()).collect()
}

#[test]
fn an_epsilon_of_8_255_on_pixels_to_255_never_passes() {
    let folder = Folder::new();
    let data = pixels(&folder, "pixels.npz", 0, None);
    let wrong = attack(&data, &["linf", "--eps", "8/255", "--fail-under", "0.8"]);
    assert_eq!(wrong.code, 3, "{}", wrong.err);
    for word in ["epsilon-unit", "linf 0.03137255", "write 8"] {
        assert!(wrong.err.contains(word), "no `{word}` in: {}", wrong.err);
    }
    let right = attack(&data, &["linf", "--eps", "8", "--fail-under", "0.8"]);
    assert_eq!(right.code, 0, "{}", right.err);
    assert!(!right.err.contains("epsilon-unit"), "{}", right.err);
    // In L2 a thousandth of sqrt(64) * 255 is 2.04, and the whole box has a diagonal of 2040.
    for (eps, expected) in [("2", 3), ("3", 0), ("2041", 1)] {
        let ran = attack(&data, &["l2", "--eps", eps, "--fail-under", "0.8"]);
        assert_eq!(ran.code, expected, "{eps}: {}", ran.err);
        assert_eq!(ran.err.contains("epsilon-unit"), eps != "3", "{}", ran.err);
    }
    // Only the largest budget of a curve is checked.
    let curve = attack(&data, &["linf", "--eps", "0.01,8", "--fail-under", "0.8"]);
    assert_eq!(curve.code, 0, "{}", curve.err);
}

#[test]
fn a_whole_epsilon_on_pixels_to_1_is_flagged() {
    let ran = run(&[
        "attack",
        "digits-robust",
        "--data",
        "digits",
        "--attack",
        "fgsm",
        "--norm",
        "linf",
        "--eps",
        "8",
        "--limit",
        "20",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for word in ["epsilon-unit", "linf 8", "write 8/255"] {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
}

#[test]
fn merged_shards_have_the_trust_flags_of_the_whole() {
    let folder = Folder::new();
    let data = pixels(&folder, "pixels.npz", 0, None);
    let out = |name: &str| folder.path(name).display().to_string();
    let whole = out("whole.json");
    let judged = ["linf", "--eps", "8/255", "--out"];
    attack(&data, &[&judged[..], &[&whole]].concat());
    let parts = [out("0.json"), out("1.json")];
    for (i, part) in parts.iter().enumerate() {
        let shard = format!("{i}/2");
        attack(&data, &[&judged[..], &[part, "--shard", &shard]].concat());
    }
    let merged = out("merged.json");
    let ran = run(&["merge", &parts[0], &parts[1], "--out", &merged]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let (whole, merged) = (read(&whole), read(&merged));
    assert_eq!(whole["trust"], merged["trust"]);
    assert_eq!(codes(&whole), ["epsilon-unit"]);
}

#[test]
fn a_gate_does_not_pass_until_the_code_is_accepted() {
    let folder = Folder::new();
    pixels(&folder, "pixels.npz", 0, None);
    let model = root().join(MODEL).display().to_string();
    let policy = |more: &str| {
        let text = format!(
            r#"schema = "proofmark/policy/1"
[[model]]
name = "m"
path = "{model}"
preprocess = {{ scale = {SCALE} }}
[[data]]
name = "d"
path = "pixels.npz"
[[check]]
id = "robust"
kind = "robustness"
model = "m"
data = "d"
threat = {{ norm = "linf", eps = "8/255" }}
attacks = ["fgsm"]
require = "robust_accuracy >= 0.8"
{more}"#
        );
        folder.put("policy.toml", text.as_bytes())
    };
    let evidence = folder.path("evidence").display().to_string();
    let ran = run(&["gate", &policy(""), "--out-dir", &evidence]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("robust/epsilon-unit"), "{}", ran.err);
    let again = run(&["gate", &policy(""), "--from-evidence", &evidence]);
    assert_eq!(again.code, 3, "{}", again.err);
    assert!(again.err.ends_with(&ran.err), "{}", again.err);
    let accepted = policy(
        "[[accept]]\ncode = \"robust/epsilon-unit\"\nreason = \"below one level on purpose\"\nexpires = \"2999-01-01\"\n",
    );
    let ran = run(&["gate", &accepted, "--from-evidence", &evidence]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn epsilons_per_sample_are_checked_and_exclude_a_common_one() {
    let folder = Folder::new();
    let mut eps = [8.0_f32; SAMPLES];
    let good = pixels(&folder, "good.npz", 0, Some(&eps));
    eps[7] = 0.03;
    let bad = pixels(&folder, "bad.npz", 0, Some(&eps));
    for (data, raised) in [(&good, false), (&bad, true)] {
        let ran = attack(data, &["linf", "--per-sample-eps"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(ran.err.contains("epsilon-unit"), raised, "{}", ran.err);
    }
    let both = attack(&good, &["linf", "--per-sample-eps", "--eps", "8"]);
    assert_eq!(both.code, 2);
    assert!(
        both.err.contains("--eps 8: --per-sample-eps"),
        "{}",
        both.err
    );
}

/// Samples with epsilon 0 are not robust: a set of only such samples is refused, and some of them prevent a pass.
#[test]
fn samples_with_epsilon_0_never_pass() {
    let folder = Folder::new();
    let none = pixels(&folder, "none.npz", 0, Some(&[0.0; SAMPLES]));
    let ran = attack(&none, &["linf", "--per-sample-eps", "--fail-under", "0.1"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    let told = "epsilon of every sample is 0";
    assert!(ran.err.contains(told), "{}", ran.err);
    // A shard without budgets is accepted if other shards have some.
    let mut eps = [0.0_f32; SAMPLES];
    eps[0] = 8.0;
    let one = pixels(&folder, "one.npz", 0, Some(&eps));
    let parts =
        ["0/60", "1/60"].map(|shard| attack(&one, &["linf", "--per-sample-eps", "--shard", shard]));
    assert!(parts.iter().all(|p| p.code == 0), "{}", parts[0].err);
    let ran = attack(&one, &["linf", "--per-sample-eps", "--fail-under", "0.1"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("epsilon-unit"), "{}", ran.err);
}

/// Values 255 times too large may still leave a robust model right on most samples.
#[test]
fn a_needless_scale_is_noted() {
    let with = |scale: &str| {
        let line = "attack digits-robust --data digits --limit 128 --attack fgsm --norm linf --eps 0.1 --scale";
        let mut line: Vec<&str> = line.split(' ').collect();
        line.push(scale);
        run(&line)
    };
    let ran = with("255");
    for word in [
        "note clean-at-chance",
        "divided by 255 (scale)",
        "is the scale right?",
    ] {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
    let ran = with("1");
    assert!(!ran.err.contains("clean-at-chance"), "{}", ran.err);
    // Pixels in 0 to 255 for a model that expects them.
    let folder = Folder::new();
    let data = pixels(&folder, "pixels.npz", 0, None);
    let ran = attack(&data, &["linf", "--eps", "8"]);
    assert!(!ran.err.contains("clean-at-chance"), "{}", ran.err);
}

/// Sound perturbations below a thousandth of the range are audible, and floating-point sound looks like a table.
#[test]
fn sound_is_read_as_audio_if_stated() {
    let folder = Folder::new();
    let model = OnnxWriter::new(17)
        .input_of("x", FLOAT, "N,4")
        .output_of("y", FLOAT, "N,2")
        .constant("w", &[4, 2], &[1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
        .node("MatMul", &["x", "w"], &["y"], &[]);
    let model = folder.put("m.onnx", &model.bytes());
    let n = 40;
    let x: Vec<f32> = (0..n * 4)
        .map(|i| if i / 4 % 2 == 0 { 0.5 } else { -0.5 })
        .collect();
    let x = ArrayD::from_shape_vec(vec![n, 4], x).expect("a shape");
    let y: Vec<i64> = (0..n as i64).map(|i| i % 2).collect();
    let y = ArrayD::from_shape_vec(vec![n], y).expect("a shape");
    let path = folder.path("sound.npz");
    let arrays = [
        ("x", NpzArray::F32(x.view())),
        ("y", NpzArray::I64(y.view())),
    ];
    npz::write(&path, &arrays).expect("writable");
    let data = path.display().to_string();
    let attacked = |more: &[&str]| {
        let line = [
            "attack",
            &model,
            "--data",
            &data,
            "--bounds",
            "-1,1",
            "--attack",
            "fgsm",
            "--norm",
            "linf",
            "--eps",
            "0.0005",
            "--fail-under",
            "0.5",
        ];
        run(&[&line[..], more].concat())
    };
    let table = attacked(&[]);
    assert_eq!(table.code, 3, "{}", table.err);
    assert!(table.err.contains("--kind audio"), "{}", table.err);
    for stated in ["audio", "x=audio"] {
        let sound = attacked(&["--kind", stated]);
        assert_eq!(sound.code, 0, "{}", sound.err);
        assert!(
            sound.err.contains("float32 as stored, audio"),
            "{}",
            sound.err
        );
    }
    for (more, word) in [
        (&["--kind", "sound"][..], "image, audio or table"),
        (&["--kind", "z=audio"], "no array `z`"),
        (&["--kind", "audio", "--kind", "table"], "given twice"),
    ] {
        let ran = attacked(more);
        assert!(ran.code == 2 && ran.err.contains(word), "{}", ran.err);
    }
    let policy = format!(
        r#"schema = "proofmark/policy/1"
[[model]]
name = "m"
path = "{model}"
[[data]]
name = "d"
path = "sound.npz"
bounds = [-1, 1]
KIND
[[check]]
id = "robust"
kind = "robustness"
model = "m"
data = "d"
threat = {{ norm = "linf", eps = 0.0005 }}
attacks = ["fgsm"]
require = "robust_accuracy >= 0.5"
"#
    );
    for (kind, code) in [
        ("", 3),
        ("kind = \"audio\"", 0),
        ("kind = { x = \"audio\" }", 0),
        ("kind = { z = \"audio\" }", 2),
        ("kind = \"noise\"", 2),
        ("kind = {}", 2),
    ] {
        let policy = folder.put("p.toml", policy.replace("KIND", kind).as_bytes());
        let ran = run(&["gate", &policy]);
        assert_eq!(ran.code, code, "{kind}: {}", ran.err);
    }
}

#[test]
fn an_epsilon_of_0_is_refused_as_in_a_gate() {
    for eps in ["0", "0.1,0"] {
        let ran = run(&[
            "attack",
            "digits-robust",
            "--data",
            "digits",
            "--attack",
            "fgsm",
            "--norm",
            "linf",
            "--eps",
            eps,
        ]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(
            ran.err.contains("epsilon 0 freezes every input"),
            "{}",
            ran.err
        );
    }
}

/// Returns a linear model of an image in 0 to 255 and a table in 0 to 1, and its data.
fn two_inputs(folder: &Folder) -> (String, String) {
    let weights: Vec<f32> = (0..16)
        .map(|i| {
            if i % 2 == usize::from(i < 8) {
                0.5
            } else {
                -0.5
            }
        })
        .collect();
    let bytes = OnnxWriter::new(17)
        .input_of("image", FLOAT, "N,1,2,2")
        .input_of("table", FLOAT, "N,4")
        .output("scores")
        .constant("w", &[8, 2], &weights)
        .node("Flatten", &["image"], &["flat"], &[("axis", Attr::Int(1))])
        .node(
            "Concat",
            &["flat", "table"],
            &["all"],
            &[("axis", Attr::Int(1))],
        )
        .node("MatMul", &["all", "w"], &["scores"], &[])
        .bytes();
    let n = 12;
    let image: Vec<f32> = (0..n * 4).map(|i| ((i * 37) % 256) as f32).collect();
    let table: Vec<f32> = (0..n * 4).map(|i| ((i * 7) % 10) as f32 / 10.0).collect();
    let shaped = |v: Vec<f32>, shape: &[usize]| ArrayD::from_shape_vec(shape, v).expect("a shape");
    let (image, table) = (shaped(image, &[n, 1, 2, 2]), shaped(table, &[n, 4]));
    let (of_image, of_table) = (shaped(vec![0.0, 255.0], &[2]), shaped(vec![0.0, 1.0], &[2]));
    let path = folder.path("two.npz");
    npz::write(
        &path,
        &[
            ("image", NpzArray::F32(image.view())),
            ("table", NpzArray::F32(table.view())),
            ("bounds_image", NpzArray::F32(of_image.view())),
            ("bounds_table", NpzArray::F32(of_table.view())),
        ],
    )
    .expect("writable");
    (folder.put("two.onnx", &bytes), path.display().to_string())
}

#[test]
fn each_input_is_checked_in_its_own_unit() {
    let folder = Folder::new();
    let (model, data) = two_inputs(&folder);
    let told = |more: &[&str]| {
        let line = [
            "attack",
            &model,
            "--data",
            &data,
            "--labels",
            "predicted",
            "--attack",
            "fgsm",
            "--norm",
            "linf",
        ];
        let ran = run(&[&line, more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.err
    };
    let one_for_both = told(&["--eps", "0.1"]);
    assert!(
        one_for_both.contains("epsilon of `image`"),
        "{one_for_both}"
    );
    assert!(
        !one_for_both.contains("epsilon of `table`"),
        "{one_for_both}"
    );
    let own = told(&["--eps", "image=8", "--eps", "table=0.1"]);
    assert!(!own.contains("epsilon-unit"), "{own}");
    let frozen = told(&["--eps", "0.1", "--freeze", "image"]);
    assert!(!frozen.contains("epsilon-unit"), "{frozen}");
    let shared = told(&["--eps", "image=0.1", "--eps", "table=0.1", "--shared", "2"]);
    assert!(shared.contains("epsilon of `image`"), "{shared}");
}

#[test]
fn a_model_at_chance_level_is_flagged_with_its_likely_cause() {
    let folder = Folder::new();
    // Pixels already in [0, 1] are divided by 255 once more.
    let out = |name: &str| folder.path(name).display().to_string();
    let attack_digits = |more: &[&str]| {
        let line = [
            "attack", MODEL, "--data", "digits", "--scale", SCALE, "--limit", "200", "--attack",
            "fgsm", "--norm", "linf", "--eps", "0.1", "--out",
        ];
        let ran = run(&[&line, more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.err
    };
    let told = attack_digits(&[&out("whole.json")]);
    let report = read(&out("whole.json"));
    assert_eq!(codes(&report)[0], "clean-at-chance", "{told}");
    for word in [
        "labels count from 0",
        "guessing among 10 classes (10.0 %)",
        "with the values times 255 (scale) it would be",
    ] {
        assert!(told.contains(word), "no `{word}` in: {told}");
    }
    for shard in ["0/2", "1/2"] {
        attack_digits(&[&out(&shard[..1]), "--shard", shard]);
    }
    let merged = run(&["merge", &out("0"), &out("1"), "--out", &out("merged.json")]);
    assert_eq!(merged.code, 0, "{}", merged.err);
    assert_eq!(read(&out("merged.json"))["trust"], report["trust"]);

    let shifted = pixels(&folder, "shifted.npz", 1, None);
    let ran = attack(&shifted, &["linf", "--eps", "8"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("with every label 1 less"), "{}", ran.err);
}

/// A policy judges only against the labels of its data, so the alternative of `attack` is not suggested.
#[test]
fn missing_labels_in_a_policy_name_its_fields() {
    let folder = Folder::new();
    let x = ArrayD::from_elem(vec![4, 1, 8, 8], 0.5_f32);
    let path = folder.path("plain.npz");
    npz::write(&path, &[("x", NpzArray::F32(x.view()))]).expect("writable");
    let policy = folder.put(
        "policy.toml",
        br#"schema = "proofmark/policy/1"

[[data]]
name = "d"
path = "plain.npz"
bounds = [0, 1]

[[check]]
id = "clean"
kind = "clean"
model = "digits-robust"
data = "d"
require = "accuracy >= 0.9"
"#,
    );
    let ran = run(&["gate", &policy]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for word in ["labels", "--labels-file", "fields of [[data]]"] {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
    assert!(!ran.err.contains("predicted"), "{}", ran.err);
}

#[test]
fn missing_bounds_name_the_place_to_state_them() {
    let folder = Folder::new();
    let x = ArrayD::from_elem(vec![4, 1, 8, 8], 0.5_f32);
    let y = ArrayD::from_elem(vec![4], 1_i64);
    let arrays = [
        ("x", NpzArray::F32(x.view())),
        ("y", NpzArray::I64(y.view())),
    ];
    let path = folder.path("plain.npz");
    npz::write(&path, &arrays).expect("writable");
    let policy = folder.put(
        "policy.toml",
        br#"schema = "proofmark/policy/1"

[[data]]
name = "d"
path = "plain.npz"

[[check]]
id = "clean"
kind = "clean"
model = "digits-robust"
data = "d"
require = "accuracy >= 0.9"
"#,
    );
    let ran = run(&["gate", &policy]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for word in ["line 3", "data \"d\"", "bounds = [0, 1]", "[[data]]"] {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
    assert!(!ran.err.contains("--bounds"), "{}", ran.err);
    let ran = run(&[
        "attack",
        "digits-robust",
        "--data",
        &path.display().to_string(),
        "--attack",
        "fgsm",
        "--norm",
        "linf",
        "--eps",
        "0.1",
    ]);
    assert!(
        ran.code == 2 && ran.err.contains("--bounds LO,HI"),
        "{}",
        ran.err
    );
}

#[test]
fn means_are_given_per_channel() {
    let folder = Folder::new();
    let bytes = OnnxWriter::new(17)
        .input_of("x", FLOAT, "N,8,8,3")
        .output("y")
        .constant("w", &[192, 2], &[0.01; 384])
        .node("Flatten", &["x"], &["f"], &[("axis", Attr::Int(1))])
        .node("MatMul", &["f", "w"], &["y"], &[])
        .bytes();
    let model = folder.put("nhwc.onnx", &bytes);
    let x = ArrayD::from_elem(vec![4, 8, 8, 3], 7_u8);
    let y = ArrayD::from_elem(vec![4], 1_i64);
    let path = folder.path("x.npz");
    let arrays = [
        ("x", NpzArray::U8(x.view())),
        ("y", NpzArray::I64(y.view())),
    ];
    npz::write(&path, &arrays).expect("writable");
    let data = path.display().to_string();
    let with = |mean: &str| {
        run(&[
            "attack", &model, "--data", &data, "--attack", "fgsm", "--norm", "linf", "--eps",
            "8/255", "--mean", mean,
        ])
    };
    let eight = with("1,2,3,4,5,6,7,8");
    assert_eq!(eight.code, 2, "{}", eight.err);
    assert!(
        eight.err.contains("expected 1, or 3, one per channel"),
        "{}",
        eight.err
    );
    let three = with("0.1,0.2,0.3");
    assert_eq!(three.code, 0, "{}", three.err);
}
