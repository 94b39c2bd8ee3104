//! Structure of the crate: every metric file is registered and has its documentation page, and its figures are
//! consistent.

use std::fs;
use std::path::Path;

use proofmark_audit::synthetic::Population;
use proofmark_audit::{
    AuditReport, Bound, By, Columns, Figure, Outcome, ReportOptions, Requirement, Settings, Table,
    judge, measure, metric, render, report,
};

#[test]
fn every_metric_file_is_registered_and_has_its_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metric");
    let registry = fs::read_to_string(folder.join("registry.rs")).expect("readable");
    let mut files = 0;
    for entry in fs::read_dir(&folder).expect("readable") {
        let path = entry.expect("readable").path();
        let text = fs::read_to_string(&path).expect("readable");
        let name = path
            .file_stem()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        let lists = text.matches("_ENTRIES: &[MetricEntry]").count()
            + text.matches(" ENTRIES: &[MetricEntry]").count();
        if lists == 0 {
            continue;
        }
        files += 1;
        let listed = registry.matches(&format!("super::{name}::")).count();
        assert_eq!(
            listed, lists,
            "{name}.rs has {lists} lists of entries, the registry {listed}"
        );
        let mut at = 0;
        for heading in [
            "Idea",
            "Maths",
            "Reference",
            "Divergences",
            "Cost",
            "When it fails",
            "Example",
        ] {
            let found = text[at..].find(&format!("//! # {heading}\n"));
            at += found.unwrap_or_else(|| panic!("{name}.rs has no `# {heading}` in its place"));
        }
    }
    assert!(files >= 40, "{files}");
}

/// Builds a table with every column that a metric may need, except pairs.
fn everything() -> Table {
    let people: Vec<_> = (0..400)
        .filter_map(|i| Population::planted(9).person(i))
        .collect();
    let outcome = people
        .iter()
        .map(|p| match (p.label == p.decision, p.score < 0.3) {
            (false, _) => Outcome::Wrong,
            (true, true) => Outcome::Broken,
            (true, false) => Outcome::Robust,
        });
    Columns::new("everything")
        .decision(people.iter().map(|p| p.decision))
        .label(people.iter().map(|p| p.label))
        .score(people.iter().map(|p| p.score))
        .target(people.iter().map(|p| f64::from(p.label)))
        .weights((0..400).map(|i| 0.5 + f64::from(i % 3)))
        .attribute("group", people.iter().map(|p| p.group))
        .attribute("region", people.iter().map(|p| p.region))
        .stratum(
            "half",
            (0..400).map(|i| if i < 200 { "first" } else { "second" }),
        )
        .feature("score", people.iter().map(|p| p.score))
        .outcome(outcome)
        .build()
        .expect("fits")
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.reference = vec![("group".to_owned(), "a".to_owned())];
    settings.intersections = 2;
    settings.score_range = Some([1e-6, 1.0 - 1e-6].into());
    settings.target_range = Some([0.0, 1.0].into());
    settings
}

/// The interval is computed from the basis, so the basis must give the same value.
#[test]
fn the_basis_of_a_figure_makes_its_value() {
    let table = everything();
    let measured = measure(&table, &settings()).expect("measures");
    let mut made = 0;
    for figure in &measured.figures {
        if let Some(value) = figure.value() {
            let same = |again: f64| (value - again).abs() < 1e-12;
            let again = figure.basis.value();
            assert!(again.is_some_and(same), "{figure:#?}: {again:?}");
            made += 1;
        }
    }
    assert!(made > 500, "{made}");
}

#[test]
fn every_metric_that_has_its_columns_has_a_finite_headline() {
    let table = everything();
    let measured = measure(&table, &settings()).expect("measures");
    for entry in metric::all() {
        if measured.skipped.iter().any(|s| s.metric == entry.id) {
            assert!(
                entry.id.starts_with("counterfactual"),
                "{} skipped",
                entry.id
            );
            continue;
        }
        let own: Vec<&Figure> = measured
            .figures
            .iter()
            .filter(|f| f.metric == entry.id)
            .collect();
        assert!(
            own.iter().any(|f| f.value().is_some_and(f64::is_finite)),
            "{}",
            entry.id
        );
        let plain = own.iter().all(|f| !f.comparison.is_headline());
        assert_eq!(plain, entry.ideal == metric::Ideal::None, "{}", entry.id);
    }
}

/// Every figure with a value has an interval that contains it, except R², for which no valid limits exist.
#[test]
fn every_figure_has_an_interval() {
    let table = everything();
    let measured = measure(&table, &settings()).expect("measures");
    for (figure, judged) in measured
        .figures
        .iter()
        .zip(judge(&measured.figures, &[], 0.95, 0))
    {
        let Some(value) = figure.value() else {
            continue;
        };
        if figure.metric.starts_with("r2") {
            assert_eq!(judged.interval, None, "{figure:#?}");
            continue;
        }
        let i = judged
            .interval
            .unwrap_or_else(|| panic!("no interval: {figure:#?}"));
        let holds = i.low <= value + 1e-9 && value <= i.high + 1e-9;
        assert!(holds, "{value} beyond {i:?}: {figure:#?}");
    }
}

