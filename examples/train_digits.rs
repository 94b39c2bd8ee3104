//! Trains the two shipped models, `digits-standard` and `digits-robust`, from a seed.
//!
//! ```text
//! cargo run -p proofmark --example train_digits -- OUT_DIR [--seed N]
//! ```
//!
//! Writes `digits-standard.safetensors` and `digits-robust.safetensors` into `OUT_DIR` and prints the accuracy of both
//! on the test split under attack. Takes about four minutes on two cores. Every random number is counter-based and
//! keyed by its purpose: seed 1 gives the shipped weights, bit for bit on the same kind of processor and for any number
//! of threads (the files may differ in the order of their header's metadata).
//!
//! Both models have the same net, data, augmentation, optimiser and number of epochs. The robust one replaces every
//! training image by the worst one that projected gradient descent finds within [`EPS`] of it (Madry et al., "Towards
//! Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018).

// An example talks to whoever runs it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::f64::consts::PI;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use proofmark::shipped::{self, DigitsNet};
use proofmark_data::{Dataset, Options};
use proofmark_domain::{Epsilon, Norm, RunStatus, Seed};
use proofmark_engine::{Access, Job, Samples, Silent, preflight};
use proofmark_model::{BurnModel, DecisionModel, save_weights};
use proofmark_stats::clopper_pearson;
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};
use proofmark_threat::{Threat, host};

/// Linf budget of training and evaluation, in units of `[0, 1]`: 2.4 of the digits' 16 grey levels. At 0.1 the standard
/// model still keeps 36 % of the samples, too many to show the effect of the training.
const EPS: f32 = 0.15;

const SIDE: usize = 8;
const PIXELS: usize = SIDE * SIDE;
const CLASSES: usize = 10;

/// Training parameters of a model.
struct Recipe {
    /// Shipped name; names the file and keys the model's random numbers.
    name: &'static str,
    /// Passes over the training images.
    epochs: u32,
    /// Images per step.
    batch: usize,
    /// Maximum learning rate of Adam; it falls to 0 along a cosine.
    rate: f64,
    /// Steps of the attack on each training image, each `2.5 * eps / steps` long; 0 trains on the image itself.
    steps: u32,
    /// Epochs over which the budget grows from 0 to [`EPS`]: a net that starts at the full budget may get stuck at
    /// "every class is equally likely".
    ramp: u32,
}

const STANDARD: Recipe = Recipe {
    name: shipped::NAMES[0],
    epochs: 200,
    batch: 64,
    rate: 2e-3,
    steps: 0,
    ramp: 1,
};

const ROBUST: Recipe = Recipe {
    name: shipped::NAMES[1],
    epochs: 200,
    batch: 64,
    rate: 2e-3,
    steps: 10,
    ramp: 10,
};

/// Share of the running average of the weights that is kept in a step; the average is shipped.
const KEEP: f32 = 0.995;

fn main() -> ExitCode {
    let Some((out, seed)) = arguments() else {
        eprintln!("usage: train_digits OUT_DIR [--seed N]");
        return ExitCode::from(2);
    };
    match run(&out, seed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Option<(PathBuf, Seed)> {
    let (mut out, mut seed) = (None, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--seed" {
            seed = arguments.next()?.parse().ok()?;
        } else if argument.starts_with('-') || out.replace(argument.into()).is_some() {
            return None;
        }
    }
    Some((out?, Seed(seed)))
}

fn run(out: &Path, seed: Seed) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(out)?;
    let device = Device::flex();
    let train = proofmark_data::open("digits:train", &Options::default())?;
    let test = proofmark_data::open("digits", &Options::default())?;
    for recipe in [STANDARD, ROBUST] {
        let net = fit(&recipe, &train, seed, &device)?;
        let model = shipped::wrap(&net, recipe.name)?;
        println!("{}, sha256 {}", recipe.name, model.signature().sha256);
        save_weights(&net, &out.join(format!("{}.safetensors", recipe.name)))?;
        measure(&model, &test)?;
    }
    Ok(())
}

