//! Criteria other than misclassification: regressors and multi-label models as users bring them, leads and ranks of
//! classifiers, and curves.

use std::fmt::Write as _;

use proofmark::data::ndarray::{ArrayD, IxDyn};
use proofmark::data::npz::{self, AnyArray, NpzArray};
use proofmark::domain::{Report, RunStatus};
use proofmark::onnx::writer::{FLOAT, OnnxWriter};

use crate::harness::{Folder, Ran, attack as digits, command, run};

const N: usize = 40;
const WEIGHTS: [f32; 4] = [1.0, -2.0, 0.5, 1.5];

fn number(i: usize) -> f32 {
    0.3 + 0.4 * ((i as f64 * 0.618_033_988_749_894_9).fract() as f32)
}

fn inputs() -> Vec<[f32; 4]> {
    (0..N)
        .map(|i| [4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3].map(number))
        .collect()
}

fn predicted(x: &[f32; 4]) -> f64 {
    let terms = x.iter().zip(WEIGHTS);
    terms.map(|(x, w)| f64::from(*x) * f64::from(w)).sum()
}

/// Off by at most 0.6 from what the model predicts; every fifth target is off by more than 0.5.
fn targets() -> Vec<f64> {
    let off = |i: usize| 0.15 * (i % 5) as f64 * if i.is_multiple_of(2) { 1.0 } else { -1.0 };
    inputs()
        .iter()
        .enumerate()
        .map(|(i, x)| predicted(x) + off(i))
        .collect()
}

/// Returns a linear regressor whose output has shape `[N, 1]`, or `[N]` if `flat`.
fn regressor(flat: bool) -> Vec<u8> {
    let writer = OnnxWriter::new(18)
        .input_of("x", FLOAT, "N,4")
        .constant("w", &[4, 1], &WEIGHTS)
        .integers("axes", &[1]);
    if flat {
        let writer = writer.node("MatMul", &["x", "w"], &["s"], &[]);
        writer
            .node("Squeeze", &["s", "axes"], &["z"], &[])
            .output("z")
            .bytes()
    } else {
        writer
            .node("MatMul", &["x", "w"], &["z"], &[])
            .output("z")
            .bytes()
    }
}

fn array<T>(shape: &[usize], values: Vec<T>) -> ArrayD<T> {
    ArrayD::from_shape_vec(IxDyn(shape), values).expect("a shape")
}

fn save(folder: &Folder, name: &str, y: impl Into<AnyArray>) -> String {
    let y = y.into();
    let x = array(&[N, 4], inputs().concat());
    let path = folder.path(name);
    npz::write(&path, &[("x", NpzArray::F32(x.view())), ("y", y.view())]).expect("written");
    path.display().to_string()
}

fn table(folder: &Folder, column: &str) -> String {
    let mut text = format!("a,b,c,d,{column}\n");
    for (x, y) in inputs().iter().zip(targets()) {
        let _ = writeln!(text, "{},{},{},{},{y}", x[0], x[1], x[2], x[3]);
    }
    folder.put(&format!("{column}.csv"), text.as_bytes())
}

fn attack(model: &str, data: &str, more: &[&str]) -> Ran {
    let mut arguments = vec![
        "attack", model, "--data", data, "--bounds", "0,1", "--attack", "pgd", "--norm", "linf",
    ];
    if !more.iter().any(|m| m.starts_with("--eps")) {
        arguments.extend(["--eps", "0.05"]);
    }
    arguments.extend(more);
    run(&arguments)
}

