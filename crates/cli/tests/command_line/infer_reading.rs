//! `infer` reads the data sets that `attack` reads, and prints the outputs.

use proofmark::data::ndarray::{ArrayD, IxDyn};
use proofmark::data::npz::{AnyArray, NpzArray, write};
use proofmark::onnx::writer::{Attr, FLOAT, INT64, OnnxWriter};

use crate::harness::{Folder, Ran, run};

/// Returns a model of the largest value of each channel: `dims` in, `[n, channels]` out.
fn largest(dims: &str, axes: &[i64]) -> Vec<u8> {
    OnnxWriter::new(18)
        .input_of("x", FLOAT, dims)
        .integers("axes", axes)
        .node(
            "ReduceMax",
            &["x", "axes"],
            &["y"],
            &[("keepdims", Attr::Int(0))],
        )
        .output("y")
        .bytes()
}

fn data(folder: &Folder, shape: &[usize]) -> String {
    let n = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let x = ArrayD::from_shape_vec(IxDyn(shape), values).expect("a shape");
    let path = folder.path("in.npz");
    write(&path, &[("x", NpzArray::F32(x.view()))]).expect("written");
    path.display().to_string()
}

fn infer(model: &str, data: &str, more: &[&str]) -> Ran {
    let mut arguments = vec!["infer", model, "--data", data];
    arguments.extend(more);
    run(&arguments)
}

#[test]
fn scores_are_printed_unless_written_or_compared() {
    let folder = Folder::new();
    let model = folder.put("m.onnx", &largest("N,2,2,3", &[2, 3]));
    let ran = infer(&model, &data(&folder, &[2, 2, 2, 3]), &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.out,
        "y: float32 [2, 2]\n  0: 5.0 11.0\n  1: 17.0 23.0\n"
    );
    let out = folder.path("out.npz").display().to_string();
    let ran = infer(
        &model,
        &folder.path("in.npz").display().to_string(),
        &["--out", &out],
    );
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
}

#[test]
fn images_are_transposed_and_scaled_as_in_an_attack() {
    let folder = Folder::new();
    let last = data(&folder, &[1, 5, 4, 3]);
    // The data has channels last, the model takes them first: 57, 58 and 59 are the last values of each channel.
    for (dims, more) in [("N,3,5,4", &[][..]), ("N,c,h,w", &["--layout", "nchw"])] {
        let model = folder.put("m.onnx", &largest(dims, &[2, 3]));
        let ran = infer(&model, &last, more);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.contains("0: 57.0 58.0 59.0"), "{}", ran.out);
        assert!(
            ran.err.contains("[1, 5, 4, 3] read as [1, 3, 5, 4]"),
            "{}",
            ran.err
        );
        let mut scaled = more.to_vec();
        scaled.extend(["--scale", "2", "--mean", "0,1,2", "--std", "1,1,2"]);
        let ran = infer(&model, &last, &scaled);
        assert!(
            ran.out.contains("0: 114.0 115.0 58.0"),
            "{}{}",
            ran.out,
            ran.err
        );
    }
    let model = folder.put("m.onnx", &largest("N,5,4,3", &[1, 2]));
    let ran = infer(&model, &last, &["--layout", "nchw"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("--layout nchw contradicts the file"),
        "{}",
        ran.err
    );
    // Axes are never reinterpreted.
    let model = folder.put("m.onnx", &largest("N,4,5,3", &[1, 2]));
    let ran = infer(&model, &last, &[]);
    assert_eq!(ran.code, 2);
    for word in ["[1, 5, 4, 3]", "[N, 4, 5, 3]"] {
        assert!(ran.err.contains(word), "{}", ran.err);
    }
}

#[test]
fn data_sets_of_an_attack_are_read() {
    let folder = Folder::new();
    let csv = folder.put("set.csv", b"a,b,y\n1.5,-2,0\n0.25,300,1\n");
    let model = OnnxWriter::new(18)
        .input_of("x", FLOAT, "N,2")
        .node("Relu", &["x"], &["y"], &[])
        .output("y")
        .bytes();
    let ran = infer(&folder.put("m.onnx", &model), &csv, &[]);
    assert_eq!(
        ran.out, "y: float32 [2, 2]\n  0: 1.5 0.0\n  1: 0.25 300.0\n",
        "{}",
        ran.err
    );
    let ran = infer("digits-robust", "digits", &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.starts_with("logits: float32 [") && ran.out.contains("--out FILE"),
        "{}",
        ran.out
    );
}

