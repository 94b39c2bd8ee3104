//! Evidence that is missing, failed, stopped, or of another run or policy.

use proofmark_domain::{FindingStatus, Shard, Verdict};
use serde_json::{Value, json};

use super::*;
use crate::trust::fixture::plan;

#[test]
fn a_check_that_could_not_run_is_an_error_whatever_else_was_found() {
    let p = policy("robust_accuracy >= 0.7", "", "");
    let none = judge(&p, Evidence::new(), today());
    assert_eq!(
        (none.verdict, found(&none, "missing-evidence").status),
        (Verdict::Error, FindingStatus::Error)
    );
    let crashed = judge(
        &p,
        Evidence::from([(
            "linf".to_owned(),
            Err(NoRecord::Failed("the model panicked".to_owned())),
        )]),
        today(),
    );
    assert!(
        crashed.verdict == Verdict::Error
            && found(&crashed, "check-not-run")
                .message
                .contains("the model panicked")
    );

    let two = policy(
        "robust_accuracy >= 0.7",
        "",
        "[[check]]\nid = \"clean\"\nkind = \"clean\"\nmodel = \"digits-robust\"\ndata = \"digits\"\nrequire = \"accuracy >= 0.5\"",
    );
    let gate = run(&two, measured(580, 1000));
    assert_eq!(
        (gate.verdict, gate.checks[0].verdict, gate.checks[1].verdict),
        (Verdict::Error, Verdict::Fail, Verdict::Error)
    );
}

#[test]
fn evidence_of_another_run_is_refused() {
    type Spoil = fn(&mut Report);
    let cases: [(&str, Spoil); 9] = [
        ("model is `other`", |r| r.model.name = "other".into()),
        ("data is `other`", |r| r.data.name = "other".into()),
        ("seed is `9`", |r| r.seed = 9),
        ("shard 1 of 3", |r| {
            r.shard = Some(Shard { index: 1, count: 3 });
        }),
        ("holds 1000 of 1500", |r| r.data.planned = 1500),
        ("0 of 1 runs of `pgd` under linf 0.1", |r| {
            r.attacks[0].threat.eps = 0.01;
        }),
        ("0 of 1 runs of `pgd`", |r| r.attacks.clear()),
        ("schema is", |r| r.schema = "proofmark/report/0".into()),
        ("class 3, the model has 2", |r| r.model.classes = 2),
    ];
    let p = policy("robust_recall(3) >= 0.1", "", "");
    assert_eq!(run(&p, measured(580, 1000)).verdict, Verdict::Pass);
    for (message, spoil) in cases {
        let mut r = measured(580, 1000);
        spoil(&mut r);
        let gate = run(&p, r);
        let told = &found(&gate, "mismatched-evidence").message;
        assert!(
            gate.verdict == Verdict::Error && told.contains(message),
            "{told}"
        );
    }
}

#[test]
fn evidence_without_a_check_warns() {
    let evidence = Evidence::from([
        ("linf".to_owned(), Ok(measured(580, 1000).into())),
        ("old".to_owned(), Err(NoRecord::Failed(String::new()))),
    ]);
    let gate = judge(&policy("robust_accuracy >= 0.5", "", ""), evidence, today());
    assert_eq!(
        (gate.verdict, found(&gate, "unplanned-evidence").status),
        (Verdict::Pass, FindingStatus::Warn)
    );
}

#[test]
fn evidence_of_another_run_is_refused_and_the_field_is_named() {
    let p = policy("robust_accuracy >= 0.5", "", "");
    let cases: [(&str, Value, &str); 5] = [
        (
            "labels",
            json!("predicted"),
            "labels is \"predicted\", expected \"given\"",
        ),
        ("target", json!("0"), "target is \"0\", expected null"),
        (
            "trust_runs",
            json!(false),
            "trust_runs is false, expected true",
        ),
        (
            "forwards_per_sample",
            json!(9),
            "forwards_per_sample is 9, expected null",
        ),
        (
            "judge",
            json!({ "draws": 3, "rule": "any" }),
            "judge.draws is 3, expected 1",
        ),
    ];
    for (field, value, message) in cases {
        let mut other = measured(580, 1000);
        plan(&mut other, field, value);
        let gate = run(&p, other);
        let told = &found(&gate, "mismatched-evidence").message;
        assert!(
            gate.verdict == Verdict::Error && told.contains(message),
            "{told}"
        );
    }
    let mut old = measured(580, 1000);
    old.config.remove("plan");
    let told = run(&p, old).findings[0].message.clone();
    assert!(told.contains("`config.plan` is absent"), "{told}");
    let mut edited = measured(580, 1000);
    edited.config["plan"]["labels"] = json!("predicted");
    let told = run(&p, edited).findings[0].message.clone();
    assert!(told.contains("changed after it was written"), "{told}");
}

