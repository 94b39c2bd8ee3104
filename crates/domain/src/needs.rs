use std::fmt;

use serde::{Deserialize, Serialize};

/// How much of a model an attack or a trust code needs, and how much a model gives; each level holds those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Needs {
    /// Decisions only.
    Decisions,
    /// Scores.
    Scores,
    /// Gradients with respect to the input.
    Gradients,
}

impl Needs {
    /// The word for it in lists and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decisions => "decisions",
            Self::Scores => "scores",
            Self::Gradients => "gradients",
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
