//! Whole numbers may be features, pixels or sound, and a file does not say which.

use proofmark_data::{Dataset, Options, Units};
use proofmark_domain::{Bounds, Kind};

use crate::make::*;

fn x(dtype: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    zipped(&[("x", npy(dtype, false, shape, data))])
}

fn first(set: &Dataset) -> (Vec<f32>, f32, f32, Kind, &str) {
    let column = &set.modalities[0];
    let bounds = &column.modality.bounds;
    (
        column.values.row(0).to_vec(),
        bounds.low(0),
        bounds.high(0),
        column.modality.kind,
        set.read_as.units["x"].as_str(),
    )
}

fn both(units: Units, low: f32, high: f32) -> Options {
    let mut options = within(low, high);
    options.units = Some(units);
    options
}

/// `[n, features]` of whole numbers is never divided by default.
#[test]
fn a_table_of_whole_numbers_is_not_scaled() {
    let i16s = |v: [i16; 2]| v.map(i16::to_le_bytes).concat();
    let i32s = |v: [i32; 2]| v.map(i32::to_le_bytes).concat();
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("|u1", vec![40, 99], "uint8"),
        ("<u2", i16s([40, 99]), "uint16"),
        ("<i2", i16s([40, 99]), "int16"),
        (">i2", vec![0, 40, 0, 99], "int16"),
        ("|i1", vec![40, 99], "int8"),
        ("<i4", i32s([40, 99]), "int32"),
        ("<u4", i32s([40, 99]), "uint32"),
        ("<i8", i64s(&[40, 99]), "int64"),
    ];
    for (dtype, data, name) in cases {
        let file = x(dtype, "(1, 2)", &data);
        // Stated bounds are those of the numbers as stored.
        for options in [within(0.0, 100.0), both(Units::Raw, 0.0, 100.0)] {
            let set = open_as("a.npz", &file, &options).unwrap();
            let (values, low, high, kind, units) = first(&set);
            assert_eq!(
                (values, low, high),
                (vec![40.0, 99.0], 0.0, 100.0),
                "{name}"
            );
            assert_eq!(
                (kind, units),
                (Kind::Table, format!("{name} as stored").as_str())
            );
        }
        // Without bounds the file is refused, with its contents and the options to add.
        let message = refusal("a.npz", &file, &Options::default());
        assert_says(
            &message,
            &[
                "`x`",
                name,
                "from 40 to 99",
                "--bounds LO,HI",
                "bounds = [LO, HI]",
            ],
        );
        let asks = ["uint8", "uint16", "int16"].contains(&name);
        assert_eq!(message.contains("--units scaled"), asks, "{message}");
        // Bounds in another unit are refused.
        let message = refusal("a.npz", &file, &unit());
        assert_says(
            &message,
            &["row 0, feature 0", "40", "within the stated bounds 0,1"],
        );
        assert_eq!(message.contains("--units scaled"), asks, "{message}");
    }
}

/// Floating-point sound has the shape of a table, or with two channels that of an image.
#[test]
fn a_stated_kind_overrides_the_shape() {
    let stated = |kind: Kind| {
        let mut options = within(-1.0, 1.0);
        options.kind = Some(kind);
        options
    };
    let flat = x("<f4", "(1, 2)", &f32s(&[0.5, -0.5]));
    let stereo = x("<f4", "(1, 2, 1)", &f32s(&[0.5, -0.5]));
    for (file, kind, shape) in [
        (&flat, None, &[2][..]),
        (&flat, Some(Kind::Table), &[2]),
        (&flat, Some(Kind::Audio), &[2]),
        (&stereo, None, &[1, 2, 1]),
        (&stereo, Some(Kind::Audio), &[2, 1]),
        (&stereo, Some(Kind::Table), &[2, 1]),
        (&stereo, Some(Kind::Image), &[1, 2, 1]),
    ] {
        let options = kind.map_or_else(|| within(-1.0, 1.0), stated);
        let set = open_as("a.npz", file, &options).unwrap();
        let modality = &set.modalities[0].modality;
        let by_shape = if file == &flat {
            Kind::Table
        } else {
            Kind::Image
        };
        assert_eq!(modality.kind, kind.unwrap_or(by_shape));
        assert_eq!(modality.shape, shape, "{kind:?}");
        let told = kind.map_or_else(String::new, |k| format!(", {k}"));
        let units = &set.read_as.units["x"];
        assert_eq!(*units, format!("float32 as stored{told}"));
    }
    assert_says(
        &refusal("a.npz", &flat, &stated(Kind::Image)),
        &["`x`", "[1, 2]", "[n, c, h, w]"],
    );
    let mut one = within(-1.0, 1.0);
    one.array_kinds.insert("x".to_owned(), Kind::Audio);
    let set = open_as("a.npz", &flat, &one).unwrap();
    assert_eq!(set.modalities[0].modality.kind, Kind::Audio);
    one.array_kinds.insert("z".to_owned(), Kind::Audio);
    assert_says(
        &refusal("a.npz", &flat, &one),
        &["no array `z`", "a kind is stated"],
    );
    assert_says(
        &refusal("a.csv", b"a\n0\n", &stated(Kind::Audio)),
        &["--kind", ".npz"],
    );
}

