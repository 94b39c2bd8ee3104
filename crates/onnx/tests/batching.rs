//! How samples go through a graph: together if a rule covers every node, else in the file's own batches.

use burn::tensor::Device;
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_model::{Features, Query, ScoreModel};
use proofmark_onnx::proto::{
    AttributeProto, GraphProto, Message as _, ModelProto, NodeProto, ValueInfoProto,
};
use proofmark_onnx::writer::{Attr, OnnxWriter};
use proofmark_onnx::{Array, BatchMode, OnnxFile, OnnxModel, OnnxOptions, Session};
use proofmark_threat::{Batch, host};

const SAMPLES: usize = 5;

/// Returns evenly spread numbers in [-1, 1).
fn numbers(n: usize, salt: f64) -> Vec<f32> {
    (0..n)
        .map(|i| (2.0 * ((i as f64 + salt) * 0.618_033_988_749_894_9).fract() - 1.0) as f32)
        .collect()
}

fn weights(shape: &[i64]) -> Vec<f32> {
    numbers(shape.iter().product::<i64>() as usize, 0.3)
}

/// A file with the input `x`; the caller adds the nodes.
fn net(shape: &[i64]) -> OnnxWriter {
    OnnxWriter::new(18).input("x", shape)
}

trait More {
    /// Adds a constant of spread numbers.
    fn weight(self, name: &str, shape: &[i64]) -> Self;
}

impl More for OnnxWriter {
    fn weight(self, name: &str, shape: &[i64]) -> Self {
        self.constant(name, shape, &weights(shape))
    }
}

fn file(bytes: &[u8]) -> OnnxFile {
    OnnxFile::decode("net.onnx", bytes.to_vec(), None).unwrap()
}

fn model(bytes: &[u8], shape: &[usize]) -> OnnxModel {
    let modality = Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: shape.to_vec(),
        bounds: Bounds::uniform(-1.0, 1.0).unwrap(),
    };
    let mut options = OnnxOptions::default();
    options.raw = true;
    OnnxModel::new(file(bytes), &[modality], &options, &Device::flex()).unwrap()
}

fn query(model: &OnnxModel, samples: &[f32]) -> Query {
    let own = proofmark_model::DecisionModel::signature(model)
        .modalities
        .clone();
    let rows = samples.len() / own[0].features();
    let x = Batch::from_host(own, vec![samples.to_vec()], &Device::flex()).unwrap();
    let keys: Vec<u64> = (0..rows as u64).collect();
    Query::one_per_row(x, &keys)
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() < 1e-5, "{a:?}\n{b:?}");
    }
}

/// Returns the file's output on each sample run alone, concatenated.
fn alone(bytes: &[u8], shape: &[usize], samples: &[f32]) -> Vec<f32> {
    let session = Session::new(file(bytes), &Device::flex()).unwrap();
    let mut own = vec![1];
    own.extend(shape);
    samples
        .chunks(shape.iter().product())
        .flat_map(|sample| {
            let x = Array::try_new(own.clone(), sample.to_vec()).unwrap();
            session.run(&[x]).unwrap()[0].to_f32().unwrap()
        })
        .collect()
}

/// Asserts that samples run together and give the scores they give alone; returns how many nodes were changed.
#[track_caller]
fn together(bytes: &[u8], shape: &[usize]) -> usize {
    let model = model(bytes, shape);
    let BatchMode::Rebatched { nodes } = *model.batch_mode() else {
        panic!("{}", model.batch_mode());
    };
    let samples = numbers(SAMPLES * shape.iter().product::<usize>(), 1.0);
    let scores = host(&model.scores(&query(&model, &samples)).unwrap());
    close(&scores, &alone(bytes, shape, &samples));
    nodes
}

/// Asserts that samples run one at a time, for this reason, and give the scores they give alone.
#[track_caller]
fn one_by_one(bytes: &[u8], shape: &[usize], reason: &str) {
    let model = model(bytes, shape);
    let BatchMode::Chunks { size: 1, why } = model.batch_mode() else {
        panic!("{}", model.batch_mode());
    };
    assert!(why.contains(reason), "{why}; expected: {reason}");
    let samples = numbers(SAMPLES * shape.iter().product::<usize>(), 1.0);
    let scores = host(&model.scores(&query(&model, &samples)).unwrap());
    close(&scores, &alone(bytes, shape, &samples));
}

