use serde::{Deserialize, Serialize};

/// Level of access to a model that an attack or a trust code needs, or that a model gives. Each level includes those
/// before it.
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
    /// The predicted class only.
    Decisions,
    /// Scores.
    Scores,
    /// Gradients with respect to the input.
    Gradients,
}

impl Needs {
    /// Returns the level's name in lists and messages.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
