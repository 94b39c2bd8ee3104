//! Graphs that kernels compute in place of their operators: which, with what result, and why others are not.

use burn::tensor::Device;
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_model::{DecisionModel, GradientModel, Query};
use proofmark_onnx::writer::{Attr, OnnxWriter};
use proofmark_onnx::{Array, OnnxFile, OnnxModel, OnnxOptions, Session};
use proofmark_threat::{Batch, host};

fn numbers(n: usize, salt: f64) -> Vec<f32> {
    (0..n)
        .map(|i| (2.0 * ((i as f64 + salt) * 0.618_033_988_749_894_9).fract() - 1.0) as f32)
        .collect()
}

fn ints(values: &[i64]) -> Attr {
    Attr::Ints(values.to_vec())
}

fn bind(net: OnnxWriter, shape: &[usize]) -> (OnnxModel, Vec<u8>) {
    let bytes = net.bytes();
    let modality = Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: shape.to_vec(),
        bounds: Bounds::uniform(-1.0, 1.0).unwrap(),
    };
    let file = OnnxFile::decode("net.onnx", bytes.clone(), None).unwrap();
    let model = OnnxModel::new(file, &[modality], &OnnxOptions::default(), &Device::flex());
    (model.unwrap(), bytes)
}

fn query(model: &OnnxModel, values: &[f32]) -> Query {
    let own = DecisionModel::signature(model).modalities.clone();
    let rows = values.len() / own[0].features();
    let x = Batch::from_host(own, vec![values.to_vec()], &Device::flex()).unwrap();
    let keys: Vec<u64> = (0..rows as u64).collect();
    Query::one_per_row(x, &keys)
}

/// Scores and input gradients, `each` rows at a time.
fn bits(model: &OnnxModel, values: &[f32], each: usize) -> (Vec<u32>, Vec<u32>) {
    let features = DecisionModel::signature(model).modalities[0].features();
    let mut all = (Vec::new(), Vec::new());
    for part in values.chunks(each * features) {
        let sum = |scores: &burn::tensor::Tensor<2>, _: &Batch| {
            (scores.clone() * scores.clone())
                .sum_dim(1)
                .squeeze_dim::<1>(1)
        };
        let answer = model.gradient(&query(model, part), &sum).unwrap();
        all.0
            .extend(host(&answer.scores).iter().map(|v| v.to_bits()));
        all.1.extend(
            host(&answer.gradient.blocks()[0])
                .iter()
                .map(|v| v.to_bits()),
        );
    }
    all
}

/// Kernels compute the model: as its operators do, and each row by itself. Returns the steps.
#[track_caller]
fn assert_compiled(net: OnnxWriter, shape: &[usize]) -> Vec<String> {
    let (model, bytes) = bind(net, shape);
    let steps = model.plan().map(<[String]>::to_vec);
    let steps = steps.unwrap_or_else(|why| panic!("operators are computed one by one: {why}"));
    assert!(DecisionModel::signature(&model).row_independent);
    let features: usize = shape.iter().product();
    let x = numbers(13 * features, 0.3);
    let alone = bits(&model, &x, 1);
    for each in [2, 5, 13] {
        assert_eq!(bits(&model, &x, each), alone, "{each} rows together");
    }
    let session = Session::new(
        OnnxFile::decode("net.onnx", bytes, None).unwrap(),
        &Device::flex(),
    );
    let session = session.unwrap();
    let mut all = vec![1];
    all.extend(shape);
    let by_operators = x.chunks(features).flat_map(|row| {
        let row = Array::try_new(all.clone(), row.to_vec()).unwrap();
        session.run(&[row]).unwrap()[0].to_f32().unwrap()
    });
    for (kernels, operators) in alone.0.iter().zip(by_operators) {
        let (a, b) = (f32::from_bits(*kernels), operators);
        assert!(
            (a - b).abs() <= 1e-4 * (1.0 + b.abs()),
            "{a} by kernels, {b} by operators"
        );
    }
    steps
}

#[track_caller]
fn assert_not_compiled(net: OnnxWriter, shape: &[usize], why: &str) {
    let (model, _) = bind(net, shape);
    let given = model.plan().expect_err("it was compiled");
    assert!(given.contains(why), "{given}");
    assert!(!DecisionModel::signature(&model).row_independent);
}

fn image() -> OnnxWriter {
    OnnxWriter::new(18).input("x", &[0, 3, 8, 6])
}

/// A dense layer with three outputs over all of `value`.
fn classified(net: OnnxWriter, value: &str, features: usize) -> OnnxWriter {
    net.node("Flatten", &[value], &["flat"], &[])
        .constant("head", &[3, features as i64], &numbers(3 * features, 0.7))
        .constant("offset", &[3], &numbers(3, 0.1))
        .node(
            "Gemm",
            &["flat", "head", "offset"],
            &["scores"],
            &[
                ("transB", Attr::Int(1)),
                ("alpha", Attr::Float(0.5)),
                ("beta", Attr::Float(2.0)),
            ],
        )
        .output("scores")
}

