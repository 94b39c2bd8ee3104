//! Models that only look robust: none may pass, each must carry its trust code, and if the threshold is provably missed
//! the verdict is fail whatever the flags.

use proofmark::domain::{Epsilon, Norm, Report, TrustCode, Verdict};
use proofmark::policy::{Metric, assess};
use proofmark::{Dataset, RunPlan, Settings, ThreatPlan};
use proofmark_testkit::masked::{Mask, Masked};

const EPS: f64 = 0.15;

fn data() -> Dataset {
    proofmark::open("digits")
        .unwrap()
        .limit(120, Default::default())
}

fn report(mask: Mask, attacks: &[(&str, &str)]) -> Report {
    let inner = proofmark::model("digits-standard", &proofmark::device("cpu").unwrap()).unwrap();
    let model = Masked::new(inner, mask);
    let data = data();
    let built: Vec<_> = attacks
        .iter()
        .map(|(id, p)| proofmark::attacks::build(id, &p.parse().unwrap()).unwrap())
        .collect();
    let threat = ThreatPlan::new(Norm::Linf, Epsilon::new(EPS).unwrap());
    let mut plan = RunPlan::new(&model, &data, &built, vec![threat]);
    plan.settings = Settings::default();
    plan.run().unwrap().report
}

fn codes(report: &Report) -> Vec<TrustCode> {
    report
        .trust
        .iter()
        .filter(|f| !f.cured)
        .map(|f| f.code)
        .collect()
}

const PGD: [(&str, &str); 1] = [("pgd", "steps = 40")];

#[test]
fn no_masked_model_passes_and_each_carries_its_code() {
    let expected = [
        (Mask::GradientKiller, TrustCode::ZeroGradients),
        // The unbounded attack fails, too: the probe has no random start that could succeed.
        (Mask::GradientKiller, TrustCode::UnboundedAttackFails),
        (Mask::GradientKiller, TrustCode::PlantedAdversarialMissed),
        (Mask::Quantiser, TrustCode::ZeroGradients),
        (Mask::Quantiser, TrustCode::PlantedAdversarialMissed),
        (Mask::StraightThrough, TrustCode::ApproximateGradients),
        (Mask::RoundedLogits, TrustCode::ApproximateGradients),
        (Mask::WinnerThird, TrustCode::CleanAtChance),
        (Mask::ReversedGradient, TrustCode::ApproximateGradients),
        (Mask::ReversedGradient, TrustCode::PlantedAdversarialMissed),
        (Mask::Softmax, TrustCode::ProbabilitiesAsLogits),
        (Mask::ScaledLogits, TrustCode::SaturatedLogits),
        (Mask::DropoutOn, TrustCode::RandomisedOutputs),
        (Mask::DropoutOn, TrustCode::UnstablePredictions),
    ];
    for (mask, code) in expected {
        let report = report(mask, &PGD);
        assert!(
            codes(&report).contains(&code),
            "{mask:?} carries {:?}",
            codes(&report)
        );
        // Even a threshold far below the measured accuracy does not pass.
        let easy = assess(&report, Metric::RobustAccuracy, 0.0001, 0.95);
        assert_ne!(easy.verdict, Verdict::Pass, "{mask:?}: {}", easy.message);
    }
}

#[test]
fn a_constant_ratio_of_logits_has_no_gradient_and_other_losses_have() {
    // Rivals with equal scores make the ratio constant; APGD changes to the margin there.
    let dlr = [("pgd", "steps = 40\nloss = \"dlr\"")];
    let flat = codes(&report(Mask::EqualRivals, &dlr));
    assert!(flat.contains(&TrustCode::ZeroGradients), "{flat:?}");
    let falls_back = report(Mask::EqualRivals, &[("apgd", "loss = \"dlr\"")]);
    let zero = codes(&falls_back).contains(&TrustCode::ZeroGradients);
    assert!(!zero && falls_back.worst_case.robust_accuracy < 0.2);
}

#[test]
fn a_model_whose_tracked_logits_differ_is_flagged() {
    use proofmark::BurnModel;
    use proofmark::models::DecisionModel;
    let inner = proofmark::model("digits-standard", &proofmark::device("cpu").unwrap()).unwrap();
    let signature = DecisionModel::signature(&inner).clone();
    // Untracked inputs go to one network, tracked inputs to another, as with dropout in training mode.
    let model = BurnModel::closure(signature.modalities.to_vec(), 10, &signature.device, |x| {
        let pixels = x[0].clone().slice([0..x[0].dims()[0], 0..10]);
        if pixels.is_autodiff() {
            pixels
        } else {
            pixels * 2.0
        }
    })
    .unwrap();
    let result = proofmark::evaluate(&model, &data())
        .linf(EPS)
        .attacks(["fgsm"])
        .run()
        .unwrap();
    assert!(
        codes(result.report()).contains(&TrustCode::TrackedLogitsDiffer),
        "{:?}",
        result.report().trust
    );
}

#[test]
fn a_provably_broken_model_fails_whatever_the_flags() {
    // Gradients do flow through the softmax, and a factor of 1000 does not affect a scale-free loss.
    let proofs = [
        (Mask::Softmax, ("pgd", "steps = 40\nloss = \"margin\"")),
        (Mask::ScaledLogits, ("pgd", "steps = 40\nloss = \"dlr\"")),
        (Mask::DropoutOn, ("pgd", "steps = 40")),
    ];
    for (mask, attack) in proofs {
        let report = report(mask, &[attack]);
        let high = report.worst_case.ci95.high;
        assert!(high < 0.9, "{mask:?} was broken: {:?}", report.worst_case);
        let missed = assess(&report, Metric::RobustAccuracy, 0.9, 0.95);
        assert_eq!(
            missed.verdict,
            Verdict::Fail,
            "{mask:?}: {}",
            missed.message
        );
    }
}

#[test]
fn a_cured_flag_is_a_note() {
    // Cross-entropy saturates on scaled logits; the DLR run compensates for it.
    let report = report(
        Mask::ScaledLogits,
        &[("pgd", "steps = 40"), ("pgd", "steps = 40\nloss = \"dlr\"")],
    );
    assert!(
        !codes(&report).contains(&TrustCode::SaturatedLogits),
        "{:?}",
        report.trust
    );
    assert!(
        !codes(&report).contains(&TrustCode::ZeroGradients),
        "{:?}",
        report.trust
    );
}

#[test]
fn a_zero_budget_is_refused() {
    let model = proofmark::model("digits-robust", &proofmark::device("cpu").unwrap()).unwrap();
    let data = data();
    let refused = proofmark::evaluate(&model, &data)
        .linf(0.0)
        .attacks(["pgd"])
        .run()
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with("epsilon 0 freezes every input"),
        "{refused}"
    );
}

#[test]
fn an_honest_model_carries_no_flag() {
    for name in ["digits-standard", "digits-robust"] {
        let model = proofmark::model(name, &proofmark::device("cpu").unwrap()).unwrap();
        let data = data();
        let result = proofmark::evaluate(&model, &data)
            .linf(EPS)
            .attacks(["pgd"])
            .run()
            .unwrap();
        assert!(
            result.report().trust.is_empty(),
            "{name}: {:?}",
            result.report().trust
        );
    }
}
