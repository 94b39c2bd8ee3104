use super::{Document, DocumentKind, Renderer};

/// SVG format: a chart of an audit's comparisons with their intervals.
#[derive(Debug)]
pub(super) struct Svg;

impl Renderer for Svg {
    fn id(&self) -> &'static str {
        "svg"
    }

    fn about(&self) -> &'static str {
        "a chart of an audit"
    }

    fn renders(&self, kind: DocumentKind) -> bool {
        kind == DocumentKind::Audit
    }

    fn render(&self, document: Document<'_>, _colour: bool) -> Option<String> {
        match document {
            Document::Audit(report) => Some(proofmark_audit::render::svg(report)),
            Document::Attack(_) | Document::Gate(_) => None,
        }
    }
}
