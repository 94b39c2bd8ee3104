//! One array of a file, as raw bytes: shared by the npz, npy, IDX and CIFAR readers.

use half::f16;
use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use proofmark_domain::SampleId;

use crate::DataError;
use crate::typed::AnyArray;

/// Kind of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Bool,
    Unsigned,
    Signed,
    Float,
    /// Fixed-width bytes, padded with zeros (`S`).
    Bytes,
    /// Fixed-width UCS-4, padded with zeros (`U`).
    Text,
    /// Anything else: Python objects, records, dates, complex numbers.
    Other,
}

/// An element type as a file states it.
#[derive(Debug, Clone)]
pub(crate) struct Dtype {
    pub(crate) element: Element,
    /// Bytes of one element.
    pub(crate) size: usize,
    pub(crate) big_endian: bool,
    /// Type as the file states it, for messages.
    pub(crate) text: String,
}

impl Dtype {
    /// Returns `NumPy`'s name of the type: `uint8`, `float32`, `bool`.
    pub(crate) fn name(&self) -> String {
        let bits = 8 * self.size;
        match self.element {
            Element::Bool => "bool".to_owned(),
            Element::Unsigned => format!("uint{bits}"),
            Element::Signed => format!("int{bits}"),
            Element::Float => format!("float{bits}"),
            Element::Bytes | Element::Text => "text".to_owned(),
            Element::Other => self.text.clone(),
        }
    }
}

/// An array whose number of bytes matches its shape and type.
pub(crate) struct Array<'a> {
    /// Path of the file as given, for messages.
    pub(crate) file: &'a str,
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Whether the first index varies fastest, as in Fortran.
    fortran: bool,
    bytes: &'a [u8],
}

/// Returns the number of bytes an array of this shape needs; `None` on overflow.
pub(crate) fn bytes_needed(shape: &[usize], size: usize) -> Option<u128> {
    shape
        .iter()
        .try_fold(size as u128, |all, n| all.checked_mul(*n as u128))
}

impl<'a> Array<'a> {
    /// Checks the stated shape against the number of bytes.
    pub(crate) fn new(
        file: &'a str,
        name: &str,
        dtype: Dtype,
        shape: Vec<usize>,
        fortran: bool,
        bytes: &'a [u8],
    ) -> Result<Self, DataError> {
        let needed = bytes_needed(&shape, dtype.size);
        if needed != Some(bytes.len() as u128) {
            let needed = needed.map_or_else(|| "more".to_owned(), |n| n.to_string());
            return Err(DataError::Corrupt {
                file: file.to_owned(),
                part: format!("array `{name}`"),
                problem: format!(
                    "announces shape {shape:?} of {}, {needed} bytes, and holds {}; expected the same: the file is truncated or damaged",
                    dtype.text,
                    bytes.len()
                ),
            });
        }
        Ok(Self {
            file,
            name: name.to_owned(),
            dtype,
            shape,
            fortran,
            bytes,
        })
    }

    pub(crate) fn wrong_dtype(&self, expected: &'static str) -> DataError {
        DataError::Dtype {
            file: self.file.to_owned(),
            array: self.name.clone(),
            dtype: self.dtype.text.clone(),
            expected,
        }
    }

    pub(crate) fn wrong_shape(&self, expected: impl Into<String>) -> DataError {
        DataError::Shape {
            file: self.file.to_owned(),
            array: self.name.clone(),
            shape: self.shape.clone(),
            expected: expected.into(),
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "takes texts, numbers and errors alike"
    )]
    pub(crate) fn wrong_value(
        &self,
        place: String,
        value: impl ToString,
        expected: impl Into<String>,
    ) -> DataError {
        DataError::Value {
            file: self.file.to_owned(),
            at: format!("`{}`, {place}", self.name),
            value: value.to_string(),
            expected: expected.into(),
        }
    }

