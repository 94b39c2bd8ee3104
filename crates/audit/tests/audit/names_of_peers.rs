//! The page for users of other libraries names every metric of proofmark, and no metric that does not exist.

use std::collections::BTreeSet;

use proofmark_audit::metric;

const PAGE: &str = include_str!("../../../../docs/from-fairlearn-aif360-aequitas.md");

/// Returns the texts in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the names in the last column of the tables and in the two paragraphs about proofmark's own names.
fn ours() -> BTreeSet<&'static str> {
    let names = PAGE
        .split("## Where we differ")
        .next()
        .expect("a beginning");
    let mut all = BTreeSet::new();
    for line in names.lines() {
        let mine = match line.strip_prefix("| ") {
            Some(row) => row
                .trim_end_matches('|')
                .rsplit_once(" | ")
                .map_or("", |r| r.1),
            None => "",
        };
        all.extend(quoted(mine));
    }
    for start in ["**Ours that none of them has**", "**Aliases.**"] {
        let from = names.split(start).nth(1).expect("the paragraph");
        all.extend(quoted(from.split("\n\n").next().expect("a paragraph")));
    }
    all
}

/// Whether the text can be a metric's name, and is not an option, a field or a pattern such as `tpr…`.
fn is_name(text: &str) -> bool {
    text.len() > 2
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Words of the report and the library that occur among the metrics.
const OTHER: [&str; 3] = ["groups", "scan", "power"];

#[test]
fn every_metric_named_on_the_page_exists() {
    for name in ours().into_iter().filter(|n| is_name(n)) {
        assert!(
            OTHER.contains(&name) || metric::find(name).is_ok(),
            "`{name}` is no metric"
        );
    }
}

#[test]
fn every_metric_is_on_the_page() {
    let tails = [
        "_difference_to_overall",
        "_ratio_to_overall",
        "_difference_to_reference",
        "_ratio_to_reference",
        "_difference",
        "_ratio",
    ];
    let ours = ours();
    for entry in metric::all() {
        let names = || std::iter::once(entry.id).chain(entry.aliases.iter().copied());
        // A contrast needs only its statistic on the page, because the page says how contrasts are named.
        let rooted = tails.iter().any(|tail| {
            let root = entry.id.strip_suffix(tail);
            root.is_some_and(|r| ours.contains(r) && metric::find(r).is_ok())
        });
        assert!(
            rooted || names().any(|n| ours.contains(n)),
            "`{}` is not on the page",
            entry.id
        );
    }
}
