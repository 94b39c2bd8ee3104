//! Compares an ONNX file, by kernels and operator by operator, with the same network written by hand in Burn, forward and
//! forward with backward, side by side in one run; and measures what the interpreter adds per node.
//!
//! ```text
//! cargo bench -p proofmark --bench onnx
//! ```

mod cnn;

use std::hint::black_box;

use cnn::Cnn;
use criterion::{Criterion, criterion_group, criterion_main};
use proofmark::BurnModel;
use proofmark::burn::tensor::{Device, Tensor, activation};
use proofmark::domain::{Bounds, Kind, Modality};
use proofmark::models::{GradientModel, Query, ScoreModel};
use proofmark::onnx::writer::{Attr, OnnxWriter};
use proofmark::onnx::{OnnxFile, OnnxModel, OnnxOptions};
use proofmark::threats::{Batch, host};

const ROWS: usize = 64;
const FEATURES: usize = 3 * 32 * 32;
/// Number of nodes in the chain that measures the interpreter's own cost.
const CHAIN: usize = 1000;

impl Cnn {
    /// Writes the same network as an ONNX file, as `PyTorch` would export it.
    fn onnx(&self) -> Vec<u8> {
        fn values<const D: usize>(t: Tensor<D>) -> (Vec<i64>, Vec<f32>) {
            let shape = t.dims().iter().map(|d| *d as i64).collect();
            (shape, t.into_data().try_to_vec::<f32>().expect("f32"))
        }
        let mut file = OnnxWriter::new(17).input("x", &[0, 3, 32, 32]);
        let mut last = "x".to_owned();
        for (i, conv) in self.convs.iter().enumerate() {
            let (shape, w) = values(conv.weight.val());
            let (bias_shape, b) = values(conv.bias.as_ref().expect("a bias").val());
            let (weight, bias) = (format!("w{i}"), format!("b{i}"));
            let (conv, relu, pool) = (format!("conv{i}"), format!("relu{i}"), format!("pool{i}"));
            file = file
                .constant(&weight, &shape, &w)
                .constant(&bias, &bias_shape, &b)
                .node(
                    "Conv",
                    &[&last, &weight, &bias],
                    &[&conv],
                    &[
                        ("kernel_shape", Attr::Ints(vec![3, 3])),
                        ("pads", Attr::Ints(vec![1; 4])),
                    ],
                )
                .node("Relu", &[&conv], &[&relu], &[]);
            last = relu;
            if i % 2 == 1 {
                let two = || Attr::Ints(vec![2, 2]);
                let attributes = [("kernel_shape", two()), ("strides", two())];
                file = file.node("MaxPool", &[&last], &[&pool], &attributes);
                last = pool;
            }
        }
        file = file.node("Flatten", &[&last], &["flat"], &[]);
        for (linear, from, to) in [(&self.hidden, "flat", "h"), (&self.out, "relu", "y")] {
            // Burn stores [in, out], PyTorch exports [out, in].
            let (shape, w) = values(linear.weight.val().transpose());
            let (bias_shape, b) = values(linear.bias.as_ref().expect("a bias").val());
            let (weight, bias) = (format!("w_{to}"), format!("b_{to}"));
            file = file
                .constant(&weight, &shape, &w)
                .constant(&bias, &bias_shape, &b)
                .node(
                    "Gemm",
                    &[from, &weight, &bias],
                    &[to],
                    &[("transB", Attr::Int(1))],
                );
            if to == "h" {
                file = file.node("Relu", &["h"], &["relu"], &[]);
            }
        }
        file.output("y").bytes()
    }
}

fn by_operator() -> OnnxOptions {
    let mut options = OnnxOptions::default();
    options.by_operator = true;
    options
}

fn images() -> Modality {
    Modality {
        name: "x".into(),
        kind: Kind::Image,
        shape: vec![3, 32, 32],
        bounds: Bounds::uniform(0.0, 1.0).expect("0 is below 1"),
    }
}

