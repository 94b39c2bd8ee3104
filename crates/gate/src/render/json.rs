use serde::Serialize;

use super::Entry;

/// For machines: the whole report, two spaces deep, with a line end.
pub(super) const ENTRY: Entry = Entry {
    id: "json",
    description: "the whole report, for machines",
    gate: |report, _| text(report),
    report: |report, _| text(report),
};

fn text(value: &impl Serialize) -> String {
    // Both reports are plain structs with string keys, which cannot fail to serialise.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Report;
    use proofmark_domain::RunStatus::{Broken, Robust};

    use super::*;
    use crate::trust::fixture::{attack, report, sample};

    #[test]
    fn a_report_survives_the_round_trip() {
        let r = report(
            vec![attack("pgd", 0.1)],
            (0..20)
                .map(|i| sample(i, &[if i < 5 { Broken } else { Robust }]))
                .collect(),
        );
        let back: Report = serde_json::from_str(&text(&r)).unwrap();
        assert_eq!(back.samples, r.samples);
        assert!((back.worst_case.ci95.low - r.worst_case.ci95.low).abs() < 1e-12);
    }
}
