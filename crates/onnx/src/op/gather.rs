//! Elements chosen by index: Gather, `GatherElements`, `GatherND`, Compress.
//!
//! Indices on the host become one list of positions in the flattened data, so every form is a selection whose gradient
//! is exact. Indices on the device (integers that depend on the model's input) stay there; those out of range are
//! clamped to the nearest entry, since the device cannot return an error.

use super::OperatorEntry;
use super::layout::{Cut, along, cut, empty, inside, picked, reshaped, strides};
use crate::array::Array;
use crate::lower::{Lowering, lowering};
use crate::node::{NodeSpec, OpResult, Run, axis, one, run};
use crate::room;
use crate::tensor::{Indices, Tensor};
use crate::value::Value;

/// Counts negative indices on the device from the end, then clamps all of them to the valid range.
pub(super) fn wrapped(indices: Tensor, length: usize) -> OpResult<Tensor> {
    if length == 0 {
        return Err("indices into a dimension of length 0".into());
    }
    if indices.dtype().is_float() {
        return Err(format!("indices of type {}", indices.dtype()));
    }
    let n = length as f64;
    let from_end = indices.clone().add_scalar(n);
    let counted = indices
        .clone()
        .lower_scalar(0.0)
        .choose(from_end, indices)?;
    Ok(counted.clamp_min(0.0).clamp_max(n - 1.0))
}

/// Returns the indices on the host; an error if one is out of range.
fn all_inside(indices: &Array, length: usize) -> OpResult<Vec<usize>> {
    indices
        .to_ints()?
        .into_iter()
        .map(|i| inside(i, length))
        .collect()
}

/// Selects the elements of the flattened `value` at these positions.
pub(super) fn chosen(
    value: Value,
    from: &[usize],
    shape: &[usize],
    device: &burn::tensor::Device,
) -> OpResult<Value> {
    room::elements(shape)?;
    match value {
        Value::Host(a) => Ok(a.pick(from, shape).into()),
        other => Ok(picked(other.device(device)?, from, shape, device)?.into()),
    }
}

fn gather(node: &NodeSpec<'_>) -> OpResult<Run> {
    let at = node.int("axis", 0)?;
    run(move |x| {
        let (value, indices) = (x.take(0)?, x.take(1)?);
        let own = value.shape();
        let at = axis(at, own.len())?;
        let mut shape = own[..at].to_vec();
        shape.extend(indices.shape());
        shape.extend_from_slice(&own[at + 1..]);
        let elements = room::elements(&shape)?;
        let indices = match indices {
            Value::Device(t) => {
                let data = value.device(x.device)?;
                if elements == 0 {
                    return one(empty(&shape, data.dtype(), x.device)?);
                }
                let n = t.shape().iter().product();
                let list = wrapped(t, own[at])?.reshape(&[n])?.indices();
                return one(data.select(at, list).reshape(&shape)?);
            }
            other => other.host()?,
        };
        let list = all_inside(&indices, own[at])?;
        let part = match list.as_slice() {
            // One entry is a slice, which copies nothing.
            [i] => {
                let mut cuts: Vec<Cut> = own.iter().map(|n| Cut::all(*n)).collect();
                cuts[at] = Cut::part(*i, 1);
                cut(value, &cuts, x.device)?
            }
            list => along(value, at, list, x.device)?,
        };
        one(reshaped(part, &shape)?)
    })
}

/// Returns the positions, in flattened data of shape `own`, that `indices` select along one axis: the other coordinates
/// of each are those of the index itself.
pub(super) fn element_positions(own: &[usize], indices: &Array, at: usize) -> OpResult<Vec<usize>> {
    let shape = indices.shape();
    let fits = shape.len() == own.len() && (0..own.len()).all(|i| i == at || shape[i] <= own[i]);
    if !fits {
        return Err(format!(
            "indices of shape {shape:?} along dimension {at} of {own:?}"
        ));
    }
    let strides = strides(own);
    let mut place = vec![0usize; shape.len()];
    let mut positions = Vec::with_capacity(indices.len());
    for i in all_inside(indices, own[at])? {
        let others: usize = (0..own.len())
            .filter(|k| *k != at)
            .map(|k| place[k] * strides[k])
            .sum();
        positions.push(others + i * strides[at]);
        for k in (0..shape.len()).rev() {
            place[k] += 1;
            if place[k] < shape[k] {
                break;
            }
            place[k] = 0;
        }
    }
    Ok(positions)
}

