use std::fmt;
use std::str::FromStr;

use proofmark_domain::{TrustCode, hint};
use strum::IntoEnumIterator as _;

/// Every code a gate finding can carry: stable, kebab-case, named for the fault.
///
/// Waivers name these codes; accepts name the trust codes among them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::EnumIter, strum::IntoStaticStr,
)]
#[strum(serialize_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingCode {
    /// A requirement is missed with the stated confidence.
    RequirementMissed,
    /// The samples cannot tell whether a requirement holds.
    RequirementUndecided,
    /// There is no evidence for a planned check.
    MissingEvidence,
    /// A planned check could not run.
    CheckNotRun,
    /// Time or the budget of queries was over before a planned check began.
    CheckStopped,
    /// The evidence is not the evidence the policy asks for.
    MismatchedEvidence,
    /// There is evidence for a check the policy does not have.
    UnplannedEvidence,
    /// A waiver is past its day and covers nothing any more.
    ExpiredWaiver,
    /// A waiver covers nothing that was found.
    UnmatchedWaiver,
    /// An accept is past its day and covers nothing any more.
    ExpiredAccept,
    /// An accept covers no trust flag that was raised.
    UnmatchedAccept,
    /// A reason not to trust the figures, by its own name.
    #[strum(disabled)]
    Trust(TrustCode),
}

/// A name that is no finding code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown finding code `{given}`{hint}")]
pub struct FindingCodeError {
    given: String,
    hint: String,
}

impl FindingCode {
    /// Every code, in the order they are listed to users.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter().chain(TrustCode::ALL.map(Self::Trust))
    }

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trust(code) => code.as_str(),
            own => own.into(),
        }
    }

    /// Whether a waiver may cover it.
    ///
    /// What could not be measured cannot be waived (a gate fails closed), and trust codes have their own door, `[[accept]]`.
    pub const fn waivable(self) -> bool {
        matches!(self, Self::RequirementMissed | Self::RequirementUndecided)
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FindingCode {
    type Err = FindingCodeError;

    fn from_str(s: &str) -> Result<Self, FindingCodeError> {
        Self::all()
            .find(|c| c.as_str() == s)
            .ok_or_else(|| FindingCodeError {
                given: s.to_owned(),
                hint: hint(s, Self::all().map(Self::as_str)),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scripts and policies name these: a line that changes here breaks them.
    #[test]
    fn the_codes_are_pinned() {
        let all: Vec<_> = FindingCode::all().map(FindingCode::as_str).collect();
        assert_eq!(
            all,
            [
                "requirement-missed",
                "requirement-undecided",
                "missing-evidence",
                "check-not-run",
                "check-stopped",
                "mismatched-evidence",
                "unplanned-evidence",
                "expired-waiver",
                "unmatched-waiver",
                "expired-accept",
                "unmatched-accept",
                "clean-at-chance",
                "epsilon-unit",
                "zero-gradients",
                "non-finite-gradients",
                "non-finite-scores",
                "randomised-outputs",
                "probabilities-as-logits",
                "saturated-logits",
                "tracked-logits-differ",
                "baseline-beats-gradient",
                "larger-epsilon-finds-less",
                "unbounded-attack-fails",
                "silent-success",
                "approximate-gradients",
            ]
        );
        for code in FindingCode::all() {
            assert_eq!(code.as_str().parse(), Ok(code));
        }
    }
}
