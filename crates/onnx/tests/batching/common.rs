//! Shared helpers: small files, models of them, and assertions on how their samples run.

use burn::tensor::Device;
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_model::{Query, ScoreModel};
use proofmark_onnx::writer::{Attr, OnnxWriter};
use proofmark_onnx::{Array, BatchMode, OnnxFile, OnnxModel, OnnxOptions, Session};
use proofmark_threat::{Batch, host};

pub(crate) const SAMPLES: usize = 5;

/// Returns evenly spread numbers in [-1, 1).
pub(crate) fn numbers(n: usize, salt: f64) -> Vec<f32> {
    (0..n)
        .map(|i| (2.0 * ((i as f64 + salt) * 0.618_033_988_749_894_9).fract() - 1.0) as f32)
        .collect()
}

fn weights(shape: &[i64]) -> Vec<f32> {
    numbers(shape.iter().product::<i64>() as usize, 0.3)
}

/// A file with the input `x`; the caller adds the nodes.
pub(crate) fn net(shape: &[i64]) -> OnnxWriter {
    OnnxWriter::new(18).input("x", shape)
}

pub(crate) trait More {
    /// Adds a constant of spread numbers.
    fn weight(self, name: &str, shape: &[i64]) -> Self;
}

impl More for OnnxWriter {
    fn weight(self, name: &str, shape: &[i64]) -> Self {
        self.constant(name, shape, &weights(shape))
    }
}

pub(crate) fn file(bytes: &[u8]) -> OnnxFile {
    OnnxFile::decode("net.onnx", bytes.to_vec(), None).unwrap()
}

pub(crate) fn model(bytes: &[u8], shape: &[usize]) -> OnnxModel {
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

pub(crate) fn query(model: &OnnxModel, samples: &[f32]) -> Query {
    let own = proofmark_model::DecisionModel::signature(model)
        .modalities
        .clone();
    let rows = samples.len() / own[0].features();
    let x = Batch::from_host(own, vec![samples.to_vec()], &Device::flex()).unwrap();
    let keys: Vec<u64> = (0..rows as u64).collect();
    Query::one_per_row(x, &keys)
}

pub(crate) fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() < 1e-5, "{a:?}\n{b:?}");
    }
}

/// Returns the file's output on each sample run alone, concatenated.
pub(crate) fn alone(bytes: &[u8], shape: &[usize], samples: &[f32]) -> Vec<f32> {
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
pub(crate) fn together(bytes: &[u8], shape: &[usize]) -> usize {
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
pub(crate) fn one_by_one(bytes: &[u8], shape: &[usize], reason: &str) {
    let model = model(bytes, shape);
    let BatchMode::Chunks { size: 1, why } = model.batch_mode() else {
        panic!("{}", model.batch_mode());
    };
    assert!(why.contains(reason), "{why}; expected: {reason}");
    let samples = numbers(SAMPLES * shape.iter().product::<usize>(), 1.0);
    let scores = host(&model.scores(&query(&model, &samples)).unwrap());
    close(&scores, &alone(bytes, shape, &samples));
}

pub(crate) fn ints(list: &[i64]) -> Attr {
    Attr::Ints(list.to_vec())
}
