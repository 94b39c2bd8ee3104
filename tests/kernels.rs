//! A Burn module's layers as a network of kernels: the same model, each row by itself.

use std::sync::Arc;

use proofmark::burn::module::{Module, ModuleMapper, Param};
use proofmark::burn::nn::conv::{Conv2d, Conv2dConfig};
use proofmark::burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use proofmark::burn::tensor::module::max_pool2d;
use proofmark::burn::tensor::ops::MaxPoolOptions;
use proofmark::burn::tensor::{Device, Tensor, activation};
use proofmark::domain::{Bounds, Epsilon, Kind, Modality, Norm};
use proofmark::kernels::{self, Block, Builder, Clamp, Map, Network, Window};
use proofmark::models::{GradientModel, Query};
use proofmark::threats::{Batch, host};
use proofmark::{BurnModel, Labels, RunPlan, ThreatPlan};

#[derive(Module, Debug)]
struct Net {
    first: Conv2d,
    norm: BatchNorm,
    second: Conv2d,
    head: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        // Weights by formula: no generator is asked.
        let conv = |from, to, stride: usize| {
            Conv2dConfig::new([from, to], [3, 3])
                .with_padding(PaddingConfig2d::Same)
                .with_stride([stride, stride])
                .init(device)
        };
        let mut norm = BatchNormConfig::new(20).init(device);
        norm.gamma = Scattered.map_float(norm.gamma);
        norm.beta = Scattered.map_float(norm.beta);
        Self {
            first: conv(3, 20, 1).map(&mut Scattered),
            norm,
            second: conv(20, 33, 2).map(&mut Scattered),
            head: LinearConfig::new(33 * 2 * 3, 5)
                .init(device)
                .map(&mut Scattered),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = activation::relu(self.norm.forward(self.first.forward(x)));
        let x = max_pool2d(x, MaxPoolOptions::new([2, 2]).with_stride([2, 2]));
        let x = activation::relu(self.second.forward(x));
        self.head.forward(x.flatten::<2>(1, 3))
    }

    fn compiled(&self) -> Arc<Network> {
        let mut net = Builder::new(Map::new(3, 8, 12)).expect("a shape");
        let x = net.conv2d(net.input(), &self.first).expect("a convolution");
        let x = net.batch_norm(x, &self.norm).expect("a norm");
        let x = net.clamp(x, Clamp::RELU);
        let mut window = Window::from([2, 2]);
        window.stride = [2, 2];
        let x = net.largest(x, window).expect("a pooling");
        let x = net.conv2d(x, &self.second).expect("a convolution");
        let x = net.clamp(x, Clamp::RELU);
        let y = net.linear(x, &self.head).expect("a dense layer");
        Arc::new(net.finish(y))
    }
}

/// Replaces every parameter by numbers that a formula gives.
struct Scattered;

impl ModuleMapper for Scattered {
    fn map_float<const D: usize>(&mut self, p: Param<Tensor<D>>) -> Param<Tensor<D>> {
        p.map(|t| {
            let shape = t.shape();
            let n = shape.num_elements();
            let values: Vec<f32> = (0..n)
                .map(|i| 0.4 * ((i as f64 * 0.618_033_988_749_894_9).fract() as f32 - 0.5))
                .collect();
            Tensor::<1>::from_data(values.as_slice(), &t.device()).reshape(shape)
        })
    }
}

fn modality() -> Modality {
    Modality {
        name: "image".into(),
        kind: Kind::Image,
        shape: vec![3, 8, 12],
        bounds: Bounds::uniform(0.0, 1.0).expect("bounds"),
    }
}

fn by_kernels(net: &Net, device: &Device) -> BurnModel {
    let network = net.compiled();
    let forward = move |x: &[Tensor<2>]| kernels::apply(&network, x[0].clone());
    let model = BurnModel::closure(vec![modality()], 5, device, forward).expect("a model");
    model.rows_independent().expect("rows are independent")
}

fn by_burn(net: &Net) -> BurnModel {
    let bounds = Bounds::uniform(0.0, 1.0).expect("bounds");
    BurnModel::images(net, [3, 8, 12], 5, bounds, Net::forward).expect("a model")
}

