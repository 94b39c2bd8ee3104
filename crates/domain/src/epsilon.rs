use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A perturbation budget in data units (after pixels became `[0, 1]`, before scale, mean and std).
///
/// Finite and not negative; zero means "this may not change". It keeps its original text, so a report shows `8/255` as
/// written.
///
/// ```
/// use proofmark_domain::Epsilon;
/// let e: Epsilon = "8/255".parse().unwrap();
/// assert_eq!(e.get(), 8.0 / 255.0);
/// assert_eq!(e.to_string(), "8/255");
/// assert!("-1".parse::<Epsilon>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Epsilon {
    value: f64,
    text: String,
}

/// Error for a text or number that is not a valid budget.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "epsilon `{given}` {problem}; expected a number at least 0 such as 0.03 or 8/255, in data units"
)]
pub struct EpsilonError {
    given: String,
    problem: &'static str,
}

impl Epsilon {
    /// Checks the value and returns it as a budget.
    pub fn new(value: f64) -> Result<Self, EpsilonError> {
        Self::checked(value, value.to_string())
    }

    /// Returns the budget as a number.
    pub const fn get(&self) -> f64 {
        self.value
    }

    fn checked(value: f64, text: String) -> Result<Self, EpsilonError> {
        let problem = if value.is_nan() {
            "is not a number"
        } else if value.is_infinite() {
            "is infinite"
        } else if value < 0.0 {
            "is negative"
        } else {
            return Ok(Self { value, text });
        };
        Err(EpsilonError {
            given: text,
            problem,
        })
    }
}

/// Zero: nothing may change.
impl Default for Epsilon {
    fn default() -> Self {
        Self {
            value: 0.0,
            text: "0".to_owned(),
        }
    }
}

impl FromStr for Epsilon {
    type Err = EpsilonError;

    fn from_str(s: &str) -> Result<Self, EpsilonError> {
        let text = s.trim().to_owned();
        let bad = |problem| EpsilonError {
            given: s.to_owned(),
            problem,
        };
        let number = |t: &str| t.trim().parse::<f64>().map_err(|_| bad("is not a number"));
        let value = match text.split_once('/') {
            Some((_, d)) if number(d)? == 0.0 => return Err(bad("divides by zero")),
            Some((n, d)) => number(n)? / number(d)?,
            None => number(&text)?,
        };
        Self::checked(value, text)
    }
}

impl TryFrom<String> for Epsilon {
    type Error = EpsilonError;

    fn try_from(s: String) -> Result<Self, EpsilonError> {
        s.parse()
    }
}

impl From<Epsilon> for String {
    fn from(e: Epsilon) -> Self {
        e.text
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_budgets_are_rejected() {
        for bad in ["", "x", "nan", "inf", "-0.1", "1/0", "8/x", "-8/255"] {
            assert!(bad.parse::<Epsilon>().is_err(), "{bad}");
        }
        assert!(Epsilon::new(f64::NAN).is_err());
    }
}