/// Trains a net by `recipe` and returns the running average of its weights, untracked.
fn fit(
    recipe: &Recipe,
    data: &Dataset,
    seed: Seed,
    device: &Device,
) -> Result<DigitsNet, Box<dyn Error>> {
    let labels = data
        .labels
        .as_deref()
        .ok_or("the training set has no labels")?;
    let key = |sample, step, purpose| StreamKey {
        attack: attack_code(recipe.name),
        step,
        ..StreamKey::new(seed, sample, purpose)
    };
    let mut net = started(DigitsNet::new(&device.clone().autodiff()), |at| {
        Stream::new(&key(at, 0, Purpose::Data))
    });
    let mut average = weights(&net);
    let mut optimiser = AdamConfig::new().init();
    let per_epoch = data.len().div_ceil(recipe.batch);
    let steps = (recipe.epochs as usize * per_epoch) as f64;
    let mut step = 0.0;
    for epoch in 0..recipe.epochs {
        let mut order: Vec<usize> = (0..data.len()).collect();
        let mut shuffle = Stream::new(&key(0, epoch, Purpose::Subset));
        for last in (1..order.len()).rev() {
            order.swap(last, shuffle.below(last as u32 + 1) as usize);
        }
        let budget = EPS * ((epoch + 1) as f32 / recipe.ramp as f32).min(1.0);
        let mut total = 0.0;
        for rows in order.chunks(recipe.batch) {
            let mut images = Vec::with_capacity(rows.len() * PIXELS);
            let mut noise = Vec::with_capacity(rows.len() * PIXELS);
            for row in rows {
                let image: Vec<f32> = data.modalities[0].values.row(*row).to_vec();
                let mut transform = Stream::new(&key(*row as u64, epoch, Purpose::Transform));
                images.extend(shifted(&image, &mut transform));
                let mut start = Stream::new(&key(*row as u64, epoch, Purpose::Start));
                noise.extend((0..PIXELS).map(|_| 2.0 * start.uniform() - 1.0));
            }
            let shape = [rows.len(), 1, SIDE, SIDE];
            let mut x = Tensor::<4>::from_data(TensorData::new(images, shape), device);
            let wanted = one_hot(rows.iter().map(|row| labels[*row]), device);
            if recipe.steps > 0 {
                let noise = Tensor::<4>::from_data(TensorData::new(noise, shape), device);
                x = worst(&net.valid(), &x, noise, &wanted, budget, recipe.steps);
            }
            let loss = cross_entropy(net.forward(x.autodiff()), wanted.autodiff()).mean();
            total += f64::from(host(&loss.clone().inner())[0]);
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            let rate = recipe.rate * 0.5 * (1.0 + (PI * step / steps).cos());
            net = optimiser.step(rate, net, gradients);
            // Early on, the average must forget its start faster than it does later.
            let keep = KEEP.min(((1.0 + step) / (10.0 + step)) as f32);
            for (a, w) in average
                .iter_mut()
                .flatten()
                .zip(weights(&net).iter().flatten())
            {
                *a = keep * *a + (1.0 - keep) * w;
            }
            step += 1.0;
        }
        if (epoch + 1) % 20 == 0 {
            let loss = total / per_epoch as f64;
            println!("{}: epoch {}, loss {loss:.4}", recipe.name, epoch + 1);
        }
    }
    Ok(with_weights(net.valid(), average))
}

/// Returns images `[n, 1, 8, 8]` near `clean` (Linf at most `eps`, values in `[0, 1]`) with the highest loss that
/// `steps` projected gradient steps from `clean + eps * noise` reach.
fn worst(
    net: &DigitsNet,
    clean: &Tensor<4>,
    noise: Tensor<4>,
    wanted: &Tensor<2>,
    eps: f32,
    steps: u32,
) -> Tensor<4> {
    let low = (clean.clone() - eps).clamp_min(0.0);
    let high = (clean.clone() + eps).clamp_max(1.0);
    let inside = |x: Tensor<4>| x.max_pair(low.clone()).min_pair(high.clone());
    let step = 2.5 * eps / steps as f32;
    let mut x = inside(clean.clone() + noise * eps);
    for _ in 0..steps {
        let tracked = x.clone().autodiff().require_grad();
        let loss = cross_entropy(net.forward(tracked.clone()), wanted.clone().autodiff()).sum();
        let Some(gradient) = tracked.grad(&loss.backward()) else {
            return x;
        };
        x = inside(x + gradient.sign() * step);
    }
    x
}

/// Returns the cross-entropy of logits `[n, 10]` against one-hot rows `[n, 10]`: `[n, 1]`, in nats.
fn cross_entropy(logits: Tensor<2>, wanted: Tensor<2>) -> Tensor<2> {
    -(log_softmax(logits, 1) * wanted).sum_dim(1)
}

fn one_hot(labels: impl ExactSizeIterator<Item = usize>, device: &Device) -> Tensor<2> {
    let n = labels.len();
    let mut values = vec![0.0_f32; n * CLASSES];
    for (row, label) in labels.enumerate() {
        values[row * CLASSES + label] = 1.0;
    }
    Tensor::from_data(TensorData::new(values, [n, CLASSES]), device)
}

/// Shifts an image by at most one pixel each way, with probability 1/2; pixels from outside are blank.
fn shifted(image: &[f32], stream: &mut Stream) -> Vec<f32> {
    let moves = stream.uniform() < 0.5;
    let mut shift = || if moves { stream.below(3) as usize } else { 1 };
    let (down, right) = (shift(), shift());
    let at = |y: usize, x: usize| {
        // A shift of 1 is no move, which avoids negative numbers.
        let (y, x) = ((y + down).checked_sub(1)?, (x + right).checked_sub(1)?);
        (y < SIDE && x < SIDE).then(|| image[y * SIDE + x])
    };
    (0..PIXELS)
        .map(|i| at(i / SIDE, i % SIDE).unwrap_or(0.0))
        .collect()
}

