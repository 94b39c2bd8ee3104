//! The target class of a planted trigger has by far the smallest patch, and the patch lies on the trigger.

use proofmark_backdoor::probe::inversion::{Inversion, Split, invert};
use proofmark_backdoor::probe::{Patch, Subject};

use crate::common::{CLASSES, FEATURES, SAMPLES, TARGET, TRIGGER, clean, found, planted, probe};

#[test]
fn the_patch_of_a_planted_trigger_is_the_smallest_and_lies_on_it() {
    let (model, samples) = (planted(true), clean(SAMPLES));
    let found = found("neural_cleanse", &model, Some(&samples));
    assert_eq!(found.target, Some(TARGET));
    assert!(found.statistic > 0.5, "{:?}", found.per_class);
    let patch = found.trigger.unwrap();
    assert!(patch.reached >= 0.95);
    let mut order: Vec<usize> = (0..FEATURES).collect();
    order.sort_by(|a, b| patch.mask[*b].total_cmp(&patch.mask[*a]));
    let mut top = [order[0], order[1]];
    top.sort_unstable();
    assert_eq!(top, TRIGGER);
    for f in TRIGGER {
        assert!(patch.pattern[f] > 0.8, "{}", patch.pattern[f]);
    }
    let truth: Vec<bool> = (0..FEATURES).map(|f| TRIGGER.contains(&f)).collect();
    assert!(patch.overlap(&truth) >= 0.5, "{:?}", patch.mask);
    // Measured on samples that it was not fitted on, none of the class itself.
    let (share, n) = patch.held_out.unwrap();
    assert_eq!(n, SAMPLES / 3 / CLASSES * (CLASSES - 1));
    assert!(share > 0.8, "{share}");
}

#[test]
fn without_a_trigger_no_patch_stands_out() {
    let found = found("neural_cleanse", &planted(false), Some(&clean(SAMPLES)));
    assert!(found.statistic < 0.3, "{:?}", found.per_class);
}

/// The smallest mask that was kept must succeed: one known implementation keeps it whether it does or not.
#[test]
fn a_patch_that_does_not_succeed_is_none() {
    let (model, samples) = (planted(false), clean(SAMPLES));
    let mut subject = Subject::new(&model);
    subject.clean = Some(&samples);
    let split = Split::of(&samples, &subject);
    let settings = |steps| Inversion {
        steps,
        ..Inversion::default()
    };
    // In a single step nothing succeeds; in many everything does, on all that it was fitted on.
    let early = invert(&subject, &samples, &split, &settings(1)).unwrap();
    assert!(early.iter().all(Option::is_none));
    let late = invert(&subject, &samples, &split, &settings(200)).unwrap();
    for patch in late.iter().flatten() {
        assert!(patch.reached >= settings(1).success, "{}", patch.reached);
    }
    assert_eq!(late.iter().flatten().count(), CLASSES);
}

/// The weight of the size grows: one known implementation sets it back at every step, so that masks stay large.
#[test]
fn a_growing_weight_makes_masks_smaller() {
    let (model, samples) = (planted(false), clean(SAMPLES));
    let mut subject = Subject::new(&model);
    subject.clean = Some(&samples);
    let split = Split::of(&samples, &subject);
    let size = |factor| {
        let settings = Inversion {
            factor,
            ..Inversion::default()
        };
        let patches = invert(&subject, &samples, &split, &settings).unwrap();
        patches.iter().flatten().map(Patch::size).sum::<f64>()
    };
    assert!(size(1.5) < 0.8 * size(1.0));
}

#[test]
fn the_samples_that_measure_are_not_those_that_fit() {
    let (model, samples) = (planted(true), clean(SAMPLES));
    let split = Split::of(&samples, &Subject::new(&model));
    assert_eq!(split.fit.len() + split.held_out.len(), SAMPLES);
    assert!(split.held_out.iter().all(|i| !split.fit.contains(i)));
    for class in 0..CLASSES {
        let of = |places: &[usize]| {
            places
                .iter()
                .filter(|i| samples.labels[**i] == class)
                .count()
        };
        assert_eq!((of(&split.fit), of(&split.held_out)), (8, 4));
    }
}

/// With fewer arms than classes, K-Arm leaves the planted class its steps.
#[test]
fn fewer_arms_than_classes_still_find_the_trigger() {
    let (model, samples) = (planted(true), clean(SAMPLES));
    let mut subject = Subject::new(&model);
    subject.clean = Some(&samples);
    let found = probe("neural_cleanse", "arms = 2").run(&subject).unwrap();
    assert_eq!(found.target, Some(TARGET));
}
