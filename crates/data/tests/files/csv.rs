use proofmark_data::Options;
use proofmark_domain::{Bounds, Kind, SampleId};

use crate::make::*;

#[test]
fn a_table_with_labels_and_ids() {
    let file = b"\xef\xbb\xbfage, label ,id,income\n0.5,1,7,0.25\n\n1,0,8,\"0\"\r\n";
    let set = open_as("a.csv", file, &unit()).unwrap();
    let column = &set.modalities[0];
    assert_eq!(
        (column.modality.kind, column.modality.name.as_str()),
        (Kind::Table, "x")
    );
    assert_eq!(column.modality.shape, [2]);
    assert_eq!(
        column.values.iter().copied().collect::<Vec<_>>(),
        [0.5, 0.25, 1.0, 0.0]
    );
    assert_eq!(set.labels, Some(vec![1, 0]));
    assert_eq!(set.ids, [SampleId::Row(7), SampleId::Row(8)]);
}

#[test]
fn a_header_without_rows_holds_no_samples() {
    for options in [unit(), Options::default()] {
        let message = refusal("a.csv", b"a,b\n", &options);
        assert_says(&message, &["no samples"]);
        assert!(!message.contains("inf"), "{message}");
    }
}

#[test]
fn label_columns_and_ids_by_name() {
    let mut options = unit();
    options.label_column = Some("b".into());
    let set = open_as("a.csv", b"a,b,id\n0,1,u1\n1,0,07\n", &options).unwrap();
    assert_eq!(set.labels, Some(vec![1, 0]));
    assert_eq!(set.ids, ["u1", "07"].map(|n| SampleId::Name(n.into())));
    let none = open_as("a.csv", b"a,b\n0,1\n", &unit()).unwrap();
    assert_eq!(none.labels, None);
    assert_says(&none.read_as.notes.join(""), &["all 2", "--label-column"]);
}

#[test]
fn bounds_per_column() {
    let bounds = |n: usize| {
        let mut options = Options::default();
        options.bounds = Some(Bounds::per_feature(vec![0.0; n], vec![9.0; n]).unwrap());
        options
    };
    assert!(open_as("a.csv", b"a,b\n1,9\n", &bounds(2)).is_ok());
    assert_says(
        &refusal("a.csv", b"a,b\n1,9\n", &bounds(3)),
        &["for 3 features", "expected 2"],
    );
}

#[test]
fn wrong_tables_are_named_by_line_and_column() {
    for (file, words) in [
        ("", vec!["no column of features", "no header row"]),
        ("a,b\n", vec!["no samples"]),
        ("label,id\n1,2\n", vec!["no column of features", "`label`"]),
        ("0.1,0.2\n0.3,0.4\n", vec!["header", "only numbers"]),
        ("a,a\n0,0\n", vec!["`a` twice"]),
        (
            ",a,y\n0,0,1\n",
            vec!["header", "no name for column 1", "to_csv(index=False)"],
        ),
        ("a,y,\n0,1,\n", vec!["no name for column 3"]),
        (
            "a,b\n\"1,000\",0\n",
            vec!["`a`, line 2", "`1000` or `1.000`"],
        ),
        ("a,b\n0,1\n0\n", vec!["line 3", "1 cells", "expected 2"]),
        ("a,b\n0,1\n0,1,2\n", vec!["line 3", "3 cells", "expected 2"]),
        ("a,b\n0,1\n\"1\n0\",x\n", vec!["`a`", "line 3", "a number"]),
        ("a,b\n0,x\n", vec!["`b`", "line 2", "`x`", "a number"]),
        ("a,b\n0,\n", vec!["`b`", "line 2", "an empty cell"]),
        ("a,b\n0,nan\n", vec!["`b`", "line 2", "NaN", "finite"]),
        ("a,b\n0,1e99\n", vec!["`b`", "line 2", "inf", "finite"]),
        ("a,b\n0,1\n0,2\n", vec!["`b`", "line 3", "2", "bounds 0,1"]),
        ("a,y\n0,-1\n", vec!["`y`", "line 2", "`-1`", "a class"]),
        (
            "a,y\n0,1.5\n",
            vec!["`y`", "line 2", "`1.5`", "whole number"],
        ),
        ("a,y,label\n0,1,1\n", vec!["`label` and `y`"]),
        ("a,id\n0,x\n0,x\n", vec!["rows 0 and 1", "`x`", "distinct"]),
        ("a,id\n0,\n", vec!["`id`", "line 2", "empty cell"]),
    ] {
        assert_says(&refusal("a.csv", file.as_bytes(), &unit()), &words);
    }
    assert_says(&refusal("a.csv", b"a\n\xff\n", &unit()), &["UTF-8"]);
    assert_says(
        &refusal("a.csv", b"a\n0\n", &Options::default()),
        &["--bounds LO,HI"],
    );
    let mut options = unit();
    options.label_column = Some("targt".into());
    assert_says(
        &refusal("a.csv", b"a,target\n0,1\n", &options),
        &["`targt`", "`target`"],
    );
}

