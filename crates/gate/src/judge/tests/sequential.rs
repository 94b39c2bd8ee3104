//! Sequential checks: where judging ends, and what evidence that ended early cannot decide.

use proofmark_data::sequence;
use proofmark_domain::{FindingStatus, Sampling, Seed, Verdict};

use super::*;
use crate::summary::{apart, summarise};
use crate::{Looks, is_decided, merge};

const SEQUENTIAL: &str = "sampling = \"sequential\"";

/// Makes a report one of a sequential run with the usual looks, of which it covers the first `n` samples in order; those
/// at a place for which `broken` holds are broken.
fn sampled(planned: u64, n: usize, broken: impl Fn(u64) -> bool) -> Report {
    let ids: Vec<_> = (0..planned).map(|i| sample(i, &[]).id).collect();
    let rank = sequence(&ids, Seed(0));
    let status = |i: u64| {
        if broken(rank[i as usize]) {
            Broken
        } else {
            Robust
        }
    };
    let (mut head, runs, samples) = apart(statuses(planned, status));
    let looks = Looks::Doubling.sizes(planned as usize);
    head.sampling = Some(Sampling::Sequential { looks, made: 0 });
    let kept = samples.into_iter().zip(rank).filter(|(_, r)| *r < n as u64);
    summarise(head, runs, kept.map(|(s, _)| s).collect())
}

fn looks(gate: &GateReport) -> (usize, Option<u64>) {
    let Some(Sampling::Sequential { made, .. }) = &gate.checks[0].sampling else {
        panic!("{:?}", gate.checks[0]);
    };
    (*made, gate.checks[0].n)
}

#[test]
fn judging_ends_at_the_first_look_that_decides() {
    let p = policy("robust_accuracy >= 0.75", SEQUENTIAL, "");
    // Every tenth is broken: the interval lies above 0.75 from the second look on.
    let gate = run(&p, sampled(800, 800, |rank| rank % 10 == 0));
    assert_eq!(
        (gate.verdict, looks(&gate)),
        (Verdict::Pass, (2, Some(100)))
    );
    // What comes after it does not count, whatever it is.
    let other = run(&p, sampled(800, 800, |rank| rank % 10 == 0 || rank >= 100));
    assert_eq!(other, gate);
    assert_eq!(
        run(&p, sampled(800, 100, |rank| rank % 10 == 0)).checks[0].comparisons,
        gate.checks[0].comparisons
    );
    let fails = run(&p, sampled(800, 800, |rank| rank % 2 == 0));
    assert_eq!(
        (fails.verdict, looks(&fails)),
        (Verdict::Fail, (1, Some(50)))
    );
}

#[test]
fn the_interval_is_that_of_the_sequence() {
    let p = policy("robust_accuracy >= 0.75", SEQUENTIAL, "");
    let r = sampled(800, 100, |rank| rank % 10 == 0);
    // 100 of 800 samples, 50 of them new: a sixteenth of the error.
    let expected = proofmark_stats::clopper_pearson(90, 100, 1.0 - 0.05 / 16.0);
    assert_eq!(r.worst_case.ci95, expected);
    assert_eq!(r.attacks[0].ci95, expected);
    assert_eq!(r.curve[1].ci95, expected);
    assert_eq!(run(&p, r).checks[0].ci, Some(expected));
    let fixed = proofmark_stats::clopper_pearson(90, 100, 0.95);
    assert!(expected.low < fixed.low && expected.high > fixed.high);
}

#[test]
fn all_requirements_must_be_decided_at_the_same_look() {
    let both = "robust_accuracy >= 0.7, robust_accuracy(pgd) >= 0.85";
    let p = policy(both, SEQUENTIAL, "");
    let gate = run(&p, sampled(3200, 3200, |rank| rank % 10 == 0));
    assert_eq!(gate.verdict, Verdict::Pass);
    let (made, n) = looks(&gate);
    assert!(made > 3 && n < Some(3200), "{made} {n:?}");
    for c in &gate.checks[0].comparisons {
        assert_eq!((c.verdict, Some(c.n)), (Verdict::Pass, n));
    }
}