/// Bytes in the shape of images are divided, unless they are stated not to be images.
#[test]
fn data_stated_not_to_be_an_image_is_not_scaled_by_default() {
    let bytes = x("|u1", "(1, 2, 2)", &[0, 51, 102, 255]);
    for kind in [Kind::Table, Kind::Audio] {
        let mut stated = Options::default();
        stated.kind = Some(kind);
        assert_says(
            &refusal("a.npz", &bytes, &stated),
            &["uint8", "--units scaled", "--bounds"],
        );
        let mut kept = within(0.0, 255.0);
        kept.kind = Some(kind);
        let set = open_as("a.npz", &bytes, &kept).unwrap();
        assert_eq!(
            set.modalities[0].values.row(0).to_vec(),
            [0.0, 51.0, 102.0, 255.0]
        );
    }
    let set = open_as("a.npz", &bytes, &Options::default()).unwrap();
    assert_eq!(set.modalities[0].values[[0, 1]], 0.2);
}

/// Without an attack no bounds are needed, but whole numbers still need stated units.
#[test]
fn data_that_is_not_attacked_needs_no_bounds() {
    let any = |units| {
        let mut options = Options::default();
        options.units = units;
        options.unbounded = true;
        options
    };
    let floats = x("<f4", "(1, 2)", &f32s(&[5.0, -7.0]));
    let set = open_as("a.npz", &floats, &any(None)).unwrap();
    assert_eq!(first(&set).1, f32::MIN);
    let csv = open_as("a.csv", b"a,y\n5,0\n", &any(None)).unwrap();
    assert_eq!(first(&csv).2, f32::MAX);
    let whole = x("|i1", "(1, 2)", &[5, 7]);
    assert_says(&refusal("a.npz", &whole, &any(None)), &["no bounds"]);
    let set = open_as("a.npz", &whole, &any(Some(Units::Raw))).unwrap();
    assert_eq!(first(&set).0, [5.0, 7.0]);
    // Bounds that are stated or implied by the type still apply.
    let mut outside = unit();
    outside.unbounded = true;
    assert_says(&refusal("a.npz", &floats, &outside), &["bounds 0,1"]);
    let pixels = x("|u1", "(1, 1, 2)", &[51, 255]);
    let set = open_as("a.npz", &pixels, &any(None)).unwrap();
    assert_eq!((first(&set).0, first(&set).2), (vec![0.2, 1.0], 1.0));
}

/// A set keeps the integer type of the file, so that values can be written with it again.
#[test]
fn whole_numbers_as_stored_keep_their_type() {
    let i16s = [1_i16, 2].map(i16::to_le_bytes).concat();
    for (file, options, expected) in [
        (x("|u1", "(1, 2)", &[0, 1]), raw(), Some("uint8")),
        (x("|u1", "(1, 2)", &[0, 1]), scaled(), None),
        (x("|u1", "(1, 1, 2)", &[0, 1]), Options::default(), None),
        (x("<i2", "(1, 2)", &i16s), within(0.0, 9.0), Some("int16")),
        (
            x("<i8", "(1, 2)", &i64s(&[1, 2])),
            within(0.0, 9.0),
            Some("int64"),
        ),
        (
            x("|b1", "(1, 2)", &[0, 1]),
            Options::default(),
            Some("bool"),
        ),
        (x("<f4", "(1, 2)", &f32s(&[1.0, 0.0])), unit(), None),
    ] {
        let set = open_as("a.npz", &file, &options).unwrap();
        assert_eq!(set.modalities[0].whole, expected, "{options:?}");
        assert_eq!(set.select(&[0]).modalities[0].whole, expected);
    }
}

