use std::fmt::Write as _;

use super::TrainingReport;

/// Returns the list to review as CSV, the most suspicious sample first: `rank,row,id,label,suspicion,suspected`. Without
/// `all`, only suspected samples.
///
/// An id with a comma, a quote or a line break is quoted; one that a spreadsheet would take for a formula gets a
/// leading apostrophe.
pub fn review_csv(report: &TrainingReport, all: bool) -> String {
    let mut text = "rank,row,id,label,suspicion,suspected\n".to_owned();
    for s in report.samples.iter().filter(|s| all || s.suspected) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{:e},{}",
            s.rank,
            s.row,
            field(&s.id.to_string()),
            s.label,
            s.suspicion,
            u8::from(s.suspected)
        );
    }
    text
}

fn field(id: &str) -> String {
    let formula = id.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let id = if formula {
        format!("'{id}")
    } else {
        id.to_owned()
    };
    if id.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", id.replace('"', "\"\""))
    } else {
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_quoted_and_never_formulas() {
        assert_eq!(field("a/b.png"), "a/b.png");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(field("=1+1"), "'=1+1");
    }
}
