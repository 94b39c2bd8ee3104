//! Self-attention as onnxruntime fuses it: one product for queries, keys and values, a softmax over masked scores.

use super::super::OperatorEntry;
use super::super::matmul::product;
use super::super::softmax::softmax_along;
use crate::array::Array;
use crate::node::{Args, NodeSpec, OpResult, Run, run};
use crate::room;
use crate::tensor::Tensor;
use crate::value::Value;

struct Attention {
    heads: usize,
    /// Widths of queries, keys and values; a third each if `None`.
    widths: Option<Vec<usize>>,
    causal: bool,
    scale: Option<f64>,
    /// Number added to the scores that the mask blocks.
    filter: f64,
}

/// Sizes of one call.
struct Sizes {
    batch: usize,
    heads: usize,
    /// Number of queries, and of keys.
    length: [usize; 2],
}

impl Attention {
    fn read(node: &NodeSpec<'_>) -> OpResult<Self> {
        let heads = node.int("num_heads", 0)?;
        let heads = usize::try_from(heads)
            .ok()
            .filter(|h| *h > 0)
            .ok_or_else(|| format!("attribute `num_heads` is {heads}; expected at least 1"))?;
        for name in ["do_rotary", "past_present_share_buffer"] {
            if node.flag(name, false)? {
                return Err(format!("attribute `{name}` is 1; that is not supported"));
            }
        }
        let widths = node.sizes("qkv_hidden_sizes")?.filter(|w| !w.is_empty());
        if let Some(w) = &widths
            && (w.len() != 3 || w[0] != w[1])
        {
            return Err(format!(
                "attribute `qkv_hidden_sizes` is {w:?}; expected three, the first two alike"
            ));
        }
        Ok(Self {
            heads,
            widths,
            causal: node.flag("unidirectional", false)?,
            scale: node.float_opt("scale")?.filter(|s| *s != 0.0),
            filter: node.float("mask_filter_value", -10000.0)?,
        })
    }

    /// Computes queries, keys and values: `[batch, heads, length, size]` each.
    fn projected(&self, x: &mut Args<'_>) -> OpResult<[Tensor; 3]> {
        let (input, weights) = (x.tensor(0)?, x.tensor(1)?);
        let [batch, length, _] = *input.shape() else {
            return Err(format!(
                "an input of shape {:?}; expected batch, length and width",
                input.shape()
            ));
        };
        let mut all = product(input, weights, x.device)?;
        if let Some(bias) = x.tensor_opt(2)? {
            all = all.add(bias)?;
        }
        let width = *all.shape().last().unwrap_or(&0);
        let third = width / 3;
        let widths = self.widths.clone().unwrap_or_else(|| vec![third; 3]);
        let fits = widths.iter().sum::<usize>() == width
            && widths.iter().all(|w| *w > 0 && w % self.heads == 0);
        if !fits {
            return Err(format!(
                "{width} numbers for queries, keys and values of widths {widths:?} with {} heads",
                self.heads
            ));
        }
        let part = |i: usize| {
            let from = widths[..i].iter().sum();
            let size = widths[i] / self.heads;
            let t = all.clone().narrow(2, from, widths[i]);
            let t = t.reshape(&[batch, length, self.heads, size])?;
            Ok::<_, String>(t.permute(&[0, 2, 1, 3]))
        };
        Ok([part(0)?, part(1)?, part(2)?])
    }

    /// Returns the bias to add to the scores `[batch, heads, queries, keys]`; `None` if there is none.
    fn added(&self, x: &mut Args<'_>, s: &Sizes) -> OpResult<Option<Tensor>> {
        let mut all = x.tensor_opt(5)?;
        let mut add = |more: Tensor| -> OpResult<()> {
            all = Some(match all.take() {
                Some(t) => t.add(more)?,
                None => more,
            });
            Ok(())
        };
        if let Some(mask) = x.tensor_opt(3)? {
            let [_, keys] = s.length;
            let shape = mask.shape();
            let kept = match shape[..] {
                [n] if n == s.batch || n == 2 * s.batch => {
                    let places: Vec<f32> = (0..keys).map(|k| k as f32).collect();
                    let places = Array::try_new([1, 1, 1, keys], places)?.on(x.device)?;
                    let one = [s.batch, 1, 1, 1];
                    let ends = mask.clone().narrow(0, 0, s.batch).reshape(&one)?;
                    let mut kept = ends.greater(places.clone())?;
                    if n == 2 * s.batch && n != s.batch {
                        let starts = mask.narrow(0, s.batch, s.batch).reshape(&one)?;
                        kept = kept.and(places.greater_equal(starts)?)?;
                    }
                    kept
                }
                [b, k] if b == s.batch && k == keys => mask.reshape(&[b, 1, 1, k])?.truth(),
                [b, q, k] if b == s.batch && q == s.length[0] && k == keys => {
                    mask.reshape(&[b, 1, q, k])?.truth()
                }
                _ => {
                    return Err(format!(
                        "a mask of shape {shape:?} for {} samples of {keys} keys",
                        s.batch
                    ));
                }
            };
            add(kept.not().numbers().mul_scalar(self.filter))?;
        }
        let [queries, keys] = s.length;
        if self.causal && queries > 1 {
            let before = keys - queries;
            let mut later = Vec::with_capacity(room::elements(&[queries, keys])?);
            for i in 0..queries {
                later.extend((0..keys).map(|k| if k > before + i { f32::MIN } else { 0.0 }));
            }
            add(Array::try_new([1, 1, queries, keys], later)?.on(x.device)?)?;
        }
        Ok(all)
    }