fn ints(list: &[i64]) -> Attr {
    Attr::Ints(list.to_vec())
}

#[test]
fn convolutions_and_pools_take_samples_along_the_first_axis() {
    let bytes = net(&[1, 2, 6, 6])
        .weight("w", &[4, 2, 3, 3])
        .weight("scale", &[4])
        .weight("bias", &[4])
        .integers("sizes", &[1, 4, 8, 8])
        .integers("list", &[1, -1])
        .node("Conv", &["x", "w"], &["a"], &[])
        .node(
            "InstanceNormalization",
            &["a", "scale", "bias"],
            &["b"],
            &[],
        )
        .node("Resize", &["b", "", "", "sizes"], &["c"], &[])
        .node(
            "MaxPool",
            &["c"],
            &["d"],
            &[("kernel_shape", ints(&[2, 2]))],
        )
        .node("Reshape", &["d", "list"], &["y"], &[])
        .output("y")
        .bytes();
    // Resize and Reshape get new sizes.
    assert_eq!(together(&bytes, &[2, 6, 6]), 2);
    let bytes = net(&[1, 2, 6, 6])
        .weight("w", &[1, 1, 3, 3])
        .node(
            "Transpose",
            &["x"],
            &["t"],
            &[("perm", ints(&[1, 0, 2, 3]))],
        )
        .node("Conv", &["t", "w"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[2, 6, 6], "samples lie along axis 1; expected 0");
}

#[test]
fn operators_along_one_axis_need_the_samples_on_another() {
    for (op, attributes) in [
        ("Softmax", vec![("axis", Attr::Int(-1))]),
        ("LogSoftmax", vec![("axis", Attr::Int(1))]),
        ("LpNormalization", vec![("axis", Attr::Int(2))]),
    ] {
        let bytes = net(&[1, 3, 4])
            .node(op, &["x"], &["y"], &attributes)
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 0);
        let bytes = net(&[1, 3, 4])
            .node(op, &["x"], &["y"], &[("axis", Attr::Int(0))])
            .output("y")
            .bytes();
        one_by_one(&bytes, &[3, 4], "it mixes along axis 0");
    }
    let norm = |axis: i64| {
        net(&[1, 3, 4])
            .weight("s", &[4])
            .node(
                "LayerNormalization",
                &["x", "s"],
                &["y"],
                &[("axis", Attr::Int(axis))],
            )
            .output("y")
            .bytes()
    };
    together(&norm(1), &[3, 4]);
    // From axis 0 on, it normalises over everything.
    one_by_one(&norm(0), &[3, 4], "it mixes along axis 0");
    let sum = |axis: i64| {
        net(&[1, 3, 4])
            .integers("axis", &[axis])
            .node("CumSum", &["x", "axis"], &["y"], &[])
            .output("y")
            .bytes()
    };
    together(&sum(1), &[3, 4]);
    one_by_one(&sum(0), &[3, 4], "it mixes along axis 0");
    let top = net(&[1, 3, 4])
        .integers("k", &[2])
        .node("TopK", &["x", "k"], &["y", "i"], &[])
        .output("y")
        .bytes();
    together(&top, &[3, 4]);
}

