//! Figures match those that `tests/peers/fairness_agrees.py` wrote for fairlearn, AIF360 and others, to 1e-9.
//!
//! Skipped if the script wrote nothing or the data are absent.
#![allow(clippy::print_stderr, reason = "what was compared is said")]
#![expect(
    clippy::print_stderr,
    reason = "a test that is skipped or measures says so"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proofmark_audit::{
    Comparison, Estimate, Figure, Measured, Options, Settings, Table, measure, metric,
};

const TOLERANCE: f64 = 1e-9;

/// Folder that the script writes to.
fn written() -> PathBuf {
    std::env::var_os("PROOFMARK_PEER_FAIRNESS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peer-fairness"),
        PathBuf::from,
    )
}

fn all(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn table(name: &str, written: &Path, data: &Path) -> Table {
    let mut options = Options::default();
    let path = match name {
        "compas" => {
            options.score = Some("decile_score#1".to_owned());
            options.threshold = Some(5.0);
            options.label = Some("two_year_recid".to_owned());
            options.groups = all(&["race", "sex", "age_cat"]);
            data.join("compas-scores-two-years.csv")
        }
        "adult" | "adult-weighted" => {
            options.decision = Some("decision".to_owned());
            options.label = Some("income".to_owned());
            options.score = Some("score".to_owned());
            options.weights = (name == "adult-weighted").then(|| "weight".to_owned());
            options.groups = all(&["race", "sex"]);
            options.stratum = all(&["education"]);
            options.favourable = all(&["1"]);
            options.positive = all(&[">50K."]);
            written.join("adult.csv")
        }
        "foulds" => {
            options.decision = Some("decision".to_owned());
            options.label = Some("label".to_owned());
            options.groups = all(&["race", "sex", "country"]);
            written.join("foulds.csv")
        }
        "neighbours" => {
            options.decision = Some("decision".to_owned());
            options.features = all(&["a", "b", "c"]);
            // Groups do not matter here, but a table needs an attribute; every row has a decision.
            options.groups = all(&["decision"]);
            written.join("neighbours.csv")
        }
        other => panic!("unknown table {other}"),
    };
    Table::csv(&path, &options).unwrap_or_else(|e| panic!("{e}"))
}

fn settings(name: &str) -> Settings {
    let reference = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(a, v)| ((*a).to_owned(), (*v).to_owned()))
            .collect()
    };
    let mut settings = Settings::default();
    settings.min_n = 1;
    settings.intersections = if name == "foulds" { 3 } else { 1 };
    settings.standardise = false;
    settings.reference = match name {
        "compas" => reference(&[("race", "Caucasian"), ("sex", "Male")]),
        "adult" | "adult-weighted" => reference(&[("race", "White"), ("sex", "Male")]),
        _ => Vec::new(),
    };
    settings
}

/// Returns the figure that a line refers to: that of the group or, without a group, the headline.
fn find<'f>(figures: &'f [Figure], id: &str, attribute: &str, group: &str) -> Option<&'f Figure> {
    let matches = |f: &&Figure| {
        let its = f.groups.first().is_some_and(|g| g == group) && !f.comparison.is_headline();
        f.metric == id
            && f.attribute == attribute
            && if group.is_empty() {
                f.comparison.is_headline()
            } else {
                its
            }
    };
    figures.iter().find(matches)
}

fn value(
    measured: &Measured<'_>,
    table: &Table,
    id: &str,
    attribute: &str,
    group: &str,
) -> Option<f64> {
    // Peers apply regression metrics to scores against labels.
    if matches!(id.split('_').next(), Some("mae" | "mse" | "rmse")) {
        let settings = settings("");
        let label = table.label()?.iter().map(|l| f64::from(*l));
        let mut columns = proofmark_audit::Columns::new("errors")
            .score(table.score()?.iter().copied())
            .target(label);
        if let Some(weights) = table.weights() {
            columns = columns.weights(weights.iter().copied());
        }
        for coded in table.attributes() {
            columns = columns.coded(coded.clone());
        }
        let errors = columns.build().ok()?;
        let at = errors
            .attributes()
            .iter()
            .position(|a| a.name() == attribute)?;
        let groups = proofmark_audit::Groups::new(&errors, &[at], &settings).ok()?;
        let figures = metric::find(id).ok()?.figures(&groups, &settings);
        return find(&figures, id, attribute, group)?.value();
    }
    if id == "mantel_haenszel_log_variance" {
        let figure = find(
            &measured.figures,
            "mantel_haenszel_odds_ratio",
            attribute,
            group,
        )?;
        return match &figure.basis.families[0].parts[0].estimate {
            Estimate::Normal(mean) => mean.variance,
            _ => None,
        };
    }
    let id = metric::find(id).unwrap_or_else(|e| panic!("{e}")).id;
    find(&measured.figures, id, attribute, group)?.value()
}

#[test]
fn peers_agree() {
    let written = written();
    let Ok(lines) = std::fs::read_to_string(written.join("values.tsv")) else {
        eprintln!(
            "SKIPPED: nothing in {}; run tests/peers/fairness_agrees.py",
            written.display()
        );
        return;
    };
    let Some(data) = crate::common::tabular("") else {
        return;
    };
    let mut by_table: BTreeMap<&str, Vec<Vec<&str>>> = BTreeMap::new();
    for line in lines.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        by_table.entry(fields[0]).or_default().push(fields);
    }
    let (mut compared, mut worst, mut wrong) = (0, 0.0_f64, Vec::new());
    for (name, lines) in by_table {
        let table = table(name, &written, &data);
        let settings = settings(name);
        let measured = measure(&table, &settings).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(
            measured
                .figures
                .iter()
                .all(|f| f.comparison != Comparison::Pair || f.groups.len() == 2)
        );
        for fields in lines {
            let [_, id, attribute, group, want] = fields[..] else {
                panic!("{fields:?}");
            };
            let want: f64 = want.parse().expect("a number");
            compared += 1;
            let got = value(&measured, &table, id, attribute, group);
            let off = got.map_or(f64::INFINITY, |g| (g - want).abs() / want.abs().max(1.0));
            if off > TOLERANCE {
                wrong.push(format!(
                    "{name} {id} {attribute} {group}: {got:?}, the peer {want}"
                ));
            } else {
                worst = worst.max(off);
            }
        }
    }
    eprintln!(
        "{compared} figures compared, {} differ, the others by at most {worst:e}",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
