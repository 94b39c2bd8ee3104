//! Reductions along axes, and `MeanVarianceNormalization`.

use super::OperatorEntry;
use super::numbers::{Numbers, offsets, strides};
use crate::array::Array;
use crate::dtype::DType;
use crate::lower::{Lowering, lowering};
use crate::node::{Args, NodeSpec, OpResult, Run, axes, one, run};
use crate::room;
use crate::tensor::Tensor;

/// How a group of elements is reduced to one.
#[derive(Clone, Copy)]
struct Reduction {
    /// For host integers; `None` computes in floating point.
    ints: Option<fn(&[i128]) -> i128>,
    /// For host floats. Its value for no elements is the result for empty groups.
    floats: fn(&[f64]) -> f64,
    /// For the device: reduces the middle of three dimensions, which keeps length 1.
    device: fn(Tensor) -> OpResult<Tensor>,
    /// Whether integers reduce to integers.
    whole: bool,
}

/// Axes to reduce.
struct Axes {
    listed: Option<Vec<i64>>,
    none_is_none: bool,
    keep: bool,
}

impl Axes {
    fn of(node: &NodeSpec<'_>) -> OpResult<Self> {
        Ok(Self {
            listed: node.ints("axes")?,
            none_is_none: node.flag("noop_with_empty_axes", false)?,
            keep: node.flag("keepdims", true)?,
        })
    }

    /// Returns which dimensions are reduced: an attribute (up to version 17, `ReduceSum`'s up to 12) or an input lists
    /// them.
    fn reduced(&self, x: &mut Args<'_>, rank: usize) -> OpResult<Vec<bool>> {
        let listed = match x.ints_opt(1)? {
            Some(list) => list,
            None => self.listed.clone().unwrap_or_default(),
        };
        if listed.is_empty() {
            return Ok(vec![!self.none_is_none; rank]);
        }
        let mut reduced = vec![false; rank];
        for at in axes(&listed, rank)? {
            reduced[at] = true;
        }
        Ok(reduced)
    }

    fn shape(&self, shape: &[usize], reduced: &[bool]) -> Vec<usize> {
        shape
            .iter()
            .zip(reduced)
            .filter(|(_, r)| self.keep || !**r)
            .map(|(d, r)| if *r { 1 } else { *d })
            .collect()
    }
}

/// Returns the entries of `list` whose dimension is (or is not) reduced.
fn split(list: &[usize], reduced: &[bool], which: bool) -> Vec<usize> {
    list.iter()
        .zip(reduced)
        .filter(|(_, r)| **r == which)
        .map(|(v, _)| *v)
        .collect()
}

/// Returns the reduction of no elements.
fn of_nothing(op: Reduction, dtype: DType) -> f64 {
    match (op.ints, dtype.range()) {
        (Some(f), Some((low, high))) => (f(&[]) as f64).clamp(low, high),
        _ => (op.floats)(&[]),
    }
}

fn on_host(a: &Array, reduced: &[bool], shape: &[usize], op: Reduction) -> OpResult<Array> {
    fn grouped<T: Copy>(v: &[T], kept: &[usize], inner: &[usize], f: fn(&[T]) -> T) -> Vec<T> {
        let mut group = Vec::with_capacity(inner.len());
        kept.iter()
            .map(|at| {
                group.clear();
                group.extend(inner.iter().map(|i| v[at + i]));
                f(&group)
            })
            .collect()
    }
    let steps = strides(a.shape());
    let block = |which| {
        offsets(
            &split(a.shape(), reduced, which),
            &split(&steps, reduced, which),
        )
    };
    let count = room::elements(shape)?;
    if a.is_empty() {
        let all = vec![of_nothing(op, a.dtype()); count];
        return Numbers::Floats(all).stored(shape, a.dtype());
    }
    let (kept, inner) = (block(false), block(true));
    let all = match (Numbers::of(a)?, op.ints) {
        (Numbers::Ints(v), Some(f)) => Numbers::Ints(grouped(&v, &kept, &inner, f)),
        (v, _) => Numbers::Floats(grouped(&v.floats(), &kept, &inner, op.floats)),
    };
    all.stored(shape, a.dtype())
}

