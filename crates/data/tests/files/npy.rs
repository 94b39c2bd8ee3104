//! Sets in single .npy files.

use proofmark_data::open;

use crate::make::*;

#[test]
fn labels_are_found_beside_the_inputs() {
    for (inputs, beside) in [
        ("x_test.npy", "y_test.npy"),
        ("X_test.npy", "y_test.npy"),
        ("test_images.npy", "test_labels.npy"),
        ("x.npy", "y.npy"),
    ] {
        let folder = Folder::new();
        let path = folder.put(inputs, &small_x());
        assert_eq!(open(&path, &unit()).unwrap().labels, None);
        let alone = open(&path, &unit()).unwrap().sha256;
        folder.put(beside, &labels(&[1, 0]));
        let set = open(&path, &unit()).unwrap();
        assert_eq!(set.labels, Some(vec![1, 0]));
        assert_says(&set.read_as.notes.join(""), &[beside]);
        assert_eq!(set.modalities[0].values.row(1).to_vec(), [0.5, 1.0]);
        assert_ne!(set.sha256, alone, "the digest is of both files");
    }
}

#[test]
fn labels_may_be_elsewhere_but_not_ambiguous() {
    let folder = Folder::new();
    let path = folder.put("X.npy", &small_x());
    folder.put("y.npy", &labels(&[1, 0]));
    folder.put("Y.npy", &labels(&[0, 1]));
    let message = open(&path, &unit()).unwrap_err().to_string();
    assert_says(&message, &["y.npy", "Y.npy", "--labels-file"]);
    folder.put("truth", &idx(0x08, &[2], &[7, 8]));
    for (file, expected) in [("Y.npy", [0, 1]), ("truth", [7, 8])] {
        let mut options = unit();
        options.labels = Some(folder.path(file));
        let set = open(&path, &options).unwrap();
        assert_eq!(set.labels, Some(expected.to_vec()));
        assert_eq!(set.read_as.notes, [""; 0]);
    }
    folder.put("y.csv", b"y\n1\n0\n");
    let mut options = unit();
    options.labels = Some(folder.path("y.csv"));
    let message = open(&path, &options).unwrap_err().to_string();
    assert_says(&message, &["y.csv", "neither .npy nor IDX"]);
}

#[test]
fn wrong_files_are_named() {
    let object = npy("|O", false, "(2, 2)", &[0; 9]);
    assert_says(
        &refusal("a.npy", &object, &unit()),
        &["pickled Python objects"],
    );
    let nan = npy("<f4", false, "(1, 2)", &f32s(&[0.0, f32::NAN]));
    assert_says(
        &refusal("a.npy", &nan, &unit()),
        &["row 0, feature 1", "NaN"],
    );
    assert_says(&refusal("a.npy", b"hello", &unit()), &["like a .npy file"]);
    let huge = npy("<f4", false, "(9007199254740992, 1024)", &[0; 16]);
    assert_says(&refusal("a.npy", &huge, &unit()), &["holds 16"]);
    let mut column = unit();
    column.label_column = Some("y".to_owned());
    assert_says(
        &refusal("a.npy", &small_x(), &column),
        &["--label-column", ".csv"],
    );
}
