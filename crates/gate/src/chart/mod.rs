//! Charts of an attack report, beside its table: robust accuracy by budget, as SVG and as text, and results by class.
//! They show figures of the report and compute none.

mod by_class;
mod curve_svg;
mod curve_text;

pub use by_class::by_class;
pub use curve_svg::curve_svg;
pub use curve_text::curve_text;

use proofmark_domain::{CurvePoint, Norm, Report};

/// Returns the curve of each norm, from epsilon 0 on.
fn curves(report: &Report) -> Vec<(Norm, Vec<&CurvePoint>)> {
    let mut all: Vec<(Norm, Vec<&CurvePoint>)> = Vec::new();
    for point in &report.curve {
        match all.last_mut() {
            Some((norm, points)) if *norm == point.norm => points.push(point),
            _ => all.push((point.norm, vec![point])),
        }
    }
    all
}

/// Returns an epsilon as the user wrote it, if a run has it, else as a number.
fn epsilon(report: &Report, point: &CurvePoint) -> String {
    let of = |eps: f64, norm: Norm| eps == point.eps && norm == point.norm;
    let run = (report.attacks.iter()).find(|a| of(a.threat.eps, a.threat.norm));
    run.map_or_else(|| point.eps.to_string(), |a| a.threat.text.clone())
}
