use proofmark_domain::RunStatus::{Broken, Robust, Stopped};
use proofmark_domain::{Finding, FindingStatus, Observation, Report, RunStatus, Shard, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::render::{self, Document};
use crate::trust::fixture::{attack, noise, plan, probe, report, sample, wrong};
use crate::{Date, GateReport, Known, Measure, Policy};

const KNOWN: Known<'_> = Known {
    attacks: &["pgd", "fgsm"],
    models: &["digits-robust"],
    data: &["digits"],
};

/// Parses a policy with one check, with extra lines inside and after it.
fn policy(require: &str, inside: &str, after: &str) -> Policy {
    let text = format!(
        "schema = \"proofmark/policy/1\"\n[[check]]\nid = \"linf\"\nkind = \"robustness\"\nmodel = \"digits-robust\"\ndata = \"digits\"\n\
         threat = {{ norm = \"linf\", eps = 0.1 }}\nattacks = [\"pgd\"]\nrequire = \"{require}\"\n{inside}\n{after}"
    );
    Policy::parse(text.as_bytes(), &KNOWN).unwrap_or_else(|e| panic!("{e}"))
}

fn today() -> Date {
    Date::new(2026, 6, 15).unwrap()
}

/// Report of `n` samples: the first `robust` are robust, the rest broken.
fn measured(robust: u64, n: u64) -> Report {
    statuses(n, |i| if i < robust { Robust } else { Broken })
}

fn statuses(n: u64, status: impl Fn(u64) -> RunStatus) -> Report {
    report(
        vec![attack("pgd", 0.1)],
        (0..n).map(|i| sample(i, &[status(i)])).collect(),
    )
}

/// Adds an uncured trust flag to the report.
fn masked(mut report: Report) -> Report {
    for s in &mut report.samples {
        s.observed = vec![Observation::OutputChanged];
    }
    report
}

/// Stores each check's request in its attack evidence.
fn requested(policy: &Policy, mut evidence: Evidence) -> Evidence {
    for check in &policy.checks {
        if let Some(Ok(Record::Attack(report))) = evidence.get_mut(&check.id) {
            let request = check.request.clone();
            report.config.insert(REQUEST.to_owned(), request);
        }
    }
    evidence
}

fn judge(policy: &Policy, evidence: Evidence, today: Date) -> GateReport {
    super::judge(policy, requested(policy, evidence), today)
}

fn run(policy: &Policy, report: Report) -> GateReport {
    judge(
        policy,
        Evidence::from([("linf".to_owned(), Ok(report.into()))]),
        today(),
    )
}

fn found<'a>(gate: &'a GateReport, code: &str) -> &'a Finding {
    gate.findings
        .iter()
        .find(|f| f.code == code)
        .unwrap_or_else(|| panic!("no {code} in {:?}", gate.findings))
}

#[test]
fn a_threshold_is_judged_on_the_interval() {
    // 580 of 1000: [0.5487, 0.6108] at 95 %.
    for (threshold, verdict) in [
        (0.54, Verdict::Pass),
        (0.5487, Verdict::Pass),
        (0.5488, Verdict::Inconclusive),
        (0.58, Verdict::Inconclusive),
        (0.6108, Verdict::Inconclusive),
        (0.6109, Verdict::Fail),
        (0.70, Verdict::Fail),
    ] {
        let gate = run(
            &policy(&format!("robust_accuracy >= {threshold}"), "", ""),
            measured(580, 1000),
        );
        assert_eq!(
            (gate.verdict, gate.checks[0].verdict),
            (verdict, verdict),
            "{threshold}"
        );
        assert_eq!(
            (gate.checks[0].n, gate.checks[0].observed),
            (Some(1000), Some(0.58))
        );
        assert_eq!(gate.findings.is_empty(), verdict == Verdict::Pass);
    }
}

