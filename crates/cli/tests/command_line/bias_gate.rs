//! `proofmark gate` with checks of kind `bias`: tables judged by a policy.

use std::fmt::Write as _;

use serde_json::Value;

use crate::harness::{Folder, run};

/// Two requirements on a table of 1200 loans, whose gaps are 0.3 by sex and 0 by region.
const POLICY: &str = r#"schema = "proofmark/policy/1"

[[data]]
name = "loans"
path = "loans.csv"

[[check]]
id = "sex"
kind = "bias"
data = "loans"
groups = ["sex", "region"]
decision = "approved"
label = "repaid"
require = "selection_rate_difference(sex) <= 0.5, selection_rate_difference(region) <= 0.2"
"#;

/// Returns a table of 600 women (180 approved) and 600 men (360 approved); region and label are independent of both.
fn loans() -> String {
    let mut text = "sex,region,approved,repaid\n".to_owned();
    for (sex, approved) in [("f", 180), ("m", 360)] {
        for row in 0..600 {
            let region = ["north", "south"][row % 2];
            let (decision, label) = (u8::from(row < approved), u8::from(row % 3 == 0));
            let _ = writeln!(text, "{sex},{region},{decision},{label}");
        }
    }
    text
}

fn folder(policy: &str) -> (Folder, String) {
    let folder = Folder::new();
    folder.put("loans.csv", loans().as_bytes());
    let policy = folder.put("policy.toml", policy.as_bytes());
    (folder, policy)
}

fn judged(arguments: &[&str]) -> (i32, Value) {
    let ran = run(&[&["gate", "--quiet", "--format", "json"], arguments].concat());
    assert_eq!(ran.err, "");
    let report = serde_json::from_str(&ran.out).expect("JSON alone");
    (ran.code, report)
}

fn with(policy: &str, require: &str) -> String {
    let line = policy
        .lines()
        .find(|l| l.starts_with("require"))
        .expect("a requirement");
    policy.replace(line, &format!("require = \"{require}\""))
}

/// Returns the first comparison's verdict, value and ends of its interval.
fn first(report: &Value) -> (String, f64, f64, f64) {
    let one = &report["checks"][0]["comparisons"][0];
    let number = |v: &Value| v.as_f64().expect("a number");
    (
        one["verdict"].as_str().expect("a verdict").to_owned(),
        number(&one["observed"]),
        number(&one["ci"][0]),
        number(&one["ci"][1]),
    )
}

#[test]
fn a_table_passes_fails_or_is_inconclusive() {
    let cases = [
        ("selection_rate_difference <= 0.5", 0, "pass"),
        ("selection_rate_difference(sex) <= 0.1", 1, "fail"),
        ("selection_rate_difference(sex) <= 0.3", 3, "inconclusive"),
        ("impact_ratio(sex) >= 0.8", 1, "fail"),
        (
            "impact_ratio(region) >= 0.8 and selection_rate_difference(region)<=0.2",
            0,
            "pass",
        ),
    ];
    for (require, code, verdict) in cases {
        let (_kept, policy) = folder(&with(POLICY, require));
        let (got, report) = judged(&[&policy]);
        assert_eq!(
            (got, report["verdict"].as_str()),
            (code, Some(verdict)),
            "{require}"
        );
        assert_eq!(report["checks"][0]["kind"], "bias");
        assert_eq!(
            report["findings"].as_array().map(Vec::is_empty),
            Some(code == 0)
        );
    }
}

