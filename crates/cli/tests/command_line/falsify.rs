//! Properties against the shipped models.

use std::fmt::Write as _;
use std::process::Stdio;

use proofmark::data::vnnlib;
use proofmark::models::{DecisionModel as _, Query, ScoreModel as _};
use proofmark::threats::Batch;

use crate::harness::{Folder, command, run};

/// Returns a property: sample `row` of the shipped digits may change by `eps` per pixel, and any other class must win.
fn property(row: usize, eps: f32) -> String {
    let data = proofmark::open("digits").expect("it is shipped");
    let label = data.labels.as_ref().expect("labels")[row];
    let mut text = String::from("; a digit and its surroundings\n");
    let mut say = |line: String| writeln!(text, "{line}").expect("a String");
    for i in 0..64 {
        say(format!("(declare-const X_{i} Real)"));
    }
    for j in 0..10 {
        say(format!("(declare-const Y_{j} Real)"));
    }
    for (i, v) in data.modalities[0].values.row(row).iter().enumerate() {
        let (low, high) = ((v - eps).max(0.0), (v + eps).min(1.0));
        say(format!(
            "(assert (>= X_{i} {low}))\n(assert (<= X_{i} {high}))"
        ));
    }
    let rivals: Vec<String> = (0..10)
        .filter(|j| *j != label)
        .map(|j| format!("(and (>= Y_{j} Y_{label}))"))
        .collect();
    say(format!("(assert (or {}))", rivals.join(" ")));
    text
}

/// Returns the numbers of one letter in `((X_0 v) … (Y_0 v) …)`.
fn numbers(text: &str, letter: char) -> Vec<f64> {
    let pairs = text
        .lines()
        .skip(1)
        .map(|l| l.trim_matches(['(', ')', ' ']));
    pairs
        .filter_map(|pair| pair.split_once(' '))
        .filter(|(name, _)| name.starts_with(letter))
        .enumerate()
        .map(|(i, (name, v))| {
            assert_eq!(name, format!("{letter}_{i}"));
            v.parse().expect("a number")
        })
        .collect()
}

#[test]
fn a_counterexample_is_written_and_satisfies_the_property() {
    let folder = Folder::new();
    let file = folder.put("p.vnnlib", property(0, 0.3).as_bytes());
    let out = folder.path("found.txt").display().to_string();
    let ran = run(&["falsify", "digits-standard", &file, "--out", &out]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "sat\n"), "{}", ran.err);
    assert!(ran.err.contains("margin"), "{}", ran.err);
    let text = std::fs::read_to_string(&out).expect("written");
    assert!(text.starts_with("sat\n((X_0 "), "{text}");
    let (x, y) = (numbers(&text, 'X'), numbers(&text, 'Y'));

    let spec = vnnlib::open(folder.path("p.vnnlib").as_path()).expect("readable");
    assert_eq!((x.len(), y.len()), (spec.inputs, spec.outputs));
    assert!(spec.cases[0].inputs.contains(&x));
    let device = proofmark::device("cpu").expect("a device");
    let model = proofmark::model("digits-standard", &device).expect("it is shipped");
    let values = x.iter().map(|x| *x as f32).collect();
    let inputs = model.signature().modalities.clone();
    let at = Batch::from_host(inputs, vec![values], &device).expect("a row");
    let scores = model.scores(&Query::one_per_row(at, &[0])).expect("scores");
    let scores = scores.into_data().try_to_vec::<f32>().expect("floats");
    assert!(spec.cases.iter().any(|c| c.satisfied(&scores)));
    assert!(scores.iter().zip(&y).all(|(a, b)| f64::from(*a) == *b));

    // The same seed finds the same point; an existing file is replaced whole.
    let again = run(&[
        "falsify",
        "digits-standard",
        &file,
        "--out",
        &out,
        "--quiet",
    ]);
    assert_eq!((again.code, again.err.as_str()), (0, ""));
    assert_eq!(std::fs::read_to_string(&out).expect("written"), text);
    assert_eq!(folder.names(), ["found.txt", "p.vnnlib"]);
}

#[test]
fn a_search_without_a_counterexample_prints_unknown() {
    let folder = Folder::new();
    let file = folder.put("p.vnnlib", property(0, 0.001).as_bytes());
    let out = folder.path("found.txt").display().to_string();
    let ran = run(&[
        "falsify",
        "digits-robust",
        &file,
        "--timeout",
        "2",
        "--out",
        &out,
    ]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "unknown\n"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("no proof"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(&out).expect("written"), "unknown\n");
}

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let folder = Folder::new();
    let good = property(0, 0.1);
    let put = |name: &str, text: &str| folder.put(name, text.as_bytes());
    let file = put("good.vnnlib", &good);
    let inputs = put(
        "inputs.vnnlib",
        "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1))(assert (>= X_0 0))",
    );
    let outputs = put(
        "outputs.vnnlib",
        &good.replace(
            "(declare-const Y_9 Real)",
            "(declare-const Y_9 Real)(declare-const Y_10 Real)",
        ),
    );
    let syntax = put(
        "syntax.vnnlib",
        &good.replace("(assert (or", "(assert (xor"),
    );
    let missing = folder.path("missing.vnnlib").display().to_string();
    let here = folder.path("").display().to_string();
    let out = folder.path("found.txt").display().to_string();
    let before = folder.names();
    let cases: [(&[&str], &[&str]); 9] = [
        (
            &["digits-standard", &inputs],
            &["inputs.vnnlib", "1 inputs", "64"],
        ),
        (
            &["digits-standard", &outputs],
            &["outputs.vnnlib", "11 outputs", "10"],
        ),
        (
            &["digits-standard", &syntax],
            &["syntax.vnnlib", "line 204", "xor", "expected"],
        ),
        (&["digits-standard", &missing], &["missing.vnnlib"]),
        (
            &["digits-standrad", &file],
            &["did you mean `digits-standard`"],
        ),
        (&["nowhere.onnx", &file], &["nowhere.onnx"]),
        (
            &["digits-standard", &file, "--timeout", "0"],
            &["--timeout 0"],
        ),
        (
            &["digits-standard", &file, "--timeout", "-1"],
            &["--timeout -1"],
        ),
        (&["digits-standard", &file, "--device", "tpu"], &["tpu"]),
    ];
    for (arguments, words) in cases {
        let mut all = vec!["falsify"];
        all.extend(arguments);
        all.extend(["--out", &out]);
        let ran = run(&all);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (2, ""),
            "{arguments:?}: {}",
            ran.err
        );
        for word in words {
            assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
        }
    }
    let ran = run(&["falsify", "digits-standard", &file, "--out", &here]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--out"), "{}", ran.err);
    assert_eq!(folder.names(), before);
}

#[test]
#[cfg(unix)]
fn an_interrupted_search_exits_130_and_leaves_no_file() {
    let folder = Folder::new();
    let file = folder.put("p.vnnlib", property(0, 0.001).as_bytes());
    let out = folder.path("found.txt").display().to_string();
    let mut child = command(&["falsify", "digits-robust", &file, "--out", &out])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let asked = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(asked.expect("kill runs").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(folder.names(), ["p.vnnlib"]);
}
