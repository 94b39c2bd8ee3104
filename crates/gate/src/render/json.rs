use serde::Serialize;

use super::{Document, Renderer};

/// JSON format, for machines: the whole document.
#[derive(Debug)]
pub(super) struct Json;

impl Renderer for Json {
    fn id(&self) -> &'static str {
        "json"
    }

    fn about(&self) -> &'static str {
        "the whole report, for machines"
    }

    fn render(&self, document: Document<'_>, _colour: bool) -> Option<String> {
        Some(json(document))
    }
}

/// Renders the whole document as JSON, indented by two spaces, with a final newline.
pub fn json(document: Document<'_>) -> String {
    match document {
        Document::Attack(report) => text(report),
        Document::Audit(report) => proofmark_audit::render::json(report),
        Document::Gate(report) => text(report),
    }
}

fn text(value: &impl Serialize) -> String {
    // Both reports are plain structs with string keys, so serialising them cannot fail.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Report;
    use proofmark_domain::RunStatus::{Broken, Robust};

    use super::*;
    use crate::trust::fixture::{attack, report, sample};

    #[test]
    fn a_report_survives_the_round_trip() {
        let r = report(
            vec![attack("pgd", 0.1)],
            (0..20)
                .map(|i| sample(i, &[if i < 5 { Broken } else { Robust }]))
                .collect(),
        );
        let back: Report = serde_json::from_str(&json(Document::Attack(&r))).unwrap();
        assert_eq!(back.samples, r.samples);
        assert!((back.worst_case.ci95.low - r.worst_case.ci95.low).abs() < 1e-12);
    }
}