#[test]
fn constants_broadcast_over_samples() {
    for shape in [&[1, 3, 4][..], &[3, 1], &[4], &[1]] {
        let bytes = net(&[1, 3, 4])
            .weight("c", shape)
            .node("Mul", &["x", "c"], &["a"], &[])
            .node("Sub", &["a", "x"], &["y"], &[])
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 0);
    }
    let bytes = net(&[1, 3, 4])
        .weight("c", &[2, 3, 4])
        .node("Mul", &["x", "c"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(
        &bytes,
        &[3, 4],
        "a constant differs along the axis of the samples",
    );
    // [1, 3, 3] and [3, 1, 3]: one has the samples along the first axis, the other along the second.
    let bytes = net(&[1, 3, 3])
        .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
        .node("Add", &["x", "t"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 3], "along different axes");
}

#[test]
fn matrices_are_multiplied_for_each_sample() {
    for (left, right, shape) in [
        ("x", "w", &[4, 2][..]),
        ("w", "x", &[2, 3]),
        ("w", "x", &[1, 2, 3]),
        ("x", "w", &[4]),
        ("w", "x", &[3]),
        ("x", "t", &[1]),
    ] {
        let bytes = net(&[1, 3, 4])
            .weight("w", shape)
            .node("Transpose", &["x"], &["t"], &[("perm", ints(&[0, 2, 1]))])
            .node("MatMul", &[left, right], &["y"], &[])
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 0);
    }
    let turned = |op: &str, left: &str, right: &str, shape: &[i64], perm: &[i64]| {
        net(&[1, 3])
            .weight("w", shape)
            .node("Transpose", &["x"], &["t"], &[("perm", ints(perm))])
            .node(op, &[left, right], &["y"], &[])
            .output("y")
            .bytes()
    };
    // [3, 1] times [1, 2] sums over the samples.
    let summed = "it sums over the axis of the samples";
    one_by_one(&turned("MatMul", "t", "w", &[1, 2], &[1, 0]), &[3], summed);
    one_by_one(&turned("MatMul", "w", "x", &[2, 1], &[1, 0]), &[3], summed);
    one_by_one(&turned("MatMul", "t", "w", &[1], &[1, 0]), &[3], summed);
    one_by_one(&turned("Gemm", "t", "w", &[1, 2], &[1, 0]), &[3], summed);
    // [3, 1] multiplied from the left by a constant keeps the samples as columns.
    together(&turned("MatMul", "w", "t", &[2, 3], &[1, 0]), &[3]);
    let bytes = net(&[1, 3, 4])
        .weight("w", &[2, 4, 5])
        .node("MatMul", &["x", "w"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(
        &bytes,
        &[3, 4],
        "a constant matrix differs along the axis of the samples",
    );
    for (transposed, bias) in [(0, &[1, 2][..]), (1, &[2])] {
        let perm = if transposed == 1 { [1, 0] } else { [0, 1] };
        let bytes = net(&[1, 3])
            .weight("w", &[3, 2])
            .weight("b", bias)
            .node("Transpose", &["x"], &["t"], &[("perm", ints(&perm))])
            .node(
                "Gemm",
                &["t", "w", "b"],
                &["y"],
                &[("transA", Attr::Int(transposed))],
            )
            .output("y")
            .bytes();
        together(&bytes, &[3]);
    }
}

#[test]
fn einsum_keeps_the_index_of_the_samples() {
    let einsum = |equation: &'static str, second: &str, shape: &[i64]| {
        net(&[1, 3, 4])
            .weight("w", shape)
            .node(
                "Einsum",
                &["x", second],
                &["y"],
                &[("equation", Attr::Text(equation))],
            )
            .output("y")
            .bytes()
    };
    for (equation, second, shape) in [
        ("bij,jk->bik", "w", &[4, 2][..]),
        ("bij,jk->kib", "w", &[4, 2]),
        ("bij,bkj->bik", "x", &[1]),
        ("bij,ij", "w", &[3, 4]),
        ("bij,bij->b", "x", &[1]),
        ("...ij,jk->...ik", "w", &[4, 2]),
        ("bij,bjk->bik", "w", &[1, 4, 2]),
    ] {
        assert_eq!(together(&einsum(equation, second, shape), &[3, 4]), 0);
    }
    let refused = |equation, second, shape: &[i64], why: &str| {
        one_by_one(&einsum(equation, second, shape), &[3, 4], why);
    };
    refused(
        "bij,jk->ik",
        "w",
        &[4, 2],
        "it sums over the axis of the samples",
    );
    refused("bij,aij->ij", "x", &[1], "along different indices");
    refused("bij,bjk->bik", "w", &[2, 4, 2], "a constant differs");
}

#[test]
fn samples_follow_transposes_and_reshapes() {
    // Attention with the sequence first: [T, 1, D] becomes [T, D], then [T, 1, D] again; the heads are split off D and
    // put on the sample axis, and back.
    let perm = |list: &[i64]| [("perm", ints(list))];
    let bytes = net(&[1, 3, 4])
        .weight("w", &[4, 4])
        .weight("v", &[4, 2])
        .integers("rows", &[3, 4])
        .integers("sequence", &[3, 1, 4])
        .integers("heads", &[3, 2, 2])
        .node("Transpose", &["x"], &["a"], &perm(&[1, 0, 2]))
        .node("Reshape", &["a", "rows"], &["b"], &[])
        .node("Gemm", &["b", "w"], &["c"], &[])
        .node("Reshape", &["c", "sequence"], &["d"], &[])
        .node("Reshape", &["d", "heads"], &["e"], &[])
        .node("Transpose", &["e"], &["q"], &perm(&[1, 0, 2]))
        .node("Transpose", &["e"], &["k"], &perm(&[1, 2, 0]))
        .node("MatMul", &["q", "k"], &["s"], &[])
        .node("Softmax", &["s"], &["p"], &[("axis", Attr::Int(-1))])
        .node("MatMul", &["p", "q"], &["f"], &[])
        .node("Transpose", &["f"], &["g"], &perm(&[1, 0, 2]))
        .node("Reshape", &["g", "rows"], &["h"], &[])
        .node("Gemm", &["h", "v"], &["y"], &[])
        .output("y")
        .bytes();
    assert_eq!(together(&bytes, &[3, 4]), 4);
    for (shape, order) in [
        (&[1, 12][..], &[0, 1, 2][..]),
        (&[0, -1], &[0, 1, 2]),
        (&[12], &[0, 1, 2]),
        (&[2, 2, 3], &[0, 1, 2]),
        (&[3, 4], &[1, 0, 2]),
        (&[-1, 2], &[1, 0, 2]),
        (&[3, 1, 2, 2], &[1, 2, 0]),
        (&[12], &[1, 2, 0]),
        (&[6, 2], &[1, 0, 2]),
    ] {
        let bytes = net(&[1, 3, 4])
            .integers("list", shape)
            .node("Transpose", &["x"], &["t"], &perm(order))
            .node("Reshape", &["t", "list"], &["y"], &[])
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 1, "{shape:?} {order:?}");
    }
    let bytes = net(&[1, 3, 4])
        .integers("list", &[2, 6])
        .node("Transpose", &["x"], &["t"], &perm(&[1, 0, 2]))
        .node("Reshape", &["t", "list"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 4], "it cuts across the samples");
}