fn report(folder: &Folder, model: &str, data: &str, more: &[&str]) -> Report {
    let out = folder.path("report.json").display().to_string();
    let ran = attack(model, data, &[more, &["--out", &out]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let text = std::fs::read_to_string(&out).expect("written");
    serde_json::from_str(&text).expect("a report")
}

#[track_caller]
fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
}

/// An output moves by at most epsilon times the absolute sum of the weights, 5.
fn holds(eps: f64) -> usize {
    let held = |(x, y): (&[f32; 4], f64)| (predicted(x) - y).abs() + 5.0 * eps <= 0.5;
    inputs().iter().zip(targets()).filter(|s| held(*s)).count()
}

#[test]
fn a_regressor_is_as_robust_as_the_closed_form_says_in_every_form_it_comes_in() {
    let folder = Folder::new();
    let (column, flat) = (
        folder.put("column.onnx", &regressor(false)),
        folder.put("flat.onnx", &regressor(true)),
    );
    let (one, two) = (array(&[N], targets()), array(&[N, 1], targets()));
    let narrow: Vec<f32> = targets().iter().map(|y| *y as f32).collect();
    let narrow = array(&[N], narrow);
    let sets = [
        save(&folder, "one.npz", one),
        save(&folder, "two.npz", two),
        save(&folder, "narrow.npz", narrow),
        table(&folder, "y"),
        table(&folder, "target"),
        table(&folder, "price"),
    ];
    let expected = [0.0, 0.02, 0.05, 0.09].map(holds);
    assert!(expected.windows(2).all(|w| w[0] > w[1]), "{expected:?}");
    for model in [&column, &flat] {
        for data in &sets {
            // A random start may put the farther side ahead.
            let mut more = vec!["--criterion", "regression=0.5", "--restarts", "6"];
            more.extend(["--eps", "0.02,0.05,0.09"]);
            if data.ends_with("price.csv") {
                more.extend(["--label-column", "price"]);
            }
            let report = report(&folder, model, data, &more);
            let curve: Vec<usize> = report.curve.iter().map(|p| p.correct).collect();
            assert_eq!(curve, expected, "{model} {data}");
            assert_eq!(report.clean.correct, expected[0]);
            assert_eq!(report.per_class, []);
            let criterion = &report.config["criterion"];
            assert_eq!(criterion["text"], "regression=0.5");
            assert_eq!(criterion["reference"], "data");
            assert_eq!(criterion["all"][0]["bound"][0], 0.5);
            assert_eq!(report.attacks[0].parameters["loss"], "criterion");
            let trusted = |f: &proofmark::domain::TrustFlag| f.cured;
            assert!(report.trust.iter().all(trusted), "{:?}", report.trust);
            for (i, sample) in report.samples.iter().enumerate() {
                let (clean, target) = (f64::from(sample.clean_outputs[0]), targets()[i]);
                assert!((clean - predicted(&inputs()[i])).abs() < 1e-6);
                assert_eq!(sample.clean_correct, (clean - target).abs() <= 0.5);
                if sample.broken_by.is_some() {
                    let moved = f64::from(sample.adv_outputs[0]) - target;
                    assert!(moved.abs() > 0.5 && sample.adv_pred == Some(1));
                } else {
                    assert!(sample.adv_outputs.is_empty());
                }
            }
        }
    }
}

#[test]
fn the_models_own_answer_can_be_the_reference_and_an_interval_needs_none() {
    let folder = Folder::new();
    let model = folder.put("m.onnx", &regressor(true));
    let x = array(&[N, 4], inputs().concat());
    let path = folder.path("x.npz");
    npz::write(&path, &[("x", NpzArray::F32(x.view()))]).expect("written");
    let data = path.display().to_string();
    // 5 × 0.05 is below 0.26 and above 0.24.
    for (bound, held) in [("regression=0.26", N), ("regression=0.24", 0)] {
        let more = ["--criterion", bound, "--labels", "predicted"];
        let report = report(&folder, &model, &data, &more);
        assert_eq!(report.clean.correct, N, "nothing differs from itself");
        assert_eq!(report.worst_case.correct, held, "{bound}");
        assert_eq!(report.config["criterion"]["reference"], "clean-outputs");
    }
    let all: Vec<f64> = inputs().iter().map(predicted).collect();
    let inside = |room: f64| {
        all.iter()
            .filter(|y| (0.2 + room..=0.9 - room).contains(*y))
            .count()
    };
    let report = report(&folder, &model, &data, &["--criterion", "interval=0.2,0.9"]);
    assert_eq!(
        (report.clean.correct, report.worst_case.correct),
        (inside(0.0), inside(0.25))
    );
    refused(
        &attack(&model, &data, &["--criterion", "regression=1"]),
        &["x.npz", "no targets", "--arrays", "--labels predicted"],
    );
}

#[test]
fn minimum_norm_and_decision_based_attacks_find_the_distance_of_a_regressor() {
    let folder = Folder::new();
    let model = folder.put("m.onnx", &regressor(false));
    let y = array(&[N], targets());
    let data = save(&folder, "set.npz", y);
    let more = [
        "--criterion",
        "regression=0.5",
        "--attack",
        "fmn",
        "--eps",
        "0.02,0.05,0.09",
    ];
    let report = report(&folder, &model, &data, &more);
    let fmn: Vec<usize> = report
        .attacks
        .iter()
        .filter(|a| a.id == "fmn")
        .map(|a| a.correct)
        .collect();
    assert_eq!(fmn, [0.02, 0.05, 0.09].map(holds));
    let out = folder.path("h.json").display().to_string();
    let ran = run(&[
        "attack",
        &model,
        "--data",
        &data,
        "--bounds",
        "0,1",
        "--attack",
        "hopskipjump",
        "--norm",
        "l2",
        "--eps",
        "0.5",
        "--limit",
        "8",
        "--criterion",
        "regression=0.5",
        "--out",
        &out,
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let text = std::fs::read_to_string(&out).expect("written");
    let report: Report = serde_json::from_str(&text).expect("a report");
    for sample in report.samples.iter().filter(|s| s.clean_correct) {
        let place = sample.id.to_string().parse::<usize>().expect("a row");
        let off = (predicted(&inputs()[place]) - targets()[place]).abs();
        // The Euclidean length of the weights is √7.5. Decisions do not say which side is nearer.
        let [near, far] = [0.5 - off, 0.5 + off].map(|gap| gap / 7.5_f64.sqrt());
        let run = report.attacks.iter().position(|a| a.id == "hopskipjump");
        let outcome = &sample.runs[run.expect("ran")];
        assert_eq!(outcome.status, RunStatus::Broken, "{place}");
        let found = outcome.distance.expect("found");
        assert!(
            found >= near - 1e-5 && found < 1.1 * far,
            "{found} {near} {far}"
        );
    }
}

/// Returns a model of three labels, with a Sigmoid at its end or without.
fn labeller(sigmoid: bool) -> Vec<u8> {
    let weights = [
        1.0, -1.0, 0.0, -1.0, 0.0, 1.0, 0.0, 1.0, -1.0, 0.5, 0.5, 0.5,
    ];
    let writer = OnnxWriter::new(18)
        .input_of("x", FLOAT, "N,4")
        .constant("w", &[4, 3], &weights)
        .constant("b", &[3], &[-0.2, -0.3, 0.1]);
    let writer = writer.node("MatMul", &["x", "w"], &["s"], &[]);
    let last = if sigmoid { "z" } else { "y" };
    let writer = writer.node("Add", &["s", "b"], &[last], &[]);
    if sigmoid {
        writer
            .node("Sigmoid", &["z"], &["y"], &[])
            .output("y")
            .bytes()
    } else {
        writer.output("y").bytes()
    }
}

fn logits(x: &[f32; 4]) -> [f64; 3] {
    let x = x.map(f64::from);
    let last = 0.5 * x[3];
    [
        x[0] - x[1] + last - 0.2,
        -x[0] + x[2] + last - 0.3,
        x[1] - x[2] + last + 0.1,
    ]
}

#[test]
fn a_multi_label_model_is_attacked_label_by_label() {
    let folder = Folder::new();
    let (with, without) = (
        folder.put("with.onnx", &labeller(true)),
        folder.put("without.onnx", &labeller(false)),
    );
    let applies: Vec<bool> = inputs().iter().flat_map(logits).map(|z| z > 0.0).collect();
    let y = array(&[N, 3], applies);
    let data = save(&folder, "set.npz", y);
    // Each logit moves by at most 2.5 epsilon, all at once or each alone.
    let room = 2.5 * 0.05;
    let near = |z: [f64; 3]| z.iter().filter(|z| z.abs() < room).count();
    let count =
        |of: &dyn Fn([f64; 3]) -> bool| inputs().iter().map(logits).filter(|z| of(*z)).count();
    let any = count(&|z| near(z) == 0);
    let second = count(&|z| z[1].abs() >= room);
    assert!(any > 0 && any < N && second > any, "{any} {second}");
    for model in [&with, &without] {
        let correct = |criterion: &str| {
            let more = ["--criterion", criterion, "--steps", "60", "--restarts", "3"];
            let report = report(&folder, model, &data, &more);
            assert_eq!(report.clean.correct, N, "{criterion}");
            report.worst_case.correct
        };
        assert_eq!(correct("multi-label"), any, "{model}");
        assert_eq!(correct("multi-label:label=1"), second, "{model}");
        // Two labels near their threshold may pull in opposite directions.
        assert!(
            correct("multi-label:least=2") >= count(&|z| near(z) < 2),
            "{model}"
        );
    }
    let floats = array(&[N, 3], vec![0.5_f32; 3 * N]);
    let bad = save(&folder, "bad.npz", floats);
    refused(
        &attack(&with, &bad, &["--criterion", "multi-label"]),
        &["bad.npz", "`y`", "row 0", "0 or 1"],
    );
}

#[test]
fn criteria_that_do_not_fit_are_refused_with_what_to_do() {
    let folder = Folder::new();
    let model = folder.put("m.onnx", &regressor(false));
    let y = array(&[N], targets());
    let numbers = save(&folder, "numbers.npz", y);
    let y = array(&[N, 2], [targets(), targets()].concat());
    let pairs = save(&folder, "pairs.npz", y);
    let y = array(&[N], (0..N).map(|i| format!("class {i}")).collect());
    let names = save(&folder, "names.npz", y);
    let regression = ["--criterion", "regression=0.5"];
    let with = |more: &[&'static str]| [&regression[..], more].concat();
    for (data, more, words) in [
        (
            &numbers,
            vec![],
            &["a class: a whole number", "--criterion regression"][..],
        ),
        (
            &numbers,
            with(&["--loss", "dlr"]),
            &["attack `pgd`", "loss", "regression=0.5"],
        ),
        (
            &numbers,
            with(&["--set", "pgd.loss=ce"]),
            &["attack `pgd`", "loss"],
        ),
        (
            &numbers,
            with(&["--targeted", "0"]),
            &["target class", "--targeted"],
        ),
        (
            &numbers,
            with(&["--per-class"]),
            &["--per-class", "no class"],
        ),
        (
            &numbers,
            with(&["--output-kind", "logit"]),
            &["--output-kind logit contradicts"],
        ),
        (
            &numbers,
            with(&["--criterion", "top-k=2"]),
            &["about values, the other about classes"],
        ),
        (
            &numbers,
            vec!["--criterion", "regression=0.5:output=1"],
            &["an output below 1"],
        ),
        (
            &numbers,
            vec!["--criterion", "regresion=0.5"],
            &["did you mean `regression`"],
        ),
        (&pairs, with(&[]), &["1 outputs", "2 per sample"]),
        (&names, with(&[]), &["names.npz", "`y`", "numbers"]),
        (&numbers, vec!["--criterion", "multi-label"], &["0 or 1"]),
        (
            &numbers,
            vec!["--criterion", "margin=1", "--labels", "predicted"],
            &["a class: a whole number"],
        ),
    ] {
        refused(&attack(&model, data, &more), words);
    }
    // A model of one number is no classifier.
    let x = array(&[N, 4], inputs().concat());
    let path = folder.path("x.npz");
    npz::write(&path, &[("x", NpzArray::F32(x.view()))]).expect("written");
    let alone = attack(
        &model,
        &path.display().to_string(),
        &["--labels", "predicted"],
    );
    refused(
        &alone,
        &["`z`", "one number per sample", "--criterion regression"],
    );
    // A classifier is no regressor.
    refused(
        &digits("digits", &regression),
        &["digits-robust", "classifier", "margin=K"],
    );
    refused(
        &digits("digits", &["--criterion", "top-k=10"]),
        &["k below 10"],
    );
}

#[test]
fn leads_and_ranks_of_a_classifier() {
    let folder = Folder::new();
    let out = folder.path("report.json").display().to_string();
    let correct = |more: &[&str]| {
        let ran = digits(
            "digits",
            &[
                &[
                    "--attack", "apgd", "--limit", "80", "--eps", "0.15", "--out", &out,
                ],
                more,
            ]
            .concat(),
        );
        assert_eq!(ran.code, 0, "{}", ran.err);
        let report: Report = serde_json::from_str(&std::fs::read_to_string(&out).expect("written"))
            .expect("a report");
        (report.clean.correct, report.worst_case.correct, ran.err)
    };
    let plain = correct(&[]);
    let [zero, small, large] =
        ["margin=0", "margin=1", "margin=8"].map(|c| correct(&["--criterion", c]));
    // A lead of 0 is misclassification, and a larger lead is harder to reach.
    assert_eq!((plain.0, plain.1), (zero.0, zero.1));
    assert!(
        zero.1 < small.1 && small.1 < large.1,
        "{} {} {}",
        zero.1,
        small.1,
        large.1
    );
    let [one, three] = ["top-k=1", "top-k=3"].map(|c| correct(&["--criterion", c]));
    assert!(
        one.1.abs_diff(plain.1) <= 2 && three.1 > one.1,
        "{} {}",
        one.1,
        three.1
    );
    assert!(
        three.0 >= one.0,
        "more labels are among three than among one"
    );
    assert!(
        three
            .2
            .contains("criterion top-k=3: an attack succeeds where the label is not among")
    );
    let both = correct(&["--criterion", "margin=1", "--criterion", "top-k=3"]);
    assert!(
        both.1 >= small.1.max(three.1),
        "{} {} {}",
        both.1,
        small.1,
        three.1
    );
    let targeted = correct(&["--criterion", "margin=1", "--targeted", "next"]);
    assert!(targeted.1 >= small.1, "{} {}", targeted.1, small.1);
    // Losses keep their meaning for criteria about classes.
    assert!(correct(&["--criterion", "margin=1", "--loss", "dlr"]).1 <= small.1 + 3);
}

#[test]
fn a_curve_is_drawn_and_classes_are_listed() {
    let folder = Folder::new();
    let plot = folder.path("curve.svg").display().to_string();
    let arguments = [
        "attack",
        "digits-robust",
        "--data",
        "digits",
        "--attack",
        "fgsm,fmn",
        "--set",
        "fmn.steps=20",
        "--norm",
        "linf",
        "--eps",
        "0.05,0.1,0.2",
        "--limit",
        "40",
        "--plot",
        &plot,
        "--per-class",
    ];
    let ran = |columns: &str| {
        let output = command(&arguments)
            .env("COLUMNS", columns)
            .output()
            .expect("runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let wide = ran("100");
    let curve: Vec<&str> = (wide.lines())
        .skip_while(|l| !l.starts_with("accuracy by epsilon"))
        .skip(1)
        .take(4)
        .collect();
    assert!(
        curve[0].starts_with("linf 0 ") && curve[3].contains("     0.2 "),
        "{curve:?}"
    );
    assert!(
        curve.iter().all(|l| l.contains('█') && l.contains('[')),
        "{curve:?}"
    );
    assert!(wide.contains("worst case  95 % interval"), "{wide}");
    assert!(!wide.contains('\u{1b}'));
    let narrow = ran("26");
    let bars = narrow.lines().filter(|l| l.contains('█')).count();
    assert_eq!(bars, 0, "{narrow}");
    let svg = std::fs::read_to_string(&plot).expect("written");
    assert!(
        svg.starts_with("<svg") && svg.matches("<circle").count() == 4,
        "{svg}"
    );
    let one = digits("digits", &["--limit", "10", "--plot", &plot]);
    assert_eq!(one.code, 0);
    assert!(!one.err.contains("accuracy by epsilon"));
    refused(
        &digits("digits", &["--plot", &plot, "--out", &plot]),
        &["--out and --plot are both"],
    );
}

#[test]
fn a_policy_judges_any_criterion() {
    let folder = Folder::new();
    folder.put("m.onnx", &regressor(false));
    let y = array(&[N], targets());
    save(&folder, "set.npz", y);
    let policy = |criterion: &str, more: &str| {
        format!(
            r#"schema = "proofmark/policy/1"
[[model]]
name = "m"
path = "m.onnx"
[[data]]
name = "d"
path = "set.npz"
bounds = [0, 1]
[[check]]
id = "c"
kind = "robustness"
model = "m"
data = "d"
criterion = {criterion}
threat = {{ norm = "linf", eps = 0.05 }}
attacks = ["pgd"]
{more}
"#
        )
    };
    let out = folder.path("out").display().to_string();
    let gate = |text: &str, more: &[&str]| {
        let path = folder.put("policy.toml", text.as_bytes());
        run(&[&["gate", &path], more].concat())
    };
    let needs = |share: f64| format!("require = \"robust_accuracy >= {share}\"");
    let easy = policy("\"regression=2\"", &needs(0.8));
    let passed = gate(&easy, &["--out-dir", &out]);
    assert_eq!(passed.code, 0, "{}", passed.err);
    let again = gate(&easy, &["--from-evidence", &out]);
    assert_eq!(again.code, 0, "{}", again.err);
    let hard = gate(&policy("[\"regression=0.5\"]", &needs(0.9)), &[]);
    assert_eq!(hard.code, 1, "{}", hard.err);
    // Evidence for another criterion is none.
    let other = gate(
        &policy("\"regression=3\"", &needs(0.8)),
        &["--from-evidence", &out],
    );
    assert_eq!(other.code, 2, "{}", other.err);
    assert!(other.err.contains("criterion"), "{}", other.err);
    for (text, words) in [
        (
            policy("\"regresion=2\"", &needs(0.5)),
            &["criterion", "did you mean `regression`"][..],
        ),
        (policy("5", &needs(0.5)), &["expected a criterion such as"]),
        (policy("[]", &needs(0.5)), &["must not be empty"]),
        (
            policy("\"regression=2\"", "require = \"recall(0) >= 0.5\""),
            &["`recall(0)` is about classes"],
        ),
        (
            policy("\"regression=2\"", &needs(0.5))
                .replace("[\"pgd\"]", "[{ id = \"pgd\", loss = \"dlr\" }]"),
            &["losses for the scores of classes"],
        ),
        (
            policy("\"top-k=2\"", &needs(0.5)),
            &["a class: a whole number"],
        ),
    ] {
        refused(&gate(&text, &[]), words);
    }
}

#[test]
fn shards_of_a_regression_are_merged_and_saved_points_keep_their_targets() {
    let folder = Folder::new();
    let model = folder.put("m.onnx", &regressor(false));
    let y = array(&[N], targets());
    let data = save(&folder, "set.npz", y);
    let regression = ["--criterion", "regression=0.5"];
    let whole = report(&folder, &model, &data, &regression);
    let parts: Vec<String> = (0..3)
        .map(|i| {
            let out = folder.path(&format!("{i}.json")).display().to_string();
            let shard = format!("{i}/3");
            let ran = attack(
                &model,
                &data,
                &[&regression[..], &["--shard", &shard, "--out", &out]].concat(),
            );
            assert_eq!(ran.code, 0, "{}", ran.err);
            out
        })
        .collect();
    let merged = folder.path("merged.json").display().to_string();
    let ran = run(&["merge", &parts[0], &parts[1], &parts[2], "--out", &merged]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let merged: Report = serde_json::from_str(&std::fs::read_to_string(&merged).expect("written"))
        .expect("a report");
    assert_eq!(merged.samples, whole.samples);
    assert_eq!(
        (merged.curve, merged.worst_case),
        (whole.curve.clone(), whole.worst_case)
    );
    let saved = folder.path("saved.npz").display().to_string();
    let ran = attack(
        &model,
        &data,
        &[&regression[..], &["--save", &saved]].concat(),
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    // Judged without attack, exactly the broken samples and those that did not hold before fail.
    let again = report(
        &folder,
        &model,
        &saved,
        &[&regression[..], &["--eps", "0.000001"]].concat(),
    );
    assert_eq!(again.clean.correct, whole.worst_case.correct);
}