    /// Returns numbers and booleans, unscaled and rounded to `f32`, in row-major order; `None` for any other type.
    pub(crate) fn numbers(&self) -> Option<Vec<f32>> {
        Some(match (self.dtype.element, self.dtype.size) {
            (Element::Bool, 1) => self.each(|[v]| f32::from(u8::from(v != 0))),
            (Element::Unsigned, 1) => self.each(|[v]| f32::from(v)),
            (Element::Unsigned, 2) => self.each(|v| f32::from(u16::from_le_bytes(v))),
            (Element::Unsigned, 4) => self.each(|v| u32::from_le_bytes(v) as f32),
            (Element::Unsigned, 8) => self.each(|v| u64::from_le_bytes(v) as f32),
            (Element::Signed, 1) => self.each(|v| f32::from(i8::from_le_bytes(v))),
            (Element::Signed, 2) => self.each(|v| f32::from(i16::from_le_bytes(v))),
            (Element::Signed, 4) => self.each(|v| i32::from_le_bytes(v) as f32),
            (Element::Signed, 8) => self.each(|v| i64::from_le_bytes(v) as f32),
            (Element::Float, 2) => self.each(|v| f16::from_le_bytes(v).to_f32()),
            (Element::Float, 4) => self.each(f32::from_le_bytes),
            (Element::Float, 8) => self.each(|v| f64::from_le_bytes(v) as f32),
            _ => return None,
        })
    }

    /// Returns numbers and booleans in double precision; `None` for any other type.
    pub(crate) fn doubles(&self) -> Option<Vec<f64>> {
        Some(match (self.dtype.element, self.dtype.size) {
            (Element::Bool, 1) => self.each(|[v]| f64::from(u8::from(v != 0))),
            (Element::Float, 2) => self.each(|v| f16::from_le_bytes(v).to_f64()),
            (Element::Float, 4) => self.each(|v| f32::from_le_bytes(v).into()),
            (Element::Float, 8) => self.each(f64::from_le_bytes),
            _ => self.integers()?.into_iter().map(|v| v as f64).collect(),
        })
    }

    /// Returns integers of any width; `None` for any other type.
    pub(crate) fn integers(&self) -> Option<Vec<i128>> {
        let signed = self.dtype.element == Element::Signed;
        if !signed && self.dtype.element != Element::Unsigned {
            return None;
        }
        Some(match (signed, self.dtype.size) {
            (true, 1) => self.each(|v| i8::from_le_bytes(v).into()),
            (true, 2) => self.each(|v| i16::from_le_bytes(v).into()),
            (true, 4) => self.each(|v| i32::from_le_bytes(v).into()),
            (true, 8) => self.each(|v| i64::from_le_bytes(v).into()),
            (false, 1) => self.each(|v| u8::from_le_bytes(v).into()),
            (false, 2) => self.each(|v| u16::from_le_bytes(v).into()),
            (false, 4) => self.each(|v| u32::from_le_bytes(v).into()),
            (false, 8) => self.each(|v| u64::from_le_bytes(v).into()),
            _ => return None,
        })
    }

    /// Returns the sample ids: one name or whole number of at least 0 per sample.
    pub(crate) fn ids(&self) -> Result<Vec<SampleId>, DataError> {
        self.one_axis()?;
        if let Some(numbers) = self.integers() {
            return numbers
                .into_iter()
                .enumerate()
                .map(|(row, v)| {
                    u64::try_from(v).map(SampleId::Row).map_err(|_| {
                        self.wrong_value(format!("row {row}"), v, "a number of at least 0, or text")
                    })
                })
                .collect();
        }
        if !matches!(self.dtype.element, Element::Bytes | Element::Text) {
            return Err(self.wrong_dtype("integers or text (`U` or `S`)"));
        }
        self.texts()?
            .into_iter()
            .enumerate()
            .map(|(row, name)| {
                if name.is_empty() {
                    Err(self.wrong_value(format!("row {row}"), "an empty id", "some text"))
                } else {
                    Ok(SampleId::Name(name))
                }
            })
            .collect()
    }

    /// Returns the elements of an array of text.
    pub(crate) fn texts(&self) -> Result<Vec<String>, DataError> {
        if self.dtype.size == 0 {
            // A zero-width text type holds only empty texts, any number of them in zero bytes.
            return Err(self.wrong_dtype("text of at least one character"));
        }
        let decode = if self.dtype.element == Element::Bytes {
            bytes_to_text
        } else {
            ucs4_to_text
        };
        let cells = self.bytes.chunks_exact(self.dtype.size);
        let texts: Result<Vec<String>, DataError> = cells
            .enumerate()
            .map(|(row, cell)| {
                decode(cell, self.dtype.big_endian).ok_or_else(|| {
                    self.wrong_value(format!("row {row}"), "damaged text", "valid Unicode")
                })
            })
            .collect();
        Ok(self.row_major(texts?))
    }

