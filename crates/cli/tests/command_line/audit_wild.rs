//! Real-world tables: unclosed quotes, missing values in every spelling, a third label, names with signs; and outputs
//! that go to standard output or would overwrite an input.

use std::fmt::Write as _;

use serde_json::Value;

use crate::harness::{Folder, attack, run};

fn rows(kinds: &[(&str, usize)]) -> String {
    kinds
        .iter()
        .map(|(row, n)| format!("{row}\n").repeat(*n))
        .collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn an_unclosed_quote_is_an_error_with_its_line() {
    let folder = Folder::new();
    let mut text = format!(
        "sex,hired,note\n{}",
        rows(&[("f,1,ok", 30), ("m,0,ok", 30)])
    );
    text.push_str("f,1,\"never closed\n");
    text.push_str(&rows(&[("m,1,ok", 500)]));
    let table = folder.put("t.csv", text.as_bytes());
    let ran = run(&["audit", &table, "--groups", "sex", "--decision", "hired"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .contains("line 62: opens a quote that is never closed"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("(501 lines)"), "{}", ran.err);
    // `attack` uses the same reader.
    let set = folder.put("x.csv", b"a,b,y\n0,0,1\n0,\"0,1\n");
    let ran = attack(&set, &["--bounds", "0,1"]);
    assert!(
        ran.code == 2 && ran.err.contains("line 3: opens a quote"),
        "{}",
        ran.err
    );
}

#[test]
fn a_cell_that_spans_many_lines_is_noted() {
    let folder = Folder::new();
    let note = "line\n".repeat(30);
    let text = format!(
        "sex,hired,note\nf,1,\"{note}\"\n{}",
        rows(&[("f,1,ok", 30), ("m,0,ok", 30)])
    );
    let table = folder.put("t.csv", text.as_bytes());
    let ran = run(&["audit", &table, "--groups", "sex", "--decision", "hired"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err
            .contains("note: line 2: a quoted cell spans 31 lines"),
        "{}",
        ran.err
    );
}

/// 10 of 20 and 8 of 20 decisions are favourable; 15 more rows have no decision and 3 no group.
#[test]
fn missing_values_are_counted_and_are_not_decisions() {
    let folder = Folder::new();
    let text = format!(
        "sex,hired\n{}",
        rows(&[
            ("f,yes", 10),
            ("f,no", 10),
            ("f,NULL", 15),
            ("m,yes", 8),
            ("m,no", 12),
            ("None,yes", 3)
        ])
    );
    let table = folder.put("t.csv", text.as_bytes());
    let audit = [
        "audit",
        &table,
        "--groups",
        "sex",
        "--decision",
        "hired",
        "--favourable",
        "yes",
    ];
    let ran = run(&[&audit[..], &["--out", "-"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    for words in [
        "`hired` in 15 rows, left out of what needs it (`NULL` 15)",
        "`sex` in 3 rows, of unknown group (`None` 3)",
    ] {
        assert!(ran.err.contains(words), "{}", ran.err);
    }
    let report = json(&ran.out);
    assert_eq!(report["groups"][0]["rates"][0]["value"], 0.5);
    assert_eq!(report["table"]["missing"][0]["markers"]["NULL"], 15);
    // With other missing-value markers stated, `None` is a group.
    let stated = run(&[
        &audit[..],
        &["--missing", "null", "--out", "-", "--min-n", "1"],
    ]
    .concat());
    assert_eq!(json(&stated.out)["groups"][0]["group"], "None");
}

#[test]
fn labels_with_three_values_need_a_rule_for_the_third() {
    let folder = Folder::new();
    let text = format!(
        "sex,decision,outcome\n{}",
        rows(&[
            ("f,approve,paid", 30),
            ("f,approve,late", 10),
            ("f,deny,default", 10),
            ("m,approve,paid", 20),
            ("m,deny,late", 20),
            ("m,deny,paid", 10),
        ])
    );
    let table = folder.put("t.csv", text.as_bytes());
    let audit = |more: &[&str]| {
        let columns = [
            "audit",
            &table,
            "--groups",
            "sex",
            "--decision",
            "decision",
            "--label",
            "outcome",
        ];
        let values = [
            "--favourable",
            "approve",
            "--positive",
            "paid",
            "--out",
            "-",
            "--quiet",
        ];
        run(&[&columns, &values[..], more].concat())
    };
    let stated = [
        "--unfavourable",
        "deny",
        "--unfavourable",
        "default",
        "--unfavourable",
        "late",
    ];
    for more in [&stated[..], &["--others-unfavourable"]] {
        let ran = audit(more);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let women = &json(&ran.out)["groups"][0];
        assert_eq!(
            (&women["positives"], &women["fp"]),
            (&30.into(), &10.into())
        );
    }
    let dead_end = audit(&[]);
    assert_eq!(dead_end.code, 2);
    for words in [
        "`default`",
        "this is a third value",
        "--others-unfavourable",
    ] {
        assert!(dead_end.err.contains(words), "{}", dead_end.err);
    }
}

#[test]
fn a_column_has_one_role() {
    let folder = Folder::new();
    let table = folder.put(
        "t.csv",
        rows(&[("sex,d,s", 1), ("f,1,0.5", 20), ("m,0,0.5", 20)]).as_bytes(),
    );
    for (more, words) in [
        (
            &["--groups", "sex", "--decision", "d", "--label", "d"][..],
            "`d` is the column of `label` too",
        ),
        (
            &["--groups", "sex,d", "--decision", "d"],
            "`d` is the column of `group` too",
        ),
        (
            &["--groups", "sex", "--score", "s", "--target", "s"],
            "`s` is the column of `target` too",
        ),
    ] {
        let ran = run(&[&["audit", table.as_str()], more].concat());
        assert!(ran.code == 2 && ran.err.contains(words), "{}", ran.err);
    }
}

#[test]
fn names_with_signs_can_be_quoted() {
    let folder = Folder::new();
    let mut text = "\"income, net\",\"a=b\",\"c)\",d\n".to_owned();
    for row in 0..200 {
        let _ = writeln!(
            text,
            "{},{},{},{}",
            ["low", "high"][row % 2],
            ["x", "y"][row % 2],
            ["p", "q"][row / 100],
            u8::from(row % 3 == 0)
        );
    }
    let table = folder.put("t.csv", text.as_bytes());
    let ran = run(&[
        "audit",
        &table,
        "--groups",
        "\"income, net\",a=b,c)",
        "--decision",
        "d",
        "--reference",
        "\"a=b\"=x",
        "--where",
        "\"a=b\"!=z",
        "--against-rest",
        "\"income, net\"=low",
        "--metric",
        "selection_rate_difference(\"income, net\")<=0.9",
        "--metric",
        "selection_rate_difference(c))<=0.9",
        "--out",
        "-",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report = json(&ran.out);
    assert_eq!(report["gates"][0]["attribute"], "income, net");
    assert_eq!(report["gates"][1]["attribute"], "c)");
    let open = run(&["audit", &table, "--groups", "\"income", "--decision", "d"]);
    assert!(
        open.code == 2 && open.err.contains("a quote is not closed"),
        "{}",
        open.err
    );
}

#[test]
fn an_impact_table_goes_to_standard_output() {
    let folder = Folder::new();
    let kinds = [
        ("f,1", 40),
        ("f,0", 60),
        ("m,1", 50),
        ("m,0", 50),
        ("x,1", 2),
    ];
    let table = folder.put("t.csv", format!("sex,d\n{}", rows(&kinds)).as_bytes());
    let audit = [
        "audit",
        &table,
        "--groups",
        "sex",
        "--decision",
        "d",
        "--min-share",
        "0.02",
        "--impact-table",
        "-",
    ];
    let ran = run(&audit);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("sex,f,100,40,selected,0.4,0.8,\n"),
        "{}",
        ran.out
    );
    assert!(
        ran.out
            .contains("sex,x,2,,selected,,,\"left out: 2 are 0.99 % of all, less than 2 %\""),
        "{}",
        ran.out
    );
    assert!(ran.err.contains("impact ratio"), "{}", ran.err);
    let twice = run(&[&audit[..], &["--out", "-"]].concat());
    assert!(
        twice.code == 2 && twice.err.contains("standard output"),
        "{}",
        twice.err
    );
}

/// No command overwrites a report, a merged part, a model or a policy that it reads.
#[cfg(unix)]
#[test]
fn no_command_overwrites_its_inputs() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).display().to_string();
    for part in ["0", "1"] {
        let (out, shard) = (path(&format!("part-{part}.json")), format!("{part}/2"));
        let ran = attack(
            "digits",
            &["--limit", "8", "--shard", &shard, "--out", &out],
        );
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let (first, second) = (path("part-0.json"), path("part-1.json"));
    std::os::unix::fs::symlink(&first, folder.path("soft.json")).expect("a link");
    std::fs::hard_link(&first, folder.path("hard.json")).expect("a link");
    let before = std::fs::read(&first).expect("a report");
    for out in [first.clone(), path("soft.json"), path("hard.json")] {
        let ran = run(&["merge", &first, &second, "--out", &out]);
        assert!(
            ran.code == 2
                && ran
                    .err
                    .contains("a report that is merged would be written over"),
            "{}",
            ran.err
        );
        assert_eq!(std::fs::read(&first).expect("a report"), before);
    }
    let whole = run(&["merge", &first, &second, "--out", "-", "--quiet"]);
    assert_eq!(
        (
            whole.code,
            json(&whole.out)["samples"].as_array().map(Vec::len)
        ),
        (0, Some(8))
    );

    let set = folder.put("x.csv", b"a,y\n0,1\n1,0\n");
    let over = attack(&set, &["--bounds", "0,1", "--out", &set]);
    assert!(
        over.code == 2 && over.err.contains("--data would be written over"),
        "{}",
        over.err
    );
    let npz = attack("digits", &["--limit", "4", "--save", "-"]);
    assert!(
        npz.code == 2 && npz.err.contains("an .npz is no text"),
        "{}",
        npz.err
    );

    let policy = "schema = \"proofmark/policy/1\"\n[[data]]\nname = \"d\"\npath = \"c.json\"\n[[check]]\nid = \"c\"\nkind = \"bias\"\ndata = \"d\"\ngroups = \"g\"\ndecision = \"d\"\nrequire = \"impact_ratio >= 0.1\"\n";
    let file = folder.put("p.toml", policy.as_bytes());
    folder.put(
        "c.json",
        format!("g,d\n{}", rows(&[("a,1", 20), ("b,1", 20)])).as_bytes(),
    );
    let here = folder.path("").display().to_string();
    let ran = run(&["gate", &file, "--out-dir", &here]);
    assert!(
        ran.code == 2 && ran.err.contains("a table would be written over"),
        "{}",
        ran.err
    );
}
