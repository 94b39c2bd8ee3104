//! Padding and cropping: Pad, `CenterCropPad`.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, Slice};
use burn::tensor::Device;
use proofmark_kernels::Window;

use super::OperatorEntry;
use super::layout::{Cut, along, cut, grid, not_a_tensor, strides};
use crate::array::{Array, NOWHERE};
use crate::lower::{Lowering, lowering};
use crate::node::{NodeSpec, OpResult, Run, axes, one, run};
use crate::room;
use crate::tensor::Tensor;
use crate::value::Value;

/// Padding mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

impl Mode {
    fn parse(name: &str) -> OpResult<Self> {
        match name {
            "constant" => Ok(Self::Constant),
            "reflect" => Ok(Self::Reflect),
            "edge" => Ok(Self::Edge),
            "wrap" => Ok(Self::Wrap),
            other => Err(format!(
                "mode `{other}`; expected constant, reflect, edge or wrap"
            )),
        }
    }

    /// Returns which of `n` entries to place at position `i`, counted from the first entry.
    fn source(self, i: i64, n: usize) -> usize {
        let n = n as i64;
        let at = match self {
            Self::Constant => i,
            Self::Edge => i.clamp(0, n - 1),
            Self::Wrap => i.rem_euclid(n),
            Self::Reflect if n == 1 => 0,
            Self::Reflect => {
                let i = i.rem_euclid(2 * (n - 1));
                i.min(2 * (n - 1) - i)
            }
        };
        at as usize
    }
}

/// Entries added (removed if negative) before and after one dimension.
type Around = (i64, i64);

/// Returns the cut of each dimension for cropping, and the shape after padding.
fn lengths(own: &[usize], around: &[Around]) -> OpResult<(Vec<Cut>, Vec<usize>)> {
    let mut cuts = Vec::with_capacity(own.len());
    let mut shape = Vec::with_capacity(own.len());
    for (n, (before, after)) in own.iter().zip(around) {
        let start = before.min(&0).unsigned_abs() as usize;
        let end = after.min(&0).unsigned_abs() as usize;
        let count = n
            .checked_sub(start)
            .and_then(|n| n.checked_sub(end))
            .ok_or_else(|| format!("{before} before and {after} after {n} entries"))?;
        cuts.push(Cut::part(start, count));
        shape.push(
            (*before.max(&0) as usize)
                .checked_add(*after.max(&0) as usize)
                .and_then(|n| n.checked_add(count))
                .ok_or_else(|| format!("{before} before and {after} after {n} entries"))?,
        );
    }
    room::elements(&shape)?;
    Ok((cuts, shape))
}

/// Pads with one number.
fn constant(
    value: Value,
    before: &[usize],
    shape: &[usize],
    fill: Option<Value>,
    device: &Device,
) -> OpResult<Value> {
    let own = value.shape();
    let on_device = matches!(fill, Some(Value::Device(_)));
    match value {
        Value::Host(a) if !on_device => {
            let strides = strides(&own);
            let mut map = grid(shape, |axis, i| {
                i.checked_sub(before[axis])
                    .filter(|i| *i < own[axis])
                    .map_or(NOWHERE, |i| i * strides[axis])
            })?;
            let Some(fill) = fill else {
                return Ok(a.pick(&map, shape).into());
            };
            let fill = single(&fill.host()?)?.cast(a.dtype())?;
            for at in &mut map {
                *at = (*at).min(a.len());
            }
            Ok(Array::chain(&[a, fill])?.pick(&map, shape).into())
        }
        Value::Host(_) | Value::Device(_) => {
            let inner = value.device(device)?;
            let dtype = inner.dtype();
            let outer = match fill {
                Some(Value::Device(t)) => t.reshape(&[])?.expand(shape)?,
                Some(v) => Tensor::full(shape, single(&v.host()?)?.to_f64()?[0], device)?,
                None => Tensor::full(shape, 0.0, device)?,
            };
            if own.contains(&0) {
                return Ok(outer.typed(dtype).into());
            }
            let place: Vec<Slice> = before
                .iter()
                .zip(&own)
                .map(|(b, n)| Slice::new(*b as isize, Some((b + n) as isize), 1))
                .collect();
            let inner = inner.into_dispatch();
            Ok(outer
                .typed(dtype)
                .with(|t| {
                    <Dispatch as FloatTensorOps<Dispatch>>::float_slice_assign(t, &place, inner)
                })
                .into())
        }
        other => Err(not_a_tensor(&other)),
    }
}

fn single(fill: &Array) -> OpResult<Array> {
    if fill.len() == 1 {
        fill.reshape(&[1])
    } else {
        Err(format!("{} constant values; expected one", fill.len()))
    }
}

