use std::fmt::Write as _;

use proofmark_audit::render::text::{drawing, xml};
use proofmark_domain::{CurvePoint, Norm, Report};

use super::{curves, epsilon};

const WIDTH: f64 = 640.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TITLE: f64 = 40.0;
const PLOT: f64 = 260.0;
const AXIS: f64 = 50.0;

/// Distance below which the labels of two epsilons would overlap; the second is left out.
const APART: f64 = 34.0;

/// Draws robust accuracy by epsilon as an SVG: a panel per norm, a line through the budgets measured and a band for the
/// 95 % intervals.
pub fn curve_svg(report: &Report) -> String {
    let mut body = String::new();
    let mut top = 10.0;
    for (norm, points) in curves(report) {
        top = panel(&mut body, top, report, norm, &points);
    }
    let title = format!(
        "Accuracy by epsilon with 95 % intervals: {} on {}",
        report.model.name, report.data.name
    );
    drawing(WIDTH, top, &title, &body)
}

/// Draws one norm. Returns the top of the next panel.
fn panel(body: &mut String, top: f64, report: &Report, norm: Norm, points: &[&CurvePoint]) -> f64 {
    let bottom = top + TITLE + PLOT;
    let most = points.iter().map(|p| p.eps).fold(0.0, f64::max);
    let x = |eps: f64| {
        let share = if most > 0.0 { eps / most } else { 0.0 };
        LEFT + share * (WIDTH - LEFT - RIGHT)
    };
    let y = |share: f64| bottom - share.clamp(0.0, 1.0) * PLOT;
    let _ = writeln!(
        body,
        "<text x=\"10\" y=\"{:.1}\" font-size=\"14\" font-weight=\"bold\">{} on {}: accuracy by epsilon, {norm}</text>",
        top + 18.0,
        xml(&report.model.name),
        xml(&report.data.name)
    );
    for tick in 0..=5 {
        let share = f64::from(tick) / 5.0;
        let at = y(share);
        let _ = writeln!(
            body,
            "<path d=\"M{LEFT:.1} {at:.1}H{:.1}\" stroke=\"#dddddd\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\" fill=\"#555555\">{share:.1}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
    }
    let path = |places: Vec<(f64, f64)>| {
        let places = places.into_iter();
        let places = places.map(|(eps, share)| format!("{:.1} {:.1}", x(eps), y(share)));
        places.collect::<Vec<String>>().join("L")
    };
    let over = path(points.iter().map(|p| (p.eps, p.ci95.high)).collect());
    let under = path(points.iter().rev().map(|p| (p.eps, p.ci95.low)).collect());
    let line = path(points.iter().map(|p| (p.eps, p.robust_accuracy)).collect());
    let _ = writeln!(
        body,
        "<path d=\"M{over}L{under}Z\" fill=\"#7aa6d6\" fill-opacity=\"0.35\"/>"
    );
    let _ = writeln!(
        body,
        "<path d=\"M{line}\" stroke=\"#28527a\" stroke-width=\"2\" fill=\"none\"/>"
    );
    let mut labelled = f64::NEG_INFINITY;
    for point in points {
        let (at, name) = (x(point.eps), xml(&epsilon(report, point)));
        let _ = writeln!(
            body,
            "<circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"#28527a\"><title>epsilon {name}: {:.3} [{:.3}, {:.3}], \
             {} of {}</title></circle>",
            y(point.robust_accuracy),
            point.robust_accuracy,
            point.ci95.low,
            point.ci95.high,
            point.correct,
            point.n
        );
        if at - labelled >= APART {
            labelled = at;
            let _ = writeln!(
                body,
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555555\">{name}</text>",
                bottom + 16.0
            );
        }
    }
    let _ = writeln!(
        body,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">epsilon ({norm}, data units)</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        bottom + 34.0
    );
    bottom + AXIS
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust};

    use super::*;
    use crate::trust::fixture::{attack, report, sample};

    #[test]
    fn points_lie_at_their_accuracy() {
        let rows = (0..4).map(|i| sample(i, &[if i < 1 { Broken } else { Robust }, Broken]));
        let mut of = report(vec![attack("pgd", 0.1), attack("pgd", 0.4)], rows.collect());
        of.model.name = "<m>".into();
        let svg = curve_svg(&of);
        // The plot is 260 high and ends at 310; 560 wide from 60: epsilon 0.1 is a quarter of the way.
        for (x, y, title) in [
            ("60.0", "50.0", "epsilon 0: 1.000"),
            ("200.0", "115.0", "epsilon 0.1: 0.750"),
            ("620.0", "310.0", "epsilon 0.4: 0.000"),
        ] {
            let circle = format!("<circle cx=\"{x}\" cy=\"{y}\"");
            assert!(
                svg.contains(&circle) && svg.contains(title),
                "{circle} {svg}"
            );
        }
        assert!(svg.contains("M60.0 50.0L200.0 115.0L620.0 310.0\""));
        assert!(svg.contains("&lt;m&gt;") && !svg.contains("<m>"));
        assert!(svg.ends_with("</svg>\n"));
    }
}