/// Writes a model that returns its input as floating-point numbers.
fn identity(folder: &Folder, dtype: i32, dims: &str) -> String {
    let model = OnnxWriter::new(18)
        .input_of("in", dtype, dims)
        .node("Cast", &["in"], &["out"], &[("to", Attr::Int(1))])
        .output("out")
        .bytes();
    folder.put(&format!("identity-{dtype}.onnx"), &model)
}

fn npz(folder: &Folder, name: &str, arrays: &[(&str, AnyArray)]) -> String {
    let path = folder.path(name);
    let views: Vec<_> = arrays.iter().map(|(n, a)| (*n, a.view())).collect();
    write(&path, &views).expect("written");
    path.display().to_string()
}

fn of<T>(shape: &[usize], values: Vec<T>) -> AnyArray
where
    ArrayD<T>: Into<AnyArray>,
{
    ArrayD::from_shape_vec(shape, values)
        .expect("a shape")
        .into()
}

#[track_caller]
fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.err);
    for word in words {
        let all = [&ran.err, &ran.out];
        assert!(
            all.iter().any(|t| t.contains(word)),
            "no `{word}` in: {}{}",
            ran.err,
            ran.out
        );
    }
}

/// Every command that reads a data set takes the same options.
#[test]
fn options_have_the_same_meaning_as_in_an_attack() {
    let folder = Folder::new();
    let model = identity(&folder, FLOAT, "N,2");
    let csv = folder.put("set.csv", b"a;b;kind\n1.5;-2;cat\n0.25;300;dog\n");
    says(&infer(&model, &csv, &[]), 2, &["--delimiter ';'"]);
    let split = ["--delimiter", ";"];
    says(&infer(&model, &csv, &split), 2, &["`cat`", "a number"]);
    let named = [&split[..], &["--label-column", "kind"]].concat();
    says(
        &infer(&model, &csv, &named),
        0,
        &["0: 1.5 -2.0", "1: 0.25 300.0"],
    );
    let within = [&named[..], &["--bounds", "0,1"]].concat();
    says(
        &infer(&model, &csv, &within),
        2,
        &["`a`, line 2", "bounds 0,1"],
    );
    let classes = [&named[..], &["--classes", "cat,bird"]].concat();
    says(
        &infer(&model, &csv, &classes),
        2,
        &["`dog`", "classes stated"],
    );

    let x = || of(&[1, 2], vec![1.5_f32, 2.5]);
    let y = || of(&[1], vec![1_i64]);
    let two = npz(&folder, "two.npz", &[("x_test", x()), ("y_test", y())]);
    says(&infer(&model, &two, &[]), 0, &["0: 1.5 2.5", "`y_test`"]);
    let other = of(&[1, 2], vec![8_f32, 9.0]);
    let four = [
        ("x_train", other),
        ("y_train", y()),
        ("x_test", x()),
        ("y_test", y()),
    ];
    let four = npz(&folder, "four.npz", &four);
    says(&infer(&model, &four, &[]), 2, &["`x_train`", "--arrays"]);
    let chosen = infer(&model, &four, &["--arrays", "x_test,y_test"]);
    says(&chosen, 0, &["0: 1.5 2.5"]);
    for (more, words) in [
        (
            &["--arrays", "x_tst"][..],
            &["no array `x_tst`", "did you mean `x_test`"][..],
        ),
        (&["--arrays", "x_test,y"], &["no array `y`"]),
        (
            &["--arrays", "x_test", "--bounds", "0,2"],
            &["holds 2.5", "bounds 0,2"],
        ),
        (
            &["--arrays", "x_test", "--bounds", "z=0,3"],
            &["no array `z`"],
        ),
        (&["--resize", "8"], &["--resize", "a folder of images"]),
        (&["--label-column", "y"], &["--label-column", ".csv"]),
    ] {
        says(&infer(&model, &four, more), 2, words);
    }
    let own = infer(
        &model,
        &four,
        &["--arrays", "x_test", "--bounds", "x_test=0,3"],
    );
    says(&own, 0, &["0: 1.5 2.5"]);
}

