//! `proofmark audit`: what is refused, and how it is told.

use crate::audit::{ROLES, audit, loans, with};
use crate::harness::Folder;

#[test]
fn bad_input_is_refused_with_2_and_nothing_is_written() {
    let folder = Folder::new();
    let table = folder.put("t.csv", loans(60, 140).as_bytes());
    let ragged = folder.put("ragged.csv", b"sex,approved\nf,1\nm\n");
    let out = folder.path("r.json").display().to_string();
    let chart = folder.path("r.svg").display().to_string();
    let before = folder.names();
    let cases: [(&str, &[&str], &str); 12] = [
        (
            &table,
            &["--groups", "sxe", "--decision", "approved"],
            "did you mean `sex`?",
        ),
        (&table, &["--groups", "sex"], "expected"),
        (&table, &["--groups", "repaid", "--decision", "sex"], "sex"),
        (
            &ragged,
            &["--groups", "sex", "--decision", "approved"],
            "line 3",
        ),
        (&table, &with(&["--reference", "sex=male"]), "sex"),
        (&table, &with(&["--where", "sex=x"]), "rows"),
        (&table, &with(&["--bins", "sex"]), "COL=V"),
        (
            &table,
            &with(&["--metric", "impact_ratoi>=0.8"]),
            "did you mean `impact_ratio`?",
        ),
        (
            &table,
            &with(&["--metric", "impact_ratio<=0.8"]),
            "expected `>=`",
        ),
        (
            &table,
            &with(&["--metric", "tpr_difference<=0.1"]),
            "needs labels",
        ),
        (
            &table,
            &with(&["--metric", "selection_rate<=0.1"]),
            "rate of one group",
        ),
        (&table, &with(&["--level", "1.5"]), "level"),
    ];
    for (table, arguments, told) in cases {
        let ran = audit(
            table,
            &[arguments, &["--out", &out, "--chart", &chart]].concat(),
        );
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(told), "{arguments:?}: {}", ran.err);
        assert_eq!(folder.names(), before, "{arguments:?}");
    }
    let twice = audit(&table, &with(&["--out", &out, "--chart", &out]));
    assert_eq!(twice.code, 2);
    assert_eq!(audit("nowhere.csv", &ROLES).code, 2);
}

/// Every fault of a table is told with its place and what would do, and nothing is written.
#[test]
fn bad_tables_are_told() {
    let decided: &[&str] = &["--groups", "g", "--decision", "d"];
    let labelled: &[&str] = &[
        "--groups",
        "g",
        "--decision",
        "d",
        "--label",
        "l",
        "--favourable",
        "yes",
        "--unfavourable",
        "no",
    ];
    let scored: &[&str] = &["--groups", "g", "--score", "s"];
    let weighted: &[&str] = &["--groups", "g", "--decision", "d", "--weights", "w"];
    let hidden: &[&str] = &["--groups", "g", "--decision", "d", "--suppress", "13"];
    let rows = |row: &str| row.repeat(12);
    let cases: [(&str, String, &[&str], &str); 14] = [
        (
            "unknown column",
            "g,dd\na,1\n".into(),
            decided,
            "no column `d`",
        ),
        (
            "third value",
            "g,d\na,1\nb,0\na,2\n".into(),
            decided,
            "`d`, line 4: `2`; expected 1 or 0",
        ),
        (
            "outside the stated",
            "g,d,l\na,yes,yes\nb,no,maybe\n".into(),
            labelled,
            "`l`, line 3: `maybe`; expected one of the stated values: `yes`, `no`",
        ),
        (
            "NaN",
            "g,s\na,0.5\nb,NaN\n".into(),
            scored,
            "`s`, line 3: `NaN`; expected a finite number",
        ),
        (
            "infinite",
            "g,s\na,inf\nb,1\n".into(),
            scored,
            "`s`, line 2",
        ),
        (
            "one member",
            format!("g,d\n{}b,0\n", rows("a,1\n")),
            decided,
            "`g`: of 2 groups 1 has at least 10 members",
        ),
        (
            "one group",
            rows("g,d\n")
                .replacen("g,d\n", "a,1\n", 12)
                .replacen("a,1\n", "g,d\n", 1),
            decided,
            "`g` holds only `a`",
        ),
        (
            "negative weight",
            "g,d,w\na,1,1\nb,0,-1\n".into(),
            weighted,
            "`w`, line 3: `-1`; expected a finite weight",
        ),
        (
            "no weight",
            "g,d,w\na,1,0\nb,0,0\n".into(),
            weighted,
            "all 2 weights",
        ),
        (
            "ragged",
            "g,d\na,1\nb\n".into(),
            decided,
            "line 3: has 1 cells; expected 2, as the header",
        ),
        (
            "twice",
            "g,d,d\na,1,0\n".into(),
            decided,
            "names `d` 2 times; say which one with `d#1`",
        ),
        (
            "no header",
            "1,0\n0,1\n".into(),
            decided,
            "name them if the file has no header (`--columns`)",
        ),
        ("nothing", String::new(), decided, "holds nothing"),
        (
            "suppressed",
            format!("g,d\n{}{}", rows("a,1\n"), rows("b,0\n")),
            hidden,
            "suppress: cells below 13 leave no group of `g` (the largest has 12 members)",
        ),
    ];
    for (what, text, arguments, told) in cases {
        let folder = Folder::new();
        let table = folder.put("t.csv", text.as_bytes());
        let out = folder.path("r.json").display().to_string();
        let ran = audit(
            &table,
            &[arguments, &["--out", &out, "--samples", "none"]].concat(),
        );
        assert_eq!(ran.code, 2, "{what}: {}", ran.err);
        assert!(ran.err.contains(told), "{what}: {}", ran.err);
        assert_eq!(folder.names(), ["t.csv"], "{what}");
    }
    let folder = Folder::new();
    let latin = folder.put("t.csv", b"g,d\na,1\n\xe9,0\n");
    let ran = audit(&latin, decided);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("line 3: is not UTF-8 in cell 1"),
        "{}",
        ran.err
    );
    let semicolons = folder.put(
        "s.csv",
        format!("g;d\n{}{}", rows("a;1\n"), rows("b;0\n")).as_bytes(),
    );
    assert_eq!(
        audit(&semicolons, &[decided, &["--delimiter", ";"]].concat()).code,
        0
    );
}
