//! Outputs: files written whole or not at all, the two streams, and readers that close early.

use std::process::Stdio;

use proofmark::data::ndarray::{ArrayD, Axis};
use proofmark::data::npz::{self, AnyArray, NpzArray};
use proofmark::data::{Options, open};
use proofmark::domain::{Norm, Report};
use proofmark::onnx::writer::{Attr, FLOAT, OnnxWriter};
use serde_json::{Value, json};

use crate::harness::{Folder, attack, command, run};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(path).expect("a file")
}

#[test]
fn every_list_and_both_formats_of_inspect_are_complete() {
    let whole = run(&["list"]);
    assert_eq!((whole.code, whole.err.as_str()), (0, ""));
    for (what, name) in [
        ("attacks", "mi-fgsm"),
        ("probes", "neural_cleanse"),
        ("plants", "A small patch of fixed pixels"),
        ("metrics", "min_robust_recall"),
        ("formats", "json"),
        ("devices", "wgpu"),
        ("models", "digits-robust"),
        ("data", "digits:train"),
        ("trust", "zero-gradients"),
    ] {
        let part = run(&["list", what]);
        assert!(part.code == 0 && part.out.contains(name), "{what}");
        assert!(whole.out.contains(&part.out), "{what}");
    }

    let model = parsed(&run(&["inspect", "digits-robust", "--format", "json"]).out);
    assert_eq!(model["name"], "digits-robust");
    assert_eq!(model["inputs"][0]["shape"], json!([1, 8, 8]));
    assert_eq!(model["access"][2], "gradients");
    let digest = model["sha256"].as_str().expect("a digest");
    assert_eq!(digest.len(), 64);
    let text = run(&["inspect", "digits-robust"]).out;
    assert!(text.contains(digest) && text.contains("71754"), "{text}");
}

