//! Recurrent operators and attention.

use burn::tensor::Device;
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_onnx::writer::{Attr, OnnxWriter};
use proofmark_onnx::{BatchMode, OnnxModel, OnnxOptions};

use crate::common::{More, file, ints, net, one_by_one, together};

/// A recurrent net over [T, 1, D] with a constant initial state.
fn recurrent(state: &[i64], lengths: &str) -> OnnxWriter {
    net(&[1, 3, 4])
        .weight("w", &[1, 6, 4])
        .weight("r", &[1, 6, 2])
        .weight("b", &[1, 12])
        .weight("h", state)
        .integers("lengths", &[3])
        .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
        .node(
            "GRU",
            &["t", "w", "r", "b", lengths, "h"],
            &["all", "last"],
            &[("hidden_size", Attr::Int(2))],
        )
}

#[test]
fn a_state_for_one_sample_is_repeated() {
    for output in ["all", "last"] {
        let bytes = recurrent(&[1, 1, 2], "").output(output).bytes();
        assert_eq!(together(&bytes, &[3, 4]), 1);
    }
    let bytes = recurrent(&[1, 1, 2], "lengths").output("last").bytes();
    // A constant sequence length belongs to one sample.
    one_by_one(&bytes, &[3, 4], "its sequence lengths are baked in");
    // A fixed input counts as a constant as well.
    let bytes = OnnxWriter::new(18)
        .input("x", &[1, 3, 4])
        .input("h", &[1, 1, 2])
        .weight("w", &[1, 6, 4])
        .weight("r", &[1, 6, 2])
        .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
        .node(
            "GRU",
            &["t", "w", "r", "", "", "h"],
            &["all", "y"],
            &[("hidden_size", Attr::Int(2))],
        )
        .output("y")
        .bytes();
    let mut fixed = file(&bytes);
    fixed.fix_number("h", 0.5).unwrap();
    let modality = Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![3, 4],
        bounds: Bounds::uniform(-1.0, 1.0).unwrap(),
    };
    let model =
        OnnxModel::new(fixed, &[modality], &OnnxOptions::default(), &Device::flex()).unwrap();
    assert_eq!(*model.batch_mode(), BatchMode::Rebatched { nodes: 1 });
    let bytes = net(&[1, 3, 4])
        .weight("w", &[1, 6, 4])
        .weight("r", &[1, 6, 2])
        .node(
            "GRU",
            &["x", "w", "r"],
            &["all", "y"],
            &[("hidden_size", Attr::Int(2))],
        )
        .output("y")
        .bytes();
    one_by_one(
        &bytes,
        &[3, 4],
        "samples do not lie along axis 1 of its input",
    );
}

#[test]
fn attention_takes_samples_along_the_first_axis() {
    let attention = |inputs: &[&str], mask: &[i64]| {
        OnnxWriter::new(23)
            .input("x", &[1, 2, 3, 4])
            .weight("k", &[1, 2, 5, 4])
            .weight("m", mask)
            .node("Attention", inputs, &["y"], &[])
            .output("y")
            .bytes()
    };
    let shape = [2, 3, 4];
    assert_eq!(together(&attention(&["x", "x", "x"], &[1]), &shape), 0);
    // Keys and values that are the same for all samples are repeated.
    assert_eq!(together(&attention(&["x", "k", "k"], &[1]), &shape), 1);
    assert_eq!(
        together(&attention(&["x", "x", "x", "m"], &[3, 3]), &shape),
        0
    );
    assert_eq!(
        together(&attention(&["x", "x", "x", "", "k", "k"], &[1]), &shape),
        1
    );
    let bytes = OnnxWriter::new(23)
        .input("x", &[1, 3, 1, 4])
        .node(
            "Transpose",
            &["x"],
            &["t"],
            &[("perm", ints(&[1, 0, 2, 3]))],
        )
        .node("Attention", &["t", "t", "t"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 1, 4], "along different axes");
    let bytes = OnnxWriter::new(23)
        .input("x", &[1, 2, 3, 4])
        .weight("cos", &[1, 3, 2])
        .node("RotaryEmbedding", &["x", "cos", "cos"], &["y"], &[])
        .output("y")
        .bytes();
    assert_eq!(together(&bytes, &shape), 0);
}
