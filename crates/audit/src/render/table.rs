use std::collections::HashSet;
use std::fmt::Write as _;

use proofmark_domain::{Interval, Verdict};

use super::SHOWN;
use super::most::most;
use super::text::{grid, grids, plain};
use crate::AuditReport;
use crate::groups::percent;
use crate::metric::{self, Contrast, Run};
use crate::report::{AttributeFacts, GroupFacts, Metric, Rate, RequirementResult, Status};

/// Maximum number of groups listed per attribute.
const LISTED: usize = 50;

/// Maximum number of subgroups listed per scan.
const FOUND: usize = 5;

/// Formats the report as aligned text for a terminal: the groups, the figures between them, and the verdicts of the
/// requirements. `colour` turns on ANSI colours.
pub fn table(report: &AuditReport, colour: bool) -> String {
    let facts = &report.table;
    let mut text = format!("{}: {} rows", plain(&facts.name), facts.rows);
    if facts.filtered > 0 {
        let _ = write!(text, ", {} filtered out", facts.filtered);
    }
    if facts.weighted {
        text.push_str(", weighted");
    }
    text.push('\n');
    missing(report, &mut text);
    origin(report, &mut text);
    for attribute in &report.attributes {
        groups(report, attribute, &mut text);
        figures(report, &attribute.attribute, colour, &mut text);
    }
    let mut others: Vec<&str> = report
        .metrics
        .iter()
        .map(|m| m.attribute.as_str())
        .collect();
    others.dedup();
    others.retain(|o| report.attributes.iter().all(|a| a.attribute != **o));
    for attribute in others {
        figures(report, attribute, colour, &mut text);
    }
    scans(report, &mut text);
    notes(report, &mut text);
    gates(report, colour, &mut text);
    text
}

/// Writes the columns with missing values, and the notes on data that looks wrong.
fn missing(report: &AuditReport, text: &mut String) {
    for one in &report.table.missing {
        let markers = one.markers.iter().map(|(marker, n)| match marker.as_str() {
            "" => format!("empty {n}"),
            marker => format!("`{}` {n}", plain(marker)),
        });
        let markers: Vec<String> = markers.collect();
        let what = match one.role.as_str() {
            "group" => "of unknown group",
            "stratum" => "of unknown stratum",
            "filter" | "weights" => "left out",
            _ if report.settings.suppress > 1 || report.pairs.is_some() => "left out",
            _ => "left out of what needs it",
        };
        let _ = match one.rows {
            Some(n) => writeln!(
                text,
                "missing: `{}` in {n} {}, {what} ({})",
                plain(&one.column),
                if n == 1 { "row" } else { "rows" },
                markers.join(", ")
            ),
            None => writeln!(
                text,
                "missing: `{}` in some rows, {what}",
                plain(&one.column)
            ),
        };
    }
    for note in &report.table.notes {
        let _ = writeln!(text, "note: {}", plain(note));
    }
}

/// Writes where the rows come from, if not from a plain table.
fn origin(report: &AuditReport, text: &mut String) {
    if let Some(attack) = &report.attack {
        let runs: Vec<String> = attack.runs.iter().map(|r| plain(r)).collect();
        let _ = writeln!(
            text,
            "samples of {} under {}",
            plain(&attack.model),
            runs.join(", ")
        );
        if attack.unjudged > 0 {
            let _ = writeln!(
                text,
                "{} samples could not be judged and are left out",
                attack.unjudged
            );
        }
        match attack.favourable {
            Some(class) => {
                let _ = writeln!(text, "a decision for class {class} is favourable");
            }
            None => text.push_str(
                "no class is favourable: outcomes only (a favourable class would add the rates of decisions)\n",
            ),
        }
    }
    if let Some(pairs) = &report.pairs {
        let variants: Vec<String> = pairs.variants.iter().map(|v| plain(v)).collect();
        let _ = writeln!(
            text,
            "{} paired by {} ({}); the decisions of {} differ",
            pairs
                .ids
                .map_or_else(|| "ids".to_owned(), |n| format!("{n} ids")),
            plain(&pairs.variant),
            variants.join(", "),
            pairs
                .flipped
                .map_or_else(|| "some (not shown)".to_owned(), |n| n.to_string())
        );
        if let Some(alone) = pairs.alone.filter(|n| *n > 0) {
            let _ = writeln!(text, "{alone} ids have one variant only and are left out");
        }
    }
}