/// Stated bounds make whole numbers be read as stored, whether the file or the command line states them.
#[test]
fn whole_numbers_within_bounds_are_as_stored() {
    let folder = Folder::new();
    let model = identity(&folder, FLOAT, "N,2");
    let x = || of(&[1, 2], vec![40_u8, 99]);
    let plain = npz(&folder, "plain.npz", &[("x", x())]);
    says(
        &infer(&model, &plain, &[]),
        2,
        &["uint8", "--units raw", "--units scaled"],
    );
    let bounded = infer(&model, &plain, &["--bounds", "0,100"]);
    says(&bounded, 0, &["0: 40.0 99.0", "uint8 as stored"]);
    says(
        &infer(&model, &plain, &["--bounds", "0,50"]),
        2,
        &["holds 99"],
    );
    let bounds = || of(&[2], vec![0_f32, 100.0]);
    for name in ["bounds", "bounds_x"] {
        let stated = npz(&folder, "stated.npz", &[("x", x()), (name, bounds())]);
        says(&infer(&model, &stated, &[]), 0, &["0: 40.0 99.0"]);
    }
    let large = of(&[1, 2], vec![16_777_217_i64, 0]);
    let large = npz(&folder, "large.npz", &[("x", large)]);
    let rounded = infer(&model, &large, &["--units", "raw"]);
    says(&rounded, 2, &["16777217", "a 32-bit float holds exactly"]);
}

/// `infer` accepts any whole numbers for a model of whole numbers, as `attack` does.
#[test]
fn whole_numbers_take_any_type_that_holds_them() {
    let folder = Folder::new();
    let model = identity(&folder, INT64, "N,2");
    let takes = |array: AnyArray, more: &[&str]| {
        infer(&model, &npz(&folder, "x.npz", &[("x", array)]), more)
    };
    for array in [
        of(&[1, 2], vec![7_u8, 9]),
        of(&[1, 2], vec![7_i32, 9]),
        of(&[1, 2], vec![7_u64, 9]),
        of(&[1, 2], vec![7_f32, 9.0]),
        of(&[1, 2], vec![7_f64, 9.0]),
    ] {
        let dtype = array.dtype();
        says(
            &takes(array, &[]),
            0,
            &["0: 7.0 9.0", &format!("{dtype} converted to int64")],
        );
    }
    let half = takes(of(&[1, 2], vec![0.5_f32, 9.0]), &[]);
    says(&half, 2, &["holds 0.5", "whole numbers of int64"]);
    let beyond = takes(of(&[1, 2], vec![u64::MAX, 9]), &[]);
    says(&beyond, 2, &["does not fit int64"]);
    // A double of 2^63 would be rounded down to the largest int64.
    let far = takes(of(&[1, 2], vec![9_223_372_036_854_775_808_f64, 9.0]), &[]);
    says(&far, 2, &["does not fit int64"]);
    let nan = takes(of(&[1, 2], vec![f32::NAN, 9.0]), &[]);
    says(&nan, 2, &["NaN"]);
    let csv = folder.put("x.csv", b"a,b,y\n7,9,0\n");
    says(&infer(&model, &csv, &[]), 0, &["0: 7.0 9.0"]);
    let unsigned = identity(&folder, 2, "N,2");
    let low = npz(&folder, "low.npz", &[("x", of(&[1, 2], vec![-1_i64, 9]))]);
    says(&infer(&unsigned, &low, &[]), 2, &["-1 does not fit uint8"]);
}

