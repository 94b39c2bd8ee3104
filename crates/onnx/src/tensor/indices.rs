//! Integer indices on the device, and the tensor operations that take or return them.

use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::backend::{Dispatch, DispatchTensor, IntDType, Scalar, Shape, Slice, TensorMetadata};
use burn::tensor::{Device, Int, TensorData};

use super::{Tensor, float};
use crate::dtype::DType;

/// Integers on the device, used only as indices.
#[derive(Debug, Clone)]
pub(crate) struct Indices(pub(super) DispatchTensor);

impl Indices {
    /// Uploads non-negative host integers.
    pub(crate) fn upload(values: &[usize], shape: &[usize], device: &Device) -> Self {
        let values: Vec<i32> = values.iter().map(|i| *i as i32).collect();
        let flat = burn::tensor::Tensor::<1, Int>::from_data(
            TensorData::new(values, [shape.iter().product::<usize>()]),
            device,
        );
        Self(<Dispatch as IntTensorOps<Dispatch>>::int_reshape(
            flat.into_dispatch(),
            Shape::from(shape.to_vec()),
        ))
    }

    /// Takes the first `length` along `axis`.
    pub(crate) fn head(self, axis: usize, length: usize) -> Self {
        let slices: Vec<Slice> = self
            .0
            .shape()
            .iter()
            .enumerate()
            .map(|(i, d)| {
                let end = if i == axis { length } else { *d };
                Slice::new(0, Some(end as isize), 1)
            })
            .collect();
        Self(<Dispatch as IntTensorOps<Dispatch>>::int_slice(
            self.0, &slices,
        ))
    }

    /// Converts to numbers labelled as `dtype`.
    pub(crate) fn numbers(self, dtype: DType) -> Tensor {
        Tensor {
            inner: <Dispatch as IntTensorOps<Dispatch>>::int_into_float(self.0, float()),
            dtype,
        }
    }

    /// Returns the tensor of the dispatch layer.
    pub(crate) fn into_dispatch(self) -> DispatchTensor {
        self.0
    }

    /// Wraps a tensor of the dispatch layer.
    pub(crate) fn from_dispatch(inner: DispatchTensor) -> Self {
        Self(inner)
    }

    /// Returns the same indices in another shape with the same number of elements.
    pub(crate) fn reshape(self, shape: &[usize]) -> Self {
        Self(<Dispatch as IntTensorOps<Dispatch>>::int_reshape(
            self.0,
            Shape::from(shape.to_vec()),
        ))
    }
}

impl Tensor {
    /// Converts the numbers to indices.
    pub(crate) fn indices(self) -> Indices {
        Indices(<Dispatch as FloatTensorOps<Dispatch>>::float_into_int(
            self.inner,
            IntDType::I32,
        ))
    }

    /// Selects the entries `indices` (rank 1, each below the length) along `axis`.
    pub(crate) fn select(self, axis: usize, indices: Indices) -> Self {
        self.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_select(t, axis, indices.0))
    }

    /// Gathers element by element along `axis`: `out[.., i, ..] = self[.., indices[.., i, ..], ..]`.
    pub(crate) fn gather(self, axis: usize, indices: Indices) -> Self {
        self.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_gather(axis, t, indices.0))
    }

    /// Index of the maximum (the first of several) along `axis`, which keeps length 1; numbers labelled `int64`.
    pub(crate) fn argmax(self, axis: usize) -> Self {
        Indices(<Dispatch as FloatTensorOps<Dispatch>>::float_argmax(
            self.inner,
            axis,
            IntDType::I32,
        ))
        .numbers(DType::I64)
    }

    /// Index of the minimum (the first of several) along `axis`, which keeps length 1; numbers labelled `int64`.
    pub(crate) fn argmin(self, axis: usize) -> Self {
        Indices(<Dispatch as FloatTensorOps<Dispatch>>::float_argmin(
            self.inner,
            axis,
            IntDType::I32,
        ))
        .numbers(DType::I64)
    }

    /// Stable argsort along `axis`: the indices of the elements in sorted order. At most 2^24 elements along the axis.
    pub(crate) fn order(self, axis: usize, descending: bool) -> Result<Indices, String> {
        let n = self.shape()[axis];
        let wide = IntDType::I64;
        let (sorted, at) = <Dispatch as FloatTensorOps<Dispatch>>::float_sort_with_indices(
            self.detach().inner,
            axis,
            descending,
            wide,
        );
        if n < 2 {
            return Ok(Indices(at));
        }
        // Devices may sort equal elements in any order. The number of the run of equal elements times the length, plus
        // the original index, is distinct for every element; sorting these keys makes the order stable.
        let sorted = Self::from_dispatch(sorted);
        let first = sorted.clone().narrow(axis, 0, 1);
        let before = Self::cat(vec![first, sorted.clone().narrow(axis, 0, n - 1)], axis)?;
        let run = sorted.equal(before)?.not().numbers().cumsum(axis);
        let run = <Dispatch as FloatTensorOps<Dispatch>>::float_into_int(run.inner, wide);
        let length = Scalar::Int(n as i64);
        let key = <Dispatch as IntTensorOps<Dispatch>>::int_mul_scalar(run, length);
        let key = <Dispatch as IntTensorOps<Dispatch>>::int_add(key, at);
        let key = <Dispatch as IntTensorOps<Dispatch>>::int_sort(key, axis, false);
        Ok(Indices(
            <Dispatch as IntTensorOps<Dispatch>>::int_remainder_scalar(key, length),
        ))
    }
}
