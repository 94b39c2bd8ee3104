//! Arrays of any element type: as they are read, and as they are written.

use std::io::{self, Write};

use half::f16;
use ndarray::{ArrayD, ArrayViewD};
use proofmark_domain::SampleId;

use crate::npy;

/// How an element type is named and written.
trait Element {
    /// As a .npy header has it.
    const DESCR: &'static str;

    fn write(&self, to: &mut impl Write) -> io::Result<()>;
}

macro_rules! plain {
    ($($type:ty, $descr:literal;)*) => {$(
        impl Element for $type {
            const DESCR: &'static str = $descr;

            fn write(&self, to: &mut impl Write) -> io::Result<()> {
                to.write_all(&self.to_le_bytes())
            }
        }
    )*};
}
plain! {
    i8, "|i1"; i16, "<i2"; i32, "<i4"; i64, "<i8";
    u8, "|u1"; u16, "<u2"; u32, "<u4"; u64, "<u8";
    f16, "<f2"; f32, "<f4"; f64, "<f8";
}

impl Element for bool {
    const DESCR: &'static str = "|b1";

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&[u8::from(*self)])
    }
}

macro_rules! every_type {
    ($($variant:ident($type:ty), $name:literal;)*) => {
        /// An array read from a file, with the element type it has there.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        pub enum AnyArray {
            $($variant(ArrayD<$type>),)*
            Text(ArrayD<String>),
        }

        /// One array to write.
        #[derive(Debug, Clone)]
        #[allow(missing_docs)]
        pub enum NpzArray<'a> {
            $($variant(ArrayViewD<'a, $type>),)*
            /// Of fixed width: trailing zero characters are lost, as in `NumPy`.
            Text(ArrayViewD<'a, String>),
            /// Sample ids, one axis: `i64` if all are rows, else text.
            Ids(&'a [SampleId]),
        }

        $(impl From<ArrayD<$type>> for AnyArray {
            fn from(array: ArrayD<$type>) -> Self {
                Self::$variant(array)
            }
        })*

        impl AnyArray {
            /// `NumPy`'s name of the element type: `float32`, `int64`, `bool`, `str`.
            pub fn dtype(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Text(_) => "str",
                }
            }

            /// Length of each dimension; none for a scalar.
            pub fn shape(&self) -> &[usize] {
                match self {
                    $(Self::$variant(a) => a.shape(),)*
                    Self::Text(a) => a.shape(),
                }
            }

            /// The same array, to be written.
            pub fn view(&self) -> NpzArray<'_> {
                match self {
                    $(Self::$variant(a) => NpzArray::$variant(a.view()),)*
                    Self::Text(a) => NpzArray::Text(a.view()),
                }
            }
        }

        impl NpzArray<'_> {
            /// The header, and about how many bytes of data follow it.
            pub(crate) fn header(&self) -> (Vec<u8>, u64) {
                match self {
                    $(Self::$variant(a) => (
                        npy::header(<$type as Element>::DESCR, a.shape()),
                        (size_of::<$type>() * a.len()) as u64,
                    ),)*
                    Self::Text(a) => text_header(a.shape(), width(a.iter().map(String::as_str))),
                    Self::Ids(ids) => match rows(ids) {
                        Some(rows) => (npy::header(i64::DESCR, &[rows.len()]), 8 * rows.len() as u64),
                        None => {
                            let names = names(ids);
                            text_header(&[ids.len()], width(names.iter().map(String::as_str)))
                        }
                    },
                }
            }

            /// The elements, row by row.
            pub(crate) fn write_data(&self, to: &mut impl Write) -> io::Result<()> {
                match self {
                    $(Self::$variant(a) => a.iter().try_for_each(|v| Element::write(v, to)),)*
                    Self::Text(a) => write_text(a.iter().map(String::as_str), to),
                    Self::Ids(ids) => match rows(ids) {
                        Some(rows) => rows.iter().try_for_each(|v| Element::write(v, to)),
                        None => write_text(names(ids).iter().map(String::as_str), to),
                    },
                }
            }
        }
    };
}
every_type! {
    Bool(bool), "bool";
    I8(i8), "int8";
    I16(i16), "int16";
    I32(i32), "int32";
    I64(i64), "int64";
    U8(u8), "uint8";
    U16(u16), "uint16";
    U32(u32), "uint32";
    U64(u64), "uint64";
    F16(f16), "float16";
    F32(f32), "float32";
    F64(f64), "float64";
}

impl From<ArrayD<String>> for AnyArray {
    fn from(array: ArrayD<String>) -> Self {
        Self::Text(array)
    }
}

fn rows(ids: &[SampleId]) -> Option<Vec<i64>> {
    ids.iter()
        .map(|id| match id {
            SampleId::Row(row) => i64::try_from(*row).ok(),
            SampleId::Name(_) => None,
        })
        .collect()
}

fn names(ids: &[SampleId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

/// The longest text, in characters; numpy has no text of width 0.
fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|t| t.chars().count()).max().unwrap_or(0).max(1)
}

fn text_header(shape: &[usize], width: usize) -> (Vec<u8>, u64) {
    let header = npy::header(&format!("<U{width}"), shape);
    (header, (4 * width * shape.iter().product::<usize>()) as u64)
}

fn write_text<'a>(
    texts: impl Iterator<Item = &'a str> + Clone,
    to: &mut impl Write,
) -> io::Result<()> {
    let width = width(texts.clone());
    for text in texts {
        let padded = text.chars().chain(std::iter::repeat('\0')).take(width);
        for c in padded {
            to.write_all(&u32::from(c).to_le_bytes())?;
        }
    }
    Ok(())
}
