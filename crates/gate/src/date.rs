use std::fmt;
use std::str::FromStr;

use jiff::civil;
use serde::{Deserialize, Serialize};

/// A calendar day. The gate reads no clock: the caller passes the date.
///
/// ```
/// use proofmark_gate::Date;
/// let day: Date = "2026-02-28".parse().unwrap();
/// assert!(day < Date::new(2026, 3, 1).unwrap());
/// assert!("2026-02-29".parse::<Date>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date(civil::Date);

/// Error for text that is not a calendar day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a day; expected YYYY-MM-DD such as 2027-01-31")]
pub struct DateError {
    given: String,
}

impl Date {
    /// Returns the day, or an error if it does not exist.
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self, DateError> {
        format!("{year:04}-{month:02}-{day:02}").parse()
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(s: &str) -> Result<Self, DateError> {
        let bad = || DateError {
            given: s.to_owned(),
        };
        // jiff also accepts other ISO 8601 forms.
        let as_written = s.len() == 10
            && s.bytes().enumerate().all(|(i, b)| match i {
                4 | 7 => b == b'-',
                _ => b.is_ascii_digit(),
            });
        let day = as_written.then(|| s.parse()).ok_or_else(bad)?;
        day.map(Self).map_err(|_: jiff::Error| bad())
    }
}

impl From<civil::Date> for Date {
    fn from(day: civil::Date) -> Self {
        Self(day)
    }
}

impl TryFrom<String> for Date {
    type Error = DateError;

    fn try_from(s: String) -> Result<Self, DateError> {
        s.parse()
    }
}

impl From<Date> for String {
    fn from(d: Date) -> Self {
        d.to_string()
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_not_a_day_is_refused() {
        for bad in [
            "",
            "2026",
            "2026-1-1",
            "2026-13-01",
            "2026-00-10",
            "2026-04-31",
            "1900-02-29",
            "2026-01-01-",
            "20260101",
            "2026-01-01T00:00",
            "2026-W01-1",
            "2026/01/01",
            "+026-01-01",
            "２０２６-01-01",
        ] {
            assert!(bad.parse::<Date>().is_err(), "{bad}");
        }
        assert!("2000-02-29".parse::<Date>().is_ok());
    }
}
