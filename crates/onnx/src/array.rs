//! Typed values on the host: constants, shapes, indices, labels.

use std::sync::{Arc, OnceLock};

use burn::tensor::Device;
use half::{bf16, f16};

use crate::dtype::DType;
use crate::room;
use crate::tensor::Tensor;

/// Elements of an [`Array`] in row-major order.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Data {
    Bool(Vec<bool>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Text(Vec<String>),
}

/// Runs `$body` with `$v` bound to the vector inside, whatever its type.
macro_rules! with_data {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            $crate::array::Data::Bool($v) => $body,
            $crate::array::Data::I8($v) => $body,
            $crate::array::Data::I16($v) => $body,
            $crate::array::Data::I32($v) => $body,
            $crate::array::Data::I64($v) => $body,
            $crate::array::Data::U8($v) => $body,
            $crate::array::Data::U16($v) => $body,
            $crate::array::Data::U32($v) => $body,
            $crate::array::Data::U64($v) => $body,
            $crate::array::Data::F16($v) => $body,
            $crate::array::Data::BF16($v) => $body,
            $crate::array::Data::F32($v) => $body,
            $crate::array::Data::F64($v) => $body,
            $crate::array::Data::Text($v) => $body,
        }
    };
}
pub(crate) use with_data;

macro_rules! from_vec {
    ($($variant:ident($type:ty)),*) => {$(
        impl From<Vec<$type>> for Data {
            fn from(v: Vec<$type>) -> Self {
                Self::$variant(v)
            }
        }
    )*};
}
from_vec!(
    Bool(bool),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    F16(f16),
    BF16(bf16),
    F32(f32),
    F64(f64),
    Text(String)
);

impl Data {
    /// Number of elements.
    pub fn len(&self) -> usize {
        with_data!(self, v => v.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Bool(_) => DType::Bool,
            Self::I8(_) => DType::I8,
            Self::I16(_) => DType::I16,
            Self::I32(_) => DType::I32,
            Self::I64(_) => DType::I64,
            Self::U8(_) => DType::U8,
            Self::U16(_) => DType::U16,
            Self::U32(_) => DType::U32,
            Self::U64(_) => DType::U64,
            Self::F16(_) => DType::F16,
            Self::BF16(_) => DType::BF16,
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
            Self::Text(_) => DType::Text,
        }
    }
}

/// A typed array on the host. Cloning and reshaping share the elements.
#[derive(Debug, Clone)]
pub struct Array {
    shape: Vec<usize>,
    data: Arc<Data>,
    /// Copy of the values on a device, filled by the first call of [`Array::on`]. Clones share it.
    uploaded: Arc<OnceLock<(Device, Tensor)>>,
}

impl PartialEq for Array {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.data == other.data
    }
}

/// Index for which [`Array::pick`] writes the default (zero, false, "") instead of an element.
pub(crate) const NOWHERE: usize = usize::MAX;

impl Array {
    /// Returns an array; an error if the number of elements is not that of the shape.
    pub fn try_new(shape: impl Into<Vec<usize>>, data: impl Into<Data>) -> Result<Self, String> {
        let (shape, data) = (shape.into(), data.into());
        let expected = room::elements(&shape)?;
        if expected != data.len() {
            return Err(format!(
                "{} elements for shape {shape:?}; expected {expected}",
                data.len()
            ));
        }
        Ok(Self {
            shape,
            data: Arc::new(data),
            uploaded: Arc::default(),
        })
    }

    /// Returns an array. Panics if the number of elements is not that of the shape.
    pub(crate) fn new(shape: impl Into<Vec<usize>>, data: impl Into<Data>) -> Self {
        Self::try_new(shape, data).expect("as many elements as the shape has")
    }

    /// Returns a one-dimensional array of integers, `[n]`.
    pub(crate) fn list(values: Vec<i64>) -> Self {
        Self::new([values.len()], values)
    }

