//! Surrogates of models with steps: the same scores, a slope, and finer scores beside them.

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_model::{GradientModel, Network, Query, ScoreModel};
use proofmark_onnx::proto::{Message as _, ModelProto};
use proofmark_onnx::writer::{Attr, OnnxWriter};
use proofmark_onnx::{OnnxFile, OnnxModel, OnnxOptions};
use proofmark_threat::{Batch, host};

const FEATURES: usize = 6;
const HIDDEN: usize = 8;
const CLASSES: usize = 3;

/// Signs of a fixed sequence, as binary weights.
fn binary(n: usize, salt: f64) -> Vec<f32> {
    (0..n)
        .map(|i| {
            let u = ((i as f64 + salt) * 0.618_033_988_749_894_9).fract();
            if u < 0.5 { -1.0 } else { 1.0 }
        })
        .collect()
}

/// A network with two layers of signs, each written by `sign`: the node's writer, its input and its output.
fn binarised(sign: impl Fn(OnnxWriter, &str, &str) -> OnnxWriter) -> Vec<u8> {
    let (f, h, c) = (FEATURES as i64, HIDDEN as i64, CLASSES as i64);
    let net = OnnxWriter::new(13)
        .input("x", &[1, f])
        .constant("zero", &[], &[0.0])
        .constant("one", &[], &[1.0])
        .constant("two", &[], &[2.0])
        .constant("less", &[], &[-1.0])
        .constant("tenth", &[], &[0.1])
        .constant("w1", &[f, h], &binary(FEATURES * HIDDEN, 0.1))
        .constant("w2", &[h, h], &binary(HIDDEN * HIDDEN, 0.7))
        .constant("w3", &[h, c], &binary(HIDDEN * CLASSES, 0.3))
        .node("MatMul", &["x", "w1"], &["a"], &[]);
    let net = sign(net, "a", "sa").node("MatMul", &["sa", "w2"], &["b"], &[]);
    sign(net, "b", "sb")
        .node("MatMul", &["sb", "w3"], &["y"], &[])
        .output("y")
        .bytes()
}

fn larq(net: OnnxWriter, from: &str, to: &str) -> OnnxWriter {
    let (first, sum) = (format!("{from}-first"), format!("{from}-sum"));
    net.node("Sign", &[from], &[&first], &[])
        .node("Add", &[&first, "tenth"], &[&sum], &[])
        .node("Sign", &[&sum], &[to], &[])
}

fn chosen(net: OnnxWriter, from: &str, to: &str) -> OnnxWriter {
    let mask = format!("{from}-mask");
    net.node("Less", &[from, "zero"], &[&mask], &[]).node(
        "Where",
        &[&mask, "less", "one"],
        &[to],
        &[],
    )
}

fn cast(net: OnnxWriter, from: &str, to: &str) -> OnnxWriter {
    let [mask, flipped, number, twice] =
        ["mask", "flipped", "number", "twice"].map(|n| format!("{from}-{n}"));
    net.node("Greater", &["zero", from], &[&mask], &[])
        .node("Not", &[&mask], &[&flipped], &[])
        .node("Cast", &[&flipped], &[&number], &[("to", Attr::Int(1))])
        .node("Mul", &[&number, "two"], &[&twice], &[])
        .node("Sub", &[&twice, "one"], &[to], &[])
}

fn open(bytes: &[u8], by_operator: bool) -> OnnxModel {
    let modality = Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![FEATURES],
        bounds: Bounds::uniform(-4.0, 4.0).unwrap(),
    };
    let mut options = OnnxOptions::default();
    options.raw = true;
    options.by_operator = by_operator;
    let file = OnnxFile::decode("net.onnx", bytes.to_vec(), None).unwrap();
    let region = points().into_iter().take(4).flatten().collect::<Vec<f32>>();
    let region = Tensor::from_data(TensorData::new(region, [4, FEATURES]), &Device::flex());
    OnnxModel::new(file, &[modality], &options, &Device::flex())
        .and_then(|m| m.with_surrogate(&[vec![region]], &options))
        .unwrap()
}

