//! Elements written by index: `ScatterElements` (formerly Scatter), `ScatterND`.
//!
//! Both write rows into data seen as a matrix. With indices on the host, the result is selected from the data and the
//! updates concatenated, and repeated targets are reduced among the updates first, so that values and gradients are
//! exact on every device.

use std::collections::BTreeMap;

use burn::backend::Dispatch;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{Device, IndexingUpdateOp};

use super::OperatorEntry;
use super::gather::{Tuples, device_positions, element_positions};
use super::layout::reshaped;
use crate::array::{Array, Data};
use crate::node::{NodeSpec, OpResult, Run, axis, one, run};
use crate::room;
use crate::tensor::{Indices, Tensor};
use crate::value::Value;

/// How an update is combined with the existing value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reduction {
    /// The update replaces the value.
    None,
    Add,
    Mul,
    Min,
    Max,
}

impl Reduction {
    fn of(node: &NodeSpec<'_>) -> OpResult<Self> {
        match node.text("reduction", "none")?.as_str() {
            "none" => Ok(Self::None),
            "add" => Ok(Self::Add),
            "mul" => Ok(Self::Mul),
            "min" => Ok(Self::Min),
            "max" => Ok(Self::Max),
            other => Err(format!(
                "reduction `{other}`; expected none, add, mul, min or max"
            )),
        }
    }

    fn update(self) -> IndexingUpdateOp {
        match self {
            Self::None => IndexingUpdateOp::Assign,
            Self::Add => IndexingUpdateOp::Add,
            Self::Mul => IndexingUpdateOp::Mul,
            Self::Min => IndexingUpdateOp::Min,
            Self::Max => IndexingUpdateOp::Max,
        }
    }

    fn tensors(self, a: Tensor, b: Tensor) -> OpResult<Tensor> {
        match self {
            Self::None => Ok(b),
            Self::Add => a.add(b),
            Self::Mul => a.mul(b),
            Self::Min => a.minimum(b),
            Self::Max => a.maximum(b),
        }
    }
}

/// Indices of the rows to write.
enum Rows {
    Host(Vec<usize>),
    Device(Indices),
}

/// Writes rows on the host, for any type.
fn write_host(data: &Array, updates: &Array, rows: &[usize], r: Reduction) -> OpResult<Array> {
    let block = if rows.is_empty() {
        return Ok(data.clone());
    } else {
        updates.len() / rows.len()
    };
    if data.dtype() != updates.dtype() {
        return Err(format!(
            "updates of type {} for data of type {}",
            updates.dtype(),
            data.dtype()
        ));
    }
    if r == Reduction::None {
        let mut map: Vec<usize> = (0..data.len()).collect();
        for (u, row) in rows.iter().enumerate() {
            for b in 0..block {
                map[row * block + b] = data.len() + u * block + b;
            }
        }
        let both = Array::chain(&[data.clone(), updates.clone()])?;
        return Ok(both.pick(&map, data.shape()));
    }
    macro_rules! reduced {
        ($(($variant:ident, $add:expr, $mul:expr)),* $(,)?) => {
            match (data.data(), updates.data()) {
                $((Data::$variant(d), Data::$variant(u)) => {
                    let mut out = d.clone();
                    for (k, new) in u.iter().enumerate() {
                        let old = &mut out[rows[k / block] * block + k % block];
                        *old = match r {
                            Reduction::None => *new,
                            Reduction::Add => $add(*old, *new),
                            Reduction::Mul => $mul(*old, *new),
                            // No comparison holds for an existing NaN, which stays; a new NaN is written.
                            Reduction::Min if *new < *old || new != new => *new,
                            Reduction::Max if *new > *old || new != new => *new,
                            Reduction::Min | Reduction::Max => *old,
                        };
                    }
                    Data::$variant(out)
                })*
                (_, _) => {
                    return Err(format!("values of type {} cannot be reduced", data.dtype()));
                }
            }
        };
    }
    let out = reduced!(
        (I8, i8::wrapping_add, i8::wrapping_mul),
        (I16, i16::wrapping_add, i16::wrapping_mul),
        (I32, i32::wrapping_add, i32::wrapping_mul),
        (I64, i64::wrapping_add, i64::wrapping_mul),
        (U8, u8::wrapping_add, u8::wrapping_mul),
        (U16, u16::wrapping_add, u16::wrapping_mul),
        (U32, u32::wrapping_add, u32::wrapping_mul),
        (U64, u64::wrapping_add, u64::wrapping_mul),
        (F16, |a, b| a + b, |a, b| a * b),
        (BF16, |a, b| a + b, |a, b| a * b),
        (F32, |a, b| a + b, |a, b| a * b),
        (F64, |a, b| a + b, |a, b| a * b),
    );
    Array::try_new(data.shape(), out)
}

