use serde::{Deserialize, Serialize};

/// Result of a check or of a whole gate run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Verdict {
    /// The requirement holds, with the stated confidence.
    Pass,
    /// The requirement is missed, with the stated confidence.
    Fail,
    /// The data or the measurement cannot tell.
    Inconclusive,
    /// The check could not run. Never hidden: the gate fails closed.
    Error,
}

impl Verdict {
    /// Returns the process exit code of this verdict: 0 pass, 1 fail, 2 error, 3 inconclusive.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Error => 2,
            Self::Inconclusive => 3,
        }
    }

    /// Combines the verdicts of the parts: error, else fail, else inconclusive, else pass. Without parts it is
    /// inconclusive, so that an empty run never passes.
    pub fn of_all(parts: impl IntoIterator<Item = Self>) -> Self {
        let rank = |v: &Self| match v {
            Self::Error => 3,
            Self::Fail => 2,
            Self::Inconclusive => 1,
            Self::Pass => 0,
        };
        parts
            .into_iter()
            .max_by_key(rank)
            .unwrap_or(Self::Inconclusive)
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Error, Fail, Inconclusive, Pass};
    use super::*;

    #[test]
    fn precedence_in_a_mixed_run() {
        assert_eq!(
            Verdict::of_all([Pass, Inconclusive, Fail, Error]).exit_code(),
            2
        );
        assert_eq!(Verdict::of_all([Pass, Inconclusive, Fail]).exit_code(), 1);
        assert_eq!(Verdict::of_all([Pass, Inconclusive]).exit_code(), 3);
        assert_eq!(Verdict::of_all([Pass]).exit_code(), 0);
        assert_eq!(Verdict::of_all([]).exit_code(), 3);
    }
}