/// Whole numbers, so that sums often lie on a threshold.
fn points() -> Vec<Vec<f32>> {
    let value =
        |i: usize| (((i as f64 + 0.5) * 0.754_877_666_246_692_8).fract() * 7.0).floor() - 3.0;
    (0..40)
        .map(|row| {
            (0..FEATURES)
                .map(|i| value(row * FEATURES + i) as f32)
                .collect()
        })
        .collect()
}

fn query(model: &OnnxModel) -> Query {
    let own = Network::signature(model).modalities.clone();
    let values = points().into_iter().flatten().collect();
    let x = Batch::from_host(own, vec![values], &Device::flex()).unwrap();
    Query::one_per_row(x, &(0..40).collect::<Vec<u64>>())
}

#[test]
fn a_surrogate_has_the_scores_of_its_model_a_slope_and_finer_scores() {
    let plain = |net: OnnxWriter, from: &str, to: &str| net.node("Sign", &[from], &[to], &[]);
    let all: [(&str, Vec<u8>); 4] = [
        ("sign", binarised(plain)),
        ("larq", binarised(larq)),
        ("where", binarised(chosen)),
        ("cast", binarised(cast)),
    ];
    let mut seen = Vec::new();
    for (name, bytes) in &all {
        for by_operator in [false, true] {
            let model = open(bytes, by_operator);
            let surrogate = GradientModel::smoothed(&model).expect("there are steps");
            let scores = host(&model.scores(&query(&model)).unwrap());
            let both = host(&surrogate.scores(&query(&model)).unwrap());
            let (rows, fine): (Vec<&[f32]>, Vec<&[f32]>) = both
                .chunks(2 * CLASSES)
                .map(|r| r.split_at(CLASSES))
                .unzip();
            assert_eq!(rows.concat(), scores, "{name}");
            // Whole numbers repeat, finer scores do not.
            let distinct = |rows: &[&[f32]]| {
                let mut all: Vec<String> = rows.iter().map(|r| format!("{r:?}")).collect();
                all.sort();
                all.dedup();
                all.len()
            };
            assert!(distinct(&fine) > distinct(&rows), "{name}");
            let first = |y: &Tensor<2>, _: &Batch| y.clone().narrow(1, 0, 1).squeeze_dim::<1>(1);
            let of = |m: &dyn GradientModel| {
                host(
                    &m.gradient(&query(&model), &first)
                        .unwrap()
                        .gradient
                        .blocks()[0],
                )
            };
            let slope = of(surrogate);
            assert!(
                slope.chunks(FEATURES).all(|g| g.iter().any(|g| *g != 0.0)),
                "{name}"
            );
            seen.push((scores, slope));
        }
    }
    // The three ways to write a sign without a zero are one, to the last digits of the slope.
    for (scores, slope) in &seen[3..] {
        assert_eq!(scores, &seen[2].0);
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * (1.0 + b.abs());
        assert!(slope.iter().zip(&seen[2].1).all(close));
    }
    assert_ne!(seen[0].0, seen[2].0, "some sum lies on a threshold");
}

#[test]
fn a_model_without_steps_has_no_surrogate() {
    let relu = |net: OnnxWriter, from: &str, to: &str| net.node("Relu", &[from], &[to], &[]);
    assert!(GradientModel::smoothed(&open(&binarised(relu), false)).is_none());
}

#[cfg(feature = "flex")]
#[test]
fn a_surrogate_is_compiled() {
    let model = open(&binarised(larq), false);
    let plan = model.surrogate_plan().expect("there are steps");
    assert!(plan.is_ok(), "{plan:?}");
}

#[test]
fn a_file_with_operators_of_this_program_is_refused() {
    let mut proto = ModelProto::decode(binarised(larq).as_slice()).unwrap();
    let mut own = proto.opset_import[0].clone();
    own.domain = "proofmark.internal".into();
    proto.opset_import.push(own);
    let e = OnnxFile::decode("net.onnx", proto.encode_to_vec(), None).unwrap_err();
    assert!(e.to_string().contains("`proofmark.internal`"), "{e}");
}