#[test]
fn another_reading_of_a_reshape_is_tried() {
    // [3, 1, 4] to [3, 2, 2] might put heads on the sample axis; a constant with one value per head rules that out.
    let bytes = net(&[1, 3, 4])
        .weight("c", &[2, 2])
        .integers("heads", &[3, 2, 2])
        .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
        .node("Reshape", &["t", "heads"], &["h"], &[])
        .node("Add", &["h", "c"], &["y"], &[])
        .output("y")
        .bytes();
    assert_eq!(together(&bytes, &[3, 4]), 1);
    // If no reading works, the problem of the likeliest one is reported.
    let bytes = net(&[1, 3, 4])
        .weight("c", &[3, 2, 2])
        .integers("heads", &[3, 2, 2])
        .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
        .node("Reshape", &["t", "heads"], &["h"], &[])
        .node("Add", &["h", "c"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(
        &bytes,
        &[3, 4],
        "a constant differs along the axis of the samples",
    );
}

#[test]
fn samples_follow_flatten_squeeze_and_unsqueeze() {
    for axis in [0, 1, 2, 3] {
        let bytes = net(&[1, 3, 4])
            .node("Flatten", &["x"], &["y"], &[("axis", Attr::Int(axis))])
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 0);
        let bytes = net(&[1, 3, 4])
            .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
            .node("Flatten", &["t"], &["y"], &[("axis", Attr::Int(axis))])
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 0);
    }
    let bytes = net(&[1, 3, 4])
        .integers("front", &[0, 2])
        .node("Unsqueeze", &["x", "front"], &["a"], &[])
        .node("Softmax", &["a"], &["b"], &[])
        .node("Squeeze", &["b", "front"], &["y"], &[])
        .output("y")
        .bytes();
    together(&bytes, &[3, 4]);
    let squeezed = |axes: &[&str]| {
        net(&[1, 1, 4])
            .integers("zero", &[0])
            .node("Squeeze", axes, &["y"], &[])
            .output("y")
            .bytes()
    };
    one_by_one(
        &squeezed(&["x", "zero"]),
        &[1, 4],
        "it drops the axis of the samples",
    );
    one_by_one(&squeezed(&["x"]), &[1, 4], "it drops whatever has length 1");
}

