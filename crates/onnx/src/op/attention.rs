//! `Attention` as one node, and the rotary position embedding that goes before it.

use std::sync::{Mutex, PoisonError};

use burn::backend::Dispatch;
use burn::backend::ops::ActivationOps;
use burn::tensor::Device;

use super::OperatorEntry;
use super::gather::wrapped;
use super::matmul::product;
use crate::array::Array;
use crate::dtype::DType;
use crate::node::{Args, NodeSpec, OpResult, Run, one, run};
use crate::room;
use crate::tensor::{Indices, Mask, Tensor, broadcast};
use crate::value::Value;

/// Reads a number of heads; `None` if it is 0.
fn heads(node: &NodeSpec<'_>, name: &str) -> OpResult<Option<usize>> {
    match node.int(name, 0)? {
        0 => Ok(None),
        n => usize::try_from(n)
            .map(Some)
            .map_err(|_| format!("attribute `{name}` is {n}; expected at least 1")),
    }
}

/// Gives the heads a dimension of their own: reshapes `[batch, length, heads * size]` to
/// `[batch, heads, length, size]`. Returns a 4-dimensional tensor unchanged.
fn by_head(t: Tensor, heads: Option<usize>, what: &str) -> OpResult<Tensor> {
    let shape = t.shape();
    match *shape.as_slice() {
        [_, _, _, _] => Ok(t),
        [batch, length, width] => {
            let heads = heads.ok_or_else(|| {
                format!("the {what} has 3 dimensions, and no number of heads is given")
            })?;
            if width % heads != 0 {
                return Err(format!("the {what} is {width} wide; it has {heads} heads"));
            }
            Ok(t.reshape(&[batch, length, heads, width / heads])?
                .permute(&[0, 2, 1, 3]))
        }
        _ => Err(format!(
            "the {what} has shape {shape:?}; expected 3 or 4 dimensions"
        )),
    }
}

/// Returns 0, 1, 2 and so on up to `n - 1` in this shape (a row or a column).
fn counted(n: usize, shape: &[usize], device: &Device) -> OpResult<Tensor> {
    room::elements(&[n])?;
    Tensor::upload(
        (0..n).map(|i| i as f32).collect(),
        shape,
        DType::I64,
        device,
    )
}

/// Cached causal mask (the keys later than each query) for the lengths requested last.
#[derive(Default)]
struct Later(Mutex<Option<([usize; 3], Array)>>);

impl Later {
    /// Returns the mask `[queries, keys]`; `before` keys precede the first query.
    fn mask(&self, key: [usize; 3], device: &Device) -> OpResult<Mask> {
        let [queries, keys, before] = key;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|(k, _)| *k != key) {
            let mut later = Vec::with_capacity(room::elements(&[queries, keys])?);
            for i in 0..queries {
                later.extend((0..keys).map(|j| j > before + i));
            }
            *kept = Some((key, Array::try_new([queries, keys], later)?));
        }
        let array = kept.as_ref().map(|(_, a)| a.clone());
        drop(kept);
        // Always `Some`: the code above has just set it.
        Ok(array.ok_or("no mask")?.on(device)?.truth())
    }
}

/// Queries, keys and values with checked shapes and a dimension for the heads; past keys and values are prepended.
struct Operands {
    query: Tensor,
    key: Tensor,
    value: Tensor,
    batch: usize,
    /// Number of heads of the queries, and of the keys and values.
    heads: [usize; 2],
    /// Number of queries and of keys.
    length: [usize; 2],
    /// Size of a head in the query and in the value.
    size: [usize; 2],
    /// Number of past keys.
    before: usize,
    has_past: bool,
}

