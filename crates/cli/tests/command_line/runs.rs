use proofmark::data::{Options, open};
use proofmark::domain::{Cost, Report};

use crate::harness::{Folder, attack, run};

fn report(path: &std::path::Path) -> Report {
    serde_json::from_slice(&std::fs::read(path).expect("a report")).expect("its schema")
}

#[test]
fn a_report_has_every_field_scripts_depend_on() {
    let folder = Folder::new();
    let out = folder.path("report.json").display().to_string();
    assert_eq!(
        attack(
            "digits",
            &["--attack", "fgsm,pgd", "--limit", "30", "--out", &out]
        )
        .code,
        0
    );
    let value: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&out).expect("a report")).expect("JSON");
    let has = |value: &serde_json::Value, fields: &[&str]| {
        for f in fields {
            assert!(value.get(f).is_some(), "no `{f}` in {value}");
        }
    };
    has(
        &value,
        &[
            "schema",
            "tool",
            "config",
            "model",
            "data",
            "preprocessing",
            "device",
            "seed",
            "seconds",
        ],
    );
    has(
        &value,
        &[
            "clean",
            "attacks",
            "worst_case",
            "curve",
            "per_class",
            "trust",
            "samples",
        ],
    );
    assert_eq!(value["schema"], "proofmark/report/1");
    has(&value["clean"], &["correct", "n", "accuracy", "ci95"]);
    let figures = [
        "id",
        "threat",
        "correct",
        "n",
        "robust_accuracy",
        "ci95",
        "attack_success_rate",
    ];
    has(&value["attacks"][0], &figures);
    has(
        &value["attacks"][0],
        &["forward", "backward", "computed", "seconds"],
    );
    has(&value["attacks"][0]["threat"], &["norm", "eps"]);
    let sample = [
        "id",
        "label",
        "clean_pred",
        "adv_pred",
        "clean_correct",
        "broken_by",
        "gauge",
        "distance",
        "norm",
    ];
    has(&value["samples"][0], &sample);
    assert_eq!(folder.names(), ["report.json"]);
}

#[test]
fn saved_adversarials_are_a_data_set_within_the_budget() {
    let folder = Folder::new();
    let out = folder.path("adversarials.npz").display().to_string();
    let ran = attack(
        "digits",
        &[
            "--attack", "pgd", "--eps", "0.3", "--limit", "40", "--save", &out,
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    let saved = open(&out, &Options::default()).expect("a set");
    let clean = proofmark::open("digits").expect("shipped");
    assert_eq!(saved.len(), 40);
    let mut moved = 0;
    for (row, id) in saved.ids.iter().enumerate() {
        let origin = clean
            .ids
            .iter()
            .position(|i| i == id)
            .expect("the same ids");
        let pairs = saved.modalities[0].values.row(row);
        let largest = pairs
            .iter()
            .zip(clean.modalities[0].values.row(origin))
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs())
            .fold(0.0, f64::max);
        assert!(largest <= 0.3);
        moved += usize::from(largest > 0.0);
    }
    assert!(moved > 5, "{moved} were broken");
    // The saved set can be attacked again.
    assert_eq!(attack(&out, &[]).code, 0);
}

#[test]
fn shards_merge_to_the_whole() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).display().to_string();
    let base = ["--attack", "pgd", "--steps", "10", "--limit", "60", "--out"];
    let go = |out: &str, more: &[&str]| {
        let mut arguments = base.to_vec();
        arguments.push(out);
        arguments.extend(more);
        assert_eq!(attack("digits", &arguments).code, 0);
    };
    go(&path("whole.json"), &[]);
    let parts: Vec<String> = (0..3).map(|i| path(&format!("part-{i}.json"))).collect();
    for (i, part) in parts.iter().enumerate() {
        go(part, &["--shard", &format!("{i}/3")]);
    }
    let merged = path("merged.json");
    let ran = run(&["merge", &parts[2], &parts[0], &parts[1], "--out", &merged]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let plain = |name: &str| {
        let mut r = report(&folder.path(name));
        r.seconds = 0.0;
        r.shard = None;
        for a in &mut r.attacks {
            a.cost = Cost::default();
        }
        r
    };
    assert_eq!(plain("merged.json"), plain("whole.json"));

    let missing = run(&["merge", &parts[0], &parts[1], "--out", &path("short.json")]);
    assert_eq!(missing.code, 2);
    assert!(!folder.path("short.json").exists());
}

