//! Statements about an ONNX model's inputs and outputs are checked against the file and the data, alike on the command
//! line and in a policy.

use proofmark::data::ndarray::{Array1, ArrayD, IxDyn};
use proofmark::data::npz::{self, NpzArray};
use proofmark::onnx::writer::{Attr, FLOAT, INT64, OnnxWriter};

use crate::harness::{Folder, Ran, run};

const N: usize = 40;

fn number(i: usize) -> f32 {
    ((i as f64 * 0.618_033_988_749_894_9).fract()) as f32
}

/// Writes samples in [0, 1], labelled by a rule.
fn samples(folder: &Folder, shape: &[usize], label: impl Fn(&[f32]) -> i64) -> String {
    let features: usize = shape.iter().product();
    let values: Vec<f32> = (0..N * features).map(number).collect();
    let labels: Array1<i64> = values.chunks(features).map(label).collect();
    let shape: Vec<usize> = [&[N][..], shape].concat();
    let x = ArrayD::from_shape_vec(IxDyn(&shape), values).expect("a shape");
    let path = folder.path("set.npz");
    let y = labels.into_dyn();
    let arrays = [
        ("x", NpzArray::F32(x.view())),
        ("y", NpzArray::I64(y.view())),
    ];
    npz::write(&path, &arrays).expect("written");
    path.display().to_string()
}

/// Runs `attack`, requiring a robust accuracy of at least one half.
fn attack(model: &str, data: &str, more: &[&str]) -> Ran {
    let mut arguments = vec![
        "attack",
        model,
        "--data",
        data,
        "--bounds",
        "0,1",
        "--attack",
        "pgd",
        "--norm",
        "linf",
        "--eps",
        "0.01",
        "--steps",
        "2",
        "--fail-under",
        "0.5",
    ];
    arguments.extend(more);
    run(&arguments)
}

/// Runs the same check as a policy.
fn gate(folder: &Folder, more: &str) -> Ran {
    let policy = format!(
        r#"schema = "proofmark/policy/1"
seed = 1
[[model]]
name = "m"
path = "m.onnx"
{more}
[[data]]
name = "d"
path = "set.npz"
bounds = [0, 1]
[[check]]
id = "c"
kind = "robustness"
model = "m"
data = "d"
threat = {{ norm = "linf", eps = 0.01 }}
attacks = [{{ id = "pgd", steps = 2 }}]
require = "robust_accuracy >= 0.5"
"#
    );
    let policy = folder.put("policy.toml", policy.as_bytes());
    let out = folder.path("out").display().to_string();
    run(&["gate", &policy, "--out-dir", &out])
}

#[track_caller]
fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 2, "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
}

/// Returns a model of `z = x0 + x1 - x2 - x3`, squeezed to `[n]`.
fn logit() -> Vec<u8> {
    OnnxWriter::new(18)
        .input_of("x", FLOAT, "N,4")
        .constant("w", &[4, 1], &[1.0, 1.0, -1.0, -1.0])
        .integers("axes", &[1])
        .node("MatMul", &["x", "w"], &["s"], &[])
        .node("Squeeze", &["s", "axes"], &["z"], &[])
        .output("z")
        .bytes()
}