impl Operands {
    fn read(x: &mut Args<'_>, q_heads: Option<usize>, kv_heads: Option<usize>) -> OpResult<Self> {
        let query = by_head(x.tensor(0)?, q_heads, "query")?;
        let mut key = by_head(x.tensor(1)?, kv_heads, "key")?;
        let mut value = by_head(x.tensor(2)?, kv_heads, "value")?;
        let fresh = key.shape()[2];
        let has_past = x.has(4);
        if let Some(past) = x.tensor_opt(4)? {
            key = Tensor::cat(vec![past, key], 2).map_err(|e| format!("the past key: {e}"))?;
        }
        if let Some(past) = x.tensor_opt(5)? {
            value =
                Tensor::cat(vec![past, value], 2).map_err(|e| format!("the past value: {e}"))?;
        }
        let (q, k, v) = (query.shape(), key.shape(), value.shape());
        if k[0] != q[0] || v[0] != q[0] || k[1] != v[1] || k[2] != v[2] || k[3] != q[3] {
            return Err(format!(
                "queries, keys and values of shapes {q:?}, {k:?} and {v:?} do not fit"
            ));
        }
        if k[1] == 0 || q[1] % k[1] != 0 {
            return Err(format!(
                "{} heads of queries cannot share {} heads of keys",
                q[1], k[1]
            ));
        }
        if q[3] == 0 {
            return Err("the heads have size 0; expected at least 1".into());
        }
        Ok(Self {
            batch: q[0],
            heads: [q[1], k[1]],
            length: [q[2], k[2]],
            size: [q[3], v[3]],
            before: k[2] - fresh,
            has_past,
            query,
            key,
            value,
        })
    }

    /// Returns the number of query rows per key head: the query heads that share a key head are stacked as rows of one
    /// matrix.
    fn rows(&self) -> usize {
        self.heads[0] / self.heads[1] * self.length[0]
    }
}

/// Attributes that define how scores become weights.
struct Weighting {
    causal: bool,
    scale: Option<f64>,
    softcap: f64,
    /// Whether to pad a mask that is shorter than the keys.
    short: bool,
    later: Later,
}

impl Weighting {
    /// Returns the mask of the blocked scores, the bias to add to the scores, and whether all keys of a query may be
    /// blocked.
    fn masks(
        &self,
        x: &mut Args<'_>,
        o: &Operands,
    ) -> OpResult<(Option<Mask>, Option<Tensor>, bool)> {
        let device = x.device;
        let scores = [o.batch, o.heads[0], o.length[0], o.length[1]];
        let (mut blocked, mut bias, mut may_block_all) = (None, None, false);
        let block = |blocked: Option<Mask>, more: Mask| match blocked {
            Some(m) => m.or(more),
            None => Ok(more),
        };
        if let Some(mut mask) = x.tensor_opt(3)? {
            may_block_all = true;
            let yes_or_no = mask.dtype() == DType::Bool;
            let own = mask.shape();
            let missing = own.last().map_or(0, |n| o.length[1].saturating_sub(*n));
            if self.short && missing > 0 {
                let mut pads = vec![(0, 0); own.len()];
                pads[own.len() - 1].1 = missing;
                // Keys past the end of the mask are blocked.
                let value = if yes_or_no { 0.0 } else { f64::NEG_INFINITY };
                mask = mask.padded(&pads, value)?;
            }
            let own = mask.shape();
            if broadcast(&own, &scores)? != scores {
                return Err(format!(
                    "a mask of shape {own:?} for scores of shape {scores:?}"
                ));
            }
            if yes_or_no {
                blocked = Some(mask.truth().not());
            } else {
                bias = Some(mask);
            }
        }
        let full = x.tensor_opt(6)?;
        if let Some(full) = &full {
            may_block_all = true;
            let n = full.shape().iter().product();
            if n != o.batch && n != 1 {
                return Err(format!("{n} lengths of keys for a batch of {}", o.batch));
            }
            let keys = counted(o.length[1], &[1, 1, 1, o.length[1]], device)?;
            let full = full.clone().reshape(&[n, 1, 1, 1])?;
            blocked = Some(block(blocked, keys.greater_equal(full)?)?);
        }
        if self.causal {
            match full {
                // The queries are the last of the filled keys.
                Some(full) if !o.has_past => {
                    let n = full.shape().iter().product();
                    let rows = counted(o.length[0], &[1, 1, o.length[0], 1], device)?;
                    let last = full
                        .reshape(&[n, 1, 1, 1])?
                        .sub_scalar(o.length[0] as f64)
                        .add(rows)?;
                    let keys = counted(o.length[1], &[1, 1, 1, o.length[1]], device)?;
                    blocked = Some(block(blocked, keys.greater(last)?)?);
                }
                _ if o.length[1] > o.before + 1 => {
                    let key = [o.length[0], o.length[1], o.before];
                    blocked = Some(block(blocked, self.later.mask(key, device)?)?);
                }
                _ => {}
            }
        }
        Ok((blocked, bias, may_block_all))
    }

