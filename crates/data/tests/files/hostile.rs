//! Any bytes give an answer or an error, never a panic.

use proofmark_data::npz::arrays;
use proofmark_data::{Options, open, stream};
use proptest::prelude::*;

use crate::make::*;

fn good(name: &str) -> Vec<u8> {
    let npz = |method| {
        zipped_as(
            method,
            &[
                (
                    "x",
                    npy("<f4", true, "(2, 2)", &f32s(&[0.0, 0.25, 0.5, 1.0])),
                ),
                ("y", labels(&[0, 1])),
                ("id", npy("|S2", false, "(2,)", b"abcd")),
                ("bounds", npy("<f4", false, "(2,)", &f32s(&[0.0, 1.0]))),
            ],
        )
    };
    let images = idx(0x08, &[2, 2, 2], &[7; 8]);
    match name {
        "a.npz" => npz(zip::CompressionMethod::Stored),
        "b.npz" => npz(zip::CompressionMethod::Deflated),
        "a.npy" => npy("<i4", false, "(2, 2)", &[0; 16]),
        "a.idx" => images,
        "a.idx.gz" => gzipped(&images),
        _ => b"id,a,b,label\n1,0.5,0.25,0\n2,1,0,1\n".to_vec(),
    }
}

const NAMES: [&str; 6] = ["a.npz", "b.npz", "a.npy", "a.idx", "a.idx.gz", "a.csv"];

/// Opens the bytes with and without bounds, in the caller's folder: making a folder for each try would take most of the
/// time.
fn try_in(folder: &Folder, name: &str, bytes: &[u8]) {
    let path = folder.put(name, bytes);
    for options in [Options::default(), unit(), scaled(), classes("sorted")] {
        if let Err(e) = open(&path, &options) {
            assert!(e.to_string().contains(name), "{e}");
        }
    }
    if let Err(e) = arrays(&folder.path(name)) {
        assert!(e.to_string().contains(name), "{e}");
    }
}

fn try_all(name: &str, bytes: &[u8]) {
    try_in(&Folder::new(), name, bytes);
}

#[test]
fn the_undamaged_files_are_accepted() {
    for name in NAMES {
        let options = if name.contains("idx") {
            Options::default()
        } else {
            unit()
        };
        assert_eq!(
            open_as(name, &good(name), &options).unwrap().len(),
            2,
            "{name}"
        );
    }
}

/// A binary file cut off anywhere is refused; none is taken for a smaller set.
#[test]
fn truncations_are_refused() {
    for name in &NAMES[..5] {
        let whole = good(name);
        for length in 0..whole.len() {
            let result = open_as(name, &whole[..length], &Options::default());
            assert!(result.is_err(), "{name} cut to {length} of {}", whole.len());
        }
    }
}

#[test]
fn one_wrong_bit_in_any_byte_never_panics() {
    let folder = Folder::new();
    for name in NAMES {
        let whole = good(name);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            try_in(&folder, name, &damaged);
        }
    }
}

proptest! {
    #[test]
    fn random_bytes(name in prop::sample::select(&NAMES[..]), bytes: Vec<u8>) {
        try_all(name, &bytes);
    }

    #[test]
    fn random_bytes_after_a_good_beginning(
        name in prop::sample::select(&NAMES[..]),
        keep: prop::sample::Index,
        tail: Vec<u8>,
    ) {
        let mut bytes = good(name);
        bytes.truncate(keep.index(bytes.len()));
        bytes.extend(tail);
        try_all(name, &bytes);
    }

    #[test]
    fn random_places_overwritten(
        name in prop::sample::select(&NAMES[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = good(name);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        try_all(name, &bytes);
    }

    /// The archive is sound and the array inside is not, so the checksum does not help.
    #[test]
    fn random_headers_and_data(
        name in prop::sample::select(vec!["x", "y", "id", "eps", "bounds", "bounds_x"]),
        dtype in "[<>|]?[uifSUbO]([0-9]|16)?",
        fortran: bool,
        shape in "\\(([0-9]{0,3},?){0,4}\\)",
        data in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut entries = vec![(name, npy(&dtype, fortran, &shape, &data))];
        if name != "x" {
            entries.push(("x", small_x()));
        }
        try_all("a.npz", &zipped(&entries));
    }
}

/// A Git LFS pointer is named as such in place of any kind of file.
#[test]
fn a_git_lfs_pointer_is_named_for_any_file() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4665a5ea\nsize 12345\n";
    let names = [
        "a.npz",
        "a.npy",
        "a.csv",
        "a.bin",
        "a.idx",
        "train-images-idx3-ubyte.gz",
    ];
    for name in names {
        assert_says(&refusal(name, pointer, &unit()), &["git lfs pull"]);
    }
    let folder = Folder::new();
    let path = folder.put("a.npz", pointer);
    let told = [
        arrays(path.as_ref()).unwrap_err().to_string(),
        stream(path.as_ref()).expect_err("refused").to_string(),
    ];
    for told in told {
        assert_says(&told, &["a.npz", "git lfs pull"]);
    }
    std::fs::create_dir_all(folder.path("set/cat")).unwrap();
    folder.put("set/cat/1.png", pointer);
    let set = folder.path("set").display().to_string();
    let told = open(&set, &Options::default()).unwrap_err().to_string();
    assert_says(&told, &["1.png", "git lfs pull"]);
    folder.put("x.npy", &small_x());
    let mut options = unit();
    options.labels = Some(folder.path("a.npz"));
    let told = open(&folder.path("x.npy").display().to_string(), &options);
    assert_says(&told.unwrap_err().to_string(), &["a.npz", "git lfs pull"]);
}