/// `infer` refuses a file that `attack` would refuse.
#[test]
fn bounds_of_the_file_are_enforced() {
    let folder = Folder::new();
    let model = folder.put("m.onnx", &largest("N,2,2,3", &[2, 3]));
    let shape = IxDyn(&[1, 2, 2, 3]);
    let path = folder.path("in.npz");
    let set = path.display().to_string();
    let bounds = |low: f32, high: f32| {
        ArrayD::from_shape_vec(IxDyn(&[2]), vec![low, high]).expect("a shape")
    };
    let values: Vec<f32> = (0..12).map(|i| i as f32 / 10.0).collect();
    let x = ArrayD::from_shape_vec(shape.clone(), values).expect("a shape");
    for (high, code) in [(1.0, 2), (1.1, 0)] {
        let b = bounds(0.0, high);
        let arrays = [
            ("x", NpzArray::F32(x.view())),
            ("bounds", NpzArray::F32(b.view())),
        ];
        write(&path, &arrays).expect("written");
        let ran = infer(&model, &set, &[]);
        assert_eq!(ran.code, code, "{}", ran.err);
        assert!(
            code == 0 || ran.err.contains("within the stated bounds 0,1"),
            "{}",
            ran.err
        );
    }
    // Bytes are divided by 255, so bounds of 0 to 255 do not fit them.
    let x = ArrayD::from_shape_vec(shape, (0..12).map(|i| i * 20).collect::<Vec<u8>>());
    let x = x.expect("a shape");
    for (high, code) in [(255.0, 2), (1.0, 0)] {
        let b = bounds(0.0, high);
        let arrays = [
            ("x", NpzArray::U8(x.view())),
            ("bounds", NpzArray::F32(b.view())),
        ];
        write(&path, &arrays).expect("written");
        let ran = infer(&model, &set, &[]);
        assert_eq!(ran.code, code, "{}", ran.err);
        assert!(
            code == 0 || ran.err.contains("uint8 / 255, within 0,1"),
            "{}",
            ran.err
        );
    }
}

/// Common bounds apply to the inputs that need bounds; bounds per feature are checked one by one.
#[test]
fn bounds_apply_as_in_an_attack() {
    let folder = Folder::new();
    let both = OnnxWriter::new(18)
        .input_of("image", FLOAT, "N,1,2,2")
        .input_of("age", FLOAT, "N,2")
        .integers("axes", &[1, 2, 3])
        .node(
            "ReduceMax",
            &["image", "axes"],
            &["m"],
            &[("keepdims", Attr::Int(0))],
        )
        .integers("to", &[-1, 1])
        .node("Reshape", &["m", "to"], &["top"], &[])
        .node("Add", &["age", "top"], &["y"], &[])
        .output("y");
    let model = folder.put("m.onnx", &both.bytes());
    let path = folder.path("in.npz");
    let set = path.display().to_string();
    let image = ArrayD::from_elem(IxDyn(&[1, 1, 2, 2]), 255_u8);
    let age = |a: f32, b: f32| ArrayD::from_shape_vec(IxDyn(&[1, 2]), vec![a, b]).expect("a shape");
    let bounds = |shape: &[usize], values: &[f32]| {
        ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).expect("a shape")
    };
    let (common, each) = (
        bounds(&[2], &[0.0, 120.0]),
        bounds(&[2, 2], &[0.0, 0.0, 120.0, 1.0]),
    );
    for (age, bounds, refused) in [
        (age(40.0, 120.0), ("bounds", &common), None),
        (
            age(40.0, 121.0),
            ("bounds", &common),
            Some("holds 121; expected values within the stated bounds 0,120"),
        ),
        (age(40.0, 1.0), ("bounds_age", &each), None),
        (
            age(40.0, 2.0),
            ("bounds_age", &each),
            Some("holds 2; expected values within the stated bounds 0,1"),
        ),
        (age(40.0, 1.0), ("bounds", &each), None),
    ] {
        let arrays = [
            ("image", NpzArray::U8(image.view())),
            ("age", NpzArray::F32(age.view())),
            (bounds.0, NpzArray::F32(bounds.1.view())),
        ];
        write(&path, &arrays).expect("written");
        let ran = infer(&model, &set, &[]);
        assert_eq!(
            ran.code,
            if refused.is_some() { 2 } else { 0 },
            "{}",
            ran.err
        );
        assert!(
            ran.err.contains(refused.unwrap_or("uint8 / 255")),
            "{}",
            ran.err
        );
    }
}