/// Returns every weight tensor of the net, in visiting order.
fn weights(net: &DigitsNet) -> Vec<Vec<f32>> {
    struct Read(Vec<Vec<f32>>);
    impl ModuleVisitor for Read {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(host(&param.val().inner()));
        }
    }
    let mut read = Read(Vec::new());
    net.visit(&mut read);
    read.0
}

/// Replaces the weights of the net, in the order of [`weights`].
fn with_weights(net: DigitsNet, values: Vec<Vec<f32>>) -> DigitsNet {
    struct Write(std::vec::IntoIter<Vec<f32>>);
    impl ModuleMapper for Write {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(values) = self.0.next() else {
                return param;
            };
            param.map(|old| Tensor::from_data(TensorData::new(values, old.dims()), &old.device()))
        }
    }
    net.map(&mut Write(values.into_iter()))
}

/// Initialises the net with He's weights, `N(0, 2 / inputs)`, and zero biases; one stream per tensor.
fn started(net: DigitsNet, stream: impl Fn(u64) -> Stream) -> DigitsNet {
    struct Start<F>(F, u64);
    impl<F: Fn(u64) -> Stream> ModuleMapper for Start<F> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let mut stream = (self.0)(self.1);
            self.1 += 1;
            param.map(|old| {
                let shape = old.dims();
                // A convolution's weights are [out, in, h, w], a dense layer's [in, out].
                let inputs = match D {
                    1 => return old,
                    2 => shape[0],
                    _ => shape[1..].iter().product(),
                };
                let scale = (2.0 / inputs as f32).sqrt();
                let values = (0..shape.iter().product()).map(|_| scale * stream.normal());
                let data = TensorData::new(values.collect::<Vec<f32>>(), shape);
                Tensor::from_data(data, &old.device()).require_grad()
            })
        }
    }
    net.map(&mut Start(stream, 0))
}

/// Prints the accuracy on `data`: clean, and under attacks of growing strength at [`EPS`].
fn measure(model: &BurnModel, data: &Dataset) -> Result<(), Box<dyn Error>> {
    let labels = data.labels.clone().ok_or("the test set has no labels")?;
    let samples = Samples {
        modalities: model.signature().modalities.clone(),
        values: vec![data.modalities[0].values.iter().copied().collect()],
        keys: data
            .ids
            .iter()
            .map(proofmark_domain::SampleId::key)
            .collect(),
        labels,
        targets: None,
    };
    let eps: Epsilon = EPS.to_string().parse()?;
    let threat = Threat::uniform(&samples.modalities, Norm::Linf, &eps);
    let all: Vec<usize> = (0..samples.len()).collect();
    let clean = preflight(model, &Job::new(&samples, &all, &threat, &Silent))?;
    let right: Vec<usize> = clean
        .iter()
        .filter(|c| c.pred == Some(samples.labels[c.row]))
        .map(|c| c.row)
        .collect();
    println!("  Linf {EPS}, 95 % Clopper-Pearson intervals in per cent");
    report("clean", right.len(), samples.len());
    let job = Job::new(&samples, &right, &threat, &Silent);
    let mut left = right.clone();
    for (title, id, parameters) in [
        ("FGSM", "fgsm", ""),
        (
            "PGD-100 x 5, cross-entropy",
            "pgd",
            "steps = 100\nrestarts = 5",
        ),
        (
            "PGD-100 x 5, margin",
            "pgd",
            "steps = 100\nrestarts = 5\nloss = \"margin\"",
        ),
        (
            "PGD-100 x 5, DLR",
            "pgd",
            "steps = 100\nrestarts = 5\nloss = \"dlr\"",
        ),
    ] {
        let attack = proofmark_attacks::build(id, &parameters.parse()?)?;
        let outcomes = attack.run(Access::Gradients(model), &job)?;
        let kept: Vec<usize> = outcomes
            .rows
            .iter()
            .filter(|o| o.status == RunStatus::Robust)
            .map(|o| o.row)
            .collect();
        report(title, kept.len(), samples.len());
        left.retain(|row| kept.contains(row));
    }
    report("worst of these", left.len(), samples.len());
    Ok(())
}

fn report(title: &str, correct: usize, n: usize) {
    let interval = clopper_pearson(correct as u64, n as u64, 0.95);
    println!(
        "  {title:<26}  {correct:>3} of {n}  {:5.1}  [{:.1}, {:.1}]",
        100.0 * correct as f64 / n as f64,
        100.0 * interval.low,
        100.0 * interval.high
    );
}
