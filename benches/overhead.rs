//! Measures the engine's overhead: one PGD step against one bare forward and backward of the model, on a
//! four-convolution CNN at batch 64, side by side in one run. Also measures the cost of tiles.
//!
//! ```text
//! cargo bench -p proofmark --bench overhead
//! ```

mod cnn;

use std::hint::black_box;

use cnn::Cnn;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use proofmark::BurnModel;
use proofmark::attacks;
use proofmark::burn::tensor::{Device, Tensor};
use proofmark::domain::{Bounds, Epsilon, Norm, Seed};
use proofmark::engine::{Access, Job, Samples, Silent, predict};
use proofmark::models::{DecisionModel, GradientModel, Query, ScoreModel};
use proofmark::threats::{Batch, Threat, host};

const ROWS: usize = 64;
const STEPS: usize = 10;
const FEATURES: usize = 3 * 32 * 32;

fn model() -> BurnModel {
    let net = Cnn::new(&Device::flex());
    BurnModel::images(
        &net,
        [3, 32, 32],
        10,
        Bounds::uniform(0.0, 1.0).expect("0 is below 1"),
        Cnn::forward,
    )
    .expect("a model")
}

/// Returns random images labelled with the model's own predictions: at a tiny budget no row breaks, so every row runs
/// all steps.
fn samples(model: &BurnModel) -> Samples {
    use proofmark::engine::random::{Purpose, Stream, StreamKey};
    let mut stream = Stream::new(&StreamKey::new(Seed(1), 0, Purpose::Data));
    let values: Vec<f32> = (0..ROWS * FEATURES).map(|_| stream.uniform()).collect();
    let signature = DecisionModel::signature(model);
    let x = Batch::from_host(
        signature.modalities.clone(),
        vec![values.clone()],
        &signature.device,
    )
    .expect("a batch");
    let keys: Vec<u64> = (0..ROWS as u64).collect();
    let scores = host(&model.scores(&Query::one_per_row(x, &keys)).expect("scores"));
    let labels = scores
        .chunks(10)
        .map(|s| predict(s).expect("finite"))
        .collect();
    Samples {
        modalities: signature.modalities.clone(),
        values: vec![values],
        labels,
        targets: None,
        keys,
    }
}

fn overhead(c: &mut Criterion) {
    let model = model();
    let samples = samples(&model);
    let rows: Vec<usize> = (0..ROWS).collect();
    let signature = DecisionModel::signature(&model);
    let x = Batch::from_host(
        signature.modalities.clone(),
        samples.values.clone(),
        &signature.device,
    )
    .expect("a batch");
    let query = Query::one_per_row(x, &samples.keys);

    let mut group = c.benchmark_group("cnn-batch-64");
    group.sample_size(10);
    // Ten bare forwards and backwards and one forward: the model calls of ten steps and their judging.
    group.bench_function("model-alone", |b| {
        b.iter(|| {
            for _ in 0..STEPS {
                let sum = |s: &Tensor<2>, _: &Batch| s.clone().sum_dim(1).squeeze_dim::<1>(1);
                black_box(host(
                    &model
                        .gradient(&query, &sum)
                        .expect("a gradient")
                        .gradient
                        .blocks()[0],
                ));
            }
            black_box(host(&model.scores(&query).expect("scores")));
        });
    });
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let threat = Threat::uniform(
            &samples.modalities,
            norm,
            &Epsilon::new(1e-6).expect("positive"),
        );
        let table = format!("steps = {STEPS}\nrestarts = 1")
            .parse()
            .expect("a table");
        let pgd = attacks::build("pgd", &table).expect("an attack");
        let mut job = Job::new(&samples, &rows, &threat, &Silent);
        job.tile = Some(ROWS);
        group.bench_function(BenchmarkId::new("pgd-10", norm), |b| {
            b.iter(|| black_box(pgd.run(Access::Gradients(&model), &job).expect("a run")));
        });
    }
    group.finish();

    let mut group = c.benchmark_group("tile");
    group.sample_size(10);
    let threat = Threat::uniform(
        &samples.modalities,
        Norm::Linf,
        &Epsilon::new(1e-6).expect("positive"),
    );
    let bim = attacks::build("bim", &"steps = 3".parse().expect("a table")).expect("an attack");
    for tile in [8, 16, 32, 64] {
        let mut job = Job::new(&samples, &rows, &threat, &Silent);
        job.tile = Some(tile);
        group.bench_function(BenchmarkId::from_parameter(tile), |b| {
            b.iter(|| black_box(bim.run(Access::Gradients(&model), &job).expect("a run")));
        });
    }
    group.finish();
}

criterion_group!(benches, overhead);
criterion_main!(benches);
