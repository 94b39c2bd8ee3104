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

impl Document<'_> {
    /// What it is, as the object of a sentence.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Attack(_) => "a report of attacks",
            Self::Audit(_) => "an audit",
            Self::Gate(_) => "a gate report",
        }
    }
}

/// An output format.
pub trait Renderer: Debug + Sync {
    /// Its name on the command line.
    fn id(&self) -> &'static str;

    /// What it is for, in one line.
    fn about(&self) -> &'static str;

    /// The document as text with a line end; `colour` asks for colour, where the format has any. None where the format
    /// has no such documents.
    fn render(&self, document: Document<'_>, colour: bool) -> Option<String>;
}