    /// Returns the attention weights, and the intermediate scores that `mode` selects.
    fn weights(
        &self,
        x: &mut Args<'_>,
        o: &Operands,
        mode: Option<i64>,
    ) -> OpResult<(Tensor, Option<Tensor>)> {
        let shape = [o.batch, o.heads[0], o.length[0], o.length[1]];
        let scale = self
            .scale
            .unwrap_or_else(|| 1.0 / (o.size[0] as f64).sqrt());
        let rows = [o.batch, o.heads[1], o.rows(), o.size[0]];
        let mut told = None;
        let mut tell = |step: i64, t: &Tensor| {
            if mode == Some(step) {
                told = Some(t.clone());
            }
        };
        let query = o.query.clone().mul_scalar(scale).reshape(&rows)?;
        let mut scores = product(query, o.key.clone().transposed(), x.device)?.reshape(&shape)?;
        tell(0, &scores);
        if self.softcap > 0.0 {
            // Before the mask: capping afterwards would give the blocked keys a small weight.
            scores = scores
                .div_scalar(self.softcap)
                .tanh()
                .mul_scalar(self.softcap);
        }
        tell(1, &scores);
        let (blocked, bias, may_block_all) = self.masks(x, o)?;
        if let Some(bias) = bias {
            scores = scores.add(bias)?;
        }
        if let Some(blocked) = blocked {
            scores = blocked.fill(scores, f64::NEG_INFINITY)?;
        }
        tell(2, &scores);
        if !shape.contains(&0) {
            let lost = if may_block_all {
                let largest = scores.clone().detach().max(&[3]);
                let lost = largest.equal_scalar(f64::NEG_INFINITY);
                scores = lost.clone().fill(scores, 0.0)?;
                Some(lost)
            } else {
                None
            };
            scores = scores.with(|t| <Dispatch as ActivationOps<Dispatch>>::softmax(t, 3));
            if let Some(lost) = lost {
                // A query whose keys are all blocked gets zeros.
                scores = lost.fill(scores, 0.0)?;
            }
        }
        tell(3, &scores);
        Ok((scores, told))
    }
}

fn attention(node: &NodeSpec<'_>) -> OpResult<Run> {
    let (q_heads, kv_heads) = (heads(node, "q_num_heads")?, heads(node, "kv_num_heads")?);
    let mode = node.int("qk_matmul_output_mode", 0)?;
    if !(0..=3).contains(&mode) {
        return Err(format!(
            "attribute `qk_matmul_output_mode` is {mode}; expected 0 to 3"
        ));
    }
    for name in ["left_window_size", "right_window_size"] {
        let size = node.int(name, -1)?;
        if size >= 0 {
            return Err(format!(
                "attribute `{name}` is {size}; windows are not supported"
            ));
        }
    }
    let weighting = Weighting {
        causal: node.flag("is_causal", false)?,
        scale: node.float_opt("scale")?,
        softcap: node.float("softcap", 0.0)?,
        short: node.opset >= 24,
        later: Later::default(),
    };
    let mode = node.wants(3).then_some(mode);
    let present = [node.wants(1), node.wants(2)];
    run(move |x| {
        let flat = x.peek(0)?.shape().len() == 3;
        let o = Operands::read(x, q_heads, kv_heads)?;
        let (weights, told) = weighting.weights(x, &o, mode)?;
        let rows = [o.batch, o.heads[1], o.rows(), o.length[1]];
        let kept = |t: &Tensor, wanted: bool| wanted.then(|| t.clone());
        let (keys, values) = (kept(&o.key, present[0]), kept(&o.value, present[1]));
        let y = product(weights.reshape(&rows)?, o.value, x.device)?;
        let [queries, size] = [o.length[0], o.size[1]];
        let mut y = y.reshape(&[o.batch, o.heads[0], queries, size])?;
        if flat {
            let width = o.heads[0] * size;
            y = y
                .permute(&[0, 2, 1, 3])
                .reshape(&[o.batch, queries, width])?;
        }
        let or_nothing = |t: Option<Tensor>| t.map_or(Value::Nothing, Value::from);
        Ok(vec![
            y.into(),
            or_nothing(keys),
            or_nothing(values),
            or_nothing(told),
        ])
    })
}

