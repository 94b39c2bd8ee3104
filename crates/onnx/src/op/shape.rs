//! Operators that return, change or expand the shape of a value.

use super::layout::{empty, moved, not_a_tensor, permuted, reshaped, strides};
use super::{Gradient, OperatorEntry};
use crate::array::Array;
use crate::lower::{Lowering, lowering};
use crate::node::{Args, NodeSpec, OpResult, Run, axes, axis, one, run};
use crate::room;
use crate::tensor::broadcast;
use crate::value::Value;

fn shape(node: &NodeSpec<'_>) -> OpResult<Run> {
    let start = node.int("start", 0)?;
    let end = node.int_opt("end")?;
    run(move |x| {
        let shape = x.take(0)?.shape();
        let rank = shape.len() as i64;
        let at = |i: i64| {
            let from_start = if i < 0 { i.saturating_add(rank) } else { i };
            from_start.clamp(0, rank) as usize
        };
        let (from, to) = (at(start), end.map_or(shape.len(), at));
        let part = shape.get(from..to).unwrap_or_default();
        one(Array::list(part.iter().map(|d| *d as i64).collect()))
    })
}

fn size(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let n = room::elements(&x.take(0)?.shape())?;
        one(Array::try_new(Vec::new(), vec![n as i64])?)
    })
}

/// Returns the shape that a Reshape requests.
fn target(own: &[usize], requested: &[i64], keep_zero: bool) -> OpResult<Vec<usize>> {
    let refuse = || format!("{own:?} cannot be reshaped to {requested:?}");
    let mut free = None;
    let mut shape = Vec::with_capacity(requested.len());
    for (i, d) in requested.iter().enumerate() {
        shape.push(match *d {
            -1 if free.is_none() => {
                free = Some(i);
                1
            }
            0 if !keep_zero => *own.get(i).ok_or_else(refuse)?,
            d => usize::try_from(d).map_err(|_| refuse())?,
        });
    }
    if let Some(i) = free {
        let (all, others) = (room::elements(own)?, room::elements(&shape)?);
        if others == 0 || all % others != 0 {
            return Err(refuse());
        }
        shape[i] = all / others;
    }
    Ok(shape)
}

fn reshape(node: &NodeSpec<'_>) -> OpResult<Run> {
    let keep_zero = node.flag("allowzero", false)?;
    run(move |x| {
        let requested = x.ints(1)?;
        let value = x.take(0)?;
        let shape = target(&value.shape(), &requested, keep_zero)?;
        one(reshaped(value, &shape)?)
    })
}

fn flatten(node: &NodeSpec<'_>) -> OpResult<Run> {
    let at = node.int("axis", 1)?;
    run(move |x| {
        let value = x.take(0)?;
        let own = value.shape();
        let at = match axis(at, own.len()) {
            Ok(at) => at,
            // An axis equal to the rank flattens everything into the rows.
            Err(_) if at == own.len() as i64 => own.len(),
            Err(e) => return Err(e),
        };
        let rows = room::elements(&own[..at])?;
        one(reshaped(value, &[rows, room::elements(&own[at..])?])?)
    })
}

/// Reads axes from an attribute (up to operator set 12) or from the second input.
fn listed(x: &mut Args<'_>, fixed: Option<&Vec<i64>>) -> OpResult<Option<Vec<i64>>> {
    match fixed {
        Some(list) => Ok(Some(list.clone())),
        None => x.ints_opt(1),
    }
}

fn squeeze(node: &NodeSpec<'_>) -> OpResult<Run> {
    let fixed = node.ints("axes")?;
    run(move |x| {
        let list = listed(x, fixed.as_ref())?;
        let value = x.take(0)?;
        let own = value.shape();
        let mut gone = vec![false; own.len()];
        match list {
            None => gone.iter_mut().zip(&own).for_each(|(g, n)| *g = *n == 1),
            Some(list) => {
                for at in axes(&list, own.len())? {
                    if own[at] != 1 {
                        return Err(format!(
                            "dimension {at} of {own:?} cannot be dropped; expected length 1"
                        ));
                    }
                    gone[at] = true;
                }
            }
        }
        let shape: Vec<usize> = own
            .iter()
            .zip(gone)
            .filter(|(_, gone)| !gone)
            .map(|(n, _)| *n)
            .collect();
        one(reshaped(value, &shape)?)
    })
}

fn unsqueeze(node: &NodeSpec<'_>) -> OpResult<Run> {
    let fixed = node.ints("axes")?;
    run(move |x| {
        let list = listed(x, fixed.as_ref())?.ok_or("axes are missing")?;
        let value = x.take(0)?;
        let own = value.shape();
        let rank = own.len() + list.len();
        let mut new = vec![false; rank];
        for at in axes(&list, rank)? {
            new[at] = true;
        }
        let mut old = own.iter();
        let shape: Vec<usize> = new
            .iter()
            .map(|new| {
                if *new {
                    1
                } else {
                    *old.next().expect("as many old dimensions as not new ones")
                }
            })
            .collect();
        one(reshaped(value, &shape)?)
    })
}

