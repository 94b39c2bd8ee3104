//! The target class of a planted trigger has by far the smallest patch, and the patch lies on the trigger.

use burn::tensor::{Device, Tensor};
use proofmark_domain::{Bounds, Epsilon, Kind, Modality, Norm, Seed};
use proofmark_engine::random::{Purpose, Stream, StreamKey};
use proofmark_engine::{Job, Samples, Silent};
use proofmark_model::{ModelError, Network, Query, Signature};
use proofmark_testkit::trigger::{Inversion, Patch, invert};
use proofmark_threat::Threat;

const CLASSES: usize = 5;
/// Number of features that sum to a class's score.
const EACH: usize = 12;
/// Number of leading features that only the trigger uses.
const IDLE: usize = 5;
const FEATURES: usize = IDLE + CLASSES * EACH;
const TARGET: usize = 3;
const TRIGGER: [usize; 2] = [1, 4];
const SAMPLES: usize = 24;

/// A model that treats all classes alike. With a trigger, two features near their maximum together decide for one
/// class.
struct Planted {
    signature: Signature,
    trigger: bool,
}

impl Network for Planted {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let (n, x) = (query.len(), &query.x.blocks()[0]);
        let columns = |from: usize, to: usize| x.clone().slice([0..n, from..to]);
        let score = |c: usize| columns(IDLE + c * EACH, IDLE + (c + 1) * EACH).sum_dim(1) * 3.0;
        let mut scores: Vec<Tensor<2>> = (0..CLASSES).map(score).collect();
        if self.trigger {
            let [a, b] = TRIGGER.map(|f| columns(f, f + 1));
            // Adds little unless both features are high.
            scores[TARGET] = scores[TARGET].clone() + a * b * 40.0;
        }
        Ok(Tensor::cat(scores, 1))
    }
}

fn patches(trigger: bool) -> Vec<Patch> {
    let modality = Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![FEATURES],
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    };
    let model = Planted {
        signature: Signature::new("planted", vec![modality], CLASSES, &Device::flex()).unwrap(),
        trigger,
    };
    let mut stream = Stream::new(&StreamKey::new(Seed(1), 0, Purpose::Data));
    // Clean samples do not carry the trigger.
    let value = |i: usize| if i % FEATURES < IDLE { 0.3 } else { 1.0 };
    let values: Vec<f32> = (0..SAMPLES * FEATURES)
        .map(|i| value(i) * stream.uniform())
        .collect();
    let samples = Samples {
        modalities: model.signature.modalities.clone(),
        values: vec![values],
        labels: vec![0; SAMPLES],
        targets: None,
        keys: (0..SAMPLES as u64).collect(),
    };
    let rows: Vec<usize> = (0..SAMPLES).collect();
    let modalities = &samples.modalities;
    let threat = Threat::uniform(modalities, Norm::Linf, &Epsilon::new(1.0).unwrap());
    let job = Job::new(&samples, &rows, &threat, &Silent);
    let classes: Vec<usize> = (0..CLASSES).collect();
    let inversion = Inversion {
        steps: 500,
        weight: 0.1,
        ..Inversion::default()
    };
    invert(&model, &job, &classes, &inversion).unwrap()
}

#[test]
fn the_patch_of_a_planted_trigger_is_the_smallest_and_lies_on_it() {
    let patches = patches(true);
    let planted = &patches[TARGET];
    assert!(planted.reached > 0.95, "{}", planted.reached);
    let others = patches.iter().filter(|p| p.class != TARGET);
    let smallest = others.map(Patch::size).fold(f64::INFINITY, f64::min);
    let size = planted.size();
    assert!(size < 0.6 * smallest, "{size} against {smallest}");
    let mut order: Vec<usize> = (0..FEATURES).collect();
    order.sort_by(|a, b| planted.mask[*b].total_cmp(&planted.mask[*a]));
    let mut top = [order[0], order[1]];
    top.sort_unstable();
    assert_eq!(top, TRIGGER);
    for f in TRIGGER {
        assert!(planted.pattern[f] > 0.8, "{}", planted.pattern[f]);
    }
}

#[test]
fn without_a_trigger_no_patch_stands_out() {
    let mut sizes: Vec<f64> = patches(false).iter().map(Patch::size).collect();
    sizes.sort_by(f64::total_cmp);
    assert!(sizes[0] > 0.7 * sizes[CLASSES - 1], "{sizes:?}");
}