#[test]
fn samples_follow_concat_slice_split_and_gather() {
    let bytes = net(&[1, 3, 4])
        .weight("token", &[1, 1, 4])
        .node("Concat", &["token", "x"], &["y"], &[("axis", Attr::Int(1))])
        .output("y")
        .bytes();
    assert_eq!(together(&bytes, &[3, 4]), 1);
    let bytes = net(&[1, 3, 4])
        .weight("token", &[1, 3, 4])
        .node("Concat", &["token", "x"], &["y"], &[("axis", Attr::Int(0))])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 4], "it joins along the axis of the samples");
    // With heads on the sample axis, the constant would have to be repeated in blocks.
    let bytes = net(&[1, 3, 4])
        .weight("token", &[3, 1])
        .integers("list", &[3, 4])
        .node("Reshape", &["x", "list"], &["r"], &[])
        .node("Concat", &["token", "r"], &["y"], &[("axis", Attr::Int(1))])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 4], "repeated in blocks");
    let sliced = |axis: i64, start: i64, end: i64| {
        net(&[1, 3, 4])
            .integers("start", &[start])
            .integers("end", &[end])
            .integers("axis", &[axis])
            .node("Slice", &["x", "start", "end", "axis"], &["y"], &[])
            .output("y")
            .bytes()
    };
    together(&sliced(1, 1, 3), &[3, 4]);
    together(&sliced(0, 0, i64::MAX), &[3, 4]);
    one_by_one(
        &sliced(0, 0, 1),
        &[3, 4],
        "it cuts along the axis of the samples",
    );
    for (axis, refused) in [(2, None), (0, Some("it splits along the axis"))] {
        let bytes = net(&[1, 3, 4])
            .integers("parts", if axis == 0 { &[1] } else { &[1, 3] })
            .node(
                "Split",
                &["x", "parts"],
                if axis == 0 { &["y"] } else { &["z", "y"] },
                &[("axis", Attr::Int(axis))],
            )
            .output("y")
            .bytes();
        match refused {
            None => assert_eq!(together(&bytes, &[3, 4]), 0),
            Some(why) => one_by_one(&bytes, &[3, 4], why),
        }
    }
    for (axis, refused) in [(2, None), (1, None), (0, Some("it picks along the axis"))] {
        let bytes = net(&[1, 3, 4])
            .integers("places", if axis == 0 { &[0] } else { &[2, 0] })
            .node(
                "Gather",
                &["x", "places"],
                &["y"],
                &[("axis", Attr::Int(axis))],
            )
            .output("y")
            .bytes();
        match refused {
            None => assert_eq!(together(&bytes, &[3, 4]), 0),
            Some(why) => one_by_one(&bytes, &[3, 4], why),
        }
    }
    // Rows of a table, selected by the sample.
    let bytes = net(&[1, 3])
        .weight("table", &[4, 2])
        .node("ArgMax", &["x"], &["i"], &[("axis", Attr::Int(1))])
        .node("Gather", &["table", "i"], &["y"], &[])
        .output("y")
        .bytes();
    together(&bytes, &[3]);
}

#[test]
fn samples_follow_pad_expand_tile_and_trilu() {
    let padded = |pads: &[i64]| {
        net(&[1, 3, 4])
            .integers("pads", pads)
            .node("Pad", &["x", "pads"], &["y"], &[])
            .output("y")
            .bytes()
    };
    together(&padded(&[0, 1, 0, 0, 0, 2]), &[3, 4]);
    one_by_one(
        &padded(&[1, 0, 0, 0, 0, 0]),
        &[3, 4],
        "it pads along the axis of the samples",
    );
    let changed = |op: &str, list: &[i64]| {
        net(&[1, 3, 1])
            .integers("list", list)
            .node(op, &["x", "list"], &["y"], &[])
            .output("y")
            .bytes()
    };
    assert_eq!(together(&changed("Expand", &[1, 3, 2]), &[3, 1]), 1);
    assert_eq!(together(&changed("Expand", &[3, 2]), &[3, 1]), 0);
    assert_eq!(together(&changed("Expand", &[2, 1, 3, 2]), &[3, 1]), 1);
    together(&changed("Tile", &[1, 2, 3]), &[3, 1]);
    let repeats = "it repeats along the axis of the samples";
    one_by_one(&changed("Expand", &[2, 3, 1]), &[3, 1], repeats);
    one_by_one(&changed("Tile", &[2, 1, 1]), &[3, 1], repeats);
    let triangle = |shape: &[i64]| {
        net(shape)
            .node("Trilu", &["x"], &["y"], &[])
            .output("y")
            .bytes()
    };
    together(&triangle(&[1, 3, 4]), &[3, 4]);
    one_by_one(
        &triangle(&[1, 4]),
        &[4],
        "it cuts along the axis of the samples",
    );
}

