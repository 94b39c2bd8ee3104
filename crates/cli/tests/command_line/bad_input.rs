//! Bad input is named in the error, exits with 2 and leaves no files behind.

use proofmark::data::ndarray::ArrayD;
use proofmark::data::npz::{self, NpzArray};

use crate::harness::{Folder, Ran, attack, run};

/// Asserts exit code 2, every word in the message, no panic, and no new files.
fn refused(folder: &Folder, before: &[String], ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 2, "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    assert_eq!(folder.names(), before, "something was left behind");
}

fn npz(
    folder: &Folder,
    name: &str,
    x: &[f32],
    features: usize,
    y: &[i64],
    bounds: Option<[f32; 2]>,
) -> String {
    let rows = x.len() / features.max(1);
    let x = ArrayD::from_shape_vec(vec![rows, features], x.to_vec()).expect("a shape");
    let y = ArrayD::from_shape_vec(vec![y.len()], y.to_vec()).expect("a shape");
    let bounds = bounds.map(|b| ArrayD::from_shape_vec(vec![2], b.to_vec()).expect("a shape"));
    let mut arrays = vec![
        ("x", NpzArray::F32(x.view())),
        ("y", NpzArray::I64(y.view())),
    ];
    if let Some(b) = &bounds {
        arrays.push(("bounds", NpzArray::F32(b.view())));
    }
    let path = folder.path(name);
    npz::write(&path, &arrays).expect("writable");
    path.display().to_string()
}

const UNIT: Option<[f32; 2]> = Some([0.0, 1.0]);

#[test]
fn unusable_data_is_refused() {
    let folder = Folder::new();
    let good = npz(&folder, "good.npz", &[0.5; 128], 64, &[1, 2], UNIT);
    let bytes = std::fs::read(&good).expect("just written");
    let cases: Vec<(String, Vec<&str>, Vec<&str>)> = vec![
        ("nowhere.npz".into(), vec![], vec!["nowhere.npz"]),
        (
            folder.put("cut.npz", &bytes[..bytes.len() / 2]),
            vec![],
            vec!["cut.npz"],
        ),
        (
            folder.put("noise.npz", b"PK not really"),
            vec![],
            vec!["noise.npz"],
        ),
        (
            folder.put(
                "bomb-images-idx3-ubyte",
                &[
                    0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 255, 255, 0, 0, 255, 255,
                ],
            ),
            vec![],
            vec!["bomb-images"],
        ),
        (
            folder.put("ragged.csv", b"a,b,label\n1,2,0\n1,2\n"),
            vec!["--bounds", "0,9"],
            vec!["ragged.csv"],
        ),
        (
            npz(&folder, "shape.npz", &[0.5; 20], 10, &[1, 2], UNIT),
            vec![],
            vec!["10", "64"],
        ),
        (
            npz(&folder, "label.npz", &[0.5; 128], 64, &[1, 10], UNIT),
            vec![],
            vec!["label.npz", "label 10", "at most 9"],
        ),
        (
            npz(&folder, "length.npz", &[0.5; 128], 64, &[1], UNIT),
            vec![],
            vec!["length.npz"],
        ),
        (
            npz(&folder, "nan.npz", &[f32::NAN; 64], 64, &[1], UNIT),
            vec![],
            vec!["nan.npz", "NaN"],
        ),
        (
            npz(&folder, "inf.npz", &[f32::INFINITY; 64], 64, &[1], UNIT),
            vec![],
            vec!["inf.npz", "inf"],
        ),
        (
            npz(&folder, "outside.npz", &[2.0; 64], 64, &[1], UNIT),
            vec![],
            vec!["outside.npz", "2"],
        ),
        (
            npz(&folder, "wide.npz", &[2.0; 64], 64, &[1], Some([0.0, 5.0])),
            vec![],
            vec!["outside the model's bounds"],
        ),
        (
            npz(&folder, "unbounded.npz", &[0.5; 64], 64, &[1], None),
            vec![],
            vec!["--bounds"],
        ),
        (
            npz(&folder, "empty.npz", &[], 64, &[], UNIT),
            vec![],
            vec!["empty.npz"],
        ),
    ];
    let out = folder.path("report.json").display().to_string();
    let before = folder.names();
    for (data, more, words) in cases {
        let mut arguments = more;
        arguments.extend(["--out", &out]);
        refused(&folder, &before, &attack(&data, &arguments), &words);
    }
    // The good file is accepted, so each refusal is due to its fault.
    assert_eq!(attack(&good, &[]).code, 0);
}

