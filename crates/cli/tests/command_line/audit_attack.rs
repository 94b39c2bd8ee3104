//! `proofmark audit --report`: groups clean and under attack.

use std::fmt::Write as _;

use proofmark::audit::AuditReport;
use proofmark::audit::report::{Metric, RequirementResult};
use proofmark::data::ndarray::{Array1, ArrayD, IxDyn};
use proofmark::data::npz::{self, NpzArray};
use proofmark::domain::{Report, Verdict};

use crate::harness::{Folder, attack, run};

/// Attacks a few digits and returns the path of the report and the report.
fn attacked(folder: &Folder) -> (String, Report) {
    let out = folder.path("attack.json").display().to_string();
    let ran = attack("digits", &["--limit", "200", "--eps", "0.2", "--out", &out]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let text = std::fs::read_to_string(&out).expect("a report");
    (out, serde_json::from_str(&text).expect("reads back"))
}

/// Returns a table `id,parity,site` with a row per sample; the site is unrelated to everything else.
fn groups(report: &Report) -> String {
    let mut text = "id,parity,site\n".to_owned();
    for (at, sample) in report.samples.iter().enumerate() {
        let parity = ["even", "odd"][sample.label % 2];
        let _ = writeln!(text, "{},{parity},{}", sample.id, ["n", "s"][at / 3 % 2]);
    }
    text
}

fn read(path: &str) -> AuditReport {
    let text = std::fs::read_to_string(path).expect("a report");
    serde_json::from_str(&text).expect("reads back")
}

fn headline<'a>(report: &'a AuditReport, metric: &str, attribute: &str) -> &'a Metric {
    let is = |m: &&Metric| m.metric == metric && m.attribute == attribute && m.headline;
    report.metrics.iter().find(is).expect("measured")
}

