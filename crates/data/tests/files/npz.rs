use ndarray::{Array1, Array2, ArrayD, IxDyn};
use proofmark_data::npz::{NpzArray, write};
use proofmark_data::{Options, open};
use proofmark_domain::{Bounds, Kind, SampleId};
use proptest::prelude::*;
use zip::CompressionMethod;

use crate::make::*;

fn with_x(dtype: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    zipped(&[("x", npy(dtype, false, shape, data))])
}

#[test]
fn pixels_become_a_unit_image() {
    let plain = Options::default();
    let pixels = [0, 51, 255, 102, 0, 0, 0, 255];
    for (shape, sample, kind) in [
        ("(2, 1, 2, 2)", vec![1, 2, 2], Kind::Image),
        ("(2, 2, 2)", vec![1, 2, 2], Kind::Image),
        ("(2, 4)", vec![4], Kind::Table),
    ] {
        // A flat row of bytes may or may not be pixels, so units are stated.
        let options = if kind == Kind::Table {
            &scaled()
        } else {
            &plain
        };
        let set = open_as("a.npz", &with_x("|u1", shape, &pixels), options).unwrap();
        let column = &set.modalities[0];
        assert_eq!(
            (&column.modality.shape, column.modality.kind),
            (&sample, kind)
        );
        assert_eq!(column.modality.bounds, Bounds::uniform(0.0, 1.0).unwrap());
        assert_eq!(column.values.row(0).to_vec(), [0.0, 0.2, 1.0, 0.4]);
        assert_eq!((set.len(), set.total, set.name.as_str()), (2, 2, "a.npz"));
        assert_eq!(set.ids, [SampleId::Row(0), SampleId::Row(1)]);
        assert_eq!((set.labels.as_ref(), set.classes()), (None, 0));
    }
}

#[test]
fn scaled_sound_lies_between_minus_one_and_one() {
    let data: Vec<u8> = [i16::MIN, 16384, i16::MAX]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    for (shape, sample) in [("(1, 3)", vec![3]), ("(1, 1, 3)", vec![1, 3])] {
        let set = open_as("a.npz", &with_x("<i2", shape, &data), &scaled()).unwrap();
        let column = &set.modalities[0];
        assert_eq!(
            (column.modality.kind, &column.modality.shape),
            (Kind::Audio, &sample)
        );
        assert_eq!(
            column.values.row(0).to_vec(),
            [-1.0, 0.5, 32767.0 / 32768.0]
        );
    }
    let image = refusal("a.npz", &with_x("<i2", "(1, 1, 1, 3)", &data), &scaled());
    assert_says(&image, &["`x`", "[1, 1, 1, 3]", "[n, samples]"]);
}

/// Big-endian, Fortran order and f64 give the same numbers as little-endian C-order f32.
#[test]
fn byte_order_and_axis_order_do_not_matter() {
    let c_order = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let fortran = [1.0_f32, 4.0, 2.0, 5.0, 3.0, 6.0];
    let big: Vec<u8> = c_order.iter().flat_map(|v| v.to_be_bytes()).collect();
    let double: Vec<u8> = fortran
        .iter()
        .flat_map(|v| f64::from(*v).to_be_bytes())
        .collect();
    let sets = [
        npy("<f4", false, "(2, 3)", &f32s(&c_order)),
        npy(">f4", false, "(2, 3)", &big),
        npy("<f4", true, "(2, 3)", &f32s(&fortran)),
        npy(">f8", true, "(2, 3)", &double),
    ]
    .map(|x| open_as("a.npz", &zipped(&[("x", x)]), &within(0.0, 6.0)).unwrap());
    for set in &sets {
        assert_eq!(
            set.modalities[0].values,
            Array2::from_shape_vec((2, 3), c_order.into()).unwrap()
        );
    }
}

