use std::ops::Range;

/// A position in a file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: usize,
    /// In characters.
    pub(crate) column: usize,
}

impl Place {
    /// Returns the position of a byte (clamped to the source).
    pub(crate) fn of(source: &str, at: usize) -> Self {
        let before = &source[..floor(source, at)];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Self {
            line: before.bytes().filter(|b| *b == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// An error in a policy, with its position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct PolicyError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The field at fault, such as `check "linf".require`; empty for the file as a whole.
    pub field: String,
    /// The problem and what was expected, with the nearest known name if one is close.
    pub message: String,
    /// The line at fault.
    pub source_line: String,
    /// Byte range in the file.
    pub span: Range<usize>,
}

impl PolicyError {
    /// Creates an error at a byte range of the source (clamped to it).
    pub(crate) fn at(
        source: &str,
        span: Range<usize>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let start = floor(source, span.start);
        let end = floor(source, span.end).max(start);
        let line_start = source[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = source[start..]
            .find('\n')
            .map_or(source.len(), |i| start + i);
        let Place { line, column } = Place::of(source, start);
        Self {
            line,
            column,
            field: field.into(),
            message: message.into(),
            source_line: source[line_start..line_end]
                .trim_end_matches('\r')
                .to_owned(),
            span: start..end,
        }
    }

    fn text(&self) -> String {
        let Self { line, column, .. } = self;
        let field = if self.field.is_empty() {
            String::new()
        } else {
            format!("{}: ", printable(&self.field))
        };
        format!(
            "line {line}, column {column}: {field}{}",
            printable(&self.message)
        )
    }
}

/// Replaces control characters except newlines (tabs by spaces), so that text from a policy cannot steer a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn floor(source: &str, at: usize) -> usize {
    (0..=at.min(source.len()))
        .rev()
        .find(|i| source.is_char_boundary(*i))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_the_place() {
        let e = PolicyError::at("a = 1\nbé = \"x\"\n", 12..15, "b", "no");
        assert_eq!((e.line, e.column), (2, 6));
        assert_eq!(e.to_string(), "line 2, column 6: b: no");
    }

    #[test]
    fn any_span_of_any_text_is_accepted() {
        let text = "é\u{1b}[31m\r\n\n";
        for start in 0..text.len() + 3 {
            for end in 0..text.len() + 3 {
                assert!(
                    !PolicyError::at(text, start..end, "", "m")
                        .to_string()
                        .contains('\u{1b}')
                );
            }
        }
    }
}