    /// Length of each dimension; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// Elements in row-major order.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Returns the same elements in another shape with the same number of elements.
    pub(crate) fn reshape(&self, shape: &[usize]) -> Result<Self, String> {
        if room::elements(shape)? == self.len() {
            Ok(Self {
                shape: shape.to_vec(),
                data: Arc::clone(&self.data),
                uploaded: Arc::default(),
            })
        } else {
            Err(format!("{:?} cannot be reshaped to {shape:?}", self.shape))
        }
    }

    /// Returns an array of `shape` whose element `i` is element `from[i]` of this one, or the default at [`NOWHERE`].
    ///
    /// Every operator that only moves elements is such a map, whatever the element type.
    pub(crate) fn pick(&self, from: &[usize], shape: impl Into<Vec<usize>>) -> Self {
        fn moved<T: Clone + Default>(v: &[T], from: &[usize]) -> Vec<T> {
            from.iter()
                .map(|i| v.get(*i).cloned().unwrap_or_default())
                .collect()
        }
        let data: Data = with_data!(self.data(), v => moved(v, from).into());
        Self::new(shape, data)
    }

    /// Concatenates the elements of several arrays of one type into a one-dimensional array.
    pub(crate) fn chain(parts: &[Self]) -> Result<Self, String> {
        let dtype = parts.first().ok_or("nothing to concatenate")?.dtype();
        if let Some(other) = parts.iter().find(|p| p.dtype() != dtype) {
            return Err(format!(
                "values of type {dtype} and {} together",
                other.dtype()
            ));
        }
        let total = parts
            .iter()
            .try_fold(0usize, |n, p| n.checked_add(p.len()))
            .ok_or("too many elements")?;
        room::elements(&[total])?;
        macro_rules! chained {
            ($($variant:ident),*) => {
                match dtype {$(
                    DType::$variant => {
                        let slices: Vec<_> = parts
                            .iter()
                            .filter_map(|p| match p.data() {
                                Data::$variant(v) => Some(v.as_slice()),
                                _ => None,
                            })
                            .collect();
                        Data::$variant(slices.concat())
                    }
                )*}
            };
        }
        let data = chained!(
            Bool, I8, I16, I32, I64, U8, U16, U32, U64, F16, BF16, F32, F64, Text
        );
        Self::try_new([total], data)
    }

