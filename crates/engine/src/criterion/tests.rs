use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Bounds, Criteria, Kind, Modality};
use proofmark_model::Output;
use proofmark_threat::{Batch, host};

use super::*;
use crate::Truth;

const INF: f32 = f32::INFINITY;

fn built(texts: &[&str], targeted: bool, references: &References) -> Arc<dyn Criterion> {
    let criteria = Criteria::parse(texts.iter().copied()).unwrap();
    build(&criteria, targeted, 3, references).unwrap()
}

/// Two samples with three outputs each.
fn references() -> References {
    References {
        values: Some(vec![0.0, 1.0, 2.0, -1.0, 0.5, 0.0].into()),
        labels: Some(vec![true, false, true, false, false, true].into()),
    }
}

fn focus(n: usize, label: usize, target: Option<usize>) -> Focus {
    let modality = Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![1],
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    };
    let x0 = Batch::from_host([modality].into(), vec![vec![0.0; n]], &Device::flex()).unwrap();
    Focus::new(x0, vec![label; n], target.map(|t| vec![t; n]))
}

const ALL: [&[&str]; 12] = [
    &["margin=0"],
    &["margin=1"],
    &["probability-margin=0"],
    &["probability-margin=0.3"],
    &["top-k=1"],
    &["top-k=2"],
    &["multi-label"],
    &["multi-label:least=2"],
    &["multi-label:label=1:threshold=0.7"],
    &["regression=1"],
    &["interval=-1,2:output=2"],
    &["top-k=2", "margin=1"],
];

/// Every row of three outputs out of six values, for every label and target: the device decides as the host does, and
/// the ways are above 0 where the criterion is met and below where it is not, ties apart.
#[test]
fn ways_agree_with_the_decision() {
    let values = [-2.0, -0.5, 0.0, 1.0, 1.5, 3.0_f32];
    let rows: Vec<[f32; 3]> = (0..216)
        .map(|i| [i / 36, i / 6 % 6, i % 6].map(|v: usize| values[v]))
        .collect();
    let flat: Vec<f32> = rows.iter().flatten().copied().collect();
    let scores = Tensor::<2>::from_data(TensorData::new(flat, [216, 3]), &Device::flex());
    let mut seen = [0, 0];
    for texts in ALL {
        for (label, target) in (0..3).flat_map(|l| [None, Some((l + 1) % 3)].map(|t| (l, t))) {
            let criterion = built(texts, target.is_some(), &references());
            let mut focus = focus(216, label, target);
            // Both samples have references.
            focus.row = (0..216).map(|i| crate::RowId::Sample(i % 2)).collect();
            let met = criterion
                .met(&Output::Scores(scores.clone()), &focus)
                .unwrap();
            let met = host(&met.float());
            let ways = criterion.ways().unwrap();
            let excess = ways.excess(&scores, &focus);
            assert_eq!(excess.dims(), [216, ways.count(3)], "{texts:?}");
            let excess = host(&excess.max_dim(1));
            for (i, row) in rows.iter().enumerate() {
                let truth = Truth {
                    sample: i % 2,
                    label,
                    target,
                };
                let own = criterion.met_by(row, &truth);
                assert_eq!(met[i] > 0.5, own, "{texts:?} {row:?}");
                if excess[i].abs() > 1e-6 {
                    assert_eq!(excess[i] > 0.0, own, "{texts:?} {row:?} {truth:?}");
                }
                seen[usize::from(own)] += 1;
            }
        }
    }
    assert!(seen[0] > 1_000 && seen[1] > 1_000, "{seen:?}");
}

