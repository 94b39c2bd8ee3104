//! Moving elements without changing them: helpers of the operators on shapes and indices, for values on the host (index
//! maps, any type) and on the device (with gradients).

use burn::backend::Dispatch;
use burn::backend::Slice;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Device;

use crate::array::Array;
#[cfg(doc)]
use crate::array::NOWHERE;
use crate::dtype::DType;
use crate::node::OpResult;
use crate::room;
use crate::tensor::{Indices, Tensor};
use crate::value::Value;

/// Returns the error for a sequence or an empty optional where a tensor is expected.
pub(super) fn not_a_tensor(value: &Value) -> String {
    match value {
        Value::Sequence(_) => "a sequence where a tensor is expected".into(),
        _ => "an empty optional where a tensor is expected".into(),
    }
}

/// Returns the distance between neighbours along each dimension.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Returns the offsets of a grid, row by row: every sum of one entry of each list.
fn offsets(lists: &[Vec<usize>]) -> Vec<usize> {
    let mut all = vec![0usize];
    for list in lists {
        if list.as_slice() == [0] {
            continue;
        }
        let mut next = Vec::with_capacity(all.len() * list.len());
        for a in &all {
            next.extend(list.iter().map(|b| a.saturating_add(*b)));
        }
        all = next;
    }
    all
}

/// Returns the index map for `shape`: `(i, j, …)` maps to the offset `at(0, i) + at(1, j) + …`, or to [`NOWHERE`] if
/// one of them is.
pub(super) fn grid(shape: &[usize], at: impl Fn(usize, usize) -> usize) -> OpResult<Vec<usize>> {
    if room::elements(shape)? == 0 {
        return Ok(Vec::new());
    }
    let lists: Vec<Vec<usize>> = shape
        .iter()
        .enumerate()
        .map(|(axis, n)| (0..*n).map(|i| at(axis, i)).collect())
        .collect();
    Ok(offsets(&lists))
}

/// Returns the array of `shape` whose elements are picked by [`grid`].
pub(super) fn moved(
    array: &Array,
    shape: &[usize],
    at: impl Fn(usize, usize) -> usize,
) -> OpResult<Array> {
    Ok(array.pick(&grid(shape, at)?, shape))
}

/// Returns a tensor without elements.
pub(super) fn empty(shape: &[usize], dtype: DType, device: &Device) -> OpResult<Tensor> {
    Tensor::upload(Vec::new(), shape, dtype, device)
}

/// Returns the tensor of `shape` whose element `i` is element `from[i]` of the flattened input.
pub(super) fn picked(
    tensor: Tensor,
    from: &[usize],
    shape: &[usize],
    device: &Device,
) -> OpResult<Tensor> {
    let n: usize = tensor.shape().iter().product();
    if from.is_empty() {
        return empty(shape, tensor.dtype(), device);
    }
    let indices = Indices::upload(from, &[from.len()], device);
    tensor.reshape(&[n])?.select(0, indices).reshape(shape)
}

/// Reshapes a value to a shape with as many elements.
pub(super) fn reshaped(value: Value, shape: &[usize]) -> OpResult<Value> {
    match value {
        Value::Host(a) => Ok(a.reshape(shape)?.into()),
        Value::Device(t) => Ok(t.reshape(shape)?.into()),
        other => Err(not_a_tensor(&other)),
    }
}

/// Permutes the dimensions: dimension `i` of the result is dimension `axes[i]` of the input.
pub(super) fn permuted(value: Value, axes: &[usize]) -> OpResult<Value> {
    match value {
        Value::Host(a) => {
            let (own, strides) = (a.shape(), strides(a.shape()));
            let shape: Vec<usize> = axes.iter().map(|i| own[*i]).collect();
            Ok(moved(&a, &shape, |axis, i| i * strides[axes[axis]])?.into())
        }
        Value::Device(t) => Ok(t.permute(axes).into()),
        other => Err(not_a_tensor(&other)),
    }
}

/// Slice of one dimension: `count` elements, `step` apart, from `start` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) start: usize,
    pub(super) count: usize,
    pub(super) step: isize,
}

impl Cut {
    /// Keeps all `length` elements.
    pub(super) const fn all(length: usize) -> Self {
        Self::part(0, length)
    }

    /// Keeps `count` neighbours from `start` on.
    pub(super) const fn part(start: usize, count: usize) -> Self {
        Self {
            start,
            count,
            step: 1,
        }
    }

