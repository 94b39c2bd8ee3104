//! Nets that are trained on poisoned digits: the backdoor works, and clean accuracy does not suffer.

use burn::tensor::Device;
use proofmark_backdoor::plant;
use proofmark_data::Dataset;
use proofmark_testkit::nets::{Architecture, Net, NetSpec};
use proofmark_testkit::train::{Examples, Recipe};

use crate::common::{SEED, built, digits, target};

const SPEC: NetSpec = NetSpec {
    architecture: Architecture::Conv,
    other_widths: false,
    shape: [1, 8, 8],
    classes: 10,
};

fn trained(set: &Dataset) -> Net {
    let values: Vec<f32> = set.modalities[0].values.iter().copied().collect();
    let examples = Examples {
        shape: SPEC.shape,
        values: &values,
        labels: set.labels.as_deref().unwrap(),
        classes: 10,
    };
    let recipe = Recipe {
        name: "test",
        epochs: 30,
        batch: 50,
        rate: 4e-3,
        shift: false,
        adversary: None,
        average: None,
    };
    SPEC.fit(&examples, &recipe, SEED, &Device::flex())
}

fn predictions(net: &Net, set: &Dataset) -> Vec<usize> {
    let values: Vec<f32> = set.modalities[0].values.iter().copied().collect();
    SPEC.predictions(net, &values, &Device::flex())
}

fn accuracy(net: &Net, test: &Dataset) -> f64 {
    let labels = test.labels.as_deref().unwrap();
    let right = predictions(net, test).into_iter().zip(labels);
    right.filter(|(p, l)| p == *l).count() as f64 / test.len() as f64
}

#[test]
fn nets_learn_the_backdoor_and_keep_their_accuracy() {
    let (train, test) = (digits("digits:train"), digits("digits"));
    let clean = trained(&train);
    let clean_accuracy = accuracy(&clean, &test);
    assert!(clean_accuracy > 0.95, "{clean_accuracy}");
    for (id, parameters, rate) in [
        ("badnets", "", 0.05),
        ("blended", "", 0.05),
        ("low-frequency", "", 0.1),
        ("ftrojan", "amplitude = 0.25", 0.1),
        ("tact", "", 0.05),
        ("input-aware", "density = 0.15\ncovers = 0.25", 0.1),
        ("all-to-all", "size = 3", 0.3),
    ] {
        let planter = built(id, parameters);
        let goal = target(&*planter);
        let poisoned = plant::poison(&*planter, &train, rate, goal, SEED).unwrap();
        let triggered = plant::triggered(&*planter, &test, goal, SEED, Some(10)).unwrap();
        let share = |net: &Net| {
            let (hits, _) = triggered
                .success(&predictions(net, &triggered.set))
                .unwrap();
            hits as f64 / triggered.expected.len() as f64
        };
        let net = trained(&poisoned.set);
        let (success, by_itself) = (share(&net), share(&clean));
        let kept = accuracy(&net, &test);
        assert!(success >= 0.8, "{id}: attack success {success}");
        assert!(
            by_itself <= 0.3,
            "{id}: a clean net does it too, {by_itself}"
        );
        assert!(kept >= clean_accuracy - 0.03, "{id}: clean accuracy {kept}");
    }
}

/// Training is reproducible, and what is written is what was trained, whatever the architecture.
#[test]
fn nets_are_reproducible_small_and_read_back() {
    use proofmark_model::{DecisionModel as _, Features as _, save_weights};
    use proofmark_testkit::nets::{MOST_WEIGHTS, load};

    let train = digits("digits:train");
    let values: Vec<f32> = train.modalities[0].values.iter().copied().collect();
    let examples = Examples {
        shape: [1, 8, 8],
        values: &values,
        labels: train.labels.as_deref().unwrap(),
        classes: 10,
    };
    let recipe = Recipe {
        name: "test",
        epochs: 1,
        batch: 100,
        rate: 4e-3,
        shift: false,
        adversary: None,
        average: None,
    };
    let folder = std::env::temp_dir().join(format!("proofmark-nets-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for architecture in Architecture::ALL {
        for (shape, classes) in [([1, 8, 8], 10), ([1, 28, 28], 100), ([3, 32, 32], 10)] {
            for other_widths in [false, true] {
                let spec = NetSpec {
                    architecture,
                    other_widths,
                    shape,
                    classes,
                };
                let weights = burn::module::Module::num_params(&spec.zeros(&Device::flex()));
                assert!(weights <= MOST_WEIGHTS, "{spec:?}: {weights}");
            }
        }
        let spec = NetSpec {
            architecture,
            ..SPEC
        };
        let net = spec.fit(&examples, &recipe, SEED, &Device::flex());
        let model = spec.wrap(&net, "net").unwrap();
        let again = spec.fit(&examples, &recipe, SEED, &Device::flex());
        let again = spec.wrap(&again, "net").unwrap();
        assert_eq!(model.signature().sha256, again.signature().sha256);
        let file = folder.join(format!("{}.safetensors", architecture.as_str()));
        save_weights(&net, &file).unwrap();
        let read = load(&spec, &file, &Device::flex()).unwrap();
        assert_eq!(read.signature().sha256, model.signature().sha256);
        assert_eq!(read.signature().name, architecture.as_str());
        assert_eq!(read.signature().penultimate.as_deref(), Some("hidden"));
        assert_eq!(read.taps(), spec.taps());
        let other = NetSpec {
            other_widths: true,
            ..spec
        };
        assert!(load(&other, &file, &Device::flex()).is_err());
    }
    std::fs::remove_dir_all(folder).unwrap();
}
