//! A one-sentence summary of a block of groups.

use std::fmt::Write as _;

use super::SHOWN;
use super::table::{ends, has_room, number};
use super::text::plain;
use crate::AuditReport;
use crate::report::{AttributeFacts, GroupFacts, Metric, Status};

/// Writes which two groups differ most, and in which rate; after an attack, also which group is easier to attack.
pub(super) fn most(
    report: &AuditReport,
    attribute: &AttributeFacts,
    groups: &[&GroupFacts],
    text: &mut String,
) {
    let attacked = |m: &&Metric| m.metric == "attack_success_rate_difference";
    let gaps = report.metrics.iter().filter(|m| {
        let rate = m.metric.strip_suffix("_difference").unwrap_or_default();
        // Base rates describe who is in the table, not how the model decides.
        let shown = SHOWN.contains(&rate) && rate != "base_rate" && has_room(report, rate);
        shown && m.attribute == attribute.attribute && m.headline && m.value.is_some()
    });
    let gaps: Vec<&Metric> = gaps.collect();
    let low = |m: &Metric| m.ci95.map_or(0.0, |c| c.low);
    // Each interval covers its own figure only, so the farthest of several lies beyond 0 by chance more often than 1 in
    // 20 times. Exploratory figures are therefore tested by their adjusted p-values. The p-value of a gated figure
    // tests the tolerance, so gated figures use the interval widened for all gated figures instead.
    let sure = |m: &&&Metric| low(m) > 0.0 && beyond_chance(report, m) == Some(true);
    let farthest = gaps.iter().filter(sure);
    let farthest = farthest.max_by(|a, b| low(a).total_cmp(&low(b)));
    let tell = |m: &Metric, words: &str, text: &mut String| {
        let rate = m.metric.strip_suffix("_difference").unwrap_or_default();
        let [high, low] = m.groups.as_slice() else {
            return;
        };
        let of = |name: &str| {
            let group = groups.iter().find(|g| g.group == name && !g.overall);
            number(group.and_then(|g| g.rates.iter().find(|r| r.metric == rate)?.value))
        };
        let _ = writeln!(
            text,
            "  {}: {rate} {} against {}, a difference of {} {}",
            words
                .replace("{high}", &plain(high))
                .replace("{low}", &plain(low)),
            of(high),
            of(low),
            number(m.value),
            ends(m.ci95)
        );
    };
    match farthest {
        Some(m) => tell(m, "{high} and {low} differ most", text),
        // A figure gated only by a point rule, or whose interval is hidden, says nothing about chance.
        None if gaps.is_empty() || gaps.iter().any(|m| beyond_chance(report, m).is_none()) => {}
        None => text.push_str("  no difference between these groups is beyond chance\n"),
    }
    if let Some(gap) = gaps.iter().find(|m| attacked(m)) {
        if sure(&gap) {
            tell(gap, "{high} is easier to attack than {low}", text);
        } else if beyond_chance(report, gap).is_some() {
            text.push_str("  no group is shown to be easier to attack than another\n");
        }
    }
}

/// Whether a difference exceeds chance, corrected for the number of figures. `None` if that is unknown.
fn beyond_chance(report: &AuditReport, m: &Metric) -> Option<bool> {
    /// Largest adjusted p-value that counts as beyond chance.
    const LUCK: f64 = 0.05;
    if m.status == Status::Exploratory {
        return m.p_adjusted.map(|p| p <= LUCK);
    }
    let own = report
        .gates
        .iter()
        .filter(|g| g.metric == m.metric && g.attribute == m.attribute);
    own.filter_map(|g| g.interval)
        .map(|i| i.low > 0.0)
        .reduce(|a, b| a && b)
}

#[cfg(test)]
mod tests {
    use crate::{By, Columns, ReportOptions, Settings, render, report};

    /// Renders a table of two groups of 200: `decided` of each are favoured, `labelled` in 10 of each are positive.
    fn told(decided: [usize; 2], labelled: [usize; 2], metrics: &[&str], by: By) -> String {
        let at = |row: usize| (row % 2, row / 2);
        let table = Columns::new("t")
            .decision((0..400).map(|row| at(row).1 < decided[at(row).0]))
            .label((0..400).map(|row| at(row).1 % 10 < labelled[at(row).0]))
            .attribute("s", (0..400).map(|row| ["a", "b"][row % 2]))
            .build()
            .expect("fits");
        let requirements = metrics.iter().map(|m| crate::Requirement {
            by,
            ..m.parse().expect("well-formed")
        });
        let asked = ReportOptions {
            requirements: requirements.collect(),
            ..ReportOptions::default()
        };
        let report = report(&table, &Settings::default(), &asked).expect("measured");
        render::table(&report, false)
    }

    #[test]
    fn one_interval_of_many_is_not_beyond_chance() {
        // Alone, the interval is [0.004, 0.19] and p is 0.04; adjusted for all figures, p is 0.1.
        let luck = told([100, 80], [5, 5], &[], By::Interval);
        assert!(luck.contains("no difference between these groups is beyond chance"));
        let sure = told([140, 60], [5, 5], &[], By::Interval);
        assert!(sure.contains("a and b differ most"), "{sure}");
    }

    #[test]
    fn gated_figures_count_by_their_interval_and_point_rules_say_nothing() {
        let gate = ["selection_rate_difference<=0.3"];
        let sure = told([140, 60], [5, 5], &gate, By::Interval);
        assert!(sure.contains("a and b differ most"), "{sure}");
        let point = told([100, 100], [5, 5], &gate, By::Point);
        assert!(!point.contains("differ most") && !point.contains("beyond chance"));
        let none = told([100, 100], [5, 5], &gate, By::Interval);
        assert!(none.contains("no difference between these groups is beyond chance"));
    }
}
