//! Robustness bias: joins a report's samples with their groups.

use proofmark_audit::Outcome::{Broken, Robust, Wrong};
use proofmark_audit::report::AuditReport;
use proofmark_audit::robustness::{carried, join};
use proofmark_audit::{
    Coded, Columns, Figure, Options, ReportOptions, Settings, Table, measure, render,
    report_attacked,
};
use proofmark_domain::Report;
use serde_json::{Value, json};

/// `(id, label, clean prediction, prediction and status under each of two runs)`.
type Sample = (
    u64,
    usize,
    Option<usize>,
    [(Option<usize>, &'static str); 2],
);

const KEYS: [&str; 2] = ["pgd@0.1", "noise@0.1"];

fn sample((id, label, clean, runs): Sample) -> Value {
    let broken = runs.iter().position(|r| r.1 == "broken");
    let outcome = |at: usize| {
        json!({
            "run": KEYS[at], "status": runs[at].1, "adv_pred": runs[at].0,
            "gauge": null, "distance": null, "forward": 1, "backward": 0
        })
    };
    json!({
        "id": id, "label": label, "clean_pred": clean, "clean_correct": clean == Some(label),
        "adv_pred": broken.map_or(clean, |b| runs[b].0),
        "broken_by": broken.map(|b| KEYS[b]),
        "gauge": null, "distance": null, "norm": null, "observed": [], "runs": [outcome(0), outcome(1)]
    })
}

fn report(samples: &[Sample]) -> Report {
    let share = json!({"correct": 0, "n": 0, "invalid": 0, "accuracy": 0.0, "ci95": [0.0, 1.0]});
    let attack = |key: &str| {
        json!({
            "id": "pgd", "key": key, "role": "attack", "gradient": true, "parameters": {},
            "threat": {"norm": "linf", "eps": 0.1, "text": "0.1", "budgets": [], "coupling": "independent"},
            "correct": 0, "n": 0, "invalid": 0, "robust_accuracy": 0.0, "ci95": [0.0, 1.0],
            "attack_success_rate": null, "forward": 0, "backward": 0, "seconds": 0.0
        })
    };
    serde_json::from_value(json!({
        "schema": "proofmark/report/1", "tool": {"name": "proofmark", "version": "0"}, "config": {},
        "model": {"name": "m", "sha256": "", "origin": null, "classes": 2},
        "data": {"name": "d", "sha256": "", "total": 6, "planned": 6, "bounds": {}},
        "preprocessing": {}, "device": "cpu", "tile": 32, "seed": 0, "seconds": 0.0, "shard": null,
        "clean": share, "attacks": [attack("pgd@0.1"), attack("noise@0.1")],
        "worst_case": {"eps": 0.1, "correct": 0, "n": 0, "invalid": 0, "robust_accuracy": 0.0, "ci95": [0.0, 1.0],
            "attack_success_rate": null},
        "curve": [], "per_class": [], "trust": [], "samples_file": null,
        "samples": samples.iter().map(|s| sample(*s)).collect::<Vec<_>>()
    }))
    .expect("a report")
}

fn six() -> Report {
    let robust = (None, "robust");
    let wrong = (None, "misclassified");
    report(&[
        (0, 1, Some(1), [(Some(0), "broken"), robust]),
        (1, 0, Some(0), [robust, robust]),
        (2, 1, Some(0), [wrong, wrong]),
        (3, 1, Some(1), [robust, (Some(0), "broken")]),
        (4, 0, Some(0), [robust, (None, "invalid")]),
        (5, 0, Some(0), [robust, robust]),
    ])
}

fn groups() -> Table {
    Columns::new("groups")
        .attribute("sex", ["f", "f", "f", "m", "m", "m"])
        .build()
        .expect("fits")
}

fn value(table: &Table, id: &str, group: &str) -> Option<f64> {
    let mut settings = Settings::default();
    settings.min_n = 1;
    let measured = measure(table, &settings).expect("measures");
    let is = |f: &&Figure| f.metric == id && f.groups.first().is_some_and(|g| g == group);
    measured.figures.iter().find(is).expect("measured").value()
}

#[test]
fn rates_are_measured_clean_and_under_attack() {
    let joined = join(&six(), &groups(), None, None).expect("joins");
    assert_eq!((joined.unjudged, joined.clean.rows()), (1, 5));
    assert_eq!(
        joined.clean.outcome(),
        Some(&[Broken, Robust, Wrong, Broken, Robust][..])
    );
    assert_eq!(joined.clean.outcome(), joined.attacked.outcome());
    assert_eq!(value(&joined.clean, "tpr", "f"), Some(0.5));
    assert_eq!(value(&joined.attacked, "tpr", "f"), Some(0.0));
    assert_eq!(value(&joined.clean, "tpr", "m"), Some(1.0));
    assert_eq!(value(&joined.attacked, "tpr", "m"), Some(0.0));
    assert_eq!(value(&joined.clean, "attack_success_rate", "f"), Some(0.5));
    assert_eq!(
        value(&joined.clean, "robust_accuracy", "f"),
        Some(1.0 / 3.0)
    );
    assert_eq!(value(&joined.clean, "clean_accuracy", "m"), Some(1.0));
}

#[test]
fn a_single_run_can_be_selected() {
    let joined = join(&six(), &groups(), Some(0), Some("pgd@0.1")).expect("joins");
    assert_eq!((joined.unjudged, joined.clean.rows()), (0, 6));
    assert_eq!(value(&joined.clean, "attack_success_rate", "f"), Some(0.5));
    assert_eq!(value(&joined.clean, "attack_success_rate", "m"), Some(0.0));
    // The favourable class is now 0.
    assert_eq!(value(&joined.clean, "base_rate", "f"), Some(1.0 / 3.0));
    assert_eq!(value(&joined.attacked, "fpr", "f"), Some(1.0));
}

#[test]
fn samples_are_found_by_id_or_refused() {
    let by_id = |ids: [&'static str; 6]| {
        Columns::new("groups")
            .coded(Coded::new("sex", ["f", "f", "f", "m", "m", "m"].map(Some)))
            .id(ids)
            .build()
            .expect("fits")
    };
    let joined = join(&six(), &by_id(["5", "4", "3", "2", "1", "0"]), None, None).expect("joins");
    assert_eq!(joined.clean.attributes()[0].value(0), Some("m"));
    let message = |groups: &Table, run| {
        join(&six(), groups, None, run)
            .expect_err("refused")
            .to_string()
    };
    let absent = message(&by_id(["5", "4", "3", "2", "1", "9"]), None);
    assert_eq!(
        absent,
        "report: sample 0 has no row in groups; expected the groups of every sample, by `id` or by row"
    );
    let unknown = message(&groups(), Some("pgd@0.2"));
    assert_eq!(
        unknown,
        "report: has no run `pgd@0.2` (did you mean `pgd@0.1`?)"
    );
    assert!(join(&six(), &groups(), Some(2), None).is_err());
}

/// Groups that the samples carry work as well as a table, including filters.
#[test]
fn groups_carried_by_the_samples_can_be_joined() {
    let mut report = six();
    for (sample, sex) in report.samples.iter_mut().zip(["f", "f", "f", "m", "m", ""]) {
        sample.groups.insert("sex".to_owned(), sex.to_owned());
        let id = format!("p{}", sample.label);
        sample.groups.insert("id".to_owned(), id);
    }
    let all = carried(&report, &Options::default()).expect("carried");
    let names: Vec<&str> = all.attributes().iter().map(Coded::name).collect();
    assert_eq!(names, ["id", "sex"]);
    assert_eq!(all.attributes()[1].value(5), None, "unknown");
    let by_sex = |filter: &str| {
        let mut options = Options::default();
        options.groups = vec!["sex".to_owned()];
        options.filters = filter.parse().into_iter().collect();
        options
    };
    let men = carried(&report, &by_sex("sex=m")).expect("carried");
    let joined = join(&report, &men, None, None).expect("joins");
    assert_eq!((joined.filtered, joined.unjudged), (4, 1));
    assert_eq!((joined.clean.rows(), joined.clean.filtered()), (1, 4));
    assert_eq!(joined.clean.row_name(0), "3");
    let mut near = Options::default();
    near.groups = vec!["sxe".to_owned()];
    let told = carried(&report, &near)
        .expect_err("no such group")
        .to_string();
    assert_eq!(told, "report: has no column `sxe` (did you mean `sex`?)");
    assert!(carried(&six(), &Options::default()).is_err());
}

/// Without ids, a sample belongs to the row of the same index in the file, even if filters drop rows.
#[test]
fn rows_keep_their_source_index_under_filters() {
    let mut options = Options::default();
    options.groups = vec!["sex".to_owned()];
    options.filters = "site!=x".parse().into_iter().collect();
    options.groups_only = true;
    let text = "sex,site\nf,n\nf,n\nm,x\nm,n\nf,x\nm,n\n";
    let groups = Table::csv_from(text.as_bytes(), "groups", &options).expect("reads");
    let names: Vec<String> = (0..4).map(|row| groups.row_name(row)).collect();
    assert_eq!(names, ["0", "1", "3", "5"]);
    let joined = join(&six(), &groups, None, None).expect("joins");
    assert_eq!((joined.filtered, joined.unjudged), (2, 0));
    let sex: Vec<_> = (0..4)
        .map(|row| joined.clean.attributes()[0].value(row))
        .collect();
    assert_eq!(sex, [Some("f"), Some("f"), Some("m"), Some("m")]);
    let short = Table::csv_from(&text.as_bytes()[..29], "groups", &options).expect("reads");
    assert!(join(&six(), &short, None, None).is_err());
}

/// Builds 60 samples per group, 45 of them correct without the attack; 20 of `m` and `broken` of `f` are broken.
fn sixty(broken: u64) -> AuditReport {
    let sample = |at: u64| {
        let breaks = at % 60 < if at < 60 { broken } else { 20 };
        // Use both labels: a count of 0 negatives would itself be below the limit.
        let label = usize::from(at % 2 == 1);
        let (clean, run) = match at % 60 {
            45.. => (1 - label, (None, "misclassified")),
            _ if breaks => (label, (Some(1 - label), "broken")),
            _ => (label, (None, "robust")),
        };
        (at, label, Some(clean), [run, run])
    };
    let samples: Vec<Sample> = (0..120).map(sample).collect();
    let groups = Columns::new("groups")
        .attribute("sex", (0..120).map(|at| if at < 60 { "f" } else { "m" }))
        .build()
        .expect("fits");
    let joined = join(&report(&samples), &groups, None, None).expect("joins");
    let mut asked = ReportOptions::default();
    asked.suppress = 5;
    report_attacked(&joined, &Settings::default(), &asked).expect("reports")
}

/// The broken samples are the clean correct ones less the robust ones: if few are broken, neither figure is shown.
#[test]
fn a_small_number_of_broken_samples_cannot_be_recovered() {
    let told = |report: &AuditReport, rate: &str, attribute: &str, group: &str| {
        let is =
            |g: &&proofmark_audit::report::GroupFacts| g.attribute == attribute && g.group == group;
        let facts = report.groups.iter().find(is).expect("listed");
        facts
            .rates
            .iter()
            .find(|r| r.metric == rate)
            .and_then(|r| r.value)
    };
    let (many, few) = (sixty(15), sixty(4));
    for (rate, attribute, group) in [
        ("attack_success_rate", "sex", "f"),
        ("attack_success_rate", "sex", "overall"),
        ("robust_accuracy", "sex", "f"),
        ("robust_accuracy", "sex", "overall"),
        ("selection_rate", "sex under attack", "f"),
        ("selection_rate", "sex under attack", "overall"),
    ] {
        let shown = told(&many, rate, attribute, group);
        assert!(shown.is_some(), "{rate} {attribute} {group}");
        let hidden = told(&few, rate, attribute, group);
        assert_eq!(hidden, None, "{rate} {attribute} {group}");
    }
    for m in few
        .metrics
        .iter()
        .filter(|m| m.attribute.ends_with("under attack"))
    {
        assert!(
            m.value.is_none() && m.ci95.is_none() && m.n.is_empty(),
            "{}",
            m.metric
        );
    }
    let counts = few
        .groups
        .iter()
        .filter(|g| g.attribute == "sex under attack" && g.group != "m");
    assert!(
        counts.clone().count() == 2
            && counts
                .clone()
                .all(|g| g.favourable.is_none() && g.tp.is_none())
    );
    let text = render::json(&few);
    assert!(!text.contains("0.6833"), "41 of 60");
    assert!(!text.contains("0.55,"), "66 of 120");
}
