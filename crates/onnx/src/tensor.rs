//! Tensors of any rank on a Burn device, through the dispatch layer (Burn's own `Tensor` fixes the rank at compile time).
//!
//! Everything on a device is `f32`: integers and booleans that depend on the model's input are stored as whole numbers,
//! labelled with their element type (`dtype`). They are exact up to 2^24. Constants, shapes and indices are
//! [`crate::array::Array`]s on the host and keep their own types.
//!
//! Binary operations broadcast as ONNX does (the rules of `NumPy`). Gradients are those of Burn's autodiff.

mod indices;
mod mask;

use burn::backend::ops::{ActivationOps, FloatTensorOps};
use burn::backend::{
    BoolDType, Dispatch, DispatchTensor, FloatDType, Scalar, Shape, Slice, TensorMetadata,
};
use burn::tensor::{Device, TensorData};

use crate::array::{Array, Data};
use crate::dtype::DType;
use crate::room;

pub(crate) use indices::Indices;
pub(crate) use mask::Mask;

#[cfg(test)]
thread_local! {
    static DOUBLE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `work` with everything on the device in `f64`, for the probes that gradients are checked against.
#[cfg(test)]
pub(crate) fn in_double<T>(work: impl FnOnce() -> T) -> T {
    let before = DOUBLE.replace(true);
    let result = work();
    DOUBLE.set(before);
    result
}

/// Whether everything on the device is in `f64`.
#[cfg(test)]
pub(crate) fn is_double() -> bool {
    DOUBLE.get()
}

/// Returns the float type used on the device.
fn float() -> FloatDType {
    #[cfg(test)]
    if DOUBLE.get() {
        return FloatDType::F64;
    }
    FloatDType::F32
}

/// A tensor of any rank.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    inner: DispatchTensor,
    dtype: DType,
}

/// Returns the shape two shapes broadcast to.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let dim = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |own| s[own]);
    (0..rank)
        .map(|i| match (dim(a, i), dim(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(format!("shapes {a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

/// Returns the shape several shapes broadcast to.
pub(crate) fn broadcast_all<'a>(
    shapes: impl IntoIterator<Item = &'a [usize]>,
) -> Result<Vec<usize>, String> {
    shapes
        .into_iter()
        .try_fold(Vec::new(), |a, b| broadcast(&a, b))
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident => $trait:ident::$op:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(self) -> Self {
            self.with(|t| <Dispatch as $trait<Dispatch>>::$op(t))
        }
    )*};
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident => $op:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(self, other: Self) -> Result<Self, String> {
            let dtype = self.dtype;
            let (a, b) = Self::paired(self, other)?;
            Ok(Self { inner: <Dispatch as FloatTensorOps<Dispatch>>::$op(a, b), dtype })
        }
    )*};
}

macro_rules! scalar {
    ($($(#[$doc:meta])* $name:ident => $op:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(self, value: f64) -> Self {
            self.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::$op(t, Scalar::Float(value)))
        }
    )*};
}

macro_rules! compare {
    ($($(#[$doc:meta])* $name:ident => $op:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(self, other: Self) -> Result<Mask, String> {
            let (a, b) = Self::paired(self, other)?;
            Ok(Mask(<Dispatch as FloatTensorOps<Dispatch>>::$op(a, b, BoolDType::Native)))
        }
    )*};
}

macro_rules! compare_scalar {
    ($($(#[$doc:meta])* $name:ident => $op:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(self, value: f64) -> Mask {
            Mask(<Dispatch as FloatTensorOps<Dispatch>>::$op(
                self.inner, Scalar::Float(value), BoolDType::Native,
            ))
        }
    )*};
}

impl Tensor {
    /// Wraps a tensor of the dispatch layer.
    pub(crate) fn from_dispatch(inner: DispatchTensor) -> Self {
        Self {
            inner,
            dtype: DType::F32,
        }
    }

    /// Returns the tensor of the dispatch layer.
    pub(crate) fn into_dispatch(self) -> DispatchTensor {
        self.inner
    }

    /// Applies a function of the dispatch layer; the element type label is kept.
    pub(crate) fn with(self, f: impl FnOnce(DispatchTensor) -> DispatchTensor) -> Self {
        Self {
            inner: f(self.inner),
            dtype: self.dtype,
        }
    }

    /// Wraps a Burn tensor of a known rank.
    pub(crate) fn from_burn<const D: usize>(tensor: burn::tensor::Tensor<D>) -> Self {
        Self::from_dispatch(tensor.into_dispatch())
    }

    /// Returns a Burn tensor of rank `D`, which must be this tensor's rank.
    pub(crate) fn into_burn<const D: usize>(self) -> burn::tensor::Tensor<D> {
        burn::tensor::Tensor::from_dispatch(self.inner)
    }

