//! Gates run in shards, from evidence, with digests, and stopped halfway.

use serde_json::Value;

use crate::harness::{Folder, run};

/// Two checks that pass, on a few samples.
const POLICY: &str = r#"schema = "proofmark/policy/1"
seed = 3

[[model]]
name = "mine"
path = "digits-robust"
sha256 = "MODEL"

[[check]]
id = "clean"
kind = "clean"
model = "mine"
data = "digits"
limit = 60
require = "accuracy >= 0.80"

[[check]]
id = "robust"
kind = "robustness"
model = "mine"
data = "digits"
limit = 60
threat = { norm = "linf", eps = "0.1" }
attacks = ["fgsm", { id = "pgd", steps = 10 }]
require = "robust_accuracy >= 0.60"
"#;

fn digest(model: &str) -> String {
    let model = run(&["inspect", model, "--format", "json"]);
    let model: Value = serde_json::from_str(&model.out).expect("JSON");
    model["sha256"].as_str().expect("a digest").to_owned()
}

fn policy(folder: &Folder) -> String {
    let text = POLICY.replace("MODEL", &digest("digits-robust"));
    folder.put("policy.toml", text.as_bytes())
}

/// Returns the exit code and JSON of a gate without its costs.
fn judged(arguments: &[&str]) -> (i32, Value) {
    let ran = run(&[&["gate", "--quiet", "--format", "json"], arguments].concat());
    assert_eq!(ran.err, "");
    let report = serde_json::from_str(&ran.out).expect("JSON alone");
    (ran.code, without_cost(report))
}

fn without_cost(mut report: Value) -> Value {
    for check in report["checks"].as_array_mut().expect("checks") {
        check["cost"].take();
    }
    report
}

/// Asserts exit code 2 before anything is measured or written.
fn refused(folder: &Folder, arguments: &[&str], words: &[&str]) {
    let before = folder.names();
    let ran = run(&[&["gate"], arguments].concat());
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
    assert_eq!(folder.names(), before);
}

#[test]
fn three_shards_judged_together_equal_the_whole_gate() {
    let folder = Folder::new();
    let policy = policy(&folder);
    let parts = folder.path("parts").display().to_string();
    let whole = folder.path("whole").display().to_string();
    for shard in ["2/3", "0/3", "1/3"] {
        let ran = run(&["gate", &policy, "--out-dir", &parts, "--shard", shard]);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    }
    let together = judged(&[&policy, "--from-evidence", &parts]);
    let unsharded = judged(&[&policy, "--out-dir", &whole]);
    assert_eq!(together, unsharded);

    // Fields that scripts read.
    let (code, report) = unsharded;
    assert_eq!((code, report["verdict"].as_str()), (0, Some("pass")));
    let policy_digest = report["policy"]["sha256"].as_str();
    assert_eq!(policy_digest.map(str::len), Some(64));
    assert!(report["findings"].is_array());
    let fields = "id kind verdict observed ci threshold evidence";
    for field in fields.split(' ') {
        assert!(report["checks"][1].get(field).is_some(), "no `{field}`");
    }
    let kept = std::fs::read(folder.path("whole/gate.json")).expect("kept");
    let kept: Value = serde_json::from_slice(&kept).expect("JSON");
    // PGD requested scores of 60 samples for at most ten steps.
    let cost = &kept["checks"][1]["cost"];
    assert!(cost["seconds"].as_f64() > Some(0.0), "{cost}");
    assert!(
        cost["forward"].as_u64() <= cost["computed"].as_u64(),
        "{cost}"
    );
    assert_eq!(without_cost(kept), report);

    // A missing shard is an error, not a smaller whole.
    let gone = folder.path("parts/robust.shard-1-of-3.json");
    std::fs::remove_file(gone).expect("it is there");
    let (code, report) = judged(&[&policy, "--from-evidence", &parts]);
    assert_eq!((code, report["verdict"].as_str()), (2, Some("error")));
}