#[test]
fn a_gate_can_be_sharded_resumed_and_judged_again() {
    let folder = Folder::new();
    let dir = |name: &str| folder.path(name).display().to_string();
    let policy = "examples/gate/few.toml";
    for i in 0..2 {
        let shard = format!("{i}/2");
        assert_eq!(
            run(&[
                "gate",
                policy,
                "--out-dir",
                &dir("parts"),
                "--shard",
                &shard
            ])
            .code,
            0
        );
    }
    let judged = run(&[
        "gate",
        policy,
        "--from-evidence",
        &dir("parts"),
        "--quiet",
        "--format",
        "json",
    ]);
    let whole = run(&[
        "gate",
        policy,
        "--out-dir",
        &dir("whole"),
        "--quiet",
        "--format",
        "json",
    ]);
    assert_eq!((judged.code, whole.code), (3, 3));
    let verdict = |text: &str| {
        let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
        (
            value["checks"][0]["observed"].clone(),
            value["checks"][0]["ci"].clone(),
        )
    };
    assert_eq!(verdict(&judged.out), verdict(&whole.out));
    assert!(folder.path("whole/gate.json").exists() && folder.path("whole/robust.json").exists());

    // Existing evidence is reused: the rewritten file is identical.
    let before = std::fs::read(folder.path("whole/robust.json")).expect("evidence");
    assert_eq!(
        run(&[
            "gate",
            policy,
            "--resume",
            &dir("whole"),
            "--out-dir",
            &dir("whole")
        ])
        .code,
        3
    );
    assert_eq!(
        before,
        std::fs::read(folder.path("whole/robust.json")).expect("evidence")
    );

    // Evidence of another policy is refused: its attack was weaker than this policy requires.
    let changed = std::fs::read_to_string(crate::harness::root().join(policy)).expect("a policy");
    let changed = folder.put(
        "changed.toml",
        changed
            .replace("\"proofmark-1\"", "\"proofmark-1\", \"fgsm\"")
            .as_bytes(),
    );
    let stale = run(&["gate", &changed, "--from-evidence", &dir("whole")]);
    assert_eq!(stale.code, 2, "{}", stale.err);

    // A check without evidence is an error.
    std::fs::create_dir(folder.path("empty")).expect("a folder");
    assert_eq!(
        run(&["gate", policy, "--from-evidence", &dir("empty")]).code,
        2
    );
}

#[test]
fn limits_nest_and_ranges_keep_file_order() {
    let folder = Folder::new();
    let ids = |name: &str, more: &[&str]| -> Vec<String> {
        let out = folder.path(name).display().to_string();
        let mut arguments = more.to_vec();
        arguments.extend(["--out", &out]);
        assert_eq!(attack("digits", &arguments).code, 0);
        report(&folder.path(name))
            .samples
            .iter()
            .map(|s| s.id.to_string())
            .collect()
    };
    let (small, large) = (
        ids("a.json", &["--limit", "20"]),
        ids("b.json", &["--limit", "50"]),
    );
    assert!(small.iter().all(|i| large.contains(i)));
    assert_ne!(small, ids("c.json", &["--limit", "20", "--seed", "7"]));
    assert_eq!(ids("d.json", &["--range", "10..15"]).len(), 5);
}

