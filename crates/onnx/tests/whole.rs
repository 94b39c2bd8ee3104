//! Integer inputs: changed by attacks in their own units if they are read as numbers, left unchanged otherwise.

use burn::tensor::Device;
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_model::{DecisionModel, GradientModel, Numbers, Query, ScoreModel};
use proofmark_onnx::writer::{Attr, FLOAT, INT64, OnnxWriter};
use proofmark_onnx::{OnnxFile, OnnxModel, OnnxOptions};
use proofmark_threat::{Batch, host};

const UINT8: i32 = 2;
const BOOL: i32 = 9;

fn modality(name: &str, features: usize, low: f32, high: f32) -> Modality {
    Modality {
        name: name.into(),
        kind: Kind::Table,
        shape: vec![features],
        bounds: Bounds::uniform(low, high).unwrap(),
    }
}

fn bind(bytes: Vec<u8>, inputs: &[Modality]) -> Result<OnnxModel, String> {
    let file = OnnxFile::decode("net.onnx", bytes, None).unwrap();
    OnnxModel::new(file, inputs, &OnnxOptions::default(), &Device::flex())
        .map_err(|e| e.to_string())
}

fn query(model: &OnnxModel, blocks: &[&[f32]]) -> Query {
    let own = DecisionModel::signature(model).modalities.clone();
    let rows = blocks[0].len() / own[0].features();
    let blocks = blocks.iter().map(|b| b.to_vec()).collect();
    let x = Batch::from_host(own, blocks, &Device::flex()).unwrap();
    Query::one_per_row(x, &(0..rows as u64).collect::<Vec<_>>())
}

/// Returns a file with weighted sums of the integers that `op` converts.
fn summed(elem_type: i32, op: &str, inputs: &[&str], attributes: &[(&str, Attr)]) -> Vec<u8> {
    OnnxWriter::new(18)
        .input_of("x", elem_type, "N,2")
        .constant("half", &[], &[0.5])
        .constant("w", &[2, 2], &[1.0, 2.0, -1.0, 3.0])
        .node("Identity", &["x"], &["i"], &[])
        .node(op, inputs, &["r"], attributes)
        .node("MatMul", &["r", "w"], &["y"], &[])
        .output("y")
        .bytes()
}

#[test]
fn an_integer_input_of_a_cast_or_a_dequantisation_is_attacked_as_integers() {
    let to_float = [("to", Attr::Int(1))];
    let cast = summed(UINT8, "Cast", &["i"], &to_float);
    let scaled = summed(UINT8, "DequantizeLinear", &["i", "half"], &[]);
    for (bytes, factor) in [(cast, 1.0), (scaled, 0.5)] {
        let model = bind(bytes, &[modality("x", 2, 0.0, 255.0)]).unwrap();
        let signature = DecisionModel::signature(&model);
        let range = Numbers::Whole {
            low: 0.0,
            high: 255.0,
        };
        assert_eq!(signature.numbers, [range]);
        assert_eq!(model.approximate_gradients(), ["input x (uint8)"]);
        // Rounding an input that the attack leaves alone is not reported.
        assert_eq!(signature.stated, []);
        // 7.4 and 200.6 are read as 7 and 201.
        let asked = query(&model, &[&[7.4, 200.6]]);
        let expected = [factor * (7.0 - 201.0), factor * (14.0 + 603.0)];
        assert_eq!(host(&model.scores(&asked).unwrap()), expected);
        // The derivative is that without rounding.
        let first =
            |s: &burn::tensor::Tensor<2>, _: &Batch| s.clone().narrow(1, 1, 1).squeeze_dim::<1>(1);
        let gradient = model.gradient(&asked, &first).unwrap().gradient;
        assert_eq!(host(&gradient.blocks()[0]), [2.0 * factor, 3.0 * factor]);
    }
}

#[test]
fn bounds_that_are_not_integers_of_the_type_are_refused() {
    let cast = || summed(UINT8, "Cast", &["i"], &[("to", Attr::Int(1))]);
    for (low, high) in [(0.0, 0.5), (-1.0, 10.0), (0.0, 256.0)] {
        let problem = bind(cast(), &[modality("x", 2, low, high)]).unwrap_err();
        for word in ["`x`", "uint8", "from 0 to 255", "--units raw"] {
            assert!(problem.contains(word), "no `{word}` in: {problem}");
        }
    }
}

#[test]
fn masks_and_places_are_no_numbers_to_change() {
    // An index into a table and a mask that hides features, both beside a floating-point input.
    let table = OnnxWriter::new(18)
        .input_of("x", FLOAT, "N,2")
        .input_of("at", INT64, "N,1")
        .input_of("on", BOOL, "N,2")
        .constant("rows", &[3, 2], &[0.0, 0.0, 10.0, 20.0, 30.0, 40.0])
        .constant("zero", &[], &[0.0])
        .integers("axes", &[1])
        .node("Gather", &["rows", "at"], &["g"], &[])
        .node("Squeeze", &["g", "axes"], &["s"], &[])
        .node("Where", &["on", "x", "zero"], &["h"], &[])
        .node("Add", &["h", "s"], &["y"], &[])
        .output("y")
        .bytes();
    let inputs = [
        modality("x", 2, 0.0, 1.0),
        modality("at", 1, 0.0, 2.0),
        modality("on", 2, 0.0, 1.0),
    ];
    let model = bind(table, &inputs).unwrap();
    let signature = DecisionModel::signature(&model);
    assert!(matches!(
        signature.numbers[..],
        [
            Numbers::Real,
            Numbers::Fixed { .. },
            Numbers::Fixed {
                low: 0.0,
                high: 1.0
            }
        ]
    ));
    assert_eq!(signature.stated, []);
    let blocks: [&[f32]; 3] = [&[0.25, 0.5, 0.75, 1.0], &[2.0, 1.0], &[1.0, 0.0, 1.0, 1.0]];
    let scores = host(&model.scores(&query(&model, &blocks)).unwrap());
    assert_eq!(scores, [30.25, 40.0, 10.75, 21.0]);
}

#[test]
fn an_integer_input_that_is_cast_and_also_compared_is_not_changed() {
    let bytes = OnnxWriter::new(18)
        .input_of("x", INT64, "N,2")
        .integers("zero", &[0])
        .node("Cast", &["x"], &["r"], &[("to", Attr::Int(1))])
        .node("Equal", &["x", "zero"], &["e"], &[])
        .node("Cast", &["e"], &["f"], &[("to", Attr::Int(1))])
        .node("Add", &["r", "f"], &["y"], &[])
        .output("y")
        .bytes();
    let model = bind(bytes, &[modality("x", 2, 0.0, 9.0)]).unwrap();
    let numbers = &DecisionModel::signature(&model).numbers;
    assert!(
        matches!(numbers[..], [Numbers::Fixed { .. }]),
        "{numbers:?}"
    );
}