#[test]
fn facts_and_groups_are_read() {
    let names: Vec<u8> = "a\0b\u{e9}"
        .chars()
        .flat_map(|c| u32::from(c).to_le_bytes())
        .collect();
    let file = zipped(&[
        ("image", npy("|u1", false, "(2, 1, 1)", &[0, 255])),
        (
            "table",
            npy("<f4", false, "(2, 2)", &f32s(&[0.0, -3.0, 1.0, 5.0])),
        ),
        ("y", npy("|u1", false, "(2,)", &[3, 1])),
        ("id", npy("<U2", false, "(2,)", &names)),
        ("eps", npy("<f4", false, "(2,)", &f32s(&[0.0, 0.5]))),
        ("bounds", npy("<i8", false, "(2, 2)", &i64s(&[0, -3, 1, 5]))),
        ("group_sex", npy("|O", false, "(2,)", &[])),
        ("group_age", npy("|u1", false, "(2,)", &[40, 30])),
        ("group_site", npy("|S1", false, "(2,)", b"nm")),
        ("group_risk", npy("<f4", false, "(2,)", &f32s(&[0.5, 0.25]))),
        ("group_map", npy("|u1", false, "(2, 1)", &[1, 2])),
    ]);
    let set = open_as("a.npz", &file, &Options::default()).unwrap();
    let names: Vec<_> = set
        .modalities
        .iter()
        .map(|c| c.modality.name.as_str())
        .collect();
    assert_eq!(names, ["image", "table"]);
    let bounds = &set.modalities[1].modality.bounds;
    assert_eq!(
        *bounds,
        Bounds::per_feature(vec![0.0, -3.0], vec![1.0, 5.0]).unwrap()
    );
    assert_eq!((set.labels.clone(), set.classes()), (Some(vec![3, 1]), 4));
    assert_eq!(set.ids, ["a", "b\u{e9}"].map(|n| SampleId::Name(n.into())));
    assert_eq!(set.eps, Some(Array1::from(vec![0.0, 0.5])));
    // Names and whole numbers are groups; arrays of other types are skipped.
    let group =
        |name: &str, values: [&str; 2]| (name.to_owned(), values.map(str::to_owned).to_vec());
    let both = [group("age", ["40", "30"]), group("site", ["n", "m"])];
    assert_eq!(set.groups, both);
    let last = set.range(1..2).unwrap();
    assert_eq!(last.groups[0].1, ["30"]);
    let short = zipped(&[
        ("image", npy("|u1", false, "(2, 1, 1)", &[0, 255])),
        ("group_age", npy("|u1", false, "(1,)", &[40])),
    ]);
    assert_says(
        &refusal("a.npz", &short, &Options::default()),
        &["`image` has 2 rows", "`group_age` has 1"],
    );
}

#[test]
fn every_modality_may_have_its_own_bounds() {
    let pair = |low, high| npy("<f4", false, "(2,)", &f32s(&[low, high]));
    let x = |v| npy("<f4", false, "(1, 1)", &f32s(&[v]));
    let file = zipped(&[
        ("a", x(5.0)),
        ("b", x(-5.0)),
        ("bounds", pair(0.0, 10.0)),
        ("bounds_b", pair(-10.0, 0.0)),
    ]);
    let set = open_as("a.npz", &file, &Options::default()).unwrap();
    let low: Vec<_> = set
        .modalities
        .iter()
        .map(|c| c.modality.bounds.low(0))
        .collect();
    assert_eq!(low, [0.0, -10.0]);
    // Bounds from the user take precedence over those of the file.
    let set = open_as("a.npz", &file, &within(-20.0, 20.0)).unwrap();
    assert!(
        set.modalities
            .iter()
            .all(|c| c.modality.bounds.high(0) > 19.0)
    );
    let file = zipped(&[("x", x(0.5)), ("bounds_z", pair(0.0, 1.0))]);
    assert_says(
        &refusal("a.npz", &file, &unit()),
        &["no array `z`", "`bounds_z`"],
    );
}

#[test]
fn data_without_bounds_are_refused_with_the_line_to_add() {
    let message = refusal("a.npz", &zipped(&[("x", small_x())]), &Options::default());
    assert_says(
        &message,
        &["`x`", "--bounds LO,HI", "`bounds` of shape [2]"],
    );
}

#[test]
fn bounds_must_fit() {
    let x = || ("x", small_x());
    let bounds = |shape: &str, v: &[f32]| ("bounds", npy("<f4", false, shape, &f32s(v)));
    for (file, options, words) in [
        (
            zipped(&[x(), bounds("(3,)", &[0.0, 1.0, 2.0])]),
            Options::default(),
            vec!["`bounds`", "[3]", "[2]"],
        ),
        (
            zipped(&[x(), bounds("(2,)", &[1.0, 0.0])]),
            Options::default(),
            vec!["bounds 1,0"],
        ),
        (
            zipped(&[x(), bounds("(2,)", &[0.0, f32::NAN])]),
            Options::default(),
            vec!["bounds 0,NaN"],
        ),
        (
            zipped(&[x(), bounds("(2, 3)", &[0.0, 0.0, 0.0, 1.0, 1.0, 1.0])]),
            Options::default(),
            vec!["for 3 features", "2"],
        ),
        (
            zipped(&[x()]),
            within(0.0, 0.5),
            vec![
                "`x`",
                "row 1, feature 1",
                "1",
                "within the stated bounds 0,0.5",
            ],
        ),
        (
            with_x("|u1", "(1, 1, 2)", &[0, 255]),
            within(0.0, 255.0),
            vec!["`x`", "0,255", "uint8 / 255", "0,1", "--units raw"],
        ),
    ] {
        assert_says(&refusal("a.npz", &file, &options), &words);
    }
}

