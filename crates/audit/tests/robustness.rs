//! Robustness bias: a report's samples joined with their groups.

use proofmark_audit::Outcome::{Broken, Robust, Wrong};
use proofmark_audit::robustness::join;
use proofmark_audit::{Coded, Columns, Figure, Settings, Table, measure};
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
    let settings = Settings {
        min_n: 1,
        ..Settings::default()
    };
    let measured = measure(table, &settings).expect("measures");
    let is = |f: &&Figure| f.metric == id && f.groups.first().is_some_and(|g| g == group);
    measured.figures.iter().find(is).expect("measured").value()
}

#[test]
fn the_same_rates_clean_and_under_attack() {
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
fn one_run_alone() {
    let joined = join(&six(), &groups(), Some(0), Some("pgd@0.1")).expect("joins");
    assert_eq!((joined.unjudged, joined.clean.rows()), (0, 6));
    assert_eq!(value(&joined.clean, "attack_success_rate", "f"), Some(0.5));
    assert_eq!(value(&joined.clean, "attack_success_rate", "m"), Some(0.0));
    // The favourable class is 0 now.
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
