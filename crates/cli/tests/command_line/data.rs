//! Real-world data sets: how they are read, and the notes and errors about them.

use std::io::Write as _;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use proofmark::data::ndarray::{Array1, Array2, ArrayD};
use proofmark::data::npz::{AnyArray, write};
use proofmark::onnx::writer::{FLOAT, OnnxWriter};
use serde_json::Value;

use crate::harness::{Folder, Ran, run};

/// Writes a model that predicts class 1 if its only feature is above 50.5.
fn above_half(folder: &Folder) -> String {
    let model = OnnxWriter::new(17)
        .input_of("x", FLOAT, "N,1")
        .output_of("y", FLOAT, "N,2")
        .constant("w", &[1, 2], &[0.0, 1.0])
        .constant("b", &[2], &[50.5, 0.0])
        .node("Gemm", &["x", "w", "b"], &["y"], &[]);
    folder.put("above.onnx", &model.bytes())
}

fn npz(folder: &Folder, name: &str, arrays: &[(&str, AnyArray)]) -> String {
    let path = folder.path(name);
    let views: Vec<_> = arrays.iter().map(|(n, a)| (*n, a.view())).collect();
    write(&path, &views).expect("written");
    path.display().to_string()
}

fn column<T: Clone>(values: Vec<T>) -> ArrayD<T> {
    let n = values.len();
    Array2::from_shape_vec((n, 1), values)
        .expect("n values")
        .into_dyn()
}

fn labels(n: u8) -> Vec<i64> {
    (0..n).map(|v| i64::from(v > 50)).collect()
}

fn attacked(folder: &Folder, model: &str, data: &str, more: &[&str]) -> (Ran, Value) {
    let out = folder.path("report.json").display().to_string();
    let mut arguments = vec![
        "attack", model, "--data", data, "--attack", "fgsm", "--norm", "linf", "--eps", "1",
        "--out", &out,
    ];
    arguments.extend(more);
    let ran = run(&arguments);
    let report =
        std::fs::read(&out).map_or(Value::Null, |b| serde_json::from_slice(&b).expect("JSON"));
    (ran, report)
}

#[track_caller]
fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
}

/// Regression: tables of bytes or shorts were silently divided by 255 or 32768, which left about half of the
/// predictions right.
#[test]
fn a_table_of_whole_numbers_needs_stated_units_or_bounds() {
    let folder = Folder::new();
    let model = above_half(&folder);
    let y = || ("y", Array1::from(labels(100)).into_dyn().into());
    let bytes: AnyArray = column((0..100_u8).collect()).into();
    let shorts: AnyArray = column((0..100_i16).collect()).into();
    for (name, array, dtype) in [("u1.npz", bytes, "uint8"), ("i2.npz", shorts, "int16")] {
        let data = npz(&folder, name, &[("x", array), y()]);
        let (ran, report) = attacked(&folder, &model, &data, &[]);
        says(
            &ran,
            2,
            &[dtype, "from 0 to 99", "--bounds LO,HI", "--units scaled"],
        );
        assert_eq!(report, Value::Null);
        let bounds = ["--units", "raw", "--bounds", "0,100"];
        for more in [&bounds[..], &bounds[2..]] {
            let (ran, report) = attacked(&folder, &model, &data, more);
            says(&ran, 0, &[&format!("x: {dtype} as stored")]);
            assert_eq!(report["clean"]["correct"], 100, "{more:?}");
            let units = &report["data"]["read_as"]["units"]["x"];
            assert_eq!(*units, format!("{dtype} as stored"));
            std::fs::remove_file(folder.path("report.json")).expect("there");
        }
        let infer = |more: &[&str]| {
            let out = folder.path("out.npz").display().to_string();
            run(&[&["infer", &model, "--data", &data, "--out", &out], more].concat())
        };
        says(
            &infer(&[]),
            2,
            &["`x`", dtype, "--units raw", "--units scaled"],
        );
        says(
            &infer(&["--units", "raw"]),
            0,
            &[&format!("{dtype} as stored")],
        );
        says(&infer(&["--units", "scaled"]), 0, &[&format!("{dtype} / ")]);
    }
    let data = folder.path("u1.npz").display().to_string();
    let (ran, report) = attacked(&folder, &model, &data, &["--units", "raw"]);
    says(&ran, 0, &["x: uint8 as stored, within [0.0,255.0]"]);
    assert_eq!(report["clean"]["correct"], 100);
    let (ran, _) = attacked(&folder, &model, &data, &["--units", "odd"]);
    says(&ran, 2, &["--units", "raw or scaled"]);
}

