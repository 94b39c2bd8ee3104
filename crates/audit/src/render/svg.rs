use std::fmt::Write as _;

use super::SHOWN;
use super::text::{drawing, xml};
use crate::AuditReport;
use crate::report::{GroupFacts, Rate};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 220.0;
const RIGHT: f64 = 70.0;
const BAR: f64 = 16.0;
const STEP: f64 = 24.0;
const TITLE: f64 = 34.0;
const AXIS: f64 = 30.0;
/// Maximum number of bars in a panel.
const BARS: usize = 100;
/// Maximum number of characters of a name before it is shortened.
const LONGEST: usize = 30;

/// Draws a chart: for every attribute and rate, one bar per group with its 95 % interval, and a line at the overall
/// rate.
pub fn svg(report: &AuditReport) -> String {
    let mut body = String::new();
    let mut top = 10.0;
    for attribute in &report.attributes {
        let own = |g: &&GroupFacts| g.attribute == attribute.attribute;
        let groups: Vec<&GroupFacts> = report.groups.iter().filter(own).collect();
        for rate in SHOWN {
            let bars: Vec<(&GroupFacts, &Rate)> = groups
                .iter()
                .filter_map(|g| Some((*g, g.rates.iter().find(|r| r.metric == *rate)?)))
                .collect();
            if bars.iter().any(|b| b.1.share && b.1.value.is_some()) {
                let more = match bars.len().saturating_sub(BARS + 1) {
                    0 => String::new(),
                    n => format!(" (the {BARS} largest; {n} more)"),
                };
                let title = format!("{rate} by {}{more}", attribute.attribute);
                top = panel(&mut body, top, &title, &bars);
            }
        }
    }
    let title = format!("Rates by group with 95 % intervals: {}", report.table.name);
    drawing(WIDTH, top, &title, &body)
}

/// Draws one rate of one attribute. Returns the top of the next panel.
fn panel(body: &mut String, top: f64, title: &str, bars: &[(&GroupFacts, &Rate)]) -> f64 {
    let groups: Vec<&(&GroupFacts, &Rate)> = largest(bars);
    let first = top + TITLE;
    let bottom = first + STEP * groups.len() as f64;
    let _ = writeln!(
        body,
        "<text x=\"10\" y=\"{:.1}\" font-size=\"14\" font-weight=\"bold\">{}</text>",
        top + 18.0,
        xml(title)
    );
    for tick in 0..=5 {
        let share = f64::from(tick) / 5.0;
        let x = place(share);
        let _ = writeln!(
            body,
            "<path d=\"M{x:.1} {first:.1}V{bottom:.1}\" stroke=\"#dddddd\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\" fill=\"#555555\">{share:.1}</text>",
            bottom + 15.0
        );
    }
    for (at, (group, rate)) in groups.iter().enumerate() {
        bar(body, first + STEP * at as f64, group, rate);
    }
    let overall = bars.iter().find(|b| b.0.overall);
    if let Some(value) = overall.and_then(|b| b.1.value) {
        let x = place(value);
        let _ = writeln!(
            body,
            "<path d=\"M{x:.1} {first:.1}V{bottom:.1}\" stroke=\"#b03030\" stroke-dasharray=\"4 3\">\
             <title>all together {value:.3}</title></path>"
        );
    }
    bottom + AXIS
}

/// Returns the bars of the `BARS` largest groups in their original order; a longer chart would not fit a screen.
fn largest<'b, 'g>(bars: &'b [(&'g GroupFacts, &'g Rate)]) -> Vec<&'b (&'g GroupFacts, &'g Rate)> {
    let mut all: Vec<(usize, _)> = bars.iter().filter(|b| !b.0.overall).enumerate().collect();
    all.sort_by_key(|(_, bar)| std::cmp::Reverse(bar.0.n));
    all.truncate(BARS);
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, bar)| bar).collect()
}

fn bar(body: &mut String, top: f64, group: &GroupFacts, rate: &Rate) {
    let middle = top + STEP / 2.0;
    let n = rate.n.map_or_else(String::new, |n| format!(" ({n})"));
    let _ = writeln!(
        body,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}{n}</text>",
        LEFT - 8.0,
        middle + 4.0,
        xml(&shortened(&group.group))
    );
    let Some(value) = rate.value else {
        let why = rate.reason.as_deref().unwrap_or("no value");
        let _ = writeln!(
            body,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#777777\" font-style=\"italic\">{}</text>",
            LEFT + 6.0,
            middle + 4.0,
            xml(why)
        );
        return;
    };
    let _ = writeln!(
        body,
        "<rect x=\"{LEFT:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR:.1}\" fill=\"#7aa6d6\"/>",
        middle - BAR / 2.0,
        place(value) - LEFT
    );
    if let Some(ends) = rate.ci95 {
        let (low, high) = (place(ends.low), place(ends.high));
        let (over, under) = (middle - 5.0, middle + 5.0);
        let _ = writeln!(
            body,
            "<path d=\"M{low:.1} {over:.1}V{under:.1}M{low:.1} {middle:.1}H{high:.1}M{high:.1} {over:.1}V{under:.1}\" \
             stroke=\"#222222\" fill=\"none\"/>"
        );
    }
    let _ = writeln!(
        body,
        "<text x=\"{:.1}\" y=\"{:.1}\">{value:.3}</text>",
        WIDTH - RIGHT + 12.0,
        middle + 4.0
    );
}

fn place(share: f64) -> f64 {
    LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(LONGEST - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use crate::{Columns, ReportOptions, Settings, render, report};

    /// Names are foreign text: they must not close an element or control a terminal.
    #[test]
    fn hostile_names_stay_text() {
        let sex = ["<script>\u{1b}[2J", "b & \"c\"\u{202e}"];
        let table = Columns::new("t<x>")
            .decision((0..80).map(|i| i % 3 == 0))
            .attribute("s", (0..80).map(|i| sex[i % 2]))
            .build()
            .expect("fits");
        let report =
            report(&table, &Settings::default(), &ReportOptions::default()).expect("two groups");
        let svg = render::svg(&report);
        assert!(svg.contains("&lt;script&gt;\u{fffd}[2J") && !svg.contains("<script"));
        assert!(svg.contains("b &amp; &quot;c&quot;\u{fffd}") && svg.contains("t&lt;x&gt;"));
        assert!(!render::table(&report, true).contains(['\u{1b}', '\u{202e}']));
        assert!(render::json(&report).ends_with("}\n"));
    }

    #[test]
    fn bars_are_drawn_at_their_rates() {
        let table = Columns::new("t")
            .decision((0..80).map(|i| i < 40 && i % 2 == 0))
            .attribute("s", (0..80).map(|i| if i < 40 { "a" } else { "b" }))
            .build()
            .expect("fits");
        let report =
            report(&table, &Settings::default(), &ReportOptions::default()).expect("two groups");
        let svg = render::svg(&report);
        // The axis runs from 220 to 690: half of it is a rate of 0.5, zero width a rate of 0; overall is at 0.25.
        assert!(
            svg.contains("width=\"235.0\"") && svg.contains("width=\"0.0\""),
            "{svg}"
        );
        assert!(svg.contains("all together 0.250"));
    }
}
