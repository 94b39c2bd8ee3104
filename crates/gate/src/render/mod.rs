//! Renders documents as text, one file per format.

mod json;
mod registry;
mod svg;
mod table;

use std::fmt::Debug;

use proofmark_audit::AuditReport;
use proofmark_domain::Report;

pub use json::json;
pub use registry::{ALL, find};
pub use table::table;

use crate::GateReport;

/// A document to render.
#[derive(Debug, Clone, Copy)]
pub enum Document<'a> {
    /// Results of attacks on a model.
    Attack(&'a Report),
    /// Audit of a table of decisions.
    Audit(&'a AuditReport),
    /// Results of a policy's checks.
    Gate(&'a GateReport),
}

/// Kind of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// [`Document::Attack`].
    Attack,
    /// [`Document::Audit`].
    Audit,
    /// [`Document::Gate`].
    Gate,
}

impl Document<'_> {
    /// Returns its kind.
    pub const fn kind(self) -> DocumentKind {
        match self {
            Self::Attack(_) => DocumentKind::Attack,
            Self::Audit(_) => DocumentKind::Audit,
            Self::Gate(_) => DocumentKind::Gate,
        }
    }
}

/// An output format.
pub trait Renderer: Debug + Sync {
    /// Returns its name on the command line.
    fn id(&self) -> &'static str;

    /// Returns its purpose, in one line.
    fn about(&self) -> &'static str;

    /// Whether the format can render this kind of document; callers may ask before they measure anything.
    fn renders(&self, _kind: DocumentKind) -> bool {
        true
    }

    /// Renders the document as text with a final newline; `colour` asks for colour, if the format has any. `None` if
    /// the format does not [render](Self::renders) it.
    fn render(&self, document: Document<'_>, colour: bool) -> Option<String>;
}
