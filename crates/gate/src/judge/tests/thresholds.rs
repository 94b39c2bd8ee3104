//! Figures compared with thresholds: on the interval, with unjudged samples, and the worst of several.

use proofmark_domain::RunStatus::Stopped;
use proofmark_domain::Verdict;
use proptest::prelude::*;

use super::*;

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
