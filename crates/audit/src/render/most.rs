//! What a person would say of a block of groups.

use std::fmt::Write as _;

use super::SHOWN;
use super::table::{ends, has_room, number};
use super::text::plain;
use crate::AuditReport;
use crate::report::{AttributeFacts, GroupFacts, Metric, Status};

/// One sentence: which two groups differ most, and in what; where there was an attack, which is easier to attack.
pub(super) fn most(
    report: &AuditReport,
    attribute: &AttributeFacts,
    groups: &[&GroupFacts],
    text: &mut String,
) {
    let attacked = |m: &&Metric| m.metric == "attack_success_rate_difference";
    let gaps = report.metrics.iter().filter(|m| {
        let rate = m.metric.strip_suffix("_difference").unwrap_or_default();
        // Base rates say who was in the table, not what was decided.
        let shown = SHOWN.contains(&rate) && rate != "base_rate" && has_room(report, rate);
        shown && m.attribute == attribute.attribute && m.headline && m.value.is_some()
    });
    let gaps: Vec<&Metric> = gaps.collect();
    let low = |m: &Metric| m.ci95.map_or(0.0, |c| c.low);
    // Each interval is a figure's own: the farthest of several lies beyond 0 by luck more often than 1 in 20 times.
    // What is beyond chance is for the chances that are adjusted for all of them. Those of what is gated are of the
    // tolerance: there the interval, widened for all figures that are gated, has to do.
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
        // Of a figure that only a point rule gates nothing is known of chance, nor where it is not told.
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

/// Whether a difference is more than luck, however many were looked at; none where that is not known.
fn beyond_chance(report: &AuditReport, m: &Metric) -> Option<bool> {
    /// The chance that is still luck.
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

    /// 200 each; shares of those favoured, and of those that are right.
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
        // By itself [0.004, 0.19]: p is 0.04, and 0.1 among all that was looked at.
        let luck = told([100, 80], [5, 5], &[], By::Interval);
        assert!(luck.contains("no difference between these groups is beyond chance"));
        let sure = told([140, 60], [5, 5], &[], By::Interval);
        assert!(sure.contains("a and b differ most"), "{sure}");
    }

    #[test]
    fn what_is_gated_counts_by_its_interval_and_a_point_rule_says_nothing() {
        let gate = ["selection_rate_difference<=0.3"];
        let sure = told([140, 60], [5, 5], &gate, By::Interval);
        assert!(sure.contains("a and b differ most"), "{sure}");
        let point = told([100, 100], [5, 5], &gate, By::Point);
        assert!(!point.contains("differ most") && !point.contains("beyond chance"));
        let none = told([100, 100], [5, 5], &gate, By::Interval);
        assert!(none.contains("no difference between these groups is beyond chance"));
    }
}