/// `margin=0` and `top-k=1` are misclassification, ties included.
#[test]
fn no_lead_is_misclassification() {
    let none = References::default();
    for texts in [["margin=0"], ["probability-margin=0"], ["top-k=1"]] {
        for i in 0..27_usize {
            let row = [i / 9, i / 3 % 3, i % 3].map(|v| v as f32);
            for label in 0..3 {
                for target in [None, Some((label + 1) % 3)] {
                    let goal = match target {
                        None => Goal::Untargeted,
                        Some(_) => Goal::Targeted,
                    };
                    let criterion = built(&texts, target.is_some(), &none);
                    let truth = Truth {
                        sample: 0,
                        label,
                        target,
                    };
                    assert_eq!(
                        criterion.met_by(&row, &truth),
                        goal.met_by(&row, &truth),
                        "{texts:?} {row:?} {truth:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn decisions_by_hand() {
    let (none, all) = (References::default(), references());
    let truth = |sample, label, target| Truth {
        sample,
        label,
        target,
    };
    let own = truth(0, 0, None);
    let margin = built(&["margin=1"], false, &none);
    assert!(margin.met_by(&[1.0, 2.0, 0.0], &own), "a lead of exactly 1");
    assert!(!margin.met_by(&[1.0, 1.9, 0.0], &own));
    assert!(margin.met_by(&[-INF, 1.9, 0.0], &own));
    assert!(!margin.met_by(&[f32::NAN, 9.0, 0.0], &own));
    let targeted = built(&["margin=1"], true, &none);
    assert!(targeted.met_by(&[1.0, 0.0, 2.0], &truth(0, 0, Some(2))));
    assert!(!targeted.met_by(&[1.0, 1.5, 2.0], &truth(0, 0, Some(2))));
    // Probabilities 0.25 and 0.75: a lead of 0.5.
    let half = built(&["probability-margin=0.5"], false, &none);
    let three = 3.0_f32.ln();
    assert!(half.met_by(&[0.0, three + 1e-3, -INF], &own));
    assert!(!half.met_by(&[0.0, three - 1e-3, -INF], &own));
    let top = built(&["top-k=2"], false, &none);
    assert!(!top.met_by(&[1.0, 1.0, 2.0], &own), "class 0 wins the tie");
    assert!(top.met_by(&[1.0, 1.0, 2.0], &truth(0, 1, None)));
    let into = built(&["top-k=2"], true, &none);
    assert!(into.met_by(&[1.0, 0.0, 2.0], &truth(0, 2, Some(0))));
    assert!(!into.met_by(&[1.0, 0.0, 2.0], &truth(0, 2, Some(1))));
    // Sample 1 has label 2 only.
    let labels = |texts: &[&str]| built(texts, false, &all);
    let second = truth(1, 0, None);
    assert!(!labels(&["multi-label"]).met_by(&[-1.0, -1.0, 1.0], &second));
    assert!(labels(&["multi-label"]).met_by(&[-1.0, 1.0, 1.0], &second));
    assert!(!labels(&["multi-label:least=2"]).met_by(&[-1.0, 1.0, 1.0], &second));
    assert!(labels(&["multi-label:least=2"]).met_by(&[1.0, 1.0, 1.0], &second));
    assert!(!labels(&["multi-label:label=2"]).met_by(&[1.0, 1.0, 1.0], &second));
    // logit(0.9) is 2.197.
    assert!(!labels(&["multi-label:label=1:threshold=0.9"]).met_by(&[0.0, 2.1, 0.0], &second));
    assert!(labels(&["multi-label:label=1:threshold=0.9"]).met_by(&[0.0, 2.3, 0.0], &second));
    // Sample 1 refers to -1, 0.5, 0.
    assert!(
        !labels(&["regression=0.5"]).met_by(&[-1.5, 1.0, 0.5], &second),
        "not beyond"
    );
    assert!(labels(&["regression=0.5"]).met_by(&[-1.0, 0.5, 0.75], &second));
    assert!(labels(&["regression=0.1,9,9"]).met_by(&[-1.25, 0.5, 0.0], &second));
    assert!(!labels(&["regression=0.5:output=1"]).met_by(&[9.0, 0.5, 9.0], &second));
    let inside = built(&["interval=0,1"], false, &none);
    assert!(!inside.met_by(&[0.0, 0.5, 1.0], &own));
    assert!(inside.met_by(&[0.0, 0.5, 1.5], &own));
    let both = labels(&["interval=-inf,1", "regression=1:output=0"]);
    assert!(!both.met_by(&[0.0, 0.0, 3.0], &own));
    assert!(both.met_by(&[1.5, 0.0, 0.0], &own));
}

#[test]
fn numbers_that_are_not_finite_decide_nothing() {
    let criterion = built(&["regression=1"], false, &references());
    for bad in [f32::NAN, INF, -INF] {
        assert!(!criterion.decides(&[0.0, bad, 0.0]));
        let truth = Truth {
            sample: 0,
            label: 0,
            target: None,
        };
        assert_eq!(criterion.prediction(&[9.0, bad, 0.0], &truth), None);
    }
    assert!(built(&["top-k=2"], false, &References::default()).decides(&[0.0, -INF, 0.0]));
}

#[test]
fn criteria_that_do_not_fit_the_model_are_refused() {
    let refused = |text: &str, references: &References| {
        let criteria = Criteria::parse([text]).unwrap();
        build(&criteria, false, 3, references)
            .unwrap_err()
            .to_string()
    };
    let (none, all) = (References::default(), references());
    for (text, part) in [
        ("top-k=3", "k below 3"),
        ("multi-label:least=4", "at most 3"),
        ("multi-label:label=3", "a label below 3"),
        ("regression=1:output=3", "an output below 3"),
        ("regression=1,2", "one bound, or 3"),
        ("interval=0,1:output=7", "an output below 3"),
    ] {
        assert!(
            refused(text, &all).contains(part),
            "{text}: {}",
            refused(text, &all)
        );
    }
    assert!(refused("regression=1", &none).contains("targets"));
    assert!(refused("multi-label", &none).contains("labels"));
}