/// Reduces on the device, which reduces one dimension at a time: the reduced dimensions are moved side by side and
/// merged.
fn on_device(
    t: Tensor,
    reduced: &[bool],
    shape: &[usize],
    op: Reduction,
    device: &burn::tensor::Device,
) -> OpResult<Tensor> {
    let (own, dtype) = (t.shape(), t.dtype());
    let dims: Vec<usize> = (0..own.len()).collect();
    let inner = split(&dims, reduced, true);
    let count = room::elements(shape)?;
    if own.contains(&0) {
        return Ok(Tensor::full(shape, of_nothing(op, dtype), device)?.typed(dtype));
    }
    let n: usize = inner.iter().map(|d| own[*d]).product();
    let first = inner.first().copied().unwrap_or(0);
    let adjacent = inner.windows(2).all(|w| w[1] == w[0] + 1);
    let (t, outer) = if adjacent {
        (t, own[..first].iter().product())
    } else {
        let order = [split(&dims, reduced, false), inner].concat();
        (t.permute(&order), count)
    };
    let result = (op.device)(t.reshape(&[outer, n, count / outer])?)?.reshape(shape)?;
    // Truncate only if the result is not an integer by itself: rounding has no gradient.
    Ok(if dtype.is_int() && !op.whole {
        result.detach().trunc()
    } else {
        result
    })
}

fn reduce(node: &NodeSpec<'_>, op: Reduction) -> OpResult<Run> {
    let which = Axes::of(node)?;
    run(move |x| {
        let own = x.peek(0)?.shape();
        let reduced = which.reduced(x, own.len())?;
        let shape = which.shape(&own, &reduced);
        if x.all_host() {
            return one(on_host(&x.array(0)?, &reduced, &shape, op)?);
        }
        one(on_device(x.tensor(0)?, &reduced, &shape, op, x.device)?)
    })
}

fn total(v: &[f64]) -> f64 {
    v.iter().sum()
}

fn sum(node: &NodeSpec<'_>) -> OpResult<Run> {
    let op = Reduction {
        ints: Some(|v| v.iter().sum()),
        floats: total,
        device: |t| Ok(t.sum(&[1])),
        whole: true,
    };
    reduce(node, op)
}

fn mean(node: &NodeSpec<'_>) -> OpResult<Run> {
    let op = Reduction {
        ints: Some(|v| v.iter().sum::<i128>() / (v.len() as i128).max(1)),
        floats: |v| total(v) / v.len() as f64,
        device: |t| Ok(t.mean(&[1])),
        whole: false,
    };
    reduce(node, op)
}

fn max(node: &NodeSpec<'_>) -> OpResult<Run> {
    let op = Reduction {
        ints: Some(|v| v.iter().copied().max().unwrap_or(i128::MIN)),
        floats: |v| {
            v.iter().fold(
                f64::NEG_INFINITY,
                |m, x| {
                    if *x > m || x.is_nan() { *x } else { m }
                },
            )
        },
        device: |t| Ok(t.max(&[1])),
        whole: true,
    };
    reduce(node, op)
}

fn min(node: &NodeSpec<'_>) -> OpResult<Run> {
    let op = Reduction {
        ints: Some(|v| v.iter().copied().min().unwrap_or(i128::MAX)),
        floats: |v| {
            v.iter().fold(
                f64::INFINITY,
                |m, x| {
                    if *x < m || x.is_nan() { *x } else { m }
                },
            )
        },
        device: |t| Ok(t.min(&[1])),
        whole: true,
    };
    reduce(node, op)
}

fn prod(node: &NodeSpec<'_>) -> OpResult<Run> {
    let op = Reduction {
        ints: Some(|v| v.iter().fold(1, |p, x| p.wrapping_mul(*x))),
        floats: |v| v.iter().product(),
        device: |t| Ok(t.prod(&[1])),
        whole: true,
    };
    reduce(node, op)
}

fn l1(node: &NodeSpec<'_>) -> OpResult<Run> {
    let op = Reduction {
        ints: Some(|v| v.iter().map(|x| x.abs()).sum()),
        floats: |v| v.iter().map(|x| x.abs()).sum(),
        device: |t| Ok(t.abs().sum(&[1])),
        whole: true,
    };
    reduce(node, op)
}

fn squares(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum()
}

fn l2(node: &NodeSpec<'_>) -> OpResult<Run> {
    let op = Reduction {
        ints: None,
        floats: |v| squares(v).sqrt(),
        // The derivative at zero is defined as zero, as in `PyTorch`; the root's own would be infinite.
        device: |t| {
            let square = t.clone().mul(t)?.sum(&[1]);
            let zero = square.clone().equal_scalar(0.0);
            let root = zero.clone().fill(square, 1.0)?.sqrt();
            zero.fill(root, 0.0)
        },
        whole: false,
    };
    reduce(node, op)
}

fn sum_square(node: &NodeSpec<'_>) -> OpResult<Run> {
    let op = Reduction {
        ints: Some(|v| {
            v.iter()
                .fold(0, |s: i128, x| s.wrapping_add(x.wrapping_mul(*x)))
        }),
        floats: squares,
        device: |t| Ok(t.clone().mul(t)?.sum(&[1])),
        whole: true,
    };
    reduce(node, op)
}