#[test]
fn messages_name_the_next_step_and_waivers_apply() {
    let (_kept, policy) = folder(&with(POLICY, "selection_rate_difference(sex) <= 0.33"));
    let ran = run(&["gate", &policy]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    for words in [
        "selection_rate_difference(sex)<=0.33",
        "over sex",
        "further rows would settle it",
        "next: audit more rows",
    ] {
        assert!(ran.err.contains(words), "no `{words}` in: {}", ran.err);
    }
    let excused = with(POLICY, "selection_rate_difference(sex) <= 0.1")
        + "\n[[waiver]]\nfinding = \"sex/requirement-missed\"\nreason = \"r\"\nowner = \"o\"\nexpires = 2099-01-01\n";
    let (_kept, policy) = folder(&excused);
    assert_eq!(judged(&[&policy]).0, 0);
    let warned = POLICY.replace("groups", "on_fail = \"warn\"\ngroups");
    let (_kept, policy) = folder(&with(&warned, "impact_ratio(sex) >= 0.8"));
    let (code, report) = judged(&[&policy]);
    assert_eq!(
        (code, report["findings"][0]["status"].as_str()),
        (0, Some("warn"))
    );
}

/// `judge = "point"` judges the value alone, and the report says so.
#[test]
fn a_point_rule_has_no_interval() {
    let point = POLICY.replace("groups", "judge = \"point\"\ngroups");
    let (_kept, policy) = folder(&with(&point, "impact_ratio(sex) >= 0.8"));
    let (code, report) = judged(&[&policy]);
    let one = &report["checks"][0]["comparisons"][0];
    assert_eq!((code, one["observed"].as_f64()), (1, Some(0.5)));
    assert!(one["ci"].is_null(), "{one}");
    let message = report["findings"][0]["message"]
        .as_str()
        .unwrap_or_default();
    assert!(message.contains("of the value alone"), "{message}");
}

/// Two checks judge three figures: each interval is wider than it would be alone, and each evidence file states the
/// size of the family.
#[test]
fn all_bias_checks_are_one_family() {
    let alone = with(POLICY, "selection_rate_difference(sex) <= 0.5");
    let (_kept, policy) = folder(&alone);
    let (_, value, low, high) = first(&judged(&[&policy]).1);
    let second = alone
        .replace("id = \"sex\"", "id = \"again\"")
        .split_once("[[check]]")
        .map(|(_, check)| format!("\n[[check]]{check}"))
        .expect("a check");
    let both = alone + &with(&second, "tpr_difference <= 0.9");
    let (kept, policy) = folder(&both);
    let out = kept.path("out").display().to_string();
    let (_, same, lower, higher) = first(&judged(&[&policy, "--out-dir", &out]).1);
    assert_eq!(value.to_bits(), same.to_bits());
    assert!(
        lower < low && higher > high,
        "{lower} {low} {high} {higher}"
    );
    for (check, family) in [("sex", 3), ("again", 3)] {
        let text =
            std::fs::read_to_string(kept.path(&format!("out/{check}.json"))).expect("evidence");
        let evidence: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(evidence["settings"]["family"], family);
    }
    // Each audit in the evidence has the interval that the gate judged.
    let text = std::fs::read_to_string(kept.path("out/sex.json")).expect("evidence");
    let evidence: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(evidence["gates"][0]["interval"][0].as_f64(), Some(lower));
}

#[test]
fn evidence_can_be_judged_again_with_another_tolerance() {
    let (kept, policy) = folder(POLICY);
    let out = kept.path("out").display().to_string();
    let (code, whole) = judged(&[&policy, "--out-dir", &out]);
    assert_eq!(code, 0);
    assert_eq!(judged(&[&policy, "--from-evidence", &out]).1, whole);
    let (again, taken) = judged(&[&policy, "--resume", &out]);
    assert_eq!((again, taken), (0, whole));

    let strict = with(
        POLICY,
        "selection_rate_difference(sex) <= 0.05, selection_rate_difference(region) <= 0.2",
    );
    let strict = kept.put("strict.toml", strict.as_bytes());
    let (code, report) = judged(&[&strict, "--from-evidence", &out]);
    assert_eq!((code, report["verdict"].as_str()), (1, Some("fail")));

    // Evidence measured on other columns is refused.
    let other = kept.put(
        "other.toml",
        POLICY
            .replace(
                "decision = \"approved\"\nlabel = \"repaid\"",
                "decision = \"repaid\"\nlabel = \"approved\"",
            )
            .as_bytes(),
    );
    assert_eq!(judged(&[&other, "--from-evidence", &out]).0, 2);
    // The table is not opened. A stated sha256 refuses evidence of another table; without one, a note says that the
    // table was not opened.
    let evidence = std::fs::read_to_string(kept.path("out/sex.json")).expect("evidence");
    let evidence: Value = serde_json::from_str(&evidence).expect("JSON");
    let digest = evidence["table"]["origin"]["sha256"].as_str();
    let digest = digest.expect("a digest");
    let pinned = |digest: &str| {
        let path = format!("path = \"loans.csv\"\nsha256 = \"{digest}\"");
        let text = POLICY.replace("path = \"loans.csv\"", &path);
        assert_ne!(text, POLICY);
        kept.put("pinned.toml", text.as_bytes())
    };
    let gate = |policy: &str| run(&["gate", policy, "--from-evidence", &out]);
    let unpinned = "data `loans` was not opened";
    let ran = gate(&policy);
    assert!(ran.code == 0 && ran.err.contains(unpinned), "{}", ran.err);
    let ran = gate(&pinned(digest));
    assert!(ran.code == 0 && !ran.err.contains(unpinned), "{}", ran.err);
    let ran = gate(&pinned(&"0".repeat(64)));
    assert!(
        ran.code == 2 && ran.err.contains("table sha256"),
        "{}",
        ran.err
    );
}

/// A table is not divided: the first shard audits it, the others do nothing.
#[test]
fn the_first_shard_audits_the_table() {
    let (kept, policy) = folder(POLICY);
    let out = kept.path("parts").display().to_string();
    for shard in ["0/2", "1/2"] {
        let ran = run(&[
            "gate",
            &policy,
            "--quiet",
            "--shard",
            shard,
            "--out-dir",
            &out,
        ]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    assert!(kept.path("parts/sex.json").is_file());
    let (code, report) = judged(&[&policy, "--from-evidence", &out]);
    assert_eq!((code, report), judged(&[&policy]));
}

/// Suppressed evidence holds no small cell and gets the same verdict.
#[test]
fn suppressed_evidence_gets_the_same_verdict() {
    let few = POLICY.replace("groups", "suppress = 250\ngroups");
    let (kept, policy) = folder(&with(&few, "selection_rate_difference(sex) <= 0.1"));
    let out = kept.path("out").display().to_string();
    let (code, report) = judged(&[&policy, "--out-dir", &out]);
    assert_eq!(code, 1);
    let one = &report["checks"][0]["comparisons"][0];
    assert!(one["observed"].is_null() && one["ci"].is_null(), "{one}");
    let evidence = std::fs::read_to_string(kept.path("out/sex.json")).expect("evidence");
    assert!(
        !evidence.contains("\"n\": 180") && !evidence.contains("0.3,"),
        "{evidence}"
    );
    assert_eq!(judged(&[&policy, "--from-evidence", &out]), (code, report));
}

/// Rows are written with the evidence if they are requested, and never together with suppression.
#[test]
fn rows_are_written_with_the_evidence_on_request() {
    for (samples, first) in [
        ("none", Value::Null),
        ("ids", serde_json::json!({ "id": "0" })),
    ] {
        let asked = POLICY.replace("groups", &format!("samples = \"{samples}\"\ngroups"));
        let (kept, policy) = folder(&asked);
        let out = kept.path("out").display().to_string();
        assert_eq!(judged(&[&policy, "--out-dir", &out]).0, 0);
        let text = std::fs::read_to_string(kept.path("out/sex.json")).expect("evidence");
        let evidence: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(evidence["samples"][0], first, "{samples}");
    }
    let both = POLICY.replace("groups", "samples = \"full\"\nsuppress = 5\ngroups");
    let (_kept, policy) = folder(&both);
    let ran = run(&["gate", &policy]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("rows give away what is suppressed"),
        "{}",
        ran.err
    );
}

#[test]
fn faults_are_found_before_anything_runs() {
    let swap = |from: &str, to: &str| POLICY.replace(from, to);
    let cases = [
        (
            with(POLICY, "selection_rate_diference <= 0.1"),
            vec![
                "policy.toml: line 14",
                "did you mean `selection_rate_difference`",
            ],
        ),
        (
            with(POLICY, "impact_ratio <= 0.8"),
            vec!["policy.toml: line 14", "the smaller it is"],
        ),
        (
            with(POLICY, "selection_rate <= 0.8"),
            vec!["policy.toml: line 14", "a rate of one group"],
        ),
        (
            with(POLICY, "impact_ratio >= 0.8, impact_ratio >= 0.9"),
            vec!["policy.toml: line 14", "second requirement"],
        ),
        (
            with(POLICY, "auc_difference <= 0.1"),
            vec!["check `sex`", "scores (`score`)"],
        ),
        (
            with(POLICY, "impact_ratio(sec) >= 0.1"),
            vec!["check `sex`", "impact_ratio(sec)", "no figure"],
        ),
        (
            swap("\"approved\"", "\"aproved\""),
            vec!["check `sex`", "loans.csv", "did you mean `approved`"],
        ),
        (
            swap("groups = [\"sex\", \"region\"]\n", ""),
            vec!["missing field `groups`"],
        ),
        (
            swap("groups", "grops"),
            vec!["policy.toml: line 11", "did you mean `groups`"],
        ),
        (
            swap("groups", "model = \"digits-robust\"\ngroups"),
            vec!["a check of kind \"bias\" has no model"],
        ),
        (
            swap("path = \"loans.csv\"", "path = \"loans.csv\"\nlimit = 5"),
            vec!["has limit", "use `where`"],
        ),
        (
            swap(
                "path = \"loans.csv\"",
                &format!("path = \"loans.csv\"\nsha256 = \"{}\"", "ab".repeat(32)),
            ),
            vec!["data `loans` has sha256"],
        ),
        (
            swap("loans.csv", "lones.csv"),
            vec!["lones.csv", "cannot be read"],
        ),
        (
            swap("groups", "bins = { sex = [1] }\ngroups"),
            vec!["`sex`", "a number"],
        ),
        (
            swap("groups", "paired = [\"sex\"]\ngroups"),
            vec!["expected ID,VARIANT"],
        ),
        (
            swap("data = \"loans\"", "data = \"lones\""),
            vec!["did you mean `loans`"],
        ),
    ];
    for (policy, words) in cases {
        let (kept, file) = folder(&policy);
        let out = kept.path("out").display().to_string();
        let ran = run(&["gate", &file, "--out-dir", &out]);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (2, ""),
            "{words:?}: {}",
            ran.err
        );
        for word in words {
            assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
        }
        assert!(!kept.path("out").exists());
    }
}