fn select(tensor: &Tensor, rows: &[usize], device: &Device) -> Tensor {
    tensor
        .clone()
        .select(0, Indices::upload(rows, &[rows.len()], device))
}

/// Reduces the updates of each target to one: first pairs, then pairs of pairs. Returns one row per target, in the
/// order of the targets.
fn reduce_repeated(
    mut updates: Tensor,
    mut groups: Vec<Vec<usize>>,
    r: Reduction,
    device: &Device,
) -> OpResult<Tensor> {
    while groups.iter().any(|g| g.len() > 1) {
        let (mut left, mut right, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        // The next round's rows are the reduced pairs, then the rows without a partner.
        let pairs: usize = groups.iter().map(|g| g.len() / 2).sum();
        for group in &mut groups {
            let mut next = Vec::with_capacity(group.len().div_ceil(2));
            for pair in group.chunks(2) {
                if let [a, b] = pair {
                    next.push(left.len());
                    left.push(*a);
                    right.push(*b);
                } else {
                    next.push(pairs + alone.len());
                    alone.push(pair[0]);
                }
            }
            *group = next;
        }
        let mut parts = vec![r.tensors(
            select(&updates, &left, device),
            select(&updates, &right, device),
        )?];
        if !alone.is_empty() {
            parts.push(select(&updates, &alone, device));
        }
        updates = Tensor::cat(parts, 0)?;
    }
    let order: Vec<usize> = groups.iter().flatten().copied().collect();
    Ok(select(&updates, &order, device))
}

/// Writes rows on the device.
fn write_device(
    data: Tensor,
    updates: Tensor,
    rows: Rows,
    r: Reduction,
    device: &Device,
) -> OpResult<Tensor> {
    let assign = |data: Tensor, rows: Indices| {
        let updates = updates.clone().into_dispatch();
        data.with(|t| {
            <Dispatch as FloatTensorOps<Dispatch>>::float_select_assign(
                t,
                0,
                rows.into_dispatch(),
                updates,
                r.update(),
            )
        })
    };
    let rows = match rows {
        Rows::Device(rows) => return Ok(assign(data, rows)),
        Rows::Host(rows) if r == Reduction::Add => {
            let indices = Indices::upload(&rows, &[rows.len()], device);
            return Ok(assign(data, indices));
        }
        Rows::Host(rows) => rows,
    };
    let all = data.shape()[0];
    let mut map: Vec<usize> = (0..all).collect();
    if r == Reduction::None {
        for (u, row) in rows.iter().enumerate() {
            map[*row] = all + u;
        }
        let both = Tensor::cat(vec![data, updates], 0)?;
        return Ok(select(&both, &map, device));
    }
    let mut targets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (u, row) in rows.iter().enumerate() {
        targets.entry(*row).or_default().push(u);
    }
    let written: Vec<usize> = targets.keys().copied().collect();
    let updates = reduce_repeated(updates, targets.into_values().collect(), r, device)?;
    let new = r.tensors(select(&data, &written, device), updates)?;
    for (u, row) in written.iter().enumerate() {
        map[*row] = all + u;
    }
    Ok(select(&Tensor::cat(vec![data, new], 0)?, &map, device))
}

fn write(
    data: Value,
    updates: Value,
    rows: Rows,
    block: usize,
    r: Reduction,
    device: &Device,
) -> OpResult<Value> {
    let shape = data.shape();
    let n = room::elements(&shape)?;
    let written = room::elements(&updates.shape())?;
    match (data, updates, rows) {
        (Value::Host(d), Value::Host(u), Rows::Host(rows)) => {
            Ok(write_host(&d, &u, &rows, r)?.into())
        }
        (data, _, _) if n == 0 || written == 0 => Ok(data),
        (data, updates, rows) => {
            let data = reshaped(data, &[n / block, block])?.device(device)?;
            let updates = reshaped(updates, &[written / block, block])?.device(device)?;
            Ok(write_device(data, updates, rows, r, device)?
                .reshape(&shape)?
                .into())
        }
    }
}

fn scatter_elements(node: &NodeSpec<'_>) -> OpResult<Run> {
    let at = node.int("axis", 0)?;
    let reduction = Reduction::of(node)?;
    run(move |x| {
        let (data, indices, updates) = (x.take(0)?, x.take(1)?, x.take(2)?);
        let own = data.shape();
        let at = axis(at, own.len())?;
        if indices.shape() != updates.shape() {
            return Err(format!(
                "updates of shape {:?} for indices of shape {:?}",
                updates.shape(),
                indices.shape()
            ));
        }
        let rows = match indices {
            Value::Device(t) => Rows::Device(device_positions(&own, t, at, x.device)?),
            other => Rows::Host(element_positions(&own, &other.host()?, at)?),
        };
        one(write(data, updates, rows, 1, reduction, x.device)?)
    })
}

fn scatter_nd(node: &NodeSpec<'_>) -> OpResult<Run> {
    let reduction = Reduction::of(node)?;
    run(move |x| {
        let (data, indices, updates) = (x.take(0)?, x.take(1)?, x.take(2)?);
        let (own, pointing) = (data.shape(), indices.shape());
        let tuples = Tuples::new(&own, &pointing, 0)?;
        let mut expected = pointing[..pointing.len() - 1].to_vec();
        expected.extend_from_slice(&tuples.inner);
        if updates.shape() != expected {
            return Err(format!(
                "updates of shape {:?}; expected {expected:?}",
                updates.shape()
            ));
        }
        if room::elements(&expected)? == 0 {
            return one(data);
        }
        let rows = match indices {
            Value::Device(t) => Rows::Device(tuples.device_blocks(t, x.device)?.indices()),
            other => Rows::Host(tuples.blocks(&other.host()?)?),
        };
        one(write(
            data,
            updates,
            rows,
            tuples.block,
            reduction,
            x.device,
        )?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Scatter", scatter_elements),
    OperatorEntry::new("ScatterElements", scatter_elements),
    OperatorEntry::new("ScatterND", scatter_nd),
];

#[cfg(test)]
mod tests {
    use crate::check::Case;
    use crate::{Array, DType};

    fn ints(shape: &[usize], v: &[i64]) -> Array {
        Array::new(shape, v.to_vec())
    }

    const REDUCTIONS: [&str; 5] = ["none", "add", "mul", "min", "max"];

    #[test]
    fn gradients() {
        for reduction in REDUCTIONS {
            // One target three times, one twice, one once.
            Case::new("ScatterElements")
                .text("reduction", reduction)
                .int("axis", 1)
                .scattered(&[2, 4], -1.0, 1.0)
                .host(ints(&[1, 6], &[1, 1, -1, 1, 0, 3]))
                .scattered(&[1, 6], -1.0, 1.0)
                .assert_gradient();
            Case::new("ScatterND")
                .text("reduction", reduction)
                .scattered(&[3, 2, 2], -1.0, 1.0)
                .host(ints(&[3, 1], &[2, 0, -1]))
                .scattered(&[3, 2, 2], -1.0, 1.0)
                .assert_gradient();
        }
        Case::new("Scatter")
            .opset(9)
            .scattered(&[3], -1.0, 1.0)
            .host(ints(&[1], &[1]))
            .host(Array::new([1], vec![2.0f32]))
            .assert_gradient();
    }

    /// The same on the host, on the device, and with indices on the device.
    #[test]
    fn values() {
        let want = [
            [5.0, 2.0, 3.0, -1.0],
            [1.0, 2.0, 7.0, 8.0],
            [1.0, 2.0, -12.0, 20.0],
            [1.0, 2.0, -1.0, 4.0],
            [1.0, 2.0, 5.0, 5.0],
        ];
        let base = [1.0, 2.0, 3.0, 4.0];
        for (reduction, want) in REDUCTIONS.into_iter().zip(want) {
            // Without a reduction it is undefined which of several updates wins, so each target gets one.
            let (indices, updates): (&[i64], &[f64]) = if reduction == "none" {
                (&[3, 0], &[-1.0, 5.0])
            } else if reduction == "add" {
                (&[2, 2, 3], &[-1.0, 5.0, 4.0])
            } else {
                (
                    &[2, -2, 3],
                    &[-1.0, if reduction == "mul" { 4.0 } else { 5.0 }, 5.0],
                )
            };
            let n = indices.len();
            for op in ["ScatterElements", "ScatterND"] {
                let shape = if op == "ScatterND" {
                    vec![n, 1]
                } else {
                    vec![n]
                };
                let case = || Case::new(op).text("reduction", reduction);
                let floats = indices.iter().map(|i| *i as f64).collect::<Vec<_>>();
                let host = case()
                    .host(Array::new([4], base.map(|v| v as i64).to_vec()))
                    .host(ints(&shape, indices))
                    .host(Array::new(
                        [n],
                        updates.iter().map(|v| *v as i64).collect::<Vec<_>>(),
                    ));
                let device = case()
                    .tracked(&[4], base.to_vec())
                    .host(ints(&shape, indices))
                    .tracked(&[n], updates.to_vec());
                let all = case()
                    .tracked(&[4], base.to_vec())
                    .tracked(&shape, floats)
                    .label(1, DType::I64)
                    .tracked(&[n], updates.to_vec());
                for (case, what) in [(host, "host"), (device, "device"), (all, "indices, too")] {
                    let got = case.run().unwrap()[0].to_f64().unwrap();
                    assert_eq!(got, want, "{op} {reduction} on the {what}");
                }
            }
        }
        let words = |v: &[&str]| {
            Array::new(
                [v.len()],
                v.iter().map(ToString::to_string).collect::<Vec<_>>(),
            )
        };
        let text = Case::new("ScatterElements")
            .host(words(&["a", "b"]))
            .host(ints(&[1], &[-1]))
            .host(words(&["c"]))
            .run()
            .unwrap();
        assert_eq!(text, [words(&["a", "c"])]);
    }

    #[test]
    fn invalid_nodes_are_errors_without_panics() {
        let x = || Array::new([2, 3], vec![0.0f32; 6]);
        let u = || Array::new([1, 1], vec![0.0f32]);
        let at = |i: i64| ints(&[1, 1], &[i]);
        let case = || Case::new("ScatterElements");
        let yes = || Array::new([1], vec![true]);
        let wrong = [
            case()
                .text("reduction", "odd")
                .host(x())
                .host(at(0))
                .host(u()),
            case().host(x()).host(at(2)).host(u()),
            case().host(x()).host(at(0)).host(x()),
            case().host(x()).host(at(0)).host(at(0)),
            case()
                .host(x())
                .host(ints(&[1, 4], &[0; 4]))
                .host(Array::new([1, 4], vec![0.0f32; 4])),
            case()
                .text("reduction", "add")
                .host(yes())
                .host(ints(&[1], &[0]))
                .host(yes()),
            case().int("axis", 5).host(x()).host(at(0)).host(u()),
            Case::new("ScatterND").host(x()).host(at(0)).host(u()),
            Case::new("ScatterND").host(x()).host(at(0)),
            Case::new("ScatterND")
                .host(x())
                .host(at(2))
                .host(Array::new([1, 3], vec![0.0f32; 3])),
        ];
        for (i, case) in wrong.iter().enumerate() {
            let problem = case.run().unwrap_err();
            assert!(!problem.contains("panic"), "case {i}: {problem}");
        }
    }
}