#[test]
fn values_that_are_not_finite_are_refused() {
    for (bad, text) in [
        (f32::NAN, "NaN"),
        (f32::INFINITY, "inf"),
        (f32::NEG_INFINITY, "-inf"),
    ] {
        let file = with_x("<f4", "(2, 2)", &f32s(&[0.0, 0.0, bad, 0.0]));
        let message = refusal("a.npz", &file, &unit());
        assert_says(&message, &["`x`", "row 1, feature 0", text, "finite"]);
    }
    // Too large for 32 bits.
    let file = with_x("<f8", "(1, 1)", &1e300_f64.to_le_bytes());
    assert_says(&refusal("a.npz", &file, &unit()), &["inf", "32-bit"]);
}

#[test]
fn wrong_types_and_shapes_are_named() {
    for (dtype, shape, size, words) in [
        ("|O", "(1, 2)", 2, ["`x`", "|O", "pickled Python objects"]),
        ("<c8", "(1, 2)", 16, ["`x`", "<c8", "expected bool"]),
        ("<U3", "(1, 2)", 24, ["`x`", "<U3", "expected numbers"]),
        ("<M8[ns]", "(1, 2)", 16, ["`x`", "<M8[ns]", "expected bool"]),
        ("<f4", "(2,)", 8, ["`x`", "[2]", "[n, features]"]),
        ("<f4", "()", 4, ["`x`", "[]", "[n, features]"]),
        (
            "<f4",
            "(1, 1, 1, 1, 2)",
            8,
            ["`x`", "[1, 1, 1, 1, 2]", "[n, c, h, w]"],
        ),
        ("<f4", "(3, 0)", 0, ["`x`", "[3, 0]", "no empty axis"]),
    ] {
        let message = refusal("a.npz", &with_x(dtype, shape, &vec![0; size]), &unit());
        assert_says(&message, &words);
    }
}

#[test]
fn empty_sets_are_refused() {
    for shape in ["(0, 3)", "(0,)", "(0, 8, 8)", "(0, 9999999999, 9999999999)"] {
        let message = refusal("a.npz", &with_x("<f4", shape, &[]), &unit());
        assert_says(&message, &["no samples"]);
    }
    assert_says(
        &refusal("a.npz", &zipped(&[]), &unit()),
        &["no array `x`", "no arrays"],
    );
    assert_says(
        &refusal("a.npz", &zipped(&[("y", labels(&[1]))]), &unit()),
        &["no array `x`", "`y`"],
    );
    assert_says(&refusal("a.npz", &[], &unit()), &["empty file"]);
}

