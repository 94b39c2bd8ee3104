//! Labels in every form that files use.

use proofmark_data::{Arrays, Classes};
use proofmark_domain::ClassOrder;

use crate::make::*;

fn with_y(y: Vec<u8>) -> Vec<u8> {
    zipped(&[("x", small_x()), ("y", y)])
}

fn text(names: &[&str], width: usize) -> Vec<u8> {
    let cells = names.iter().flat_map(|n| {
        let padded = n.chars().chain(std::iter::repeat('\0')).take(width);
        padded
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect::<Vec<u8>>()
    });
    let shape = format!("({},)", names.len());
    npy(
        &format!("<U{width}"),
        false,
        &shape,
        &cells.collect::<Vec<u8>>(),
    )
}

#[test]
fn numbers_of_any_type_are_indices() {
    let f8s = |v: [f64; 2]| v.map(f64::to_le_bytes).concat();
    for (y, note) in [
        (npy("<i8", false, "(2,)", &i64s(&[1, 0])), None),
        (npy("|u1", false, "(2,)", &[1, 0]), None),
        (npy("|i1", false, "(2,)", &[1, 0]), None),
        (npy(">u2", false, "(2,)", &[0, 1, 0, 0]), None),
        (
            npy("<U1", false, "(2,)", &[b'1', 0, 0, 0, b'0', 0, 0, 0]),
            None,
        ),
        (npy("|u1", false, "(2, 1)", &[1, 0]), Some("[n, 1]")),
        (
            npy("<f8", false, "(2,)", &f8s([1.0, 0.0])),
            Some("floating-point"),
        ),
        (
            npy("<f4", false, "(2,)", &f32s(&[1.0, -0.0])),
            Some("floating-point"),
        ),
        (npy("|b1", false, "(2,)", &[1, 0]), Some("booleans")),
        (
            npy("|u1", false, "(2, 3)", &[0, 1, 0, 1, 0, 0]),
            Some("one-hot"),
        ),
        (npy("|b1", false, "(2, 2)", &[0, 1, 1, 0]), Some("one-hot")),
        (
            npy("<f4", false, "(2, 2)", &f32s(&[0.0, 1.0, 1.0, 0.0])),
            Some("one-hot"),
        ),
        (
            npy("<f4", true, "(2, 2)", &f32s(&[0.0, 1.0, 1.0, 0.0])),
            Some("one-hot"),
        ),
    ] {
        let set = open_as("a.npz", &with_y(y), &unit()).unwrap();
        assert_eq!(set.labels, Some(vec![1, 0]), "{note:?}");
        let notes = set.read_as.notes.join("\n");
        assert_eq!(notes.is_empty(), note.is_none(), "{notes}");
        assert_says(&notes, note.as_slice());
    }
    // A CSV has no types.
    let set = open_as("a.csv", b"a,y\n0,1.0\n0, 0 \n", &unit()).unwrap();
    assert_eq!(set.labels, Some(vec![1, 0]));
}

/// One class alone does not show whether labels count from 0 or 1.
#[test]
fn one_class_alone_does_not_count_from_one() {
    for (values, told) in [
        ([1, 2], true),
        ([1, 1], false),
        ([2, 2], false),
        ([0, 1], false),
    ] {
        let set = open_as("a.npz", &with_y(labels(&values)), &unit()).unwrap();
        let notes = set.read_as.notes.join("");
        assert_eq!(
            notes.contains("--classes numeric"),
            told,
            "{values:?}: {notes}"
        );
    }
}

#[test]
fn values_that_are_not_labels_are_named() {
    let y = |dtype, shape, data: &[u8]| npy(dtype, false, shape, data);
    for (y, words) in [
        (
            y("<f4", "(2,)", &f32s(&[0.0, 0.5])),
            vec!["row 1", "0.5", "whole number"],
        ),
        (
            y("<f4", "(2,)", &f32s(&[0.0, f32::NAN])),
            vec!["row 1", "NaN"],
        ),
        (
            y("<f4", "(2,)", &f32s(&[0.0, f32::INFINITY])),
            vec!["row 1", "inf"],
        ),
        // Whole but not a class: numbers so large are not exact.
        (
            y("<f4", "(2,)", &f32s(&[0.0, 1e30])),
            vec!["row 1", "a class: a whole number"],
        ),
        // Soft labels, two classes at once, no class at all.
        (
            y("<f4", "(2, 2)", &f32s(&[1.0, 0.0, 0.3, 0.7])),
            vec!["row 1", "0.3", "one-hot"],
        ),
        (
            y("|u1", "(2, 2)", &[1, 0, 1, 1]),
            vec!["row 1", "2 ones", "one-hot"],
        ),
        (
            y("|u1", "(2, 2)", &[0, 0, 1, 0]),
            vec!["row 0", "0 ones", "one-hot"],
        ),
        (
            y("|u1", "(2, 1, 1)", &[0, 0]),
            vec!["[2, 1, 1]", "one-hot [n, classes]"],
        ),
        (
            y("|O", "(2,)", &[0; 2]),
            vec!["pickled Python objects", "astype(str)"],
        ),
        (labels(&[-1, 1]), vec!["row 0", "-1", "--classes=-1,1"]),
        (
            text(&["cat", "dog"], 3),
            vec!["row 0", "`cat`", "--classes", "cat,dog"],
        ),
    ] {
        let mut words = words;
        words.push("`y`");
        assert_says(&refusal("a.npz", &with_y(y), &unit()), &words);
    }
}

