//! A report judged again from its JSON text gives the same results as the table.
#![allow(clippy::unwrap_used, reason = "tests")]

use proofmark_audit::report::{Audit, AuditReport, Subject};
use proofmark_audit::synthetic::Population;
use proofmark_audit::{ReportOptions, Requirement, Settings, Table, render, report};
use proofmark_domain::Verdict;

fn table() -> Table {
    Population::planted(3).table(3000).unwrap()
}

fn requirements(texts: &[&str]) -> Vec<Requirement> {
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

const ALL: [&str; 5] = [
    "selection_rate_difference<=0.1",
    "impact_ratio>=0.8",
    "equalized_odds_difference<=0.15",
    "fpr_difference(group)<=0.2",
    "shortfall<=40",
];

fn audited(texts: &[&str], suppress: u64, elsewhere: usize) -> AuditReport {
    let mut asked = ReportOptions::default();
    asked.requirements = requirements(texts);
    asked.suppress = suppress;
    let mut settings = Settings::default();
    settings.metrics = ALL
        .iter()
        .map(|t| t.split(['<', '>', '(']).next().unwrap_or(t).to_owned())
        .chain(["tpr", "tpr_difference", "selection_rate"].map(str::to_owned))
        .collect();
    let table = table();
    let subject = Subject::new(&table, &asked);
    let audit = Audit::measure(&subject, &settings, &asked).unwrap();
    let report = audit.report(elsewhere).unwrap();
    serde_json::from_str(&render::json(&report)).unwrap()
}

#[test]
fn text_and_table_come_to_the_same() {
    for (suppress, elsewhere) in [(0, 0), (0, 7), (40, 0), (40, 7)] {
        let told = audited(&ALL, suppress, elsewhere);
        let again = told
            .judged_again(&requirements(&ALL), 0.95, Some(elsewhere))
            .unwrap();
        let sorted = |mut gates: Vec<proofmark_audit::report::RequirementResult>| {
            gates.sort_by_key(|g| (g.metric.clone(), g.attribute.clone(), g.requirement.clone()));
            gates
        };
        assert_eq!(
            sorted(again),
            sorted(told.gates.clone()),
            "{suppress} {elsewhere}"
        );
        let family = told.family(&requirements(&ALL)).unwrap();
        assert_eq!((family + elsewhere) as u64, told.settings.family);
    }
}

#[test]
fn a_report_without_requirements_can_be_judged_later() {
    let unasked = audited(&[], 0, 0);
    assert_eq!((unasked.verdict, unasked.gates.len()), (None, 0));
    let later = unasked
        .judged_again(&requirements(&ALL), 0.95, Some(0))
        .unwrap();
    let mut at_once = audited(&ALL, 0, 0).gates;
    at_once.sort_by_key(|g| (g.metric.clone(), g.attribute.clone()));
    let mut later = later;
    later.sort_by_key(|g| (g.metric.clone(), g.attribute.clone()));
    assert_eq!(later, at_once);
}

/// The given tolerance and family decide, not those of the earlier judgement.
#[test]
fn a_new_tolerance_and_a_larger_family_take_effect() {
    let told = audited(&["selection_rate_difference(group)<=0.1"], 0, 0);
    let verdict = |text: &str, elsewhere: usize| {
        let gates = told
            .judged_again(&requirements(&[text]), 0.95, Some(elsewhere))
            .unwrap();
        assert_eq!(gates.len(), 1);
        (gates[0].verdict, gates[0].interval.unwrap())
    };
    let (strict, narrow) = verdict("selection_rate_difference(group)<=0", 0);
    let (loose, wide) = verdict("selection_rate_difference(group)<=0.9", 50);
    assert_eq!((strict, loose), (Verdict::Fail, Verdict::Pass));
    assert!(wide.low < narrow.low && wide.high > narrow.high);
}

/// A point rule uses the value, an interval the parts: a report in which they differ is refused.
#[test]
fn a_value_that_differs_from_its_parts_is_refused() {
    let (mut told, mut bare) = (audited(&ALL, 0, 0), audited(&ALL, 0, 0));
    let own = |m: &&mut proofmark_audit::report::Metric| m.headline && m.metric == "impact_ratio";
    let changed = told.metrics.iter_mut().find(own).unwrap();
    let (was, attribute) = (changed.value.unwrap(), changed.attribute.clone());
    assert!(was < 0.8, "{was}");
    changed.value = Some(0.9);
    let mut point = requirements(&["impact_ratio>=0.8"]);
    point[0].by = proofmark_audit::By::Point;
    let error = told.judged_again(&point, 0.95, Some(0)).unwrap_err();
    let says =
        format!("it tells 0.9 for `impact_ratio` of `{attribute}`, and its parts make {was}");
    assert!(error.to_string().contains(&says), "{error}");
    // Removing the parts does not get round the check.
    bare.metrics.iter_mut().find(own).unwrap().basis = None;
    let error = bare.judged_again(&point, 0.95, Some(0)).unwrap_err();
    assert!(
        error.to_string().contains("its parts make nothing"),
        "{error}"
    );
}

#[test]
fn an_invalid_level_is_refused() {
    let told = audited(&ALL, 0, 0);
    for level in [0.0, 1.0, f64::NAN] {
        let error = told.judged_again(&requirements(&ALL), level, Some(0));
        assert!(error.unwrap_err().to_string().starts_with("level: "));
    }
}

/// A suppressed figure can only be judged as it was before.
#[test]
fn suppressed_gates_are_kept_or_refused() {
    let text = ["tpr_difference(region)<=0.1"];
    let told = audited(&text, 400, 0);
    assert!(
        told.metrics
            .iter()
            .any(proofmark_audit::report::Metric::is_suppressed)
    );
    let hidden = told
        .gates
        .iter()
        .find(|g| g.reason.as_deref() == Some("suppressed"));
    assert!(hidden.is_some_and(|g| g.value.is_none() && g.interval.is_none()));
    let again = |texts: &[&str], level, elsewhere| {
        told.judged_again(&requirements(texts), level, elsewhere)
            .map_err(|e| e.to_string())
    };
    assert_eq!(again(&text, 0.95, Some(0)).unwrap(), told.gates);
    assert!(told.metrics.iter().all(|m| m.basis.is_none()));
    for (texts, level, elsewhere, says) in [
        (
            ["tpr_difference(region)<=0.2"],
            0.95,
            0,
            "was not asked for `tpr_difference(region)<=0.2`",
        ),
        (text, 0.99, 0, "asked for is 0.99 with 1"),
        (text, 0.95, 1, "asked for is 0.95 with 2"),
    ] {
        let error = again(&texts, level, Some(elsewhere)).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

/// A report with suppression contains nothing that was computed from a hidden group.
#[test]
fn figures_of_a_hidden_group_are_hidden() {
    let table = Population::shipped().table(6000).unwrap();
    let mut asked = ReportOptions::default();
    asked.suppress = 60;
    let told = report(&table, &Settings::default(), &asked).unwrap();
    let hidden = |name: &str| {
        let attribute = told.attributes.iter().find(|a| a.attribute == "group");
        attribute.is_some_and(|a| a.suppressed.iter().any(|s| s == name))
    };
    // Beside another attribute, all groups are hidden: sums over the other attribute would give the small ones away.
    assert!(hidden("a") && hidden("b") && hidden("c"));
    let of_groups = told.metrics.iter().filter(|m| m.attribute == "group");
    for metric in of_groups.filter(|m| m.headline) {
        assert!(metric.groups.iter().all(|g| !hidden(g)), "{metric:?}");
        assert!(metric.value.is_none() && metric.n.is_empty(), "{metric:?}");
    }
    let of_regions = told.metrics.iter().filter(|m| m.attribute == "region");
    assert!(
        of_regions
            .filter(|m| m.headline && m.value.is_some())
            .count()
            > 20
    );
}
