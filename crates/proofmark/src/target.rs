//! Target classes of targeted attacks.

use std::str::FromStr;

use crate::RunError;

/// How target classes are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The class with the lowest clean score.
    LeastLikely,
    /// The class after the label, wrapping around.
    Next,
    /// Always this class; samples of the class itself are excluded from every figure under attack.
    Class(usize),
}

impl Target {
    /// Returns the target of one sample; `None` if it follows from scores and there are none.
    pub(crate) fn of(self, label: usize, classes: usize, scores: Option<&[f32]>) -> Option<usize> {
        match self {
            Self::LeastLikely => scores.and_then(|scores| {
                (0..classes)
                    .filter(|c| *c != label)
                    .min_by(|a, b| scores[*a].total_cmp(&scores[*b]))
            }),
            Self::Next => Some((label + 1) % classes),
            Self::Class(c) => Some(c),
        }
    }
}

impl FromStr for Target {
    type Err = RunError;

    fn from_str(s: &str) -> Result<Self, RunError> {
        match s {
            "least-likely" => Ok(Self::LeastLikely),
            "next" => Ok(Self::Next),
            _ => s.parse().map(Self::Class).map_err(|_| {
                RunError::Parameter(format!(
                    "target `{s}`; expected least-likely, next or the number of a class"
                ))
            }),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LeastLikely => f.write_str("least-likely"),
            Self::Next => f.write_str("next"),
            Self::Class(c) => c.fmt(f),
        }
    }
}