#[test]
fn an_undecided_figure_says_what_would_settle_it() {
    let gate = run(
        &policy("robust_accuracy >= 0.56", "", ""),
        measured(580, 1000),
    );
    let needed = gate.checks[0].needed.unwrap();
    let message = &found(&gate, "requirement-undecided").message;
    assert!(
        needed > 797
            && message.contains(&format!("about {needed} further samples"))
            && message.contains("only 797 more"),
        "{message}"
    );

    let gate = run(
        &policy("robust_accuracy >= 0.549", "", ""),
        measured(580, 1000),
    );
    let message = &found(&gate, "requirement-undecided").message;
    assert!(
        gate.checks[0].needed.unwrap() <= 797 && message.contains("the set has 797 more"),
        "{message}"
    );

    let gate = run(
        &policy("robust_accuracy >= 0.58", "", ""),
        measured(580, 1000),
    );
    assert_eq!(gate.checks[0].needed, None);
    assert!(
        found(&gate, "requirement-undecided")
            .message
            .contains("no number of further samples")
    );
}

#[test]
fn unjudged_samples_are_neither_robust_nor_broken() {
    let half = statuses(1000, |i| {
        if i < 580 {
            Robust
        } else if i < 700 {
            Stopped
        } else {
            Broken
        }
    });
    assert_eq!(
        run(&policy("robust_accuracy >= 0.54", "", ""), half.clone()).verdict,
        Verdict::Pass
    );
    let gate = run(&policy("robust_accuracy >= 0.65", "", ""), half.clone());
    assert_eq!(gate.verdict, Verdict::Inconclusive);
    assert!(
        found(&gate, "requirement-undecided")
            .message
            .contains("120 samples could not be judged")
    );
    assert_eq!(
        run(&policy("robust_accuracy >= 0.75", "", ""), half).verdict,
        Verdict::Fail
    );
}

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
fn warn_and_waivers_do_not_pass_an_untrusted_figure() {
    let waiver = "[[waiver]]\nfinding = \"requirement-undecided\"\nreason = \"r\"\nowner = \"o\"\nexpires = 2027-01-01";
    let p = policy(
        "robust_accuracy >= 0.56",
        "on_inconclusive = \"warn\"",
        waiver,
    );
    assert_eq!(run(&p, measured(580, 1000)).verdict, Verdict::Pass);
    assert_eq!(
        run(&p, masked(measured(580, 1000))).verdict,
        Verdict::Inconclusive
    );
    assert_eq!(
        run(&p, masked(measured(900, 1000))).verdict,
        Verdict::Inconclusive
    );
}

#[test]
fn an_accepted_code_is_a_note_until_it_expires() {
    let accept = |day: &str| {
        format!(
            "[[accept]]\ncode = \"linf/randomised-outputs\"\nreason = \"by design\"\nexpires = {day}"
        )
    };
    let gate = run(
        &policy("robust_accuracy >= 0.5", "", &accept("2026-06-15")),
        masked(measured(580, 1000)),
    );
    assert_eq!(
        (gate.verdict, found(&gate, "randomised-outputs").status),
        (Verdict::Pass, FindingStatus::Note)
    );
    let gate = run(
        &policy("robust_accuracy >= 0.5", "", &accept("2026-06-14")),
        masked(measured(580, 1000)),
    );
    assert_eq!(
        (gate.verdict, found(&gate, "expired-accept").status),
        (Verdict::Inconclusive, FindingStatus::Warn)
    );
    let gate = run(
        &policy("robust_accuracy >= 0.5", "", &accept("2026-06-15")),
        measured(580, 1000),
    );
    assert_eq!(
        (gate.verdict, found(&gate, "unmatched-accept").status),
        (Verdict::Pass, FindingStatus::Warn)
    );
}

