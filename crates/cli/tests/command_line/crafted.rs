//! Data files of the wrong type, rank and size.

use proofmark::data::ndarray::ArrayD;
use proofmark::data::npz::{self, NpzArray};

use crate::harness::{Folder, attack};

/// Contents of one .npz file, by name.
type Arrays<'a> = Vec<(&'a str, NpzArray<'a>)>;

/// Asserts exit code 2, every word in the message, and nothing written: no report, no adversarials, no temporary file.
fn refused(folder: &Folder, data: &str, words: &[&str]) {
    let out = folder.path("report.json").display().to_string();
    let save = folder.path("adversarials.npz").display().to_string();
    let before = folder.names();
    let ran = attack(data, &["--out", &out, "--save", &save]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    assert_eq!(folder.names(), before, "something was left behind");
}

fn zeros<T: Clone + Default>(shape: &[usize]) -> ArrayD<T> {
    ArrayD::from_elem(shape.to_vec(), T::default())
}

#[test]
fn wrong_types_and_ranks_are_named() {
    let folder = Folder::new();
    let (pixels, labels) = (zeros::<f32>(&[2, 64]), zeros::<i64>(&[2]));
    let bounds = ArrayD::from_shape_vec(vec![2], vec![0.0_f32, 1.0]).expect("a shape");
    let flat = zeros::<f32>(&[128]);
    let (floats, table) = (zeros::<f32>(&[2]) + 0.5, zeros::<i64>(&[2, 3]));
    let below = ArrayD::from_shape_vec(vec![2], vec![0_i64, -1]).expect("a shape");
    let (x, y) = (NpzArray::F32(pixels.view()), NpzArray::I64(labels.view()));
    let cases: [(&str, Arrays<'_>, &[&str]); 6] = [
        (
            "flat.npz",
            vec![("x", NpzArray::F32(flat.view())), ("y", y.clone())],
            &["flat.npz", "`x`", "[128]"],
        ),
        (
            "floats.npz",
            vec![("x", x.clone()), ("y", NpzArray::F32(floats.view()))],
            &["floats.npz", "`y`", "row 0", "0.5", "a whole number"],
        ),
        (
            "table.npz",
            vec![("x", x.clone()), ("y", NpzArray::I64(table.view()))],
            &["table.npz", "`y`", "row 0", "one-hot", "[n]"],
        ),
        (
            "below.npz",
            vec![("x", x.clone()), ("y", NpzArray::I64(below.view()))],
            &["below.npz", "`y`", "row 1", "-1", "0 or greater"],
        ),
        (
            "unlabelled.npz",
            vec![("x", x.clone())],
            &["unlabelled.npz", "labels", "--labels predicted"],
        ),
        (
            "nothing.npz",
            vec![("y", y)],
            &["nothing.npz", "`x`", "`y`"],
        ),
    ];
    for (name, mut arrays, words) in cases {
        arrays.push(("bounds", NpzArray::F32(bounds.view())));
        npz::write(&folder.path(name), &arrays).expect("writable");
        refused(&folder, &folder.path(name).display().to_string(), words);
    }
    // Unlabelled data works with the model's own predictions.
    let unlabelled = folder.path("unlabelled.npz").display().to_string();
    assert_eq!(attack(&unlabelled, &["--labels", "predicted"]).code, 0);
}

#[test]
fn impossible_sizes_are_refused_compressed_or_not() {
    let folder = Folder::new();
    // u8, three axes of 2^32 - 1: 2^96 bytes.
    let mut header = vec![0, 0, 8, 3];
    header.extend([255; 12]);
    let plain = folder.put("plain-images-idx3-ubyte", &header);
    refused(&folder, &plain, &["plain-images", "announces"]);

    // The same header at the beginning of one stored block of a gzip member.
    header.resize(4_000, 0);
    let length = header.len() as u16;
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    gzip.extend(length.to_le_bytes());
    gzip.extend((!length).to_le_bytes());
    gzip.extend(&header);
    let packed = folder.put("packed-images-idx3-ubyte.gz", &gzip);
    let words = ["packed-images", "announces", "exhaust memory"];
    refused(&folder, &packed, &words);
    let cut = folder.put("cut-images-idx3-ubyte.gz", &gzip[..40]);
    refused(&folder, &cut, &["cut-images", "gzip"]);
}

#[test]
fn paths_that_are_not_data_sets_are_refused_with_a_suggestion() {
    let folder = Folder::new();
    let here = folder.path("").display().to_string();
    let text = folder.put("data.txt", b"1 2 3");
    let near = folder.put("data.nzp", b"");
    let empty = folder.put("empty.npz", b"");
    refused(&folder, &here, &["has no sub-folders", "one per class"]);
    refused(&folder, &text, &["data.txt", ".csv"]);
    refused(&folder, &near, &["data.nzp", "did you mean .npz"]);
    refused(&folder, &empty, &["empty.npz", "empty file"]);
}