fn padded(
    value: Value,
    around: &[Around],
    mode: Mode,
    fill: Option<Value>,
    device: &Device,
) -> OpResult<Value> {
    let (cuts, shape) = lengths(&value.shape(), around)?;
    let inner = cut(value, &cuts, device)?;
    let own = inner.shape();
    if own == shape {
        return Ok(inner);
    }
    if mode == Mode::Constant {
        let before: Vec<usize> = around.iter().map(|(b, _)| *b.max(&0) as usize).collect();
        return constant(inner, &before, &shape, fill, device);
    }
    let mut value = inner;
    for (axis, (before, _)) in around.iter().enumerate() {
        let n = own[axis];
        if n == shape[axis] {
            continue;
        }
        if n == 0 {
            return Err(format!(
                "nothing to repeat along dimension {axis} of {own:?}"
            ));
        }
        let from: Vec<usize> = (0..shape[axis] as i64)
            .map(|i| mode.source(i - before.max(&0), n))
            .collect();
        value = along(value, axis, &from, device)?;
    }
    Ok(value)
}

/// Returns the entries to add along each dimension, from ONNX's list: all befores, then all afters.
fn surroundings(pads: &[i64], on: Option<&[i64]>, rank: usize) -> OpResult<Vec<Around>> {
    let on = match on {
        Some(list) => axes(list, rank)?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * on.len() {
        return Err(format!(
            "{} pads for {} dimensions; expected two for each",
            pads.len(),
            on.len()
        ));
    }
    let mut around = vec![(0, 0); rank];
    for (i, at) in on.iter().enumerate() {
        around[*at] = (pads[i], pads[on.len() + i]);
    }
    Ok(around)
}

fn pad(node: &NodeSpec<'_>) -> OpResult<Run> {
    let mode = Mode::parse(&node.text("mode", "constant")?)?;
    let fixed = node.ints("pads")?;
    let number = node.float("value", 0.0)?;
    run(move |x| {
        let (pads, on, fill) = if let Some(pads) = &fixed {
            let fill = Array::try_new([1], vec![number])?;
            (pads.clone(), None, Some(fill.into()))
        } else {
            let fill = if x.has(2) { Some(x.take(2)?) } else { None };
            (x.ints(1)?, x.ints_opt(3)?, fill)
        };
        let value = x.take(0)?;
        let around = surroundings(&pads, on.as_deref(), value.shape().len())?;
        one(padded(value, &around, mode, fill, x.device)?)
    })
}

fn center_crop_pad(node: &NodeSpec<'_>) -> OpResult<Run> {
    let on = node.ints("axes")?;
    run(move |x| {
        let sizes = x.ints(1)?;
        let value = x.take(0)?;
        let own = value.shape();
        let on = match &on {
            Some(list) => axes(list, own.len())?,
            None => (0..own.len()).collect(),
        };
        if sizes.len() != on.len() {
            return Err(format!("{} sizes for {} axes", sizes.len(), on.len()));
        }
        let mut around = vec![(0, 0); own.len()];
        for (size, at) in sizes.iter().zip(on) {
            let more = size
                .checked_sub(own[at] as i64)
                .filter(|_| *size >= 0)
                .ok_or_else(|| format!("size {size}; expected 0 or more"))?;
            // If the difference is odd, the larger part goes after, for both padding and cropping.
            let before = more / 2;
            around[at] = (before, more - before);
        }
        one(padded(value, &around, Mode::Constant, None, x.device)?)
    })
}

fn lowered_pad(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let mode = Mode::parse(&node.text("mode", "constant")?)?;
    let fixed = node.ints("pads")?;
    let number = node.float("value", 0.0)?;
    lowering(move |x| {
        let (pads, on, fill) = if let Some(pads) = &fixed {
            (pads.clone(), None, number)
        } else {
            let fill = x.numbers(2)?.and_then(|f| f.first().copied());
            let pads = x.ints(1)?.ok_or("input 1 is missing")?;
            (pads, x.ints(3)?, f64::from(fill.unwrap_or(0.0)))
        };
        let s = x.sample(0)?;
        let around = surroundings(&pads, on.as_deref(), s.shape().len())?;
        if around.iter().all(|a| *a == (0, 0)) {
            return Ok(s);
        }
        // A window of one pixel reads the map, or the zeros around it.
        let mut window = Window::from([1, 1]);
        let (rest, lengths) = around.split_at(around.len().min(2));
        let plane = match *lengths {
            [w] => [(0, 0), w],
            [h, w] => [h, w],
            _ => return Err(format!("padding {around:?}")),
        };
        let is_plain = mode == Mode::Constant && fill == 0.0;
        if !is_plain
            || rest.iter().any(|a| *a != (0, 0))
            || plane.iter().any(|(a, b)| *a < 0 || *b < 0)
        {
            return Err(format!("padding {around:?} with {fill}"));
        }
        window.pads = plane.map(|(before, after)| [before as usize, after as usize]);
        x.windowed(|net, x| net.average(x, window))
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Pad", pad).lowered(lowered_pad),
    OperatorEntry::new("CenterCropPad", center_crop_pad),
];

#[cfg(test)]
mod tests {
    use crate::Array;
    use crate::check::{Case, list};

    fn numbers(case: &Case) -> Vec<f64> {
        case.run().unwrap()[0].to_f64().unwrap()
    }

    #[test]
    fn gradients() {
        for mode in ["constant", "reflect", "edge", "wrap"] {
            for pads in [[0, 1, 0, 2], [1, -1, 2, 3], [-1, 0, 0, -2]] {
                Case::new("Pad")
                    .text("mode", mode)
                    .scattered(&[3, 4], -1.0, 1.0)
                    .host(list(&pads))
                    .assert_gradient();
            }
        }
        // The constant has a gradient, too.
        Case::new("Pad")
            .scattered(&[2], -1.0, 1.0)
            .host(list(&[1, 2]))
            .scattered(&[], -1.0, 1.0)
            .assert_gradient();
        Case::new("CenterCropPad")
            .ints("axes", &[-1, 0])
            .scattered(&[3, 4], -1.0, 1.0)
            .host(list(&[7, 2]))
            .assert_gradient();
    }

    #[test]
    fn values() {
        let three = [1.0, 2.0, 3.0];
        for (mode, pads, want) in [
            ("constant", [2, 1], vec![9.0, 9.0, 1.0, 2.0, 3.0, 9.0]),
            ("edge", [2, 1], vec![1.0, 1.0, 1.0, 2.0, 3.0, 3.0]),
            ("reflect", [2, 1], vec![3.0, 2.0, 1.0, 2.0, 3.0, 2.0]),
            ("reflect", [0, 4], vec![1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0]),
            ("wrap", [2, 1], vec![2.0, 3.0, 1.0, 2.0, 3.0, 1.0]),
            ("wrap", [4, 0], vec![3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0]),
            ("constant", [-1, 1], vec![2.0, 3.0, 9.0]),
            ("reflect", [-1, 1], vec![2.0, 3.0, 2.0]),
        ] {
            let case = |c: Case| c.host(list(&pads)).host(Array::new([1], vec![9.0f64]));
            let pad = || Case::new("Pad").text("mode", mode);
            let host = case(pad().host(Array::new([3], three.to_vec())));
            let device = case(pad().tracked(&[3], three.to_vec()));
            assert_eq!(numbers(&host), want, "{mode} {pads:?} on the host");
            assert_eq!(numbers(&device), want, "{mode} {pads:?} on the device");
        }
        let old = Case::new("Pad")
            .opset(10)
            .ints("pads", &[1, 0])
            .float("value", 2.5)
            .tracked(&[1], vec![1.0]);
        assert_eq!(numbers(&old), [2.5, 1.0]);
        let empty = Case::new("Pad")
            .tracked(&[0], vec![])
            .host(list(&[1, 1]))
            .host(Array::new([], vec![4.0f32]));
        assert_eq!(numbers(&empty), [4.0, 4.0]);
        let text = Case::new("Pad")
            .host(Array::new([1], vec!["a".to_owned()]))
            .host(list(&[0, 1]));
        let want = Array::new([2], vec!["a".to_owned(), String::new()]);
        assert_eq!(text.run().unwrap(), [want]);
        for (size, want) in [
            (6, vec![0.0, 1.0, 2.0, 3.0, 0.0, 0.0]),
            (2, vec![1.0, 2.0]),
            (0, vec![]),
        ] {
            let case = Case::new("CenterCropPad")
                .tracked(&[3], three.to_vec())
                .host(list(&[size]));
            assert_eq!(numbers(&case), want, "{size}");
        }
    }

    #[test]
    fn invalid_nodes_are_errors_without_panics() {
        let x = || Array::new([2, 3], vec![0.0f32; 6]);
        let big = 1i64 << 40;
        let wrong = [
            Case::new("Pad")
                .text("mode", "odd")
                .host(x())
                .host(list(&[0; 4])),
            Case::new("Pad").host(x()).host(list(&[0; 3])),
            Case::new("Pad").host(x()).host(list(&[-2, 0, -1, 0])),
            Case::new("Pad").host(x()).host(list(&[big, 0, 0, 0])),
            Case::new("Pad")
                .host(x())
                .host(list(&[i64::MAX, 0, i64::MAX, 0])),
            Case::new("Pad")
                .host(x())
                .host(list(&[i64::MIN, 0, i64::MIN, 0])),
            Case::new("Pad")
                .host(x())
                .host(list(&[0; 4]))
                .absent()
                .host(list(&[0, 0])),
            Case::new("Pad")
                .host(x())
                .host(list(&[0, 0, 0, 1]))
                .host(list(&[1, 2])),
            Case::new("Pad")
                .text("mode", "edge")
                .host(Array::new([0], Vec::<f32>::new()))
                .host(list(&[1, 0])),
            Case::new("CenterCropPad").host(x()).host(list(&[1])),
            Case::new("CenterCropPad").host(x()).host(list(&[-1, 1])),
            Case::new("CenterCropPad").host(x()).host(list(&[big, 1])),
        ];
        for (i, case) in wrong.iter().enumerate() {
            let problem = case.run().unwrap_err();
            assert!(!problem.contains("panic"), "case {i}: {problem}");
        }
    }
}
