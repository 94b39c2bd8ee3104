//! Checks that `docs/policy.md` names every field and that every example on it parses.

use super::*;

const PAGE: &str = include_str!("../../../../../docs/policy.md");

/// Entries that the examples refer to; they follow the section under test, so that its fields may stand at the top.
const AROUND: &str = r#"
[[model]]
name = "other-model"
path = "other.onnx"

[[data]]
name = "applicants"
path = "applicants.csv"

[[check]]
id = "robust"
kind = "clean"
model = "digits-robust"
data = "digits"
require = "accuracy >= 0.5"
"#;

/// A section of the page: its heading, how it begins in a policy, and its required fields.
struct Section {
    heading: &'static str,
    opens: &'static str,
    needs: &'static [(&'static str, &'static str)],
    /// Set for the section on the threat, whose examples are that one field.
    in_field: Option<&'static str>,
}

const CHECK: &[(&str, &str)] = &[
    ("id", "\"one\""),
    ("kind", "\"robustness\""),
    ("require", "\"robust_accuracy >= 0.5\""),
    ("model", "\"digits-robust\""),
    ("data", "\"digits\""),
    ("threat", "{ norm = \"linf\", eps = 0.1 }"),
    ("attacks", "[\"pgd\"]"),
];

const SECTIONS: [Section; 10] = [
    Section {
        heading: "## `[[model]]`",
        opens: "[[model]]",
        needs: &[("name", "\"a\""), ("path", "\"a.onnx\"")],
        in_field: None,
    },
    Section {
        heading: "## `[[data]]`",
        opens: "[[data]]",
        needs: &[("name", "\"a\""), ("path", "\"a.npz\"")],
        in_field: None,
    },
    Section {
        heading: "## `[[check]]`",
        opens: "[[check]]",
        needs: CHECK,
        in_field: None,
    },
    Section {
        heading: "### Kinds `robustness` and `clean`",
        opens: "[[check]]",
        needs: CHECK,
        in_field: None,
    },
    Section {
        heading: "### `threat`",
        opens: "[[check]]",
        needs: CHECK,
        in_field: Some("threat"),
    },
    Section {
        heading: "### `surrogate`",
        opens: "[[check]]",
        needs: CHECK,
        in_field: Some("surrogate"),
    },
    Section {
        heading: "### Kind `bias`",
        opens: "[[check]]",
        needs: &[
            ("id", "\"one\""),
            ("kind", "\"bias\""),
            ("require", "\"impact_ratio >= 0.8\""),
            ("data", "\"applicants\""),
            ("groups", "\"sex\""),
            ("decision", "\"hired\""),
        ],
        in_field: None,
    },
    Section {
        heading: "## `[[waiver]]`",
        opens: "[[waiver]]",
        needs: &[
            ("finding", "\"robust/requirement-missed\""),
            ("reason", "\"r\""),
            ("owner", "\"o\""),
            ("expires", "2030-01-01"),
        ],
        in_field: None,
    },
    Section {
        heading: "## `[[accept]]`",
        opens: "[[accept]]",
        needs: &[
            ("code", "\"zero-gradients\""),
            ("reason", "\"r\""),
            ("expires", "2030-01-01"),
        ],
        in_field: None,
    },
    Section {
        heading: "## `[limits]`",
        opens: "[limits]",
        needs: &[],
        in_field: None,
    },
];

/// Returns field and example of each row under a heading, down to the next heading.
fn rows(heading: &str) -> Vec<(String, String)> {
    let (_, rest) = PAGE
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading}"));
    let table = rest.split("\n#").next().unwrap_or(rest);
    let code = |cell: &str| cell.trim().trim_matches('`').to_owned();
    table
        .lines()
        .filter(|l| l.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
            assert_eq!(cells.len(), 3, "{line}");
            (code(cells[0]), code(cells[2]))
        })
        .collect()
}

impl Section {
    /// Returns a policy with this section and `example`, plus the required fields that `example` does not state.
    fn with(&self, example: &str) -> String {
        let stated = |name: &str| example.starts_with(&format!("{name} ="));
        let needs = self.needs.iter().filter(|(name, _)| !stated(name));
        let lines: Vec<String> = needs.map(|(name, v)| format!("{name} = {v}")).collect();
        format!(
            "schema = \"proofmark/policy/1\"\n{}\n{}\n{example}\n{AROUND}",
            self.opens,
            lines.join("\n")
        )
    }

    /// Returns the fields that the reader knows here, taken from its error on an unknown field.
    fn known(&self) -> Vec<String> {
        let unknown = match self.in_field {
            Some(field) => self.with(&format!("{field} = {{ no_such_field = 1 }}")),
            None => self.with("no_such_field = 1"),
        };
        fields_named(&unknown)
    }
}

fn fields_named(policy: &str) -> Vec<String> {
    let told = Policy::parse(policy.as_bytes(), &KNOWN)
        .expect_err("an unknown field")
        .message;
    let (_, names) = told.split_once("expected one of ").expect(&told);
    names.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_example_of_the_page_is_read() {
    for block in PAGE.split("```toml\n").skip(1) {
        let policy = block.split("```").next().expect("the end of a block");
        Policy::parse(policy.as_bytes(), &KNOWN).unwrap_or_else(|e| panic!("{e}"));
    }
    for section in SECTIONS {
        for (field, example) in rows(section.heading) {
            let stated = section.in_field.unwrap_or(&field);
            assert!(
                example.starts_with(&format!("{stated} = ")) && example.contains(&field),
                "{field}: {example}"
            );
            Policy::parse(section.with(&example).as_bytes(), &KNOWN)
                .unwrap_or_else(|e| panic!("{}: {e}", section.heading));
        }
    }
    for (field, example) in rows("## The file") {
        // Adds the other top-level fields in TOML order: plain values first.
        let schema = if field == "schema" {
            ""
        } else {
            "schema = \"proofmark/policy/1\"\n"
        };
        let check = if field == "check" {
            ""
        } else {
            "[[check]]\nid = \"c\"\nkind = \"clean\"\nmodel = \"digits-robust\"\ndata = \"digits\"\nrequire = \"accuracy >= 0.9\"\n"
        };
        Policy::parse(format!("{schema}{example}\n{check}").as_bytes(), &KNOWN)
            .unwrap_or_else(|e| panic!("{field}: {e}"));
    }
}

#[test]
fn every_field_is_on_the_page() {
    let of = |heading: &str| -> Vec<String> { rows(heading).into_iter().map(|r| r.0).collect() };
    for section in SECTIONS {
        let mut on_page = of(section.heading);
        if section.heading.starts_with("### Kind") {
            on_page.extend(of("## `[[check]]`"));
        }
        let kinds_follow = section.heading == "## `[[check]]`";
        for field in section.known() {
            assert!(
                kinds_follow || on_page.contains(&field),
                "{} has no row for `{field}`",
                section.heading
            );
        }
    }
    let top = of("## The file");
    for field in fields_named("schema = \"proofmark/policy/1\"\nno_such_field = 1\n") {
        assert!(top.contains(&field), "The file has no row for `{field}`");
    }
}