#[test]
fn facts_about_samples_are_checked() {
    let text = |t: &str| {
        t.chars()
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect::<Vec<u8>>()
    };
    for (name, array, words) in [
        ("y", labels(&[1, -1]), vec!["`y`", "row 1", "-1", "a class"]),
        ("y", labels(&[1, 2, 3]), vec!["`x` has 2 rows", "`y` has 3"]),
        (
            "y",
            npy("<f4", false, "(2,)", &f32s(&[0.0, 1.5])),
            vec!["`y`", "row 1", "1.5", "whole number"],
        ),
        (
            "y",
            npy("<i8", false, "(2, 1, 1)", &i64s(&[0, 1])),
            vec!["`y`", "[2, 1, 1]", "[n]"],
        ),
        (
            "id",
            labels(&[7, 7]),
            vec!["rows 0 and 1", "`7`", "distinct"],
        ),
        ("id", labels(&[7, -7]), vec!["`id`", "row 1", "-7"]),
        ("id", labels(&[7]), vec!["`id` has 1"]),
        (
            "id",
            npy("<U1", false, "(2,)", &text("aa")),
            vec!["`a`", "distinct"],
        ),
        (
            "id",
            npy("<U1", false, "(2,)", &text("a\0")),
            vec!["row 1", "empty id"],
        ),
        ("id", npy("<U0", false, "(2,)", &[]), vec!["<U0"]),
        (
            "id",
            npy("<U1", false, "(2,)", &[0xff; 8]),
            vec!["row 0", "Unicode"],
        ),
        (
            "id",
            npy("|S1", false, "(2,)", &[0xff; 2]),
            vec!["row 0", "Unicode"],
        ),
        (
            "id",
            npy("<f4", false, "(2,)", &[0; 8]),
            vec!["`id`", "<f4", "text"],
        ),
        (
            "eps",
            npy("<f4", false, "(2,)", &f32s(&[0.1, -0.1])),
            vec!["`eps`", "row 1", "-0.1"],
        ),
        (
            "eps",
            npy("<f4", false, "(2,)", &f32s(&[f32::NAN, 0.1])),
            vec!["`eps`", "NaN"],
        ),
        (
            "eps",
            npy("<f4", false, "(1,)", &f32s(&[0.1])),
            vec!["`eps` has 1"],
        ),
    ] {
        let file = zipped(&[("x", small_x()), (name, array)]);
        assert_says(&refusal("a.npz", &file, &unit()), &words);
    }
    let big: i64 = 1 << 40;
    let file = zipped(&[("x", small_x()), ("y", labels(&[0, big]))]);
    let set = open_as("a.npz", &file, &unit()).unwrap();
    let message = set.check_labels(10).unwrap_err().to_string();
    assert_says(
        &message,
        &[
            "a.npz",
            "sample 1",
            "1099511627776",
            "at most 9",
            "10 classes",
        ],
    );
    assert!(set.check_labels(set.classes()).is_ok());
}

#[test]
fn two_modalities_need_the_same_rows() {
    let file = zipped(&[
        ("a", npy("|u1", false, "(2, 1)", &[0; 2])),
        ("b", npy("|u1", false, "(3, 1)", &[0; 3])),
    ]);
    assert_says(
        &refusal("a.npz", &file, &unit()),
        &["`a` has 2", "`b` has 3"],
    );
}

#[test]
fn impossible_sizes_are_refused() {
    // A shape of exabytes, and one whose product overflows.
    for shape in [
        "(9007199254740992, 1024)",
        "(18446744073709551615, 18446744073709551615, 4)",
    ] {
        let message = refusal("a.npz", &with_x("<f4", shape, &[0; 16]), &unit());
        assert_says(&message, &["`x`", "holds 16", "expected the same"]);
    }
    let message = refusal("a.npz", &with_x("<f4", "(2, 2)", &[0; 15]), &unit());
    assert_says(&message, &["`x`", "16 bytes", "holds 15"]);
    // An entry that states 4 GB: in the local header at 22, in the central directory at +24.
    let mut file = zipped(&[("x", small_x())]);
    let central = file.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    for at in [22, central + 24] {
        file[at..at + 4].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    }
    let message = refusal("a.npz", &file, &unit());
    assert_says(&message, &["`x", "4294967280 bytes", "exhaust memory"]);
    // One that states a little more than it holds.
    for at in [22, central + 24] {
        file[at..at + 4].copy_from_slice(&4096_u32.to_le_bytes());
    }
    refusal("a.npz", &file, &unit());
}

/// A zip64 end record that states 2^40 entries must not be trusted.
#[test]
fn absurd_entry_counts_allocate_no_memory() {
    let file = zipped(&[("x", small_x())]);
    let end = file.windows(4).position(|w| w == b"PK\x05\x06").unwrap();
    for (size, start) in [(1_u64 << 62, 1_u64 << 62), (1 << 50, 1 << 41), (1 << 50, 0)] {
        let mut bomb = file[..end].to_vec();
        let record = bomb.len() as u64;
        bomb.extend(b"PK\x06\x06");
        bomb.extend(44_u64.to_le_bytes());
        bomb.extend([45, 0, 45, 0]);
        bomb.extend([0; 8]);
        for value in [1 << 40, 1 << 40, size, start] {
            bomb.extend(u64::to_le_bytes(value));
        }
        bomb.extend(b"PK\x06\x07\0\0\0\0");
        bomb.extend(record.to_le_bytes());
        bomb.extend(1_u32.to_le_bytes());
        bomb.extend(b"PK\x05\x06\0\0\0\0");
        bomb.extend([0xff; 12]);
        bomb.extend([0, 0]);
        refusal("a.npz", &bomb, &unit());
    }
}