/// Like [`element_positions`], for indices on the device; exact up to 2^24 positions.
pub(super) fn device_positions(
    own: &[usize],
    indices: Tensor,
    at: usize,
    device: &burn::tensor::Device,
) -> OpResult<Indices> {
    let shape = indices.shape();
    let others = element_positions(
        own,
        &Array::try_new(shape.clone(), vec![0i64; room::elements(&shape)?])?,
        at,
    )?;
    let others = others.into_iter().map(|i| i as f32).collect();
    let others = Tensor::upload(others, &shape, indices.dtype(), device)?;
    let own_part = wrapped(indices, own[at])?.mul_scalar(strides(own)[at] as f64);
    let n = room::elements(&shape)?;
    Ok(own_part.add(others)?.reshape(&[n])?.indices())
}

fn gather_elements(node: &NodeSpec<'_>) -> OpResult<Run> {
    let at = node.int("axis", 0)?;
    run(move |x| {
        let (value, indices) = (x.take(0)?, x.take(1)?);
        let own = value.shape();
        let at = axis(at, own.len())?;
        match indices {
            Value::Device(t) => {
                let shape = t.shape();
                if shape.len() != own.len() {
                    return Err(format!("indices of shape {shape:?} into {own:?}"));
                }
                let cuts: Vec<Cut> = (0..own.len())
                    .map(|i| match (i == at, shape[i] <= own[i]) {
                        (true, _) => Ok(Cut::all(own[i])),
                        (false, true) => Ok(Cut::part(0, shape[i])),
                        (false, false) => Err(format!("indices of shape {shape:?} into {own:?}")),
                    })
                    .collect::<OpResult<_>>()?;
                let data = cut(value, &cuts, x.device)?.device(x.device)?;
                if shape.contains(&0) {
                    return one(empty(&shape, data.dtype(), x.device)?);
                }
                one(data.gather(at, wrapped(t, own[at])?.indices()))
            }
            other => {
                let indices = other.host()?;
                let from = element_positions(&own, &indices, at)?;
                one(chosen(value, &from, indices.shape(), x.device)?)
            }
        }
    })
}

/// Geometry of index tuples: the last dimension of the indices holds one coordinate for each of the data's dimensions
/// that follow the first `batch` ones and are indexed.
pub(super) struct Tuples {
    /// Number of tuples.
    count: usize,
    /// Coordinates per tuple.
    width: usize,
    /// Tuples per entry of the batch dimensions.
    per_batch: usize,
    /// Elements that each tuple selects.
    pub(super) block: usize,
    /// Shape of those elements.
    pub(super) inner: Vec<usize>,
    /// Dimensions of the data that the tuples index.
    dims: Vec<usize>,
}

impl Tuples {
    pub(super) fn new(own: &[usize], indices: &[usize], batch: i64) -> OpResult<Self> {
        let refuse = || {
            format!(
                "index tuples of shape {indices:?} into {own:?}, the first {batch} dimensions shared"
            )
        };
        let batch = usize::try_from(batch).map_err(|_| refuse())?;
        let [lead @ .., width] = indices else {
            return Err(refuse());
        };
        let last = batch.checked_add(*width).ok_or_else(refuse)?;
        if *width == 0 || last > own.len() || lead.len() < batch || lead[..batch] != own[..batch] {
            return Err(refuse());
        }
        Ok(Self {
            count: room::elements(lead)?,
            width: *width,
            per_batch: room::elements(&lead[batch..])?,
            block: room::elements(&own[last..])?,
            inner: own[last..].to_vec(),
            dims: own[batch..last].to_vec(),
        })
    }

    /// Returns the number of the block that each tuple selects.
    pub(super) fn blocks(&self, indices: &Array) -> OpResult<Vec<usize>> {
        let list = indices.to_ints()?;
        let (strides, all) = (strides(&self.dims), self.dims.iter().product::<usize>());
        (0..self.count)
            .map(|t| {
                let tuple = &list[t * self.width..(t + 1) * self.width];
                let mut block = t / self.per_batch * all;
                for ((i, n), stride) in tuple.iter().zip(&self.dims).zip(&strides) {
                    block += inside(*i, *n)? * stride;
                }
                Ok(block)
            })
            .collect()
    }

    /// Like [`Self::blocks`], for indices on the device; exact up to 2^24 blocks.
    pub(super) fn device_blocks(
        &self,
        indices: Tensor,
        device: &burn::tensor::Device,
    ) -> OpResult<Tensor> {
        let (strides, all) = (strides(&self.dims), self.dims.iter().product::<usize>());
        let tuples = indices.reshape(&[self.count, self.width])?;
        let starts = (0..self.count).map(|t| (t / self.per_batch * all) as f32);
        let mut blocks =
            Tensor::upload(starts.collect(), &[self.count, 1], tuples.dtype(), device)?;
        for (k, (n, stride)) in self.dims.iter().zip(&strides).enumerate() {
            let column = wrapped(tuples.clone().narrow(1, k, 1), *n)?;
            blocks = blocks.add(column.mul_scalar(*stride as f64))?;
        }
        blocks.reshape(&[self.count])
    }
}

