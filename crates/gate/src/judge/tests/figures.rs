//! Figures are computed from the samples, and samples that cannot count leave nothing to pass on.

use proofmark_domain::Verdict;

use super::*;
use crate::Measure;
use crate::trust::fixture::wrong;

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
