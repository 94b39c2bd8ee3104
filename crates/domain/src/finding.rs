use serde::{Deserialize, Serialize};

/// What a finding does to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingStatus {
    /// Fails the gate.
    Fail,
    /// Makes the gate inconclusive.
    Inconclusive,
    /// The check could not run.
    Error,
    /// Told, but changes nothing.
    Warn,
    /// Told for the record (a cured trust flag, say).
    Note,
}

/// A place in a file, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The file, as whoever ran the gate called it.
    pub file: String,
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// One thing the gate has to say, with a stable code that a waiver can name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable kebab-case code, named for the fault.
    pub code: String,
    /// Id of the check it came from; empty for findings about the policy itself.
    pub check: String,
    /// Its effect.
    pub status: FindingStatus,
    /// What was found, with figures.
    pub message: String,
    /// What to do next.
    pub remediation: String,
    /// What it is about in the policy: the check, its requirement, or the waiver; absent where the policy has nothing of it.
    #[serde(default)]
    pub location: Option<Location>,
    /// The owner of the waiver that covers it, if one does.
    pub waived_by: Option<String>,
}