fn gather_nd(node: &NodeSpec<'_>) -> OpResult<Run> {
    let batch = node.int("batch_dims", 0)?;
    run(move |x| {
        let (value, indices) = (x.take(0)?, x.take(1)?);
        let (own, pointing) = (value.shape(), indices.shape());
        let tuples = Tuples::new(&own, &pointing, batch)?;
        let mut shape = pointing[..pointing.len() - 1].to_vec();
        shape.extend_from_slice(&tuples.inner);
        if room::elements(&shape)? == 0 {
            return one(chosen(value, &[], &shape, x.device)?);
        }
        let all = room::elements(&own)? / tuples.block;
        let part = match indices {
            Value::Device(t) => {
                let blocks = tuples.device_blocks(t, x.device)?.indices();
                let data = value.device(x.device)?.reshape(&[all, tuples.block])?;
                data.select(0, blocks).into()
            }
            other => {
                let blocks = tuples.blocks(&other.host()?)?;
                along(reshaped(value, &[all, tuples.block])?, 0, &blocks, x.device)?
            }
        };
        one(reshaped(part, &shape)?)
    })
}

fn compress(node: &NodeSpec<'_>) -> OpResult<Run> {
    let at = node.int_opt("axis")?;
    run(move |x| {
        let keep = x.array(1)?;
        if keep.shape().len() != 1 {
            return Err(format!(
                "a condition of shape {:?}; expected a list",
                keep.shape()
            ));
        }
        let mut value = x.take(0)?;
        let at = if let Some(at) = at {
            axis(at, value.shape().len())?
        } else {
            let n = room::elements(&value.shape())?;
            value = reshaped(value, &[n])?;
            0
        };
        let n = value.shape()[at];
        let kept: Vec<usize> = keep
            .to_ints()?
            .iter()
            .enumerate()
            .filter(|(_, k)| **k != 0)
            .map(|(i, _)| i)
            .collect();
        if kept.last().is_some_and(|i| *i >= n) {
            return Err(format!("{} conditions for {n} entries", keep.len()));
        }
        one(along(value, at, &kept, x.device)?)
    })
}

