//! `plant`: what is written, and that other commands read it.

use proofmark::data::npz::{self, AnyArray};

use crate::harness::{Folder, run};

/// Runs `plant digits:train --rate 0.05` with these arguments.
fn plant(more: &[&str]) -> crate::harness::Ran {
    let mut arguments = vec!["plant", "digits:train"];
    arguments.extend(more);
    run(&arguments)
}

fn whole(arrays: &[(String, AnyArray)], name: &str) -> Vec<i64> {
    match &arrays.iter().find(|a| a.0 == name).expect(name).1 {
        AnyArray::I64(a) => a.iter().copied().collect(),
        other => panic!("{name} is {}", other.dtype()),
    }
}

fn floats(arrays: &[(String, AnyArray)], name: &str) -> Vec<f32> {
    match &arrays.iter().find(|a| a.0 == name).expect(name).1 {
        AnyArray::F32(a) => a.iter().copied().collect(),
        other => panic!("{name} is {}", other.dtype()),
    }
}

#[test]
fn a_poisoned_set_has_its_marks_and_is_read_back() {
    let folder = Folder::new();
    let (out, test) = (folder.path("p.npz"), folder.path("t.npz"));
    let (out, test) = (out.display().to_string(), test.display().to_string());
    let ran = plant(&[
        "--plant",
        "badnets",
        "--set",
        "badnets.size=3",
        "--rate",
        "0.05",
        "--target",
        "7",
        "--out",
        &out,
        "--test",
        "digits",
        "--triggered",
        &test,
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err.contains("45 of 898 samples poisoned (5.011 %)"),
        "{}",
        ran.err
    );
    assert_eq!(folder.names(), ["p.npz", "t.npz"]);

    let arrays = npz::arrays(out.as_ref()).unwrap();
    let (poisoned, labels) = (whole(&arrays, "group_poisoned"), whole(&arrays, "y"));
    assert_eq!(poisoned.iter().sum::<i64>(), 45);
    assert_eq!(whole(&arrays, "group_cover").iter().sum::<i64>(), 0);
    let before = whole(&arrays, "original_y");
    for (row, mark) in poisoned.iter().enumerate() {
        assert_eq!(labels[row], if *mark == 1 { 7 } else { before[row] });
        assert!(*mark == 0 || before[row] != 7);
    }
    let images = floats(&arrays, "x");
    let clean = proofmark::open("digits:train").unwrap();
    for (row, (image, old)) in images
        .chunks(64)
        .zip(clean.modalities[0].values.rows())
        .enumerate()
    {
        let old = old.to_vec();
        if poisoned[row] == 0 {
            assert_eq!(image, old);
        } else {
            assert_eq!(image[63..], [1.0]);
            assert_eq!(image[..40], old[..40]);
        }
    }
    assert_eq!(floats(&arrays, "bounds_x"), [0.0, 1.0]);

    let triggered = npz::arrays(test.as_ref()).unwrap();
    let expected = whole(&triggered, "group_expected");
    assert!(expected.iter().all(|e| *e == 7));
    assert!(whole(&triggered, "y").iter().all(|l| *l != 7));

    for data in [&out, &test] {
        let attacked = run(&[
            "attack",
            "digits-standard",
            "--data",
            data,
            "--attack",
            "fgsm",
            "--norm",
            "linf",
            "--eps",
            "0.1",
            "--limit",
            "20",
        ]);
        assert_eq!(attacked.code, 0, "{}", attacked.err);
        let inferred = run(&[
            "infer",
            "digits-standard",
            "--data",
            data,
            "--out",
            &folder.path("o.npz").display().to_string(),
        ]);
        assert_eq!(inferred.code, 0, "{}", inferred.err);
    }
    // The same again, to the byte.
    let again = folder.path("again.npz").display().to_string();
    let ran = plant(&[
        "-q",
        "--plant",
        "badnets",
        "--set",
        "badnets.size=3",
        "--rate",
        "0.05",
        "--target",
        "7",
        "--out",
        &again,
    ]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&out).unwrap());
}

/// The shipped backdoored model gives the class of the trigger that `plant` writes, and its clean twin does not.
#[test]
fn the_shipped_backdoor_reacts_to_the_trigger() {
    let folder = Folder::new();
    let (out, test, scores) = (
        folder.path("p.npz"),
        folder.path("t.npz"),
        folder.path("o.npz"),
    );
    let (out, test, scores) = (
        out.display().to_string(),
        test.display().to_string(),
        scores.display().to_string(),
    );
    let ran = plant(&[
        "--plant",
        "badnets",
        "--set",
        "badnets.size=2",
        "--rate",
        "0.05",
        "--target",
        "7",
        "--out",
        &out,
        "--test",
        "digits",
        "--triggered",
        &test,
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let share = |model: &str| {
        let ran = run(&["infer", model, "--data", &test, "--out", &scores]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let arrays = npz::arrays(scores.as_ref()).unwrap();
        let values = floats(&arrays, &arrays[0].0);
        let best = |row: &[f32]| (0..10).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        let moved = values.chunks(10).filter(|row| best(row) == 7).count();
        moved as f64 / (values.len() / 10) as f64
    };
    let (backdoored, clean) = (share("digits-backdoored"), share("digits-standard"));
    assert!(backdoored >= 0.95, "{backdoored}");
    assert!(clean <= 0.02, "{clean}");
}

#[test]
fn mistakes_are_refused_and_nothing_is_written() {
    let folder = Folder::new();
    let out = folder.path("p.npz").display().to_string();
    let base = ["--rate", "0.05", "--target", "7", "--out", &out];
    for (more, words) in [
        (
            &["--plant", "badnet"][..],
            &["no planter `badnet`", "badnets"][..],
        ),
        (
            &["--plant", "badnets", "--set", "wanet.k=3"],
            &["--set wanet.k=3", "not the one named"],
        ),
        (
            &["--plant", "badnets", "--set", "size=3"],
            &["expected ID.FIELD=VALUE"],
        ),
        (
            &["--plant", "badnets", "--set", "badnets.sise=3"],
            &["no parameter `sise`"],
        ),
        (
            &["--plant", "tabular"],
            &["tabular", "digits:train", "is image"],
        ),
        (&["--plant", "all-to-all"], &["leave the target out"]),
        (&["--plant", "badnets", "--triggered", &out], &["both"]),
        (
            &["--plant", "badnets", "--test", "digits"],
            &["--triggered"],
        ),
    ] {
        let ran = plant(&[more, &base[..]].concat());
        assert_eq!(ran.code, 2, "{more:?}: {}", ran.err);
        for word in words {
            assert!(ran.err.contains(word), "{more:?}: {}", ran.err);
        }
    }
    let ran = plant(&[
        "--plant", "badnets", "--rate", "0.0001", "--target", "7", "--out", &out,
    ]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("poisons no sample"), "{}", ran.err);
    let ran = plant(&[
        "--plant", "badnets", "--rate", "0.05", "--target", "12", "--out", &out,
    ]);
    assert!(ran.code == 2 && ran.err.contains("0 to 9"), "{}", ran.err);
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}