#[test]
fn groups_are_compared_clean_and_under_attack() {
    let folder = Folder::new();
    let (attack, samples) = attacked(&folder);
    let table = folder.put("groups.csv", groups(&samples).as_bytes());
    let out = folder.path("audit.json").display().to_string();
    let audit = |more: &[&str]| {
        let base = ["audit", &table, "--report", &attack, "--out", &out];
        run(&[&base[..], more].concat())
    };
    let ran = audit(&[
        "--groups",
        "parity",
        "--metric",
        "robust_accuracy_difference<=0.9",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err
            .contains("samples of digits-robust under fgsm@linf:0.2"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("easier to attack"), "{}", ran.err);
    assert!(ran.err.contains("no class is favourable"), "{}", ran.err);
    let report = read(&out);
    let facts = report.attack.as_ref().expect("of an attack");
    assert_eq!(
        (facts.favourable, facts.model.as_str()),
        (None, "digits-robust")
    );
    // Computed by hand from the samples.
    let rate = |parity: usize, counts: &dyn Fn(&proofmark::domain::SampleRecord) -> bool| {
        let all = samples.samples.iter().filter(|s| s.label % 2 == parity);
        let counted = all.clone().filter(|s| counts(s)).count();
        counted as f64 / all.count() as f64
    };
    let robust = |s: &proofmark::domain::SampleRecord| s.clean_correct && s.broken_by.is_none();
    let gap = (rate(0, &robust) - rate(1, &robust)).abs();
    let figure = headline(&report, "robust_accuracy_difference", "parity");
    assert!((figure.value.expect("a value") - gap).abs() < 1e-12);
    assert!(figure.ci95.is_some());
    for metric in [
        "clean_accuracy_difference",
        "attack_success_rate_difference",
    ] {
        assert!(
            headline(&report, metric, "parity").value.is_some(),
            "{metric}"
        );
    }

    // With a favourable class every rate appears twice, and a requirement applies to both.
    let ran = audit(&[
        "--groups",
        "site",
        "--favourable",
        "3",
        "--min-n",
        "3",
        "--metric",
        "selection_rate_difference<=0.9",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report = read(&out);
    let gated: Vec<&str> = report.gates.iter().map(|g| g.attribute.as_str()).collect();
    assert_eq!(gated, ["site", "site under attack"]);
    let selected = |pred: &dyn Fn(&proofmark::domain::SampleRecord) -> Option<usize>| {
        let all = samples.samples.iter();
        all.filter(|s| pred(s) == Some(3)).count() as u64
    };
    let overall = |attribute: &str| {
        let of = report
            .groups
            .iter()
            .find(|g| g.attribute == attribute && g.overall);
        of.expect("listed").favourable.expect("counted")
    };
    assert_eq!(overall("site"), selected(&|s| s.clean_pred));
    assert_eq!(
        overall("site under attack"),
        selected(&|s| s.adv_pred.or(s.clean_pred))
    );
    let of_attack = |m: &&Metric| m.metric.starts_with("robust_accuracy");
    assert!(
        report
            .metrics
            .iter()
            .filter(of_attack)
            .all(|m| m.attribute == "site")
    );
}

#[test]
fn rows_of_one_run_can_be_filtered_and_bad_arguments_are_named() {
    let folder = Folder::new();
    let (attack, samples) = attacked(&folder);
    let text = groups(&samples);
    let table = folder.put("groups.csv", text.as_bytes());
    let audit = |table: &str, more: &[&str]| {
        run(&[
            &["audit", table, "--report", &attack, "--groups", "parity"][..],
            more,
        ]
        .concat())
    };
    let ran = audit(&table, &["--where", "site=n", "--attack", "fgsm@linf:0.2"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let kept = text.lines().filter(|l| l.ends_with(",n")).count();
    let told = format!("{kept} rows, {} filtered out", 200 - kept);
    assert!(ran.err.contains(&told), "{told}: {}", ran.err);

    // The id column may have another name, and the order of the rows does not matter.
    let mut lines: Vec<&str> = text.lines().skip(1).collect();
    lines.reverse();
    let named = format!("who,parity,site\n{}\n", lines.join("\n"));
    let named = folder.put("named.csv", named.as_bytes());
    let same = |table: &str, more: &[&str]| {
        let err = audit(table, more).err;
        err.split_once('\n').map(|(_, rest)| rest.to_owned())
    };
    assert_eq!(same(&named, &["--id", "who"]), same(&table, &[]));
    let cut: Vec<&str> = text.lines().take(150).collect();
    let cut = folder.put("cut.csv", cut.join("\n").as_bytes());
    let before = folder.names();
    for (table, more, told) in [
        (&cut, vec![], "has no row in"),
        (&named, vec![], "has no row in"),
        (
            &table,
            vec!["--attack", "fgsm@linf:0.3"],
            "did you mean `fgsm@linf:0.2`?",
        ),
        (&table, vec!["--favourable", "10"], "none of its 10 classes"),
        (&table, vec!["--favourable", "three"], "expected a class"),
        (&table, vec!["--decision", "site"], "cannot be used with"),
        (&table, vec!["--where", "sit=n"], "did you mean `site`?"),
        (
            &table,
            vec!["--metric", "tpr_difference<=0.1"],
            "needs decisions",
        ),
    ] {
        let out = folder.path("r.json").display().to_string();
        let ran = audit(table, &[&more[..], &["--out", &out]].concat());
        assert_eq!(ran.code, 2, "{more:?}: {}", ran.err);
        assert!(ran.err.contains(told), "{more:?}: {}", ran.err);
        assert_eq!(folder.names(), before, "{more:?}");
    }
    let none = run(&["audit", "--report", &attack]);
    assert_eq!(none.code, 2);
    assert!(
        none.err.contains("its samples carry no groups"),
        "{}",
        none.err
    );
    let no_report = run(&["audit", &table, "--report", &table, "--groups", "parity"]);
    assert!(
        no_report.err.contains("not a proofmark report"),
        "{}",
        no_report.err
    );
}

/// The report carries the groups of the set, so it needs no table.
#[test]
fn a_set_with_groups_needs_no_table() {
    let folder = Folder::new();
    let digits = proofmark::open("digits").expect("shipped");
    let n = 120;
    let values: Vec<f32> = digits.modalities[0]
        .values
        .rows()
        .into_iter()
        .take(n)
        .flatten()
        .copied()
        .collect();
    let shape = [&[n][..], &digits.modalities[0].modality.shape].concat();
    let x = ArrayD::from_shape_vec(IxDyn(&shape), values).expect("fits");
    let labels: Vec<i64> = digits
        .labels
        .iter()
        .flatten()
        .take(n)
        .map(|l| *l as i64)
        .collect();
    let parity: Vec<String> = labels
        .iter()
        .map(|l| ["even", "odd"][*l as usize % 2].to_owned())
        .collect();
    let y = Array1::from(labels).into_dyn();
    let parity = Array1::from(parity).into_dyn();
    let bounds = Array1::from(vec![0.0_f32, 1.0]).into_dyn();
    let set = folder.path("set.npz");
    npz::write(
        &set,
        &[
            ("x", NpzArray::F32(x.view())),
            ("y", NpzArray::I64(y.view())),
            ("bounds", NpzArray::F32(bounds.view())),
            ("group_parity", NpzArray::Text(parity.view())),
        ],
    )
    .expect("writes");
    let set = set.display().to_string();
    let report = folder.path("attack.json").display().to_string();
    let ran = attack(&set, &["--out", &report]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let by_report = run(&["audit", "--report", &report]);
    assert_eq!(by_report.code, 0, "{}", by_report.err);
    assert!(by_report.err.contains("\nparity "), "{}", by_report.err);
    // The set itself also serves as the table.
    let by_set = run(&["audit", &set, "--report", &report, "--groups", "parity"]);
    let rest = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned());
    assert_eq!(rest(&by_set.err), rest(&by_report.err));
    let wrong = run(&["audit", "--report", &report, "--groups", "party"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.err.contains("did you mean `parity`?"),
        "{}",
        wrong.err
    );
}

/// Figures of an untrusted attack may fail a requirement but never pass it.
#[test]
fn distrust_turns_a_pass_into_inconclusive_and_changes_nothing_else() {
    let folder = Folder::new();
    let (attack, mut samples) = attacked(&folder);
    let table = folder.put("groups.csv", groups(&samples).as_bytes());
    let flag = serde_json::json!({"code": "zero-gradients", "message": "", "cured": false});
    samples.trust = vec![serde_json::from_value(flag).expect("a flag")];
    std::fs::write(&attack, serde_json::to_string(&samples).expect("json")).expect("writes");
    let out = folder.path("r.json").display().to_string();
    let audit = |metric: &str| {
        let base = [
            "audit", &table, "--report", &attack, "--groups", "parity", "--out", &out,
        ];
        let ran = run(&[&base[..], &["--metric", metric]].concat());
        (ran.code, ran.err, read(&out).gates)
    };
    let (code, err, gates) = audit("robust_accuracy_difference<=0.9");
    assert_eq!(
        (code, gates[0].verdict),
        (3, Verdict::Inconclusive),
        "{err}"
    );
    assert!(err.contains("not to be trusted: zero-gradients"), "{err}");
    assert!(!err.contains("would settle it"), "{err}");
    let (code, err, _) = audit("clean_accuracy_difference<=0.9");
    assert_eq!(code, 0, "{err}");
    let low = |g: &RequirementResult| g.interval.map(|i| i.low);
    let (code, err, gates) = audit("attack_success_rate_difference<=0");
    assert_eq!(
        code,
        if low(&gates[0]) > Some(0.0) { 1 } else { 3 },
        "{err}"
    );
}