fn lowered_gather(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let at = node.int("axis", 0)?;
    lowering(move |x| {
        let s = x.sample(0)?;
        let at = axis(at, s.shape().len())?;
        let list = all_inside(x.constant(1)?, s.shape()[at])?;
        let mut once = list.clone();
        once.sort_unstable();
        once.dedup();
        if once.len() != list.len() {
            return Err("an entry is taken twice".into());
        }
        Ok(s.along(at, &list).reshaped(x.output()))
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Gather", gather).lowered(lowered_gather),
    OperatorEntry::new("GatherElements", gather_elements),
    OperatorEntry::new("GatherND", gather_nd),
    // The number of selected elements depends on the condition.
    OperatorEntry::new("Compress", compress).asking(),
];

#[cfg(test)]
mod tests {
    use super::Tuples;
    use crate::check::Case;
    use crate::{Array, DType};

    fn ints(shape: &[usize], v: &[i64]) -> Array {
        Array::new(shape, v.to_vec())
    }

    #[test]
    fn gradients() {
        for (axis, shape, list) in [
            (0, vec![2, 2], vec![0, -1, 1, 1]),
            (-1, vec![], vec![1]),
            (1, vec![3], vec![3, 3, -4]),
        ] {
            Case::new("Gather")
                .int("axis", axis)
                .scattered(&[3, 4], -1.0, 1.0)
                .host(ints(&shape, &list))
                .assert_gradient();
        }
        Case::new("GatherElements")
            .int("axis", 1)
            .scattered(&[3, 2, 2], -1.0, 1.0)
            .host(ints(&[2, 3, 1], &[0, 1, 1, -1, 0, 0]))
            .assert_gradient();
        Case::new("GatherND")
            .scattered(&[2, 3, 2], -1.0, 1.0)
            .host(ints(&[3, 2], &[0, 2, 1, -1, 0, 2]))
            .assert_gradient();
        Case::new("GatherND")
            .int("batch_dims", 1)
            .scattered(&[2, 3, 2], -1.0, 1.0)
            .host(ints(&[2, 2, 1], &[0, 2, 1, 1]))
            .assert_gradient();
        Case::new("Compress")
            .int("axis", 1)
            .scattered(&[2, 3], -1.0, 1.0)
            .host(Array::new([3], vec![true, false, true]))
            .assert_gradient();
        Case::new("Compress")
            .scattered(&[2, 3], -1.0, 1.0)
            .host(Array::new([4], vec![false, true, false, true]))
            .assert_gradient();
    }

    /// Indices on the device give the same results as on the host.
    #[test]
    fn indices_on_the_device() {
        for (case, shape, list) in [
            (Case::new("Gather").int("axis", 1), vec![2], vec![2, -3]),
            (Case::new("Gather"), vec![], vec![1]),
            (
                Case::new("GatherElements").int("axis", 0),
                vec![2, 3, 1],
                vec![1, 0, -1, 0, 0, 1],
            ),
            (Case::new("GatherND"), vec![2, 3], vec![1, -1, 0, 0, 1, 1]),
            (
                Case::new("GatherND").int("batch_dims", 1),
                vec![2, 2],
                vec![-1, 0, 0, 1],
            ),
        ] {
            let data = case.scattered(&[2, 3, 2], -1.0, 1.0);
            let host = data.clone().host(ints(&shape, &list)).run().unwrap();
            let values = list.iter().map(|i| *i as f64).collect();
            let device = data.tracked(&shape, values).label(1, DType::I64);
            assert_eq!(host, device.run().unwrap());
        }
    }

    #[test]
    fn values() {
        let words = ["a", "b", "c"].map(str::to_owned).to_vec();
        let got = Case::new("Gather")
            .host(Array::new([3], words))
            .host(ints(&[1, 2], &[-1, 0]))
            .run()
            .unwrap();
        let want = vec!["c".to_owned(), "a".into()];
        assert_eq!(got, [Array::new([1, 2], want)]);
        let none = Case::new("Gather")
            .tracked(&[2, 2], vec![0.0; 4])
            .host(ints(&[0], &[]))
            .run()
            .unwrap();
        assert_eq!(none[0].shape(), [0, 2]);
        let empty = Case::new("GatherND")
            .tracked(&[2, 2], vec![0.0; 4])
            .host(ints(&[0, 1], &[]))
            .run()
            .unwrap();
        assert_eq!(empty[0].shape(), [0, 2]);
        let numbers = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        for (case, keep, want) in [
            (
                Case::new("Compress"),
                vec![false, true, false, true],
                vec![2.0, 4.0],
            ),
            (
                Case::new("Compress").int("axis", -1),
                vec![true, false, true],
                vec![1.0, 3.0, 4.0, 6.0],
            ),
        ] {
            let keep = Array::new([keep.len()], keep);
            let host = case.clone().host(Array::new([2, 3], numbers.clone()));
            let device = case.tracked(&[2, 3], numbers.clone());
            for case in [host, device] {
                let got = case.host(keep.clone()).run().unwrap();
                assert_eq!(got[0].to_f64().unwrap(), want);
            }
        }
        assert_eq!(Tuples::new(&[2, 3], &[4, 1], 0).unwrap().block, 3);
    }

    #[test]
    fn invalid_nodes_are_errors_without_panics() {
        let x = || Array::new([2, 3], vec![0.0f32; 6]);
        let wrong = [
            Case::new("Gather").host(x()).host(ints(&[1], &[2])),
            Case::new("Gather").host(x()).host(ints(&[1], &[i64::MIN])),
            Case::new("Gather")
                .int("axis", 2)
                .host(x())
                .host(ints(&[1], &[0])),
            Case::new("Gather").host(x()).host(x()),
            Case::new("Gather").host(x()),
            Case::new("Gather")
                .host(Array::new([], vec![1.0f32]))
                .host(ints(&[1], &[0])),
            Case::new("GatherElements").host(x()).host(ints(&[1], &[0])),
            Case::new("GatherElements")
                .host(x())
                .host(ints(&[1, 4], &[0; 4])),
            Case::new("GatherElements")
                .host(x())
                .host(ints(&[1, 1], &[2])),
            Case::new("GatherND").host(x()).host(ints(&[1, 3], &[0; 3])),
            Case::new("GatherND").host(x()).host(ints(&[], &[0])),
            Case::new("GatherND").host(x()).host(ints(&[1, 2], &[0, 3])),
            Case::new("GatherND")
                .int("batch_dims", 1)
                .host(x())
                .host(ints(&[1, 1], &[0])),
            Case::new("GatherND")
                .int("batch_dims", i64::MAX)
                .host(x())
                .host(ints(&[1, 1], &[0])),
            Case::new("GatherND")
                .int("batch_dims", -1)
                .host(x())
                .host(ints(&[1, 1], &[0])),
            Case::new("Compress")
                .int("axis", 0)
                .host(x())
                .host(Array::new([3], vec![false, false, true])),
            Case::new("Compress")
                .host(x())
                .host(Array::new([1, 1], vec![true])),
        ];
        for (i, case) in wrong.iter().enumerate() {
            let problem = case.run().unwrap_err();
            assert!(!problem.contains("panic"), "case {i}: {problem}");
        }
    }
}