fn log_sum(node: &NodeSpec<'_>) -> OpResult<Run> {
    let op = Reduction {
        ints: None,
        floats: |v| total(v).ln(),
        device: |t| Ok(t.sum(&[1]).log()),
        whole: false,
    };
    reduce(node, op)
}

/// Builds `ReduceLogSumExp`: subtracts the maximum, so that no exponential overflows.
fn log_sum_exp(node: &NodeSpec<'_>) -> OpResult<Run> {
    let op = Reduction {
        ints: None,
        floats: |v| {
            let largest = v.iter().fold(f64::MIN, |m, x| m.max(*x)).min(f64::MAX);
            v.iter().map(|x| (x - largest).exp()).sum::<f64>().ln() + largest
        },
        // An infinite maximum is not subtracted: infinity minus infinity is NaN.
        device: |t| {
            let largest = t.clone().detach().max(&[1]);
            let largest = largest
                .clamp_min(f64::from(f32::MIN))
                .clamp_max(f64::from(f32::MAX));
            let rest = t.sub(largest.clone())?.exp().sum(&[1]).log();
            rest.add(largest)
        },
        whole: false,
    };
    reduce(node, op)
}

/// Builds `MeanVarianceNormalization`: normalises to mean 0 and variance 1 along axes.
fn mean_variance(node: &NodeSpec<'_>) -> OpResult<Run> {
    const EPSILON: f64 = 1e-9;
    /// Lower bound of the variance: its root is too small to change the divisor, and the root's derivative stays
    /// finite.
    const SMALLEST: f64 = 1e-30;
    let listed = node.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    run(move |x| {
        let t = x.tensor(0)?;
        let over = axes(&listed, t.rank())?;
        if t.shape().contains(&0) {
            return one(t);
        }
        let mean = t.clone().mean(&over);
        let t = t.sub(mean)?;
        let variance = t.clone().mul(t.clone())?.mean(&over);
        let deviation = variance.clamp_min(SMALLEST).sqrt().add_scalar(EPSILON);
        one(t.div(deviation)?)
    })
}

