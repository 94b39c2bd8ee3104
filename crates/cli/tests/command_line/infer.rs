//! `proofmark infer`: arrays in, arrays out.

use proofmark::data::ndarray::{ArrayD, IxDyn};
use proofmark::data::npz::{AnyArray, NpzArray, arrays, write};
use proofmark::onnx::writer::{FLOAT, INT64, OnnxWriter};

use crate::harness::{Folder, Ran, run};

fn array<T>(shape: &[usize], values: &[T]) -> AnyArray
where
    T: Clone,
    ArrayD<T>: Into<AnyArray>,
{
    let array = ArrayD::from_shape_vec(IxDyn(shape), values.to_vec());
    array.expect("a shape").into()
}

fn npz(folder: &Folder, name: &str, all: &[(&str, AnyArray)]) -> String {
    let path = folder.path(name);
    let views: Vec<(&str, NpzArray<'_>)> = all.iter().map(|(n, a)| (*n, a.view())).collect();
    write(&path, &views).expect("writable");
    path.display().to_string()
}

/// Returns a model of `sum = x + y`, `z = relu(sum)`; `x` has rows of two values and is exported with `rows` rows.
fn sum(rows: &str) -> Vec<u8> {
    OnnxWriter::new(17)
        .input_of("x_in", FLOAT, &format!("{rows},2"))
        .input_of("y_in", FLOAT, "2")
        .node("Add", &["x_in", "y_in"], &["sum"], &[])
        .node("Relu", &["sum"], &["z"], &[])
        .output_of("z", FLOAT, &format!("{rows},2"))
        .bytes()
}

/// Returns a model of `y = relu(x_in)`.
fn relu(elem_type: i32, dims: &str) -> Vec<u8> {
    OnnxWriter::new(17)
        .input_of("x_in", elem_type, dims)
        .node("Relu", &["x_in"], &["y"], &[])
        .output_of("y", elem_type, dims)
        .bytes()
}

fn infer(folder: &Folder, model: &str, data: &str, more: &[&str]) -> Ran {
    let out = folder.path("out.npz").display().to_string();
    let mut arguments = vec!["infer", model, "--data", data, "--out", &out];
    arguments.extend(more);
    run(&arguments)
}

fn came_out(folder: &Folder) -> Vec<(String, AnyArray)> {
    arrays(&folder.path("out.npz")).expect("readable")
}

#[test]
fn any_number_of_rows_is_returned_under_the_models_output_names() {
    let folder = Folder::new();
    let x = array(&[3, 2], &[1.0_f32, -2.0, 3.0, -4.0, 5.0, -6.0]);
    let y = array(&[2], &[0.5_f32, 4.0]);
    let data = npz(&folder, "in.npz", &[("y_in", y), ("x_in", x)]);
    for rows in ["1", "2", "N", "?"] {
        let model = folder.put("sum.onnx", &sum(rows));
        let ran = infer(&folder, &model, &data, &["--node", "sum"]);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
        let z = array(&[3, 2], &[1.5_f32, 2.0, 3.5, 0.0, 5.5, 0.0]);
        let sum = array(&[3, 2], &[1.5_f32, 2.0, 3.5, 0.0, 5.5, -2.0]);
        let expected = [("z".to_owned(), z), ("sum".to_owned(), sum)];
        assert_eq!(came_out(&folder), expected, "{rows} at a time");
    }
}

#[test]
fn a_single_input_takes_the_only_array_or_x() {
    let folder = Folder::new();
    let model = folder.put("relu.onnx", &relu(FLOAT, "N,2"));
    let (x, y) = (array(&[1, 2], &[-1.0_f64, 1.0]), array(&[1], &[3_i64]));
    for (name, facts) in [("x_in", true), ("x", true), ("other", true), ("y", false)] {
        let mut all = vec![(name, x.clone())];
        if facts {
            all.push(("id", y.clone()));
        }
        let data = npz(&folder, "in.npz", &all);
        let ran = infer(&folder, &model, &data, &[]);
        assert_eq!(ran.code, 0, "{name}: {}", ran.err);
        assert!(ran.err.contains("`x_in`: float64 converted to float32"));
        assert_eq!(ran.err.contains("about the samples: `id`"), facts);
        let expected = [("y".to_owned(), array(&[1, 2], &[0.0_f32, 1.0]))];
        assert_eq!(came_out(&folder), expected);
        assert_eq!(infer(&folder, &model, &data, &["--quiet"]).err, "");
    }
}

#[test]
fn every_type_goes_in_and_comes_out() {
    let folder = Folder::new();
    let text = ["one", ""].map(str::to_owned);
    let half = [0.5_f32, -2.0];
    let all: [(i32, AnyArray); 13] = [
        (9, array(&[2], &[true, false])),
        (3, array(&[2], &[-1_i8, 2])),
        (5, array(&[2], &[-300_i16, 2])),
        (6, array(&[2], &[i32::MIN, 2])),
        (7, array(&[2], &[i64::MIN, i64::MAX])),
        (2, array(&[2], &[255_u8, 2])),
        (4, array(&[2], &[65535_u16, 2])),
        (12, array(&[2], &[u32::MAX, 2])),
        (13, array(&[2], &[u64::MAX, 2])),
        (1, array(&[2], &half)),
        (11, array(&[2], &[0.5_f64, -2.0])),
        (8, array(&[2], &text)),
        // bfloat16, passed in and out as float32.
        (16, array(&[2], &half)),
    ];
    for (elem_type, given) in all {
        let model = OnnxWriter::new(17)
            .input_of("a", elem_type, "2")
            .node("Identity", &["a"], &["b"], &[])
            .output_of("b", elem_type, "2");
        let model = folder.put("same.onnx", &model.bytes());
        let data = npz(&folder, "in.npz", &[("a", given.clone())]);
        let ran = infer(&folder, &model, &data, &[]);
        assert_eq!(ran.code, 0, "{}: {}", given.dtype(), ran.err);
        assert_eq!(came_out(&folder), [("b".to_owned(), given)]);
    }
    // A scalar, and integers of the other width.
    for (elem_type, given, expected) in [
        (INT64, array(&[], &[7_i32]), array(&[], &[7_i64])),
        (6, array(&[], &[7_i64]), array(&[], &[7_i32])),
    ] {
        let model = OnnxWriter::new(17)
            .input_of("a", elem_type, "")
            .node("Identity", &["a"], &["b"], &[])
            .output_of("b", elem_type, "");
        let model = folder.put("number.onnx", &model.bytes());
        let data = npz(&folder, "in.npz", &[("a", given)]);
        let ran = infer(&folder, &model, &data, &[]);
        assert!(
            ran.code == 0 && ran.err.contains("converted"),
            "{}",
            ran.err
        );
        assert_eq!(came_out(&folder), [("b".to_owned(), expected)]);
    }
}

#[test]
fn the_comparison_with_a_reference_sets_the_exit_code() {
    let folder = Folder::new();
    let model = folder.put("relu.onnx", &relu(FLOAT, "N,2"));
    let data = npz(
        &folder,
        "in.npz",
        &[("x", array(&[2, 2], &[1.0_f32, 2.0, 4.0, 3.0]))],
    );
    let expect = |values: &[f32], shape: &[usize], more: &[&str]| {
        let reference = npz(&folder, "ref.npz", &[("y", array(shape, values))]);
        let mut all = vec!["--expect", &reference];
        all.extend(more);
        let ran = infer(&folder, &model, &data, &all);
        assert!(
            folder.names().contains(&"out.npz".to_owned()),
            "{}",
            ran.err
        );
        (ran.code, ran.out)
    };
    let (code, out) = expect(&[1.0, 2.0, 4.0003, 3.0], &[2, 2], &[]);
    assert!(
        code == 0 && out.starts_with("y: agrees: largest deviation 2.999e-4"),
        "{out}"
    );
    let (code, out) = expect(&[1.0, 2.1, 4.0, 3.0], &[2, 2], &[]);
    assert!(code == 1 && out.contains("does not agree"), "{out}");
    assert!(out.contains("[0, 1]: 2 instead of 2.1"), "{out}");
    let (code, out) = expect(&[1.0, 2.1, 4.0, 3.0], &[2, 2], &["--tol", "0.1"]);
    assert!(code == 0 && out.contains("2 of 2 rows"), "{out}");
    let (code, out) = expect(&[1.0, 2.0, 3.0, 4.0], &[2, 2], &["--tol", "0.1"]);
    assert!(
        code == 1 && out.contains("1 of 2 rows (not in row 1)"),
        "{out}"
    );
    // Differences within the tolerance do not count.
    let (code, out) = expect(&[1.0, 2.4, 3.9, 4.0], &[2, 2], &["--tol", "0.25"]);
    assert!(
        code == 0 && out.contains("1 of 1 rows, 1 too close"),
        "{out}"
    );
    let (code, out) = expect(&[1.0, 2.0, 4.0, 3.0], &[4], &[]);
    assert!(code == 1 && out.contains("expected [4]"), "{out}");

    // Without --out nothing is written; without --out and --expect the outputs are printed.
    let reference = npz(
        &folder,
        "ref.npz",
        &[("y", array(&[2, 2], &[1.0_f64, 2.0, 4.0, 3.0]))],
    );
    let before = folder.names();
    let alone = [
        "infer", &model, "--data", &data, "--expect", &reference, "--node", "x_in",
    ];
    let ran = run(&alone);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("x_in: no reference"), "{}", ran.out);
    assert_eq!(folder.names(), before);
    let ran = run(&alone[..4]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("y: float32 [2, 2]"), "{}", ran.out);
}

