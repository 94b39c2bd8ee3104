//! A missing-value marker is missing in every column, is never used as a value, and is counted.

use proofmark_audit::report::{Detail, samples};
use proofmark_audit::{AuditReport, Options, ReportOptions, Settings, Table, report};

fn options() -> Options {
    let mut options = Options::default();
    options.decision = Some("hired".to_owned());
    options.groups = vec!["sex".to_owned()];
    options
}

fn read(text: &str, options: &Options) -> Table {
    Table::csv_from(text.as_bytes(), "t", options).expect("reads")
}

fn audit(table: &Table, suppress: u64) -> AuditReport {
    let mut settings = Settings::default();
    settings.min_n = 1;
    let mut asked = ReportOptions::default();
    asked.suppress = suppress;
    report(table, &settings, &asked).expect("measured")
}

/// Returns the value and the number of people in the denominator.
fn rate(report: &AuditReport, group: &str, metric: &str) -> (Option<f64>, Option<u64>) {
    let group = report.groups.iter().find(|g| g.group == group);
    let rates = &group.expect("a group").rates;
    let rate = rates.iter().find(|r| r.metric == metric).expect("measured");
    (rate.value, rate.n)
}

/// Repeats each kind of row the given number of times.
fn rows(kinds: &[(&str, usize)]) -> String {
    kinds
        .iter()
        .map(|(row, n)| format!("{row}\n").repeat(*n))
        .collect()
}

#[test]
fn every_spelling_is_the_same_in_every_column() {
    let cells = [
        "", "NA", "na", "N/A", "n/a", "#N/A", "#n/a", "<NA>", "<na>", "NULL", "null", "Null",
        "None", "none", "NaN", "nan", "?", "\\N", "nil", "NaT",
    ];
    for cell in cells {
        let text = format!(
            "sex,hired,score,w\nf,1,0.5,1\nm,0,0.25,2\n{cell},1,0.5,1\nf,{cell},0.5,1\nm,1,{cell},1\nm,1,1,{cell}\n"
        );
        let mut options = options();
        options.score = Some("score".to_owned());
        options.weights = Some("w".to_owned());
        let table = read(&text, &options);
        assert_eq!((table.rows(), table.filtered()), (5, 1), "{cell}");
        assert_eq!(table.attributes()[0].levels(), ["f", "m"], "{cell}");
        let counts: Vec<(&str, &str, Option<u64>)> = table
            .missing()
            .iter()
            .map(|m| (m.role.as_str(), m.column.as_str(), m.rows))
            .collect();
        let one = Some(1);
        assert_eq!(
            counts,
            [
                ("decision", "hired", one),
                ("score", "score", one),
                ("group", "sex", one),
                ("weights", "w", one)
            ],
            "{cell}"
        );
        assert!(
            table
                .missing()
                .iter()
                .all(|m| m.markers.get(cell) == Some(&1)),
            "{cell}"
        );
    }
}

/// The rate is 20 of 30, not 20 of 35.
#[test]
fn a_missing_decision_is_not_unfavourable() {
    let text = format!(
        "sex,hired\n{}",
        rows(&[
            ("f,yes", 20),
            ("f,no", 10),
            ("f,NA", 5),
            ("m,yes", 15),
            ("m,no", 15)
        ])
    );
    let mut options = options();
    options.favourable = vec!["yes".to_owned()];
    let told = audit(&read(&text, &options), 0);
    assert_eq!(
        rate(&told, "f", "selection_rate"),
        (Some(20.0 / 30.0), Some(30))
    );
    assert_eq!(
        rate(&told, "overall", "selection_rate"),
        (Some(35.0 / 60.0), Some(60))
    );
    let f = &told.groups[0];
    assert_eq!((f.n, f.favourable), (Some(35), Some(20)));
    let gap = told
        .metrics
        .iter()
        .find(|m| m.metric == "selection_rate_difference");
    let gap = gap.expect("measured");
    assert_eq!((gap.persons, gap.persons_left_out), (Some(65), Some(5)));
}