#[test]
fn a_residual_network_is_compiled_and_fused() {
    let stats = |net: OnnxWriter| {
        net.constant("scale", &[16], &numbers(16, 0.2))
            .constant("shift", &[16], &numbers(16, 0.4))
            .constant("mean", &[16], &numbers(16, 0.6))
            .constant("variance", &[16], &[0.7; 16])
    };
    let net = stats(image())
        .constant("w", &[16, 3, 3, 3], &numbers(16 * 27, 0.5))
        .constant("v", &[16, 16, 3, 3], &numbers(16 * 144, 0.9))
        .node(
            "Conv",
            &["x", "w"],
            &["a"],
            &[("pads", ints(&[1, 1, 1, 1]))],
        )
        .node("Relu", &["a"], &["b"], &[])
        .node(
            "Conv",
            &["b", "v"],
            &["c"],
            &[("auto_pad", Attr::Text("SAME_UPPER"))],
        )
        .node(
            "BatchNormalization",
            &["c", "scale", "shift", "mean", "variance"],
            &["d"],
            &[],
        )
        .node("Add", &["d", "b"], &["e"], &[])
        .node("Relu", &["e"], &["f"], &[])
        .node(
            "MaxPool",
            &["f"],
            &["g"],
            &[("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))],
        )
        .node("GlobalAveragePool", &["g"], &["h"], &[]);
    let steps = assert_compiled(classified(net, "h", 16), &[3, 8, 6]);
    assert_eq!(
        steps,
        [
            "convolution + clamp [16, 8, 6]",
            "convolution + scale + add + clamp [16, 8, 6]",
            "largest [16, 4, 3]",
            "average [16, 1, 1]",
            "convolution [3, 1, 1]",
        ]
    );
}

#[test]
fn images_with_their_channels_last_are_compiled() {
    let net = OnnxWriter::new(18)
        .input("x", &[0, 8, 6, 3])
        .constant("mean", &[3], &[0.1, 0.2, 0.3])
        .constant("w", &[5, 3, 2, 2], &numbers(60, 0.5))
        .node("Sub", &["x", "mean"], &["centred"], &[])
        .node(
            "Transpose",
            &["centred"],
            &["first"],
            &[("perm", ints(&[0, 3, 1, 2]))],
        )
        .node(
            "Conv",
            &["first", "w"],
            &["a"],
            &[("strides", ints(&[2, 1]))],
        )
        .node("LeakyRelu", &["a"], &["b"], &[("alpha", Attr::Float(0.2))])
        .node(
            "Transpose",
            &["b"],
            &["last"],
            &[("perm", ints(&[0, 2, 3, 1]))],
        );
    assert_compiled(classified(net, "last", 5 * 4 * 5), &[8, 6, 3]);
}

#[test]
fn constants_for_every_element_are_compiled() {
    let net = image()
        .constant("image", &[3, 8, 6], &numbers(144, 0.8))
        .constant("two", &[], &[2.0])
        .node("Sub", &["image", "x"], &["a"], &[])
        .node("Div", &["a", "two"], &["b"], &[])
        .node("Mul", &["image", "b"], &["c"], &[])
        .node("Add", &["c", "c"], &["d"], &[])
        .node("Sigmoid", &["d"], &["e"], &[]);
    assert_compiled(classified(net, "e", 144), &[3, 8, 6]);
}

#[test]
fn branches_of_depthwise_and_dilated_convolutions_are_compiled() {
    let net = image()
        .constant("w", &[3, 1, 3, 3], &numbers(27, 0.5))
        .constant("v", &[4, 3, 2, 2], &numbers(48, 0.9))
        .node(
            "Conv",
            &["x", "w"],
            &["a"],
            &[("group", Attr::Int(3)), ("pads", ints(&[1, 1, 1, 1]))],
        )
        .node(
            "Conv",
            &["x", "v"],
            &["b"],
            &[("dilations", ints(&[2, 2])), ("pads", ints(&[1, 1, 1, 1]))],
        )
        .constant("low", &[], &[-0.5])
        .constant("high", &[], &[0.5])
        .node("Clip", &["a", "low", "high"], &["c"], &[])
        .node("Tanh", &["b"], &["d"], &[])
        .node("Concat", &["c", "d"], &["e"], &[("axis", Attr::Int(1))])
        .node(
            "AveragePool",
            &["e"],
            &["f"],
            &[("kernel_shape", ints(&[2, 3]))],
        );
    assert_compiled(classified(net, "f", 7 * 7 * 4), &[3, 8, 6]);
}

#[test]
fn a_map_times_a_number_per_channel_is_compiled() {
    let net = image()
        .constant("w", &[3, 3, 1, 1], &numbers(9, 0.1))
        .node("GlobalAveragePool", &["x"], &["mean"], &[])
        .node("Conv", &["mean", "w"], &["a"], &[])
        .node("HardSigmoid", &["a"], &["gate"], &[])
        .node("Mul", &["gate", "x"], &["b"], &[]);
    assert_compiled(classified(net, "b", 144), &[3, 8, 6]);
}

#[test]
fn groups_of_few_channels_are_compiled() {
    let net = image()
        .constant("w", &[4, 3, 1, 1], &numbers(12, 0.1))
        .constant("v", &[4, 2, 1, 1], &numbers(8, 0.4))
        .node("Conv", &["x", "w"], &["a"], &[])
        .node("Conv", &["a", "v"], &["b"], &[("group", Attr::Int(2))]);
    assert_compiled(classified(net, "b", 4 * 48), &[3, 8, 6]);
}

#[test]
fn matrices_over_the_last_of_two_axes_are_compiled() {
    let net = OnnxWriter::new(18)
        .input("x", &[0, 5, 4])
        .constant("w", &[4, 6], &numbers(24, 0.5))
        .constant("v", &[6, 2], &numbers(12, 0.5))
        .constant("bias", &[6], &numbers(6, 0.2))
        .node("MatMul", &["x", "w"], &["a"], &[])
        .node("Add", &["a", "bias"], &["b"], &[])
        .node("Elu", &["b"], &["c"], &[])
        .node("MatMul", &["c", "v"], &["d"], &[]);
    assert_compiled(classified(net, "d", 10), &[5, 4]);
}

#[test]
fn a_file_for_one_sample_is_compiled_for_any_number() {
    let net = OnnxWriter::new(18)
        .input("x", &[1, 4])
        .constant("w", &[4, 3], &numbers(12, 0.5))
        .constant("shape", &[], &[0.0])
        .node("MatMul", &["x", "w"], &["scores"], &[])
        .output("scores");
    assert_compiled(net, &[4]);
}

/// A bias with one number per row has as many numbers as one per output where both counts agree.
#[test]
fn a_bias_per_row_is_not_taken_for_one_per_output() {
    let net = OnnxWriter::new(18)
        .input("x", &[0, 3, 4])
        .integers("rows", &[-1, 4])
        .integers("back", &[-1, 9])
        .constant("w", &[4, 3], &numbers(12, 0.5))
        .constant("bias", &[3, 1], &[1.0, 2.0, 3.0])
        .node("Reshape", &["x", "rows"], &["a"], &[])
        .node("Gemm", &["a", "w", "bias"], &["b"], &[])
        .node("Reshape", &["b", "back"], &["c"], &[]);
    let (model, _) = bind(classified(net, "c", 9), &[3, 4]);
    let why = model.plan().expect_err("it was compiled");
    assert!(why.contains("shape [3, 1] for 3 outputs"), "{why}");
}

/// Before version 10 a Dropout's mask had the type of its values: ones, not the values.
#[test]
fn only_the_first_output_is_lowered() {
    let net = OnnxWriter::new(9)
        .input("x", &[0, 3, 8, 6])
        .node("Dropout", &["x"], &["kept", "mask"], &[])
        .node("Add", &["kept", "mask"], &["a"], &[]);
    let (model, _) = bind(classified(net, "a", 144), &[3, 8, 6]);
    let why = model.plan().expect_err("it was compiled");
    assert!(why.contains("no kernel computes output 1"), "{why}");
}

#[test]
fn what_no_kernel_computes_is_named() {
    let net = image().node("Softplus", &["x"], &["a"], &[]);
    assert_not_compiled(
        classified(net, "a", 144),
        &[3, 8, 6],
        "(Softplus): no kernel computes it",
    );
    let net = image().node(
        "MaxPool",
        &["x"],
        &["a"],
        &[
            ("kernel_shape", ints(&[3, 3])),
            ("pads", ints(&[1, 1, 1, 1])),
        ],
    );
    assert_compiled(classified(net, "a", 3 * 48), &[3, 8, 6]);
    let net = image().node(
        "AveragePool",
        &["x"],
        &["a"],
        &[
            ("kernel_shape", ints(&[3, 3])),
            ("pads", ints(&[1, 1, 1, 1])),
        ],
    );
    assert_not_compiled(
        classified(net, "a", 3 * 48),
        &[3, 8, 6],
        "fewer elements at the edge",
    );
}

#[test]
fn no_rows_give_no_scores() {
    let net = OnnxWriter::new(18).input("x", &[0, 3, 8, 6]);
    let (model, _) = bind(classified(net, "x", 144), &[3, 8, 6]);
    assert!(model.plan().is_ok());
    assert_eq!(bits(&model, &[], 4).0, Vec::<u32>::new());
}
