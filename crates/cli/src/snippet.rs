//! An error in a policy, with the lines around it.

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource};
use proofmark::policy::PolicyError;

use crate::failure::Failure;

/// Lines that are longer are no text that somebody wrote, and not shown.
const LONGEST: usize = 500;

/// The error under the file's name, and where its line can be shown, that line with the one before and after.
pub(crate) fn failure(file: &str, source: &[u8], error: &PolicyError) -> Failure {
    let message = format!("{file}: {error}");
    let shown = shown(file, source, error);
    Failure(match shown {
        Some(lines) => format!("{message}\n{}", lines.trim_end()),
        None => message,
    })
}

fn shown(file: &str, source: &[u8], error: &PolicyError) -> Option<String> {
    let text = harmless(std::str::from_utf8(source).ok()?);
    if text.lines().any(|l| l.len() > LONGEST) {
        return None;
    }
    // A span of nothing, at the end of a file say, is shown as its first character.
    let length = error.span.len().max(1);
    let label = LabeledSpan::new(None, error.span.start, length);
    let diagnostic = MietteDiagnostic::new(String::new()).with_label(label);
    let report = miette::Report::new(diagnostic).with_source_code(NamedSource::new(file, text));
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_context_lines(1)
        .with_links(false);
    let mut drawn = String::new();
    handler.render_report(&mut drawn, report.as_ref()).ok()?;
    // Its first line is for the message, which stands above already.
    let from = drawn.lines().position(|l| l.contains('╭'))?;
    Some(drawn.lines().skip(from).collect::<Vec<_>>().join("\n"))
}

/// The text without control characters, which must not reach a terminal; every byte stays in its place.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() && c.len_utf8() == 1 => ' ',
            // The others are of two bytes, as this is.
            c if c.is_control() => '·',
            c => c,
        })
        .collect()
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
        assert!(lines[1].contains("p.toml:2:1"), "{shown}");
        assert!(lines[3].ends_with("│ sead = 3"), "{shown}");
        assert!(
            lines[4].trim_start().starts_with('·') && lines[4].contains("──"),
            "{shown}"
        );
    }

    /// Whatever a file holds, and wherever the fault is.
    #[test]
    fn any_file_is_told_and_no_control_character_gets_through() {
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
            let shown = of(source);
            let bare = |c: char| c.is_control() && c != '\n' && c != '\t';
            assert!(
                shown.starts_with("p.toml: line ") && !shown.contains(bare),
                "{shown:?}"
            );
            assert!(shown.len() < 2_000, "{}", shown.len());
        }
    }
}
