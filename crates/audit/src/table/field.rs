//! One cell of a file of any format.

use std::borrow::Cow;

/// A cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Field<'a> {
    /// Trimmed text.
    Text(&'a str),
    Number(f64),
    Flag(bool),
}

impl<'a> Field<'a> {
    pub(crate) fn text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Number(number) => number.to_string().into(),
            Self::Flag(flag) => flag.to_string().into(),
        }
    }

    pub(crate) fn number(self) -> Option<f64> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Number(number) => Some(number),
            Self::Flag(flag) => Some(f64::from(flag)),
        }
    }

    /// Whether the cell equals this value, as text or as a number.
    pub(crate) fn is(self, value: &str) -> bool {
        self.text() == value
            || self
                .number()
                .zip(value.parse::<f64>().ok())
                .is_some_and(|(a, b)| a == b)
    }

    /// Formats the cell for a message.
    pub(crate) fn shown(self) -> String {
        match self.text() {
            text if text.is_empty() => "an empty cell".to_owned(),
            text => format!("`{text}`"),
        }
    }
}