#[test]
fn a_waived_failure_no_longer_fails() {
    let waiver = |code: &str, day: &str| {
        format!(
            "[[waiver]]\nfinding = \"{code}\"\nreason = \"r\"\nowner = \"vision team\"\nexpires = {day}"
        )
    };
    let of = |w: String, robust| {
        run(
            &policy("robust_accuracy >= 0.7", "", &w),
            measured(robust, 1000),
        )
    };
    for code in ["requirement-missed", "linf/requirement-missed"] {
        let gate = of(waiver(code, "2026-06-15"), 580);
        assert_eq!(
            (gate.verdict, gate.checks[0].verdict),
            (Verdict::Pass, Verdict::Fail)
        );
        assert_eq!(
            found(&gate, "requirement-missed").waived_by.as_deref(),
            Some("vision team")
        );
    }
    let gate = of(waiver("requirement-missed", "2026-06-14"), 580);
    assert_eq!(
        (gate.verdict, found(&gate, "expired-waiver").status),
        (Verdict::Fail, FindingStatus::Warn)
    );
    assert_eq!(found(&gate, "requirement-missed").waived_by, None);
    let gate = of(waiver("requirement-missed", "2026-06-15"), 900);
    assert_eq!(
        (gate.verdict, found(&gate, "unmatched-waiver").status),
        (Verdict::Pass, FindingStatus::Warn)
    );
}

#[test]
fn on_fail_warn_reports_a_warning_and_passes() {
    let gate = run(
        &policy("robust_accuracy >= 0.7", "on_fail = \"warn\"", ""),
        measured(580, 1000),
    );
    assert_eq!(
        (
            gate.verdict,
            gate.checks[0].verdict,
            gate.checks[0].counts_as
        ),
        (Verdict::Pass, Verdict::Fail, Verdict::Pass)
    );
    assert_eq!(
        found(&gate, "requirement-missed").status,
        FindingStatus::Warn
    );
    // The undecided comparison still counts.
    let gate = run(
        &policy(
            "robust_accuracy >= 0.7, robust_accuracy(pgd) >= 0.58",
            "on_fail = \"warn\"",
            "",
        ),
        measured(580, 1000),
    );
    assert_eq!(
        (gate.verdict, gate.checks[0].verdict),
        (Verdict::Inconclusive, Verdict::Fail)
    );
}