#[test]
fn choices_of_the_reader_are_noted_and_reported() {
    let folder = Folder::new();
    let model = above_half(&folder);
    let x: AnyArray = column((0..100_u8).map(f32::from).collect()).into();
    let names = labels(100)
        .into_iter()
        .map(|l| ["low", "high"][l as usize].to_owned());
    let names: ArrayD<String> = Array1::from_iter(names).into_dyn();
    let data = npz(&folder, "a.npz", &[("x_test", x), ("y_test", names.into())]);
    let bounds = ["--bounds", "0,100"];
    let (ran, _) = attacked(&folder, &model, &data, &bounds);
    says(&ran, 2, &["`low`", "--classes"]);
    let (ran, report) = attacked(
        &folder,
        &model,
        &data,
        &[&bounds[..], &["--classes", "low,high"]].concat(),
    );
    says(
        &ran,
        0,
        &["note: a.npz: inputs are `x_test`, labels are `y_test`"],
    );
    assert_eq!(report["clean"]["correct"], 100);
    let reading = &report["data"]["read_as"];
    assert_eq!(reading["classes"], serde_json::json!({"low": 0, "high": 1}));
    assert_eq!(reading["class_order"], "stated");
    assert_eq!(reading["notes"].as_array().map(Vec::len), Some(1));
    // In sorted order `high` is class 0, so every label is wrong, as requested.
    let (_, report) = attacked(
        &folder,
        &model,
        &data,
        &[&bounds[..], &["--classes", "sorted"]].concat(),
    );
    assert_eq!(report["clean"]["correct"], 0);
    let quiet = [&bounds[..], &["--classes", "low,high", "--quiet"]].concat();
    assert_eq!(attacked(&folder, &model, &data, &quiet).0.err, "");
    for (more, words) in [
        (&["--classes", "a,a"][..], &["--classes", "named twice"][..]),
        (&["--arrays", "x_test,"], &["--arrays", "INPUTS,LABELS"]),
        (&["--arrays", "x_train"], &["no array `x_train`"]),
        (&["--resize", "8"], &["--resize", "a folder of images"]),
        (&["--label-column", "y"], &["--label-column", ".csv"]),
        (
            &["--bounds", "x_test=0,100", "--bounds", "z=0,1"],
            &["no array `z`"],
        ),
        (&["--bounds", "0;1"], &["--bounds 0;1", "0,1"]),
    ] {
        let names = &["--classes", "low,high"][..];
        let names = if more[0] == "--classes" { &[] } else { names };
        let (ran, _) = attacked(&folder, &model, &data, &[names, more].concat());
        says(&ran, 2, words);
    }
}

/// Returns a grey PNG of 8 × 8 pixels.
fn png(pixels: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in pixels.chunks(8) {
        zlib.write_all(&[&[0], row].concat()).expect("written");
    }
    let chunks: [(&[u8], Vec<u8>); 3] = [
        (b"IHDR", vec![0, 0, 0, 8, 0, 0, 0, 8, 8, 0, 0, 0, 0]),
        (b"IDAT", zlib.finish().expect("finished")),
        (b"IEND", Vec::new()),
    ];
    for (kind, body) in chunks {
        bytes.extend((body.len() as u32).to_be_bytes());
        let mut crc = Crc::new();
        crc.update(&[kind, &body].concat());
        bytes.extend([kind, &body, &crc.sum().to_be_bytes()].concat());
    }
    bytes
}