/// Labels are often known only for approved people; rates of decisions still cover everyone.
#[test]
fn a_missing_label_leaves_rates_of_decisions_alone() {
    let text = format!(
        "sex,hired,repaid\n{}",
        rows(&[
            ("f,1,1", 12),
            ("f,1,0", 8),
            ("f,0,", 20),
            ("m,1,1", 15),
            ("m,1,NULL", 5),
            ("m,0,0", 10),
            ("m,0,1", 10)
        ])
    );
    let mut options = options();
    options.label = Some("repaid".to_owned());
    let table = read(&text, &options);
    let told = audit(&table, 0);
    assert_eq!(rate(&told, "f", "selection_rate"), (Some(0.5), Some(40)));
    assert_eq!(rate(&told, "m", "selection_rate"), (Some(0.5), Some(40)));
    assert_eq!(rate(&told, "m", "tpr"), (Some(15.0 / 25.0), Some(25)));
    assert_eq!(rate(&told, "f", "base_rate"), (Some(12.0 / 20.0), Some(20)));
    let [f, m] = [0, 1].map(|at: usize| &told.groups[at]);
    assert_eq!(
        (f.n, f.favourable, f.positives),
        (Some(40), Some(20), Some(12))
    );
    assert_eq!(
        (f.tp, f.fp, f.fn_, f.tn),
        (Some(12), Some(8), Some(0), Some(0))
    );
    assert_eq!(
        (m.tp, m.fp, m.fn_, m.tn),
        (Some(15), Some(0), Some(10), Some(10))
    );
    // With suppression, all counts use the same rows, so that subtraction reveals nothing.
    let shared = audit(&table, 2);
    assert_eq!(
        (shared.table.rows, shared.table.missing[0].rows),
        (55, None)
    );
    assert!(shared.table.missing[0].markers.is_empty());
    // Reported rows contain only the values they have.
    let all: Vec<_> = samples(&table, None, Detail::Full, 0)
        .expect("told")
        .collect();
    assert_eq!(all.iter().filter(|s| s.label.is_none()).count(), 25);
    assert!(all.iter().all(|s| s.decision.is_some()));
}

#[test]
fn a_column_without_a_single_value_is_not_estimable() {
    let text = format!(
        "sex,hired,repaid\n{}",
        rows(&[("f,1,NA", 20), ("m,0,NA", 20)])
    );
    let mut options = options();
    options.label = Some("repaid".to_owned());
    let told = audit(&read(&text, &options), 0);
    assert_eq!(rate(&told, "f", "tpr"), (None, Some(0)));
    assert_eq!(rate(&told, "f", "selection_rate"), (Some(1.0), Some(20)));
    // The same for missing scores from which decisions derive.
    let text = "sex,s\nf,0.5\nm,0.75\nm,NA\n".replace("m,NA\n", &"m,NA\n".repeat(9));
    options.decision = None;
    options.label = None;
    options.score = Some("s".to_owned());
    options.threshold = Some(0.5);
    let table = read(&text, &options);
    assert_eq!(
        rate(&audit(&table, 0), "m", "selection_rate"),
        (Some(1.0), Some(1))
    );
}

#[test]
fn stated_markers_replace_the_usual_ones_and_filters_use_them() {
    let text = "sex,hired\nf,1\nm,0\n-9,1\nNone,0\nNA,0\n";
    let mut stated = options();
    stated.missing = vec!["-9".to_owned()];
    let table = read(text, &stated);
    assert_eq!(table.attributes()[0].levels(), ["NA", "None", "f", "m"]);
    assert_eq!(table.missing()[0].markers.get("-9"), Some(&1));
    let mut known = options();
    known.filters = vec!["sex!=NA".parse().expect("well-formed")];
    let table = read(text, &known);
    assert_eq!((table.rows(), table.filtered()), (3, 2));
    assert_eq!(
        (table.missing()[0].role.as_str(), table.missing()[0].rows),
        ("filter", Some(2))
    );
}
