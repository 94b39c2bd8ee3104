use super::{Document, DocumentKind, Renderer};

/// SVG format: a chart of an audit's comparisons, or of accuracy by epsilon, with their intervals.
#[derive(Debug)]
pub(super) struct Svg;

impl Renderer for Svg {
    fn id(&self) -> &'static str {
        "svg"
    }

    fn about(&self) -> &'static str {
        "a chart of an audit, or of accuracy by epsilon"
    }

    fn renders(&self, kind: DocumentKind) -> bool {
        kind != DocumentKind::Gate
    }

    fn render(&self, document: Document<'_>, _colour: bool) -> Option<String> {
        match document {
            Document::Audit(report) => Some(proofmark_audit::render::svg(report)),
            Document::Attack(report) => Some(crate::chart::curve_svg(report)),
            Document::Gate(_) => None,
        }
    }
}
