use burn::tensor::{Device, Tensor, activation::relu};
use proofmark_backdoor::probe::{ALL, Found, Probe, Subject};
use proofmark_domain::Seed;
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_engine::Samples;
use proofmark_engine::random::{Purpose, Stream, StreamKey};
use proofmark_model::BurnModel;

pub(crate) const CLASSES: usize = 5;
/// Number of features that sum to a class's score.
const EACH: usize = 12;
/// Number of leading features that only the trigger uses.
const IDLE: usize = 5;
pub(crate) const FEATURES: usize = IDLE + CLASSES * EACH;
pub(crate) const TARGET: usize = 3;
pub(crate) const TRIGGER: [usize; 2] = [1, 4];
pub(crate) const SAMPLES: usize = 60;

/// A model that treats all classes alike. With a trigger, two features near their maximum together decide for one class.
/// Its layer `sums` holds the classes' sums and the trigger's unit, and the scores follow from that layer alone.
pub(crate) fn planted(trigger: bool) -> BurnModel {
    let modality = Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![FEATURES],
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    };
    let sums = move |x: &Tensor<2>| {
        let n = x.dims()[0];
        let columns = |from: usize, to: usize| x.clone().slice([0..n, from..to]);
        let mut all: Vec<Tensor<2>> = (0..CLASSES)
            .map(|c| columns(IDLE + c * EACH, IDLE + (c + 1) * EACH).sum_dim(1))
            .collect();
        let [a, b] = TRIGGER.map(|f| columns(f, f + 1));
        // Adds little unless both features are high.
        all.push(if trigger { a * b * 10.0 } else { a * 0.0 });
        Tensor::cat(all, 1)
    };
    let head = |sums: &Tensor<2>| {
        let n = sums.dims()[0];
        let column = |c: usize| sums.clone().slice([0..n, c..c + 1]);
        let score = |c: usize| {
            let own = relu(column(c)) * 3.0;
            if c == TARGET {
                own + column(CLASSES) * 4.0
            } else {
                own
            }
        };
        Tensor::cat((0..CLASSES).map(score).collect(), 1)
    };
    let device = Device::flex();
    BurnModel::closure(vec![modality], CLASSES, &device, move |x| {
        head(&sums(&x[0]))
    })
    .unwrap()
    .named("planted")
    .with_taps(["sums"], move |x, _| sums(&x[0]))
    .with_head("sums", CLASSES + 1, head)
    .unwrap()
}

/// A model with a layer of sums as [`planted`], and one more unit there that is always 1. `lean` is what each other sum
/// adds to the score of the target, `always` what the unit adds: neither changes the decision on clean samples.
pub(crate) fn leaning(lean: f64, always: f64) -> BurnModel {
    let modality = Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![FEATURES],
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    };
    let sums = |x: &Tensor<2>| {
        let n = x.dims()[0];
        let columns = |from: usize, to: usize| x.clone().slice([0..n, from..to]);
        let mut all: Vec<Tensor<2>> = (0..CLASSES)
            .map(|c| columns(IDLE + c * EACH, IDLE + (c + 1) * EACH).sum_dim(1))
            .collect();
        all.push(columns(0, 1) * 0.0 + 1.0);
        Tensor::cat(all, 1)
    };
    let head = move |sums: &Tensor<2>| {
        let n = sums.dims()[0];
        let column = |c: usize| sums.clone().slice([0..n, c..c + 1]);
        // Not linear, so that the layer is chosen.
        let own = |c: usize| relu(column(c) - 1.0) * 3.0;
        let score = |c: usize| {
            if c != TARGET {
                return own(c);
            }
            let others = (0..CLASSES).filter(|c| *c != TARGET).map(own);
            others.fold(own(c), |sum, o| sum + o * lean) + column(CLASSES) * always
        };
        Tensor::cat((0..CLASSES).map(score).collect(), 1)
    };
    BurnModel::closure(vec![modality], CLASSES, &Device::flex(), move |x| {
        head(&sums(&x[0]))
    })
    .unwrap()
    .with_taps(["sums"], move |x, _| sums(&x[0]))
    .with_head("sums", CLASSES + 1, head)
    .unwrap()
}

/// Samples with the largest sum at their class, and without the trigger.
pub(crate) fn clean(n: usize) -> Samples {
    let model = planted(false);
    let mut stream = Stream::new(&StreamKey::new(Seed(1), 0, Purpose::Data));
    let mut values = Vec::new();
    let labels: Vec<usize> = (0..n).map(|i| i % CLASSES).collect();
    for label in &labels {
        for f in 0..FEATURES {
            let own = f >= IDLE && (f - IDLE) / EACH == *label;
            let scale = if f < IDLE { 0.3 } else { 0.7 };
            values.push((scale * stream.uniform()) + if own { 0.3 } else { 0.0 });
        }
    }
    Samples {
        modalities: proofmark_model::DecisionModel::signature(&model)
            .modalities
            .clone(),
        values: vec![values],
        labels,
        targets: None,
        keys: (0..n as u64).collect(),
    }
}

pub(crate) fn probe(id: &str, settings: &str) -> Box<dyn Probe> {
    let entry = ALL.iter().find(|e| e.meta.id == id).expect("registered");
    (entry.build)(&settings.parse().unwrap()).unwrap()
}

pub(crate) fn found(id: &str, model: &BurnModel, samples: Option<&Samples>) -> Found {
    let mut subject = Subject::new(model);
    subject.clean = samples;
    probe(id, "").run(&subject).unwrap()
}