#[test]
fn entries_that_are_not_arrays_are_named() {
    let mut file = zipped(&[("x", small_x())]);
    // "x.npy" becomes "x.npz" in both places where it occurs.
    while let Some(at) = file.windows(5).position(|w| w == b"x.npy") {
        file[at + 4] = b'z';
    }
    assert_says(&refusal("a.npz", &file, &unit()), &["x.npz", ".npy"]);
    let file = zipped(&[("x", b"hello".to_vec())]);
    assert_says(&refusal("a.npz", &file, &unit()), &["`x`", "numpy.savez"]);
}

#[test]
fn written_archives_are_read_back() {
    let folder = Folder::new();
    let path = folder.path("adversarials.npz");
    let x = ArrayD::from_shape_fn(IxDyn(&[3, 1, 2, 2]), |i| {
        (i[0] * 4 + i[2] * 2 + i[3]) as f32 / 12.0
    });
    let y = Array1::from(vec![0_i64, 1, 2]);
    let bounds = Array1::from(vec![0.0_f32, 1.0]);
    for ids in [
        vec![SampleId::Row(3), SampleId::Row(0), SampleId::Row(9)],
        ["a/1.png", "b\u{e9}", "\u{1f600} three"]
            .map(|n| SampleId::Name(n.into()))
            .to_vec(),
    ] {
        // A transposed view must come out in row-major order.
        let transposed = x.view().permuted_axes(IxDyn(&[0, 1, 3, 2]));
        let arrays = [
            ("x", NpzArray::F32(transposed.clone())),
            ("y", NpzArray::I64(y.view().into_dyn())),
            ("id", NpzArray::Ids(&ids)),
            ("bounds", NpzArray::F32(bounds.view().into_dyn())),
        ];
        write(&path, &arrays).unwrap();
        let first = std::fs::read(&path).unwrap();
        let set = open(path.to_str().unwrap(), &Options::default()).unwrap();
        assert_eq!(set.modalities[0].modality.shape, [1, 2, 2]);
        assert!(set.modalities[0].values.iter().eq(transposed.iter()));
        assert_eq!(
            (set.ids.clone(), set.labels.clone()),
            (ids.clone(), Some(vec![0, 1, 2]))
        );
        write(&path, &arrays).unwrap();
        assert_eq!(
            std::fs::read(&path).unwrap(),
            first,
            "the same arrays, other bytes"
        );
    }
    // Only the file is left.
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1
    );
}

#[test]
fn unwritable_places_are_named_and_left_alone() {
    let folder = Folder::new();
    let y = Array1::from(vec![0_i64]);
    let arrays = [("y", NpzArray::I64(y.view().into_dyn()))];
    let message = write(&folder.path("no/such/a.npz"), &arrays)
        .unwrap_err()
        .to_string();
    assert_says(&message, &["a.npz", "cannot be written"]);
    // A folder stands where the file should go.
    std::fs::create_dir(folder.path("taken.npz")).unwrap();
    let message = write(&folder.path("taken.npz"), &arrays)
        .unwrap_err()
        .to_string();
    assert_says(&message, &["taken.npz", "cannot be written"]);
    assert_eq!(std::fs::read_dir(folder.path("")).unwrap().count(), 1);
}

proptest! {
    #[test]
    fn any_small_array_survives(values in prop::collection::vec(0.0_f32..=1.0, 1..40), stored: bool) {
        let method = if stored { CompressionMethod::Stored } else { CompressionMethod::Deflated };
        let shape = format!("({}, 1)", values.len());
        let file = zipped_as(method, &[("x", npy("<f4", false, &shape, &f32s(&values)))]);
        let set = open_as("a.npz", &file, &unit()).unwrap();
        prop_assert!(set.modalities[0].values.iter().eq(values.iter()));
    }
}

/// Every array that does not describe the samples is taken for an input; the error for one that cannot be names the
/// option.
#[test]
fn an_array_that_cannot_be_an_input_names_the_option() {
    let file = zipped(&[
        ("x", small_x()),
        ("y", labels(&[0, 1])),
        ("epoch", npy("<i8", false, "()", &i64s(&[7]))),
    ]);
    let message = refusal("a.npz", &file, &unit());
    assert_says(&message, &["`epoch`", "[]", "--arrays INPUTS,LABELS"]);
    let mut options = unit();
    options.arrays = Some(proofmark_data::Arrays::named(["x", "y"]).unwrap());
    assert!(open_as("a.npz", &file, &options).is_ok());
    let alone = refusal("a.npz", &zipped(&[("x", labels(&[0]))]), &unit());
    assert!(!alone.contains("--arrays"), "{alone}");
}
