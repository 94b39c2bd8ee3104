use proofmark_data::{Options, open};
use proofmark_domain::Kind;

use crate::make::*;

const PIXELS: [u8; 8] = [0, 51, 102, 255, 0, 0, 0, 0];

fn images() -> Vec<u8> {
    idx(0x08, &[2, 2, 2], &PIXELS)
}

#[test]
fn labels_are_found_beside_the_images() {
    for (image_name, label_name) in [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"),
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"),
        ("t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"),
    ] {
        let folder = Folder::new();
        let pack = |name: &str, bytes: Vec<u8>| match name.strip_suffix(".gz") {
            Some(_) => gzipped(&bytes),
            None => bytes,
        };
        folder.put(label_name, &pack(label_name, idx(0x08, &[2], &[3, 9])));
        let path = folder.put(image_name, &pack(image_name, images()));
        let set = open(&path, &Options::default()).unwrap();
        assert_eq!(set.labels, Some(vec![3, 9]));
        let column = &set.modalities[0];
        assert_eq!(
            (column.modality.kind, &column.modality.shape),
            (Kind::Image, &vec![1, 2, 2])
        );
        assert_eq!(column.values.row(0).to_vec(), [0.0, 0.2, 0.4, 1.0]);
    }
}

#[test]
fn labels_may_be_absent_or_elsewhere() {
    let folder = Folder::new();
    let path = folder.put("pictures.idx", &images());
    assert_eq!(open(&path, &Options::default()).unwrap().labels, None);
    folder.put("classes", &idx(0x0c, &[2], &[0, 0, 0, 1, 0, 0, 0, 2]));
    let mut options = Options::default();
    options.labels = Some(folder.path("classes"));
    assert_eq!(open(&path, &options).unwrap().labels, Some(vec![1, 2]));
    let mut options = Options::default();
    options.labels = Some(folder.path("missing"));
    assert_says(
        &open(&path, &options).unwrap_err().to_string(),
        &["missing", "cannot be read"],
    );
    folder.put("three", &idx(0x08, &[3], &[0; 3]));
    let mut options = Options::default();
    options.labels = Some(folder.path("three"));
    assert_says(
        &open(&path, &options).unwrap_err().to_string(),
        &["`x` has 2", "`y` has 3"],
    );
}

#[test]
fn other_types_follow_the_same_rules() {
    let sound = idx(0x0b, &[1, 2], &[0x80, 0, 0x40, 0]);
    let set = open_as("a.idx", &sound, &scaled()).unwrap();
    assert_eq!(set.modalities[0].values.row(0).to_vec(), [-1.0, 0.5]);
    let message = refusal("a.idx", &sound, &Options::default());
    assert_says(
        &message,
        &["int16", "--units scaled", "32768", "--bounds LO,HI"],
    );
    let floats = idx(0x0d, &[1, 1], &0.5_f32.to_be_bytes());
    let set = open_as("a.idx", &floats, &unit()).unwrap();
    assert_eq!(set.modalities[0].values.row(0).to_vec(), [0.5]);
    assert_says(
        &refusal("a.idx", &floats, &Options::default()),
        &["--bounds LO,HI"],
    );
    let whole = idx(0x0c, &[1, 1], &[0, 0, 0, 1]);
    let set = open_as("a.idx", &whole, &unit()).unwrap();
    assert_eq!(set.modalities[0].values.row(0).to_vec(), [1.0]);
}

#[test]
fn wrong_files_are_named() {
    let plain = Options::default();
    for (bytes, words) in [
        (vec![], vec!["IDX header", "truncated"]),
        (vec![0, 0, 8], vec!["truncated"]),
        (vec![0, 0, 8, 3, 0, 0, 0, 1], vec!["truncated"]),
        (vec![0, 0, 7, 1, 0, 0, 0, 0], vec!["00 00 07"]),
        (b"hello, world".to_vec(), vec!["68 65 6c"]),
        (
            idx(0x08, &[2, 2, 2], &PIXELS[..7]),
            vec!["`x`", "8 bytes", "holds 7"],
        ),
        (
            idx(0x08, &[2, 2, 1], &PIXELS),
            vec!["`x`", "4 bytes", "holds 8"],
        ),
        (
            idx(0x08, &[u32::MAX; 9], &PIXELS),
            vec!["`x`", "more bytes", "holds 8"],
        ),
        (idx(0x08, &[u32::MAX; 3], &PIXELS), vec!["`x`", "holds 8"]),
        (idx(0x08, &[2], &[1, 2]), vec!["[2]", "labels", "images"]),
        (idx(0x08, &[0, 2, 2], &[]), vec!["no samples"]),
        (
            idx(0x08, &[1, 1, 1, 1, 2], &[0; 2]),
            vec!["[1, 1, 1, 1, 2]"],
        ),
    ] {
        assert_says(&refusal("a.idx", &bytes, &plain), &words);
    }
}

#[test]
fn gzip_bombs_are_refused_before_memory_is_taken() {
    let plain = Options::default();
    // The header states 2^48 bytes; a megabyte of zeros follows.
    let bomb = gzipped(&idx(0x08, &[1 << 16, 1 << 16, 1 << 16], &vec![0; 1 << 20]));
    let message = refusal("a.idx.gz", &bomb, &plain);
    assert_says(
        &message,
        &["its header", "281474976710672 bytes", "exhaust memory"],
    );
    let message = refusal(
        "a.idx.gz",
        &gzipped(&idx(0x08, &[u32::MAX; 9], &[])),
        &plain,
    );
    assert_says(&message, &["exhaust memory"]);
    // A correct small header before a megabyte of zeros: one byte too many is enough for a refusal.
    let message = refusal(
        "a.idx.gz",
        &gzipped(&idx(0x08, &[2, 2, 2], &vec![0; 1 << 20])),
        &plain,
    );
    assert_says(&message, &["8 bytes"]);
    let whole = gzipped(&images());
    let message = refusal("a.idx.gz", &whole[..whole.len() - 6], &plain);
    assert_says(&message, &["gzip", "cannot be unpacked"]);
}