#[test]
fn finished_checks_are_reused_and_others_measured_again() {
    let folder = Folder::new();
    let policy = policy(&folder);
    let dir = folder.path("run").display().to_string();
    let first = judged(&[&policy, "--out-dir", &dir]);
    let file = |check: &str| folder.path(&format!("run/{check}.json"));
    let read = |check: &str| std::fs::read_to_string(file(check)).expect("evidence");
    let clean = read("clean");
    // One file is damaged: only that check is measured again.
    std::fs::write(file("robust"), "{").expect("writable");
    let again = judged(&[&policy, "--resume", &dir, "--out-dir", &dir]);
    assert_eq!(again, first);
    assert_eq!(read("clean"), clean);
    assert!(read("robust").len() > 1_000);

    // Evidence with another seed than the policy's is not reused.
    let other = clean.replace("\"seed\": 3", "\"seed\": 4");
    assert_ne!(other, clean);
    std::fs::write(file("clean"), other).expect("writable");
    assert_eq!(judged(&[&policy, "--resume", &dir]), first);
    assert_ne!(judged(&[&policy, "--from-evidence", &dir]).0, 0);
}

#[test]
fn a_resumed_check_ends_with_the_evidence_of_an_unstopped_run() {
    let folder = Folder::new();
    let policy = policy(&folder);
    let path = |name: &str| folder.path(name).display().to_string();
    let (dir, whole) = (path("run"), path("whole"));
    let expected = judged(&[&policy, "--out-dir", &whole]);
    let evidence = |of: &str| {
        let text = std::fs::read(folder.path(&format!("{of}/robust.json"))).expect("evidence");
        let mut report: Value = serde_json::from_slice(&text).expect("JSON");
        report["seconds"] = Value::Null;
        for attack in report["attacks"].as_array_mut().expect("attacks") {
            attack["seconds"] = Value::Null;
            // Restarts that had been started early are run again.
            attack["computed"] = Value::Null;
        }
        report
    };
    // The policy's limit stops it in the middle of PGD.
    let text = std::fs::read_to_string(&policy).expect("the policy");
    let limited = format!("{text}\n[limits]\nforwards = 2200\n");
    let limited = folder.put("limited.toml", limited.as_bytes());
    let checkpoint = folder.path("run/robust.checkpoint");
    let stop = || {
        let ran = run(&["gate", &limited, "--out-dir", &dir]);
        assert_eq!(ran.code, 3, "{}", ran.err);
        std::fs::read(&checkpoint).expect("a checkpoint")
    };
    stop();
    assert_ne!(evidence("run"), evidence("whole"));

    let goes_on = run(&["gate", &policy, "--resume", &dir, "--out-dir", &dir]);
    assert_eq!(goes_on.code, expected.0, "{}", goes_on.err);
    let told = "check `robust` goes on from";
    assert!(goes_on.err.contains(told), "{}", goes_on.err);
    assert_eq!(evidence("run"), evidence("whole"));
    assert!(!checkpoint.exists(), "it is done");

    // A damaged checkpoint and one of another policy are not reused, and a note says why.
    let kept = stop();
    let more = folder.put(
        "more.toml",
        text.replace("steps = 10", "steps = 11").as_bytes(),
    );
    let mut damaged = kept.clone();
    *damaged.last_mut().expect("bytes") ^= 1;
    let cases = [
        (&more, &kept, "parameters.steps is 10, expected 11"),
        (&policy, &damaged, "was changed or cut short"),
    ];
    for (policy, bytes, words) in cases {
        std::fs::write(&checkpoint, bytes).expect("writable");
        let again = run(&["gate", policy, "--resume", &dir]);
        assert_eq!(again.code, expected.0, "{}", again.err);
        for word in ["`robust` is measured again", words] {
            assert!(again.err.contains(word), "no `{word}` in: {}", again.err);
        }
    }
    assert_eq!(judged(&[&policy, "--resume", &dir]), expected);
}