fn transpose(node: &NodeSpec<'_>) -> OpResult<Run> {
    let perm = node.ints("perm")?;
    run(move |x| {
        let value = x.take(0)?;
        let rank = value.shape().len();
        let order = match &perm {
            None => (0..rank).rev().collect(),
            Some(p) if p.len() == rank => axes(p, rank)?,
            Some(p) => return Err(format!("perm {p:?} for a value with {rank} dimensions")),
        };
        one(permuted(value, &order)?)
    })
}

fn expand(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let requested: Vec<usize> = x
            .ints(1)?
            .into_iter()
            .map(|d| usize::try_from(d).map_err(|_| format!("dimension {d}; expected 0 or more")))
            .collect::<OpResult<_>>()?;
        let value = x.take(0)?;
        let own = value.shape();
        let shape = broadcast(&own, &requested)?;
        if shape == own {
            return one(value);
        }
        let elements = room::elements(&shape)?;
        match value {
            Value::Host(a) => {
                let (strides, new) = (strides(&own), shape.len() - own.len());
                let at = |axis: usize, i: usize| match axis.checked_sub(new) {
                    Some(axis) if own[axis] != 1 => i * strides[axis],
                    _ => 0,
                };
                one(moved(&a, &shape, at)?)
            }
            Value::Device(t) if elements == 0 => one(empty(&shape, t.dtype(), x.device)?),
            Value::Device(t) => one(t.expand(&shape)?),
            other => Err(not_a_tensor(&other)),
        }
    })
}

fn tile(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let repeats = x.ints(1)?;
        let value = x.take(0)?;
        let own = value.shape();
        if repeats.len() != own.len() {
            return Err(format!("{} repeats for shape {own:?}", repeats.len()));
        }
        let mut shape = Vec::with_capacity(own.len());
        // [a, b] repeated (2, 3) times is [1, a, 1, b] expanded to [2, a, 3, b].
        let (mut apart, mut wide) = (Vec::new(), Vec::new());
        for (n, r) in own.iter().zip(&repeats) {
            let r = usize::try_from(*r).map_err(|_| format!("{r} repeats; expected 0 or more"))?;
            shape.push(
                n.checked_mul(r)
                    .ok_or_else(|| format!("{own:?} repeated {repeats:?} times is too large"))?,
            );
            if r != 1 {
                apart.push(1);
                wide.push(r);
            }
            apart.push(*n);
            wide.push(*n);
        }
        if shape == own {
            return one(value);
        }
        let elements = room::elements(&shape)?;
        match value {
            Value::Host(a) => {
                let strides = strides(&own);
                one(moved(&a, &shape, |axis, i| i % own[axis] * strides[axis])?)
            }
            Value::Device(t) if elements == 0 => one(empty(&shape, t.dtype(), x.device)?),
            Value::Device(t) => one(t.reshape(&apart)?.expand(&wide)?.reshape(&shape)?),
            other => Err(not_a_tensor(&other)),
        }
    })
}

/// The elements stay as they are and where they are, whatever shape they have.
pub(super) fn as_it_is() -> OpResult<Lowering> {
    lowering(|x| {
        let (s, shape) = (x.sample(0)?, x.output().to_vec());
        Ok(s.reshaped(&shape))
    })
}