fn groups(report: &AuditReport, attribute: &AttributeFacts, text: &mut String) {
    let own = |g: &&GroupFacts| g.attribute == attribute.attribute;
    let everybody: Vec<&GroupFacts> = report.groups.iter().filter(own).collect();
    let rows = largest(&everybody);
    let rate_of = |group: &'_ GroupFacts, rate: &str| -> Option<Rate> {
        group.rates.iter().find(|r| r.metric == rate).cloned()
    };
    let column = |name: &str, cell: &dyn Fn(&GroupFacts) -> String| {
        let cells = rows.iter().map(|g| cell(g));
        (name.to_owned(), cells.collect::<Vec<String>>())
    };
    let mut columns = vec![
        column(&plain(&attribute.attribute), &|g| plain(&g.group)),
        column("n", &|g| count(g.n)),
    ];
    for rate in SHOWN.iter().filter(|r| has_room(report, r)) {
        if rows.iter().any(|g| rate_of(g, rate).is_some()) {
            columns.push(column(rate, &|g| {
                let shown = rate_of(g, rate).and_then(|r| Some((r.value?, r.ci95)));
                shown.map_or_else(
                    || "-".to_owned(),
                    |(value, ci)| format!("{value:.3} {}", ends(ci)),
                )
            }));
        }
    }
    for grid in grids(&columns) {
        let _ = write!(text, "\n{grid}");
    }
    if rows.len() < everybody.len() {
        let _ = writeln!(
            text,
            "  the {LISTED} largest of {} groups; the report has all",
            attribute.groups
        );
    }
    match attribute.unknown {
        Some(0) => {}
        Some(n) => {
            let _ = writeln!(text, "  {n} rows of unknown group are left out");
        }
        None => text.push_str("  rows of unknown group are left out; how many is suppressed\n"),
    }
    let detail = report.settings.measured.detail_groups;
    if attribute.groups > detail as u64 {
        let _ = writeln!(
            text,
            "  more than {detail} groups: comparisons with all together, the highest or a reference are not listed \
             (`--detail-groups {}` lists them)",
            attribute.groups
        );
    }
    most(report, attribute, &everybody, text);
}

/// Returns the `LISTED` largest groups in their original order, and the row for all together.
fn largest<'g>(groups: &[&'g GroupFacts]) -> Vec<&'g GroupFacts> {
    let mut order: Vec<usize> = (0..groups.len())
        .filter(|at| !groups[*at].overall)
        .collect();
    order.sort_by_key(|at| std::cmp::Reverse(groups[*at].n));
    order.truncate(LISTED);
    let shown = |at: usize| groups[at].overall || order.contains(&at);
    (0..groups.len())
        .filter(|at| shown(*at))
        .map(|at| groups[at])
        .collect()
}

/// Whether the table shows a rate: the scoring rate is left out if there are decisions.
pub(super) fn has_room(report: &AuditReport, rate: &str) -> bool {
    let decided = || report.groups.iter().any(|g| g.favourable.is_some());
    rate != "scoring_rate" || !decided()
}

/// Whether the table shows a figure: a headline that is gated, is the difference of a shown rate, or belongs to no
/// contrast family and, if it is between groups, has an interval.
fn worth(report: &AuditReport, m: &Metric) -> bool {
    let gated = matches!(m.status, Status::Pass | Status::Fail | Status::Inconclusive);
    let common = match metric::find(&m.metric).map(|e| e.run) {
        Ok(Run::Contrast(statistic, Contrast::Difference)) => {
            SHOWN.contains(&statistic.id) && has_room(report, statistic.id)
        }
        Ok(Run::Contrast(..)) => false,
        _ if m.metric.starts_with("scoring_") => has_room(report, "scoring_rate"),
        _ => {
            let grouped = report.attributes.iter().any(|a| a.attribute == m.attribute);
            m.status != Status::NotEstimable && (m.ci95.is_some() || !grouped)
        }
    };
    m.headline && (gated || common)
}