fn query(device: &Device) -> Query {
    let values = (0..ROWS * FEATURES)
        .map(|i| (i % 251) as f32 / 250.0)
        .collect();
    let x = Batch::from_host(vec![images()].into(), vec![values], device).expect("a batch");
    let keys: Vec<u64> = (0..ROWS as u64).collect();
    Query::one_per_row(x, &keys)
}

fn networks(c: &mut Criterion) {
    let device = Device::flex();
    let net = Cnn::new(&device);
    let file = || OnnxFile::decode("cnn.onnx", net.onnx(), None).expect("a file");
    let by_kernels = OnnxModel::new(file(), &[images()], &OnnxOptions::default(), &device);
    let by_kernels = by_kernels.expect("a model");
    by_kernels.plan().expect("kernels compute it");
    let by_file = OnnxModel::new(file(), &[images()], &by_operator(), &device).expect("a model");
    let by_hand =
        BurnModel::images(&net, [3, 32, 32], 10, images().bounds, Cnn::forward).expect("a model");
    let query = query(&device);
    let b = host(&by_hand.scores(&query).expect("scores"));
    for model in [&by_kernels, &by_file] {
        let a = host(&model.scores(&query).expect("scores"));
        assert!(
            a.iter().zip(&b).all(|(x, y)| (x - y).abs() < 1e-4),
            "all are the same network"
        );
    }

    let mut group = c.benchmark_group("cnn-batch-64");
    group.sample_size(20);
    group.bench_function("forward/burn", |b| {
        b.iter(|| black_box(by_hand.scores(&query)));
    });
    group.bench_function("forward/operators", |b| {
        b.iter(|| black_box(by_file.scores(&query)));
    });
    group.bench_function("forward/kernels", |b| {
        b.iter(|| black_box(by_kernels.scores(&query)));
    });
    let sum = |scores: &Tensor<2>, _: &Batch| scores.clone().sum_dim(1).squeeze_dim(1);
    group.bench_function("gradient/burn", |b| {
        b.iter(|| black_box(by_hand.gradient(&query, &sum)));
    });
    group.bench_function("gradient/operators", |b| {
        b.iter(|| black_box(by_file.gradient(&query, &sum)));
    });
    group.bench_function("gradient/kernels", |b| {
        b.iter(|| black_box(by_kernels.gradient(&query, &sum)));
    });
    group.finish();
}

/// Times a chain of nodes on four numbers: with almost no arithmetic, the time is the interpreter's.
fn nodes(c: &mut Criterion) {
    let device = Device::flex();
    let mut file = OnnxWriter::new(17).input("v0", &[0, 4]);
    for i in 0..CHAIN {
        let (from, to) = (format!("v{i}"), format!("v{}", i + 1));
        file = file.node("Relu", &[&from], &[&to], &[]);
    }
    let bytes = file.output(&format!("v{CHAIN}")).bytes();
    let table = Modality {
        name: "v0".into(),
        kind: Kind::Table,
        shape: vec![4],
        bounds: images().bounds,
    };
    let file = OnnxFile::decode("chain.onnx", bytes, None).expect("a file");
    let model = OnnxModel::new(file, std::slice::from_ref(&table), &by_operator(), &device)
        .expect("a model");
    let x = Batch::from_host(vec![table].into(), vec![vec![0.5; 4]], &device).expect("a batch");
    let query = Query::one_per_row(x, &[0]);
    let mut group = c.benchmark_group("chain-1000");
    group.bench_function("direct", |b| {
        b.iter(|| {
            let mut x = query.x.blocks()[0].clone();
            for _ in 0..CHAIN {
                x = activation::relu(x);
            }
            black_box(x)
        });
    });
    group.bench_function("onnx", |b| b.iter(|| black_box(model.scores(&query))));
    group.finish();
}

criterion_group!(benches, networks, nodes);
criterion_main!(benches);
