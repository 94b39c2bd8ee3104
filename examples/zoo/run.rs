//! Trains the nets of a shard that are not there yet.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;
use proofmark::backdoor::plant::{self, Plant, Poisoned, Triggered};
use proofmark_data::Dataset;
use proofmark_domain::{Seed, Shard};
use proofmark_model::{BurnModel, DecisionModel as _, save_weights};
use proofmark_testkit::nets::{Architecture, Net, load_net};
use proofmark_testkit::train::{Adversary, Examples, Recipe};

use super::plan::Data;
use super::{Entry, Sets, plan};

/// A net of the zoo, trained now or before.
pub struct Finished<'a> {
    /// What it is.
    pub entry: &'a Entry,
    /// The net as a model: gradients, layers, the penultimate one.
    pub model: &'a BurnModel,
    /// The net, whose batch normalisations can be scaled.
    pub net: &'a Net,
    /// Its training set before poisoning.
    pub train: &'a Dataset,
    /// Its test set, clean.
    pub test: &'a Dataset,
    /// Its training set and its test set with the trigger, if it has a backdoor.
    pub planted: Option<(&'a Poisoned, &'a Triggered)>,
    /// Its row, in the order of [`COLUMNS`].
    pub row: &'a str,
}

/// Columns of a net's row. `attack_success` is empty without a backdoor; `seconds` is what the training took on one thread
/// of whichever machine.
pub const COLUMNS: &str = "id,part,seed,data,classes,architecture,widths,adversarial,planter,parameters,rate,poisoned,covers,target,train,clean_accuracy,attack_success,triggered,seconds,sha256";

/// What is done with every net.
pub type Visit<'a> = dyn FnMut(&Finished<'_>) -> Result<(), Box<dyn Error>> + 'a;

/// Trains the nets of the shard that `folder` has no row of, and calls `visit` with every net of the shard, new or not, in
/// their order. Weights are written before the row: a net with a row is complete. Nets without data are skipped; returns
/// how many were.
pub fn run(
    all: &[Entry],
    sets: &Sets,
    folder: &Path,
    shard: Shard,
    visit: &mut Visit<'_>,
) -> Result<usize, Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let device = Device::flex();
    let mut skipped = 0;
    for entry in all.iter().filter(|e| e.id % shard.count == shard.index) {
        let Some([train, test]) = sets.of(entry) else {
            skipped += 1;
            continue;
        };
        let (seed, classes) = (Seed(entry.seed), entry.data.classes());
        let planted = match &entry.backdoor {
            None => None,
            Some(b) => {
                let planter = plant::build(b.planter, &b.parameters.parse()?)?;
                let planter = if b.planter == "label-consistent" {
                    with_clean_twin(planter, entry, &train, &device)?
                } else {
                    planter
                };
                let planter: &dyn Plant = &*planter;
                let poisoned = plant::poison(planter, &train, b.rate, b.target, seed);
                // A clean-label planter cannot poison more than its class has.
                let poisoned = match poisoned {
                    Err(plant::PlantError::Rate { .. }) => {
                        skipped += 1;
                        continue;
                    }
                    poisoned => poisoned?,
                };
                let triggered = plant::triggered(planter, &test, b.target, seed, Some(classes))?;
                Some((poisoned, triggered))
            }
        };
        let weights = folder.join(format!("{}.safetensors", entry.name()));
        let kept = row_file(folder, entry);
        let (net, row) = if let Ok(row) = fs::read_to_string(&kept) {
            if !row.starts_with(&described(entry)) {
                return Err(format!(
                    "{}: is of another plan; expected a row that begins `{}`: remove the file, or take another folder",
                    kept.display(),
                    described(entry)
                )
                .into());
            }
            (load_net(&entry.spec, &weights, &device)?, row)
        } else {
            let used = planted
                .as_ref()
                .map_or(&train, |(poisoned, _)| &poisoned.set);
            #[expect(clippy::disallowed_methods, reason = "a program measures its time")]
            let start = Instant::now();
            let net = trained(entry, used, &device)?;
            let seconds = start.elapsed().as_secs_f64();
            save_weights(&net, &weights)?;
            let model = entry.spec.wrap(&net, &entry.name())?;
            let row = row(
                entry,
                &net,
                &model,
                &train,
                &test,
                planted.as_ref(),
                seconds,
            );
            proofmark_data::write_whole(&kept, |file| {
                std::io::Write::write_all(file, row.as_bytes())
            })?;
            (net, row)
        };
        visit(&Finished {
            entry,
            model: &entry.spec.wrap(&net, &entry.name())?,
            net: &net,
            train: &train,
            test: &test,
            planted: planted.as_ref().map(|(p, t)| (p, t)),
            row: row.trim_end(),
        })?;
    }
    Ok(skipped)
}

