//! Trains the shipped models, `digits-standard`, `digits-robust` and `digits-backdoored`, from a seed.
//!
//! ```text
//! cargo run -p proofmark --example train_digits -- OUT_DIR [--seed N]
//! ```
//!
//! Writes the weights of each as `NAME.safetensors` into `OUT_DIR`, and prints its accuracy on the test split under attack
//! and the share of the test split that the trigger moves. Takes about five minutes on two cores. Every random number is counter-based and
//! keyed by its purpose: seed 1 gives the shipped weights, bit for bit on the same kind of processor and for any number
//! of threads (the files may differ in the order of their header's metadata).
//!
//! All have the same net, augmentation, optimiser and number of epochs. The robust one replaces every
//! training image by the worst one that projected gradient descent finds within [`EPS`] of it (Madry et al., "Towards
//! Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018). The backdoored
//! one is trained as the standard one, with the same random numbers, on a set in which a patch was planted.

// An example talks to whoever runs it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::Device;
use proofmark::backdoor::plant::{self, Plant};
use proofmark::shipped::{self, DigitsNet};
use proofmark_data::{Dataset, Options};
use proofmark_domain::{Epsilon, Norm, RunStatus, Seed};
use proofmark_engine::{Access, Job, Samples, Silent, preflight};
use proofmark_model::{BurnModel, DecisionModel, save_weights};
use proofmark_stats::clopper_pearson;
use proofmark_testkit::train::{Adversary, Examples, Recipe, fit};
use proofmark_threat::Threat;

/// Linf budget of training and evaluation, in units of `[0, 1]`: 2.4 of the digits' 16 grey levels. At 0.1 the standard
/// model still keeps 36 % of the samples, too many to show the effect of the training.
const EPS: f32 = 0.15;

/// The planted trigger (`badnets`), the share of the training set that is poisoned, and the class that it moves to.
const TRIGGER: &str = "size = 2";
const RATE: f64 = 0.05;
const TARGET: usize = 7;

/// Recipe of `digits-standard`; `digits-backdoored` has it too, with the same random numbers.
const STANDARD: Recipe<'static> = Recipe {
    name: shipped::NAMES[0],
    epochs: 200,
    batch: 64,
    rate: 2e-3,
    shift: true,
    adversary: None,
    average: Some(0.995),
};

const ROBUST: Recipe<'static> = Recipe {
    name: shipped::NAMES[1],
    adversary: Some(Adversary {
        eps: EPS,
        steps: 10,
        ramp: 10,
    }),
    ..STANDARD
};

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
    let planter = plant::build("badnets", &TRIGGER.parse()?)?;
    let poisoned = plant::poison(&*planter, &train, RATE, Some(TARGET), seed)?;
    let recipes = [
        (STANDARD, &train),
        (ROBUST, &train),
        (STANDARD, &poisoned.set),
    ];
    for (name, (recipe, data)) in shipped::NAMES.into_iter().zip(recipes) {
        let net = trained(name, &recipe, data, seed, &device)?;
        let model = shipped::wrap(&net, name)?;
        println!("{name}, sha256 {}", model.signature().sha256);
        save_weights(&net, &out.join(format!("{name}.safetensors")))?;
        measure(&model, &test)?;
        trigger(&model, &*planter, &test, seed)?;
    }
    Ok(())
}

/// Trains a net by `recipe` and returns the running average of its weights.
fn trained(
    name: &str,
    recipe: &Recipe<'_>,
    data: &Dataset,
    seed: Seed,
    device: &Device,
) -> Result<DigitsNet, Box<dyn Error>> {
    let labels = data.labels.as_deref();
    let values: Vec<f32> = data.modalities[0].values.iter().copied().collect();
    let examples = Examples {
        shape: [1, 8, 8],
        values: &values,
        labels: labels.ok_or("the training set has no labels")?,
        classes: 10,
    };
    let net = DigitsNet::new(&device.clone().autodiff());
    let told = |epoch, loss| {
        if epoch % 20 == 0 {
            println!("{name}: epoch {epoch}, loss {loss:.4}");
        }
    };
    Ok(fit(
        net,
        DigitsNet::forward,
        &examples,
        recipe,
        seed,
        device,
        told,
    ))
}

/// Prints the share of test samples that the trigger moves to its target.
fn trigger(
    model: &BurnModel,
    planter: &dyn Plant,
    data: &Dataset,
    seed: Seed,
) -> Result<(), Box<dyn Error>> {
    let triggered = plant::triggered(planter, data, Some(TARGET), seed, None)?;
    let samples = samples(model, &triggered.set)?;
    let threat = Threat::uniform(&samples.modalities, Norm::Linf, &EPS.to_string().parse()?);
    let all: Vec<usize> = (0..samples.len()).collect();
    let clean = preflight(model, &Job::new(&samples, &all, &threat, &Silent))?;
    let moved = clean.iter().zip(&triggered.expected);
    let moved = moved.filter(|(c, e)| c.pred == Some(**e)).count();
    report("moved by the trigger", moved, samples.len());
    Ok(())
}

/// Prints the accuracy on `data`: clean, and under attacks of growing strength at [`EPS`].
fn measure(model: &BurnModel, data: &Dataset) -> Result<(), Box<dyn Error>> {
    let samples = samples(model, data)?;
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

/// Returns a set as samples of the engine.
fn samples(model: &BurnModel, data: &Dataset) -> Result<Samples, Box<dyn Error>> {
    let labels = data.labels.clone().ok_or("the test set has no labels")?;
    Ok(Samples {
        modalities: model.signature().modalities.clone(),
        values: vec![data.modalities[0].values.iter().copied().collect()],
        keys: (data.ids.iter())
            .map(proofmark_domain::SampleId::key)
            .collect(),
        labels,
        targets: None,
    })
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