fn figures(report: &AuditReport, attribute: &str, colour: bool, text: &mut String) {
    let own = report.metrics.iter().filter(|m| m.attribute == attribute);
    let own: Vec<&Metric> = own.collect();
    let shown: Vec<&&Metric> = own.iter().filter(|m| worth(report, m)).collect();
    if shown.is_empty() {
        return;
    }
    let rows = shown.iter().map(|m| {
        let groups: Vec<String> = m.groups.iter().map(|g| plain(g)).collect();
        vec![
            m.metric.clone(),
            groups.join(", "),
            number(m.value),
            m.ci95.map_or_else(|| "-".to_owned(), |c| ends(Some(c))),
            chance(m.p_adjusted),
            match m.status {
                Status::Exploratory => String::new(),
                Status::Pass => paint("pass", Verdict::Pass, colour),
                Status::Fail => paint("fail", Verdict::Fail, colour),
                Status::Inconclusive => paint("inconclusive", Verdict::Inconclusive, colour),
                other => other.as_str().to_owned(),
            },
        ]
    });
    let of = if attribute.is_empty() {
        "whole table".to_owned()
    } else {
        plain(attribute)
    };
    let header = [
        of.as_str(),
        "groups",
        "value",
        "95 % interval",
        "adjusted p",
        "",
    ];
    let _ = write!(text, "\n{}", grid(&header, rows.collect()));
    let more = own.len() - shown.len();
    if more > 0 {
        let _ = writeln!(
            text,
            "  the report has {more} more, of every pair and of other metrics"
        );
    }
}

