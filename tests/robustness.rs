//! A robustness suite as a user would write it: `cargo test`, and a failure says what to do next.

use proofmark::{Evaluation, evaluate, open};

fn evaluated(model: &str) -> Evaluation {
    let model = proofmark::model(model, &proofmark::device("cpu").unwrap()).unwrap();
    let data = open("digits").unwrap().limit(200, Default::default());
    evaluate(&model, &data)
        .linf(0.15)
        .attacks(["fgsm", "pgd"])
        .run()
        .unwrap()
}

#[test]
fn the_robust_model_is_robust() {
    let result = evaluated("digits-robust");
    result.clean_accuracy().at_least(0.90, 0.95).unwrap();
    result.robust_accuracy().at_least(0.60, 0.95).unwrap();
    result
        .robust_accuracy_under("fgsm")
        .at_least(0.50, 0.95)
        .unwrap();
}

#[test]
fn the_assertion_message_says_what_is_wrong_and_what_to_do() {
    let result = evaluated("digits-standard");
    let missed = result
        .robust_accuracy()
        .at_least(0.45, 0.95)
        .unwrap_err()
        .to_string();
    assert!(
        missed.starts_with("fail of `digits-standard` on `digits`"),
        "{missed}"
    );
    assert!(
        missed.contains("required: robust_accuracy >= 0.45"),
        "{missed}"
    );

    let observed = evaluated("digits-robust");
    let close = observed.report().worst_case.robust_accuracy;
    let undecided = observed
        .robust_accuracy()
        .at_least(close, 0.95)
        .unwrap_err()
        .to_string();
    assert!(undecided.starts_with("inconclusive"), "{undecided}");
}

#[test]
fn an_attack_that_did_not_run_is_no_evidence() {
    let result = evaluated("digits-robust");
    let error = result
        .robust_accuracy_under("pdg")
        .at_least(0.1, 0.95)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no attack `pdg` was run"), "{error}");
}

#[test]
fn five_lines_from_a_model_to_a_verdict() {
    // The promise is about what a user types: count it where it is documented.
    let documented = include_str!("../crates/proofmark/src/lib.rs");
    let from = documented
        .find("//! let model =")
        .expect("the documented call");
    let call = &documented[from..from + documented[from..].find("//! # Ok").expect("its end")];
    assert!(
        call.lines().filter(|l| l.starts_with("//! ")).count() <= 5,
        "{call}"
    );
}
