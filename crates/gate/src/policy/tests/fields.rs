//! Fields arrive as written; unknown names and fields of another kind are refused.

use proofmark_domain::{Coupling, Norm, OutputKind};

use super::*;
use crate::{FindingCode, Metric};

#[test]
fn every_field_arrives() {
    let p = parse(FULL).unwrap();
    assert_eq!(
        (p.seed.0, p.limits.seconds, p.limits.forwards),
        (7, Some(600.0), Some(1_000_000))
    );
    let mine = &p.models[0];
    assert_eq!(
        (mine.sha256.as_deref(), mine.output),
        (Some("ab".repeat(32).as_str()), OutputKind::Probabilities)
    );
    assert_eq!(
        (
            mine.preprocess.scale,
            mine.preprocess.mean.len(),
            mine.preprocess.std.as_slice()
        ),
        (Some(255.0), 3, &[0.5][..])
    );
    assert_eq!(
        (p.data[0].range.clone(), p.data[0].seed, p.data[1].limit),
        (Some(0..500), Some(3), Some(200))
    );
    assert_eq!(p.data[1].options.array_bounds.len(), 2);

    let tasks: Vec<&AttackTask> = p.checks.iter().map(attacked).collect();
    assert_eq!(
        p.checks.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(),
        ["linf", "joint", "clean"]
    );
    assert_eq!(
        (tasks[0].model.name(), tasks[0].limit),
        ("digits-robust", Some(500))
    );
    let (norm, eps) = tasks[0].threat.as_ref().unwrap().leading();
    assert_eq!((norm, eps.to_string().as_str()), (Norm::Linf, "8/255"));
    let pgd = &tasks[0].attacks[1];
    assert_eq!(
        (
            pgd.id.as_str(),
            pgd.parameters["steps"].as_integer(),
            pgd.parameters.len()
        ),
        ("pgd", Some(40), 3)
    );
    let joint = tasks[1].threat.as_ref().unwrap();
    assert_eq!(joint.coupling, Coupling::Shared { q: 1.0 });
    assert_eq!(joint.leading().1.get().to_bits(), 0.03_f64.to_bits());
    assert!(tasks[2].threat.is_none() && tasks[2].attacks.is_empty());

    let (linf, clean) = (&p.checks[0], &p.checks[2]);
    assert_eq!(
        (linf.level, linf.on_fail, linf.on_inconclusive),
        (0.99, Effect::Warn, Effect::Warn)
    );
    assert_eq!(
        (clean.level, clean.on_fail, clean.on_inconclusive),
        (0.95, Effect::Deny, Effect::Deny)
    );
    assert_eq!(
        attacked(clean).require.comparisons[1].metric,
        Metric::MinRecall { robust: false }
    );
    assert!(
        p.waivers[0]
            .exemption
            .covers("clean", FindingCode::RequirementMissed, &[])
    );
    assert!(
        !p.waivers[0]
            .exemption
            .covers("linf", FindingCode::RequirementMissed, &[])
    );
    assert_eq!(p.accepts[0].exemption.target(), "randomised-outputs");
    assert_eq!(p.sha256().len(), 64);
}

#[test]
fn unknown_names_suggest_the_nearest() {
    broken(
        "level = 0.99",
        "levle = 0.99",
        "levle",
        "unknown field `levle` (did you mean `level`?)",
    );
    broken(
        "scale = 255",
        "scael = 255",
        "preprocess",
        "unknown field `scael` (did you mean `scale`?)",
    );
    broken(
        "[limits]",
        "[limit]",
        "[limit]",
        "unknown field `limit` (did you mean `limits`?)",
    );
    broken(
        "kind = \"robustness\"",
        "kind = \"robustnes\"",
        "kind = \"robustnes\"",
        "unknown value `robustnes` (did you mean `robustness`?)",
    );
    broken(
        "[\"fgsm\",",
        "[\"fgms\",",
        "attacks",
        "unknown attack `fgms` (did you mean `fgsm`?)",
    );
    broken(
        "id = \"pgd\"",
        "id = \"pdg\"",
        "attacks",
        "unknown attack `pdg` (did you mean `pgd`?)",
    );
    broken(
        "norm = \"linf\"",
        "norm = \"lnif\"",
        "threat",
        "unknown norm `lnif` (did you mean `linf`?)",
    );
    broken(
        "model = \"digits-robust\"",
        "model = \"digits-robsut\"",
        "model = \"digits-robsut\"",
        "did you mean `digits-robust`?",
    );
    broken(
        "data = \"digits\"",
        "data = \"digit\"",
        "data = \"digit\"",
        "did you mean `digits`?",
    );
    broken(
        "on_fail = \"warn\"",
        "on_fail = \"wran\"",
        "on_fail",
        "did you mean `warn`?",
    );
    broken(
        "policy/1",
        "polcy/1",
        "schema",
        "did you mean `proofmark/policy/1`?",
    );
    broken(
        "requirement-missed",
        "requirment-missed",
        "finding",
        "did you mean `requirement-missed`?",
    );
    broken(
        "clean/req",
        "claen/req",
        "finding",
        "no check is called `claen` (did you mean `clean`?)",
    );
    broken(
        "robust_accuracy >= 45 %",
        "robst_accuracy >= 45 %",
        "require",
        "did you mean `robust_accuracy`?",
    );
    broken(
        "output = \"probabilities\"",
        "output = \"probs\"",
        "output",
        "expected one of logits, probabilities, logit",
    );
}

#[test]
fn unsupported_kinds_and_fields_are_refused() {
    for kind in ["backdoor", "baseline", "limits"] {
        broken(
            "kind = \"clean\"",
            &format!("kind = \"{kind}\""),
            &format!("kind = \"{kind}\""),
            "this version cannot run",
        );
    }
    broken(
        "sampling = \"fixed\"",
        "sampling = \"sequental\"",
        "sampling",
        "did you mean `sequential`?",
    );
    broken(
        "sampling = \"fixed\"",
        "sampling = \"fixed\"\nlooks = [100]",
        "looks",
        "drop one of the two",
    );
    for (looks, words) in [
        ("[]", "leave `looks` out"),
        ("[100, 100]", "more samples than the 100"),
        ("[200, 100]", "found 100"),
        ("[0]", "at least 1"),
        ("[1.5]", "expected"),
        ("100", "expected an array"),
    ] {
        let looks = format!("looks = {looks}");
        broken("sampling = \"fixed\"", &looks, "looks", words);
    }
    broken(
        "kind = \"clean\"",
        "kind = \"clean\"\nthreat = { norm = \"l2\", eps = 1 }",
        "threat = { norm = \"l2\"",
        "kind \"robustness\" has",
    );
    broken(
        "kind = \"clean\"",
        "kind = \"clean\"\nprobes = []",
        "probes",
        "has no probes",
    );
    broken(
        "finding = \"clean/requirement-missed\"",
        "finding = \"zero-gradients\"",
        "finding",
        "use [[accept]]",
    );
    broken(
        "finding = \"clean/requirement-missed\"",
        "finding = \"check-not-run\"",
        "finding",
        "cannot be waived",
    );
    broken(
        "code = \"randomised-outputs\"",
        "code = \"requirement-missed\"",
        "code",
        "is no trust code",
    );
}
