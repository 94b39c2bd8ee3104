//! Arithmetic on host values of any numeric type, for the operators that compute there.
//!
//! Integers are computed in `i128` and wrap when they are stored; only products of large `u64` numbers overflow it.
//! Floating point is computed in `f64` and rounded once per operation.

use half::{bf16, f16};

use crate::array::{Array, Data};
use crate::dtype::DType;
use crate::node::OpResult;
use crate::room;
use crate::tensor::broadcast_all;

/// Elements of a host array, ready to compute with.
pub(super) enum Numbers {
    /// Elements of an integer or boolean type.
    Ints(Vec<i128>),
    /// Elements of a floating-point type.
    Floats(Vec<f64>),
}

impl Numbers {
    /// Reads the elements of an array; strings are an error.
    pub(super) fn of(array: &Array) -> OpResult<Self> {
        fn wide<T: Copy + Into<i128>>(v: &[T]) -> Numbers {
            Numbers::Ints(v.iter().map(|x| (*x).into()).collect())
        }
        Ok(match array.data() {
            Data::Bool(v) => wide(v),
            Data::I8(v) => wide(v),
            Data::I16(v) => wide(v),
            Data::I32(v) => wide(v),
            Data::I64(v) => wide(v),
            Data::U8(v) => wide(v),
            Data::U16(v) => wide(v),
            Data::U32(v) => wide(v),
            Data::U64(v) => wide(v),
            _ => Self::Floats(array.to_f64()?),
        })
    }

    /// Converts to floating point.
    pub(super) fn floats(self) -> Vec<f64> {
        match self {
            Self::Ints(v) => v.into_iter().map(|x| x as f64).collect(),
            Self::Floats(v) => v,
        }
    }

    /// Stores as `dtype`: integers wrap; floating point is truncated towards zero for an integer type.
    pub(super) fn stored(self, shape: &[usize], dtype: DType) -> OpResult<Array> {
        macro_rules! all {
            ($type:ty) => {
                match self {
                    Self::Ints(v) => {
                        Data::from(v.into_iter().map(|x| x as $type).collect::<Vec<_>>())
                    }
                    Self::Floats(v) => {
                        Data::from(v.into_iter().map(|x| x as $type).collect::<Vec<_>>())
                    }
                }
            };
        }
        let data: Data = match dtype {
            DType::Bool => match self {
                Self::Ints(v) => v.into_iter().map(|x| x != 0).collect::<Vec<_>>().into(),
                Self::Floats(v) => v.into_iter().map(|x| x != 0.0).collect::<Vec<_>>().into(),
            },
            DType::I8 => all!(i8),
            DType::I16 => all!(i16),
            DType::I32 => all!(i32),
            DType::I64 => all!(i64),
            DType::U8 => all!(u8),
            DType::U16 => all!(u16),
            DType::U32 => all!(u32),
            DType::U64 => all!(u64),
            DType::F32 => all!(f32),
            DType::F64 => all!(f64),
            DType::F16 => half(self.floats(), f16::from_f64).into(),
            DType::BF16 => half(self.floats(), bf16::from_f64).into(),
            DType::Text => return Err("numbers where strings are expected".into()),
        };
        Array::try_new(shape, data)
    }
}

fn half<T>(v: Vec<f64>, f: fn(f64) -> T) -> Vec<T> {
    v.into_iter().map(f).collect()
}

/// Returns the distance in memory between neighbours along each dimension.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        // The other dimensions of an empty array may have any length.
        strides[i - 1] = strides[i].saturating_mul(shape[i]);
    }
    strides
}

/// Returns the offsets in memory of the elements of a block of `dims`, row by row.
pub(super) fn offsets(dims: &[usize], strides: &[usize]) -> Vec<usize> {
    if dims.contains(&0) {
        return Vec::new();
    }
    let mut found = vec![0];
    for (dim, stride) in dims.iter().zip(strides) {
        found = found
            .iter()
            .flat_map(|at| (0..*dim).map(move |i| at + i * stride))
            .collect();
    }
    found
}

/// Broadcasts an array to `shape`, which must be compatible.
pub(super) fn spread(array: &Array, shape: &[usize]) -> OpResult<Array> {
    if array.shape() == shape {
        return Ok(array.clone());
    }
    room::elements(shape)?;
    let own = array.shape();
    let missing = shape.len() - own.len();
    let steps: Vec<usize> = strides(own)
        .into_iter()
        .zip(own)
        .map(|(stride, dim)| if *dim == 1 { 0 } else { stride })
        .collect();
    let steps = [vec![0; missing], steps].concat();
    Ok(array.pick(&offsets(shape, &steps), shape))
}

/// Broadcasts all arrays to their common shape.
pub(super) fn aligned(arrays: &[Array]) -> OpResult<(Vec<usize>, Vec<Array>)> {
    let shape = broadcast_all(arrays.iter().map(Array::shape))?;
    let spread = arrays
        .iter()
        .map(|a| spread(a, &shape))
        .collect::<Result<_, _>>()?;
    Ok((shape, spread))
}

fn same_type(a: &Array, b: &Array) -> OpResult<()> {
    if a.dtype() == b.dtype() {
        Ok(())
    } else {
        Err(format!(
            "inputs of types {} and {}; expected the same",
            a.dtype(),
            b.dtype()
        ))
    }
}

/// Applies a function to two arrays of one type, elementwise.
pub(super) fn zip(
    a: &Array,
    b: &Array,
    ints: fn(i128, i128) -> OpResult<i128>,
    floats: fn(f64, f64) -> f64,
) -> OpResult<Array> {
    same_type(a, b)?;
    let dtype = a.dtype();
    let (shape, both) = aligned(&[a.clone(), b.clone()])?;
    let numbers = match (Numbers::of(&both[0])?, Numbers::of(&both[1])?) {
        (Numbers::Ints(p), Numbers::Ints(q)) => Numbers::Ints(
            p.into_iter()
                .zip(q)
                .map(|(x, y)| ints(x, y))
                .collect::<Result<_, _>>()?,
        ),
        (p, q) => Numbers::Floats(
            p.floats()
                .into_iter()
                .zip(q.floats())
                .map(|(x, y)| floats(x, y))
                .collect(),
        ),
    };
    numbers.stored(&shape, dtype)
}

/// Applies a comparison to two arrays of one type, elementwise.
pub(super) fn zip_ask(
    a: &Array,
    b: &Array,
    ints: fn(&i128, &i128) -> bool,
    floats: fn(&f64, &f64) -> bool,
) -> OpResult<Array> {
    fn all<T>(p: &[T], q: &[T], f: fn(&T, &T) -> bool) -> Vec<bool> {
        p.iter().zip(q).map(|(x, y)| f(x, y)).collect()
    }
    same_type(a, b)?;
    let (shape, both) = aligned(&[a.clone(), b.clone()])?;
    let answers = match (Numbers::of(&both[0])?, Numbers::of(&both[1])?) {
        (Numbers::Ints(p), Numbers::Ints(q)) => all(&p, &q, ints),
        (p, q) => all(&p.floats(), &q.floats(), floats),
    };
    Array::try_new(shape, answers)
}