/// Asserts exit code 2, every word in the message, and nothing written.
fn refused(folder: &Folder, model: &str, data: &str, more: &[&str], words: &[&str]) {
    let _ = std::fs::remove_file(folder.path("out.npz"));
    let before = folder.names();
    let ran = infer(folder, model, data, more);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    assert_eq!(folder.names(), before, "something was left behind");
}

/// Contents of an .npz file, and words in the error about it.
type Case<'a> = (&'a [(&'a str, AnyArray)], &'a [&'a str]);

#[test]
fn arrays_that_do_not_fit_are_named() {
    let folder = Folder::new();
    let model = folder.put("sum.onnx", &sum("N"));
    let (x, y) = (array(&[1, 2], &[0.0_f32; 2]), array(&[2], &[0.0_f32; 2]));
    let cases: [Case<'_>; 7] = [
        (
            &[("x_in", x.clone())],
            &["in.npz", "no array `y_in`", "float32", "[2]", "--fix"],
        ),
        (
            &[("x_in", x.clone()), ("y_on", y.clone())],
            &["`y_on`", "did you mean `y_in`", "`x_in`"],
        ),
        (
            &[
                ("x_in", x.clone()),
                ("y_in", y.clone()),
                ("extra", y.clone()),
            ],
            &["`extra`", "`x_in`, `y_in`"],
        ),
        (
            &[("x_in", array(&[1, 3], &[0.0_f32; 3])), ("y_in", y.clone())],
            &["`x_in`", "[1, 3]", "[N, 2]"],
        ),
        (
            &[("x_in", array(&[2], &[0.0_f32; 2])), ("y_in", y.clone())],
            &["`x_in`", "[2]", "[N, 2]"],
        ),
        (
            &[("x_in", array(&[1, 2], &[0_i64; 2])), ("y_in", y.clone())],
            &["`x_in`", "int64", "float32"],
        ),
        (
            &[
                ("x_in", array(&[1, 2], &[0.0_f64, 1e300])),
                ("y_in", y.clone()),
            ],
            &["`x_in`", "float64", "1000000", "does not fit float32"],
        ),
    ];
    for (all, words) in cases {
        refused(&folder, &model, &npz(&folder, "in.npz", all), &[], words);
    }
    let ints = OnnxWriter::new(17)
        .input_of("a", 6, "1")
        .node("Identity", &["a"], &["b"], &[])
        .output_of("b", 6, "1");
    let ints = folder.put("ints.onnx", &ints.bytes());
    let data = npz(&folder, "in.npz", &[("a", array(&[1], &[1_i64 << 31]))]);
    let words = ["`a`", "int64", "2147483648", "does not fit int32"];
    refused(&folder, &ints, &data, &[], &words);
}

#[test]
fn arguments_that_cannot_be_run_are_named() {
    let folder = Folder::new();
    let model = folder.put("relu.onnx", &relu(FLOAT, "N,2"));
    let data = npz(&folder, "in.npz", &[("x", array(&[1, 2], &[0.0_f32; 2]))]);
    let with = |more: &[&str], words: &[&str]| refused(&folder, &model, &data, more, words);
    with(
        &["--node", "x_on"],
        &["--node", "`x_on`", "did you mean `x_in`"],
    );
    with(&["--fix", "x_in"], &["--fix x_in", "INPUT=NUMBER"]);
    with(&["--fix", "a=1"], &["no input `a`", "x_in"]);
    with(&["--fix", "x_in=1"], &["`x` is no input"]);
    with(&["--tol", "-1"], &["--tol -1", "at least 0"]);
    with(&["--device", "cup"], &["cup", "did you mean `cpu`"]);
    let other = npz(&folder, "other.npz", &[("z", array(&[1], &[0.0_f32]))]);
    with(
        &["--expect", &other],
        &["other.npz", "`z`", "did you mean `y`", "outputs are `y`"],
    );
    let none = npz(&folder, "none.npz", &[]);
    with(&["--expect", &none], &["none.npz", "no arrays", "`y`"]);
    with(
        &["--expect", "nowhere.npz"],
        &["nowhere.npz", "cannot be read"],
    );

    refused(
        &folder,
        &model,
        "nowhere.npz",
        &[],
        &["nowhere.npz", "cannot be read"],
    );
    refused(
        &folder,
        "nowhere.onnx",
        &data,
        &[],
        &["nowhere.onnx", "cannot be read"],
    );
    refused(
        &folder,
        "digits-robst",
        &data,
        &[],
        &["did you mean `digits-robust`"],
    );
    let text = folder.put("text.onnx", b"no model");
    refused(&folder, &text, &data, &[], &["text.onnx", "ONNX"]);
    let strange = OnnxWriter::new(17)
        .input_of("x", FLOAT, "2")
        .node("Strange", &["x"], &["a"], &[])
        .node("Relu", &["a"], &["b"], &[])
        .node("Stranger", &["b"], &["c"], &[])
        .output_of("c", FLOAT, "2");
    let strange = folder.put("strange.onnx", &strange.bytes());
    let words = [
        "strange.onnx",
        "`Strange_0` (Strange, opset 17)",
        "`Stranger_2` (Stranger, opset 17)",
    ];
    refused(&folder, &strange, &data, &[], &words);
}

#[test]
fn inputs_can_be_fixed_to_constants() {
    let folder = Folder::new();
    let model = folder.put("sum.onnx", &sum("N"));
    let data = npz(
        &folder,
        "in.npz",
        &[("x", array(&[1, 2], &[1.0_f32, -1.0]))],
    );
    let ran = infer(
        &folder,
        &model,
        &data,
        &["--fix", "y_in=0.5", "--node", "Add_0"],
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    let expected = [
        ("z".to_owned(), array(&[1, 2], &[1.5_f32, 0.0])),
        ("sum".to_owned(), array(&[1, 2], &[1.5_f32, -0.5])),
    ];
    assert_eq!(came_out(&folder), expected);
}

#[test]
fn shipped_models_return_logits_and_layers() {
    let folder = Folder::new();
    let pixels: Vec<f32> = (0..300 * 64).map(|i| (i % 17) as f32 / 16.0).collect();
    let data = npz(
        &folder,
        "in.npz",
        &[("image", array(&[300, 1, 8, 8], &pixels))],
    );
    let ran = infer(&folder, "digits-robust", &data, &["--node", "hidden,conv2"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let out = came_out(&folder);
    let shapes: Vec<(&str, &[usize])> = out.iter().map(|(n, a)| (n.as_str(), a.shape())).collect();
    let expected: [(&str, &[usize]); 3] = [
        ("logits", &[300, 10]),
        ("hidden", &[300, 128]),
        ("conv2", &[300, 512]),
    ];
    assert_eq!(shapes, expected);
    let flat = npz(
        &folder,
        "flat.npz",
        &[("x", array(&[2, 4, 16], &pixels[..128]))],
    );
    refused(
        &folder,
        "digits-robust",
        &flat,
        &[],
        &["`image`", "[2, 4, 16]", "[1, 8, 8]"],
    );
    let words = ["hiden", "did you mean `hidden`"];
    refused(
        &folder,
        "digits-robust",
        &data,
        &["--node", "hiden"],
        &words,
    );
    refused(
        &folder,
        "digits-robust",
        &data,
        &["--fix", "image=0"],
        &["--fix", "no ONNX file"],
    );
}