#[test]
fn class_names_are_indices_in_the_order_stated() {
    let file = with_y(text(&["dog", "cat"], 3));
    for (list, labels, order) in [
        ("dog,cat", [0, 1], ClassOrder::Stated),
        ("bird,cat,dog", [2, 1], ClassOrder::Stated),
        ("dog=281,cat=7", [281, 7], ClassOrder::Stated),
        ("sorted", [1, 0], ClassOrder::Sorted),
    ] {
        let set = open_as("a.npz", &file, &classes(list)).unwrap();
        assert_eq!(set.labels, Some(labels.to_vec()), "{list}");
        assert_eq!(set.read_as.class_order, Some(order));
        assert_eq!(set.read_as.classes["dog"], labels[0]);
    }
    let message = refusal("a.npz", &file, &classes("cat,dig"));
    assert_says(&message, &["`y`, row 0", "`dog`", "did you mean `dig`?"]);
    let csv = b"a,y\n0,dog\n0,cat\n";
    let set = open_as("a.csv", csv, &classes("dog,cat")).unwrap();
    assert_eq!(set.labels, Some(vec![0, 1]));
    assert_says(
        &refusal("a.csv", csv, &unit()),
        &["`y`, line 2", "`dog`", "--classes"],
    );
    let empty = refusal("a.csv", b"a,y\n0,\n", &unit());
    assert_says(&empty, &["`y`, line 2", "an empty cell"]);
}

/// Classes that do not count from 0 are indexed in the order of their values.
#[test]
fn numbers_may_be_class_names() {
    let file = with_y(labels(&[1, -1]));
    for list in ["-1,1", "numeric", "sorted"] {
        let set = open_as("a.npz", &file, &classes(list)).unwrap();
        assert_eq!(set.labels, Some(vec![1, 0]), "{list}");
    }
    // Sorted by value, not by text: 2 comes before 10.
    let set = open_as("a.npz", &with_y(labels(&[10, 2])), &classes("sorted")).unwrap();
    assert_eq!(set.labels, Some(vec![1, 0]));
    let set = open_as("a.csv", b"a,y\n0,10\n0,2\n", &classes("numeric")).unwrap();
    assert_eq!(set.labels, Some(vec![1, 0]));
    let message = refusal("a.csv", b"a,y\n0,10\n0,ten\n", &classes("numeric"));
    assert_says(&message, &["line 3", "`ten`", "whole number"]);
}

#[test]
fn labels_that_count_from_one_are_noted() {
    let file = with_y(labels(&[1, 2]));
    let set = open_as("a.npz", &file, &unit()).unwrap();
    assert_says(
        &set.read_as.notes.join(""),
        &["1 to 2", "count from 0", "--classes numeric"],
    );
    let message = set.check_labels(2).unwrap_err().to_string();
    assert_says(&message, &["label 2", "at most 1", "--classes numeric"]);
    assert!(set.check_labels(3).is_ok());
    let set = open_as("a.npz", &file, &classes("numeric")).unwrap();
    assert_eq!(
        (set.labels.as_deref(), set.check_labels(2).is_ok()),
        (Some(&[0, 1][..]), true)
    );
    let plain = open_as("a.npz", &with_y(labels(&[0, 1])), &unit()).unwrap();
    assert_eq!(plain.read_as.notes, [""; 0]);
}

/// A few names of many classes: their order says nothing about the model's.
#[test]
fn an_order_that_was_not_stated_must_cover_all_classes() {
    let file = with_y(text(&["dog", "cat"], 3));
    let sorted = open_as("a.npz", &file, &classes("sorted")).unwrap();
    assert!(sorted.check_labels(2).is_ok());
    let message = sorted.check_labels(10).unwrap_err().to_string();
    assert_says(&message, &["2 class names", "10 classes", "cat=INDEX"]);
    let stated = open_as("a.npz", &file, &classes("dog=5,cat=3")).unwrap();
    assert!(stated.check_labels(10).is_ok());
    assert!(stated.check_labels(5).is_err());
}

#[test]
fn lists_of_classes_are_checked() {
    for (list, problem) in [
        ("a,a", "`a` is named twice"),
        ("a=1,b=1", "index 1"),
        ("a,,b", "empty name"),
        ("", "empty name"),
    ] {
        let message = list.parse::<Classes>().unwrap_err();
        assert_says(&message, &[problem]);
    }
}

#[test]
fn arrays_are_found_by_common_names() {
    let file =
        |names: [&'static str; 2]| zipped(&[(names[0], small_x()), (names[1], labels(&[1, 0]))]);
    for names in [
        ["x_test", "y_test"],
        ["images", "labels"],
        ["arr_0", "arr_1"],
    ] {
        let set = open_as("a.npz", &file(names), &unit()).unwrap();
        assert_eq!(set.labels, Some(vec![1, 0]));
        assert_eq!(set.modalities.len(), 1);
        assert_says(&set.read_as.notes.join(""), &names);
    }
    let split = zipped(&[
        ("x_train", small_x()),
        ("y_train", labels(&[1, 1])),
        ("x_test", small_x()),
        ("y_test", labels(&[1, 0])),
    ]);
    let message = refusal("a.npz", &split, &unit());
    assert_says(&message, &["x_train", "y_test", "--arrays INPUTS,LABELS"]);
    let arrays = |text: &str| {
        let mut options = unit();
        options.arrays = Some(Arrays::named(text.split(',')).unwrap());
        options
    };
    let set = open_as("a.npz", &split, &arrays("x_test,y_test")).unwrap();
    assert_eq!(set.labels, Some(vec![1, 0]));
    let set = open_as("a.npz", &split, &arrays("x_train")).unwrap();
    assert_eq!(set.labels, None);
    let message = refusal("a.npz", &split, &arrays("x_tset,y_test"));
    assert_says(&message, &["no array `x_tset`", "`x_test`"]);
    assert!(Arrays::named(["a", "b", "c"]).is_err());
    assert!(Arrays::named(["a", ""]).is_err());
}
