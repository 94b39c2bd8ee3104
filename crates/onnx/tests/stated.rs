//! Trust flags that a model states before anything is measured: where its derivative is not the true one.

use burn::tensor::Device;
use proofmark_domain::{Bounds, Kind, Modality, TrustCode};
use proofmark_model::DecisionModel;
use proofmark_onnx::writer::{Attr, OnnxWriter};
use proofmark_onnx::{OnnxFile, OnnxModel, OnnxOptions};

/// Returns the trust codes of a model whose two scores are two numbers passed through `op`.
fn stated(op: &str, attributes: &[(&str, Attr)], back: bool) -> Vec<TrustCode> {
    let mut file = OnnxWriter::new(17)
        .input("x", &[0, 2])
        .node(op, &["x"], &["h"], attributes);
    if back {
        file = file.node("Cast", &["h"], &["y"], &[("to", Attr::Int(1))]);
    } else {
        file = file.node("Identity", &["h"], &["y"], &[]);
    }
    let file = OnnxFile::decode("m.onnx", file.output("y").bytes(), None).unwrap();
    let modality = Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![2],
        bounds: Bounds::uniform(-3.0, 3.0).unwrap(),
    };
    let model =
        OnnxModel::new(file, &[modality], &OnnxOptions::default(), &Device::flex()).unwrap();
    let signature = DecisionModel::signature(&model);
    signature.stated.iter().map(|f| f.code).collect()
}

#[test]
fn only_rounding_operators_state_approximate_gradients() {
    let rough = [TrustCode::ApproximateGradients];
    for op in ["Sign", "Floor", "Ceil", "Round"] {
        assert_eq!(stated(op, &[], false), rough, "{op}");
    }
    // To integers and back.
    assert_eq!(stated("Cast", &[("to", Attr::Int(7))], true), rough);
    assert_eq!(stated("Cast", &[("to", Attr::Int(10))], true), []);
    for op in ["Relu", "Identity", "Sigmoid", "Tanh"] {
        assert_eq!(stated(op, &[], false), [], "{op}");
    }
}
