//! Rare outcomes, constant values, and values without a range: the audit draws no conclusion that the table does not
//! support.
//!
//! `examples/rare_outcomes.rs` is the long version of the simulations.

use proofmark_audit::report::{AuditReport, RequirementResult};
use proofmark_audit::{Columns, ReportOptions, Settings, Table, render, report};
use proofmark_domain::{Seed, Verdict};
use proofmark_stats::clopper_pearson_lower;
use proofmark_stats::random::{Purpose, Stream, StreamKey};

fn audited(table: &Table, settings: &Settings, requirements: &[&str]) -> AuditReport {
    let mut asked = ReportOptions::default();
    asked.requirements = requirements
        .iter()
        .map(|r| r.parse().expect("a requirement"))
        .collect();
    let required = |r: &&str| {
        let end = r.find(['<', '>']).expect("a bound");
        r[..end].to_owned()
    };
    let mut settings = settings.clone();
    settings.metrics = requirements.iter().map(required).collect();
    report(table, &settings, &asked).expect("measures")
}

fn gates(table: &Table, settings: &Settings, requirements: &[&str]) -> Vec<RequirementResult> {
    audited(table, settings, requirements).gates
}

fn verdicts(table: &Table, requirements: &[&str]) -> Vec<Verdict> {
    let gates = gates(table, &Settings::default(), requirements);
    gates.iter().map(|g| g.verdict).collect()
}