    fn apply(&self, x: &mut Args<'_>) -> OpResult<Vec<Value>> {
        if x.has(6) {
            return Err("a buffer shared by past and present is not supported".into());
        }
        let [query, mut key, mut value] = self.projected(x)?;
        if let Some(past) = x.tensor_opt(4)? {
            let shape = past.shape();
            let fits = shape.len() == 5 && shape[0] == 2;
            if !fits {
                return Err(format!("a past of shape {shape:?}"));
            }
            let part = |i: usize| past.clone().narrow(0, i, 1).reshape(&shape[1..]);
            key = Tensor::cat(vec![part(0)?, key], 2)?;
            value = Tensor::cat(vec![part(1)?, value], 2)?;
        }
        let (q, v) = (query.shape(), value.shape());
        let s = Sizes {
            batch: q[0],
            heads: q[1],
            length: [q[2], key.shape()[2]],
        };
        let present = if key.shape() == v {
            let mut shape = vec![1];
            shape.extend(&v);
            let both = vec![key.clone().reshape(&shape)?, value.clone().reshape(&shape)?];
            Value::from(Tensor::cat(both, 0)?)
        } else {
            Value::Nothing
        };
        let scale = self.scale.unwrap_or_else(|| 1.0 / (q[3] as f64).sqrt());
        let mut scores = product(query, key.transposed(), x.device)?.mul_scalar(scale);
        if let Some(added) = self.added(x, &s)? {
            let shape = scores.shape();
            scores = scores.add(added)?;
            if scores.shape() != shape {
                return Err(format!("a bias that does not fit scores of {shape:?}"));
            }
        }
        let weights = softmax_along(scores, -1, false, x.device)?;
        let y = product(weights, value, x.device)?.permute(&[0, 2, 1, 3]);
        let y = y.reshape(&[s.batch, s.length[0], s.heads * v[3]])?;
        Ok(vec![y.into(), present])
    }
}

fn attention(node: &NodeSpec<'_>) -> OpResult<Run> {
    let attention = Attention::read(node)?;
    run(move |x| attention.apply(x))
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[OperatorEntry::new("Attention", attention)];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::Case;

    fn case() -> Case {
        Case::microsoft("Attention")
            .int("num_heads", 2)
            .scattered(&[2, 3, 4], -1.0, 1.0)
            .scattered(&[4, 12], -1.0, 1.0)
            .scattered(&[12], -1.0, 1.0)
    }

    #[test]
    fn gradients() {
        case().assert_gradient();
        case()
            .int("unidirectional", 1)
            .float("scale", 0.7)
            .assert_gradient();
        case()
            .host(Array::new([2], vec![2i32, 3]))
            .assert_gradient();
        case()
            .host(Array::new([2, 3], vec![1i32, 0, 1, 1, 1, 0]))
            .assert_gradient();
        case()
            .absent()
            .absent()
            .scattered(&[1, 2, 3, 3], -1.0, 1.0)
            .assert_gradient();
        Case::microsoft("Attention")
            .int("num_heads", 2)
            .ints("qkv_hidden_sizes", &[4, 4, 6])
            .scattered(&[1, 2, 3], -1.0, 1.0)
            .scattered(&[3, 14], -1.0, 1.0)
            .assert_gradient();
    }

    #[test]
    fn invalid_shapes_and_attributes_are_errors() {
        let e = |c: Case| c.run().unwrap_err();
        let bare = Case::microsoft("Attention").scattered(&[2, 3, 4], -1.0, 1.0);
        assert!(e(bare).contains("num_heads"));
        assert!(e(case().host(Array::new([5], vec![1i32; 5]))).contains("a mask of shape [5]"));
        assert!(e(case().int("do_rotary", 1)).contains("do_rotary"));
        assert!(e(case().ints("qkv_hidden_sizes", &[4, 4])).contains("qkv_hidden_sizes"));
    }
}
