//! Hundreds of groups: the report keeps a size that people can open, says what it leaves out, and can be judged again.

use proofmark_audit::{
    AuditReport, Columns, ReportOptions, Requirement, Settings, Table, render, report,
};

fn requirement(text: &str) -> Requirement {
    text.parse().expect("well-formed")
}

/// Builds 400 districts of 30 people each, with selection rates from a third to two thirds and alternating labels.
fn table() -> Table {
    let rows = || (0..12_000_usize).map(|row| (row % 400, row / 400));
    let names: Vec<String> = rows().map(|(g, _)| format!("d{g:03}")).collect();
    Columns::new("t")
        .decision(rows().map(|(g, i)| i < 10 + g % 11))
        .label(rows().map(|(_, i)| i % 2 == 0))
        .attribute("district", names.iter().map(String::as_str))
        .build()
        .expect("fits")
}

fn audit(table: &Table, detail_groups: usize) -> AuditReport {
    let mut settings = Settings::default();
    settings.detail_groups = detail_groups;
    let mut asked = ReportOptions::default();
    asked.requirements = vec![requirement("selection_rate_difference<=0.2")];
    report(table, &settings, &asked).expect("measured")
}

#[test]
fn the_report_stays_small_and_says_what_it_leaves_out() {
    let table = table();
    let told = audit(&table, 50);
    let text = render::json(&told);
    assert!(text.len() < 4_000_000, "{} bytes", text.len());
    assert!(
        text.lines().count() < 40_000,
        "{} lines",
        text.lines().count()
    );
    let again: AuditReport = serde_json::from_str(&text).expect("reads");
    assert_eq!(again.groups.len(), 401);
    let basis = |metric: &str| {
        let found = told
            .metrics
            .iter()
            .find(|m| m.metric == metric && m.headline);
        found.expect("measured").basis.is_some()
    };
    assert!(basis("selection_rate_difference") && !basis("tpr_difference"));
    assert!(
        told.metrics
            .iter()
            .all(|m| m.headline && m.left_out.len() <= 50)
    );
    let shown = render::table(&told, false);
    assert!(shown.lines().count() < 400, "{}", shown.lines().count());
    assert!(shown.contains("the 50 largest of 400 groups"));
    assert!(shown.contains("`--detail-groups 400`"));
    // A gated figure can be judged again; for one that was not gated, the error says why not.
    let judged = again.judged_again(&[requirement("selection_rate_difference<=0.5")], 0.95, None);
    assert_eq!(judged.expect("told").len(), 1);
    let other = again.judged_again(&[requirement("tpr_difference<=0.5")], 0.95, None);
    assert!(other.is_err_and(|e| {
        e.to_string()
            .contains("does not tell what `tpr_difference`")
    }));
}

#[test]
fn detail_groups_adds_every_comparison_and_all_parts() {
    let told = audit(&table(), 400);
    let to_highest = told
        .metrics
        .iter()
        .filter(|m| m.metric == "impact_ratio" && !m.headline);
    assert_eq!(to_highest.count(), 400);
    assert!(
        told.metrics
            .iter()
            .any(|m| m.metric == "tpr_difference" && m.basis.is_some())
    );
}