/// Group, score, label.
type Row = (&'static str, f64, bool);

fn table(rows: &[Row]) -> Table {
    Columns::new("t")
        .attribute("g", rows.iter().map(|r| r.0))
        .score(rows.iter().map(|r| r.1))
        .label(rows.iter().map(|r| r.2))
        .build()
        .expect("fits")
}

/// Draws calibrated scores for outcomes at a rate of about three per cent, in groups of 30 and 1000.
fn calibrated(run: u64) -> Table {
    let mut s = Stream::new(&StreamKey::new(Seed(9), run, Purpose::Data));
    let groups = [("a", 30), ("b", 1000)];
    let names = groups.iter().flat_map(|(g, n)| std::iter::repeat_n(*g, *n));
    let rows: Vec<Row> = names
        .map(|g| {
            let score = 0.01 + 0.06 * s.uniform_f64().powi(2);
            (g, score, s.uniform_f64() < score)
        })
        .collect();
    table(&rows)
}

/// Student limits failed a third of these tables: the variance of a group without the outcome does not account for it.
#[test]
fn fair_tables_of_rare_outcomes_do_not_fail() {
    let requirements = [
        "calibration_gap_difference<=0.01",
        "brier_score_difference<=0.001",
        "mean_score_difference<=0.05",
    ];
    let runs = 60;
    let mut failed = [0_u64; 3];
    for run in 0..runs {
        let told = verdicts(&calibrated(run), &requirements);
        for (failed, verdict) in failed.iter_mut().zip(told) {
            *failed += u64::from(verdict == Verdict::Fail);
        }
    }
    for (failed, requirement) in failed.iter().zip(requirements) {
        let least = clopper_pearson_lower(*failed, runs, 0.99);
        assert!(least <= 0.05, "{requirement}: {failed} of {runs}");
    }
}

/// A group of 30 without any outcome is compared with a group of 1000 at the usual three per cent.
#[test]
fn a_small_group_without_the_outcome_is_inconclusive() {
    let some = |g, n: usize, hits: usize| (0..n).map(move |i| (g, 0.03, i < hits));
    let rows: Vec<Row> = some("a", 30, 0).chain(some("b", 1000, 30)).collect();
    let told = verdicts(&table(&rows), &["calibration_gap_difference<=0.01"]);
    assert_eq!(told, [Verdict::Inconclusive]);
    // A group of 1000 without any outcome fails.
    let rows: Vec<Row> = some("a", 1000, 0).chain(some("b", 1000, 90)).collect();
    let told = verdicts(&table(&rows), &["calibration_gap_difference<=0.01"]);
    assert_eq!(told, [Verdict::Fail]);
}

/// A single score for everyone is equal between groups, whatever its last digit, the group sizes and the weights.
#[test]
fn equal_is_equal() {
    let both = ["mean_score_ratio>=1", "mean_score_difference<=0"];
    for score in [0.1, 0.3, 0.7, 1e-9, 1.0 / 3.0, 7.0, 1e17] {
        for (n, m) in [(10, 10), (30, 1000), (11, 4000)] {
            let of = |g, n: usize| std::iter::repeat_n((g, score, false), n);
            let rows: Vec<Row> = of("a", n).chain(of("b", m)).collect();
            let plain = table(&rows);
            let weighted = Columns::new("t")
                .attribute("g", rows.iter().map(|r| r.0))
                .score(rows.iter().map(|r| r.1))
                .weights((0..rows.len()).map(|i| 0.1 + 0.7 * (i % 5) as f64))
                .build()
                .expect("fits");
            for table in [plain, weighted] {
                let report = audited(&table, &Settings::default(), &both);
                let told: Vec<Verdict> = report.gates.iter().map(|g| g.verdict).collect();
                assert_eq!(told, [Verdict::Pass, Verdict::Pass], "{score} {n} {m}");
                for metric in &report.metrics {
                    assert!(metric.p_value.is_none_or(|p| p > 0.5), "{metric:?}");
                }
            }
        }
    }
}

/// The same values in another order differ by rounding at most, and rounding must not fail a requirement.
#[test]
fn rounding_fails_no_requirement() {
    let values: Vec<f64> = (0..300).map(|i| f64::from(i % 7) / 7.0).collect();
    let rows: Vec<Row> = values
        .iter()
        .map(|v| ("a", *v, false))
        .chain(values.iter().rev().map(|v| ("b", *v, false)))
        .collect();
    let table = table(&rows);
    let all = ["mean_score_ratio>=1", "mean_score_difference<=0"];
    assert_eq!(verdicts(&table, &all), [Verdict::Inconclusive; 2]);
}

/// 0 of 10 against 10 of 1000: the pseudo-counts that smoothing adds to an empty count must not cause a failure.
#[test]
fn pseudo_counts_of_smoothing_fail_no_requirement() {
    let of = |g, n: usize, x: usize| (0..n).map(move |i| (g, 0.5, i < x));
    let rows: Vec<Row> = of("a", 10, 0).chain(of("b", 1000, 10)).collect();
    let table = Columns::new("t")
        .attribute("g", rows.iter().map(|r| r.0))
        .decision(rows.iter().map(|r| r.2))
        .label(rows.iter().map(|r| r.2))
        .build()
        .expect("fits");
    for metric in [
        "differential_fairness",
        "label_differential_fairness",
        "differential_fairness_bias_amplification",
    ] {
        let told = verdicts(&table, &[&format!("{metric}<=0.5")]);
        assert_eq!(told, [Verdict::Inconclusive], "{metric}");
    }
}

/// Enumerates the tables of two groups of 10 and 1000 with one rate, weighted by their probability.
#[test]
fn differential_fairness_by_exact_enumeration() {
    let chance = |x: usize, n: usize, p: f64| {
        let choose: f64 = (0..x).map(|i| ((n - i) as f64 / (i + 1) as f64).ln()).sum();
        (choose + x as f64 * p.ln() + (n - x) as f64 * (-p).ln_1p()).exp()
    };
    let p = 0.01;
    let mut alarms = 0.0;
    for x in 0..=2 {
        for y in 1..=30 {
            let of = |g, n: usize, x: usize| (0..n).map(move |i| (g, i < x));
            let rows: Vec<(&str, bool)> = of("a", 10, x).chain(of("b", 1000, y)).collect();
            let table = Columns::new("t")
                .attribute("g", rows.iter().map(|r| r.0))
                .decision(rows.iter().map(|r| r.1))
                .build()
                .expect("fits");
            if verdicts(&table, &["differential_fairness<=0"]) == [Verdict::Fail] {
                alarms += chance(x, 10, p) * chance(y, 1000, p);
            }
        }
    }
    assert!(alarms <= 0.05, "{alarms}");
}

fn regression() -> Table {
    let noise = |i: usize| ((i * 37) % 100) as f64 / 10.0;
    let rows: Vec<(&str, f64, f64)> = (0..800)
        .map(|i| {
            let truth = 20.0 + ((i * 13) % 60) as f64;
            (if i % 2 == 0 { "a" } else { "b" }, truth + noise(i), truth)
        })
        .collect();
    Columns::new("t")
        .attribute("g", rows.iter().map(|r| r.0))
        .score(rows.iter().map(|r| r.1))
        .target(rows.iter().map(|r| r.2))
        .build()
        .expect("fits")
}

const ERRORS: [&str; 4] = [
    "mae_difference<=20",
    "rmse_difference<=40",
    "mean_error_difference<=20",
    "r2_difference<=0.5",
];

/// Errors have no inherent bound: without stated ranges they have no interval, and R² never has one.
#[test]
fn what_has_no_range_has_no_interval() {
    let table = regression();
    for gate in gates(&table, &Settings::default(), &ERRORS) {
        assert_eq!((gate.verdict, gate.interval), (Verdict::Inconclusive, None));
        let reason = gate.reason.expect("a reason");
        assert!(reason.starts_with("no interval: "), "{reason}");
    }
    let mut stated = Settings::default();
    stated.score_range = Some([0.0, 100.0].into());
    stated.target_range = Some([0.0, 100.0].into());
    let report = audited(&table, &stated, &ERRORS);
    let told: Vec<Verdict> = report.gates.iter().map(|g| g.verdict).collect();
    let (pass, open) = (Verdict::Pass, Verdict::Inconclusive);
    assert_eq!(told, [pass, pass, pass, open], "{report:#?}");
    // The report read back from its JSON text gives the same gates.
    let read: AuditReport = serde_json::from_str(&render::json(&report)).expect("reads back");
    let asked: Vec<_> = ERRORS.iter().map(|r| r.parse().expect("sound")).collect();
    let again = read.judged_again(&asked, 0.95, Some(0)).expect("there");
    assert_eq!(again, report.gates);
}

#[test]
fn an_invalid_or_violated_range_is_refused() {
    let table = regression();
    for (range, expected) in [
        ([0.0, 50.0], "has "),
        ([50.0, 0.0], "the lower one first"),
        ([0.0, f64::INFINITY], "finite"),
    ] {
        let mut settings = Settings::default();
        settings.score_range = Some(range.into());
        let error = report(&table, &settings, &ReportOptions::default()).expect_err("refused");
        let message = error.to_string();
        assert!(message.starts_with("range: score="), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

/// A histogram that was changed by hand gives no interval and no panic.
#[test]
fn an_impossible_histogram_gives_no_interval() {
    let rows: Vec<Row> = (0..200)
        .map(|i| (["a", "b"][i % 2], (i % 10) as f64 / 10.0, i % 3 == 0))
        .collect();
    let requirement = "mean_score_difference<=0.5";
    let report = audited(&table(&rows), &Settings::default(), &[requirement]);
    assert_eq!(report.gates[0].verdict, Verdict::Pass);
    let mut text: serde_json::Value = serde_json::from_str(&render::json(&report)).expect("json");
    let counts = text
        .pointer_mut("/parts/0/parts/0/estimate/mean/samples/0/values/counts")
        .expect("a histogram");
    *counts = serde_json::json!([[99, 5.0], [3, -1.0]]);
    let read: AuditReport = serde_json::from_value(text).expect("reads back");
    let again = read
        .judged_again(&[requirement.parse().expect("sound")], 0.95, Some(0))
        .expect("there");
    assert_eq!(
        (again[0].verdict, again[0].interval),
        (Verdict::Inconclusive, None)
    );
}