/// Writes sixty digits to a folder `pictures` and returns them as arrays.
fn pictures(folder: &Folder) -> (Array2<u8>, Vec<usize>) {
    let digits = proofmark::open("digits")
        .expect("shipped")
        .limit(60, Default::default());
    let values = digits.modalities[0]
        .values
        .mapv(|v| (v * 255.0).round() as u8);
    let labels = digits.labels.expect("labels");
    for (i, (pixels, label)) in values.rows().into_iter().zip(&labels).enumerate() {
        let class = folder.path(&format!("pictures/{label}"));
        std::fs::create_dir_all(&class).expect("made");
        let name = class.join(format!("{i:03}.png"));
        std::fs::write(name, png(&pixels.to_vec())).expect("written");
    }
    (values, labels)
}

/// The same pixels give the same figures from a folder, an .npz and two .npy files.
#[test]
fn a_folder_of_images_equals_the_same_arrays() {
    let folder = Folder::new();
    let (values, labels) = pictures(&folder);
    let shape = [60, 1, 8, 8];
    let x: AnyArray = values
        .into_dyn()
        .into_shape_with_order(&shape[..])
        .expect("60 images")
        .into();
    let y: AnyArray = Array1::from_iter(labels.iter().map(|l| *l as f32))
        .into_dyn()
        .into();
    let archive = npz(
        &folder,
        "a.npz",
        &[("images", x.clone()), ("labels", y.clone())],
    );
    for (name, array) in [("x_test", x), ("y_test", y)] {
        let single = npz(&folder, "b.npz", &[(name, array)]);
        let bytes = std::fs::read(&single).expect("there");
        // The archive's only entry is stored uncompressed, from the magic to the directory.
        let start = bytes
            .windows(6)
            .position(|w| w == b"\x93NUMPY")
            .expect("an array");
        let end = bytes
            .windows(4)
            .position(|w| w == b"PK\x01\x02")
            .expect("a directory");
        folder.put(&format!("{name}.npy"), &bytes[start..end]);
    }
    let images = folder.path("pictures").display().to_string();
    let single = folder.path("x_test.npy").display().to_string();
    let figures = [images.as_str(), &archive, &single].map(|set| {
        let out = folder.path("report.json").display().to_string();
        let ran = run(&[
            "attack",
            "digits-robust",
            "--data",
            set,
            "--attack",
            "fgsm",
            "--norm",
            "linf",
            "--eps",
            "0.1",
            "--out",
            &out,
        ]);
        says(&ran, 0, &["uint8 / 255, within [0.0,1.0]"]);
        let report: Value =
            serde_json::from_slice(&std::fs::read(&out).expect("a report")).expect("JSON");
        (
            report["clean"]["correct"].clone(),
            report["attacks"][0]["correct"].clone(),
        )
    });
    assert_eq!(figures[0], figures[1]);
    assert_eq!(figures[1], figures[2]);
    assert!(figures[0].0.as_u64() > Some(50), "{figures:?}");
}

/// For grey instead of colour, colour instead of grey, or another size, the error names the option to add.
#[test]
fn images_the_model_does_not_take_name_the_option() {
    let folder = Folder::new();
    pictures(&folder);
    let images = folder.path("pictures").display().to_string();
    let model = |dims: &str| {
        let bytes = OnnxWriter::new(17)
            .input_of("x", FLOAT, dims)
            .output("y")
            .node("Flatten", &["x"], &["y"], &[])
            .bytes();
        folder.put("m.onnx", &bytes)
    };
    for (dims, more, words) in [
        ("N,3,8,8", &[][..], &["grey", "`--color rgb`"][..]),
        (
            "N,1,8,8",
            &["--color", "rgb"],
            &["in colour", "`--color gray`"],
        ),
        ("N,1,9,9", &[], &["`--resize` and `--crop`"]),
    ] {
        let (ran, _) = attacked(&folder, &model(dims), &images, more);
        says(&ran, 2, words);
    }
    let model = folder.put(
        "t.onnx",
        &OnnxWriter::new(17)
            .input_of("x", FLOAT, "N,3")
            .output("y")
            .node("Relu", &["x"], &["y"], &[])
            .bytes(),
    );
    let table = folder.put("t.csv", b"a,b,c,kind\n0,0,0,1\n");
    let (ran, _) = attacked(&folder, &model, &table, &["--bounds", "0,1"]);
    says(
        &ran,
        2,
        &[
            "note: t.csv: no column is called `label` or `y`: all 4",
            "--label-column",
        ],
    );
}

