//! A robustness suite as a user would write it: `cargo test`, and a failure says what to do next.

use std::error::Error;

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
    // The promise is about what a user types: count the lines where they are documented.
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

/// The code of the README.
#[expect(dead_code, reason = "compiled, not run: the files are made up")]
mod readme {
    use proofmark::prelude::*;

    use super::Error;

    pub(super) fn shipped() -> Result<(), Box<dyn Error>> {
        let model = model("digits-robust", &device("cpu")?)?;
        let data = open("digits")?;
        let result = evaluate(&model, &data)
            .linf(0.15)
            .suite("proofmark-1")
            .run()?;
        result.robust_accuracy().at_least(0.65, 0.95)?;
        Ok(())
    }

    pub(super) fn onnx() -> Result<(), Box<dyn Error>> {
        let data = open("images.npz")?;
        let model = ModelSource::new("model.onnx").open(&data, &device("auto")?)?;
        let result = evaluate(&model, &data)
            .linf(8.0 / 255.0)
            .attack("pgd", "steps = 100")
            .run()?;
        drop(result);
        Ok(())
    }

    /// Stands for the runtime of a user.
    pub(super) struct Session(String);

    impl Session {
        fn run(&self, _: &[f32], _: usize) -> Result<Vec<f32>, String> {
            Err(self.0.clone())
        }
    }

    pub(super) fn runtime(session: Session, inputs: Vec<Modality>) -> Result<(), Box<dyn Error>> {
        let data = open("digits")?;
        let signature = Signature::new("mine", inputs, 10, &device("cpu")?)?;
        let model = FromScores::new(signature, move |x, rows| session.run(&x[0], rows))?;
        let result = evaluate(&model, &data)
            .linf(0.3)
            .attacks(["uniform-noise"])
            .run()?;
        drop(result);
        Ok(())
    }
}

#[test]
fn the_code_of_the_readme_compiles() {
    // The prelude import stands above the functions that the blocks are compiled as.
    let squeezed = |text: &str| {
        let text = text.replace("use proofmark::prelude::*;", "");
        text.split_whitespace().collect::<String>()
    };
    let code = squeezed(include_str!("robustness.rs"));
    let readme = include_str!("../README.md");
    let blocks: Vec<&str> = readme
        .split("```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(blocks.len(), 3);
    for block in blocks {
        let lines = block
            .lines()
            .map(|line| line.split("//").next().unwrap_or(line));
        let block = squeezed(&lines.collect::<String>());
        assert!(code.contains(&block), "not compiled: {block}");
    }
}

#[test]
fn every_kind_of_model_is_evaluated_and_its_preprocessing_reported() {
    let device = proofmark::device("cpu").unwrap();
    let data = open("digits").unwrap().limit(20, Default::default());
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../datasets/digits/digits-robust.onnx"
    );
    let mut source = proofmark::ModelSource::new(file);
    source.preprocess.scale = Some(2.0);
    source.preprocess.std = vec![2.0];
    let opened = source.open(&data, &device).unwrap();
    let whole = evaluate(&opened, &data)
        .linf(0.1)
        .attacks(["fgsm"])
        .run()
        .unwrap();
    let inner = evaluate(opened.model.as_ref(), &data)
        .linf(0.1)
        .attacks(["fgsm"])
        .run()
        .unwrap();
    assert_eq!(whole.report().preprocessing["scale"], 2.0);
    assert_eq!(whole.report().samples, inner.report().samples);
}
