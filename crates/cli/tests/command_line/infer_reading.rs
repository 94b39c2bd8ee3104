//! `infer` reads what `attack` reads, and shows what comes out.

use proofmark::data::ndarray::{ArrayD, IxDyn};
use proofmark::data::npz::{NpzArray, write};
use proofmark_testkit::onnx::{Attr, FLOAT, OnnxWriter};

use crate::harness::{Folder, Ran, run};

/// The largest of each channel, `dims` in and `[n, channels]` out.
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
fn scores_are_shown_where_nothing_is_written_or_compared() {
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
fn images_are_turned_and_scaled_as_an_attack_does_it() {
    let folder = Folder::new();
    let last = data(&folder, &[1, 5, 4, 3]);
    // Channels last in the data, first in the model: 57, 58 and 59 are the last of each channel.
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
    // Axes are never read as others.
    let model = folder.put("m.onnx", &largest("N,4,5,3", &[1, 2]));
    let ran = infer(&model, &last, &[]);
    assert_eq!(ran.code, 2);
    for word in ["[1, 5, 4, 3]", "[N, 4, 5, 3]"] {
        assert!(ran.err.contains(word), "{}", ran.err);
    }
}

#[test]
fn sets_that_an_attack_reads_are_read() {
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
