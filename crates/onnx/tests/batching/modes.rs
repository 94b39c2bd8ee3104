//! Batch modes: samples one by one, fixed batches, inputs without a batch dimension, and inner values.

use proofmark_model::{Features, ScoreModel};
use proofmark_onnx::BatchMode;
use proofmark_onnx::writer::Attr;
use proofmark_threat::host;

use crate::common::{More, SAMPLES, alone, close, ints, model, net, numbers, one_by_one, query};

#[test]
fn an_operator_without_a_rule_takes_samples_one_by_one() {
    let bytes = net(&[1, 4])
        .node(
            "DynamicQuantizeLinear",
            &["x"],
            &["q", "scale", "zero"],
            &[],
        )
        .node("DequantizeLinear", &["q", "scale", "zero"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(
        &bytes,
        &[4],
        "no rule says how it treats samples side by side",
    );
}

#[test]
fn a_fixed_batch_goes_through_in_chunks() {
    let of = |rows: i64| {
        net(&[rows, 3])
            .weight("w", &[3, 2])
            .node("MatMul", &["x", "w"], &["y"], &[])
            .output("y")
            .bytes()
    };
    let two = model(&of(2), &[3]);
    assert_eq!(
        *two.batch_mode(),
        BatchMode::Chunks {
            size: 2,
            why: "the file fixes that number".into()
        }
    );
    let samples = numbers(SAMPLES * 3, 1.0);
    let scores = host(&two.scores(&query(&two, &samples)).unwrap());
    close(&scores, &alone(&of(1), &[3], &samples));
    let open = model(&of(0), &[3]);
    assert_eq!(*open.batch_mode(), BatchMode::Open);
    close(
        &scores,
        &host(&open.scores(&query(&open, &samples)).unwrap()),
    );
}

#[test]
fn an_input_without_a_batch_dimension_takes_one_sample_at_a_time() {
    let bytes = net(&[3, 4])
        .weight("w", &[4, 2])
        .node("MatMul", &["x", "w"], &["y"], &[])
        .output("y")
        .bytes();
    let model = model(&bytes, &[3, 4]);
    let BatchMode::Chunks { size: 1, why } = model.batch_mode() else {
        panic!("{}", model.batch_mode());
    };
    assert_eq!(why, "the model's input has no axis for the samples");
    let samples = numbers(SAMPLES * 12, 1.0);
    let scores = host(&model.scores(&query(&model, &samples)).unwrap());
    // The rows of all samples are multiplied by the same matrix.
    let rows = net(&[1, 4])
        .weight("w", &[4, 2])
        .node("MatMul", &["x", "w"], &["y"], &[])
        .output("y")
        .bytes();
    close(&scores, &alone(&rows, &[4], &samples));
}

#[test]
fn inner_values_have_a_row_for_each_sample() {
    // `t` has the samples along the second axis, `r` within the first, and `same` is the same for all.
    let bytes = net(&[1, 3, 4])
        .constant("c", &[2], &[0.25, 0.5])
        .integers("list", &[3, 4])
        .integers("width", &[2])
        .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
        .node("Reshape", &["t", "list"], &["r"], &[])
        .node("Shape", &["x"], &["sizes"], &[])
        .node("Gather", &["sizes", "width"], &["four"], &[])
        .node("Cast", &["four"], &["f"], &[("to", Attr::Int(1))])
        .node("Mul", &["f", "c"], &["same"], &[])
        .node("ReduceSum", &["same"], &["three"], &[])
        .node("Mul", &["r", "three"], &["y"], &[])
        .node("Relu", &["t"], &["aside"], &[])
        .output("y")
        .output("aside")
        .bytes();
    let model = model(&bytes, &[3, 4]);
    assert_eq!(*model.batch_mode(), BatchMode::Rebatched { nodes: 1 });
    let samples = numbers(3 * 12, 1.0);
    let query = query(&model, &samples);
    for v in model.features(&query, &["t", "r"]).unwrap() {
        assert_eq!(v.dims(), [3, 12]);
        close(&host(&v), &samples);
    }
    let same = &model.features(&query, &["same"]).unwrap()[0];
    assert_eq!(same.dims(), [3, 2]);
    close(&host(same), &[1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    // `aside` does not lead to the scores, so its sample axis was not analysed.
    let e = model.features(&query, &["aside"]).unwrap_err();
    assert!(e.to_string().contains("does not lead to the scores"), "{e}");
}