#[test]
fn stated_units_are_used() {
    let bytes = |shape: &str| x("|u1", shape, &[51, 255]);
    let flat = open_as("a.npz", &bytes("(1, 2)"), &scaled()).unwrap();
    assert_eq!(
        first(&flat),
        (vec![0.2, 1.0], 0.0, 1.0, Kind::Table, "uint8 / 255")
    );
    // The range of the type applies if no bounds are stated.
    for (shape, kind) in [("(1, 2)", Kind::Table), ("(1, 1, 2)", Kind::Image)] {
        let set = open_as("a.npz", &bytes(shape), &raw()).unwrap();
        assert_eq!(
            first(&set),
            (vec![51.0, 255.0], 0.0, 255.0, kind, "uint8 as stored")
        );
        let set = open_as("a.npz", &bytes(shape), &both(Units::Raw, 0.0, 300.0)).unwrap();
        assert_eq!(first(&set).2, 300.0);
    }
    let deep = x("<u2", "(1, 1, 2)", &[0xff, 0xff, 0, 0]);
    assert_says(
        &refusal("a.npz", &deep, &Options::default()),
        &["uint16", "65535"],
    );
    let set = open_as("a.npz", &deep, &scaled()).unwrap();
    assert_eq!(
        first(&set),
        (vec![1.0, 0.0], 0.0, 1.0, Kind::Image, "uint16 / 65535")
    );
    let set = open_as("a.npz", &deep, &raw()).unwrap();
    assert_eq!(
        (first(&set).0, first(&set).2),
        (vec![65_535.0, 0.0], 65_535.0)
    );
    // Scans in signed 16 bits are not sound.
    let scan = x("<i2", "(1, 1, 2)", &[0x18, 0xfc, 0, 0]);
    let set = open_as("a.npz", &scan, &within(-1024.0, 3071.0)).unwrap();
    assert_eq!(
        (first(&set).0, first(&set).3),
        (vec![-1000.0, 0.0], Kind::Image)
    );
}

#[test]
fn units_that_do_not_apply_are_refused() {
    let whole = x("<i4", "(1, 1)", &[1, 0, 0, 0]);
    assert_says(
        &refusal("a.npz", &whole, &scaled()),
        &["`x`", "int32", "--units scaled"],
    );
    assert_says(
        &refusal("a.npz", &whole, &raw()),
        &["`x`", "int32", "--bounds LO,HI"],
    );
    let sound = x("<i2", "(1, 2)", &[0; 4]);
    assert_says(
        &refusal("a.npz", &sound, &raw()),
        &["int16", "--bounds LO,HI"],
    );
    let message = refusal("a.npz", &sound, &both(Units::Scaled, 0.0, 1.0));
    assert_says(&message, &["int16 / 32768", "-1,1"]);
    assert_says(
        &proofmark_data::open("digits", &raw())
            .unwrap_err()
            .to_string(),
        &["digits", "--units"],
    );
}

#[test]
fn booleans_and_halves_are_numbers() {
    let set = open_as("a.npz", &x("|b1", "(1, 2)", &[1, 0]), &Options::default()).unwrap();
    assert_eq!(
        first(&set),
        (vec![1.0, 0.0], 0.0, 1.0, Kind::Table, "bool as 0 and 1")
    );
    let set = open_as("a.npz", &x("<f2", "(1, 2)", &[0, 0x38, 0, 0x3c]), &unit()).unwrap();
    assert_eq!(first(&set).0, [0.5, 1.0]);
    assert_eq!(first(&set).4, "float16 as stored");
}