    /// Returns the elements as `f64` (booleans as 0 and 1); strings are an error. 64-bit integers beyond 2^53 are
    /// rounded.
    pub fn to_f64(&self) -> Result<Vec<f64>, String> {
        Ok(match self.data() {
            Data::Bool(v) => v.iter().map(|x| f64::from(u8::from(*x))).collect(),
            Data::I8(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Data::I16(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Data::I32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Data::I64(v) => v.iter().map(|x| *x as f64).collect(),
            Data::U8(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Data::U16(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Data::U32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Data::U64(v) => v.iter().map(|x| *x as f64).collect(),
            Data::F16(v) => v.iter().map(|x| x.to_f64()).collect(),
            Data::BF16(v) => v.iter().map(|x| x.to_f64()).collect(),
            Data::F32(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Data::F64(v) => v.clone(),
            Data::Text(_) => return Err("strings where numbers are expected".into()),
        })
    }

    /// Returns the elements as `f32`; strings are an error.
    pub fn to_f32(&self) -> Result<Vec<f32>, String> {
        match self.data() {
            Data::F32(v) => Ok(v.clone()),
            _ => Ok(self.to_f64()?.into_iter().map(|x| x as f32).collect()),
        }
    }

    /// Returns the elements of an integer or boolean array; any other type is an error.
    pub fn to_ints(&self) -> Result<Vec<i64>, String> {
        Ok(match self.data() {
            Data::Bool(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Data::I8(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Data::I16(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Data::I32(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Data::I64(v) => v.clone(),
            Data::U8(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Data::U16(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Data::U32(v) => v.iter().map(|x| i64::from(*x)).collect(),
            Data::U64(v) => v
                .iter()
                .map(|x| i64::try_from(*x).map_err(|_| format!("{x} is too large")))
                .collect::<Result<_, _>>()?,
            _ => {
                return Err(format!(
                    "a list of type {} where integers are expected",
                    self.dtype()
                ));
            }
        })
    }

    /// Converts the elements to another type as ONNX's Cast does: floats are truncated towards zero and saturate at the
    /// limits of the integer type (undefined in ONNX); conversions between integer types wrap.
    pub fn cast(&self, to: DType) -> Result<Self, String> {
        if self.dtype() == to {
            return Ok(self.clone());
        }
        // Converts between integers directly; going through `f64` would lose bits beyond 2^53.
        macro_rules! wrapped {
            ($variant:ident, $type:ty) => {
                match self.data() {
                    Data::I64(v) => Data::$variant(v.iter().map(|x| *x as $type).collect()),
                    Data::U64(v) => Data::$variant(v.iter().map(|x| *x as $type).collect()),
                    Data::F16(_) | Data::BF16(_) | Data::F32(_) | Data::F64(_) => {
                        Data::$variant(self.to_f64()?.into_iter().map(|x| x as $type).collect())
                    }
                    _ => Data::$variant(self.to_ints()?.into_iter().map(|x| x as $type).collect()),
                }
            };
        }
        let parsed;
        let numbers = if let Data::Text(v) = self.data() {
            parsed = Self::new(
                self.shape.clone(),
                v.iter()
                    .map(|s| {
                        s.trim()
                            .parse::<f64>()
                            .map_err(|_| format!("`{s}` is not a number"))
                    })
                    .collect::<Result<Vec<f64>, String>>()?,
            );
            &parsed
        } else {
            self
        };
        if !std::ptr::eq(numbers, self) {
            return numbers.cast(to);
        }
        let data = match to {
            DType::Bool => Data::Bool(self.to_f64()?.into_iter().map(|x| x != 0.0).collect()),
            DType::I8 => wrapped!(I8, i8),
            DType::I16 => wrapped!(I16, i16),
            DType::I32 => wrapped!(I32, i32),
            DType::I64 => wrapped!(I64, i64),
            DType::U8 => wrapped!(U8, u8),
            DType::U16 => wrapped!(U16, u16),
            DType::U32 => wrapped!(U32, u32),
            DType::U64 => wrapped!(U64, u64),
            DType::F16 => Data::F16(self.to_f64()?.into_iter().map(f16::from_f64).collect()),
            DType::BF16 => Data::BF16(self.to_f64()?.into_iter().map(bf16::from_f64).collect()),
            DType::F32 => Data::F32(match self.data() {
                Data::I64(v) => v.iter().map(|x| *x as f32).collect(),
                Data::U64(v) => v.iter().map(|x| *x as f32).collect(),
                _ => self.to_f32()?,
            }),
            DType::F64 => Data::F64(self.to_f64()?),
            DType::Text => Data::Text(match self.data() {
                Data::F32(v) => v.iter().map(ToString::to_string).collect(),
                _ => with_data!(self.data(), v => v.iter().map(ToString::to_string).collect()),
            }),
        };
        Ok(Self::new(self.shape.clone(), data))
    }

    /// Returns the same values on a device; the first call uploads them and keeps the copy.
    pub(crate) fn on(&self, device: &Device) -> Result<Tensor, String> {
        let upload = || Tensor::upload(self.to_f32()?, &self.shape, self.dtype(), device);
        // Gradient checks compute in two precisions; only the single-precision copy is kept.
        #[cfg(test)]
        if crate::tensor::is_double() {
            return upload();
        }
        match self.uploaded.get() {
            Some((there, tensor)) if there == device => Ok(tensor.clone()),
            Some(_) => upload(),
            None => {
                let tensor = upload()?;
                let kept = self.uploaded.get_or_init(|| (device.clone(), tensor));
                Ok(kept.1.clone())
            }
        }
    }
}