    /// Uploads host values to a device.
    pub(crate) fn upload(
        values: Vec<f32>,
        shape: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Self, String> {
        room::elements(shape)?;
        let wide = matches!(float(), FloatDType::F64);
        let shape = Shape::from(shape.to_vec());
        let data = if wide {
            TensorData::new(values.into_iter().map(f64::from).collect(), shape)
        } else {
            TensorData::new(values, shape)
        };
        Ok(Self {
            inner: <Dispatch as FloatTensorOps<Dispatch>>::float_from_data(
                data,
                device.as_dispatch(),
            ),
            dtype,
        })
    }

    /// Returns a tensor with the same value everywhere.
    pub(crate) fn full(shape: &[usize], value: f64, device: &Device) -> Result<Self, String> {
        room::elements(shape)?;
        Ok(Self::from_dispatch(<Dispatch as FloatTensorOps<
            Dispatch,
        >>::float_full(
            Shape::from(shape.to_vec()),
            Scalar::Float(value),
            device.as_dispatch(),
            float(),
        )))
    }

    /// Copies the values to the host, converted to their element type. Detaches the gradient.
    pub(crate) fn download(self) -> Result<Array, String> {
        let (shape, dtype) = (self.shape(), self.dtype);
        let flat = self.reshape(&[shape.iter().product()])?;
        let data = flat.into_burn::<1>().into_data();
        let unreadable = |e| format!("values cannot be read back: {e:?}");
        let values: Data = if data.dtype() == burn::tensor::DType::F64 {
            data.try_to_vec::<f64>().map_err(unreadable)?.into()
        } else {
            data.try_to_vec::<f32>().map_err(unreadable)?.into()
        };
        let array = Array::try_new(shape, values)?;
        // Values in double precision are returned as they are.
        if dtype == DType::F32 {
            Ok(array)
        } else {
            array.cast(dtype)
        }
    }

    /// Returns the length of each dimension; empty for a scalar.
    pub(crate) fn shape(&self) -> Vec<usize> {
        self.inner.shape().to_vec()
    }

    /// Returns the number of dimensions.
    pub(crate) fn rank(&self) -> usize {
        self.inner.shape().num_dims()
    }

    /// Returns the element type that the numbers represent.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Labels the numbers with another element type, which they must fit (see the Cast operator).
    pub(crate) fn typed(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Brings both tensors to the same rank for an elementwise operation of the dispatch layer.
    fn paired(a: Self, b: Self) -> Result<(DispatchTensor, DispatchTensor), String> {
        let (sa, sb) = (a.inner.shape(), b.inner.shape());
        if sa.as_slice() == sb.as_slice() {
            return Ok((a.inner, b.inner));
        }
        room::elements(&broadcast(&sa, &sb)?)?;
        let rank = sa.num_dims().max(sb.num_dims());
        Ok((a.at_rank(rank).inner, b.at_rank(rank).inner))
    }

    /// Prepends dimensions of length 1 up to `rank`.
    pub(crate) fn at_rank(self, rank: usize) -> Self {
        let shape = self.inner.shape();
        let own = shape.num_dims();
        if own >= rank {
            return self;
        }
        let mut wide = vec![1; rank - own];
        wide.extend_from_slice(shape.as_slice());
        self.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_reshape(t, Shape::from(wide)))
    }

    binary! {
        add => float_add;
        sub => float_sub;
        mul => float_mul;
        div => float_div;
        /// Remainder with the sign of the divisor, as Python's `%`.
        remainder => float_remainder;
        powf => float_powf;
    }

    scalar! {
        add_scalar => float_add_scalar;
        sub_scalar => float_sub_scalar;
        mul_scalar => float_mul_scalar;
        div_scalar => float_div_scalar;
        powf_scalar => float_powf_scalar;
        clamp_min => float_clamp_min;
        clamp_max => float_clamp_max;
    }

    compare! {
        equal => float_equal;
        greater => float_greater;
        greater_equal => float_greater_equal;
        lower => float_lower;
        lower_equal => float_lower_equal;
    }

    compare_scalar! {
        equal_scalar => float_equal_elem;
        not_equal_scalar => float_not_equal_elem;
        greater_scalar => float_greater_elem;
        greater_equal_scalar => float_greater_equal_elem;
        lower_scalar => float_lower_elem;
        lower_equal_scalar => float_lower_equal_elem;
    }

    unary! {
        neg => FloatTensorOps::float_neg;
        recip => FloatTensorOps::float_recip;
        exp => FloatTensorOps::float_exp;
        log => FloatTensorOps::float_log;
        log1p => FloatTensorOps::float_log1p;
        sqrt => FloatTensorOps::float_sqrt;
        abs => FloatTensorOps::float_abs;
        sin => FloatTensorOps::float_sin;
        cos => FloatTensorOps::float_cos;
        tan => FloatTensorOps::float_tan;
        sinh => FloatTensorOps::float_sinh;
        cosh => FloatTensorOps::float_cosh;
        tanh => FloatTensorOps::float_tanh;
        asin => FloatTensorOps::float_asin;
        acos => FloatTensorOps::float_acos;
        atan => FloatTensorOps::float_atan;
        asinh => FloatTensorOps::float_asinh;
        acosh => FloatTensorOps::float_acosh;
        atanh => FloatTensorOps::float_atanh;
        erf => FloatTensorOps::float_erf;
        sign => FloatTensorOps::float_sign;
        floor => FloatTensorOps::float_floor;
        ceil => FloatTensorOps::float_ceil;
        /// Rounds to the nearest integer, halves to even.
        round => FloatTensorOps::float_round;
        trunc => FloatTensorOps::float_trunc;
        relu => ActivationOps::relu;
        sigmoid => ActivationOps::sigmoid;
        /// Returns the values without a gradient.
        detach => FloatTensorOps::float_detach;
    }

    /// Elementwise maximum; NaN if either element is NaN.
    pub(crate) fn maximum(self, other: Self) -> Result<Self, String> {
        let larger = self
            .clone()
            .greater_equal(other.clone())?
            .or(self.clone().is_nan())?;
        larger.choose(self, other)
    }

    /// Elementwise minimum; NaN if either element is NaN.
    pub(crate) fn minimum(self, other: Self) -> Result<Self, String> {
        let smaller = self
            .clone()
            .lower_equal(other.clone())?
            .or(self.clone().is_nan())?;
        smaller.choose(self, other)
    }

    /// Mask of the elements that are NaN.
    #[allow(clippy::wrong_self_convention)] // by value, as every operation here
    pub(crate) fn is_nan(self) -> Mask {
        Mask(<Dispatch as FloatTensorOps<Dispatch>>::float_is_nan(
            self.inner,
            BoolDType::Native,
        ))
    }

    /// Mask of the elements that are infinite.
    #[allow(clippy::wrong_self_convention)] // by value, as every operation here
    pub(crate) fn is_inf(self) -> Mask {
        Mask(<Dispatch as FloatTensorOps<Dispatch>>::float_is_inf(
            self.inner,
            BoolDType::Native,
        ))
    }

    /// Mask of the elements that are not zero.
    pub(crate) fn truth(self) -> Mask {
        self.not_equal_scalar(0.0)
    }

    /// Returns the same elements in another shape with the same number of elements.
    pub(crate) fn reshape(self, shape: &[usize]) -> Result<Self, String> {
        let own = self.inner.shape();
        if own.as_slice() == shape {
            return Ok(self);
        }
        if own.num_elements() != room::elements(shape)? {
            return Err(format!(
                "{:?} cannot be reshaped to {shape:?}",
                self.shape()
            ));
        }
        let shape = Shape::from(shape.to_vec());
        Ok(self.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_reshape(t, shape)))
    }

