//! A suite that imports only the prelude, which holds everything a user needs.

use proofmark::prelude::*;

type Tested = Result<(), Box<dyn std::error::Error>>;

#[test]
fn a_shipped_model_is_evaluated_with_the_prelude_alone() -> Tested {
    let model = model("digits-robust", &device("cpu")?)?;
    let data = open("digits")?.limit(40, Default::default());
    let threat = ThreatPlan::new(Norm::Linf, Epsilon::new(0.02)?);
    let result: Evaluation = evaluate(&model, &data)
        .threat(threat)
        .attacks(["fgsm"])
        .run()?;
    result.robust_accuracy().at_least(0.45, 0.95)?;
    Ok(())
}

#[test]
fn a_model_of_a_file_and_one_as_a_trait_object_take_the_same_call() -> Tested {
    let data: Dataset = open("digits")?.limit(20, Default::default());
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../datasets/digits/digits-robust.onnx"
    );
    let opened = ModelSource::new(file).open(&data, &device("cpu")?)?;
    let whole = evaluate(&opened, &data).linf(0.1).attacks(["fgsm"]).run()?;
    let object = opened.model.as_ref();
    let same = evaluate(object, &data).linf(0.1).attacks(["fgsm"]).run()?;
    assert_eq!(whole.report().samples, same.report().samples);
    Ok(())
}

#[test]
fn closures_of_another_runtime_need_no_other_import() -> Tested {
    let data = open("digits")?.limit(20, Default::default());
    let inputs = vec![Modality {
        name: "image".into(),
        kind: Kind::Image,
        shape: vec![1, 8, 8],
        bounds: Bounds::uniform(0.0, 1.0)?,
    }];
    let signature = Signature::new("brightness", inputs, 10, &device("cpu")?)?;
    let scores = FromScores::new(signature.clone(), |x, rows| {
        let sum = |row: &[f32]| row.iter().sum::<f32>();
        let score = |row| (0..10).map(move |class| -(sum(row) / 5.0 - class as f32).abs());
        let all: Vec<f32> = x[0].chunks(64).flat_map(score).collect();
        assert_eq!(all.len(), 10 * rows);
        Ok::<_, String>(all)
    })?;
    let noisy = evaluate(&scores, &data)
        .linf(0.3)
        .attacks(["uniform-noise"])
        .run()?;
    assert_eq!(noisy.report().clean.n, 20);
    let always = FromDecisions::new(signature, |_, rows| Ok::<_, String>(vec![3; rows]))?;
    let decided = evaluate(Access::Decisions(&always), &data)
        .linf(0.3)
        .attacks(["uniform-noise"])
        .run()?;
    let short = decided.robust_accuracy().at_least(0.9, 0.95).unwrap_err();
    assert_eq!(short.verdict, Verdict::Fail);
    Ok(())
}
