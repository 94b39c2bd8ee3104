//! Arrays of any element type, to be read and to be written.

use std::io::{self, Write};

use half::f16;
use ndarray::{ArrayD, ArrayViewD};
use proofmark_domain::Kind;
use proofmark_domain::SampleId;

use crate::units::{Rule, is_whole, rule, scale};
use crate::{Units, npy};

/// Name and encoding of an element type.
trait Element {
    /// Name in a .npy header.
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
            /// Text of fixed width: trailing zero characters are lost, as in `NumPy`.
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
            /// Returns `NumPy`'s name of the element type: `float32`, `int64`, `bool`, `str`.
            pub fn dtype(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Text(_) => "str",
                }
            }

            /// Returns the length of each dimension; empty for a scalar.
            pub fn shape(&self) -> &[usize] {
                match self {
                    $(Self::$variant(a) => a.shape(),)*
                    Self::Text(a) => a.shape(),
                }
            }

            /// Returns a view of the array, to be written.
            pub fn view(&self) -> NpzArray<'_> {
                match self {
                    $(Self::$variant(a) => NpzArray::$variant(a.view()),)*
                    Self::Text(a) => NpzArray::Text(a.view()),
                }
            }
        }

        impl NpzArray<'_> {
            /// Returns the header, and the approximate number of bytes of data that follow it.
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

            /// Writes the elements in row-major order.
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

/// Numbers of an array in data units.
#[derive(Debug, Clone, PartialEq)]
pub struct InUnits {
    /// Values in row-major order.
    pub values: Vec<f32>,
    /// Rule that was applied to get the values.
    pub rule: Rule,
    /// Integer type (or `bool`) of the values in the file; `None` if they are not as stored.
    pub whole: Option<&'static str>,
}

/// Reason why an array has no numbers in data units.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotInUnits {
    /// The array holds text.
    #[error("holds text; expected numbers")]
    Text,
    /// `scaled` is requested for a type without a usual divisor.
    #[error("is {0}, which has no scale; leave `--units scaled` out, or say `--units raw`")]
    NoScale(&'static str),
    /// A whole number that changes when rounded to 32 bits.
    #[error("holds {value}; expected {EXACT}")]
    Rounded {
        /// Index of the number in row-major order.
        at: usize,
        /// The number.
        value: i128,
    },
}

/// Whole numbers that are accepted.
pub(crate) const EXACT: &str =
    "whole numbers that a 32-bit float holds exactly, as it does all up to 16777216";

impl AnyArray {
    /// Whether the element type is an integer type.
    pub fn is_whole(&self) -> bool {
        is_whole(self.dtype())
    }

    /// Returns the divisor used to scale the numbers; `None` if the type has no usual scale.
    pub fn scale(&self) -> Option<f32> {
        scale(self.dtype())
    }

    /// Returns the rule by which the numbers become data units, given the stated `kind`, if any.
    pub fn rule(&self, units: Option<Units>, kind: Option<Kind>) -> Result<Rule, NotInUnits> {
        let dtype = self.dtype();
        rule(dtype, self.shape().len(), units, kind).ok_or(NotInUnits::NoScale(dtype))
    }

    /// Returns the numbers that a floating-point model is given, by the stated `kind`, if any. Whole numbers are never
    /// rounded: that is an error.
    ///
    /// ```
    /// use proofmark_data::{Units, ndarray::arr1, npz::AnyArray};
    /// let pixels = || AnyArray::from(arr1(&[0_u8, 51]).into_dyn());
    /// assert_eq!(pixels().in_units(Some(Units::Scaled), None)?.values, [0.0, 0.2]);
    /// assert_eq!(pixels().in_units(Some(Units::Raw), None)?.values, [0.0, 51.0]);
    /// let large = AnyArray::from(arr1(&[16_777_217_i64]).into_dyn());
    /// assert!(large.in_units(None, None).is_err());
    /// # Ok::<(), proofmark_data::npz::NotInUnits>(())
    /// ```
    pub fn in_units(self, units: Option<Units>, kind: Option<Kind>) -> Result<InUnits, NotInUnits> {
        fn exact<T: Copy + Into<i128>>(
            values: ArrayD<T>,
            narrow: impl Fn(T) -> f32,
        ) -> Result<Vec<f32>, NotInUnits> {
            let each = values.into_iter().enumerate().map(|(at, v)| {
                let (read, value) = (narrow(v), v.into());
                if read as i128 == value {
                    Ok(read)
                } else {
                    Err(NotInUnits::Rounded { at, value })
                }
            });
            each.collect()
        }
        let dtype = self.dtype();
        let rule = self.rule(units, kind)?;
        let mut values: Vec<f32> = match self {
            Self::Bool(a) => a.into_iter().map(|v| f32::from(u8::from(v))).collect(),
            Self::U8(a) => a.into_iter().map(f32::from).collect(),
            Self::I8(a) => a.into_iter().map(f32::from).collect(),
            Self::U16(a) => a.into_iter().map(f32::from).collect(),
            Self::I16(a) => a.into_iter().map(f32::from).collect(),
            Self::I32(a) => exact(a, |v| v as f32)?,
            Self::I64(a) => exact(a, |v| v as f32)?,
            Self::U32(a) => exact(a, |v| v as f32)?,
            Self::U64(a) => exact(a, |v| v as f32)?,
            Self::F16(a) => a.into_iter().map(f16::to_f32).collect(),
            Self::F32(a) => a.into_iter().collect(),
            Self::F64(a) => a.into_iter().map(|v| v as f32).collect(),
            Self::Text(_) => return Err(NotInUnits::Text),
        };
        if let Some(divisor) = rule.divisor {
            for value in &mut values {
                *value /= divisor;
            }
        }
        let as_stored = rule.divisor.is_none() && (is_whole(dtype) || dtype == "bool");
        Ok(InUnits {
            values,
            rule,
            whole: as_stored.then_some(dtype),
        })
    }

    /// Returns an array of whole numbers of a type (`NumPy`'s name, as in [`InUnits::whole`]); `None` if the type is
    /// not one of these or does not hold one of the values.
    pub fn whole(dtype: &str, shape: &[usize], values: &[f32]) -> Option<Self> {
        // `i128` holds every whole `f32` that a 64-bit type could hold; a narrower type would saturate.
        fn all<T: TryFrom<i128>>(shape: &[usize], values: &[f32]) -> Option<AnyArray>
        where
            ArrayD<T>: Into<AnyArray>,
        {
            let whole = |v: &f32| (v.fract() == 0.0).then_some(*v as i128);
            let values: Option<Vec<T>> =
                values.iter().map(|v| T::try_from(whole(v)?).ok()).collect();
            Some(ArrayD::from_shape_vec(shape, values?).ok()?.into())
        }
        match dtype {
            "bool" => {
                let read = |v: &f32| [0.0, 1.0].contains(v).then_some(*v == 1.0);
                let values: Option<Vec<bool>> = values.iter().map(read).collect();
                Some(ArrayD::from_shape_vec(shape, values?).ok()?.into())
            }
            "int8" => all::<i8>(shape, values),
            "int16" => all::<i16>(shape, values),
            "int32" => all::<i32>(shape, values),
            "int64" => all::<i64>(shape, values),
            "uint8" => all::<u8>(shape, values),
            "uint16" => all::<u16>(shape, values),
            "uint32" => all::<u32>(shape, values),
            "uint64" => all::<u64>(shape, values),
            _ => None,
        }
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

/// Returns the length of the longest text in characters, at least 1: numpy has no text of width 0.
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
