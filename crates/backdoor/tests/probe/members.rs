//! Each member on a model with a backdoor and on its clean twin.

use proofmark_backdoor::probe::mm_bd::Config;

use crate::common::{CLASSES, SAMPLES, TARGET, clean, found, leaning, planted, probe};

/// Margins in closed form: all features of the class at 1 and the others at 0 give 3 * 12; the trigger adds 5 * (10 - 2).
#[test]
fn the_largest_margin_of_a_planted_target_is_that_of_the_closed_form() {
    let with = found("mm_bd", &planted(true), None);
    assert_eq!(with.target, Some(TARGET));
    assert!(
        (with.per_class[TARGET] - 76.0).abs() < 4.0,
        "{:?}",
        with.per_class
    );
    assert!(
        (with.per_class[0] - 36.0).abs() < 2.0,
        "{:?}",
        with.per_class
    );
    assert!(with.statistic > 0.5);
    let without = found("mm_bd", &planted(false), None);
    assert!(without.statistic < 0.05, "{:?}", without.per_class);
    // Every class is probed: one known implementation stops at 5 of 10.
    assert_eq!(with.per_class.len(), CLASSES);
}

/// Momentum persists from step to step: with the optimiser made anew at every step, as in the authors' code, all values of
/// it would give the same points.
#[test]
fn the_momentum_of_mm_bd_acts() {
    let model = planted(true);
    let margins = |momentum: f64| {
        let settings = format!("steps = 8\nmomentum = {momentum:.1}");
        let subject = proofmark_backdoor::probe::Subject::new(&model);
        probe("mm_bd", &settings).run(&subject).unwrap().per_class
    };
    assert_ne!(margins(0.0), margins(0.9));
    assert!(Config::default().momentum > 0.0);
}

#[test]
fn free_eagle_names_the_class_that_others_lean_to() {
    let with = found("free_eagle", &leaning(0.3, 0.0), None);
    assert_eq!(with.target, Some(TARGET), "{:?}", with.per_class);
    let without = found("free_eagle", &leaning(0.0, 0.0), None);
    assert!(
        with.statistic > without.statistic + 0.5,
        "{} {}",
        with.statistic,
        without.statistic
    );
}

#[test]
fn trodo_gains_confidence() {
    let with = found("trodo", &planted(true), None);
    assert!(with.figures["after"] > with.figures["before"]);
    let shares: f64 = with.per_class.iter().sum();
    assert!((shares - 1.0).abs() < 1e-9);
}

/// A unit that clean samples do not need, and that leads to the target, is what the mask leaves.
#[test]
fn bti_dbf_names_the_class_of_what_clean_samples_do_not_need() {
    let samples = clean(SAMPLES);
    let with = found("bti_dbf", &leaning(0.0, 6.0), Some(&samples));
    assert_eq!(with.target, Some(TARGET), "{:?}", with.per_class);
    assert!(with.figures["largest"] > 0.5, "{:?}", with.per_class);
}