/// Pixels beside a table: bounds apply to the arrays that need them.
#[test]
fn each_array_has_its_own_units_and_bounds() {
    let file = zipped(&[
        ("image", npy("|u1", false, "(1, 1, 1)", &[255])),
        ("age", npy("|u1", false, "(1, 1)", &[40])),
        ("mask", npy("<i8", false, "(1, 1)", &i64s(&[1]))),
    ]);
    let mut options = within(0.0, 1.0);
    let message = refusal("a.npz", &file, &options);
    assert_says(&message, &["`age`", "40", "bounds 0,1"]);
    let age = Bounds::uniform(0.0, 120.0).unwrap();
    options.array_bounds.insert("age".to_owned(), age);
    let set = open_as("a.npz", &file, &options).unwrap();
    let high: Vec<f32> = set
        .modalities
        .iter()
        .map(|c| c.modality.bounds.high(0))
        .collect();
    assert_eq!(high, [1.0, 120.0, 1.0]);
    let values: Vec<f32> = set.modalities.iter().map(|c| c.values[[0, 0]]).collect();
    assert_eq!(values, [1.0, 40.0, 1.0]);
    let stray = Bounds::uniform(0.0, 1.0).unwrap();
    options.array_bounds.insert("agee".to_owned(), stray);
    assert_says(
        &refusal("a.npz", &file, &options),
        &["no array `agee`", "`age`"],
    );
}

#[test]
fn the_same_rules_hold_in_other_files() {
    // Flat vectors of bytes in IDX.
    let flat = idx(0x08, &[1, 2], &[51, 255]);
    assert_says(
        &refusal("a.idx", &flat, &Options::default()),
        &["uint8", "--units scaled"],
    );
    let set = open_as("a.idx", &flat, &scaled()).unwrap();
    assert_eq!(first(&set).0, [0.2, 1.0]);
    assert_eq!(
        first(&open_as("a.idx", &flat, &within(0.0, 255.0)).unwrap()).0,
        [51.0, 255.0]
    );
    // A table of pixels as text.
    let csv = b"p0,p1,y\n51,255,0\n";
    let message = refusal("a.csv", csv, &Options::default());
    assert_says(&message, &["from 51 to 255", "--bounds LO,HI"]);
    assert_says(
        &refusal("a.csv", csv, &unit()),
        &["`p0`, line 2", "51", "--units scaled"],
    );
    let set = open_as("a.csv", csv, &scaled()).unwrap();
    assert_eq!(
        first(&set),
        (vec![0.2, 1.0], 0.0, 1.0, Kind::Table, "whole numbers / 255")
    );
    let set = open_as("a.csv", csv, &within(0.0, 255.0)).unwrap();
    assert_eq!(
        (first(&set).0, first(&set).4),
        (vec![51.0, 255.0], "numbers as written")
    );
    for beyond in ["256", "-1"] {
        let file = format!("p0,p1\n51,{beyond}\n");
        let refused = refusal("a.csv", file.as_bytes(), &scaled());
        assert_says(&refused, &["`p1`, line 2", beyond, "from 0 to 255"]);
    }
    let odd = refusal("a.csv", b"p0,p1\n51,0.5\n", &scaled());
    assert_says(&odd, &["`p1`, line 2", "0.5", "whole number from 0 to 255"]);
    // CIFAR.
    let mut record = vec![3];
    record.resize(3073, 51);
    assert_eq!(
        first(&open_as("a.bin", &record, &raw()).unwrap()).0[0],
        51.0
    );
    assert_eq!(
        first(&open_as("a.bin", &record, &Options::default()).unwrap()).0[0],
        0.2
    );
}

/// 64-bit ids and masks must not be rounded to neighbouring values.
#[test]
fn a_whole_number_that_single_precision_rounds_is_refused() {
    let open = |v: i64| {
        let file = x("<i8", "(2, 1)", &i64s(&[0, v]));
        open_as("a.npz", &file, &both(Units::Raw, -1e13, 1e13))
    };
    for kept in [16_777_215, 16_777_216, 16_777_218, -16_777_216, 1 << 40] {
        assert_eq!(
            open(kept).unwrap().modalities[0].values[[1, 0]],
            kept as f32
        );
    }
    for lost in [16_777_217, -16_777_217, (1 << 40) + 1] {
        let error = open(lost).unwrap_err().to_string();
        let place = format!("row 1, feature 0: {lost};");
        assert!(
            error.contains(&place) && error.contains("16777216"),
            "{error}"
        );
    }
}
