use crate::AuditReport;

/// The whole report, for machines: two spaces deep, with a line end.
pub fn json(report: &AuditReport) -> String {
    // Plain structs with string keys cannot fail to serialise; numbers that are not finite become null.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}
