//! `proofmark audit`: bad input and its error messages.

use proofmark::data::ndarray::{Array1, Array2};
use proofmark::data::npz::{self, NpzArray};

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
        (&table, &with(&["--bins", "sex"]), "NAME=VALUE"),
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

const DECIDED: &str = "--groups g --decision d";

/// Asserts that each fault exits with 2 and the expected message, and that nothing is written.
fn refused(cases: &[(&[u8], &str, &str)]) {
    for (text, arguments, told) in cases {
        let folder = Folder::new();
        let table = folder.put("t.csv", text);
        let out = folder.path("r.json").display().to_string();
        let chart = folder.path("r.svg").display().to_string();
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let files = ["--out", &out, "--chart", &chart];
        let ran = audit(&table, &[&arguments[..], &files].concat());
        assert_eq!(ran.code, 2, "{told}: {}", ran.err);
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
        assert_eq!(folder.names(), ["t.csv"], "{told}");
    }
}

#[test]
fn bad_values_are_named_with_their_line() {
    let labelled = "--groups g --decision d --label l --favourable yes --unfavourable no";
    let (scored, weighted) = (
        "--groups g --score s",
        "--groups g --decision d --weights w",
    );
    refused(&[
        (
            b"g,d\na,1\nb,0\na,2\n",
            DECIDED,
            "`d`, line 4: `2`; expected 1 or 0",
        ),
        (
            b"g,d,l\na,yes,yes\nb,no,maybe\n",
            labelled,
            "`l`, line 3: `maybe`; expected one of the stated values: `yes`, `no`",
        ),
        (
            b"g,s\na,0.5\nb,high\n",
            scored,
            "`s`, line 3: `high`; expected a finite number",
        ),
        (b"g,s\na,inf\nb,1\n", scored, "`s`, line 2: `inf`"),
        (
            b"g,d,w\na,1,1\nb,0,-1\n",
            weighted,
            "`w`, line 3: `-1`; expected a weight of 0, or of 1e-30 to 1e30",
        ),
        (
            b"g,d,w\na,1,0\nb,0,0\n",
            weighted,
            "all 2 weights in `w` are 0",
        ),
    ]);
}

#[test]
fn files_that_are_not_tables_are_refused() {
    refused(&[
        (b"g,dd\na,1\n", DECIDED, "no column `d`"),
        (
            b"g,d\na,1\nb\n",
            DECIDED,
            "line 3: has 1 cells; expected 2, as the header",
        ),
        (
            b"g,d\na,1\n\xe9,0\n",
            DECIDED,
            "line 3: is not UTF-8 in cell 1",
        ),
        (
            b"g,d,d\na,1,0\n",
            DECIDED,
            "names `d` 2 times; say which one with `d#1`",
        ),
        (
            b"1,0\n0,1\n",
            DECIDED,
            "name them if the file has no header (`--columns`)",
        ),
        (b"", DECIDED, "holds nothing"),
    ]);
}

