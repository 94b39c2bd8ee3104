//! The shipped networks as ONNX files: the same results in every format, a final softmax bypassed, int8 judged.

use std::path::Path;

use proofmark::domain::{Report, TrustCode, Verdict};
use proofmark::models::{GradientModel, Query};
use proofmark::policy::{GateReport, Record, judge};
use proofmark::threats::{Batch, host};
use proofmark::{Dataset, Gate, GateOptions, ModelSource};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Runs a gate over 150 digits, PGD at 0.15, robust accuracy at least 0.5, with `more` lines at the end of the policy.
fn gate(model: &str, output: &str, more: &str) -> (GateReport, Report) {
    let policy = format!(
        r#"
schema = "proofmark/policy/1"
seed = 1
[[model]]
name = "m"
path = "{model}"
output = "{output}"
[[data]]
name = "d"
path = "digits"
limit = 150
[[check]]
id = "c"
kind = "robustness"
model = "m"
data = "d"
threat = {{ norm = "linf", eps = "0.15" }}
attacks = [{{ id = "pgd", steps = 20 }}]
require = "robust_accuracy >= 0.5"
{more}"#
    );
    let device = proofmark::device("cpu").unwrap();
    let gate = Gate::read(policy.as_bytes(), &root().join("policy.toml")).unwrap();
    let ready = gate.prepare(&device).unwrap();
    let evidence = ready.run(&GateOptions::default(), &Default::default(), &mut |_, _| {});
    let Ok(Record::Attack(measured)) = evidence["c"].clone() else {
        panic!("not a model's")
    };
    let today = "2026-01-01".parse().unwrap();
    (judge(gate.policy(), evidence, today), *measured)
}

/// Returns the outcome of each sample, the part of a report that twins must share.
fn outcomes(report: &Report) -> Vec<(Option<usize>, Option<usize>, bool)> {
    let of =
        |s: &proofmark::domain::SampleRecord| (s.clean_pred, s.adv_pred, s.broken_by.is_some());
    report.samples.iter().map(of).collect()
}

#[test]
fn a_softmax_model_and_its_logits_twin_get_the_same_verdict() {
    for (net, verdict) in [("robust", Verdict::Pass), ("standard", Verdict::Fail)] {
        let file = |twin: &str| format!("datasets/digits/digits-{net}{twin}.onnx");
        let (logits, a) = gate(&file(""), "logits", "");
        let (softmax, b) = gate(&file("-softmax"), "probabilities", "");
        // A softmax is detected whatever the policy calls the output.
        let (unsaid, c) = gate(&file("-softmax"), "logits", "");
        let (burn, d) = gate(&format!("digits-{net}"), "logits", "");
        for report in [&logits, &softmax, &unsaid, &burn] {
            assert_eq!(report.verdict, verdict, "{net}");
        }
        assert_eq!(outcomes(&a), outcomes(&b));
        assert_eq!(outcomes(&a), outcomes(&c));
        assert_eq!(a.clean, d.clean);
        assert_eq!(a.trust, []);
        assert_eq!(b.trust.len(), 1);
        assert_eq!(b.trust[0].code, TrustCode::ProbabilitiesAsLogits);
        assert!(b.trust[0].cured);
    }
}

#[test]
fn an_int8_twin_is_judged_and_its_rounding_reported() {
    let file = |net: &str| format!("tests/golden/models/digits-{net}-int8.onnx");
    // A re-measured adversarial is proof, whatever the gradients.
    let (standard, _) = gate(&file("standard"), "logits", "");
    assert_eq!(standard.verdict, Verdict::Fail);
    let (robust, measured) = gate(&file("robust"), "logits", "");
    assert_eq!(robust.verdict, Verdict::Inconclusive);
    let codes: Vec<TrustCode> = measured.trust.iter().map(|f| f.code).collect();
    assert_eq!(codes, [TrustCode::ApproximateGradients]);
    let accept = "[[accept]]\ncode = \"approximate-gradients\"\nreason = \"known\"\nexpires = \"2026-12-31\"";
    let (accepted, _) = gate(&file("robust"), "logits", accept);
    assert_eq!(accepted.verdict, Verdict::Pass);
}

fn scores(model: &dyn GradientModel, data: &Dataset) -> Vec<f32> {
    let signature = model.signature();
    let values = data.modalities[0].values.iter().copied().collect();
    let x = Batch::from_host(
        signature.modalities.clone(),
        vec![values],
        &signature.device,
    );
    let keys: Vec<u64> = (0..data.ids.len() as u64).collect();
    host(
        &model
            .scores(&Query::one_per_row(x.unwrap(), &keys))
            .unwrap(),
    )
}

#[test]
fn a_file_gives_the_scores_of_the_module_it_was_made_from() {
    let data = proofmark::open("digits").unwrap();
    let device = proofmark::device("cpu").unwrap();
    for net in ["digits-standard", "digits-robust"] {
        let file = root().join(format!("datasets/digits/{net}.onnx"));
        let file = ModelSource::new(file.display().to_string());
        let a = scores(file.open(&data, &device).unwrap().model.as_ref(), &data);
        let module = ModelSource::new(net).open(&data, &device).unwrap();
        let b = scores(module.model.as_ref(), &data);
        let size = b.iter().fold(0f32, |m, x| m.max(x.abs()));
        let worst = a
            .iter()
            .zip(&b)
            .map(|(x, y)| (x - y).abs())
            .fold(0f32, f32::max);
        assert!(worst <= 1e-5 * size, "{net}: {worst} of {size}");
    }
}