fn scans(report: &AuditReport, text: &mut String) {
    for scan in &report.scan {
        let rows = scan.found.iter().take(FOUND).map(|s| {
            vec![
                plain(&s.conditions.join(", ")),
                s.n.to_string(),
                format!("{:.3}", s.rate),
                format!("{:.3}", s.others_rate),
                chance(Some(s.p_value)),
            ]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        if rows.is_empty() {
            let what = if scan.suppressed > 0 {
                "every subgroup found is suppressed"
            } else {
                "no subgroup is large enough"
            };
            let _ = writeln!(text, "\nscan of {}: {what}", scan.target);
            continue;
        }
        let header = ["subgroup", "n", &scan.target, "all others", "p"];
        let _ = write!(text, "\n{}", grid(&header, rows));
        let _ = writeln!(
            text,
            "  the furthest of {} subgroups of at least {} by {} {}; p: the chance of one as far anywhere by luck; decides nothing",
            scan.looked_at,
            scan.min_n,
            if scan.depth == 1 {
                "one column of"
            } else {
                "columns of"
            },
            plain(&scan.columns.join(", "))
        );
        if scan.suppressed > 0 {
            let _ = writeln!(text, "  {} of the furthest are suppressed", scan.suppressed);
        }
    }
}

fn gates(report: &AuditReport, colour: bool, text: &mut String) {
    let Some(verdict) = report.verdict else {
        return;
    };
    let names = [
        "verdict",
        "requirement",
        "attribute",
        "judged by",
        "value",
        "interval",
    ];
    let rows = report.gates.iter().map(|g| {
        vec![
            g.verdict.to_string(),
            plain(&g.requirement),
            plain(&g.attribute),
            g.judge.clone(),
            number(g.value),
            g.interval.map_or_else(|| "-".to_owned(), |i| ends(Some(i))),
        ]
    });
    let _ = write!(text, "\n{}", grid(&names, rows.collect()));
    for g in &report.gates {
        if let Some(note) = note(g) {
            let name = format!("{} {}", plain(&g.requirement), plain(&g.attribute));
            let _ = writeln!(text, "  {}: {note}", name.trim_end());
        }
    }
    if report.gates.iter().any(|g| g.judge == "point") {
        text.push_str("  a point rule compares the value alone and says nothing of chance\n");
    }
    // Point rules compare values alone and have no confidence.
    let by = if report.gates.iter().all(|g| g.judge == "point") {
        "values alone, without regard to chance".to_owned()
    } else {
        format!(
            "at {} %, all requirements together",
            100.0 * report.settings.level
        )
    };
    let _ = writeln!(
        text,
        "\nverdict: {} ({by})",
        paint(&verdict.to_string(), verdict, colour)
    );
}

/// Returns a note on one requirement that its figures do not show.
fn note(gate: &RequirementResult) -> Option<String> {
    if let Some(reason) = &gate.reason {
        return Some(plain(reason));
    }
    let open = gate.verdict == Verdict::Inconclusive && gate.interval.is_some();
    open.then(|| match gate.needed {
        None => "cannot tell; no number of further rows like these would settle it".to_owned(),
        Some(n) => format!("cannot tell; about {n} further rows would settle it"),
    })
}

fn paint(word: &str, verdict: Verdict, colour: bool) -> String {
    let shade = match verdict {
        Verdict::Pass => "32",
        Verdict::Fail | Verdict::Error => "31",
        Verdict::Inconclusive => "33",
    };
    if colour {
        format!("\u{1b}[{shade}m{word}\u{1b}[0m")
    } else {
        word.to_owned()
    }
}

fn notes(report: &AuditReport, text: &mut String) {
    let mut lines: Vec<String> = Vec::new();
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    let mut most = 0;
    for metric in &report.metrics {
        most = most.max(metric.groups_left_out.unwrap_or(0));
        for left in &metric.left_out {
            if !seen.insert((&metric.attribute, &left.group)) {
                continue;
            }
            let persons = left
                .persons
                .map_or_else(|| "few".to_owned(), |n| n.to_string());
            let line = format!(
                "{} `{}` ({persons} persons)",
                plain(&metric.attribute),
                plain(&left.group)
            );
            lines.push(line);
        }
    }
    if !lines.is_empty() {
        let more = (lines.len().max(most as usize)).saturating_sub(LISTED);
        lines.truncate(LISTED);
        let more = match more {
            0 => String::new(),
            n => format!(", and at least {n} more"),
        };
        let share = match report.settings.measured.min_share {
            0.0 => String::new(),
            share => format!(" or less than {} of all", percent(share)),
        };
        let _ = writeln!(
            text,
            "\nleft out of some or all figures, fewer than {} in the denominator{share}: {}{more}",
            report.settings.measured.min_n,
            lines.join(", ")
        );
    }
    for refused in &report.refused {
        let _ = writeln!(
            text,
            "\n{} left out: {}",
            plain(&refused.attribute),
            plain(&refused.reason)
        );
    }
    if report.settings.suppress > 1 {
        let _ = writeln!(
            text,
            "\ncells below {} persons are suppressed, and what gives them away",
            report.settings.suppress
        );
    }
    let mut needs: Vec<&str> = Vec::new();
    for need in report.skipped.iter().flat_map(|s| &s.needs) {
        // Do not suggest columns that only an attack report or a paired table has.
        if !need.contains("attack report")
            && !need.contains("variant")
            && !needs.contains(&need.as_str())
        {
            needs.push(need);
        }
    }
    if !needs.is_empty() && report.attack.is_none() && report.pairs.is_none() {
        let _ = writeln!(text, "\nmore could be measured with {}", needs.join(", "));
    }
}

pub(super) fn ends(ci: Option<Interval>) -> String {
    // An infinite end prints as `inf`.
    ci.map_or_else(String::new, |c| format!("[{:.3}, {:.3}]", c.low, c.high))
}

pub(super) fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.3}"))
}

fn count(n: Option<u64>) -> String {
    n.map_or_else(|| "-".to_owned(), |n| n.to_string())
}

fn chance(p: Option<f64>) -> String {
    match p {
        None => "-".to_owned(),
        Some(p) if p < 0.0001 => "<0.0001".to_owned(),
        Some(p) => format!("{p:.4}"),
    }
}