#[test]
fn a_single_score_is_a_logit_where_it_is_stated() {
    let folder = Folder::new();
    let model = folder.put("m.onnx", &logit());
    let data = samples(&folder, &[4], |x| i64::from(x[0] + x[1] > x[2] + x[3]));
    let ran = attack(&model, &data, &["--output-kind", "logit"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = gate(&folder, "output = \"logit\"");
    assert_eq!(ran.code, 0, "{}", ran.err);
    // Wrong statements are refused.
    let score = ["`z`", "outside [0, 1]", "raw score", "--output-kind logit"];
    refused(
        &attack(&model, &data, &["--output-kind", "probabilities"]),
        &score,
    );
    refused(&gate(&folder, "output = \"probabilities\""), &score);
    refused(&attack(&model, &data, &[]), &["`z`", "--output-kind logit"]);
    let unknown = attack(&model, &data, &["--output-kind", "logits?"]);
    refused(&unknown, &["logits, probabilities or logit"]);
}

#[test]
fn log_probabilities_are_not_taken_for_probabilities() {
    let folder = Folder::new();
    let bytes = OnnxWriter::new(18)
        .input_of("x", FLOAT, "N,3")
        .node("LogSoftmax", &["x"], &["y"], &[("axis", Attr::Int(1))])
        .output("y")
        .bytes();
    let model = folder.put("m.onnx", &bytes);
    let data = samples(&folder, &[3], |x| {
        (0..3)
            .rev()
            .max_by(|a, b| x[*a].total_cmp(&x[*b]))
            .unwrap_or(0) as i64
    });
    refused(
        &attack(&model, &data, &["--output-kind", "probabilities"]),
        &["log-probabilities", "--output-kind logits"],
    );
    assert_eq!(attack(&model, &data, &[]).code, 0);
    assert_eq!(gate(&folder, "").code, 0);
}

#[test]
fn the_stated_output_kind_is_checked_on_the_data() {
    // Within the bounds the outputs look like probabilities; preprocessing moves the data outside them.
    let folder = Folder::new();
    let bytes = OnnxWriter::new(18)
        .input_of("x", FLOAT, "N,2")
        .constant("half", &[1], &[0.5])
        .constant("w", &[2, 2], &[0.5, -0.5, -0.5, 0.5])
        .node("MatMul", &["x", "w"], &["z"], &[])
        .node("Add", &["z", "half"], &["y"], &[])
        .output("y")
        .bytes();
    let model = folder.put("m.onnx", &bytes);
    let data = samples(&folder, &[2], |x| i64::from(x[1] > x[0]));
    let stated = ["--output-kind", "probabilities"];
    assert_eq!(attack(&model, &data, &stated).code, 0);
    let scaled = attack(&model, &data, &[&stated[..], &["--scale", "100"]].concat());
    refused(&scaled, &["`y`", "outside [0, 1]", "looks like logits"]);
}

#[test]
fn data_in_another_order_are_refused_on_the_command_line_and_in_a_policy() {
    let folder = Folder::new();
    let bytes = OnnxWriter::new(18)
        .input_of("x", FLOAT, "N,2,5")
        .integers("axes", &[2])
        .node(
            "ReduceMax",
            &["x", "axes"],
            &["y"],
            &[("keepdims", Attr::Int(0))],
        )
        .output("y")
        .bytes();
    let model = folder.put("m.onnx", &bytes);
    let right = |x: &[f32]| {
        let largest = |part: &[f32]| part.iter().copied().fold(0.0, f32::max);
        i64::from(largest(&x[5..]) > largest(&x[..5]))
    };
    for shape in [&[2, 5][..], &[10]] {
        let data = samples(&folder, shape, right);
        assert_eq!(attack(&model, &data, &[]).code, 0);
        assert_eq!(gate(&folder, "").code, 0);
    }
    let data = samples(&folder, &[5, 2], right);
    let told = ["`x`", "[2, 5]", "[5, 2]", "transpose"];
    refused(&attack(&model, &data, &[]), &told);
    refused(&gate(&folder, ""), &told);
}

/// Returns a model of `y = x - 100` and its negative: `x` holds whole numbers, beside a mask of whole numbers that also
/// begins with a Cast.
fn whole() -> Vec<u8> {
    OnnxWriter::new(18)
        .input_of("x", 2, "N,3")
        .input_of("m", INT64, "N,3")
        .constant("w", &[3, 2], &[1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
        .constant("b", &[2], &[-100.0, 100.0])
        .node("Cast", &["x"], &["f"], &[("to", Attr::Int(1))])
        .node("Cast", &["m"], &["g"], &[("to", Attr::Int(1))])
        .node("Mul", &["f", "g"], &["h"], &[])
        .node("MatMul", &["h", "w"], &["s"], &[])
        .node("Add", &["s", "b"], &["y"], &[])
        .output("y")
        .bytes()
}

#[test]
fn whole_numbers_are_attacked_in_their_own_units_and_masks_are_frozen() {
    let folder = Folder::new();
    let model = folder.put("m.onnx", &whole());
    // The sum of the first two values is compared with 100; the third is masked out. Row sums are 100 + i or 100 - i.
    let rows: Vec<[f32; 3]> = (0..20)
        .flat_map(|i| [[50.0, 50.0 + i as f32, 7.0], [50.0, 50.0 - i as f32, 7.0]])
        .collect();
    let labels: Array1<i64> = rows
        .iter()
        .map(|r| i64::from(r[0] + r[1] < 100.0))
        .collect();
    let x: Vec<f32> = rows.iter().flatten().copied().collect();
    let array = |v: Vec<f32>| ArrayD::from_shape_vec(IxDyn(&[40, 3]), v).expect("a shape");
    let (x, m) = (array(x), array([1.0, 1.0, 0.0].repeat(40)));
    let bounds = |low, high| Array1::from(vec![low, high]).into_dyn();
    let (of_x, of_m) = (bounds(0.0_f32, 255.0), bounds(0.0, 1.0));
    let y = labels.into_dyn();
    let path = folder.path("whole.npz");
    let arrays = [
        ("x", NpzArray::F32(x.view())),
        ("m", NpzArray::F32(m.view())),
        ("bounds_x", NpzArray::F32(of_x.view())),
        ("bounds_m", NpzArray::F32(of_m.view())),
        ("y", NpzArray::I64(y.view())),
    ];
    npz::write(&path, &arrays).expect("written");
    let (data, out) = (
        path.display().to_string(),
        folder.path("r.json").display().to_string(),
    );
    let attack = |more: &[&str]| {
        let mut arguments = vec![
            "attack", &model, "--data", &data, "--attack", "pgd", "--steps", "20",
        ];
        arguments.extend(["--out", &out]);
        arguments.extend(more);
        run(&arguments)
    };
    let ran = attack(&["--norm", "linf", "--eps", "4", "--freeze", "m"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&out).expect("a report")).expect("JSON");
    // A budget of 4 on each of two numbers moves the sum by 8. At 100 class 0 wins only a tie, so 100 + i breaks for i
    // = 0 to 7 and 100 - i for 1 to 7; at 8 there is a tie.
    let broken = |r: &serde_json::Value| 40 - r["worst_case"]["correct"].as_u64().expect("a count");
    assert!(
        (15..=17).contains(&broken(&report)),
        "{}",
        report["worst_case"]
    );
    let codes: Vec<&str> = report["trust"]
        .as_array()
        .expect("flags")
        .iter()
        .filter_map(|f| f["code"].as_str())
        .collect();
    assert_eq!(codes, ["approximate-gradients"]);
    for (more, words) in [
        (
            &["--norm", "linf", "--eps", "0.5", "--freeze", "m"][..],
            ["0.5", "`x`", "a whole number"],
        ),
        (
            &["--norm", "l2", "--eps", "0.5", "--freeze", "m"],
            ["0.5", "`x`", "at least 1"],
        ),
        (
            &["--norm", "linf", "--eps", "x=4", "--eps", "m=0.1"],
            ["0.1", "`m`", "0 to freeze it"],
        ),
    ] {
        refused(&attack(more), &words);
    }
    // A mask that is read only by a comparison must be frozen.
    let fixed = OnnxWriter::new(18)
        .input_of("x", FLOAT, "N,3")
        .input_of("m", INT64, "N,3")
        .constant("w", &[3, 2], &[1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
        .integers("zero", &[0])
        .constant("none", &[1], &[0.0])
        .node("Greater", &["m", "zero"], &["on"], &[])
        .node("Where", &["on", "x", "none"], &["h"], &[])
        .node("MatMul", &["h", "w"], &["y"], &[])
        .output("y")
        .bytes();
    let model = folder.put("m.onnx", &fixed);
    let attack = |more: &[&str]| {
        let mut arguments = vec![
            "attack", &model, "--data", &data, "--attack", "fgsm", "--norm", "linf",
        ];
        arguments.extend(["--eps", "4", "--out", &out]);
        arguments.extend(more);
        run(&arguments)
    };
    refused(&attack(&[]), &["`m`", "freeze it", "--freeze m"]);
    let ran = attack(&["--freeze", "m"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&out).expect("a report")).expect("JSON");
    assert!(
        !report["trust"]
            .to_string()
            .contains("approximate-gradients")
    );
}
