use proofmark_backdoor::plant;
use proofmark_domain::{Bounds, Kind};

use crate::common::{SEED, built, digits, random};

fn refusal(
    id: &str,
    parameters: &str,
    set: &proofmark_data::Dataset,
    rate: f64,
    target: Option<usize>,
) -> String {
    let planter = built(id, parameters);
    plant::poison(&*planter, set, rate, target, SEED)
        .unwrap_err()
        .to_string()
}

fn holds(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn parameters_are_checked_by_name() {
    for (id, parameters, words) in [
        (
            "badnet",
            "",
            &["no planter `badnet`", "did you mean `badnets`"][..],
        ),
        (
            "badnets",
            "sise = 3",
            &["badnets", "no parameter `sise`", "size"],
        ),
        ("badnets", "size = 0", &["size = 0", "at least 1"]),
        ("badnets", "size = 2.5", &["size = 2.5"]),
        ("badnets", "place = \"middle\"", &["place", "centre"]),
        ("blended", "alpha = 0.0", &["alpha = 0", "above 0"]),
        ("blended", "alpha = nan", &["alpha = NaN"]),
        ("blended", "pattern = [0.5, 7.0]", &["pattern = 7"]),
        ("wanet", "k = 1", &["k = 1", "at least 2"]),
        ("wanet", "covers = -1.0", &["covers = -1"]),
        ("sig", "frequency = 0", &["frequency = 0"]),
        (
            "adap-patch",
            "shown_in_test = [4]",
            &["shown_in_test = [4]"],
        ),
        (
            "audio-tone",
            "frequency = 9000.0",
            &["frequency = 9000", "half of sample_rate"],
        ),
        ("tabular", "columns = [1, 1]", &["columns = [1, 1]", "once"]),
        (
            "tabular",
            "columns = [1]\nvalues = [1.0, 2.0]",
            &["values", "1 columns"],
        ),
    ] {
        let message = plant::build(id, &parameters.parse().unwrap()).unwrap_err();
        holds(&message.to_string(), words);
    }
}

#[test]
fn a_trigger_that_does_not_fit_its_input_is_refused() {
    let bounds = || Bounds::uniform(0.0, 1.0).unwrap();
    let table = random(Kind::Table, &[6], bounds(), 50, 2);
    let sound = random(Kind::Audio, &[100], bounds(), 50, 2);
    let images = digits("digits");
    holds(
        &refusal("wanet", "", &table, 0.1, Some(1)),
        &[
            "wanet",
            "random",
            "is table of shape [6]",
            "expected images",
        ],
    );
    holds(
        &refusal("badnets", "size = 8", &images, 0.1, Some(1)),
        &["8 × 8", "smaller `size`"],
    );
    holds(
        &refusal("audio-tone", "", &images, 0.1, Some(1)),
        &["is image", "expected waveforms"],
    );
    holds(
        &refusal("audio-tone", "", &sound, 0.1, Some(1)),
        &["1600 samples", "recordings have 100", "`seconds`"],
    );
    holds(
        &refusal("tabular", "columns = [6]", &table, 0.1, Some(1)),
        &["columns holds 6", "0 to 5"],
    );
    holds(
        &refusal(
            "tabular",
            "columns = [0]\nvalues = [3.0]",
            &table,
            0.1,
            Some(1),
        ),
        &["values holds 3", "0,1"],
    );
    holds(
        &refusal("sig", "frequency = 4", &images, 0.05, Some(1)),
        &["4 periods", "8 columns"],
    );
    holds(
        &refusal("blended", "pattern = [0.5]", &images, 0.1, Some(1)),
        &["1 numbers", "64 features"],
    );
    let model_free = built("badnets", "").with_model(model());
    holds(
        &model_free.unwrap_err().to_string(),
        &["badnets", "uses no model"],
    );
}

fn model() -> std::sync::Arc<dyn proofmark_model::GradientModel> {
    let set = digits("digits");
    let input = &set.modalities[0].modality;
    let kind = proofmark_testkit::trained::Kind::Linear;
    let rows: Vec<f32> = set.modalities[0].values.iter().copied().collect();
    let labels = set.labels.as_deref().unwrap();
    let model = proofmark_testkit::trained::trained(kind, input, &rows, labels, 10, 1);
    std::sync::Arc::new(model.unwrap())
}

#[test]
fn a_model_of_other_inputs_is_refused() {
    let set = random(
        Kind::Image,
        &[10, 10],
        Bounds::uniform(0.0, 1.0).unwrap(),
        50,
        2,
    );
    let planter = built("label-consistent", "").with_model(model()).unwrap();
    let error = plant::poison(&*planter, &set, 0.1, Some(1), SEED).unwrap_err();
    holds(&error.to_string(), &["linear", "[10, 10]"]);
}

#[test]
fn targets_and_rates_that_make_no_sense_are_refused() {
    let set = digits("digits:train");
    holds(
        &refusal("badnets", "", &set, 0.05, Some(10)),
        &["target 10", "10 classes", "0 to 9"],
    );
    holds(
        &refusal("badnets", "", &set, 0.05, None),
        &["target none", "expected the target class"],
    );
    holds(
        &refusal("all-to-all", "", &set, 0.05, Some(3)),
        &["target 3", "leave the target out"],
    );
    holds(
        &refusal("tact", "source = 4", &set, 0.05, Some(4)),
        &["target 4", "source class as well"],
    );
    holds(
        &refusal("tact", "source = 12", &set, 0.05, Some(4)),
        &["source class 12 has no samples"],
    );
    holds(
        &refusal("badnets", "", &set, 0.0005, Some(1)),
        &["0.0005", "898 samples", "poisons no sample", "5.57e-4"],
    );
    holds(
        &refusal("sig", "", &set, 0.2, Some(1)),
        &["asks for 180 poisoned samples", "rate of at most 0.1"],
    );
    for rate in [0.0, -0.1, 1.5, f64::NAN] {
        holds(
            &refusal("badnets", "", &set, rate, Some(1)),
            &["above 0 and at most 1"],
        );
    }
    holds(
        &refusal("wanet", "covers = 30.0", &set, 0.05, Some(1)),
        &["asks for 1350 covers"],
    );
}

#[test]
fn sets_without_two_classes_are_refused() {
    let mut set = digits("digits:train");
    set.labels = Some(vec![3; set.len()]);
    holds(
        &refusal("badnets", "", &set, 0.05, Some(1)),
        &["class 3 alone", "two classes or more"],
    );
    set.labels = None;
    holds(&refusal("badnets", "", &set, 0.05, Some(1)), &["no labels"]);
    let empty = digits("digits").select(&[]);
    assert!(plant::poison(&*built("badnets", ""), &empty, 0.05, Some(0), SEED).is_err());
    let test = plant::triggered(
        &*built("badnets", ""),
        &digits("digits"),
        Some(1),
        SEED,
        Some(9),
    );
    holds(
        &test.unwrap_err().to_string(),
        &["label 9", "beyond the 9 classes"],
    );
}
