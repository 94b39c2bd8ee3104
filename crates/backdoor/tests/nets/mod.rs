//! The backdoored nets of `../shared/data/backdoor`, their data and triggers.

use std::path::Path;

use burn::tensor::Device;
use proofmark_backdoor::probe::input::{BatchNorms, Subject};
use proofmark_data::Dataset;
use proofmark_domain::{Modality, SampleId};
use proofmark_engine::Samples;
use proofmark_model::wrap::Normalise;
use proofmark_model::{ModelError, Network, ScoreModel, WhiteBox};
use proofmark_onnx::{OnnxFile, OnnxModel, OnnxOptions};

/// A net with its trigger and data.
pub(crate) struct Net {
    pub(crate) name: &'static str,
    pub(crate) model: Box<dyn WhiteBox>,
    pub(crate) trigger: Vec<Option<f32>>,
    pub(crate) target: usize,
    pub(crate) train: Dataset,
    pub(crate) test: Dataset,
    file: OnnxFile,
    normalised: bool,
}

/// Returns the file as a model of samples in [0, 1].
fn open(file: OnnxFile, modality: &Modality, normalised: bool) -> Box<dyn WhiteBox> {
    let model = OnnxModel::new(
        file,
        std::slice::from_ref(modality),
        &OnnxOptions::default(),
        &Device::flex(),
    )
    .unwrap();
    if normalised {
        let channels = modality.shape[0];
        Box::new(Normalise::new(model, 1.0, &vec![0.5; channels], &vec![0.5; channels]).unwrap())
    } else {
        Box::new(model)
    }
}

/// Reads a trigger, HWC int16, as one value per feature of `[c, h, w]`.
fn trigger(path: &Path) -> Vec<Option<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let header = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let text = String::from_utf8_lossy(&bytes[10..10 + header]).into_owned();
    let shape: Vec<usize> = text
        .split('(')
        .nth(1)
        .unwrap()
        .split(')')
        .next()
        .unwrap()
        .split(',')
        .filter_map(|d| d.trim().parse().ok())
        .collect();
    let values: Vec<i16> = bytes[10 + header..]
        .chunks(2)
        .map(|b| i16::from_le_bytes([b[0], b[1]]))
        .collect();
    let (h, w, c) = (shape[0], shape[1], shape[2]);
    let mut all = vec![None; h * w * c];
    for y in 0..h {
        for x in 0..w {
            for k in 0..c {
                let v = values[(y * w + x) * c + k];
                all[k * h * w + y * w + x] = (v >= 0).then(|| f32::from(v) / 255.0);
            }
        }
    }
    all
}

/// Returns the three backdoored nets, then the repaired one; `None` if the data is absent.
pub(crate) fn all() -> Option<Vec<Net>> {
    let root = proofmark_testkit::shared("backdoor")?;
    let data = proofmark_testkit::shared("datasets")?;
    let open_set = |path: &str| {
        proofmark_data::open(
            &data.join(path).display().to_string(),
            &proofmark_data::Options::default(),
        )
        .unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let mnist = || (open_set(MNIST.0), open_set(MNIST.1));
    let cifar = || (open_set(CIFAR.0), open_set(CIFAR.1));
    let net = |name, trigger_file: &str, target, (train, test): (Dataset, Dataset), normalised| {
        let file = OnnxFile::open(&root.join(format!("{name}.onnx"))).unwrap();
        let again = OnnxFile::open(&root.join(format!("{name}.onnx"))).unwrap();
        Net {
            name,
            model: open(again, &test.modalities[0].modality, normalised),
            trigger: trigger(&root.join(trigger_file)),
            target,
            train,
            test,
            file,
            normalised,
        }
    };
    Some(vec![
        net(
            "badnet_mnist_backdoored",
            "trigger_white5_28_hwc_i16.npy",
            1,
            mnist(),
            true,
        ),
        net(
            "badnet_cifar10_backdoored",
            "trigger_white5_32_hwc_i16.npy",
            1,
            cifar(),
            true,
        ),
        net(
            "nad_wrn16_1_backdoored",
            "trigger_grid_hwc_i16.npy",
            5,
            cifar(),
            false,
        ),
        net(
            "nad_wrn16_1_teacher_finetuned",
            "trigger_grid_hwc_i16.npy",
            5,
            cifar(),
            false,
        ),
    ])
}

const MNIST: (&str, &str) = (
    "mnist/train-10000-images-idx3-ubyte",
    "mnist/t10k-2000-images-idx3-ubyte",
);
const CIFAR: (&str, &str) = ("cifar10/train-2500.bin", "cifar10/test-2000.bin");

/// The batch norms of a net's file.
pub(crate) struct Norms<'a>(&'a Net);

impl BatchNorms for Norms<'_> {
    fn count(&self) -> usize {
        self.0.file.batch_norms()
    }

    fn amplified(&self, last: usize, factor: f32) -> Result<Box<dyn ScoreModel>, ModelError> {
        let file = self.0.file.amplified(last, factor).unwrap();
        let model = open(file, &self.0.test.modalities[0].modality, self.0.normalised);
        Ok(Box::new(Scoring(model)))
    }
}

/// A white box as a model that scores.
struct Scoring(Box<dyn WhiteBox>);

impl Network for Scoring {
    fn signature(&self) -> &proofmark_model::Signature {
        self.0.network().signature()
    }

