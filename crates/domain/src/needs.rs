use serde::{Deserialize, Serialize};

/// How much of a model an attack or a trust code needs, and how much a model gives; each level holds those before it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
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
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