#[test]
fn a_model_with_another_digest_stops_the_gate_before_it_runs() {
    let folder = Folder::new();
    let (found, expected) = (digest("digits-robust"), digest("digits-standard"));
    let text = POLICY.replace("MODEL", &expected);
    let policy = folder.put("p.toml", text.as_bytes());
    let dir = folder.path("run").display().to_string();
    let words = ["p.toml", "model `mine`", "sha256", &found, &expected];
    refused(&folder, &[&policy, "--out-dir", &dir], &words);
}

#[test]
fn time_that_runs_out_never_passes() {
    let folder = Folder::new();
    let (code, report) = judged(&[&policy(&folder), "--time-budget", "0.001"]);
    assert_ne!(code, 0);
    assert_ne!(report["verdict"], "pass");
}

#[test]
fn bad_folders_and_formats_are_named_and_nothing_is_written() {
    let folder = Folder::new();
    let policy = policy(&folder);
    let file = folder.put("file", b"");
    let here = folder.path("").display().to_string();
    let none = folder.path("none").display().to_string();
    let new = folder.path("new").display().to_string();
    let cases: [(&[&str], &[&str]); 10] = [
        (
            &[&policy, "--from-evidence", &none, "--out-dir", &new],
            &["--from-evidence", "none"],
        ),
        (&[&policy, "--resume", &none], &["--resume", "none"]),
        (&[&policy, "--resume", &file], &["--resume", "file"]),
        (&[&policy, "--out-dir", &file], &["--out-dir", "file"]),
        (&[&policy, "--shard", "0/3"], &["--out-dir"]),
        (&[&policy, "--format", "jsno"], &["did you mean `json`"]),
        (
            &[&policy, "--format", "svg", "--out-dir", &new],
            &["no svg of a gate report"],
        ),
        (&[&policy, "--time-budget", "-1"], &["--time-budget -1"]),
        (&[&here], &["expected a policy file"]),
        (&[&none], &["none", "expected a policy file"]),
    ];
    for (arguments, words) in cases {
        refused(&folder, arguments, words);
    }
}