/// Every headline that can be gated gets the same verdict from the report's JSON text as from the table.
#[test]
fn every_headline_is_judged_alike_from_the_text_of_the_report() {
    let fair = |m: &&metric::MetricEntry| m.ideal != metric::Ideal::None;
    let requirements = metric::all().filter(fair).map(|entry| Requirement {
        metric: entry.id.to_owned(),
        attribute: None,
        bound: if entry.ideal == metric::Ideal::One {
            Bound::AtLeast
        } else {
            Bound::AtMost
        },
        tolerance: 0.3,
        by: By::Interval,
    });
    let (table, settings) = (everything(), settings());
    let measured = measure(&table, &settings).expect("measures");
    let there = |r: &Requirement| measured.figures.iter().any(|f| r.gates(f));
    let mut asked = ReportOptions::default();
    asked.requirements = requirements.filter(there).collect();
    let told = report(&table, &settings, &asked).expect("measures");
    let read: AuditReport = serde_json::from_str(&render::json(&told)).expect("reads back");
    let again = read
        .judged_again(&asked.requirements, asked.level, Some(0))
        .expect("there");
    assert!(told.gates.len() > 100, "{}", told.gates.len());
    for gate in &told.gates {
        assert!(again.contains(gate), "{gate:#?}");
    }
    assert_eq!(again.len(), told.gates.len());
}

/// No figure depends on the order of the rows, except for rounding.
#[test]
fn the_order_of_rows_does_not_matter() {
    let table = everything();
    let order: Vec<u32> = (0..400).map(|i| (i * 171 + 5) % 400).collect();
    let shuffled = table.take(&order);
    let (a, b) = (
        measure(&table, &settings()),
        measure(&shuffled, &settings()),
    );
    let (a, b) = (a.expect("measures"), b.expect("measures"));
    assert_eq!(a.figures.len(), b.figures.len());
    for (x, y) in a.figures.iter().zip(&b.figures) {
        assert_eq!((x.metric, &x.groups, &x.n), (y.metric, &y.groups, &y.n));
        let same = match (x.value(), y.value()) {
            (Some(x), Some(y)) => (x - y).abs() < 1e-12,
            (x, y) => x == y,
        };
        assert!(same, "{x:?} and {y:?}");
    }
}

/// Equal weights change no figure except those counted in people.
#[test]
fn equal_weights_give_the_unweighted_figures() {
    let table = everything();
    let people = table.rows();
    let with = |weight: Option<f64>| {
        let mut columns = Columns::new("t")
            .decision(table.decision().expect("there").iter().copied())
            .label(table.label().expect("there").iter().copied())
            .score(table.score().expect("there").iter().copied())
            .coded(table.attributes()[0].clone());
        if let Some(weight) = weight {
            columns = columns.weights(std::iter::repeat_n(weight, people));
        }
        columns.build().expect("fits")
    };
    let (plain, weighted) = (with(None), with(Some(0.25)));
    let settings = Settings::default();
    let (a, b) = (measure(&plain, &settings), measure(&weighted, &settings));
    let (a, b) = (a.expect("measures"), b.expect("measures"));
    for (x, y) in a.figures.iter().zip(&b.figures) {
        // Smoothing adds pseudo-counts, and a shortfall is a sum of weights.
        if x.metric.contains("differential_fairness") || x.metric == "selection_shortfall" {
            continue;
        }
        let same = x
            .value()
            .zip(y.value())
            .is_none_or(|(x, y)| (x - y).abs() < 1e-12);
        assert!(same && x.n == y.n, "{x:?} and {y:?}");
    }
}

/// Three variants: an id with two of them counts for that pair only, an id with one counts for none.
#[test]
fn flips_are_counted_over_ids_with_both_variants() {
    let rows = [
        ("1", "f", true, 0.9),
        ("1", "m", false, 0.4),
        ("1", "x", true, 0.8),
        ("2", "f", true, 0.7),
        ("2", "m", true, 0.7),
        ("3", "f", false, 0.1),
        ("3", "x", true, 0.6),
        ("4", "m", true, 0.6),
    ];
    let table = Columns::new("paired")
        .id(rows.iter().map(|r| r.0))
        .variant("sex", rows.iter().map(|r| r.1))
        .decision(rows.iter().map(|r| r.2))
        .score(rows.iter().map(|r| r.3))
        .build()
        .expect("fits");
    let mut settings = Settings::default();
    settings.min_n = 1;
    let measured = measure(&table, &settings).expect("measures");
    let values = |id: &str| -> Vec<(String, Option<f64>, u64)> {
        let own = measured.figures.iter().filter(|f| f.metric == id);
        own.map(|f| (f.groups.join("-"), f.value(), f.n[0]))
            .collect()
    };
    let pair = |name: &str, value: f64, n| (name.to_owned(), Some(value), n);
    assert_eq!(
        values("counterfactual_flip_rate"),
        [
            pair("f-m", 0.5, 2),
            pair("f-x", 0.5, 2),
            pair("m-x", 1.0, 1),
            pair("", 2.0 / 3.0, 3)
        ]
    );
    assert_eq!(
        values("counterfactual_gap"),
        [
            pair("f-m", 0.5, 2),
            pair("f-x", -0.5, 2),
            pair("m-x", -1.0, 1),
            pair("m-x", 1.0, 1)
        ]
    );
    let shift = values("counterfactual_score_shift");
    let near = |got: &(String, Option<f64>, u64), want: f64| {
        assert!(
            got.1.is_some_and(|g| (g - want).abs() < 1e-12),
            "{got:?}, expected {want}"
        );
    };
    near(&shift[0], 0.25);
    near(&shift[3], (0.5 + 0.0 + 0.5) / 3.0);
    assert!(measured.skipped.iter().any(|s| s.metric == "tpr"));
    let mut grouped = Columns::new("paired")
        .id(["1", "1"])
        .variant("sex", ["f", "m"])
        .decision([true, false]);
    grouped = grouped.attribute("race", ["a", "b"]);
    let message = measure(&grouped.build().expect("fits"), &settings)
        .expect_err("refused")
        .to_string();
    assert!(
        message.starts_with("groups: given for a paired table"),
        "{message}"
    );
}