fn values(rows: usize) -> Vec<f32> {
    (0..rows * 3 * 8 * 12)
        .map(|i| ((i * i) as f64 * 0.324_717_957).fract() as f32)
        .collect()
}

fn asked(model: &BurnModel, device: &Device, rows: usize) -> (Vec<f32>, Vec<f32>) {
    let x = Batch::from_host([modality()].into(), vec![values(rows)], device).expect("a batch");
    let keys: Vec<u64> = (0..rows as u64).collect();
    let first = |scores: &Tensor<2>, _: &Batch| scores.clone().narrow(1, 0, 1).squeeze_dim::<1>(1);
    let answer = model
        .gradient(&Query::one_per_row(x, &keys), &first)
        .expect("an answer");
    (host(&answer.scores), host(&answer.gradient.blocks()[0]))
}

#[test]
fn a_modules_layers_give_its_scores_and_gradients() {
    let device = proofmark::device("cpu").expect("a CPU");
    let net = Net::new(&device);
    let (kernels, burn) = (
        asked(&by_kernels(&net, &device), &device, 6),
        asked(&by_burn(&net), &device, 6),
    );
    for (given, right) in [(kernels.0, burn.0), (kernels.1, burn.1)] {
        let most = right.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(most > 0.0, "{given:?} {right:?}");
        for (a, b) in given.iter().zip(&right) {
            assert!((a - b).abs() <= 1e-4 * most, "{a} by kernels, {b} by burn");
        }
    }
}

/// The same module with its convolutions as blocks.
#[derive(Module, Debug)]
struct Blocks {
    #[module(skip)]
    first: Block<4, 4>,
    #[module(skip)]
    second: Block<4, 4>,
    head: Linear,
}