/// The lenient parser turns the rest of the file into one cell.
#[test]
fn a_quote_that_is_never_closed_is_refused_with_its_line() {
    let says = |file: &str, words: &[&str]| {
        assert_says(&refusal("a.csv", file.as_bytes(), &unit()), words);
    };
    says("a,id\n0,x\n0,\"y\n0,z\n", &["line 3", "never closed"]);
    says("a,id\r\n0,x\r\n0,\"y\r\n", &["line 3", "never closed"]);
    says("\u{feff}\"a,id\n0,x\n", &["line 1", "never closed"]);
    says(
        "a,id\n0,\"say \"\"x\"\"\n0,y\n",
        &["line 2", "never closed"],
    );
    // Closed by the next quoted cell.
    says("a,id\n0,\"x\n0,\"y\"\n", &["line 2", "the quote on line 3"]);
    says("a,id\n0,x\n0,\0\n", &["line 3", "NUL byte"]);
    let fine = b"a,id\n0,\"say \"\"x\"\"\"\n1,\"two\nlines\"\n1,5\" disk\n";
    let ids = open_as("a.csv", fine, &unit()).unwrap().ids;
    let name = |n: &str| SampleId::Name(n.into());
    assert_eq!(
        ids,
        [name("say \"x\""), name("two\nlines"), name("5\" disk")]
    );
}

#[test]
fn other_delimiters_are_read_and_hinted_at() {
    for (delimiter, file) in [(";", "a;b;y\n0;1;2\n"), ("\\t", "a\tb\ty\n0\t1\t2\n")] {
        let mut options = unit();
        options.delimiter = delimiter.parse().unwrap();
        let set = open_as("a.csv", file.as_bytes(), &options).unwrap();
        assert_eq!(
            (set.modalities[0].modality.shape[0], set.labels),
            (2, Some(vec![2]))
        );
        let hint = format!("--delimiter '{delimiter}'");
        assert_says(
            &refusal("a.csv", file.as_bytes(), &unit()),
            &["header", "2 times", &hint],
        );
    }
    let mut semicolon = unit();
    semicolon.delimiter = ";".parse().unwrap();
    let comma = refusal("a.csv", b"a,b\n0,1\n", &semicolon);
    assert_says(&comma, &["header", "--delimiter ','"]);
    let decimal = refusal("a.csv", b"a;b\n0,5;1\n", &semicolon);
    assert_says(&decimal, &["line 2", "`0,5`", "decimal point, `0.5`"]);
}

/// A tab is not guessed; the error names the option to add.
#[test]
fn tab_separated_files_are_tables() {
    let file = b"a\ty\n0\t1\n";
    assert_says(&refusal("a.tsv", file, &unit()), &["--delimiter '\\t'"]);
    let mut tabs = unit();
    tabs.delimiter = "\\t".parse().unwrap();
    let set = open_as("a.tsv", file, &tabs).unwrap();
    assert_eq!(set.labels, Some(vec![1]));
}
