use std::fmt::Write as _;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use proofmark_domain::Verdict;

use super::SHOWN;
use crate::AuditReport;
use crate::report::{AttributeFacts, Ends, GroupFacts, Metric, Status};

/// Aligned text for a terminal: the groups, the figures between them, and what the requirements come to; `true` asks
/// for colour.
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
    for attribute in &report.attributes {
        groups(report, attribute, &mut text);
    }
    figures(report, &mut text);
    gates(report, colour, &mut text);
    notes(report, &mut text);
    text
}

fn groups(report: &AuditReport, attribute: &AttributeFacts, text: &mut String) {
    let own = |g: &&GroupFacts| g.attribute == attribute.attribute;
    let rows: Vec<&GroupFacts> = report.groups.iter().filter(own).collect();
    let has = |rate: &&&str| {
        rows.iter()
            .any(|g| g.rates.iter().any(|r| r.metric == **rate))
    };
    let shown: Vec<&str> = SHOWN.iter().filter(has).copied().collect();
    let mut header = vec![plain(&attribute.attribute), "n".to_owned()];
    header.extend(shown.iter().map(|s| (*s).to_owned()));
    let mut table = columns(&header);
    for group in rows {
        let mut row = vec![plain(&group.group), count(group.n)];
        row.extend(shown.iter().map(|rate| {
            let rate = group.rates.iter().find(|r| r.metric == *rate);
            match rate.and_then(|r| Some((r.value?, r.ci95))) {
                Some((value, ci)) => format!("{value:.3} {}", ends(ci)),
                None => "-".to_owned(),
            }
        }));
        table.add_row(row);
    }
    let _ = write!(text, "\n{}", lines(&table));
    match attribute.unknown {
        Some(0) => {}
        Some(n) => {
            let _ = writeln!(text, "  {n} whose group is unknown are left out");
        }
        None => text.push_str("  some whose group is unknown are left out\n"),
    }
}

fn figures(report: &AuditReport, text: &mut String) {
    let worth = |m: &&Metric| {
        let far = m.metric.ends_with("_to_overall");
        m.headline && (!far || !matches!(m.status, Status::Exploratory | Status::NotEstimable))
    };
    let names = [
        "metric",
        "attribute",
        "groups",
        "value",
        "95 % interval",
        "p",
        "adjusted",
        "status",
    ];
    let mut table = columns(&names.map(str::to_owned));
    for m in report.metrics.iter().filter(worth) {
        let groups: Vec<String> = m.groups.iter().map(|g| plain(g)).collect();
        table.add_row([
            m.metric.clone(),
            plain(&m.attribute),
            groups.join(", "),
            number(m.value),
            m.ci95.map_or_else(|| "-".to_owned(), |c| ends(Some(c))),
            chance(m.p_value),
            chance(m.p_adjusted),
            m.status.as_str().to_owned(),
        ]);
    }
    let _ = write!(text, "\n{}", lines(&table));
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
        "further",
    ];
    let mut table = columns(&names.map(str::to_owned));
    for g in &report.gates {
        table.add_row([
            g.verdict.to_string(),
            plain(&g.requirement),
            plain(&g.attribute),
            g.judge.clone(),
            number(g.value),
            g.interval.map_or_else(|| "-".to_owned(), |i| ends(Some(i))),
            count(g.needed),
        ]);
    }
    let _ = write!(text, "\n{}", lines(&table));
    for g in &report.gates {
        if let Some(reason) = &g.reason {
            let _ = writeln!(text, "  {}: {}", plain(&g.requirement), plain(reason));
        }
        if g.verdict == Verdict::Inconclusive && g.interval.is_some() {
            let settles = g.needed.map_or_else(
                || "no number of further rows like these would settle it".to_owned(),
                |n| format!("about {n} further rows would settle it"),
            );
            let _ = writeln!(
                text,
                "  {} ({}): cannot tell; {settles}",
                plain(&g.requirement),
                plain(&g.attribute)
            );
        }
    }
    if report.gates.iter().any(|g| g.judge == "point") {
        text.push_str("  a point rule compares the value alone and says nothing of chance\n");
    }
    let word = verdict.to_string();
    let shade = match verdict {
        Verdict::Pass => "32",
        Verdict::Fail | Verdict::Error => "31",
        Verdict::Inconclusive => "33",
    };
    let word = if colour {
        format!("\u{1b}[{shade}m{word}\u{1b}[0m")
    } else {
        word
    };
    let _ = writeln!(
        text,
        "\nverdict: {word} (at {} %, all requirements together)",
        100.0 * report.settings.level
    );
}

fn notes(report: &AuditReport, text: &mut String) {
    let mut told: Vec<String> = Vec::new();
    for metric in &report.metrics {
        for left in &metric.left_out {
            let persons = left
                .persons
                .map_or_else(|| "few".to_owned(), |n| n.to_string());
            let line = format!(
                "{} `{}` ({persons} persons)",
                plain(&metric.attribute),
                plain(&left.group)
            );
            if !told.contains(&line) {
                told.push(line);
            }
        }
    }
    if !told.is_empty() {
        let _ = writeln!(
            text,
            "\nleft out of some or all figures, fewer than {} in the denominator: {}",
            report.settings.measured.min_n,
            told.join(", ")
        );
    }
    for refused in &report.refused {
        let _ = writeln!(
            text,
            "{} left out: {}",
            plain(&refused.attribute),
            plain(&refused.reason)
        );
    }
    if report.settings.suppress > 1 {
        let _ = writeln!(
            text,
            "cells below {} persons are suppressed",
            report.settings.suppress
        );
    }
    if !report.skipped.is_empty() {
        let _ = writeln!(
            text,
            "{} metrics need columns that the table lacks (the report names them)",
            report.skipped.len()
        );
    }
}

fn columns(names: &[String]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(names.to_vec());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn lines(table: &Table) -> String {
    table
        .lines()
        .fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

fn ends(ci: Option<Ends>) -> String {
    let end = |v: Option<f64>, none: &str| v.map_or_else(|| none.to_owned(), |v| format!("{v:.3}"));
    ci.map_or_else(String::new, |c| {
        format!("[{}, {}]", end(c.low, "-inf"), end(c.high, "inf"))
    })
}

fn number(value: Option<f64>) -> String {
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

/// Names are foreign text: their control characters must not reach a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