    /// Permutes the dimensions: dimension `i` of the result is `axes[i]` of this tensor.
    pub(crate) fn permute(self, axes: &[usize]) -> Self {
        if axes.iter().enumerate().all(|(i, a)| i == *a) {
            return self;
        }
        self.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_permute(t, axes))
    }

    /// Repeats along dimensions of length 1 to `shape`; leading dimensions are added as needed.
    pub(crate) fn expand(self, shape: &[usize]) -> Result<Self, String> {
        let own = self.shape();
        if own == shape {
            return Ok(self);
        }
        room::elements(shape)?;
        if broadcast(&own, shape)? != shape {
            return Err(format!("{own:?} cannot be expanded to {shape:?}"));
        }
        let shape = Shape::from(shape.to_vec());
        Ok(self
            .at_rank(shape.num_dims())
            .with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_expand(t, shape)))
    }

    /// Takes every `step`-th of `start..end` along `axis` (a step below 0 runs backwards from the last); `start < end`.
    pub(crate) fn slice(self, axis: usize, start: usize, end: usize, step: isize) -> Self {
        let shape = self.inner.shape();
        if start == 0 && end == shape[axis] && step == 1 {
            return self;
        }
        let slices: Vec<Slice> = (0..shape.num_dims())
            .map(|i| {
                if i == axis {
                    Slice::new(start as isize, Some(end as isize), step)
                } else {
                    Slice::new(0, Some(shape[i] as isize), 1)
                }
            })
            .collect();
        self.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_slice(t, &slices))
    }

    /// Takes `length` elements along `axis` from `start` on.
    pub(crate) fn narrow(self, axis: usize, start: usize, length: usize) -> Self {
        self.slice(axis, start, start + length, 1)
    }

    /// Reverses the order along each of `axes`.
    pub(crate) fn flip(self, axes: &[usize]) -> Self {
        self.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_flip(t, axes))
    }

    /// Concatenates along `axis`; empty parts are skipped.
    pub(crate) fn cat(parts: Vec<Self>, axis: usize) -> Result<Self, String> {
        let dtype = parts.first().ok_or("nothing to concatenate")?.dtype;
        let shapes: Vec<Vec<usize>> = parts.iter().map(Self::shape).collect();
        for s in &shapes {
            let fits = s.len() == shapes[0].len()
                && (0..s.len()).all(|i| i == axis || s[i] == shapes[0][i]);
            if !fits {
                return Err(format!(
                    "shapes {:?} and {s:?} cannot be concatenated along {axis}",
                    shapes[0]
                ));
            }
        }
        let mut shape = shapes[0].clone();
        shape[axis] = shapes.iter().map(|s| s[axis]).sum();
        room::elements(&shape)?;
        let mut full: Vec<Self> = Vec::new();
        for (part, s) in parts.into_iter().zip(&shapes) {
            if s[axis] > 0 || full.is_empty() {
                full.push(part);
            }
        }
        if full.len() > 1 && full[0].shape()[axis] == 0 {
            full.remove(0);
        }
        if full.len() == 1 {
            return Ok(full.remove(0));
        }
        let inner: Vec<DispatchTensor> = full.into_iter().map(Self::into_dispatch).collect();
        Ok(Self {
            inner: <Dispatch as FloatTensorOps<Dispatch>>::float_cat(inner, axis),
            dtype,
        })
    }

    /// Sum along `axes`, which keep length 1.
    pub(crate) fn sum(self, axes: &[usize]) -> Self {
        axes.iter().fold(self, |t, axis| {
            t.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_sum_dim(t, *axis))
        })
    }

    /// Mean along `axes`, which keep length 1.
    pub(crate) fn mean(self, axes: &[usize]) -> Self {
        axes.iter().fold(self, |t, axis| {
            t.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_mean_dim(t, *axis))
        })
    }

    /// Product along `axes`, which keep length 1.
    pub(crate) fn prod(self, axes: &[usize]) -> Self {
        axes.iter().fold(self, |t, axis| {
            t.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_prod_dim(t, *axis))
        })
    }

    /// Maximum along `axes`, which keep length 1.
    pub(crate) fn max(self, axes: &[usize]) -> Self {
        axes.iter().fold(self, |t, axis| {
            t.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_max_dim(t, *axis))
        })
    }

    /// Minimum along `axes`, which keep length 1.
    pub(crate) fn min(self, axes: &[usize]) -> Self {
        axes.iter().fold(self, |t, axis| {
            t.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_min_dim(t, *axis))
        })
    }

    /// Cumulative sum along `axis`.
    pub(crate) fn cumsum(self, axis: usize) -> Self {
        self.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_cumsum(t, axis))
    }

    /// Matrix product over the last two dimensions; the leading ones broadcast. Both ranks must be at least 2.
    pub(crate) fn matmul(self, other: Self) -> Result<Self, String> {
        let (sa, sb) = (self.shape(), other.shape());
        let (ra, rb) = (sa.len(), sb.len());
        if ra < 2 || rb < 2 || sa[ra - 1] != sb[rb - 2] {
            return Err(format!(
                "matrices of shape {sa:?} and {sb:?} cannot be multiplied"
            ));
        }
        let mut shape = broadcast(&sa[..ra - 2], &sb[..rb - 2])?;
        shape.extend([sa[ra - 2], sb[rb - 1]]);
        room::elements(&shape)?;
        let (rank, dtype) = (ra.max(rb), self.dtype);
        Ok(Self {
            inner: <Dispatch as FloatTensorOps<Dispatch>>::float_matmul(
                self.at_rank(rank).inner,
                other.at_rank(rank).inner,
            ),
            dtype,
        })
    }
}

/// Operations for sliding windows and recurrences.
impl Tensor {
    /// Pads each dimension with copies of `value`; `pads` holds the number before and after.
    pub(crate) fn padded(self, pads: &[(usize, usize)], value: f64) -> Result<Self, String> {
        if pads.iter().all(|p| *p == (0, 0)) {
            return Ok(self);
        }
        let shape: Vec<usize> = self
            .shape()
            .iter()
            .zip(pads)
            .map(|(d, (before, after))| d.saturating_add(*before).saturating_add(*after))
            .collect();
        room::elements(&shape)?;
        let mode = burn::backend::ops::PadMode::Constant(value as f32);
        Ok(self.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_pad(t, pads, mode)))
    }

    /// Exchanges the last two dimensions.
    pub(crate) fn transposed(self) -> Self {
        self.with(<Dispatch as FloatTensorOps<Dispatch>>::float_transpose)
    }
}
