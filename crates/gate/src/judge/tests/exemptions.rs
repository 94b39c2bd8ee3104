//! Waivers, accepted trust codes and `warn`.

use proofmark_domain::{FindingStatus, Verdict};

use super::*;

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