#[test]
fn a_policy_reads_the_data_sets_that_attack_reads() {
    let folder = Folder::new();
    pictures(&folder);
    let policy = r#"schema = "proofmark/policy/1"
[[data]]
name = "mine"
path = "pictures"
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
crop = "8x8"
color = "gray"

[[check]]
id = "clean"
kind = "clean"
model = "digits-robust"
data = "mine"
limit = 30
require = "accuracy >= 0.7"
"#;
    folder.put("pictures/notes.txt", b"words");
    let ran = run(&["gate", &folder.put("policy.toml", policy.as_bytes())]);
    says(
        &ran,
        0,
        &[
            "note: mine: no images, passed over: notes.txt",
            "verdict: pass",
        ],
    );
    for (field, words) in [
        ("units = \"odd\"", &["odd", "raw or scaled"][..]),
        ("classes = [\"a\", \"a\"]", &["named twice"]),
        ("classes = \"any\"", &["any", "sorted, numeric"]),
        ("arrays = [\"x\", \"y\", \"z\"]", &["INPUTS,LABELS"]),
        ("arrays = [\"x\"]", &["--arrays", "an .npz file"]),
        ("crop = 0", &["size `0`", "N or HxW"]),
        ("resize = \"4x\"", &["4x", "N or HxW"]),
    ] {
        let start = policy.find("classes").expect("a line");
        let end = policy.find("color").expect("a line");
        let wrong = format!("{}{field}\n{}", &policy[..start], &policy[end..]);
        let ran = run(&["gate", &folder.put("wrong.toml", wrong.as_bytes())]);
        says(&ran, 2, words);
    }
    // Only a message that names an option explains the option in terms of a policy.
    let two = policy.replace("\"9\"]", "\"10\"]");
    let ran = run(&["gate", &folder.put("wrong.toml", two.as_bytes())]);
    says(&ran, 2, &["none of the classes stated"]);
    assert!(!ran.err.contains("in a policy"), "{}", ran.err);
    folder.put("t.csv", b"a,y\n0,cat\n1,dog\n");
    let start = policy.find("path").expect("a line");
    let end = policy.find("[[check]]").expect("a line");
    let table = "path = \"t.csv\"\nbounds = [0, 1]\n";
    let wrong = format!("{}{table}{}", &policy[..start], &policy[end..]);
    let ran = run(&["gate", &folder.put("wrong.toml", wrong.as_bytes())]);
    says(&ran, 2, &["`cat`", "--classes", "fields of [[data]]"]);
}

/// A surplus array that could be an input is refused with the option to add, whichever part finds it.
#[test]
fn surplus_arrays_are_refused_with_the_option() {
    let folder = Folder::new();
    let x = || AnyArray::from(column(vec![0.5_f32; 4]));
    let data = npz(
        &folder,
        "two.npz",
        &[
            ("x", x()),
            ("vectors", x()),
            ("y", Array1::from(vec![0_i64; 4]).into_dyn().into()),
        ],
    );
    let model = above_half(&folder);
    let bounds = ["--bounds", "0,1"];
    let (ran, _) = attacked(&folder, &model, &data, &bounds);
    says(&ran, 2, &["`vectors`", "--arrays INPUTS,LABELS"]);
    let (ran, _) = attacked(&folder, "digits-robust", &data, &bounds);
    says(
        &ran,
        2,
        &["2 arrays (x, vectors)", "--arrays INPUTS,LABELS"],
    );
    says(
        &run(&["infer", &model, "--data", &data]),
        2,
        &["`vectors`", "--arrays NAME"],
    );
    let (ran, _) = attacked(
        &folder,
        &model,
        &data,
        &[&bounds[..], &["--arrays", "x,y"]].concat(),
    );
    says(&ran, 0, &[]);
}