#[test]
fn evidence_that_ended_early_does_not_decide_a_threshold_it_was_not_measured_for() {
    let early = || sampled(800, 100, |rank| rank % 10 == 0);
    let edited = policy("robust_accuracy >= 0.88", SEQUENTIAL, "");
    let gate = run(&edited, early());
    assert_eq!(
        (gate.verdict, looks(&gate)),
        (Verdict::Inconclusive, (2, Some(100)))
    );
    let finding = found(&gate, "requirement-undecided");
    assert_eq!(finding.status, FindingStatus::Inconclusive);
    for words in [
        "look 2 of 5",
        "the evidence ends here",
        "other requirements",
    ] {
        assert!(finding.message.contains(words), "{}", finding.message);
    }
    assert!(finding.remediation.starts_with("run the check again"));
    assert_eq!(gate.checks[0].needed, None);
    assert!(!edited.checks[0].is_settled(&early().into()));
    let measured_for = policy("robust_accuracy >= 0.7", SEQUENTIAL, "");
    assert!(measured_for.checks[0].is_settled(&early().into()));
    assert!(edited.checks[0].is_settled(&sampled(800, 800, |rank| rank % 10 == 0).into()));
    // An easier one is decided where a run for it would have ended.
    let easier = policy("robust_accuracy >= 0.5", SEQUENTIAL, "");
    assert_eq!(looks(&run(&easier, early())), (1, Some(50)));
    // A fixed interval of 100 samples would have failed this one.
    let fixed = proofmark_stats::clopper_pearson(90, 100, 0.95);
    let narrow = format!("robust_accuracy >= {}", fixed.high + 0.002);
    let gate = run(&policy(&narrow, SEQUENTIAL, ""), early());
    assert_eq!(gate.verdict, Verdict::Inconclusive);
}

#[test]
fn trust_is_that_of_the_samples_that_count() {
    let p = policy("robust_accuracy >= 0.75", SEQUENTIAL, "");
    let mark = |first: u64| {
        let mut r = sampled(800, 800, |rank| rank % 10 == 0);
        let ids: Vec<_> = r.samples.iter().map(|s| s.id.clone()).collect();
        for (s, rank) in r.samples.iter_mut().zip(sequence(&ids, Seed(0))) {
            if rank >= first {
                s.observed = vec![proofmark_domain::Observation::OutputChanged];
            }
        }
        r
    };
    assert_eq!(run(&p, mark(100)).verdict, Verdict::Pass);
    let shaken = run(&p, mark(50));
    assert_eq!(shaken.verdict, Verdict::Inconclusive);
    // No check goes on until a flag vanishes.
    assert_eq!(looks(&shaken), (2, Some(100)));
}

#[test]
fn samples_without_outcome_are_counted_both_ways() {
    let p = policy("robust_accuracy >= 0.7", SEQUENTIAL, "");
    let mut r = sampled(800, 100, |rank| rank % 10 == 0);
    for s in &mut r.samples {
        if s.runs[0].status == Robust {
            s.runs[0].status = RunStatus::Stopped;
        }
    }
    assert_eq!(run(&p, r).verdict, Verdict::Inconclusive);
}

#[test]
fn evidence_of_other_looks_is_refused() {
    type Spoil = fn(&mut Report);
    let all = "its looks are [50, 100, 400, 800], expected [50, 100, 200, 400, 800]";
    let cases: [(&str, Spoil); 4] = [
        ("its number of samples was fixed", |r| r.sampling = None),
        (all, |r| {
            let looks = vec![50, 100, 400, 800];
            r.sampling = Some(Sampling::Sequential { looks, made: 2 });
        }),
        (
            "holds 99 of 800 planned samples, and the looks are [50,",
            |r| {
                r.samples.pop();
            },
        ),
        ("holds no samples", |r| r.samples.clear()),
    ];
    let p = policy("robust_accuracy >= 0.7", SEQUENTIAL, "");
    for (message, spoil) in cases {
        let mut r = sampled(800, 100, |rank| rank % 10 == 0);
        spoil(&mut r);
        let gate = run(&p, r);
        let told = &found(&gate, "mismatched-evidence").message;
        assert!(told.contains(message), "{told}");
    }
    let fixed = policy("robust_accuracy >= 0.7", "", "");
    let gate = run(&fixed, sampled(800, 800, |_| false));
    let told = &found(&gate, "mismatched-evidence").message;
    assert!(told.contains("its sampling is sequential"), "{told}");
}