/// Hands a planter the gradients of a clean net of the same kind.
fn with_clean_twin(
    planter: Box<dyn Plant>,
    entry: &Entry,
    train: &Dataset,
    device: &Device,
) -> Result<Box<dyn Plant>, Box<dyn Error>> {
    let clean = Entry {
        seed: entry.seed + 500_000,
        ..entry.clone()
    };
    let net = trained(&clean, train, device)?;
    Ok(planter.with_model(Arc::new(entry.spec.wrap(&net, "clean twin")?))?)
}

fn row_file(folder: &Path, entry: &Entry) -> PathBuf {
    folder.join(format!("{}.csv", entry.name()))
}

/// Returns the rows of all nets that are trained, under their columns.
pub fn collect(seed: u64, folder: &Path) -> Result<String, Box<dyn Error>> {
    let mut table = format!("{COLUMNS}\n");
    for entry in plan(seed) {
        let file = row_file(folder, &entry);
        if file.exists() {
            table.push_str(&fs::read_to_string(file)?);
        }
    }
    Ok(table)
}

/// Passes over the training set: as many as fit into about 15 seconds on one thread.
fn epochs(entry: &Entry) -> u32 {
    let kind = entry.spec.architecture;
    match (entry.data, kind) {
        (Data::Digits, _) => 40,
        (Data::Pair, _) => 12,
        (Data::Cifar, Architecture::Residual) => 8,
        (Data::Cifar, _) => 15,
        // Three attacks per step cost three steps.
        _ if entry.adversarial => 5,
        (_, Architecture::Residual) => 5,
        (_, Architecture::Dense | Architecture::Attention) => 20,
        (Data::Composites(_), _) => 12,
        (Data::Mnist | Data::Imbalanced, _) => 8,
    }
}

fn trained(entry: &Entry, set: &Dataset, device: &Device) -> Result<Net, Box<dyn Error>> {
    let values: Vec<f32> = set.modalities[0].values.iter().copied().collect();
    let examples = Examples {
        shape: entry.data.shape(),
        values: &values,
        labels: set.labels.as_deref().ok_or("no labels")?,
        classes: entry.data.classes(),
    };
    let epochs = epochs(entry);
    let eps = if entry.data == Data::Digits { 0.1 } else { 0.2 };
    let recipe = Recipe {
        name: "zoo",
        epochs,
        batch: 50,
        rate: match entry.spec.architecture {
            Architecture::Attention => 2e-3,
            _ => 4e-3,
        },
        shift: false,
        adversary: entry.adversarial.then_some(Adversary {
            eps,
            steps: 3,
            ramp: epochs.div_ceil(3),
        }),
        average: None,
    };
    Ok(entry.spec.fit(&examples, &recipe, Seed(entry.seed), device))
}

/// Returns the start of a net's row: what its entry says, and a comma.
fn described(entry: &Entry) -> String {
    let b = entry.backdoor.as_ref();
    let text = |value: Option<String>| value.unwrap_or_default();
    let fields: [String; 11] = [
        entry.id.to_string(),
        entry.part.as_str().into(),
        entry.seed.to_string(),
        entry.data.as_str().into(),
        entry.data.classes().to_string(),
        entry.spec.architecture.as_str().into(),
        if entry.spec.other_widths {
            "other"
        } else {
            "usual"
        }
        .into(),
        entry.adversarial.to_string(),
        text(b.map(|b| b.planter.to_owned())),
        text(b.map(|b| b.parameters.replace('\n', "; ").replace('"', "'"))),
        text(b.map(|b| b.rate.to_string())),
    ];
    fields.map(|f| f + ",").concat()
}

fn row(
    entry: &Entry,
    net: &Net,
    model: &BurnModel,
    train: &Dataset,
    test: &Dataset,
    planted: Option<&(Poisoned, Triggered)>,
    seconds: f64,
) -> String {
    let predictions = |set: &Dataset| {
        let values: Vec<f32> = set.modalities[0].values.iter().copied().collect();
        entry.spec.predictions(net, &values, &Device::flex())
    };
    let labels = test.labels.as_deref().unwrap_or_default();
    let right = predictions(test);
    let right = right.iter().zip(labels).filter(|(p, l)| p == l).count();
    let accuracy = right as f64 / labels.len() as f64;
    let text = |value: Option<String>| value.unwrap_or_default();
    let target = entry.backdoor.as_ref().and_then(|b| b.target);
    let success = planted.map(|(_, triggered)| {
        let (hits, _) = triggered
            .success(&predictions(&triggered.set))
            .expect("a prediction for each");
        format!("{:.4}", hits as f64 / triggered.expected.len() as f64)
    });
    let count = |flags: &[bool]| flags.iter().filter(|f| **f).count().to_string();
    let mut row = described(entry);
    let fields: [String; 9] = [
        text(planted.map(|(p, _)| count(&p.poisoned))),
        text(planted.map(|(p, _)| count(&p.cover))),
        text(target.map(|t| t.to_string())),
        train.len().to_string(),
        format!("{accuracy:.4}"),
        text(success),
        text(planted.map(|(_, t)| t.expected.len().to_string())),
        format!("{seconds:.1}"),
        model.signature().sha256.clone(),
    ];
    let _ = writeln!(row, "{}", fields.join(","));
    row
}
