//! Universal changes and maps on the command line and in policies.

use std::collections::BTreeMap;

use proofmark::data::npz::{self, AnyArray};
use serde_json::Value;

use crate::harness::{Folder, attack, run};

const MAPPED: [&str; 6] = [
    "attack",
    "digits-standard",
    "--data",
    "digits",
    "--limit",
    "60",
];

fn arrays(path: &str) -> BTreeMap<String, AnyArray> {
    npz::arrays(path.as_ref())
        .expect("an npz")
        .into_iter()
        .collect()
}

fn floats(array: &AnyArray) -> Vec<f32> {
    match array {
        AnyArray::F32(a) => a.iter().copied().collect(),
        _ => panic!("no f32"),
    }
}

#[test]
fn a_universal_change_is_saved_and_its_held_out_rate_printed() {
    let folder = Folder::new();
    let saved = folder.path("a.npz").display().to_string();
    let ran = attack(
        "digits",
        &[
            "--attack", "uap-pgd", "--limit", "80", "--eps", "0.1,0.2", "--save", &saved,
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err
            .contains("uap-pgd at linf 0.2: one change for all samples. Fitted on "),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("fooling rate") && ran.err.contains("95 % interval"));
    let arrays = arrays(&saved);
    let AnyArray::Text(keys) = &arrays["universal"] else {
        panic!("no text");
    };
    assert_eq!(
        keys.iter().collect::<Vec<_>>(),
        ["uap-pgd@linf:0.1", "uap-pgd@linf:0.2"]
    );
    let changes = floats(&arrays["universal_x"]);
    assert_eq!(changes.len(), 2 * 64);
    assert!(changes[..64].iter().all(|v| v.abs() <= 0.1));
    assert!(changes[64..].iter().any(|v| v.abs() > 0.15));
    // The file opens as a data set without them.
    let again = attack(&saved, &["--eps", "0.01"]);
    assert_eq!(again.code, 0, "{}", again.err);
}

#[test]
fn rotations_are_searched_saved_and_gated() {
    let folder = Folder::new();
    let (out, saved) = (
        folder.path("r.json"),
        folder.path("a.npz").display().to_string(),
    );
    let report = out.display().to_string();
    let mut arguments = MAPPED.to_vec();
    arguments.extend([
        "--map",
        "spatial:degrees=40:shift=0.15",
        "--attack",
        "grid",
        "--set",
        "grid.points=5",
        "--eps",
        "0.5,1",
        "--out",
        &report,
        "--save",
        &saved,
        "--quiet",
    ]);
    let ran = run(&arguments);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(out).unwrap()).unwrap();
    let threat = &report["attacks"][1]["threat"];
    assert_eq!(threat["map"]["kind"], "spatial");
    assert_eq!(
        threat["text"],
        "1 × spatial:degrees=40:shift=0.15:padding=zero"
    );
    let robust = |i: usize| report["attacks"][i]["robust_accuracy"].as_f64().unwrap();
    assert!(robust(1) < robust(0), "{} {}", robust(1), robust(0));
    let arrays = arrays(&saved);
    let degrees = floats(&arrays["group_degrees"]);
    let broken = degrees.iter().filter(|d| d.is_finite()).count();
    let broken_by = report["samples"].as_array().unwrap();
    assert_eq!(
        broken,
        broken_by
            .iter()
            .filter(|s| !s["broken_by"].is_null())
            .count()
    );
    assert!(broken > 3 && degrees.iter().all(|d| d.is_nan() || d.abs() <= 40.0));

    let policy = r#"schema = "proofmark/policy/1"

[[check]]
id = "turned"
kind = "robustness"
model = "digits-standard"
data = "digits"
limit = 60
threat = { map = "spatial:degrees=40:shift=0.15" }
attacks = [{ id = "grid", points = 5 }]
require = "robust_accuracy >= 0.99"
"#;
    let policy = folder.put("policy.toml", policy.as_bytes());
    let ran = run(&["gate", &policy, "--quiet", "--format", "json"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    let gate: Value = serde_json::from_str(&ran.out).unwrap();
    let observed = gate["checks"][0]["comparisons"][0]["observed"]
        .as_f64()
        .unwrap();
    assert!((observed - robust(1)).abs() < 1e-12);
}

#[test]
fn a_patch_is_fitted_saved_and_judged_over_placements() {
    let folder = Folder::new();
    let saved = folder.path("a.npz").display().to_string();
    let mut arguments = MAPPED.to_vec();
    arguments.extend([
        "--map",
        "patch:share=0.15:degrees=0:scale=1:placements=9",
        "--attack",
        "uap-pgd",
        "--save",
        &saved,
    ]);
    let ran = run(&arguments);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let arrays = arrays(&saved);
    // A share of 0.15 of 8 × 8 is a square of 3 pixels.
    assert_eq!(floats(&arrays["universal_x"]).len(), 9);
    assert!(
        floats(&arrays["universal_x"])
            .iter()
            .all(|v| (0.0..=1.0).contains(v))
    );
    assert_eq!(floats(&arrays["group_patch"]).len(), 60 * 9);
}

#[test]
fn arguments_that_do_not_go_with_a_map_are_refused() {
    let refused = |more: &[&str], words: &str| {
        let mut arguments = MAPPED.to_vec();
        arguments.extend(more);
        let ran = run(&arguments);
        assert_eq!(ran.code, 2, "{more:?}");
        assert!(ran.err.contains(words), "{more:?}: {}", ran.err);
    };
    refused(
        &["--map", "spatail", "--attack", "grid"],
        "did you mean `spatial`",
    );
    refused(&["--map", "spatial"], "grid or pgd");
    refused(
        &["--map", "spatial", "--attack", "grid", "--norm", "linf"],
        "--norm",
    );
    refused(
        &["--map", "spatial", "--attack", "grid", "--eps", "2"],
        "share of its limits",
    );
    refused(
        &["--map", "spatial", "--attack", "grid", "--eps", "x=1"],
        "without a name",
    );
    refused(
        &["--map", "patch:share=0.9", "--attack", "uap-pgd"],
        "8 × 8",
    );
    refused(
        &[
            "--map",
            "spatial",
            "--attack",
            "grid",
            "--surrogate",
            "digits-robust",
        ],
        "surrogate",
    );
    refused(
        &["--map", "patch:share=0.15", "--attack", "grid"],
        "features that may change",
    );
    refused(
        &[
            "--norm", "linf", "--eps", "0.1", "--attack", "uap", "--shard", "0/2",
        ],
        "all samples in one run",
    );
    refused(
        &["--norm", "linf", "--eps", "0.1", "--attack", "grid"],
        "features that may change",
    );
    let folder = Folder::new();
    let table = folder.put("t.csv", b"a,b,y\n0.1,0.2,0\n0.3,0.4,1\n");
    let ran = run(&[
        "attack",
        "digits-robust",
        "--data",
        &table,
        "--map",
        "spatial",
        "--attack",
        "grid",
    ]);
    assert_eq!(ran.code, 2);
}