#[test]
fn a_check_that_was_stopped_before_it_began_is_inconclusive() {
    let gate = judge(
        &policy("robust_accuracy >= 0.5", "", ""),
        Evidence::from([("linf".to_owned(), Err(NoRecord::Stopped))]),
        today(),
    );
    assert_eq!(
        (
            gate.verdict,
            gate.checks[0].verdict,
            found(&gate, "check-stopped").status
        ),
        (
            Verdict::Inconclusive,
            Verdict::Inconclusive,
            FindingStatus::Inconclusive
        )
    );
}

/// A check with a failed attack is an error, whatever the other attacks found; their results stay in the evidence.
#[test]
fn a_check_whose_attack_failed_has_not_run() {
    for robust in [0, 64] {
        let mut report = measured(robust, 64);
        report.attacks[0].failed = Some("model `m` panicked: out of memory".to_owned());
        let gate = run(&policy("robust_accuracy >= 0.5", "", ""), report);
        assert_eq!(gate.verdict, Verdict::Error);
        let finding = found(&gate, "check-not-run");
        assert!(
            finding.message.contains("pgd@linf:0.1"),
            "{}",
            finding.message
        );
        assert!(finding.message.contains("out of memory"));
    }
}

/// Any edit of what a check measures makes existing evidence mismatched, however small; an edit of how the check is
/// judged does not.
#[test]
fn evidence_of_the_policy_before_an_edit_is_none() {
    let text = |more: &str| {
        format!(
            "schema = \"proofmark/policy/1\"\n[[model]]\nname = \"mine\"\npath = \"mine.onnx\"\n[[check]]\nid = \"linf\"\n\
             kind = \"robustness\"\nmodel = \"mine\"\ndata = \"digits\"\nthreat = {{ norm = \"linf\", eps = 0.1 }}\n\
             attacks = [{{ id = \"pgd\", steps = 10 }}]\nrequire = \"robust_accuracy >= 0.5\"\n{more}"
        )
    };
    let policy = |text: &str| Policy::parse(text.as_bytes(), &KNOWN).unwrap();
    let first = text("");
    let made = || {
        let mut report = measured(58, 60);
        report.model.name = "mine".to_owned();
        let evidence = Evidence::from([("linf".to_owned(), Ok(report.into()))]);
        requested(&policy(&first), evidence)
    };
    let verdict = |text: &str| {
        let gate = super::super::judge(&policy(text), made(), today());
        let why = gate.findings.first().map(|f| f.message.clone());
        (gate.verdict, why.unwrap_or_default())
    };
    assert_eq!(verdict(&first).0, Verdict::Pass);
    let judged_otherwise = [
        text("level = 0.9"),
        text("on_fail = \"warn\""),
        first.replace("0.5\"", "0.4\""),
    ];
    for text in judged_otherwise {
        assert_eq!(verdict(&text).0, Verdict::Pass, "{text}");
    }
    let digest = "ab".repeat(32);
    let pinned = first.replace(
        "mine.onnx\"",
        &format!("mine.onnx\"\nsha256 = \"{digest}\""),
    );
    assert_eq!(verdict(&pinned).0, Verdict::Pass);
    let edits = [
        (
            "steps = 10",
            "steps = 11",
            "policy: check.attacks[0].steps is 10, expected 11",
        ),
        ("eps = 0.1", "eps = 0.10000000000000001", ""),
        (
            "eps = 0.1",
            "eps = 0.2",
            "policy: check.threat.eps is 0.1, expected 0.2",
        ),
        (
            "mine.onnx",
            "other.onnx",
            "policy: model.path is \"mine.onnx\", expected \"other.onnx\"",
        ),
        (
            "mine.onnx\"",
            "mine.onnx\"\npreprocess = { scale = 255 }",
            "policy: model.preprocess is absent, expected {\"scale\":255}",
        ),
        (
            "\n[[check]]",
            "\n[[check]]\nlimit = 60",
            "policy: check.limit is absent, expected 60",
        ),
    ];
    for (from, to, words) in edits {
        let (verdict, why) = verdict(&first.replace(from, to));
        if words.is_empty() {
            assert_eq!(verdict, Verdict::Pass, "the same number in other digits");
        } else {
            assert_eq!(verdict, Verdict::Error, "{to}");
            assert!(why.contains(words), "{why}");
        }
    }
}
