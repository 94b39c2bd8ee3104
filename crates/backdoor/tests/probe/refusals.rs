//! What cannot be probed is refused, with what was expected.

use burn::tensor::{Device, Tensor};
use proofmark_backdoor::probe::{ALL, Subject, chosen, examine};
use proofmark_domain::{Bounds, Kind, Modality};
use proofmark_engine::Samples;
use proofmark_model::BurnModel;

use crate::common::{clean, planted, probe};

fn problem(id: &str, samples: Option<&Samples>) -> String {
    let model = planted(false);
    let mut subject = Subject::new(&model);
    subject.clean = samples;
    probe(id, "").run(&subject).unwrap_err().to_string()
}

#[test]
fn samples_that_do_not_suffice_are_named() {
    for id in ["neural_cleanse", "bti_dbf"] {
        assert!(problem(id, None).contains("20 clean samples; there are none (--data)"));
        assert!(problem(id, Some(&clean(19))).contains("20 clean samples; there are 19"));
        let mut one = clean(40);
        one.labels = vec![2; 40];
        assert!(problem(id, Some(&one)).contains("2 classes or more; all have class 2"));
        let mut unlabelled = clean(40);
        unlabelled.labels.clear();
        assert!(problem(id, Some(&unlabelled)).contains("labels of the clean samples"));
    }
}

#[test]
fn models_that_no_probe_is_defined_on_are_refused() {
    let input = |high: f32| Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![2],
        bounds: Bounds::uniform(0.0, high).unwrap(),
    };
    let sum = |x: &[Tensor<2>]| x[0].clone().sum_dim(1);
    let refused = |inputs: Vec<Modality>, classes: usize| {
        let model = BurnModel::closure(inputs, classes, &Device::flex(), sum).unwrap();
        let error = examine(&Subject::new(&model), &[], &|| 0.0, &|_| {}).unwrap_err();
        error.to_string()
    };
    assert!(
        refused(vec![input(1.0)], 1).contains("it has 1 output; expected a score for each of 2")
    );
    assert!(refused(vec![input(1.0), input(1.0)], 1).contains("it has 2 inputs; expected one"));
}

#[test]
fn an_unknown_layer_names_those_there_are() {
    let model = planted(false);
    let mut subject = Subject::new(&model);
    subject.layer = Some("sum");
    let error = probe("free_eagle", "")
        .run(&subject)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("--layer sum") && error.contains("sums"),
        "{error}"
    );
}

#[test]
fn settings_out_of_range_and_unknown_probes_are_refused() {
    for entry in ALL {
        for (settings, part) in [
            ("steps = 0", "steps = 0; expected 1 or more"),
            ("step = 3", "step"),
        ] {
            let error = (entry.build)(&settings.parse().unwrap())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(entry.meta.id) && error.contains(part),
                "{error}"
            );
        }
    }
    let error = chosen(&["mm-bd".to_owned()]).unwrap_err().to_string();
    assert!(
        error.contains("mm-bd") && error.contains("neural_cleanse"),
        "{error}"
    );
    assert!(chosen(&["mm_bd".to_owned(), "mm_bd".to_owned()]).is_err());
}
