//! Targets of regressions and of several labels, in every form that files use.

use proofmark_data::Options;
use proofmark_domain::Outputs;

use crate::make::*;

fn of(outputs: Outputs) -> Options {
    let mut options = unit();
    options.outputs = outputs;
    options
}

fn with_y(y: Vec<u8>) -> Vec<u8> {
    zipped(&[("x", small_x()), ("y", y)])
}

fn f8s(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn numbers_of_any_type_and_shape_are_targets() {
    let f8 = |shape| npy("<f8", false, shape, &f8s(&[-1.5, 0.1]));
    for (y, width, note) in [
        (f8("(2,)"), 1, None),
        (f8("(2, 1)"), 1, None),
        (
            npy("<i8", false, "(2,)", &i64s(&[7, -3])),
            1,
            Some("whole numbers (int64)"),
        ),
        (
            npy("<f4", true, "(2, 2)", &f32s(&[1.0, 2.0, 3.0, 4.0])),
            2,
            None,
        ),
    ] {
        let set = open_as("a.npz", &with_y(y), &of(Outputs::Values)).unwrap();
        let targets = set.targets.as_ref().unwrap();
        assert_eq!((set.labels.is_none(), targets.dim()), (true, (2, width)));
        let notes = set.read_as.notes.join("");
        assert!(note.is_none_or(|n| notes.contains(n)), "{notes}");
        if width == 2 {
            // Stored by columns.
            assert_eq!(targets.row(1).to_vec(), [2.0, 4.0]);
        }
        let part = set.select(&[1]);
        assert_eq!(part.targets.unwrap().row(0), targets.row(1));
    }
    let digest = |y: &[f64]| {
        let y = with_y(npy("<f8", false, "(2,)", &f8s(y)));
        let set = open_as("a.npz", &y, &of(Outputs::Values)).unwrap();
        set.content_sha256()
    };
    assert_ne!(digest(&[0.0, 1.0]), digest(&[0.0, 2.0]));
}

#[test]
fn classes_are_no_targets_and_targets_no_classes() {
    for (y, outputs, words) in [
        (
            npy("|b1", false, "(2,)", &[0, 1]),
            Outputs::Values,
            vec!["`y`", "|b1", "numbers"],
        ),
        (
            npy("<U1", false, "(2,)", &[b'a', 0, 0, 0, b'b', 0, 0, 0]),
            Outputs::Values,
            vec!["numbers"],
        ),
        (
            npy("|u1", false, "(2, 3)", &[0, 1, 0, 1, 0, 0]),
            Outputs::Values,
            vec!["one-hot", "--arrays"],
        ),
        (
            npy("<f8", false, "(2,)", &f8s(&[0.0, f64::NAN])),
            Outputs::Values,
            vec!["row 1", "a finite number"],
        ),
        (
            npy("<f8", false, "(1, 2, 1)", &f8s(&[0.0, 1.0])),
            Outputs::Values,
            vec!["[n, outputs]"],
        ),
        (
            npy("<f8", false, "(3,)", &f8s(&[0.0, 1.0, 2.0])),
            Outputs::Values,
            vec!["2 rows", "3"],
        ),
        (
            npy("<i8", false, "(2,)", &i64s(&[3, 1])),
            Outputs::Labels,
            vec!["row 0", "0 or 1", "one class per sample"],
        ),
        (
            npy("<i8", false, "(2, 2)", &i64s(&[0, 1, 1, 2])),
            Outputs::Labels,
            vec!["row 1, column 1"],
        ),
        (
            npy("<f8", false, "(2,)", &f8s(&[0.5, 1.0])),
            Outputs::Classes,
            vec!["a class: a whole number", "--criterion regression"],
        ),
        (
            npy("|u1", false, "(2, 2)", &[1, 1, 0, 1]),
            Outputs::Classes,
            vec!["2 ones", "--criterion multi-label"],
        ),
    ] {
        assert_says(&refusal("a.npz", &with_y(y), &of(outputs)), &words);
    }
}

#[test]
fn labels_are_ones_and_zeros() {
    for y in [
        npy("|b1", false, "(2, 2)", &[1, 1, 0, 1]),
        npy("<i8", false, "(2, 2)", &i64s(&[1, 1, 0, 1])),
        npy("<f4", false, "(2, 2)", &f32s(&[1.0, 1.0, 0.0, 1.0])),
    ] {
        let set = open_as("a.npz", &with_y(y), &of(Outputs::Labels)).unwrap();
        let flat: Vec<f64> = set.targets.unwrap().iter().copied().collect();
        assert_eq!(flat, [1.0, 1.0, 0.0, 1.0]);
    }
}

#[test]
fn columns_of_a_table() {
    let read = |file: &str, column: Option<&str>, outputs| {
        let mut options = of(outputs);
        options.label_column = column.map(str::to_owned);
        open_as("a.csv", file.as_bytes(), &options).map_err(|e| e.to_string())
    };
    let flat = |file: &str, column, outputs| -> Vec<f64> {
        let set = read(file, column, outputs).unwrap();
        set.targets.unwrap().iter().copied().collect()
    };
    let one = "a,target,id\n0.5,152.25,u\n1,-3,v\n";
    assert_eq!(flat(one, None, Outputs::Values), [152.25, -3.0]);
    assert_eq!(
        read(one, None, Outputs::Values).unwrap().modalities[0]
            .modality
            .shape,
        [1]
    );
    let two = "a,up,down\n0.5,1,0\n1,0,0\n";
    assert_eq!(
        flat(two, Some("up, down"), Outputs::Labels),
        [1.0, 0.0, 0.0, 0.0]
    );
    let comma = "a,\"up,down\"\n0.5,1.5\n";
    assert_eq!(flat(comma, Some("up,down"), Outputs::Values), [1.5]);
    for (file, column, outputs, words) in [
        (
            two,
            Some("up,dwn"),
            Outputs::Labels,
            vec!["`dwn`", "`down`"],
        ),
        (
            two,
            Some("up,up"),
            Outputs::Labels,
            vec!["`up` is named twice"],
        ),
        (
            "a,y\n0.5,low\n",
            None,
            Outputs::Values,
            vec!["`y`, line 2", "`low`", "a finite number"],
        ),
        ("a,y\n0.5,2\n", None, Outputs::Labels, vec!["`2`", "0 or 1"]),
        ("a,y\n0.5,\n", None, Outputs::Values, vec!["an empty cell"]),
        // `target` is a feature where classes are read.
        ("a,target\n0.5,9\n", None, Outputs::Classes, vec!["9"]),
    ] {
        assert_says(&read(file, column, outputs).unwrap_err(), &words);
    }
}

#[test]
fn targets_beside_inputs_and_classes_that_are_not_used() {
    let folder = Folder::new();
    let x = folder.put("x_test.npy", &small_x());
    folder.put(
        "y_test.npy",
        &npy("<f8", false, "(2,)", &f8s(&[0.25, -4.0])),
    );
    let set = proofmark_data::open(&x, &of(Outputs::Values)).unwrap();
    assert_eq!(
        set.targets.unwrap().iter().copied().collect::<Vec<_>>(),
        [0.25, -4.0]
    );
    let mut options = Options::default();
    options.outputs = Outputs::Values;
    let digits = proofmark_data::open("digits", &options).unwrap();
    assert_eq!((digits.labels, digits.targets), (None, None));
    assert_says(
        &digits.read_as.notes.join(""),
        &["classes of the set are not used"],
    );
}