#[test]
fn groups_that_are_too_small_are_refused() {
    let rows = |row: &str| row.repeat(12);
    let one_member = format!("g,d\n{}b,0\n", rows("a,1\n"));
    let one_group = format!("g,d\n{}", rows("a,1\n"));
    let two = format!("g,d\n{}{}", rows("a,1\n"), rows("b,0\n"));
    refused(&[
        (
            one_member.as_bytes(),
            DECIDED,
            "t.csv: `g`: of 2 groups 1 has at least 10 members",
        ),
        (one_group.as_bytes(), DECIDED, "t.csv: `g` holds only `a`"),
        (
            two.as_bytes(),
            "--groups g --decision d --suppress 13",
            "suppress: cells below 13 leave no group of `g` (the largest has 12 members)",
        ),
    ]);
    let folder = Folder::new();
    let semicolons = folder.put("s.csv", two.replace(',', ";").as_bytes());
    let ran = audit(
        &semicolons,
        &["--groups", "g", "--decision", "d", "--delimiter", ";"],
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn options_that_no_table_can_meet_are_refused() {
    let table: &[u8] = b"g,d,w\na,1,1\nb,0,1e308\n";
    refused(&[
        (
            table,
            "--groups g --decision d --score-bins 1000000000",
            "--score-bins 1000000000: expected a whole number of at most 1000",
        ),
        (
            table,
            "--groups g, --decision d",
            "groups: an empty name; expected the name of a column",
        ),
        (
            table,
            "--groups g --score d --threshold inf",
            "--threshold inf: expected a finite number",
        ),
        (
            table,
            "--groups g --decision d --weights w",
            "`w`, line 3: `1e308`; expected a weight of 0, or of 1e-30 to 1e30",
        ),
        (
            b"g,d\noverall,1\nb,0\n",
            "--groups g --decision d --min-n 1",
            "`g` has a group called `overall`",
        ),
        (
            b"\x1f\x8b\x08\0\0",
            DECIDED,
            "is compressed (gzip); expected text: unpack it",
        ),
    ]);
}

/// An array with two axes is not a column; the error gives its shape and does not claim that the array is missing.
#[test]
fn an_array_with_two_axes_is_refused_with_its_shape() {
    let folder = Folder::new();
    let table = folder.path("t.npz");
    let square = Array2::<f32>::zeros((2, 2)).into_dyn();
    let line = Array1::<f32>::zeros(2).into_dyn();
    npz::write(
        &table,
        &[
            ("decision", NpzArray::F32(square.view())),
            ("g", NpzArray::F32(line.view())),
        ],
    )
    .expect("writable");
    let ran = audit(
        &table.display().to_string(),
        &["--groups", "g", "--decision", "decision"],
    );
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err
            .contains("array `decision` has shape [2, 2]; expected one axis, a value per row"),
        "{}",
        ran.err
    );
}

/// A header is untrusted text: its control characters must not reach a terminal, neither in errors nor in tables.
#[test]
fn names_in_errors_hold_no_control_characters() {
    let folder = Folder::new();
    let text = "g\u{1b}[2J,d\u{202e}\na,1\nb,0\n";
    let table = folder.put("t.csv", text.as_bytes());
    let ran = audit(&table, &["--groups", "nobody", "--decision", "none"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err.contains("`g\u{fffd}[2J`, `d\u{fffd}`") && !ran.err.contains('\u{1b}'),
        "{:?}",
        ran.err
    );
}

#[test]
fn inputs_are_never_overwritten() {
    let folder = Folder::new();
    let text = loans(60, 140);
    let table = folder.put("t.csv", text.as_bytes());
    let rows = folder.put("r.samples.jsonl", text.as_bytes());
    let out = folder.path("r.json").display().to_string();
    let other = folder.path(".").join("t.csv").display().to_string();
    let before = folder.names();
    let cases: [(&str, &[&str], &str); 4] = [
        (&table, &["--out", &table], "--out"),
        (&table, &["--out", &other], "--out"),
        (&table, &["--out", &out, "--chart", &table], "--chart"),
        (&rows, &["--out", &out, "--samples", "ids"], "--samples"),
    ];
    for (read, more, flag) in cases {
        let ran = audit(read, &with(more));
        assert_eq!(ran.code, 2, "{more:?}: {}", ran.err);
        let told = ran.err.contains(flag) && ran.err.contains("the table would be written over");
        assert!(told, "{more:?}: {}", ran.err);
        assert_eq!(folder.names(), before, "{more:?}");
        let now = std::fs::read_to_string(read).expect("still there");
        assert!(now == text, "{more:?}");
    }
    let report = folder.put("a.json", b"{}");
    let samples = folder.put("a.samples.jsonl", b"");
    for (more, what) in [
        (["--out", &report], "the attack report would"),
        (["--chart", &report], "the attack report would"),
        (["--out", &samples], "the samples of the attack report"),
    ] {
        let attacked = ["--groups", "sex", "--report", &report];
        let ran = audit(&table, &[&attacked[..], &more[..]].concat());
        assert_eq!(ran.code, 2, "{more:?}: {}", ran.err);
        assert!(ran.err.contains(what), "{more:?}: {}", ran.err);
    }
}
