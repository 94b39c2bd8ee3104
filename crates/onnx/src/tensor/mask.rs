//! Boolean masks on the device.

use burn::backend::ops::{BoolTensorOps, FloatTensorOps};
use burn::backend::{Dispatch, DispatchTensor, Scalar, Shape, TensorMetadata};
use burn::tensor::{Bool, Device, TensorData};

use super::{Tensor, broadcast, broadcast_all, float};
use crate::dtype::DType;
use crate::room;

/// A Boolean per element, on the device; used only to select values.
#[derive(Debug, Clone)]
pub(crate) struct Mask(pub(super) DispatchTensor);

impl Mask {
    /// Uploads host values.
    pub(crate) fn upload(values: Vec<bool>, shape: &[usize], device: &Device) -> Self {
        let flat = burn::tensor::Tensor::<1, Bool>::from_data(
            TensorData::new(values, [shape.iter().product::<usize>()]),
            device,
        );
        Self(<Dispatch as BoolTensorOps<Dispatch>>::bool_reshape(
            flat.into_dispatch(),
            Shape::from(shape.to_vec()),
        ))
    }

    /// Converts to 1 (true) and 0 (false), labelled `bool`.
    pub(crate) fn numbers(self) -> Tensor {
        Tensor {
            inner: <Dispatch as BoolTensorOps<Dispatch>>::bool_into_float(self.0, float()),
            dtype: DType::Bool,
        }
    }

    fn paired(self, other: Self) -> Result<(DispatchTensor, DispatchTensor), String> {
        let (sa, sb) = (self.0.shape(), other.0.shape());
        if sa.as_slice() == sb.as_slice() {
            return Ok((self.0, other.0));
        }
        let shape = broadcast(&sa, &sb)?;
        Ok((self.expand(&shape)?.0, other.expand(&shape)?.0))
    }

    /// Repeats along dimensions of length 1 to `shape`.
    pub(crate) fn expand(self, shape: &[usize]) -> Result<Self, String> {
        room::elements(shape)?;
        let own = self.0.shape();
        if own.as_slice() == shape {
            return Ok(self);
        }
        let mut wide = vec![1; shape.len().saturating_sub(own.num_dims())];
        wide.extend_from_slice(own.as_slice());
        let wide = <Dispatch as BoolTensorOps<Dispatch>>::bool_reshape(self.0, Shape::from(wide));
        Ok(Self(<Dispatch as BoolTensorOps<Dispatch>>::bool_expand(
            wide,
            Shape::from(shape.to_vec()),
        )))
    }

    /// Elementwise conjunction.
    pub(crate) fn and(self, other: Self) -> Result<Self, String> {
        let (a, b) = self.paired(other)?;
        Ok(Self(<Dispatch as BoolTensorOps<Dispatch>>::bool_and(a, b)))
    }

    /// Elementwise disjunction.
    pub(crate) fn or(self, other: Self) -> Result<Self, String> {
        let (a, b) = self.paired(other)?;
        Ok(Self(<Dispatch as BoolTensorOps<Dispatch>>::bool_or(a, b)))
    }

    /// Elementwise negation.
    pub(crate) fn not(self) -> Self {
        Self(<Dispatch as BoolTensorOps<Dispatch>>::bool_not(self.0))
    }

    /// Returns `value` where the mask is set and the tensor elsewhere; the mask is expanded to the tensor's shape.
    pub(crate) fn fill(self, tensor: Tensor, value: f64) -> Result<Tensor, String> {
        let mask = self.expand(&tensor.shape())?;
        Ok(tensor.with(|t| {
            <Dispatch as FloatTensorOps<Dispatch>>::float_mask_fill(t, mask.0, Scalar::Float(value))
        }))
    }

    /// Returns `yes` where the mask is set and `no` elsewhere; all three broadcast.
    pub(crate) fn choose(self, yes: Tensor, no: Tensor) -> Result<Tensor, String> {
        let shape = broadcast_all([self.0.shape().as_slice(), &yes.shape(), &no.shape()])?;
        let dtype = yes.dtype;
        let (mask, yes, no) = (
            self.expand(&shape)?,
            yes.expand(&shape)?,
            no.expand(&shape)?,
        );
        Ok(Tensor {
            inner: <Dispatch as FloatTensorOps<Dispatch>>::float_mask_where(
                no.inner, mask.0, yes.inner,
            ),
            dtype,
        })
    }
}

/// Wraps a mask of the dispatch layer.
impl From<burn::tensor::Tensor<1, Bool>> for Mask {
    fn from(tensor: burn::tensor::Tensor<1, Bool>) -> Self {
        Self(tensor.into_dispatch())
    }
}
