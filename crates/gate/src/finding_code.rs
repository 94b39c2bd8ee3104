use std::fmt;
use std::str::FromStr;

use proofmark_domain::{TrustCode, hint};
use strum::IntoEnumIterator as _;

/// Every code a gate finding can carry: stable, kebab-case, named after the problem.
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
    /// The samples are too few to decide whether a requirement holds.
    RequirementUndecided,
    /// A planned check has no evidence.
    MissingEvidence,
    /// A planned check could not run.
    CheckNotRun,
    /// The time limit or query budget ran out before a planned check began.
    CheckStopped,
    /// The evidence does not match what the policy asks for.
    MismatchedEvidence,
    /// There is evidence for a check that is not in the policy.
    UnplannedEvidence,
    /// A waiver has expired and no longer applies.
    ExpiredWaiver,
    /// A waiver matches no finding.
    UnmatchedWaiver,
    /// An accept has expired and no longer applies.
    ExpiredAccept,
    /// An accept matches no trust flag.
    UnmatchedAccept,
    /// A reason not to trust the figures, under the name of its trust code.
    #[strum(disabled)]
    Trust(TrustCode),
}

/// Error for a name that is not a finding code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown finding code `{given}`{hint}")]
pub struct FindingCodeError {
    given: String,
    hint: String,
}

impl FindingCode {
    /// Iterates over every code in display order.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter().chain(TrustCode::ALL.map(Self::Trust))
    }

    /// Returns the stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trust(code) => code.as_str(),
            own => own.into(),
        }
    }

    /// Whether a waiver may cover the code.
    ///
    /// Missing evidence cannot be waived (the gate fails closed), and trust codes are covered by `[[accept]]` instead.
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

    /// Scripts and policies use these names: changing a line here breaks them.
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
                "unstable-predictions",
                "incomplete-optimisation",
                "transfer-failure",
                "planted-adversarial-missed",
            ]
        );
        for code in FindingCode::all() {
            assert_eq!(code.as_str().parse(), Ok(code));
        }
    }
}