impl Blocks {
    fn of(net: &Net) -> Self {
        let (own, plain) = (net.clone(), net.clone());
        let first = Block::new(
            move |net, x| {
                let x = net.conv2d(x, &own.first)?;
                let x = net.batch_norm(x, &own.norm)?;
                Ok(net.clamp(x, Clamp::RELU))
            },
            move |x| activation::relu(plain.norm.forward(plain.first.forward(x))),
        );
        let (own, plain) = (net.clone(), net.clone());
        let second = Block::new(
            move |net, x| {
                let x = net.conv2d(x, &own.second)?;
                Ok(net.clamp(x, Clamp::RELU))
            },
            move |x| activation::relu(plain.second.forward(x)),
        );
        Self {
            first,
            second,
            head: net.head.clone(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.first.forward(x);
        let x = max_pool2d(x, MaxPoolOptions::new([2, 2]).with_stride([2, 2]));
        self.head.forward(self.second.forward(x).flatten::<2>(1, 3))
    }
}

#[test]
fn blocks_inside_a_module_give_its_scores_and_gradients() {
    let device = proofmark::device("cpu").expect("a CPU");
    let net = Net::new(&device).valid();
    let bounds = Bounds::uniform(0.0, 1.0).expect("bounds");
    let blocks = BurnModel::images(&Blocks::of(&net), [3, 8, 12], 5, bounds, Blocks::forward);
    let blocks = asked(&blocks.expect("a model"), &device, 6);
    let burn = asked(&by_burn(&net), &device, 6);
    for (given, right) in [(blocks.0, burn.0), (blocks.1, burn.1)] {
        let most = right.iter().fold(0f32, |m, v| m.max(v.abs()));
        assert!(most > 0.0, "{given:?} {right:?}");
        for (a, b) in given.iter().zip(&right) {
            assert!((a - b).abs() <= 1e-4 * most, "{a} by blocks, {b} by burn");
        }
    }
}

#[test]
#[should_panic(expected = "the kernels of a block compute")]
fn a_block_whose_forms_differ_is_refused() {
    let device = proofmark::device("cpu").expect("a CPU");
    let net = Net::new(&device).valid();
    let plain = net.clone();
    let block = Block::new(
        move |net_, x| net_.conv2d(x, &net.first),
        move |x: Tensor<4>| activation::relu(plain.first.forward(x)),
    );
    let _ = block.forward(Tensor::<4>::ones([2, 3, 8, 12], &device));
}

/// A blank image says nothing about weights, and a bias is not all of a convolution.
#[test]
#[should_panic(expected = "the kernels of a block compute")]
fn a_block_is_compared_on_more_than_the_rows_it_is_given() {
    let device = proofmark::device("cpu").expect("a CPU");
    let net = Net::new(&device).valid();
    let mut other = net.first.clone();
    other.weight = other.weight.map(|w| w * 2.0);
    let block = Block::new(
        move |kernels, x| kernels.conv2d(x, &net.first),
        move |x: Tensor<4>| other.forward(x),
    );
    let _ = block.forward(Tensor::<4>::zeros([2, 3, 8, 12], &device));
}

/// As many values along other axes are other values.
#[test]
#[should_panic(expected = "values of shape [1, 3, 96], its plain form [1, 8, 36]")]
fn a_block_whose_forms_have_other_axes_is_refused() {
    let device = proofmark::device("cpu").expect("a CPU");
    let block = Block::new(
        |kernels, x| Ok(kernels.clamp(x, Clamp::RELU)),
        |x: Tensor<4>| activation::relu(x).reshape([1, 8, 36]),
    );
    let _ = block.forward(Tensor::<4>::zeros([1, 3, 8, 12], &device));
}

#[test]
#[should_panic(expected = "on rows of shape [3, 8, 12]: dense: 5 weights")]
fn operations_that_do_not_fit_are_no_reason_to_go_on_without_kernels() {
    let device = proofmark::device("cpu").expect("a CPU");
    let block = Block::new(
        |kernels, x| kernels.dense(x, vec![1.0; 5], vec![]),
        |x: Tensor<4>| x.flatten::<2>(1, 3),
    );
    let _ = block.forward(Tensor::<4>::zeros([1, 3, 8, 12], &device));
}

#[test]
fn rows_that_lean_on_each_other_are_not_stated_independent() {
    let device = proofmark::device("cpu").expect("a CPU");
    let leaning = |x: &[Tensor<2>]| {
        let x = x[0].clone().narrow(1, 0, 5);
        x.clone() - x.mean_dim(0)
    };
    let model = BurnModel::closure(vec![modality()], 5, &device, leaning).expect("a model");
    let problem = model
        .rows_independent()
        .expect_err("rows share a mean")
        .to_string();
    assert!(problem.contains("other bits than alone"), "{problem}");
}

/// What is left of a batch is computed without padding.
#[test]
fn nothing_is_padded_for_independent_rows() {
    let device = proofmark::device("cpu").expect("a CPU");
    let set = proofmark::open("digits").expect("the shipped digits");
    let set = set.range(0..13).expect("13 samples");
    let modality = set.modalities[0].modality.clone();
    let features = modality.features();
    let mut net = Builder::new(Map::new(features, 1, 1)).expect("a shape");
    let weights = (0..10 * features).map(|i| ((i * i) as f64 * 0.324_717_957).fract() as f32 - 0.5);
    let y = net
        .dense(net.input(), weights.collect(), vec![])
        .expect("a dense layer");
    let network = Arc::new(net.finish(y));
    let forward = move |x: &[Tensor<2>]| kernels::apply(&network, x[0].clone());
    let model = BurnModel::closure(vec![modality], 10, &device, forward).expect("a model");
    let model = model.rows_independent().expect("rows are independent");
    let table = "steps = 7\nrestarts = 1".parse().expect("TOML");
    let attacks = vec![proofmark::attacks::build("pgd", &table).expect("pgd")];
    let budget = ThreatPlan::new(Norm::Linf, Epsilon::new(1e-6).expect("above 0"));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .expect("threads");
    let report = pool.install(|| {
        let mut plan = RunPlan::new(&model, &set, &attacks, vec![budget]);
        plan.labels = Labels::Predicted;
        plan.settings.trust = false;
        plan.run().expect("a run").report
    });
    assert_eq!(report.attacks[0].correct, 13);
    // Seven steps, and the judge's look at what they came to.
    assert_eq!((report.tile, report.attacks[0].cost.computed), (1, 13 * 8));
}
