//! Documents as text: one file per format.

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

/// What there is to render.
#[derive(Debug, Clone, Copy)]
pub enum Document<'a> {
    /// What attacks left of a model.
    Attack(&'a Report),
    /// What a table says of groups.
    Audit(&'a AuditReport),
    /// What the checks of a policy came to.
    Gate(&'a GateReport),
}

/// Which of them.
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
    /// Which it is.
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
    /// Its name on the command line.
    fn id(&self) -> &'static str;

    /// What it is for, in one line.
    fn about(&self) -> &'static str;

    /// Whether the format has such documents; known before anything is measured for one.
    fn renders(&self, _kind: DocumentKind) -> bool {
        true
    }

    /// The document as text with a line end; `colour` asks for colour, where the format has any. None where the format
    /// does not [render](Self::renders) it.
    fn render(&self, document: Document<'_>, colour: bool) -> Option<String>;
}
