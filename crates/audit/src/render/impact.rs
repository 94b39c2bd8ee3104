//! Impact ratios per category, in the form of New York City's rule on automated employment decision tools.
//!
//! # Reference
//! Rules of the City of New York, title 6, section 5-301 (Local Law 144 of 2021). For sex, for race and ethnicity and
//! for both together, report the number of people, the selection rate (or the scoring rate, the share of scores above
//! the median) and the impact ratio, the rate over that of the category with the highest; also report how many people
//! are of unknown category. A category of less than 2 % of the data may be left out of the ratios.

use super::text::{grid, plain};
use crate::AuditReport;
use crate::report::{AttributeFacts, GroupFacts};

/// One category, or the people of unknown category.
#[derive(Debug, Clone, PartialEq)]
pub struct Impact {
    /// The attribute, or attributes joined by ` & `.
    pub attribute: String,
    /// The category; `None` for people of unknown category.
    pub category: Option<String>,
    /// Name of the counted outcome: `selected`, or `above the median`.
    pub counted: &'static str,
    /// People in the denominator; `None` if suppressed.
    pub n: Option<u64>,
    /// People with the counted outcome; `None` if suppressed or weighted.
    pub selected: Option<u64>,
    /// Rate; `None` if suppressed or left out.
    pub rate: Option<f64>,
    /// Rate over the highest rate; `None` if suppressed or left out.
    pub ratio: Option<f64>,
    /// Why the rate or ratio is missing; empty otherwise.
    pub note: String,
}

/// Returns the selection rates (if there are decisions) and scoring rates (if there are scores) of every attribute.
pub fn impact(report: &AuditReport) -> Vec<Impact> {
    let rates = [
        ("selection_rate", "selected"),
        ("scoring_rate", "above the median"),
    ];
    let mut all = Vec::new();
    for attribute in &report.attributes {
        for (rate, counted) in rates {
            all.extend(categories(report, attribute, rate, counted));
        }
    }
    all
}

fn categories(
    report: &AuditReport,
    attribute: &AttributeFacts,
    rate: &str,
    counted: &'static str,
) -> Vec<Impact> {
    let own = |g: &&GroupFacts| g.attribute == attribute.attribute && !g.overall;
    let of = |g: &GroupFacts| g.rates.iter().find(|r| r.metric == rate).cloned();
    let groups = report.groups.iter().filter(own);
    let found: Vec<_> = groups.filter_map(|g| Some((g, of(g)?))).collect();
    if found.is_empty() {
        return Vec::new();
    }
    let values = found.iter().filter_map(|(_, r)| r.value);
    let highest = values.fold(0.0, f64::max);
    // If a rate is suppressed, it may be the highest, so no ratio is given.
    let label = found
        .iter()
        .all(|(_, r)| r.reason.as_deref() != Some(crate::report::SUPPRESSED));
    let mut all: Vec<Impact> = found
        .iter()
        .map(|(group, r)| Impact {
            attribute: attribute.attribute.clone(),
            category: Some(group.group.clone()),
            counted,
            n: r.n,
            selected: match (r.value, r.n) {
                (Some(value), Some(n)) if !report.table.weighted => {
                    Some((value * n as f64).round() as u64)
                }
                _ => None,
            },
            rate: r.value,
            ratio: r
                .value
                .filter(|_| label && highest > 0.0)
                .map(|v| v / highest),
            note: match (&r.reason, r.value) {
                (Some(reason), _) => format!("left out: {reason}"),
                (None, Some(_)) if !label => "the highest rate may be suppressed".to_owned(),
                (None, Some(_)) if highest == 0.0 => "every rate is 0".to_owned(),
                _ => String::new(),
            },
        })
        .collect();
    if attribute.unknown != Some(0) {
        all.push(Impact {
            attribute: attribute.attribute.clone(),
            category: None,
            counted,
            n: attribute.unknown,
            selected: None,
            rate: None,
            ratio: None,
            note: "unknown category".to_owned(),
        });
    }
    all
}

/// Formats the rows as CSV with a header; rates in full precision.
pub fn impact_csv(all: &[Impact]) -> String {
    let cell = |text: &str| {
        if text.contains([',', '"', '\n', '\r']) || text.trim() != text {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    let mut text =
        "attribute,category,n,counted,what_is_counted,rate,impact_ratio,note\n".to_owned();
    for one in all {
        let whole = |n: Option<u64>| n.map_or_else(String::new, |n| n.to_string());
        let number = |n: Option<f64>| n.map_or_else(String::new, |n| n.to_string());
        let cells = [
            cell(&one.attribute),
            cell(one.category.as_deref().unwrap_or("")),
            whole(one.n),
            whole(one.selected),
            one.counted.to_owned(),
            number(one.rate),
            number(one.ratio),
            cell(&one.note),
        ];
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

/// Formats the rows for a terminal, one block per attribute and rate.
pub fn impact_table(all: &[Impact]) -> String {
    let mut text = String::new();
    let blocks = all.chunk_by(|a, b| (&a.attribute, a.counted) == (&b.attribute, b.counted));
    for block in blocks {
        let whole = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let number = |n: Option<f64>| n.map_or_else(|| "-".to_owned(), |n| format!("{n:.3}"));
        let rows = block.iter().map(|one| {
            vec![
                plain(one.category.as_deref().unwrap_or("(unknown)")),
                whole(one.n),
                whole(one.selected),
                number(one.rate),
                number(one.ratio),
                plain(&one.note),
            ]
        });
        let Some(first) = block.first() else {
            continue;
        };
        let attribute = plain(&first.attribute);
        let header = [
            attribute.as_str(),
            "n",
            first.counted,
            "rate",
            "impact ratio",
            "",
        ];
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&grid(&header, rows.collect()));
    }
    text
}