#[test]
fn the_worst_comparison_decides() {
    let gate = run(
        &policy(
            "accuracy >= 0.9, robust_accuracy >= 0.58, robust_recall(3) >= 0.99",
            "",
            "",
        ),
        measured(580, 1000),
    );
    let verdicts: Vec<_> = gate.checks[0]
        .comparisons
        .iter()
        .map(|c| c.verdict)
        .collect();
    assert_eq!(
        verdicts,
        [Verdict::Pass, Verdict::Inconclusive, Verdict::Fail]
    );
    assert_eq!(
        (gate.verdict, gate.checks[0].threshold, gate.checks[0].n),
        (Verdict::Fail, Some(0.99), Some(100))
    );
}

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
fn figures_are_taken_from_the_samples() {
    let mut forged = masked(measured(580, 1000));
    forged.worst_case.correct = 1000;
    forged.trust.clear();
    assert_eq!(
        run(&policy("robust_accuracy >= 0.9", "", ""), forged.clone()).verdict,
        Verdict::Fail
    );
    assert_eq!(
        run(&policy("robust_accuracy >= 0.1", "", ""), forged).verdict,
        Verdict::Inconclusive
    );
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
fn the_gate_report_as_table_and_json() {
    let waiver = "[[waiver]]\nfinding = \"requirement-missed\"\nreason = \"r\"\nowner = \"vision team\"\nexpires = 2027-01-01";
    let gate = run(
        &policy("robust_accuracy >= 0.7, accuracy >= 0.9", "", waiver),
        masked(measured(580, 1000)),
    );
    let table = render::table(Document::Gate(&gate), false);
    let expected = "\
verdict             check  requirement             observed  interval        n
fail                linf   robust_accuracy >= 0.7  0.580     [0.549, 0.611]  1000
inconclusive        linf   accuracy >= 0.9         1.000     [0.996, 1.000]  1000

findings
  fail (waived by vision team) linf/requirement-missed: robust_accuracy is 0.580 [0.549, 0.611] at 95 % over 1000 samples; the whole interval is below 0.7
    next: improve the model, or state a threshold it can hold
    at: policy.toml:9:11
  inconclusive linf/randomised-outputs: the same input gave another answer the second time on 1000 of 1000 samples (100.0 %)
    next: evaluate the model in inference mode, or wrap it in EOT so that attack and judge average over its randomness
    at: policy.toml:3:6

verdict: inconclusive
";
    let squeezed = |t: &str| {
        t.lines()
            .map(|l| {
                l.split("  ")
                    .filter(|p| !p.is_empty())
                    .collect::<Vec<_>>()
                    .join("  ")
            })
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(squeezed(&table), squeezed(expected), "{table}");
    assert!(!table.contains('\u{1b}'));

    let json = render::json(Document::Gate(&gate));
    let back: GateReport = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (
            back.verdict,
            back.findings.len(),
            back.checks[0].id.as_str()
        ),
        (gate.verdict, 2, "linf")
    );
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    for key in [
        "id",
        "kind",
        "verdict",
        "observed",
        "ci",
        "threshold",
        "evidence",
    ] {
        assert!(!value["checks"][0][key].is_null(), "{key}");
    }
    assert_eq!(value["checks"][0]["evidence"], "linf.json");
    assert_eq!(
        (&value["schema"], &value["verdict"]),
        (&"proofmark/gate/1".into(), &"inconclusive".into())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A higher threshold never brings a better verdict.
    #[test]
    fn judging_is_monotone_in_the_threshold(robust in 0_u64..=60, stopped in 0_u64..10, low in 0_u32..=100, step in 0_u32..50, shaken: bool) {
        let evidence = statuses(70, |i| if i < robust { Robust } else if i < robust + stopped { Stopped } else { Broken });
        let evidence = if shaken { masked(evidence) } else { evidence };
        let rank = |percent: u32| match run(&policy(&format!("robust_accuracy >= {percent} %"), "", ""), evidence.clone()).verdict {
            Verdict::Pass => 0,
            Verdict::Inconclusive => 1,
            _ => 2,
        };
        prop_assert!(rank(low) <= rank((low + step).min(100)));
        prop_assert!(!shaken || rank(low) > 0);
    }
}

#[test]
fn one_requirement_of_a_check_is_waived_alone() {
    let require = "robust_accuracy >= 0.7, accuracy >= 0.9999";
    let waived = |requirement: &str| {
        let waiver = format!(
            "[[waiver]]\nfinding = \"linf/requirement-missed\"\nrequirement = \"{requirement}\"\nreason = \"r\"\nowner = \"o\"\nexpires = 2026-06-15"
        );
        run(&policy(require, "", &waiver), measured(580, 1000))
    };
    let gate = waived("robust_accuracy >= 70 %");
    let own = |name: &str| {
        let mut all = gate.findings.iter();
        all.find(|f| f.message.starts_with(name))
            .expect("found")
            .waived_by
            .clone()
    };
    assert_eq!(own("robust_accuracy"), Some("o".to_owned()));
    let others = gate
        .findings
        .iter()
        .filter(|f| !f.message.starts_with("robust_accuracy"));
    assert!(others.clone().count() > 0 && others.clone().all(|f| f.waived_by.is_none()));
    let gate = waived("accuracy >= 0.9999");
    assert_eq!(gate.verdict, Verdict::Fail);
}

/// Turns a report into that of a run with this target class.
fn targeted(mut report: Report, target: usize) -> Report {
    for s in &mut report.samples {
        s.target = Some(target);
        if s.label == target {
            s.runs[0].status = RunStatus::Skipped;
        }
    }
    let (head, runs, samples) = crate::summary::apart(report);
    crate::summarise(head, runs, samples)
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

#[test]
fn samples_of_the_target_class_count_in_no_figure_under_attack() {
    // Twenty samples of classes 0 to 9; target 3. Samples 3 and 13 have label 3; sample 5 is misclassified.
    let rows = (0..20)
        .map(|i| {
            let s = sample(i, &[if i == 7 { Broken } else { Robust }]);
            if i == 5 { wrong(s) } else { s }
        })
        .collect();
    let r = targeted(report(vec![attack("pgd", 0.1)], rows), 3);
    assert_eq!((r.clean.correct, r.clean.n), (19, 20));
    // 18 samples remain without class 3; of these sample 5 is misclassified and sample 7 broken.
    assert_eq!(
        (r.worst_case.correct, r.worst_case.n, r.worst_case.invalid),
        (16, 18, 0)
    );
    assert_eq!((r.attacks[0].correct, r.attacks[0].n), (16, 18));
    assert_eq!(r.worst_case.attack_success_rate, Some(1.0 / 17.0));
    let curve: Vec<_> = r.curve.iter().map(|p| (p.correct, p.n)).collect();
    assert_eq!(curve, [(17, 18), (16, 18)]);
    let three = r.per_class[3];
    assert_eq!((three.n, three.clean_correct, three.robust_n), (2, 2, 0));
    assert_eq!(three.robust_ci95, None);
}

#[test]
fn nothing_passes_on_nothing() {
    let all_of_the_target = || {
        let rows = (0..50).map(|i| sample(10 * i, &[Robust])).collect();
        targeted(report(vec![attack("pgd", 0.1)], rows), 0)
    };
    let none = || report(vec![attack("pgd", 0.1)], vec![]);
    let metrics = [
        "robust_accuracy",
        "robust_accuracy(pgd)",
        "robust_recall(0)",
        "robust_precision(0)",
        "robust_f1(0)",
        "robust_macro_f1",
        "min_robust_recall",
        // A class without samples.
        "recall(4)",
        "f1(4)",
    ];
    for metric in metrics {
        let p = policy(&format!("{metric} >= 0"), "", "");
        let Measure::Attack(task) = p.checks[0].measure() else {
            unreachable!()
        };
        let metric = task.require.comparisons[0].metric.clone();
        for report in [all_of_the_target(), none()] {
            let told = assess(&report, metric.clone(), 0.0, 0.95);
            assert_eq!(told.verdict, Verdict::Inconclusive, "{}", told.message);
        }
    }
    for metric in ["accuracy", "macro_f1", "min_recall"] {
        let p = policy(&format!("{metric} >= 0"), "", "");
        let Measure::Attack(task) = p.checks[0].measure() else {
            unreachable!()
        };
        let metric = task.require.comparisons[0].metric.clone();
        assert_eq!(
            assess(&none(), metric, 0.0, 0.95).verdict,
            Verdict::Inconclusive
        );
    }
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
        let gate = super::judge(&policy(text), made(), today());
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

#[test]
fn a_finding_says_where_it_stands() {
    let mut policy = policy(
        "robust_accuracy >= 0.9",
        "",
        "[[waiver]]\nfinding = \"requirement-missed\"\nreason = \"r\"\nowner = \"o\"\nexpires = 2026-01-01",
    );
    policy.file = "gate/policy.toml".to_owned();
    let gate = run(&policy, masked(measured(10, 200)));
    let place = |code: &str| {
        let location = found(&gate, code).location.clone().expect("a place");
        assert_eq!(location.file, "gate/policy.toml");
        (location.line, location.column)
    };
    assert_eq!(place("requirement-missed"), (9, 11));
    assert_eq!(place("randomised-outputs"), (3, 6));
    assert_eq!(place("expired-waiver"), (12, 11));
    let cost = gate.checks[0].cost.expect("a cost");
    assert_eq!(
        (cost.seconds, cost.forward, cost.computed),
        (1.5, 2_000, 640)
    );
}