/// Selects the rows of a cosine or sine table for the positions: `[batch or 1, length, 1, half]`.
fn angles(
    table: Tensor,
    places: Option<&Value>,
    batch: usize,
    length: usize,
    half: usize,
    device: &Device,
) -> OpResult<Tensor> {
    let shape = table.shape();
    let fits = match places {
        Some(_) => shape.len() == 2 && shape[1] == half,
        None => shape.len() == 3 && shape[1..] == [length, half] && [1, batch].contains(&shape[0]),
    };
    if !fits {
        return Err(format!(
            "a table of shape {shape:?} for {length} positions and {half} angles"
        ));
    }
    let Some(places) = places else {
        return table.reshape(&[shape[0], length, 1, half]);
    };
    let own = places.shape();
    if own.len() != 2 || own[1] != length || ![1, batch].contains(&own[0]) {
        return Err(format!(
            "positions of shape {own:?}; expected [{batch}, {length}]"
        ));
    }
    let rows = room::elements(&own)?;
    let indices = match places {
        Value::Device(t) => wrapped(t.clone(), shape[0])?.reshape(&[rows])?.indices(),
        other => {
            let list = other.clone().host()?.to_ints()?;
            let inside = |i: &i64| {
                usize::try_from(*i)
                    .ok()
                    .filter(|i| *i < shape[0])
                    .ok_or_else(|| format!("position {i} in a table of {}", shape[0]))
            };
            let list: Vec<usize> = list.iter().map(inside).collect::<OpResult<_>>()?;
            Indices::upload(&list, &[rows], device)
        }
    };
    table.select(0, indices).reshape(&[own[0], length, 1, half])
}

fn rotary(node: &NodeSpec<'_>) -> OpResult<Run> {
    let interleaved = node.flag("interleaved", false)?;
    let heads = heads(node, "num_heads")?;
    let part = node.int("rotary_embedding_dim", 0)?;
    let part = usize::try_from(part)
        .map_err(|_| format!("attribute `rotary_embedding_dim` is {part}; expected 0 or more"))?;
    run(move |x| {
        let input = x.tensor(0)?;
        let shape = input.shape();
        // [batch, length, heads, size]
        let input = match *shape.as_slice() {
            [_, _, _, _] => input.permute(&[0, 2, 1, 3]),
            _ => by_head(input, heads, "input")?.permute(&[0, 2, 1, 3]),
        };
        let wide = input.shape();
        let (batch, length, size) = (wide[0], wide[1], wide[3]);
        let part = if part == 0 { size } else { part };
        if part > size || part % 2 != 0 || wide.contains(&0) {
            return Err(format!(
                "cannot rotate {part} numbers of a head of {size}, in an input of shape {shape:?}; expected an even number, at most the size of a head"
            ));
        }
        let places = if x.has(3) { Some(x.take(3)?) } else { None };
        let half = part / 2;
        let (cos, sin) = (x.tensor(1)?, x.tensor(2)?);
        let rows = |t| angles(t, places.as_ref(), batch, length, half, x.device);
        let (cos, sin) = (rows(cos)?, rows(sin)?);
        let turned = input.clone().narrow(3, 0, part);
        let (a, b) = if interleaved {
            (
                turned.clone().slice(3, 0, part, 2),
                turned.slice(3, 1, part, 2),
            )
        } else {
            (
                turned.clone().narrow(3, 0, half),
                turned.narrow(3, half, half),
            )
        };
        let real = a
            .clone()
            .mul(cos.clone())?
            .sub(b.clone().mul(sin.clone())?)?;
        let imaginary = a.mul(sin)?.add(b.mul(cos)?)?;
        let mut y = if interleaved {
            let column = [batch, length, wide[2], half, 1];
            Tensor::cat(vec![real.reshape(&column)?, imaginary.reshape(&column)?], 4)?
                .reshape(&[batch, length, wide[2], part])?
        } else {
            Tensor::cat(vec![real, imaginary], 3)?
        };
        if part < size {
            y = Tensor::cat(vec![y, input.narrow(3, part, size - part)], 3)?;
        }
        one(if shape.len() == 4 {
            y.permute(&[0, 2, 1, 3])
        } else {
            y.reshape(&shape)?
        })
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Attention", attention),
    OperatorEntry::new("RotaryEmbedding", rotary),
];

#[cfg(test)]
mod tests;
