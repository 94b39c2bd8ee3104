//! Arrays of every type, as stored in a file.

use half::f16;
use ndarray::{ArrayD, IxDyn};
use proofmark_data::npz::{AnyArray, NpzArray, arrays, write};
use proofmark_data::{DataError, Units};

use crate::make::*;

fn read(name: &str, bytes: &[u8]) -> Result<Vec<(String, AnyArray)>, DataError> {
    let folder = Folder::new();
    folder.put(name, bytes);
    arrays(&folder.path(name))
}

fn one(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> AnyArray {
    let file = zipped(&[("a", npy(descr, fortran, shape, data))]);
    let mut all = read("a.npz", &file).unwrap();
    let (name, array) = all.remove(0);
    assert_eq!((name.as_str(), all.len()), ("a", 0));
    array
}

fn shaped<T>(shape: &[usize], values: Vec<T>) -> AnyArray
where
    ArrayD<T>: Into<AnyArray>,
{
    ArrayD::from_shape_vec(IxDyn(shape), values).unwrap().into()
}

/// Checks 2 × 3 elements, given as little-endian bytes, in both byte orders and both orders of axes.
fn in_every_order(letter: &str, cells: &[Vec<u8>], expected: &AnyArray) {
    let size = cells[0].len();
    let little: Vec<u8> = cells.concat();
    let big: Vec<u8> = cells.iter().flat_map(|c| c.iter().rev().copied()).collect();
    // Row-major 0 1 2 / 3 4 5 is column-major 0 3 1 4 2 5.
    let columns: Vec<Vec<u8>> = [0, 3, 1, 4, 2, 5].map(|i| cells[i].clone()).to_vec();
    let descr = |order: &str| format!("{order}{letter}{size}");
    assert_eq!(one(&descr("<"), false, "(2, 3)", &little), *expected);
    assert_eq!(one(&descr(">"), false, "(2, 3)", &big), *expected);
    assert_eq!(
        one(&descr("<"), true, "(2, 3)", &columns.concat()),
        *expected
    );
    assert_eq!(one(&descr("="), false, "(2, 3)", &little), *expected);
}

macro_rules! numbers {
    ($($letter:literal $type:ty: $values:expr;)*) => {$(
        let values: Vec<$type> = $values.to_vec();
        let cells: Vec<Vec<u8>> = values.iter().map(|v| v.to_le_bytes().to_vec()).collect();
        in_every_order($letter, &cells, &shaped(&[2, 3], values));
    )*};
}

#[test]
fn numbers_keep_their_type() {
    let whole = |n: f32| f16::from_f32(n);
    numbers! {
        "i" i8: [-128, -1, 0, 1, 2, 127];
        "i" i16: [i16::MIN, -1, 0, 1, 2, i16::MAX];
        "i" i32: [i32::MIN, -1, 0, 1, 2, i32::MAX];
        "i" i64: [i64::MIN, -1, 0, 1, 2, i64::MAX];
        "u" u8: [0, 1, 2, 3, 4, 255];
        "u" u16: [0, 1, 2, 3, 4, u16::MAX];
        "u" u32: [0, 1, 2, 3, 4, u32::MAX];
        "u" u64: [0, 1, 2, 3, 4, u64::MAX];
        "f" f16: [whole(-2.0), whole(0.5), whole(0.0), whole(1.0), f16::MAX, f16::INFINITY];
        "f" f32: [-2.0, 0.1, 0.0, 1.0, f32::MAX, f32::INFINITY];
        "f" f64: [-2.0, 0.1, 0.0, 1.0, f64::MAX, f64::INFINITY];
    }
}

#[test]
fn booleans_and_text_keep_their_type() {
    let bools = shaped(&[3], vec![true, false, true]);
    assert_eq!(one("|b1", false, "(3,)", &[1, 0, 2]), bools);
    assert_eq!((bools.dtype(), bools.shape()), ("bool", &[3][..]));
    let texts = shaped(&[2], vec!["ab".to_owned(), "\u{e9}".to_owned()]);
    let ucs4: Vec<u8> = ['a', 'b', '\u{e9}', '\0']
        .iter()
        .flat_map(|c| u32::from(*c).to_le_bytes())
        .collect();
    assert_eq!(one("<U2", false, "(2,)", &ucs4), texts);
    assert_eq!(texts.dtype(), "str");
    let bytes = shaped(&[2, 2], ["a", "b", "c", "d"].map(str::to_owned).to_vec());
    assert_eq!(one("|S1", true, "(2, 2)", b"acbd"), bytes);
}

#[test]
fn scalars_and_empty_arrays_keep_their_shape() {
    assert_eq!(
        one("<i8", false, "()", &i64s(&[16_000])),
        shaped(&[], vec![16_000_i64])
    );
    assert_eq!(
        one("<f4", true, "(0, 3)", &[]),
        shaped(&[0, 3], Vec::<f32>::new())
    );
    let huge = "(0, 99999999999999, 99999999999999)";
    for fortran in [false, true] {
        let file = zipped(&[("a", npy("<f4", fortran, huge, &[]))]);
        let message = read("a.npz", &file).unwrap_err().to_string();
        assert_says(&message, &["a.npz", "`a`", "99999999999999", "memory"]);
        assert!(
            open_as(
                "a.npz",
                &zipped(&[("x", npy("<f4", fortran, huge, &[]))]),
                &unit()
            )
            .is_err()
        );
    }
}

#[test]
fn an_npy_array_has_the_name_of_its_file() {
    let all = read("speech.npy", &npy("<i2", false, "(1,)", &[1, 0])).unwrap();
    assert_eq!(all, [("speech".to_owned(), shaped(&[1], vec![1_i16]))]);
}

#[test]
fn every_array_is_read_including_groups() {
    let file = zipped(&[
        ("/conv1/Relu_output_0", small_x()),
        ("group_age", labels(&[1, 2])),
        ("y", labels(&[0, 1])),
    ]);
    let names: Vec<String> = read("a.npz", &file)
        .unwrap()
        .into_iter()
        .map(|a| a.0)
        .collect();
    assert_eq!(names, ["/conv1/Relu_output_0", "group_age", "y"]);
}

#[test]
fn unreadable_arrays_are_named() {
    for (descr, data) in [
        ("<c8", &[0; 8][..]),
        ("|O", &[0; 8]),
        ("<f16", &[0; 16]),
        ("|V2", &[0; 2]),
        ("<U0", &[]),
    ] {
        let file = zipped(&[("a", npy(descr, false, "(1,)", data))]);
        let message = read("a.npz", &file).unwrap_err().to_string();
        assert_says(&message, &["a.npz", "`a`", descr, "expected", "text"]);
    }
    let file = npy("<f4", false, "(3,)", &[0; 8]);
    let message = read("a.npy", &file).unwrap_err().to_string();
    assert_says(&message, &["a.npy", "`a`", "12 bytes", "holds 8"]);
    for (name, bytes) in [
        ("a.npy", &b""[..]),
        ("a.npz", b"PK"),
        ("a.npy", b"\x93NUMPY\x01"),
    ] {
        assert_says(&read(name, bytes).unwrap_err().to_string(), &[name]);
    }
    let nowhere = arrays(&Folder::new().path("no.npz")).unwrap_err();
    assert_says(&nowhere.to_string(), &["no.npz", "cannot be read"]);
}

#[test]
fn every_type_that_is_written_is_read_back() {
    let half = [0.5, -1.0].map(f16::from_f32).to_vec();
    let all = [
        ("bool", shaped(&[2], vec![true, false])),
        ("int8", shaped(&[2], vec![-1_i8, 2])),
        ("int16", shaped(&[1, 2], vec![-1_i16, 2])),
        ("int32", shaped(&[2, 1], vec![-1_i32, 2])),
        ("int64", shaped(&[], vec![i64::MIN])),
        ("uint8", shaped(&[0, 4], Vec::<u8>::new())),
        ("uint16", shaped(&[2], vec![1_u16, 2])),
        ("uint32", shaped(&[2], vec![1_u32, u32::MAX])),
        ("uint64", shaped(&[2], vec![1_u64, u64::MAX])),
        ("float16", shaped(&[2], half)),
        ("float32", shaped(&[], vec![0.1_f32])),
        ("float64", shaped(&[2], vec![0.1, f64::NEG_INFINITY])),
        (
            "str",
            shaped(&[2, 1], vec![String::new(), "z\u{1f600}".into()]),
        ),
        ("/with/slashes:0", shaped(&[1], vec![1.0_f32])),
    ];
    let views: Vec<(&str, NpzArray<'_>)> = all.iter().map(|(n, a)| (*n, a.view())).collect();
    let folder = Folder::new();
    let path = folder.path("all.npz");
    write(&path, &views).unwrap();
    let back = arrays(&path).unwrap();
    assert_eq!(back.len(), all.len());
    for ((name, given), (read_name, read)) in all.iter().zip(&back) {
        assert_eq!((*name, given), (read_name.as_str(), read));
        assert!(name.starts_with('/') || read.dtype() == *name);
    }
}

#[test]
fn whole_numbers_are_written_in_a_type_that_holds_them() {
    let of = |dtype: &str, values: &[f32]| AnyArray::whole(dtype, &[values.len()], values);
    for (dtype, low, high, beyond) in [
        ("bool", 0.0, 1.0, 2.0),
        ("int8", -128.0, 127.0, 128.0),
        ("uint8", 0.0, 255.0, -1.0),
        ("int16", -32_768.0, 32_767.0, 32_768.0),
        ("uint16", 0.0, 65_535.0, 65_536.0),
        ("int32", -16_777_216.0, 16_777_216.0, 2_147_483_648.0),
        ("uint32", 0.0, 16_777_216.0, -1.0),
        ("int64", -16_777_216.0, 16_777_216.0, 0.5),
        ("uint64", 0.0, 16_777_216.0, -1.0),
    ] {
        let array = of(dtype, &[low, high]).expect(dtype);
        assert_eq!((array.dtype(), array.shape()), (dtype, &[2][..]));
        let read = array.in_units(Some(Units::Raw), None).expect(dtype);
        assert_eq!((read.values, read.whole), (vec![low, high], Some(dtype)));
        for odd in [beyond, 0.5, f32::NAN, f32::INFINITY] {
            assert_eq!(of(dtype, &[low, odd]), None, "{dtype} {odd}");
        }
    }
    assert_eq!(of("float32", &[1.0]), None);
    assert_eq!(AnyArray::whole("int8", &[3], &[1.0]), None);
}
