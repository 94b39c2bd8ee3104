//! What an error says and where it points, files that are not a policy, and random input.

use proptest::prelude::*;

use super::*;

#[test]
fn errors_carry_field_column_and_the_line() {
    let text = FULL.replacen("robust_accuracy(pgd)", "robust_accuracy(pdg)", 1);
    let error = parse(&text).unwrap_err();
    assert_eq!(
        (error.field.as_str(), error.column),
        ("check \"linf\".require", 53)
    );
    let line = line_of(&text, "require");
    let shown = error.to_string();
    assert!(
        shown.starts_with(&format!(
            "line {line}, column 53: check \"linf\".require: `pdg` is not among"
        )),
        "{shown}"
    );
    assert_eq!(&text[error.span.clone()], "pdg");
}

#[test]
fn files_that_are_not_a_policy_are_refused() {
    for (text, message) in [
        ("", "missing field `schema`"),
        ("schema = 1", "expected a string"),
        ("schema = \"proofmark/policy/1\"", "without a [[check]]"),
        (
            "schema = \"proofmark/policy/1\"\ncheck = []",
            "without a [[check]]",
        ),
        (
            "schema = \"proofmark/policy/1\"\ncheck = 5",
            "expected an array",
        ),
        (
            "schema = \"proofmark/policy/1\"\n[check]\nid = \"x\"",
            "write [[check]], not [check]",
        ),
        (
            "schema = \"proofmark/policy/1\"\n[[check]]",
            "missing field `id`",
        ),
        ("schema = \"proofmark/policy/1\"\nseed = ", "not valid TOML"),
        ("a = 1\na = 2", "not valid TOML"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    let error = Policy::parse(b"schema = 1\nx = \xff", &KNOWN).unwrap_err();
    assert_eq!(
        (error.line, error.column, error.message.as_str()),
        (2, 5, "the file is not UTF-8 text")
    );
}

#[test]
fn an_attack_that_cannot_be_built_is_pointed_at() {
    let p = parse(FULL).unwrap();
    let pgd = &attacked(&p.checks[0]).attacks[1];
    let line = line_of(FULL, "attacks");
    let source = FULL.lines().nth(line - 1).unwrap();
    let at = |parameter| p.attack_error(pgd, parameter, "no");
    assert_eq!(
        (at(Some("restarts")).line, at(Some("restarts")).column),
        (line, source.find("2, loss").unwrap() + 1)
    );
    assert_eq!(
        at(Some("restarts")).field,
        "check \"linf\".attacks[2].restarts"
    );
    assert_eq!(at(Some("absent")), at(None));
    assert_eq!(at(None).column, source.find("{ id").unwrap() + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Policy::parse(&bytes, &KNOWN).map_err(|e| e.to_string());
    }

    #[test]
    fn a_corrupted_policy_never_panics(at in 0..FULL.len(), length in 0_usize..20, with in "[ -~é\n\"\\[\\]{}=]{0,6}") {
        let end = (at + length).min(FULL.len());
        let text = format!("{}{with}{}", &FULL[..at], &FULL[end..]);
        let _ = Policy::parse(text.as_bytes(), &KNOWN).map_err(|e| e.to_string());
    }

    #[test]
    fn any_requirement_never_panics(require in "[a-z_0-9 ()>=.,%é-]{0,40}") {
        let text = FULL.replacen("robust_accuracy >= 45 %", &require, 1);
        let _ = Policy::parse(text.as_bytes(), &KNOWN).map_err(|e| e.to_string());
    }
}