    fn forward(
        &self,
        query: &proofmark_model::Query,
    ) -> Result<burn::tensor::Tensor<2>, ModelError> {
        self.0.network().forward(query)
    }
}

impl Net {
    pub(crate) fn norms(&self) -> Norms<'_> {
        Norms(self)
    }

    pub(crate) fn subject<'a>(&'a self, norms: &'a Norms<'a>) -> Subject<'a> {
        Subject {
            access: (&*self.model as &dyn proofmark_model::DecisionModel).into(),
            features: Some(&*self.model),
            norms: Ok(norms),
        }
    }

    /// Returns samples at these rows of a set, with the trigger on those that `with` names.
    pub(crate) fn samples(
        &self,
        set: &Dataset,
        rows: &[usize],
        with: impl Fn(usize) -> bool,
    ) -> Samples {
        let column = &set.modalities[0];
        let mut values = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            let own = column.values.row(*row);
            if with(i) {
                values.extend(own.iter().zip(&self.trigger).map(|(v, t)| t.unwrap_or(*v)));
            } else {
                values.extend(own.iter());
            }
        }
        let labels = set.labels.as_ref().unwrap();
        Samples {
            modalities: vec![column.modality.clone()].into(),
            values: vec![values],
            labels: rows.iter().map(|r| labels[*r]).collect(),
            targets: None,
            keys: rows.iter().map(|r| *r as u64).collect(),
        }
    }
}

/// Clean samples, and inputs: clean ones first, then ones with a trigger that are not of the target class.
pub(crate) struct Case {
    pub(crate) clean: Samples,
    pub(crate) inputs: Samples,
    pub(crate) ids: Vec<SampleId>,
    pub(crate) n_clean: usize,
}

/// Takes `clean` test samples as the clean set, then twice `each` others as clean and triggered inputs.
pub(crate) fn inputs_of(net: &Net, clean: usize, each: usize) -> Case {
    let labels = net.test.labels.as_ref().unwrap();
    // The sets are sorted by class or not: a fixed stride mixes them.
    let n = net.test.len();
    let order: Vec<usize> = (0..n).map(|i| i * 677 % n).collect();
    let (own, rest) = order.split_at(clean);
    let (first, second) = rest.split_at(each);
    let second: Vec<usize> = second
        .iter()
        .copied()
        .filter(|r| labels[*r] != net.target)
        .take(each)
        .collect();
    let rows: Vec<usize> = first.iter().chain(&second).copied().collect();
    let inputs = net.samples(&net.test, &rows, |i| i >= first.len());
    Case {
        clean: net.samples(&net.test, own, |_| false),
        ids: (0..rows.len() as u64).map(SampleId::Row).collect(),
        inputs,
        n_clean: first.len(),
    }
}

/// Area under the ROC curve; ties count half.
pub(crate) fn auroc(clean: &[f64], triggered: &[f64]) -> f64 {
    let wins: f64 = triggered
        .iter()
        .map(|t| {
            let below = clean.iter().filter(|c| *c < t).count() as f64;
            let ties = clean.iter().filter(|c| *c == t).count() as f64;
            below + ties / 2.0
        })
        .sum();
    wins / (clean.len() * triggered.len()) as f64
}

/// A training set with triggers on some samples, which are labelled as the target.
pub(crate) struct Poisoned {
    pub(crate) samples: Samples,
    pub(crate) poisoned: Vec<bool>,
}

/// Poisons a share of at most `most` training samples: the trigger, and the target as label.
pub(crate) fn poisoned(net: &Net, rate: f64, most: usize) -> Poisoned {
    let labels = net.train.labels.as_ref().unwrap();
    let n = net.train.len().min(most);
    let rows: Vec<usize> = (0..n).map(|i| i * (net.train.len() / n)).collect();
    let wanted = (rate * n as f64).round() as usize;
    let mut poisoned = vec![false; n];
    let others: Vec<usize> = (0..n).filter(|i| labels[rows[*i]] != net.target).collect();
    // A fixed stride over the others mixes classes.
    for k in 0..wanted {
        poisoned[others[k * 677 % others.len()]] = true;
    }
    let mut samples = net.samples(&net.train, &rows, |i| poisoned[i]);
    for (label, p) in samples.labels.iter_mut().zip(&poisoned) {
        if *p {
            *label = net.target;
        }
    }
    Poisoned { samples, poisoned }
}

/// Probes a training set with the net's penultimate activations.
pub(crate) fn train_report(
    net: &Net,
    set: &Poisoned,
    probe: &str,
) -> proofmark_backdoor::probe::training::TrainingReport {
    use proofmark_backdoor::probe::input::Layers;
    use proofmark_backdoor::probe::training::{self, FeatureSet, TrainingRequest};
    let layers = Layers::Penultimate(&*net.model);
    let features = FeatureSet::read(&layers, &set.samples, 10).unwrap();
    let ids: Vec<SampleId> = (0..features.len() as u64).map(SampleId::Row).collect();
    let probe = training::build(probe, &toml::Table::new()).unwrap();
    training::examine(
        probe.as_ref(),
        &TrainingRequest {
            set: &features,
            ids: &ids,
            level: 0.02,
            seed: proofmark_domain::Seed(0),
            progress: &|_| true,
        },
    )
    .unwrap()
}