#[test]
fn reductions_must_not_cover_the_sample_axis() {
    for (axes, keep) in [(&[1][..], 0), (&[-1], 1), (&[1, 2], 0)] {
        let bytes = net(&[1, 3, 4])
            .integers("axes", axes)
            .node("Transpose", &["x"], &["t"], &[("perm", ints(&[0, 2, 1]))])
            .node(
                "ReduceMean",
                &["t", "axes"],
                &["y"],
                &[("keepdims", Attr::Int(keep))],
            )
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 0);
    }
    let bytes = net(&[1, 3, 4])
        .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
        .node(
            "ArgMax",
            &["t"],
            &["y"],
            &[("axis", Attr::Int(0)), ("keepdims", Attr::Int(0))],
        )
        .output("y")
        .bytes();
    together(&bytes, &[3, 4]);
    let bytes = net(&[1, 3, 4])
        .integers("axes", &[0])
        .node("ReduceMean", &["x", "axes"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 4], "it takes the samples together");
    let bytes = net(&[1, 3, 4])
        .node("ReduceMean", &["x"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 4], "it takes all elements together");
}

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

fn with(bytes: &[u8], change: impl FnOnce(&mut GraphProto)) -> Vec<u8> {
    let mut model = ModelProto::decode(bytes).unwrap();
    change(model.graph.as_mut().unwrap());
    model.encode_to_vec()
}

fn value(name: &str) -> ValueInfoProto {
    ValueInfoProto {
        name: name.into(),
        r#type: None,
    }
}

/// An `If` that chooses between two operators with these inputs.
fn branches(condition: &str, yes: (&str, &[&str]), no: (&str, &[&str])) -> NodeProto {
    let branch = |name: &str, (op, inputs): (&str, &[&str])| AttributeProto {
        name: name.into(),
        r#type: 5,
        g: Some(GraphProto {
            name: name.into(),
            node: vec![NodeProto {
                op_type: op.into(),
                input: inputs.iter().map(ToString::to_string).collect(),
                output: vec![format!("{name}_out")],
                ..Default::default()
            }],
            output: vec![value(&format!("{name}_out"))],
            ..Default::default()
        }),
        ..Default::default()
    };
    NodeProto {
        name: "choice".into(),
        op_type: "If".into(),
        input: vec![condition.into()],
        output: vec!["z".into()],
        attribute: vec![branch("then_branch", yes), branch("else_branch", no)],
        ..Default::default()
    }
}

/// A file that compares the length of an axis of `x` with 1, then runs `choice`, then a matrix product.
fn on_a_length(shape: &[i64], at: i64, choice: NodeProto) -> Vec<u8> {
    let bytes = net(shape)
        .weight("w", &[4, 2])
        .integers("at", &[at])
        .integers("one", &[1])
        .integers("axis", &[1])
        .node("Shape", &["x"], &["sizes"], &[])
        .node("Gather", &["sizes", "at"], &["length"], &[])
        .node("Equal", &["length", "one"], &["is_one"], &[])
        .node("MatMul", &["z", "w"], &["y"], &[])
        .output("y")
        .bytes();
    with(&bytes, |graph| graph.node.insert(3, choice))
}

#[test]
fn a_branch_chosen_by_a_length_is_inlined() {
    let choice = branches("is_one", ("Squeeze", &["x", "axis"]), ("Identity", &["x"]));
    let bytes = on_a_length(&[1, 1, 4], 1, choice.clone());
    assert_eq!(together(&bytes, &[1, 4]), 0);
    let bytes = on_a_length(&[1, 3, 4], 1, choice);
    assert_eq!(together(&bytes, &[3, 4]), 0);
    // If the condition depends on the number of samples, its value for one sample is used.
    let choice = branches("is_one", ("Add", &["x", "x"]), ("Identity", &["x"]));
    let bytes = on_a_length(&[0, 4], 0, choice);
    let model = model(&bytes, &[4]);
    assert_eq!(*model.batch_mode(), BatchMode::Open);
    let samples = numbers(SAMPLES * 4, 1.0);
    let scores = host(&model.scores(&query(&model, &samples)).unwrap());
    close(&scores, &alone(&bytes, &[4], &samples));
}

