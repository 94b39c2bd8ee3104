use std::fmt::Write as _;

use proofmark_audit::render::text::plain;
use proofmark_domain::{CurvePoint, Report};

use super::{curves, epsilon};

/// Widest bar, in columns.
const WIDEST: usize = 40;

/// Narrowest bar; without room for it there are only numbers.
const NARROWEST: usize = 8;

/// Draws robust accuracy by budget as bars of text within `width` columns; `None` if no norm has two budgets.
///
/// A bar is solid up to the lower end of the 95 % interval, dark up to the accuracy and light up to the upper end. Where
/// the terminal is narrow the interval's numbers are left out, then the bars.
pub fn curve_text(report: &Report, width: usize) -> Option<String> {
    let drawn: Vec<_> = curves(report)
        .into_iter()
        .filter(|(_, points)| points.len() > 2)
        .collect();
    if drawn.is_empty() {
        return None;
    }
    let mut text = String::from("accuracy by epsilon, worst case of all attacks\n");
    for (norm, points) in drawn {
        let labels: Vec<String> = (points.iter().enumerate())
            .map(|(i, p)| {
                let norm = if i == 0 {
                    norm.to_string()
                } else {
                    String::new()
                };
                let eps = if p.eps == 0.0 {
                    "0".to_owned()
                } else {
                    plain(&epsilon(report, p))
                };
                format!("{norm:4} {eps}")
            })
            .collect();
        let label = labels.iter().map(|l| l.chars().count()).max().unwrap_or(0);
        let share = |p: &CurvePoint| format!("{:>5.1} %", 100.0 * p.robust_accuracy);
        let interval = |p: &CurvePoint| format!("  [{:.3}, {:.3}]", p.ci95.low, p.ci95.high);
        // Two spaces, the bar, two spaces, `100.0 %`, the interval.
        let room = |with: usize| width.saturating_sub(label + 2 + 2 + 7 + with);
        let (bar, with_interval) = match (room(16), room(0)) {
            (wide, _) if wide >= NARROWEST => (wide.min(WIDEST), true),
            (_, narrow) if narrow >= NARROWEST => (narrow.min(WIDEST), false),
            _ => (0, width >= label + 2 + 7 + 16),
        };
        for (point, name) in points.iter().zip(&labels) {
            let _ = write!(text, "{name:label$}");
            if bar > 0 {
                let _ = write!(text, "  {}", drawn_bar(point, bar));
            }
            let _ = write!(text, "  {}", share(point));
            if with_interval {
                text.push_str(&interval(point));
            }
            text.push('\n');
        }
    }
    Some(text)
}

/// Draws a bar of exactly `width` columns.
fn drawn_bar(point: &CurvePoint, width: usize) -> String {
    let column = |share: f64| (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    let ends = [
        column(point.ci95.low),
        column(point.robust_accuracy),
        column(point.ci95.high),
    ];
    let cell = |at: usize| match ends.iter().filter(|end| at >= **end).count() {
        0 => '█',
        1 => '▓',
        2 => '░',
        _ => ' ',
    };
    (0..width).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust};

    use super::*;
    use crate::trust::fixture::{attack, report, sample};

    fn three_budgets() -> Report {
        let rows = (0..10).map(|i| {
            let by = |eps: u64| if i < eps { Broken } else { Robust };
            sample(i, &[by(2), by(5), by(9)])
        });
        let runs = vec![attack("pgd", 0.1), attack("pgd", 0.2), attack("pgd", 0.4)];
        report(runs, rows.collect())
    }

    #[test]
    fn bars_end_at_the_accuracy_and_its_interval() {
        // 10, 8, 5 and 1 of 10 held.
        let expected = "\
accuracy by epsilon, worst case of all attacks
linf 0    █████████████▓▓▓▓▓▓  100.0 %  [0.692, 1.000]
     0.1  ████████▓▓▓▓▓▓▓░░░░   80.0 %  [0.444, 0.975]
     0.2  ████▓▓▓▓▓▓░░░░░░     50.0 %  [0.187, 0.813]
     0.4  ▓▓░░░░░░              10.0 %  [0.003, 0.445]
";
        let text = curve_text(&three_budgets(), 54).unwrap();
        assert_eq!(text.lines().count(), 5, "{text}");
        for (line, wanted) in text.lines().zip(expected.lines()) {
            assert!(line.chars().count() <= 54, "{line}");
            let words = |l: &str| l.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(line).last(), words(wanted).last());
        }
        let bars: Vec<String> = (text.lines().skip(1))
            .map(|l| l.chars().skip(10).take(19).collect())
            .collect();
        let solid = |b: &String| b.chars().filter(|c| *c == '█').count();
        let filled = |b: &String| b.chars().filter(|c| "█▓".contains(*c)).count();
        assert_eq!(
            bars.iter().map(solid).collect::<Vec<_>>(),
            [13, 8, 4, 0],
            "{text}"
        );
        assert_eq!(
            bars.iter().map(filled).collect::<Vec<_>>(),
            [19, 15, 10, 2],
            "{text}"
        );
    }

    #[test]
    fn narrow_terminals_get_less() {
        let report = three_budgets();
        for width in [120, 80, 60, 44, 40, 30, 24, 10] {
            let text = curve_text(&report, width).unwrap();
            let widest = text
                .lines()
                .skip(1)
                .map(|l| l.chars().count())
                .max()
                .unwrap();
            assert!(widest <= width.max(17), "{width}: {text}");
            assert!(text.contains("80.0 %"));
            assert_eq!(text.contains('█'), width >= 27, "{width}: {text}");
        }
        let one = report_of_one();
        assert_eq!(curve_text(&one, 80), None);
    }

    fn report_of_one() -> Report {
        report(vec![attack("pgd", 0.1)], vec![sample(0, &[Robust])])
    }
}
