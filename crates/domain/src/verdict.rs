use serde::{Deserialize, Serialize};

/// What a check or a whole gate run says.
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
    /// The check could not run. Never silence: a gate fails closed.
    Error,
}

impl Verdict {
    /// The process exit code of this verdict: 0 pass, 1 fail, 2 error, 3 inconclusive.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Fail => 1,
            Self::Error => 2,
            Self::Inconclusive => 3,
        }
    }

    /// The verdict of a run from those of its parts: error, else fail, else inconclusive, else pass. Of no parts it is
    /// inconclusive: nothing passes on nothing.
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