    /// Returns the array with its own element type.
    pub(crate) fn any(&self) -> Result<AnyArray, DataError> {
        let (element, size) = (self.dtype.element, self.dtype.size);
        Ok(match (element, size) {
            (Element::Bool, _) => self.shaped(self.each(|[v]| v != 0))?.into(),
            (Element::Signed, 1) => self.shaped(self.each(i8::from_le_bytes))?.into(),
            (Element::Signed, 2) => self.shaped(self.each(i16::from_le_bytes))?.into(),
            (Element::Signed, 4) => self.shaped(self.each(i32::from_le_bytes))?.into(),
            (Element::Signed, 8) => self.shaped(self.each(i64::from_le_bytes))?.into(),
            (Element::Unsigned, 1) => self.shaped(self.each(u8::from_le_bytes))?.into(),
            (Element::Unsigned, 2) => self.shaped(self.each(u16::from_le_bytes))?.into(),
            (Element::Unsigned, 4) => self.shaped(self.each(u32::from_le_bytes))?.into(),
            (Element::Unsigned, 8) => self.shaped(self.each(u64::from_le_bytes))?.into(),
            (Element::Float, 2) => self.shaped(self.each(f16::from_le_bytes))?.into(),
            (Element::Float, 4) => self.shaped(self.each(f32::from_le_bytes))?.into(),
            (Element::Float, 8) => self.shaped(self.each(f64::from_le_bytes))?.into(),
            (Element::Bytes | Element::Text, _) => self.shaped(self.texts()?)?.into(),
            _ => return Err(self.wrong_dtype("bool, integers, f16, f32, f64 or text")),
        })
    }

    fn shaped<T>(&self, values: Vec<T>) -> Result<ArrayD<T>, DataError> {
        // Only an empty array whose other axes exceed memory can still fail.
        ArrayD::from_shape_vec(IxDyn(&self.shape), values)
            .map_err(|_| self.wrong_shape("axes whose product fits into memory"))
    }

    /// Returns the budgets: one finite number of at least 0 per sample.
    pub(crate) fn budgets(&self) -> Result<Vec<f32>, DataError> {
        let values = self
            .numbers()
            .ok_or_else(|| self.wrong_dtype("f32, f64 or integers"))?;
        self.one_axis()?;
        match values.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
            None => Ok(values),
            Some(row) => Err(self.wrong_value(
                format!("row {row}"),
                values[row],
                "a finite epsilon of at least 0",
            )),
        }
    }

    fn one_axis(&self) -> Result<(), DataError> {
        if matches!(self.shape[..], [_] | [_, 1]) {
            Ok(())
        } else {
            Err(self.wrong_shape("[n] or [n, 1], one entry per sample"))
        }
    }

    /// Converts every element from its little-endian bytes, in row-major order.
    fn each<const N: usize, T: Clone>(&self, convert: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (cells, _) = self.bytes.as_chunks::<N>();
        let values = cells.iter().map(|cell| {
            let mut cell = *cell;
            if self.dtype.big_endian {
                cell.reverse();
            }
            convert(cell)
        });
        self.row_major(values.collect())
    }

    /// Reorders elements from the order of the file to row-major order.
    fn row_major<T: Clone>(&self, values: Vec<T>) -> Vec<T> {
        if !self.fortran || values.len() <= 1 {
            return values;
        }
        match ArrayD::from_shape_vec(IxDyn(&self.shape).f(), values) {
            Ok(array) => array.iter().cloned().collect(),
            // `new` has checked that the shape fits the bytes, and there are at least two elements.
            Err(e) => unreachable!("{e}"),
        }
    }
}

fn bytes_to_text(cell: &[u8], _: bool) -> Option<String> {
    let text = String::from_utf8(cell.to_vec()).ok()?;
    Some(text.trim_end_matches('\0').to_owned())
}

fn ucs4_to_text(cell: &[u8], big_endian: bool) -> Option<String> {
    let (cells, _) = cell.as_chunks::<4>();
    let text: Option<String> = cells
        .iter()
        .map(|c| {
            char::from_u32(if big_endian {
                u32::from_be_bytes(*c)
            } else {
                u32::from_le_bytes(*c)
            })
        })
        .collect();
    Some(text?.trim_end_matches('\0').to_owned())
}
