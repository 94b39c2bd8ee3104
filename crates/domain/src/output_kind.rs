use std::fmt;
use std::str::FromStr;

/// What a model's output holds, as whoever knows it states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputKind {
    /// A score per class, the largest wins; log-probabilities are such scores.
    #[default]
    Logits,
    /// A probability per class, or that of the second of two classes.
    Probabilities,
    /// One score per sample: the second of two classes if it is above 0.
    Logit,
}

impl OutputKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Logits, Self::Probabilities, Self::Logit];

    /// Its name on the command line and in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Probabilities => "probabilities",
            Self::Logit => "logit",
        }
    }
}

impl fmt::Display for OutputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for OutputKind {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|k| k.as_str() == s);
        known.ok_or_else(|| format!("`{s}`; expected logits, probabilities or logit"))
    }
}
