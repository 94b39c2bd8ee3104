use burn::tensor::Device;

use crate::array::Array;
use crate::dtype::DType;
use crate::tensor::Tensor;

/// A value on an edge of the graph.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// On the host, with its own type: constants, shapes, indices and anything else that does not depend on the model's
    /// floating-point input.
    Host(Array),
    /// On the device, possibly tracked by autodiff.
    Device(Tensor),
    /// A sequence of values.
    Sequence(Vec<Value>),
    /// An optional without a value.
    Nothing,
}

impl Value {
    /// Returns the length of each dimension.
    pub(crate) fn shape(&self) -> Vec<usize> {
        match self {
            Self::Host(a) => a.shape().to_vec(),
            Self::Device(t) => t.shape(),
            Self::Sequence(v) => vec![v.len()],
            Self::Nothing => vec![0],
        }
    }

    /// Returns the number of elements; for a sequence, that of all its values.
    pub(crate) fn elements(&self) -> usize {
        match self {
            Self::Host(a) => a.len(),
            Self::Device(t) => t.shape().iter().product(),
            // Empty entries take memory as well.
            Self::Sequence(v) => v.iter().map(|v| 1 + v.elements()).sum(),
            Self::Nothing => 0,
        }
    }

    /// Returns the element type.
    pub(crate) fn dtype(&self) -> DType {
        match self {
            Self::Host(a) => a.dtype(),
            Self::Device(t) => t.dtype(),
            Self::Sequence(v) => v.first().map_or(DType::F32, Self::dtype),
            Self::Nothing => DType::F32,
        }
    }

    /// Returns the value on the device; a host array is uploaded once and the copy is kept.
    pub(crate) fn device(self, device: &Device) -> Result<Tensor, String> {
        match self {
            Self::Host(a) => a.on(device),
            Self::Device(t) => Ok(t),
            Self::Sequence(_) => Err("a sequence where a tensor is expected".into()),
            Self::Nothing => Err("an empty optional where a tensor is expected".into()),
        }
    }

    /// Returns the value on the host; a tensor is copied and its gradient detached.
    pub(crate) fn host(self) -> Result<Array, String> {
        match self {
            Self::Host(a) => Ok(a),
            Self::Device(t) => t.download(),
            Self::Sequence(_) => Err("a sequence where a tensor is expected".into()),
            Self::Nothing => Err("an empty optional where a tensor is expected".into()),
        }
    }
}

impl From<Array> for Value {
    fn from(a: Array) -> Self {
        Self::Host(a)
    }
}

impl From<Tensor> for Value {
    fn from(t: Tensor) -> Self {
        Self::Device(t)
    }
}
