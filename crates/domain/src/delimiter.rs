use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Separator between the cells of a CSV file: one ASCII character, `,` by default.
///
/// ```
/// use proofmark_domain::Delimiter;
/// assert_eq!("\\t".parse::<Delimiter>()?.byte(), b'\t');
/// assert_eq!(Delimiter::default().to_string(), ",");
/// # Ok::<(), proofmark_domain::DelimiterError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Delimiter(u8);

impl Delimiter {
    /// The comma, `,`.
    pub const COMMA: Self = Self(b',');

    /// Delimiters to try instead of a comma, the commonest first.
    pub const OTHERS: [Self; 3] = [Self(b';'), Self(b'\t'), Self(b'|')];

    /// Returns the delimiter as a byte.
    pub const fn byte(self) -> u8 {
        self.0
    }
}

impl Default for Delimiter {
    fn default() -> Self {
        Self::COMMA
    }
}

/// Formats the delimiter as a user types it: a tab as `\t`.
impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\t' => f.write_str("\\t"),
            c => write!(f, "{}", char::from(c)),
        }
    }
}

/// Error for a text that is not a valid delimiter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one character, such as `;` or `\\t`, and not a quote or a line end")]
pub struct DelimiterError;

impl FromStr for Delimiter {
    type Err = DelimiterError;

    fn from_str(text: &str) -> Result<Self, DelimiterError> {
        match text.as_bytes() {
            br"\t" => Ok(Self(b'\t')),
            [one] if one.is_ascii() && !matches!(one, b'"' | b'\r' | b'\n' | 0) => Ok(Self(*one)),
            _ => Err(DelimiterError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_one_ascii_character_and_not_a_quote_or_line_end() {
        for (text, byte) in [(";", b';'), ("\t", b'\t'), ("\\t", b'\t'), (" ", b' ')] {
            assert_eq!(text.parse(), Ok(Delimiter(byte)));
        }
        for text in ["", "ab", "\"", "\n", "§"] {
            assert_eq!(text.parse::<Delimiter>(), Err(DelimiterError), "{text:?}");
        }
    }
}