#[test]
fn targets_predicted_labels_and_parameters_reach_the_run() {
    let folder = Folder::new();
    let run = |name: &str, more: &[&str]| -> Report {
        let out = folder.path(name).display().to_string();
        let mut arguments = vec![
            "--limit", "40", "--attack", "pgd", "--eps", "0.4", "--out", &out,
        ];
        arguments.extend(more);
        let ran = attack("digits", &arguments);
        assert_eq!(ran.code, 0, "{}", ran.err);
        report(&folder.path(name))
    };
    let targeted = run("targeted.json", &["--targeted", "3"]);
    let reached: Vec<usize> = targeted
        .samples
        .iter()
        .filter(|s| s.broken_by.as_deref().is_some_and(|b| b.starts_with("pgd")))
        .filter_map(|s| s.adv_pred)
        .collect();
    assert!(
        !reached.is_empty() && reached.iter().all(|p| *p == 3),
        "{reached:?}"
    );
    let predicted = run("predicted.json", &["--labels", "predicted"]);
    assert_eq!(predicted.clean.correct, 40);
    let set = run(
        "set.json",
        &[
            "--set",
            "pgd.loss=dlr",
            "--set",
            "pgd.restarts=2",
            "--steps",
            "7",
        ],
    );
    let p = &set.attacks[0].parameters;
    assert_eq!(
        (
            p["loss"].as_str(),
            p["restarts"].as_u64(),
            p["steps"].as_u64()
        ),
        (Some("dlr"), Some(2), Some(7))
    );
    // Robust accuracy never rises with the budget.
    let out = folder.path("curve.json").display().to_string();
    let flags = [
        "--limit",
        "40",
        "--attack",
        "pgd",
        "--norm",
        "l2",
        "--eps",
        "0.2,0.5,1",
        "--out",
        &out,
    ];
    assert_eq!(attack("digits", &flags).code, 0);
    let curve = report(&folder.path("curve.json")).curve;
    assert_eq!(curve.len(), 4);
    assert!(
        curve
            .windows(2)
            .all(|w| w[0].robust_accuracy >= w[1].robust_accuracy)
    );
}

#[test]
fn a_targeted_run_excludes_its_target_class_and_an_empty_one_never_passes() {
    use proofmark::data::npz::{self, NpzArray};

    let folder = Folder::new();
    let digits = proofmark::open("digits").expect("shipped");
    let labels = digits.labels.clone().expect("labels");
    let of = |wanted: &dyn Fn(usize) -> bool, name: &str| {
        let rows: Vec<usize> = (0..400).filter(|r| wanted(labels[*r])).collect();
        let part = digits.select(&rows);
        let shape = [&[rows.len()][..], &part.modalities[0].modality.shape].concat();
        let values: Vec<f32> = part.modalities[0].values.iter().copied().collect();
        let x = proofmark::data::ndarray::ArrayD::from_shape_vec(shape, values).expect("a shape");
        let y: Vec<i64> = rows.iter().map(|r| labels[*r] as i64).collect();
        let y =
            proofmark::data::ndarray::ArrayD::from_shape_vec(vec![y.len()], y).expect("a shape");
        let bounds = proofmark::data::ndarray::ArrayD::from_shape_vec(vec![2], vec![0.0_f32, 1.0]);
        let bounds = bounds.expect("a shape");
        let arrays = [
            ("x", NpzArray::F32(x.view())),
            ("y", NpzArray::I64(y.view())),
            ("bounds", NpzArray::F32(bounds.view())),
        ];
        npz::write(&folder.path(name), &arrays).expect("writable");
        (folder.path(name).display().to_string(), rows.len())
    };
    let (threes, _) = of(&|l| l == 3, "threes.npz");
    let ran = attack(&threes, &["--targeted", "3", "--fail-under", "0.1"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("over 0 samples"), "{}", ran.err);

    let (mixed, n) = of(&|l| l == 3 || l == 8, "mixed.npz");
    let out = folder.path("report.json").display().to_string();
    let ran = attack(&mixed, &["--targeted", "3", "--out", &out]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report = report(&folder.path("report.json"));
    let eights = report.samples.iter().filter(|s| s.label == 8).count();
    assert_eq!((report.clean.n, report.worst_case.n), (n, eights));
    let held = |s: &&proofmark::domain::SampleRecord| {
        s.label == 8 && s.clean_correct && s.broken_by.is_none()
    };
    assert_eq!(
        report.worst_case.correct,
        report.samples.iter().filter(held).count()
    );
}