#[test]
fn a_report_holds_the_resolved_settings() {
    let folder = Folder::new();
    let out = folder.path("r.json").display().to_string();
    let what = "--attack pgd --eps 8/255 --limit 20 --steps 3 --seed 5 --scale 2 --mean 0.5 --out";
    let mut arguments: Vec<&str> = what.split(' ').collect();
    arguments.push(&out);
    assert_eq!(attack("digits", &arguments).code, 0);
    let report = parsed(&text_of(&out));
    assert_eq!(report["tool"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(report["seed"], 5);
    assert_eq!(report["device"], "cpu");
    assert_eq!(report["preprocessing"]["scale"], 2.0);
    assert_eq!(report["data"]["bounds"]["image"], json!([0.0, 1.0]));
    for what in ["model", "data"] {
        let digest = report[what]["sha256"].as_str();
        assert_eq!(digest.map(str::len), Some(64), "{what}");
    }
    let pgd = &report["attacks"][0];
    assert_eq!(pgd["id"], "pgd");
    assert_eq!(pgd["threat"]["text"], "8/255");
    assert_eq!(pgd["version"], 3);
    assert_eq!(pgd["parameters"]["steps"], 3);
    // Step sizes decay with the square, from four times epsilon; the third step has a ninth of that.
    let step = &pgd["step_size"][0];
    assert_eq!(step["modality"], "image");
    for (which, share) in [("first", 4.0), ("last", 4.0 / 9.0)] {
        let length = step[which].as_f64().unwrap();
        assert!(
            (length - share * 8.0 / 255.0).abs() < 1e-9,
            "{which} {length}"
        );
    }
    for figure in [
        "correct",
        "n",
        "robust_accuracy",
        "ci95",
        "attack_success_rate",
    ] {
        assert!(report["worst_case"].get(figure).is_some(), "{figure}");
    }
    assert_eq!(report["curve"][0]["eps"], 0.0);
    assert_eq!(report["per_class"].as_array().map(Vec::len), Some(10));
    let read: Report = serde_json::from_value(report).expect("its own schema");
    assert_eq!(read.samples.len(), 20);
}

#[test]
fn saved_points_respect_budget_and_bounds_in_every_norm() {
    let folder = Folder::new();
    let clean = open("digits", &Options::default()).expect("shipped");
    let (out, save) = (folder.path("r.json"), folder.path("a.npz"));
    let (out, save) = (out.display().to_string(), save.display().to_string());
    let norms = [(Norm::Linf, "0.2"), (Norm::L2, "1.5"), (Norm::L1, "8")];
    for (norm, eps) in norms {
        let what = format!("--attack pgd --steps 10 --limit 30 --norm {norm} --eps {eps}");
        let mut arguments: Vec<&str> = what.split(' ').collect();
        arguments.extend(["--out", &out, "--save", &save]);
        let ran = attack("digits", &arguments);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let report: Report = serde_json::from_str(&text_of(&out)).expect("its schema");
        let saved = open(&save, &Options::default()).expect("a set");
        let eps: f64 = eps.parse().expect("a number");
        let mut broken = 0;
        for (row, sample) in report.samples.iter().enumerate() {
            assert_eq!(saved.ids[row], sample.id);
            let origin = clean.ids.iter().position(|i| *i == sample.id);
            let origin = origin.expect("the same ids");
            let point = saved.modalities[0].values.row(row);
            assert!(point.iter().all(|v| (0.0..=1.0).contains(v)));
            let origin = clean.modalities[0].values.row(origin);
            let deltas = point.iter().zip(origin);
            let moved = norm.of(deltas.map(|(a, b)| f64::from(*a) - f64::from(*b)));
            assert!(moved <= eps, "{norm}: {moved}");
            assert_eq!(moved > 0.0, sample.broken_by.is_some(), "{norm}");
            assert!(sample.gauge.is_none_or(|g| g <= 1.0), "{norm}");
            let told = sample.distance.unwrap_or(moved);
            assert!((told - moved).abs() < 1e-6, "{norm}: {told} and {moved}");
            broken += usize::from(sample.broken_by.is_some());
        }
        assert!(broken > 3, "{norm}: {broken}");
        let labels = saved.labels.expect("labels");
        assert!(
            labels
                .iter()
                .zip(&report.samples)
                .all(|(l, s)| *l == s.label)
        );
    }
}

#[test]
fn outputs_that_overwrite_each_other_or_a_device_are_refused() {
    let folder = Folder::new();
    let one = folder.path("one").display().to_string();
    let other_way = folder.path("./one").display().to_string();
    for two in [&one, &other_way] {
        let ran = attack("digits", &["--out", &one, "--save", two]);
        assert_eq!(ran.code, 2);
        let told = ran.err.contains("--out and --save are both");
        assert!(told, "{}", ran.err);
    }
    let nowhere = folder.path("no/a.npz").display().to_string();
    let ran = attack("digits", &["--save", &nowhere]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--save"), "{}", ran.err);
    assert!(folder.names().is_empty());

    #[cfg(unix)]
    {
        let pipe = folder.path("pipe").display().to_string();
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo runs").success());
        let ran = attack("digits", &["--out", &pipe]);
        assert_eq!(ran.code, 2);
        for word in ["--out", "device or pipe"] {
            assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
        }
        assert_eq!(folder.names(), ["pipe"]);
    }
}

#[test]
fn an_existing_file_is_replaced_unless_the_run_is_refused() {
    let folder = Folder::new();
    let out = folder.put("r.json", b"old");
    assert_eq!(attack("digits", &["--eps", "nan", "--out", &out]).code, 2);
    assert_eq!(text_of(&out), "old");
    assert_eq!(attack("digits", &["--limit", "20", "--out", &out]).code, 0);
    parsed(&text_of(&out));
    assert_eq!(folder.names(), ["r.json"]);
}

#[test]
fn a_closed_pipe_causes_no_panic() {
    let list = "list";
    let attack =
        "attack digits-robust --data digits --attack fgsm --norm linf --eps 0.1 --limit 20";
    let gate = "gate examples/gate/few.toml --format json";
    for (line, code) in [(list, 0), (attack, 0), (gate, 3)] {
        let arguments: Vec<&str> = line.split(' ').collect();
        for of_errors in [false, true] {
            // The reading end of the pipe is closed before anything is written.
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            let mut command = command(&arguments);
            if of_errors {
                command.stderr(writer).stdout(Stdio::null());
            } else {
                command.stdout(writer).stderr(Stdio::piped());
            }
            let ended = command.output().expect("it runs");
            assert_eq!(ended.status.code(), Some(code), "{line}");
            let told = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(!told.contains("panicked"), "{told}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_under_standard_output_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let ended = command(&["list"]).stdout(full.expect("it opens")).output();
    let ended = ended.expect("it runs");
    assert_eq!(ended.status.code(), Some(2));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(told.contains("standard output"), "{told}");
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn output_has_no_colour_off_a_terminal_and_none_if_quiet() {
    for line in ["gate examples/gate/few.toml", "gate --help", "gate --nope"] {
        let arguments: Vec<&str> = line.split(' ').collect();
        for colour in ["", "1"] {
            let ended = command(&arguments).env("NO_COLOR", colour).output();
            let ended = ended.expect("it runs");
            let escape = [ended.stdout, ended.stderr].concat().contains(&0x1b);
            assert!(!escape, "{line}");
        }
    }
    let quiet = run(&["gate", "examples/gate/few.toml", "--quiet"]);
    assert_eq!((quiet.code, quiet.out + &quiet.err), (3, String::new()));
}

#[test]
fn values_out_of_range_are_named_with_their_flag() {
    let cases: [(&str, &[&str]); 16] = [
        ("--eps -1", &["--eps", "negative"]),
        ("--eps -8/255", &["--eps", "-8/255"]),
        ("--attack pgd --steps -1", &["--steps", "-1"]),
        (
            "--attack pgd --step-size -0.1",
            &["step_size = -0.1", "above 0"],
        ),
        ("--fail-under -1", &["--fail-under -1", "0 to 1"]),
        ("--limit -1", &["--limit", "-1"]),
        ("--targeted -1", &["-1", "least-likely"]),
        ("--bounds 1,0", &["--bounds", "1,0"]),
        ("--bounds nan,1", &["--bounds nan,1", "finite"]),
        ("--forwards 0", &["--forwards 0"]),
        ("--label-column y", &["--label-column", ".csv"]),
        ("--per-sample-eps", &["--per-sample-eps", "`eps`"]),
        ("--shard 3/3", &["--shard", "3/3", "below N"]),
        ("--range 5", &["--range 5", "A..B"]),
        ("--range 0..9999", &["0..9999", "0..899"]),
        ("--set fgsm.loss", &["--set fgsm.loss", "ID.FIELD=VALUE"]),
    ];
    for (line, words) in cases {
        let ran = attack("digits", &line.split(' ').collect::<Vec<_>>());
        assert_eq!(ran.code, 2, "{line}");
        for word in words {
            assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
        }
    }
}

#[test]
fn saved_points_name_what_broke_them_and_keep_originals() {
    let folder = Folder::new();
    let path = folder.path("a.npz");
    let save = path.display().to_string();
    let more = [
        "--attack",
        "fgsm,pgd",
        "--eps",
        "0.05,0.15",
        "--limit",
        "40",
        "--save",
        &save,
    ];
    let arrays = |more: &[&str]| {
        let ran = attack("digits", more);
        assert_eq!(ran.code, 0, "{}", ran.err);
        npz::arrays(&path).expect("an npz")
    };
    let plain = arrays(&more);
    let names: Vec<&str> = plain.iter().map(|(name, _)| name.as_str()).collect();
    assert!(
        !names.iter().any(|n| n.starts_with("original_")),
        "{names:?}"
    );
    let out = folder.path("r.json").display().to_string();
    let all = arrays(&[&more[..], &["--save-originals", "--out", &out]].concat());
    let array = |name: &str| &all.iter().find(|(n, _)| n == name).expect(name).1;
    let (AnyArray::Text(attacks), AnyArray::Text(norms), AnyArray::F32(eps)) = (
        array("group_attack"),
        array("group_norm"),
        array("group_eps"),
    ) else {
        panic!("text, text and numbers");
    };
    let report: Report = serde_json::from_str(&text_of(&out)).expect("a report");
    let digits = open("digits", &Options::default()).expect("shipped");
    let input = &digits.modalities[0].modality.name;
    let (AnyArray::F32(saved), AnyArray::F32(originals)) =
        (array(input.as_str()), array(&format!("original_{input}")))
    else {
        panic!("numbers");
    };
    let mut broken = 0;
    for (i, sample) in report.samples.iter().enumerate() {
        let row = digits
            .ids
            .iter()
            .position(|id| *id == sample.id)
            .expect("a digit");
        let original = originals.index_axis(Axis(0), i);
        assert!(
            original
                .iter()
                .eq(digits.modalities[0].values.row(row).iter())
        );
        let changed = !saved.index_axis(Axis(0), i).iter().eq(original.iter());
        match &sample.broken_by {
            None => {
                assert!(
                    attacks[i].is_empty() && norms[i].is_empty() && eps[i].is_nan() && !changed
                );
            }
            Some(key) => {
                broken += 1;
                let run = report
                    .attacks
                    .iter()
                    .find(|a| a.key == *key)
                    .expect("a run");
                assert_eq!((&attacks[i], norms[i].as_str()), (&run.id, "linf"));
                assert_eq!(eps[i], run.threat.eps as f32);
                assert!(changed);
            }
        }
    }
    assert!(broken > 0);
    // Opened as a set, the original samples are not inputs.
    let back = open(&save, &Options::default()).expect("a set");
    assert_eq!(back.modalities.len(), 1);
    assert_eq!(
        attack("digits", &["--save-originals", "--limit", "5"]).code,
        2
    );
}

/// No file that a command reads is overwritten, under any name or link.
#[test]
#[cfg(unix)]
fn no_file_of_a_data_set_is_overwritten() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).display().to_string();
    let x = ArrayD::from_elem(vec![2, 1, 8, 8], 7_u8);
    let y = ArrayD::from_elem(vec![2], 1_i64);
    let single = |name: &str, array: NpzArray<'_>| {
        let zip = folder.path("one.npz");
        npz::write(&zip, &[("a", array)]).expect("written");
        let bytes = std::fs::read(&zip).expect("there");
        let start = bytes.windows(6).position(|w| w == b"\x93NUMPY");
        let end = bytes.windows(4).position(|w| w == b"PK\x01\x02");
        folder.put(
            name,
            &bytes[start.expect("an array")..end.expect("a directory")],
        )
    };
    let inputs = single("x_test.npy", NpzArray::U8(x.view()));
    single("y_test.npy", NpzArray::I64(y.view()));
    single("truth.npy", NpzArray::I64(y.view()));
    let image = include_bytes!("../../../data/tests/files/jpeg/gray.jpg");
    for class in ["set/cat", "elsewhere"] {
        std::fs::create_dir_all(folder.path(class)).expect("made");
        folder.put(&format!("{class}/0.jpg"), image);
    }
    std::os::unix::fs::symlink(folder.path("elsewhere"), folder.path("set/dog")).expect("a link");
    let set = path("set");
    let labels = ["--labels-file", &path("truth.npy")];
    for (data, more, over) in [
        (&inputs, &[][..], "x_test.npy"),
        (&inputs, &[], "y_test.npy"),
        (&inputs, &labels, "truth.npy"),
        (&set, &[], "set/cat/0.jpg"),
        (&set, &[], "elsewhere/0.jpg"),
    ] {
        let (before, over) = (std::fs::read(path(over)).expect("there"), path(over));
        for line in [
            ["infer", "digits-robust", "--data", data, "--out", &over].as_slice(),
            &[
                "attack",
                "digits-robust",
                "--data",
                data,
                "--attack",
                "fgsm",
                "--norm",
                "linf",
                "--eps",
                "0.1",
                "--classes",
                "cat=1,dog=2,1=3",
                "--save",
                &over,
            ],
        ] {
            let ran = run(&[line, more].concat());
            assert_eq!(ran.code, 2, "{}", ran.err);
            let told = ran.err.contains("--data would be written over");
            assert!(told, "{line:?}: {}", ran.err);
            assert_eq!(std::fs::read(&over).expect("there"), before);
        }
    }
}

/// Whole numbers are saved with the integer type they had.
#[test]
fn saved_whole_numbers_are_read_by_the_model_again() {
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).display().to_string();
    let model = |dtype: i32| {
        let bytes = OnnxWriter::new(17)
            .input_of("x", dtype, "N,2")
            .output_of("y", FLOAT, "N,2")
            .constant("w", &[2, 2], &[1.0, 0.0, 0.0, 1.0])
            .node("Cast", &["x"], &["f"], &[("to", Attr::Int(1))])
            .node("MatMul", &["f", "w"], &["y"], &[])
            .bytes();
        folder.put(&format!("m{dtype}.onnx"), &bytes)
    };
    let n = 20;
    let whole: Vec<f32> = (0..n)
        .flat_map(|i| [50.0, 50.0 + (i % 9) as f32 - 4.0])
        .collect();
    let y = ArrayD::from_shape_vec(vec![n], (0..n).map(|i| i64::from(i % 9 > 4)).collect());
    let y = y.expect("a shape");
    for (dtype, kind, model) in [
        ("uint8", "uint8", model(2)),
        ("int64", "int64", model(7)),
        ("uint8", "uint8", model(7)),
        ("float32", "int64", model(7)),
        ("int64", "float32", model(FLOAT)),
    ] {
        let x = AnyArray::whole(dtype, &[n, 2], &whole).unwrap_or_else(|| {
            let floats = ArrayD::from_shape_vec(vec![n, 2], whole.clone());
            floats.expect("a shape").into()
        });
        let data = path("in.npz");
        npz::write(
            folder.path("in.npz").as_path(),
            &[("x", x.view()), ("y", NpzArray::I64(y.view()))],
        )
        .expect("written");
        let (saved, out, report) = (path("adv.npz"), path("out.npz"), path("r.json"));
        let ran = run(&[
            "attack",
            &model,
            "--data",
            &data,
            "--bounds",
            "0,100",
            "--attack",
            "pgd",
            "--norm",
            "linf",
            "--eps",
            "3",
            "--save",
            &saved,
            "--save-originals",
            "--out",
            &report,
        ]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let arrays = npz::arrays(saved.as_ref()).expect("arrays");
        let array = |name: &str| &arrays.iter().find(|(n, _)| n == name).expect(name).1;
        assert_eq!(array("x").dtype(), kind, "{dtype} for {model}");
        assert_eq!(array("original_x").dtype(), kind);
        let ran = run(&["infer", &model, "--data", &saved, "--out", &out]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let AnyArray::F32(scores) = npz::arrays(out.as_ref()).expect("arrays").remove(0).1 else {
            panic!("scores");
        };
        let samples: Report = serde_json::from_str(&text_of(&report)).expect("a report");
        let mut broken = 0;
        for (row, sample) in scores.axis_iter(Axis(0)).zip(&samples.samples) {
            // On a tie the first class wins.
            let decided = usize::from(row[1] > row[0]);
            let expected = sample.adv_pred.filter(|_| sample.broken_by.is_some());
            assert_eq!(decided, expected.or(sample.clean_pred).expect("a decision"));
            broken += usize::from(expected.is_some());
        }
        assert!(broken > 3, "{broken}");
    }
}
