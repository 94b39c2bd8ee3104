//! Formats errors in a policy with the lines that they refer to.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use proofmark::policy::PolicyError;

use crate::failure::Failure;

/// Returns the error prefixed with the file's name, then its line with the faulty part underlined.
pub(crate) fn failure(file: &str, source: &[u8], error: &PolicyError) -> Failure {
    let message = format!("{file}: {error}");
    let Ok(text) = std::str::from_utf8(source) else {
        return Failure(message);
    };
    let at = AnnotationKind::Primary.span(error.span.clone());
    let snippet = Snippet::source(text).path(file).annotation(at);
    let lines = Renderer::plain().render(&[Group::with_level(Level::ERROR).element(snippet)]);
    Failure(format!("{message}\n{lines}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proofmark::policy::{Known, Policy};

    fn of(source: &[u8]) -> String {
        let known = Known {
            attacks: &["pgd"],
            models: &[],
            data: &[],
        };
        let error = Policy::parse(source, &known).expect_err("a fault");
        failure("p.toml", source, &error).0
    }

    #[test]
    fn the_line_is_shown_and_the_fault_underlined() {
        let shown = of(b"schema = \"proofmark/policy/1\"\nsead = 3\n[limits]\n");
        let lines: Vec<&str> = shown.lines().collect();
        assert!(
            lines[0].starts_with("p.toml: line 2, column 1: unknown field `sead`"),
            "{shown}"
        );
        let below = [" --> p.toml:2:1", "  |", "2 | sead = 3", "  | ^^^^"];
        assert_eq!(lines[1..], below, "{shown}");
    }

    /// Holds for any content and any position of the fault.
    #[test]
    fn errors_on_any_file_are_short_and_without_control_characters() {
        let long = format!("schema = 1 # {}", "x".repeat(100_000));
        let cases: [&[u8]; 8] = [
            b"",
            b"\n\n",
            b"\xff\xfe",
            "\u{1b}[31m = \u{9b}2J".as_bytes(),
            "schema = \"\u{1b}[31mé\u{9b}\"\r\n".as_bytes(),
            b"\xef\xbb\xbfschema = 1",
            b"[[check",
            long.as_bytes(),
        ];
        for source in cases {
            // Every error is made printable in this way before it is printed.
            let shown = crate::output::printable(&of(source));
            let bare = |c: char| c.is_control() && c != '\n' && c != '\t';
            assert!(
                shown.starts_with("p.toml: line ") && !shown.contains(bare),
                "{shown:?}"
            );
            assert!(shown.len() < 2_000, "{}", shown.len());
        }
    }
}