#[test]
fn a_nested_branch_chosen_by_a_length_is_inlined() {
    let inner = branches("is_one", ("Add", &["x", "x"]), ("Identity", &["x"]));
    let mut outer = branches("is_one", ("Identity", &["x"]), ("Identity", &["x"]));
    // The inner `If` has a length condition of its own.
    let then = outer.attribute[0].g.as_mut().unwrap();
    let asks = |op: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        ..Default::default()
    };
    let mut inner = inner;
    inner.input = vec!["again".into()];
    inner.output = vec!["then_branch_out".into()];
    for (i, a) in inner.attribute.iter_mut().enumerate() {
        let g = a.g.as_mut().unwrap();
        g.node[0].output = vec![format!("deep{i}")];
        g.output = vec![value(&format!("deep{i}"))];
    }
    then.node = vec![
        asks("Shape", &["x"], "sizes_again"),
        asks("Gather", &["sizes_again", "at"], "length_again"),
        asks("Equal", &["length_again", "one"], "again"),
        inner,
    ];
    let bytes = on_a_length(&[1, 1, 4], 1, outer);
    assert_eq!(together(&bytes, &[1, 4]), 0);
}

#[test]
fn a_branch_chosen_by_the_data_is_taken_sample_by_sample() {
    let bytes = net(&[1, 4])
        .weight("w", &[4, 2])
        .constant("zero", &[], &[0.0])
        .integers("first", &[0])
        .integers("axes", &[1])
        .node(
            "ReduceSum",
            &["x", "axes"],
            &["sum"],
            &[("keepdims", Attr::Int(0))],
        )
        .node("Greater", &["sum", "zero"], &["positive"], &[])
        .node("MatMul", &["z", "w"], &["y"], &[])
        .output("y")
        .bytes();
    let choice = branches("positive", ("Relu", &["x"]), ("Neg", &["x"]));
    let bytes = with(&bytes, |graph| graph.node.insert(2, choice));
    one_by_one(&bytes, &[4], "node `choice` (If): no rule");
}

/// A file for `[1, 4]` whose `If` tests whether a number that `nodes` compute on the host exceeds two.
fn on_a_count(nodes: impl FnOnce(OnnxWriter) -> OnnxWriter) -> Vec<u8> {
    let writer = net(&[1, 4])
        .constant("zero", &[], &[0.0])
        .weight("w", &[4, 2])
        .integers("two", &[2])
        .integers("all", &[0, 1])
        .integers("from", &[0])
        .node("Greater", &["x", "zero"], &["above"], &[])
        .node("NonZero", &["above"], &["places"], &[]);
    let bytes = nodes(writer)
        .node("Greater", &["count", "two"], &["many"], &[])
        .node("MatMul", &["z", "w"], &["y"], &[])
        .output("y")
        .bytes();
    let choice = branches("many", ("Relu", &["x"]), ("Neg", &["x"]));
    with(&bytes, |graph| {
        graph.node.insert(graph.node.len() - 1, choice);
    })
}

#[test]
fn a_condition_on_a_data_dependent_size_is_not_fixed() {
    let flag = [("keepdims", Attr::Int(0))];
    for bytes in [
        on_a_count(|w| w.node("Size", &["places"], &["count"], &[])),
        on_a_count(|w| w.node("ReduceSum", &["places", "all"], &["count"], &flag)),
        on_a_count(|w| {
            w.node("Add", &["places", "two"], &["more"], &[])
                .node("Shape", &["more"], &["sizes"], &[])
                .node("ReduceMax", &["sizes"], &["count"], &flag)
        }),
        on_a_count(|w| {
            // As many elements of `x` as come before its largest.
            w.node("ArgMax", &["x"], &["row"], &[("axis", Attr::Int(1))])
                .integers("flat", &[-1])
                .node("Reshape", &["row", "flat"], &["stop"], &[])
                .node("Reshape", &["x", "flat"], &["list"], &[])
                .node("Slice", &["list", "from", "stop"], &["part"], &[])
                .node("Size", &["part"], &["count"], &[])
        }),
    ] {
        let model = model(&bytes, &[4]);
        assert!(matches!(
            model.batch_mode(),
            BatchMode::Chunks { size: 1, .. }
        ));
        let samples = numbers(SAMPLES * 4, 1.0);
        let scores = host(&model.scores(&query(&model, &samples)).unwrap());
        close(&scores, &alone(&bytes, &[4], &samples));
    }
}