#[test]
#[cfg(unix)]
fn an_interrupted_gate_keeps_only_whole_evidence() {
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::Duration;

    let folder = Folder::new();
    let long = POLICY
        .replace("MODEL", &digest("digits-robust"))
        .replace("steps = 10", "steps = 1000000");
    let policy = folder.put("p.toml", long.as_bytes());
    let dir = folder.path("run").display().to_string();
    let mut child = crate::harness::command(&["gate", &policy, "--out-dir", &dir])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // The second check has started once the first check's evidence exists.
    let clean = folder.path("run/clean.json");
    for _ in 0..200 {
        if clean.exists() {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    sleep(Duration::from_millis(300));
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
    for _ in 0..200 {
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        sleep(Duration::from_millis(50));
    }
    // A run that has not ended after ten seconds never ends.
    let _ = child.kill();
    let ended = child.wait_with_output().expect("it ended");
    assert_eq!(ended.status.code(), Some(130));
    let told = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(told.contains("--resume"), "{told}");
    let names: Vec<_> = std::fs::read_dir(folder.path("run"))
        .expect("a folder")
        .map(|e| e.expect("an entry").file_name())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(folder.path("run/robust.checkpoint").exists());
    let kept = std::fs::read(clean).expect("evidence");
    serde_json::from_slice::<Value>(&kept).expect("whole");
}

#[test]
fn evidence_of_another_run_is_refused_and_the_field_is_named() {
    let folder = Folder::new();
    let policy = policy(&folder);
    let dir = folder.path("run").display().to_string();
    let whole = judged(&[&policy, "--out-dir", &dir]);
    assert_eq!(whole.0, 0);
    let robust = folder.path("run/robust.json").display().to_string();
    let text = std::fs::read_to_string(&policy).expect("the policy");
    let gate = |from: &str, to: &str| {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text);
        let other = folder.put("other.toml", other.as_bytes());
        let ran = run(&["gate", &other, "--quiet", "--out-dir", &dir]);
        assert_ne!(ran.code, 2, "{}", ran.err);
    };
    // The same runs, but not made by a policy.
    let attack = || {
        let base = "attack digits-robust --data digits --attack fgsm,pgd --set pgd.steps=10 --norm linf --eps 0.1 --limit 60 --seed 3 --quiet --out";
        let mut arguments: Vec<&str> = base.split(' ').collect();
        arguments.push(&robust);
        assert_eq!(run(&arguments).code, 0);
    };
    let cases = [
        (
            "steps = 10",
            "steps = 11",
            "check.attacks[1].steps is 11, expected 10",
        ),
        (
            "steps = 10",
            "steps = 10, loss = \"dlr\"",
            "check.attacks[1].loss is \"dlr\", expected absent",
        ),
        (
            "limit = 60\nthreat",
            "limit = 50\nthreat",
            "check.limit is 50, expected 60",
        ),
        (
            "eps = \"0.1\"",
            "eps = \"0.2\"",
            "check.threat.eps is \"0.2\", expected \"0.1\"",
        ),
        ("seed = 3", "seed = 4", "seed is"),
        ("", "", "only what `gate` measured"),
    ];
    for (from, to, words) in cases {
        if from.is_empty() {
            attack();
        } else {
            gate(from, to);
        }
        let (code, report) = judged(&[&policy, "--from-evidence", &dir]);
        assert_eq!(
            (code, report["verdict"].as_str()),
            (2, Some("error")),
            "{to}"
        );
        let told = report["findings"].to_string().replace("\\\"", "\"");
        assert!(
            told.contains("mismatched-evidence") && told.contains(words),
            "{told}"
        );
        // With --resume the check is measured again, and a note says why.
        let resumed = run(&["gate", &policy, "--resume", &dir]);
        assert_eq!(resumed.code, 0, "{}", resumed.err);
        assert!(resumed.err.contains("is measured again"), "{}", resumed.err);
        // With another seed, the mismatch is found in the samples.
        let why = if to == "seed = 4" {
            "samples_sha256"
        } else {
            words
        };
        assert!(resumed.err.contains(why), "{}", resumed.err);
    }
}

/// Evidence is judged without the model and data files; a note names data without a stated sha256.
#[test]
fn evidence_is_judged_without_model_and_data() {
    let folder = Folder::new();
    let data = folder.put("data.csv", digits_csv().as_bytes());
    let text = POLICY
        .replace("MODEL", &digest("digits-robust"))
        .replace("data = \"digits\"", "data = \"own\"")
        .replace(
            "[[check]]\nid = \"clean\"",
            "[[data]]\nname = \"own\"\npath = \"data.csv\"\nbounds = [0, 1]\n\n[[check]]\nid = \"clean\"",
        );
    let policy = folder.put("policy.toml", text.as_bytes());
    let dir = folder.path("run").display().to_string();
    let whole = judged(&[&policy, "--out-dir", &dir]);
    std::fs::remove_file(data).expect("it is there");
    let ran = run(&["gate", &policy]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    let ran = run(&[
        "gate",
        &policy,
        "--from-evidence",
        &dir,
        "--device",
        "wgpu:77",
        "--format",
        "json",
    ]);
    assert_eq!(ran.code, whole.0, "{}", ran.err);
    let report: Value = serde_json::from_str(&ran.out).expect("JSON alone");
    assert_eq!(without_cost(report), whole.1);
    for word in ["data `own` was not opened", "sha256 = \""] {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
    assert!(
        !ran.err.contains("model `mine` was not opened"),
        "its digest is stated"
    );
}

/// Returns some digits as a table with the label last.
fn digits_csv() -> String {
    let digits = proofmark::open("digits")
        .expect("shipped")
        .limit(200, Default::default());
    let values = &digits.modalities[0].values;
    let line = |cells: Vec<String>, last: &str| format!("{},{last}\n", cells.join(","));
    let names = (0..values.ncols()).map(|f| format!("p{f}")).collect();
    let labels = digits.labels.as_ref().expect("labels");
    let rows = values.outer_iter().zip(labels).map(|(row, label)| {
        let cells = row.iter().map(ToString::to_string).collect();
        line(cells, &label.to_string())
    });
    std::iter::once(line(names, "label")).chain(rows).collect()
}

#[test]
fn a_stop_before_the_clean_samples_is_inconclusive() {
    let folder = Folder::new();
    let text = POLICY
        .replace("MODEL", &digest("digits-robust"))
        .replace("seed = 3", "seed = 3\n[limits]\nforwards = 10");
    let policy = folder.put(
        "limited.toml",
        text.replace("[limits]\nforwards = 10\n", "").as_bytes(),
    );
    assert_eq!(judged(&[&policy]).0, 0);
    let policy = folder.put("limited.toml", text.as_bytes());
    let dir = folder.path("run").display().to_string();
    let (code, report) = judged(&[&policy, "--out-dir", &dir]);
    // The clean samples of the first check took 180 forwards; the second check requested nothing.
    assert_eq!(
        (code, report["verdict"].as_str()),
        (3, Some("inconclusive"))
    );
    let verdict = |i: usize| report["checks"][i]["verdict"].clone();
    assert_eq!(
        (verdict(0), verdict(1)),
        (Value::from("pass"), Value::from("inconclusive"))
    );
    let kept = std::fs::read(folder.path("run/robust.json")).expect("kept");
    let kept: Value = serde_json::from_slice(&kept).expect("JSON");
    assert_eq!(kept["clean"]["invalid"], 60);
    assert_eq!(kept["samples"][0]["runs"][0]["status"], "stopped");
}

#[test]
fn a_sequential_check_ends_early_and_its_shards_judge_like_the_whole() {
    let folder = Folder::new();
    let text = POLICY.replace("MODEL", &digest("digits-robust"));
    let text = text.replace("limit = 60\nthreat", "sampling = \"sequential\"\nthreat");
    let policy = folder.put("policy.toml", text.as_bytes());
    let path = |name: &str| folder.path(name).display().to_string();
    let (dir, parts) = (path("run"), path("parts"));
    let (code, whole) = judged(&[&policy, "--out-dir", &dir]);
    let robust = &whole["checks"][1];
    assert_eq!((code, robust["verdict"].as_str()), (0, Some("pass")));
    let looks = [57, 113, 225, 450, 899];
    assert_eq!(robust["sampling"]["kind"], "sequential");
    assert_eq!(robust["sampling"]["looks"], serde_json::json!(looks));
    let made = robust["sampling"]["made"].as_u64().expect("a number");
    assert!(made < 5, "{robust}");
    assert_eq!(robust["n"], looks[made as usize - 1]);
    assert!(whole["checks"][0].get("sampling").is_none(), "it is fixed");
    let told = run(&["gate", &policy, "--from-evidence", &dir]);
    let look = format!("(look {made} of 5)");
    assert!(told.err.contains(&look), "{}", told.err);

    for shard in ["1/2", "0/2"] {
        let ran = run(&["gate", &policy, "--out-dir", &parts, "--shard", shard]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let together = judged(&[&policy, "--from-evidence", &parts]);
    assert_eq!(together, (code, whole.clone()));

    // A harder threshold: the shards decide it, the evidence that ended early does not, and is measured again.
    let harder = text.replace("robust_accuracy >= 0.60", "robust_accuracy >= 0.82");
    let harder = folder.put("harder.toml", harder.as_bytes());
    let (code, open) = judged(&[&harder, "--from-evidence", &dir]);
    assert_eq!((code, open["verdict"].as_str()), (3, Some("inconclusive")));
    let expected = judged(&[&harder, "--from-evidence", &parts]);
    assert_eq!(expected.0, 0, "{}", expected.1);
    let again = run(&["gate", &harder, "--resume", &dir, "--out-dir", &dir]);
    assert!(
        again.err.contains("`robust` is measured again"),
        "{}",
        again.err
    );
    assert_eq!(judged(&[&harder, "--from-evidence", &dir]), expected);

    // An audit takes the number of samples as fixed.
    let report = path("run/robust.json");
    let audit = run(&["audit", "--report", &report, "--groups", "class"]);
    assert_eq!(audit.code, 2, "{}", audit.err);
    assert!(
        audit.err.contains("its sampling is sequential"),
        "{}",
        audit.err
    );
}