    /// Converts to Burn's form: a range, and a step that is negative if the range is walked backwards.
    fn slice(self) -> Slice {
        let reach = (self.count as isize - 1) * self.step;
        let (low, high) = if reach < 0 {
            (self.start as isize + reach, self.start as isize)
        } else {
            (self.start as isize, self.start as isize + reach)
        };
        Slice::new(low, Some(high + 1), self.step)
    }
}

/// Slices a value; one cut per dimension, all in range.
pub(super) fn cut(value: Value, cuts: &[Cut], device: &Device) -> OpResult<Value> {
    let own = value.shape();
    if cuts
        .iter()
        .zip(&own)
        .all(|(c, n)| c.count == *n && (c.step == 1 || *n < 2))
    {
        return Ok(value);
    }
    let shape: Vec<usize> = cuts.iter().map(|c| c.count).collect();
    match value {
        Value::Host(a) => {
            let strides = strides(&own);
            let at = |axis: usize, i: usize| {
                let c = cuts[axis];
                (c.start as isize + i as isize * c.step) as usize * strides[axis]
            };
            Ok(moved(&a, &shape, at)?.into())
        }
        // Not every backend supports an empty slice.
        Value::Device(t) if shape.contains(&0) => Ok(empty(&shape, t.dtype(), device)?.into()),
        Value::Device(t) => {
            let slices: Vec<Slice> = cuts.iter().map(|c| c.slice()).collect();
            Ok(
                t.with(|t| <Dispatch as FloatTensorOps<Dispatch>>::float_slice(t, &slices))
                    .into(),
            )
        }
        other => Err(not_a_tensor(&other)),
    }
}

/// Selects along one dimension: entry `i` of the result is entry `from[i]` of the input. All must be in range.
pub(super) fn along(value: Value, axis: usize, from: &[usize], device: &Device) -> OpResult<Value> {
    let mut shape = value.shape();
    let strides = strides(&shape);
    shape[axis] = from.len();
    room::elements(&shape)?;
    match value {
        Value::Host(a) => {
            let at = |k: usize, i: usize| strides[k] * if k == axis { from[i] } else { i };
            Ok(moved(&a, &shape, at)?.into())
        }
        Value::Device(t) if shape.contains(&0) => Ok(empty(&shape, t.dtype(), device)?.into()),
        Value::Device(t) => Ok(t
            .select(axis, Indices::upload(from, &[from.len()], device))
            .into()),
        other => Err(not_a_tensor(&other)),
    }
}

/// Concatenates values along `axis`.
pub(super) fn joined(parts: Vec<Value>, axis: usize, device: &Device) -> OpResult<Value> {
    if !parts.iter().all(|v| matches!(v, Value::Host(_))) {
        let tensors = parts
            .into_iter()
            .map(|v| v.device(device))
            .collect::<OpResult<Vec<_>>>()?;
        return Ok(Tensor::cat(tensors, axis)?.into());
    }
    let arrays = parts
        .into_iter()
        .map(Value::host)
        .collect::<OpResult<Vec<_>>>()?;
    let first = arrays.first().ok_or("nothing to concatenate")?.shape();
    for a in &arrays {
        let fits = a.shape().len() == first.len()
            && (0..first.len()).all(|i| i == axis || a.shape()[i] == first[i]);
        if !fits {
            return Err(format!(
                "shapes {first:?} and {:?} cannot be concatenated along {axis}",
                a.shape()
            ));
        }
    }
    let mut shape = first.to_vec();
    shape[axis] = arrays
        .iter()
        .try_fold(0usize, |n, a| n.checked_add(a.shape()[axis]))
        .ok_or("the parts together are too long")?;
    let total = room::elements(&shape)?;
    let chained = Array::chain(&arrays)?;
    let rows: usize = shape[..axis].iter().product();
    if rows == 1 || total == 0 {
        return Ok(chained.reshape(&shape)?.into());
    }
    let mut map = Vec::with_capacity(total);
    for row in 0..rows {
        let mut before = 0;
        for a in &arrays {
            let length = a.len() / rows;
            map.extend((before + row * length)..(before + (row + 1) * length));
            before += a.len();
        }
    }
    Ok(chained.pick(&map, shape).into())
}

/// Converts an index to a position; a negative index counts from the end. An error if it is out of range.
pub(super) fn inside(index: i64, length: usize) -> OpResult<usize> {
    let at = if index < 0 {
        index.saturating_add(length as i64)
    } else {
        index
    };
    usize::try_from(at)
        .ok()
        .filter(|i| *i < length)
        .ok_or_else(|| format!("index {index} into {length} entries"))
}
