use serde::{Deserialize, Serialize};

/// Effect of a finding on the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingStatus {
    /// Fails the gate.
    Fail,
    /// Makes the gate inconclusive.
    Inconclusive,
    /// The check could not run.
    Error,
    /// Reported, but does not change the verdict.
    Warn,
    /// Reported for the record only, for example a cured trust flag.
    Note,
}

/// Position in a file; line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// File name as the person who ran the gate gave it.
    pub file: String,
    /// Line number.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// One result that the gate reports, with a stable code that a waiver can name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable kebab-case code, named for the fault.
    pub code: String,
    /// Id of the check that raised it; empty for findings about the policy itself.
    pub check: String,
    /// Effect on the gate.
    pub status: FindingStatus,
    /// What was found, with figures.
    pub message: String,
    /// What to do next.
    pub remediation: String,
    /// Position in the policy of the check, requirement or waiver that the finding is about; absent if the policy
    /// contains none.
    #[serde(default)]
    pub location: Option<Location>,
    /// Owner of the waiver that covers the finding, if any.
    pub waived_by: Option<String>,
}
