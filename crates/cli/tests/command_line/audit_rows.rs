//! `proofmark audit`: pairs, neighbours, subgroups, and the rows behind the figures.

use std::fmt::Write as _;

use proofmark::audit::AuditReport;
use proofmark::audit::report::{Metric, SampleFacts};

use crate::harness::{Folder, run};

fn read(path: &str) -> AuditReport {
    let text = std::fs::read_to_string(path).expect("a report");
    serde_json::from_str(&text).expect("reads back")
}

fn headline<'a>(report: &'a AuditReport, metric: &str) -> &'a Metric {
    let is = |m: &&Metric| m.metric == metric && m.headline;
    report.metrics.iter().find(is).expect("measured")
}

/// Returns a table of 200 persons, each as f and as m; for those whose number ends in 0 (20 persons) only m is
/// approved.
fn twins() -> String {
    let mut text = "person,sex,approved\n".to_owned();
    for person in 0..200 {
        let (f, m) = (person % 10 > 4, person % 10 > 4 || person % 10 == 0);
        let _ = writeln!(
            text,
            "p{person},f,{}\np{person},m,{}",
            u8::from(f),
            u8::from(m)
        );
    }
    text
}

#[test]
fn variants_of_one_id_are_compared() {
    let folder = Folder::new();
    let table = folder.put("twins.csv", twins().as_bytes());
    let out = folder.path("r.json").display().to_string();
    let audit = |table: &str, more: &[&str]| {
        let base = [
            "audit",
            table,
            "--paired",
            "person,sex",
            "--decision",
            "approved",
        ];
        run(&[&base[..], &["--out", &out], more].concat())
    };
    let gate = ["--metric", "counterfactual_flip_rate<=0.05"];
    let ran = audit(&table, &[&gate[..], &["--samples", "ids"]].concat());
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.err
            .contains("200 ids paired by sex (f, m); the decisions of 20 differ"),
        "{}",
        ran.err
    );
    let report = read(&out);
    assert_eq!(
        headline(&report, "counterfactual_flip_rate").value,
        Some(0.1)
    );
    let pairs = report.pairs.as_ref().expect("paired");
    assert_eq!(
        (pairs.ids, pairs.alone, pairs.flipped),
        (Some(200), Some(0), Some(20))
    );
    // There is one entry per person, which says whether the decision flipped.
    assert_eq!(report.samples.len(), 200);
    let flipped = |s: &&SampleFacts| s.flipped == Some(true);
    assert_eq!(report.samples.iter().filter(flipped).count(), 20);
    assert!(
        report
            .samples
            .iter()
            .filter(flipped)
            .all(|s| s.id.ends_with('0'))
    );
    assert_eq!(
        audit(&table, &["--metric", "counterfactual_flip_rate<=0.3"]).code,
        0
    );
    let ran = audit(&table, &["--samples", "full"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let rows = read(&out).samples;
    assert_eq!(rows.len(), 400);
    assert_eq!(
        (rows[0].variant.as_deref(), rows[0].flipped),
        (Some("f"), Some(true))
    );

    // Ids with one variant are noted and left out.
    let mut text = twins();
    text.push_str("lonely,f,1\n");
    let alone = folder.put("alone.csv", text.as_bytes());
    let ran = audit(&alone, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err
            .contains("1 ids have one variant only and are left out"),
        "{}",
        ran.err
    );

    let twice = folder.put("twice.csv", (twins() + "p7,m,0\n").as_bytes());
    let single = folder.put("single.csv", b"person,sex,approved\na,f,1\nb,m,0\n");
    std::fs::remove_file(&out).expect("there");
    for (table, told) in [
        (
            &twice,
            "`p7` again, first at line 17; expected each id once per variant",
        ),
        (
            &single,
            "each of the 2 ids has one value of `sex` only, such as `a`",
        ),
    ] {
        let ran = audit(table, &[]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
        assert!(!folder.path("r.json").exists());
    }
    for (arguments, told) in [
        (["--paired", "person"], "expected ID,VARIANT"),
        (["--paired", "person,sxe"], "did you mean `sex`?"),
    ] {
        let ran = run(&[&["audit", &table, "--decision", "approved"][..], &arguments].concat());
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
}

#[test]
fn few_flips_are_suppressed() {
    let folder = Folder::new();
    let table = folder.put("twins.csv", twins().as_bytes());
    let out = folder.path("r.json").display().to_string();
    let base = [
        "audit",
        &table,
        "--paired",
        "person,sex",
        "--decision",
        "approved",
    ];
    let at = |k: &str| {
        let ran = run(&[&base[..], &["--suppress", k, "--out", &out]].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        let report = read(&out);
        let of = |id: &str| headline(&report, id).value;
        let pairs = report.pairs.clone().expect("paired");
        (
            of("counterfactual_flip_rate"),
            of("counterfactual_gap"),
            pairs.flipped,
        )
    };
    let (rate, gap, flipped) = at("0");
    assert_eq!((rate, flipped), (Some(0.1), Some(20)));
    // The gap is a mean, centred on a value, and therefore rounded.
    assert!(gap.is_some_and(|gap| (gap - 0.1).abs() < 1e-12), "{gap:?}");
    assert_eq!(at("2"), (None, None, None), "nobody flips the other way");
}

/// Returns rows of `id,sex,team,age,score,approved,repaid`: half of all are approved, but most women of team c are
/// refused.
fn loans(rows: usize) -> String {
    let mut text = "id,sex,team,age,score,approved,repaid\n".to_owned();
    for row in 0..rows {
        let (sex, team) = (["f", "m"][row % 2], ["a", "b", "c"][row / 2 % 3]);
        let approved = (row / 6) % 2 == 0 && !(sex == "f" && team == "c" && row % 5 != 0);
        let score = (row % 97) as f64 / 97.0;
        let _ = writeln!(
            text,
            "r{row},{sex},{team},{},{score},{},{}",
            20 + row % 50,
            u8::from(approved),
            u8::from(row % 4 != 0)
        );
    }
    text
}

#[test]
fn a_scan_finds_the_planted_subgroup_and_never_changes_the_verdict() {
    let folder = Folder::new();
    let table = folder.put("t.csv", loans(1200).as_bytes());
    let out = folder.path("r.json").display().to_string();
    let audit = |more: &[&str]| {
        let base = [
            "audit",
            &table,
            "--groups",
            "sex,team",
            "--decision",
            "approved",
        ];
        run(&[&base[..], &["--out", &out], more].concat())
    };
    let gate = ["--metric", "selection_rate_difference<=0.9"];
    let ran = audit(&[&gate[..], &["--scan", "--scan-draws", "199"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("sex=f, team=c"), "{}", ran.err);
    let report = read(&out);
    assert_eq!(report.scan.len(), 1);
    let scan = &report.scan[0];
    assert_eq!(
        (scan.target.as_str(), scan.depth, scan.draws),
        ("selection_rate", 2, 199)
    );
    let first = &scan.found[0];
    assert_eq!(first.conditions, ["sex=f", "team=c"]);
    assert_eq!((first.n, first.others), (200, 1000));
    assert!(first.rate < 0.15 && first.others_rate > 0.45);
    assert_eq!(first.p_value, 1.0 / 200.0);
    // The same seed gives the same scan; a depth above the number of columns is allowed.
    let again = |more: &[&str]| {
        assert_eq!(audit(more).code, 0);
        read(&out).scan
    };
    let base = ["--scan", "2", "--scan-draws", "199"];
    assert_eq!(again(&base), report.scan);
    assert_eq!(
        again(&["--scan", "9", "--scan-draws", "199"])[0].found,
        scan.found
    );
    assert!(
        again(&["--scan", "1", "--scan-draws", "19"])[0]
            .found
            .iter()
            .all(|s| s.conditions.len() == 1)
    );

    for (more, told) in [
        (&["--scan", "0"][..], "at least 1"),
        (&["--scan", "--scan-draws", "0"], "at least 1"),
        (&["--scan", "two"], "invalid value"),
    ] {
        let ran = audit(more);
        assert_eq!(ran.code, 2, "{more:?}");
        assert!(ran.err.contains(told), "{more:?}: {}", ran.err);
    }
    let no_decision = run(&[
        "audit", &table, "--groups", "sex", "--score", "score", "--scan",
    ]);
    assert_eq!(no_decision.code, 2);
    assert!(
        no_decision
            .err
            .contains("--scan: the table has no decisions"),
        "{}",
        no_decision.err
    );
}

/// A scan shows nothing if any subgroup that it could examine is small: sums would reveal that subgroup.
#[test]
fn a_scan_hides_suppressed_subgroups() {
    let folder = Folder::new();
    let mut text = "sex,team,ok\n".to_owned();
    for (sex, team, good, n) in [
        ("f", "a", 50, 100),
        ("m", "a", 80, 100),
        ("f", "b", 2, 60),
        ("m", "b", 30, 60),
        ("f", "c", 0, 3),
        ("m", "c", 40, 90),
    ] {
        for row in 0..n {
            let _ = writeln!(text, "{sex},{team},{}", u8::from(row < good));
        }
    }
    let table = folder.put("t.csv", text.as_bytes());
    let out = folder.path("r.json").display().to_string();
    let scan = |k: &str| {
        let base = [
            "audit",
            &table,
            "--groups",
            "sex,team",
            "--decision",
            "ok",
            "--scan",
        ];
        let more = ["--scan-draws", "19", "--suppress", k, "--out", &out];
        let ran = run(&[&base[..], &more].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        read(&out).scan.remove(0)
    };
    let all = scan("0");
    assert!(
        all.found
            .iter()
            .any(|s| s.conditions == ["sex=f", "team=b"] && s.n == 60)
    );
    assert_eq!(all.suppressed, 0);
    // The 3 women in c are suppressed, and so is every subgroup from which they could be computed.
    let shared = scan("5");
    assert!(
        shared.found.is_empty() && shared.looked_at == 0,
        "{shared:?}"
    );
    assert_eq!(shared.suppressed as usize, all.found.len());
}

#[test]
fn the_report_holds_neighbours_and_other_settings() {
    let folder = Folder::new();
    let table = folder.put("t.csv", loans(300).as_bytes());
    let out = folder.path("r.json").display().to_string();
    let audit = |more: &[&str]| {
        let base = ["audit", &table, "--groups", "sex", "--decision", "approved"];
        let ran = run(&[&base[..], &["--out", &out], more].concat());
        assert_eq!(ran.code, 0, "{more:?}: {}", ran.err);
        read(&out)
    };
    let report = audit(&["--features", "age,score", "--neighbours", "3"]);
    let three = headline(&report, "consistency").value.expect("a value");
    assert_eq!(
        (
            report.settings.measured.neighbours,
            report.settings.measured.alpha
        ),
        (3, 2.0)
    );
    let five = headline(&audit(&["--features", "age,score"]), "consistency").value;
    assert!(five.is_some_and(|five| five != three));
    let of = |report: &AuditReport| headline(report, "generalized_entropy_index").value;
    let (two, other) = (
        audit(&["--label", "repaid"]),
        audit(&["--label", "repaid", "--alpha", "3"]),
    );
    assert!(of(&two).is_some() && of(&other).is_some());
    let rest = audit(&["--against-rest", "team=c", "--groups", "team"]);
    assert!(rest.groups.iter().any(|g| g.group == "not c"));
    for (more, told) in [
        (["--features", "agee"], "did you mean `age`?"),
        (["--features", "sex"], "expected a finite number"),
        (["--neighbours", "0"], "at least 1"),
        (["--alpha", "nan"], "finite"),
        (
            ["--against-rest", "sex=x"],
            "`sex` never takes the value `x`",
        ),
        (["--delimiter", "ab"], "one character"),
    ] {
        let base = ["audit", &table, "--groups", "sex", "--decision", "approved"];
        let ran = run(&[&base[..], &more].concat());
        assert_eq!(ran.code, 2, "{more:?}: {}", ran.err);
        assert!(ran.err.contains(told), "{more:?}: {}", ran.err);
    }
}

#[test]
fn rows_are_written_in_the_report_or_beside_it() {
    let folder = Folder::new();
    let table = folder.put("t.csv", loans(60).as_bytes());
    let out = folder.path("r.json").display().to_string();
    let base = [
        "--groups",
        "sex,team",
        "--decision",
        "approved",
        "--score",
        "score",
    ];
    let audit = |table: &str, more: &[&str]| {
        run(&[
            &["audit", table][..],
            &base,
            &["--quiet", "--out", &out],
            more,
        ]
        .concat())
    };
    assert_eq!(audit(&table, &[]).code, 0);
    let shared = std::fs::read_to_string(&out).expect("a report");
    assert!(
        read(&out).samples.is_empty() && !shared.contains("r17"),
        "shared by default"
    );
    assert_eq!(audit(&table, &["--samples", "ids", "--id", "id"]).code, 0);
    let ids = read(&out).samples;
    assert_eq!((ids.len(), ids[17].id.as_str()), (60, "r17"));
    assert_eq!((ids[17].decision, ids[17].groups.len()), (None, 0));
    // Without ids a row is identified by its row number in the file, before any filter.
    assert_eq!(
        audit(&table, &["--samples", "full", "--where", "team!=a"]).code,
        0
    );
    let rows = read(&out).samples;
    assert_eq!((rows.len(), rows[1].id.as_str()), (40, "3"));
    assert_eq!(rows[1].groups["team"].as_deref(), Some("b"));
    assert_eq!(
        (rows[1].decision, rows[1].score),
        (Some(true), Some(3.0 / 97.0))
    );

    let many = folder.put("many.csv", loans(10_001).as_bytes());
    assert_eq!(audit(&many, &["--samples", "full", "--id", "id"]).code, 0);
    let report = read(&out);
    assert_eq!(report.samples_file.as_deref(), Some("r.samples.jsonl"));
    assert!(report.samples.is_empty());
    let lines = std::fs::read_to_string(folder.path("r.samples.jsonl")).expect("beside it");
    let rows: Vec<SampleFacts> = lines
        .lines()
        .map(|l| serde_json::from_str(l).expect("a row"))
        .collect();
    assert_eq!((rows.len(), rows[10_000].id.as_str()), (10_001, "r10000"));

    let other = Folder::new();
    let table = other.put("t.csv", loans(60).as_bytes());
    let out = other.path("r.json").display().to_string();
    let before = other.names();
    for (more, told) in [
        (
            &["--samples", "full", "--suppress", "5"][..],
            "rows give away what is suppressed",
        ),
        (
            &["--samples", "ids", "--suppress", "5"],
            "rows give away what is suppressed",
        ),
        (&["--samples", "some"], "--samples some: unknown value"),
    ] {
        let ran = run(&[&["audit", &table][..], &base, &["--out", &out], more].concat());
        assert_eq!(ran.code, 2, "{more:?}");
        assert!(ran.err.contains(told), "{more:?}: {}", ran.err);
        assert_eq!(other.names(), before);
    }
    let nowhere = run(&[&["audit", &table][..], &base, &["--samples", "ids"]].concat());
    assert!(
        nowhere.code == 2 && nowhere.err.contains("expected --out FILE"),
        "{}",
        nowhere.err
    );
}
