//! The figures of `docs/audit.md` on COMPAS, Adult and German credit; skipped if `../shared/data` (or
//! `$PROOFMARK_DATA`) does not hold the data.
use std::path::Path;

use proofmark_audit::report::AuditReport;
use proofmark_audit::{Options, ReportOptions, Settings, Table, render, report};
use proofmark_domain::Verdict;

const PAGE: &str = include_str!("../../../../docs/audit.md");
const CHART: &str = include_str!("../../../../docs/compas.svg");

fn all(names: &str) -> Vec<String> {
    names.split(',').map(str::to_owned).collect()
}

fn audit(path: &Path, options: &Options, requirements: &[&str]) -> AuditReport {
    let mut asked = ReportOptions::default();
    asked.requirements = requirements
        .iter()
        .map(|r| r.parse().expect("a requirement"))
        .collect();
    let table = Table::csv(path, options).expect("reads");
    report(&table, &Settings::default(), &asked).expect("measures")
}

fn compas(filters: &[&str]) -> Options {
    let mut options = Options::default();
    options.score = Some("decile_score#1".to_owned());
    options.threshold = Some(5.0);
    options.label = Some("two_year_recid".to_owned());
    options.groups = all("race");
    options.filters = filters
        .iter()
        .map(|f| f.parse().expect("a filter"))
        .collect();
    options
}

const RACES: [&str; 2] = ["race=African-American", "race=Caucasian"];
const PROPUBLICA: [&str; 5] = [
    "days_b_screening_arrest>=-30",
    "days_b_screening_arrest<=30",
    "is_recid!=-1",
    "c_charge_degree!=O",
    "score_text!=N/A",
];
const REQUIRED: [&str; 3] = [
    "fpr_difference<=0.1",
    "fnr_difference<=0.1",
    "ppv_difference<=0.1",
];

/// Checks that the page contains every line of the verdict table as printed.
fn told(report: &AuditReport) {
    let text = render::table(report, false);
    let gates = text.lines().filter(|l| l.contains("  interval  "));
    for line in gates {
        assert!(PAGE.contains(line.trim_end()), "not on the page: {line}");
    }
}

#[test]
fn the_published_compas_rates_are_reproduced() {
    let Some(path) = crate::common::tabular("compas-scores-two-years.csv") else {
        return;
    };
    let report = audit(&path, &compas(&RACES), &REQUIRED);
    let rate = |group: &str, metric: &str| {
        let facts = report.groups.iter().find(|g| g.group == group);
        let rates = &facts.expect("a group").rates;
        let found = rates.iter().find(|r| r.metric == metric);
        found.expect("measured").value.expect("estimable")
    };
    // In per cent, as published.
    for (group, metric, published) in [
        ("African-American", "fpr", 44.85),
        ("Caucasian", "fpr", 23.45),
        ("African-American", "fnr", 27.99),
        ("Caucasian", "fnr", 47.72),
        ("African-American", "ppv", 63.0),
        ("Caucasian", "ppv", 59.0),
    ] {
        let got = 100.0 * rate(group, metric);
        let within = if metric == "ppv" { 0.5 } else { 0.005 };
        assert!(
            (got - published).abs() <= within + 1e-9,
            "{group} {metric}: {got}"
        );
    }
    let verdicts: Vec<Verdict> = report.gates.iter().map(|g| g.verdict).collect();
    assert_eq!(verdicts, [Verdict::Fail, Verdict::Fail, Verdict::Pass]);
    told(&report);

    // The chart shows this audit, under the file name that the page uses.
    let mut named = report;
    named.table.name = "compas-scores-two-years.csv".to_owned();
    assert!(render::svg(&named) == CHART, "docs/compas.svg is another");
}

#[test]
fn propublicas_filters_keep_the_published_number_of_rows() {
    let Some(path) = crate::common::tabular("compas-scores-two-years.csv") else {
        return;
    };
    let everybody = audit(&path, &compas(&PROPUBLICA), &[]);
    assert_eq!(everybody.table.rows, 6172);
    let filters = [&RACES[..], &PROPUBLICA].concat();
    let report = audit(&path, &compas(&filters), &REQUIRED);
    let verdicts: Vec<Verdict> = report.gates.iter().map(|g| g.verdict).collect();
    assert_eq!(
        verdicts,
        [Verdict::Fail, Verdict::Fail, Verdict::Inconclusive]
    );
    told(&report);
}

#[test]
fn adult_and_german_credit_match_the_page() {
    if let Some(path) = crate::common::tabular("adult-test.csv") {
        let mut options = Options::default();
        options.columns = all(
            "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,race,sex,\
             capital_gain,capital_loss,hours_per_week,native_country,income",
        );
        options.decision = Some("income".to_owned());
        options.favourable = all(">50K.");
        options.groups = all("sex,race");
        let report = audit(&path, &options, &["impact_ratio>=0.8"]);
        assert_eq!(report.verdict, Some(Verdict::Fail));
        told(&report);
    }
    if let Some(path) = crate::common::tabular("german.csv") {
        let mut options = Options::default();
        options.columns = all(
            "status,duration,history,purpose,amount,savings,employment,rate,personal,debtors,residence,property,\
             age,plans,housing,credits,job,liable,telephone,foreign,class",
        );
        options.decision = Some("class".to_owned());
        options.favourable = all("1");
        options.groups = all("age,foreign");
        options.bins = vec![("age".to_owned(), vec![26.0])];
        let report = audit(&path, &options, &["selection_rate_difference<=0.1"]);
        assert_eq!(report.verdict, Some(Verdict::Inconclusive));
        assert_eq!(report.groups[0].n, Some(190));
        told(&report);
    }
}
