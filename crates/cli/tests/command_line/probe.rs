//! `proofmark probe`.

use serde_json::Value;

use crate::harness::{Folder, run};

fn report(path: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn without_a_null_the_verdict_is_inconclusive_and_the_evidence_is_in_the_report() {
    let folder = Folder::new();
    let out = folder.path("report.json");
    let ran = run(&[
        "probe",
        "digits-standard",
        "--probe",
        "mm_bd,trodo",
        "--out",
        &out.display().to_string(),
    ]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(
        ran.err.contains("inconclusive: null not applicable"),
        "{}",
        ran.err
    );
    let report = report(&out);
    assert_eq!(report["schema"], "proofmark/probe/1");
    assert_eq!(report["verdict"]["status"], "inconclusive");
    assert!(report["verdict"]["p_value"].is_null());
    let members = report["members"].as_array().unwrap();
    assert_eq!(members.len(), 2);
    for member in members {
        assert_eq!(member["status"], "done");
        assert!(member["statistic"].is_f64() && member["seconds"].is_f64());
        assert_eq!(member["per_class"].as_array().unwrap().len(), 10);
    }
    assert_eq!(members[1]["id"], "mm_bd");
}

#[test]
fn probes_that_cannot_run_are_left_out_unless_they_are_named() {
    let reduced = run(&[
        "probe",
        "digits-standard",
        "--data",
        "digits",
        "--limit",
        "10",
        "--time-budget",
        "60",
    ]);
    assert_eq!(reduced.code, 3, "{}", reduced.err);
    assert!(
        reduced.err.contains(
            "neural_cleanse did not run: neural_cleanse needs 20 clean samples; there are 10"
        ),
        "{}",
        reduced.err
    );
    let named = run(&["probe", "digits-standard", "--probe", "neural_cleanse"]);
    assert_eq!(named.code, 2);
    assert!(
        named.err.contains("probe `neural_cleanse` cannot run") && named.err.contains("--data"),
        "{}",
        named.err
    );
}

#[test]
fn a_time_budget_leaves_what_is_finished() {
    let folder = Folder::new();
    let out = folder.path("report.json");
    let ran = run(&[
        "probe",
        "digits-standard",
        "--time-budget",
        "0.001",
        "--out",
        &out.display().to_string(),
    ]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(
        report(&out)["members"]
            .as_array()
            .unwrap()
            .iter()
            .any(|m| m["status"] == "stopped")
    );
}

#[test]
fn wrong_arguments_say_what_was_expected() {
    for (arguments, part) in [
        (vec!["--probe", "mm-bd"], "did you mean"),
        (
            vec!["--level", "0"],
            "--level 0; expected a number above 0 and below 1",
        ),
        (vec!["--limit", "0"], "--limit 0; expected at least 1"),
        (
            vec!["--batch-size", "0"],
            "--batch-size 0; expected at least 1",
        ),
        (
            vec!["--time-budget", "0"],
            "--time-budget 0; expected seconds, above 0",
        ),
        (
            vec!["--probe", "free_eagle", "--layer", "nowhere"],
            "--layer nowhere",
        ),
        (
            vec!["--probe", "mm_bd", "--reference", "no-such-folder"],
            "--reference no-such-folder",
        ),
    ] {
        let mut all = vec!["probe", "digits-standard"];
        all.extend(&arguments);
        let ran = run(&all);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(part), "{arguments:?}: {}", ran.err);
    }
    // A file that is not there is no matter of bounds.
    let absent = run(&["probe", "no-such-model.onnx"]);
    assert_eq!(absent.code, 2);
    assert!(
        absent.err.contains("no-such-model.onnx") && !absent.err.contains("bounds"),
        "{}",
        absent.err
    );
}

#[test]
fn probes_are_listed() {
    let ran = run(&["list", "probes"]);
    assert_eq!(ran.code, 0);
    for id in ["trodo", "free_eagle", "mm_bd", "bti_dbf", "neural_cleanse"] {
        assert!(ran.out.contains(id), "{}", ran.out);
    }
}
