//! Trust codes change a pass, never a failure, and count for the figure that they concern.

use proofmark_domain::{FindingStatus, Verdict};

use super::*;
use crate::trust::fixture::{noise, probe};

#[test]
fn an_uncured_flag_changes_a_pass_but_never_a_failure() {
    let of = |threshold: f64| {
        run(
            &policy(&format!("robust_accuracy >= {threshold}"), "", ""),
            masked(measured(580, 1000)),
        )
    };
    assert_eq!(of(0.5).verdict, Verdict::Inconclusive);
    assert_eq!(
        found(&of(0.5), "randomised-outputs").status,
        FindingStatus::Inconclusive
    );
    assert_eq!(of(0.7).verdict, Verdict::Fail);
    assert_eq!(
        found(&of(0.7), "randomised-outputs").status,
        FindingStatus::Warn
    );
}

#[test]
fn a_threshold_on_one_attack_counts_that_attacks_own_trust() {
    // fgsm has zero gradients on every sample and breaks none; pgd has gradients and breaks half.
    let blind = || {
        let rows = (0..200)
            .map(|i| {
                let mut s = sample(i, &[Robust, if i % 2 == 0 { Broken } else { Robust }]);
                s.runs[0].observed = vec![Observation::ZeroGradient];
                s
            })
            .collect();
        report(vec![attack("fgsm", 0.1), attack("pgd", 0.1)], rows)
    };
    let policy = |require: &str, after: &str| {
        let text = format!(
            "schema = \"proofmark/policy/1\"\n[[check]]\nid = \"linf\"\nkind = \"robustness\"\nmodel = \"digits-robust\"\ndata = \"digits\"\n\
             threat = {{ norm = \"linf\", eps = 0.1 }}\nattacks = [\"fgsm\", \"pgd\"]\nrequire = \"{require}\"\n{after}"
        );
        Policy::parse(text.as_bytes(), &KNOWN).unwrap_or_else(|e| panic!("{e}"))
    };
    assert_eq!(blind().trust, [], "the report as a whole is sound");
    let gate = run(&policy("robust_accuracy >= 0.4", ""), blind());
    assert_eq!(gate.verdict, Verdict::Pass);
    let gate = run(&policy("robust_accuracy(pgd) >= 0.4", ""), blind());
    assert_eq!(gate.verdict, Verdict::Pass);
    let gate = run(&policy("robust_accuracy(fgsm) >= 0.4", ""), blind());
    assert_eq!(gate.verdict, Verdict::Inconclusive);
    let told = &found(&gate, "zero-gradients").message;
    assert!(
        told.starts_with("for `robust_accuracy(fgsm)` alone, "),
        "{told}"
    );
    // The flag only turns a pass into inconclusive, and can be accepted.
    let accept = "[[accept]]\ncode = \"zero-gradients\"\nreason = \"r\"\nexpires = 2027-01-01";
    let gate = run(&policy("robust_accuracy(fgsm) >= 0.4", accept), blind());
    assert_eq!(gate.verdict, Verdict::Pass);
    let fgsm = crate::Metric::RobustAccuracyOf("fgsm".into());
    let told = assess(&blind(), fgsm, 0.4, 0.95);
    assert!(
        told.verdict == Verdict::Inconclusive && told.message.contains("zero-gradients"),
        "{}",
        told.message
    );
    // The baseline breaks samples that fgsm did not break but pgd did.
    let rows = (0..200)
        .map(|i| {
            sample(
                i,
                &if i < 10 {
                    [Robust, Broken, Broken]
                } else {
                    [Robust; 3]
                },
            )
        })
        .collect();
    let r = report(
        vec![attack("fgsm", 0.1), attack("pgd", 0.1), noise(0.1)],
        rows,
    );
    assert_eq!(r.trust, []);
    let gate = run(&policy("robust_accuracy(fgsm) >= 0.4", ""), r);
    assert_eq!(
        found(&gate, "baseline-beats-gradient").status,
        FindingStatus::Inconclusive
    );
}

#[test]
fn a_threshold_on_one_class_counts_that_classs_own_trust() {
    // The unbounded probe breaks every sample except those of class 3: a tenth is left, which is chance level.
    let rows = || {
        (0..400)
            .map(|i| sample(i, &[Robust, if i % 10 == 3 { Robust } else { Broken }]))
            .collect()
    };
    let r = || report(vec![attack("pgd", 0.1), probe("pgd")], rows());
    assert_eq!(r().trust, []);
    for (require, verdict) in [
        ("robust_accuracy >= 0.5", Verdict::Pass),
        ("robust_recall(4) >= 0.5", Verdict::Pass),
        ("robust_recall(3) >= 0.5", Verdict::Inconclusive),
        ("robust_precision(3) >= 0.5", Verdict::Inconclusive),
        ("min_robust_recall >= 0.5", Verdict::Inconclusive),
        ("recall(3) >= 0.5", Verdict::Pass),
    ] {
        let gate = run(&policy(require, "", ""), r());
        assert_eq!(gate.verdict, verdict, "{require}: {:?}", gate.findings);
    }
}