#[test]
fn an_edit_of_sampling_or_looks_invalidates_evidence() {
    let p = policy("robust_accuracy >= 0.7", "", "");
    assert_eq!(
        policy("robust_accuracy >= 0.7", "sampling = \"fixed\"", "").checks[0].request,
        p.checks[0].request
    );
    let sequential = policy("robust_accuracy >= 0.7", SEQUENTIAL, "");
    let looks = policy("robust_accuracy >= 0.7", "looks = [100]", "");
    for (asked, measured, field) in [
        (&sequential, &p, "check.sampling is absent"),
        (&p, &sequential, "check.sampling is \"sequential\""),
        (&looks, &sequential, "check.looks is absent"),
    ] {
        let mut r = sampled(800, 100, |_| false);
        r.config
            .insert(REQUEST.to_owned(), measured.checks[0].request.clone());
        let told = asked.checks[0].requested(&r.into()).unwrap_err();
        assert!(told.contains(field), "{told}");
    }
}

#[test]
fn looks_of_a_policy_are_used() {
    let p = policy("robust_accuracy >= 0.7", "looks = [40, 120, 5000]", "");
    let mut r = sampled(800, 800, |rank| rank % 10 == 0);
    r.sampling = Some(Sampling::Sequential {
        looks: vec![40, 120, 800],
        made: 3,
    });
    let gate = run(&p, r);
    assert_eq!(
        (gate.verdict, looks(&gate)),
        (Verdict::Pass, (2, Some(120)))
    );
}

#[test]
fn shards_hold_all_samples_and_are_judged_like_the_whole() {
    let p = policy("robust_accuracy >= 0.7", SEQUENTIAL, "");
    let whole = sampled(800, 800, |rank| rank % 10 == 0);
    let shard = |index: usize| {
        let (mut head, runs, samples) = apart(whole.clone());
        head.shard = Some(proofmark_domain::Shard { index, count: 3 });
        let part = samples
            .into_iter()
            .enumerate()
            .filter(|(i, _)| i % 3 == index);
        summarise(head, runs, part.map(|(_, s)| s).collect())
    };
    let merged = merge(vec![shard(2), shard(0), shard(1)]).unwrap();
    assert_eq!(merged.samples, whole.samples);
    assert_eq!(merged.sampling, whole.sampling);
    let alone = run(&p, sampled(800, 100, |rank| rank % 10 == 0));
    let mut together = run(&p, merged);
    together.checks[0].cost = alone.checks[0].cost;
    assert_eq!(together, alone);
    // A run that ended early is a whole report.
    let early = sampled(800, 100, |rank| rank % 10 == 0);
    assert_eq!(merge(vec![early.clone()]).unwrap(), early);
    let mut cut = early;
    cut.samples.pop();
    assert!(merge(vec![cut]).is_err());
}

#[test]
fn a_run_may_end_when_every_requirement_is_decided() {
    let r = sampled(800, 100, |rank| rank % 10 == 0);
    let robust = |threshold| (crate::Metric::RobustAccuracy, threshold);
    assert!(is_decided(&r, &[robust(0.7)], 0.95));
    assert!(!is_decided(&r, &[robust(0.7), robust(0.88)], 0.95));
    assert!(!is_decided(&r, &[robust(0.7)], 0.999_999));
    let mut none = r;
    none.samples.clear();
    assert!(!is_decided(&none, &[robust(0.7)], 0.95));
    let mut odd = sampled(800, 100, |_| false);
    // Looks that a file claims: an interval that holds at none of them states nothing.
    odd.sampling = Some(Sampling::Sequential {
        looks: vec![],
        made: 0,
    });
    assert!(!is_decided(&odd, &[robust(0.1)], 0.95));
}