#[test]
fn an_absurd_shape_is_refused_before_memory_is_taken() {
    let folder = Folder::new();
    let good = npz(&folder, "good.npz", &[0.5; 128], 64, &[1, 2], UNIT);
    let mut bytes = std::fs::read(good).expect("just written");
    // The header text is found only if it is stored uncompressed; otherwise the damaged file is refused anyway.
    if let Some(at) = bytes.windows(7).position(|w| w == b"(2, 64)") {
        bytes[at..at + 7].copy_from_slice(b"(9999,)");
    }
    let data = folder.put("absurd.npz", &bytes);
    let before = folder.names();
    refused(&folder, &before, &attack(&data, &[]), &["absurd.npz"]);
}

#[test]
fn invalid_flags_are_refused() {
    let folder = Folder::new();
    let before = folder.names();
    let out = folder.path("r.json").display().to_string();
    let cases: [(&[&str], &[&str]); 19] = [
        (&["--eps=-1"], &["-1", "negative"]),
        (&["--eps", "nan"], &["nan", "not a number"]),
        (&["--eps", "8/0"], &["8/0"]),
        (
            &["--attack", "pgd", "--steps", "0"],
            &["steps = 0", "at least 1"],
        ),
        (&["--attack", "pgd", "--step-size", "-1"], &["-1"]),
        (&["--attack", "pdg"], &["pdg", "did you mean `pgd`"]),
        (&["--attack", "pgd", "--loss", "hinge"], &["hinge"]),
        (
            &["--attack", "pgd", "--set", "pgd.stpes=3"],
            &["stpes", "did you mean `steps`"],
        ),
        (&["--attack", "pgd", "--set", "fgsm.loss=ce"], &["fgsm"]),
        (&["--attack", "fgsm", "--steps", "5"], &["--steps"]),
        (&["--norm", "linff"], &["linff", "did you mean `linf`"]),
        (&["--norm", "l0"], &["fgsm", "l0"]),
        (&["--device", "cpuu"], &["cpuu", "did you mean `cpu`"]),
        (&["--limit", "0"], &["--limit 0"]),
        (&["--range", "5..2"], &["5", "2"]),
        (&["--freeze", "imgae"], &["imgae", "did you mean `image`"]),
        (&["--targeted", "12"], &["12", "0 to 9"]),
        (&["--batch-size", "0"], &["batch-size"]),
        (&["--std", "0"], &["std 0"]),
    ];
    for (more, words) in cases {
        let mut arguments = more.to_vec();
        arguments.extend(["--out", &out]);
        refused(&folder, &before, &attack("digits", &arguments), words);
    }
    let ran = run(&[
        "attack",
        "digits-robot",
        "--data",
        "digits",
        "--attack",
        "fgsm",
        "--norm",
        "linf",
        "--eps",
        "0.1",
    ]);
    refused(
        &folder,
        &before,
        &ran,
        &["digits-robot", "did you mean `digits-robust`"],
    );
    refused(
        &folder,
        &before,
        &attack("digit", &[]),
        &["digit", "did you mean `digits`"],
    );
}

#[test]
fn unwritable_outputs_are_refused_before_anything_runs() {
    let folder = Folder::new();
    let before = folder.names();
    let nowhere = folder.path("no/such/folder/r.json").display().to_string();
    refused(
        &folder,
        &before,
        &attack("digits", &["--out", &nowhere]),
        &["cannot write", "r.json"],
    );
    let itself = folder.path("").display().to_string();
    refused(
        &folder,
        &before,
        &attack("digits", &["--save", &itself]),
        &["it is a folder"],
    );
}

#[test]
fn unreadable_policies_are_refused() {
    let folder = Folder::new();
    let binary = folder.put("binary.toml", &[0xff, 0xfe, 0]);
    let not_toml = folder.put("not.toml", b"schema = = 1");
    let empty = folder.put("empty.toml", b"");
    let out = folder.path("out").display().to_string();
    let before = folder.names();
    for (file, word) in [
        (binary, "UTF-8"),
        (not_toml, "line 1"),
        (empty, "schema"),
        (folder.path("none.toml").display().to_string(), "none.toml"),
    ] {
        refused(
            &folder,
            &before,
            &run(&["gate", &file, "--out-dir", &out]),
            &[word],
        );
    }
}

#[test]
fn unmergeable_reports_are_refused() {
    let folder = Folder::new();
    let bad = folder.put("bad.json", b"{}");
    let out = folder.path("merged.json").display().to_string();
    let before = folder.names();
    refused(
        &folder,
        &before,
        &run(&["merge", &bad, "--out", &out]),
        &["bad.json", "not a proofmark report"],
    );
}