fn lowered_transpose(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let perm = node.ints("perm")?;
    lowering(move |x| {
        let s = x.sample(0)?;
        let rank = s.shape().len();
        let order = match &perm {
            None => (0..rank).rev().collect(),
            Some(p) if p.len() == rank => axes(p, rank)?,
            Some(p) => return Err(format!("perm {p:?} for a value with {rank} dimensions")),
        };
        Ok(s.transposed(&order))
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Shape", shape).gradient(Gradient::None),
    OperatorEntry::new("Size", size).gradient(Gradient::None),
    OperatorEntry::new("Reshape", reshape).lowered(|_| as_it_is()),
    OperatorEntry::new("Flatten", flatten).lowered(|_| as_it_is()),
    OperatorEntry::new("Squeeze", squeeze).lowered(|_| as_it_is()),
    OperatorEntry::new("Unsqueeze", unsqueeze).lowered(|_| as_it_is()),
    OperatorEntry::new("Transpose", transpose).lowered(lowered_transpose),
    OperatorEntry::new("Expand", expand),
    OperatorEntry::new("Tile", tile),
];

#[cfg(test)]
mod tests {
    use crate::Array;
    use crate::check::{Case, list};

    #[test]
    fn gradients() {
        for (shape, requested) in [(vec![2, 6], vec![3, 4]), (vec![2, 3, 2], vec![0, -1])] {
            Case::new("Reshape")
                .scattered(&shape, -1.0, 1.0)
                .host(list(&requested))
                .assert_gradient();
        }
        Case::new("Flatten")
            .int("axis", -1)
            .scattered(&[2, 3, 2], -1.0, 1.0)
            .assert_gradient();
        Case::new("Squeeze")
            .scattered(&[2, 1, 3, 1], -1.0, 1.0)
            .host(list(&[-1]))
            .assert_gradient();
        Case::new("Unsqueeze")
            .opset(11)
            .ints("axes", &[0, -1])
            .scattered(&[2, 3], -1.0, 1.0)
            .assert_gradient();
        Case::new("Transpose")
            .ints("perm", &[2, 0, 1])
            .scattered(&[2, 3, 4], -1.0, 1.0)
            .assert_gradient();
        Case::new("Expand")
            .scattered(&[2, 1], -1.0, 1.0)
            .host(list(&[3, 1, 4]))
            .assert_gradient();
        Case::new("Tile")
            .scattered(&[2, 1, 3], -1.0, 1.0)
            .host(list(&[3, 1, 2]))
            .assert_gradient();
    }

    /// Runs a case on the host and on the device.
    fn both(case: impl Fn() -> Case, shape: &[usize], values: &[f64]) -> [Array; 2] {
        let f32s = values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
        [
            case().host(Array::new(shape, f32s)),
            case().tracked(shape, values.to_vec()),
        ]
        .map(|c| c.run().unwrap().remove(0))
    }

    #[test]
    fn values() {
        for got in both(
            || Case::new("Transpose"),
            &[2, 3],
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        ) {
            assert_eq!(
                got,
                Array::new([3, 2], vec![1.0f32, 4.0, 2.0, 5.0, 3.0, 6.0])
            );
        }
        let tile = Case::new("Tile")
            .host(Array::new([1, 2], vec!["a".to_owned(), "b".into()]))
            .host(list(&[2, 2]))
            .run()
            .unwrap();
        let want = ["a", "b", "a", "b", "a", "b", "a", "b"].map(str::to_owned);
        assert_eq!(tile, [Array::new([2, 4], want.to_vec())]);
        let expand = Case::new("Expand")
            .host(Array::new([2, 1], vec![1i64 << 60, 7]))
            .host(list(&[1, 2]))
            .run()
            .unwrap();
        assert_eq!(
            expand,
            [Array::new([2, 2], vec![1i64 << 60, 1 << 60, 7, 7])]
        );
        let zero = Case::new("Reshape")
            .int("allowzero", 1)
            .tracked(&[0, 3], vec![])
            .host(list(&[3, 0]))
            .run()
            .unwrap();
        assert_eq!(zero[0].shape(), [3, 0]);
        for shape in [&[2usize, 0][..], &[0, 2]] {
            let none = Case::new("Tile")
                .tracked(&[2, 2], vec![1.0; 4])
                .host(list(&[(shape[0] / 2) as i64, (shape[1] / 2) as i64]))
                .run()
                .unwrap();
            assert_eq!(none[0].shape(), shape);
        }
        for (axis, want) in [(0, [1, 6]), (2, [6, 1]), (-2, [1, 6])] {
            for got in both(
                || Case::new("Flatten").int("axis", axis),
                &[2, 3],
                &[0.0; 6],
            ) {
                assert_eq!(got.shape(), want);
            }
        }
    }

    #[test]
    fn invalid_nodes_are_errors_without_panics() {
        let x = || Array::new([2, 3], vec![0.0f32; 6]);
        let big = 1i64 << 40;
        let wrong = [
            Case::new("Reshape").host(x()).host(list(&[4, -1])),
            Case::new("Reshape").host(x()).host(list(&[-1, -1])),
            Case::new("Reshape").host(x()).host(list(&[0, 0, 0])),
            Case::new("Reshape").host(x()).host(list(&[-2, 3])),
            Case::new("Reshape")
                .host(x())
                .host(list(&[i64::MAX, i64::MAX])),
            Case::new("Reshape").host(x()),
            Case::new("Flatten").int("axis", 3).host(x()),
            Case::new("Flatten").int("axis", i64::MIN).host(x()),
            Case::new("Squeeze").host(x()).host(list(&[0])),
            Case::new("Squeeze").host(x()).host(list(&[5])),
            Case::new("Unsqueeze").host(x()),
            Case::new("Unsqueeze").host(x()).host(list(&[0, 0])),
            Case::new("Transpose").ints("perm", &[0]).host(x()),
            Case::new("Transpose").ints("perm", &[0, 0]).host(x()),
            Case::new("Expand").host(x()).host(list(&[4])),
            Case::new("Expand").host(x()).host(list(&[big, 1, 1])),
            Case::new("Expand").host(x()).host(list(&[-1])),
            Case::new("Tile").host(x()).host(list(&[1])),
            Case::new("Tile").host(x()).host(list(&[big, 1])),
            Case::new("Tile").host(x()).host(list(&[i64::MAX, 2])),
            Case::new("Tile").host(x()).host(list(&[-1, 2])),
        ];
        for (i, case) in wrong.iter().enumerate() {
            let problem = case.run().unwrap_err();
            assert!(!problem.contains("panic"), "case {i}: {problem}");
        }
    }
}