fn lowered_mean(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let Axes {
        listed,
        none_is_none,
        ..
    } = Axes::of(node)?;
    lowering(move |x| {
        let rank = x.sample(0)?.shape().len();
        let list = x.ints(1)?.or_else(|| listed.clone()).unwrap_or_default();
        let over = match (list.is_empty(), none_is_none) {
            (true, true) => return Err("no axes".into()),
            (true, false) => (0..rank).collect(),
            (false, _) => axes(&list, rank)?,
        };
        x.mean(&over)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("ReduceSum", sum),
    OperatorEntry::new("ReduceMean", mean).lowered(lowered_mean),
    OperatorEntry::new("ReduceMax", max),
    OperatorEntry::new("ReduceMin", min),
    OperatorEntry::new("ReduceProd", prod),
    OperatorEntry::new("ReduceL1", l1),
    OperatorEntry::new("ReduceL2", l2),
    OperatorEntry::new("ReduceLogSum", log_sum),
    OperatorEntry::new("ReduceLogSumExp", log_sum_exp),
    OperatorEntry::new("ReduceSumSquare", sum_square),
    OperatorEntry::new("MeanVarianceNormalization", mean_variance),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, computed, list};

    const OPS: [&str; 10] = [
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceSumSquare",
    ];

    #[test]
    fn gradients() {
        for op in OPS {
            let case = || Case::new(op).scattered(&[2, 3, 2, 2], 0.2, 2.0);
            case().assert_gradient();
            case().host(list(&[1])).int("keepdims", 0).assert_gradient();
            case().host(list(&[-1, 2])).assert_gradient();
            case().host(list(&[0, 2])).assert_gradient();
            case().opset(11).ints("axes", &[0, 3]).assert_gradient();
            case()
                .host(list(&[]))
                .int("noop_with_empty_axes", 1)
                .assert_gradient();
        }
        Case::new("ReduceProd")
            .tracked(&[4], vec![2.0, 0.0, -1.5, 3.0])
            .assert_gradient();
        Case::new("ReduceLogSumExp")
            .tracked(&[3], vec![-2000.0, 1999.5, 2000.0])
            .assert_gradient();
    }

    #[test]
    fn the_derivative_of_the_l2_norm_at_zero_is_zero() {
        let gradient = Case::new("ReduceL2")
            .tracked(&[2], vec![0.0, 0.0])
            .gradient();
        assert_eq!(gradient, [[0.0, 0.0]]);
    }

    #[test]
    fn gradients_of_normalisation() {
        Case::new("MeanVarianceNormalization")
            .scattered(&[2, 2, 2, 3], -1.0, 1.0)
            .assert_gradient();
        Case::new("MeanVarianceNormalization")
            .ints("axes", &[-1])
            .scattered(&[2, 5], -1.0, 1.0)
            .assert_gradient();
    }

    #[test]
    fn host_and_device_agree() {
        let values = [3.0f32, 1.0, 2.0, 7.0, 5.0, 4.0, 0.5, 6.0];
        let wide: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
        for op in OPS {
            for axes in [&[0, 2][..], &[1], &[]] {
                let there = Case::new(op).tracked(&[2, 2, 2], wide.clone());
                let here = Case::new(op).host(Array::new([2, 2, 2], values.to_vec()));
                let there = computed(&there.host(list(axes)));
                let here = computed(&here.host(list(axes)));
                assert_eq!(there.shape(), here.shape());
                for (a, b) in there.to_f64().unwrap().iter().zip(here.to_f64().unwrap()) {
                    assert!((a - b).abs() <= 1e-5 * b.abs(), "{op}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn integers_are_exact() {
        let big = (1i64 << 53) + 1;
        let of = |op: &str| computed(&Case::new(op).host(list(&[big, -2, 1])).int("keepdims", 0));
        let one = |v: i64| Array::new([], vec![v]);
        assert_eq!(of("ReduceSum"), one(big - 1));
        assert_eq!(of("ReduceMax"), one(big));
        assert_eq!(of("ReduceMin"), one(-2));
        assert_eq!(of("ReduceProd"), one(-2 * big));
        assert_eq!(of("ReduceL1"), one(big + 3));
        assert_eq!(of("ReduceMean"), one((big - 1) / 3));
        assert_eq!(of("ReduceSumSquare"), one(big.wrapping_mul(big) + 5));
        let flags = Array::new([2, 2], vec![true, false, false, false]);
        let c = Case::new("ReduceMax").host(flags).host(list(&[1]));
        assert_eq!(computed(&c), Array::new([2, 1], vec![true, false]));
    }

    #[test]
    fn empty_groups() {
        let of = |op: &str| {
            let c = Case::new(op).tracked(&[2, 0], vec![]).host(list(&[1]));
            let d = Case::new(op)
                .host(Array::new([2, 0], Vec::<f32>::new()))
                .host(list(&[1]));
            let (there, here) = (computed(&c), computed(&d));
            assert_eq!(there.shape(), [2, 1]);
            let (there, here) = (there.to_f64().unwrap()[1], here.to_f64().unwrap()[1]);
            assert!(there == here || (there.is_nan() && here.is_nan()), "{op}");
            there
        };
        assert_eq!(of("ReduceSum"), 0.0);
        assert_eq!(of("ReduceProd"), 1.0);
        assert_eq!(of("ReduceMax"), f64::NEG_INFINITY);
        assert_eq!(of("ReduceMin"), f64::INFINITY);
        assert!(of("ReduceMean").is_nan());
        assert_eq!(of("ReduceLogSumExp"), f64::NEG_INFINITY);
        let c = Case::new("ReduceSum")
            .tracked(&[0, 3], vec![])
            .host(list(&[1]));
        assert_eq!(computed(&c).shape(), [0, 1]);
        let c = Case::new("ReduceMax")
            .host(Array::new([0], Vec::<i8>::new()))
            .int("keepdims", 0);
        assert_eq!(computed(&c), Array::new([], vec![i8::MIN]));
        let c = Case::new("ReduceMax").tracked(&[], vec![2.5]);
        assert_eq!(computed(&c), Array::new([], vec![2.5f32]));
    }

    #[test]
    fn invalid_nodes_are_errors() {
        for (c, part) in [
            (
                Case::new("ReduceSum")
                    .scattered(&[2], 0.0, 1.0)
                    .host(list(&[1])),
                "axis 1 of a value with 1 dimensions",
            ),
            (
                Case::new("ReduceMax")
                    .scattered(&[2], 0.0, 1.0)
                    .host(list(&[0, -1])),
                "named twice",
            ),
            (
                Case::new("ReduceMax")
                    .int("axes", 0)
                    .scattered(&[2], 0.0, 1.0),
                "not a list of integers",
            ),
            (
                Case::new("ReduceSum")
                    .host(Array::new([1 << 47, 0], Vec::<f32>::new()))
                    .host(list(&[1])),
                "more than",
            ),
            (
                Case::new("MeanVarianceNormalization").scattered(&[2], 0.0, 1.0),
                "axis 2",
            ),
        ] {
            let problem = c.run().unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
