//! Arithmetic of two or more values.

use proofmark_kernels::Builder;

use super::OperatorEntry;
use super::numbers::{Numbers, aligned, zip};
use crate::array::Array;
use crate::lower::{Lower, Lowering, Sample, lowering};
use crate::node::{Args, NodeSpec, OpResult, Run, one, run};
use crate::tensor::{Tensor, broadcast};
use crate::value::Value;

/// Returns input `i` if it is a single host number that does not raise the rank of a value with `rank` dimensions,
/// `None` otherwise. Most constants in a model qualify, and a scalar operation is cheaper than a broadcast.
pub(super) fn scalar(x: &Args<'_>, i: usize, rank: usize) -> OpResult<Option<f64>> {
    match x.peek(i)? {
        Value::Host(a) if a.len() == 1 && a.shape().len() <= rank => Ok(Some(a.to_f64()?[0])),
        _ => Ok(None),
    }
}

/// Implementations of a binary operator: on host integers, host floats and device tensors, and on the device with a
/// scalar on the right or on the left.
#[derive(Clone, Copy)]
struct Binary {
    ints: fn(i128, i128) -> OpResult<i128>,
    floats: fn(f64, f64) -> f64,
    device: fn(Tensor, Tensor) -> OpResult<Tensor>,
    right: Option<fn(Tensor, f64) -> Tensor>,
    left: Option<fn(f64, Tensor) -> Tensor>,
}

fn binary(op: Binary) -> OpResult<Run> {
    run(move |x| {
        if x.all_host() {
            return one(zip(&x.array(0)?, &x.array(1)?, op.ints, op.floats)?);
        }
        if let Some(f) = op.right {
            let rank = x.peek(0)?.shape().len();
            if let Some(value) = scalar(x, 1, rank)? {
                return one(f(x.tensor(0)?, value));
            }
        }
        if let Some(f) = op.left {
            let rank = x.peek(1)?.shape().len();
            if let Some(value) = scalar(x, 0, rank)? {
                return one(f(value, x.tensor(1)?));
            }
        }
        let a = x.tensor(0)?;
        one((op.device)(a, x.tensor(1)?)?)
    })
}

fn add(_: &NodeSpec<'_>) -> OpResult<Run> {
    binary(Binary {
        ints: |a, b| Ok(a + b),
        floats: |a, b| a + b,
        device: Tensor::add,
        right: Some(Tensor::add_scalar),
        left: Some(|a, b| b.add_scalar(a)),
    })
}

fn sub(_: &NodeSpec<'_>) -> OpResult<Run> {
    binary(Binary {
        ints: |a, b| Ok(a - b),
        floats: |a, b| a - b,
        device: Tensor::sub,
        right: Some(Tensor::sub_scalar),
        left: Some(|a, b| b.neg().add_scalar(a)),
    })
}

fn mul(_: &NodeSpec<'_>) -> OpResult<Run> {
    binary(Binary {
        // The square of the largest `u64` overflows `i128`; its low bits are still right.
        ints: |a, b| Ok(a.wrapping_mul(b)),
        floats: |a, b| a * b,
        device: Tensor::mul,
        right: Some(Tensor::mul_scalar),
        left: Some(|a, b| b.mul_scalar(a)),
    })
}

/// Truncates an integer quotient towards zero, so that the device agrees with the host.
fn whole(t: Tensor) -> Tensor {
    if t.dtype().is_int() {
        t.detach().trunc()
    } else {
        t
    }
}

fn div(_: &NodeSpec<'_>) -> OpResult<Run> {
    binary(Binary {
        ints: |a, b| a.checked_div(b).ok_or_else(|| "division by zero".into()),
        floats: |a, b| a / b,
        device: |a, b| Ok(whole(a.div(b)?)),
        right: Some(|a, b| whole(a.div_scalar(b))),
        left: None,
    })
}

/// Builds `Mod`: the result has the divisor's sign (as Python's `%`), or with `fmod` the dividend's (as C's).
fn modulo(node: &NodeSpec<'_>) -> OpResult<Run> {
    if node.flag("fmod", false)? {
        return binary(Binary {
            ints: |a, b| a.checked_rem(b).ok_or_else(|| "division by zero".into()),
            floats: |a, b| a % b,
            // The remainder of the absolute values is that of the dividend up to its sign.
            device: |a, b| a.clone().abs().remainder(b.abs())?.mul(a.sign()),
            right: None,
            left: None,
        });
    }
    binary(Binary {
        ints: |a, b| {
            let r = a.checked_rem(b).ok_or("division by zero")?;
            Ok(if r != 0 && (r < 0) != (b < 0) {
                r + b
            } else {
                r
            })
        },
        floats: |a, b| {
            let r = a % b;
            if r != 0.0 && (r < 0.0) != (b < 0.0) {
                r + b
            } else {
                r
            }
        },
        device: Tensor::remainder,
        right: None,
        left: None,
    })
}

/// Raises an integer to an integer power, exactly except for wrapping. With a negative exponent the result is 0 unless
/// the base is 1 or -1.
fn int_power(base: i128, exponent: i128) -> i128 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 if exponent % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        };
    }
    let (mut result, mut square, mut left) = (1i128, base, exponent);
    while left > 0 {
        if left % 2 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left /= 2;
    }
    result
}

fn host_power(base: &Array, exponent: &Array) -> OpResult<Array> {
    let dtype = base.dtype();
    let (shape, both) = aligned(&[base.clone(), exponent.clone()])?;
    let numbers = match (Numbers::of(&both[0])?, Numbers::of(&both[1])?) {
        (Numbers::Ints(p), Numbers::Ints(q)) => {
            Numbers::Ints(p.into_iter().zip(q).map(|(x, y)| int_power(x, y)).collect())
        }
        (p, q) => Numbers::Floats(
            p.floats()
                .into_iter()
                .zip(q.floats())
                .map(|(x, y)| x.powf(y))
                .collect(),
        ),
    };
    numbers.stored(&shape, dtype)
}

/// Raises `base` to `exponent`. The derivative is 0 where the exponent is 0 (not `0 / 0` at a base of 0); the
/// derivative by the exponent is also 0 where the base is 0 (not `0 * log 0`).
fn device_power(base: Tensor, exponent: Tensor) -> OpResult<Tensor> {
    let shape = broadcast(&base.shape(), &exponent.shape())?;
    let (base, exponent) = (base.expand(&shape)?, exponent.expand(&shape)?);
    let flat = exponent.clone().equal_scalar(0.0);
    let exponent = flat.clone().fill(exponent, 1.0)?;
    let zero = base.clone().equal_scalar(0.0);
    let still = base.clone().powf(exponent.clone().detach())?;
    let moving = zero.clone().fill(base, 1.0)?.powf(exponent)?;
    flat.fill(zero.choose(still, moving)?, 1.0)
}

/// Builds `Pow`; the result has the type of the base.
fn pow(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        if x.all_host() {
            return one(host_power(&x.array(0)?, &x.array(1)?)?);
        }
        let dtype = x.peek(0)?.dtype();
        let rank = x.peek(0)?.shape().len();
        let power = if let Some(exponent) = scalar(x, 1, rank)? {
            x.tensor(0)?.powf_scalar(exponent)
        } else {
            let fixed = match x.peek(1)? {
                Value::Host(a) => !a.to_f64()?.contains(&0.0),
                _ => false,
            };
            let base = x.tensor(0)?;
            let exponent = x.tensor(1)?;
            if fixed {
                base.powf(exponent)?
            } else {
                device_power(base, exponent)?
            }
        };
        one(whole(power.typed(dtype)))
    })
}

/// Builds an operator of one or more inputs; `last` turns their total and their number into the result.
pub(super) fn fold(
    ints: fn(i128, i128) -> OpResult<i128>,
    floats: fn(f64, f64) -> f64,
    device: fn(Tensor, Tensor) -> OpResult<Tensor>,
    last: fn(Value, usize) -> OpResult<Value>,
) -> OpResult<Run> {
    run(move |x| {
        let n = x.len();
        if n == 0 {
            return Err("no inputs; expected at least one".into());
        }
        let total: Value = if x.all_host() {
            let mut total = x.array(0)?;
            for i in 1..n {
                total = zip(&total, &x.array(i)?, ints, floats)?;
            }
            total.into()
        } else {
            let mut total = x.tensor(0)?;
            for i in 1..n {
                total = device(total, x.tensor(i)?)?;
            }
            total.into()
        };
        one(last(total, n)?)
    })
}

fn sum(_: &NodeSpec<'_>) -> OpResult<Run> {
    fold(
        |a, b| Ok(a + b),
        |a, b| a + b,
        Tensor::add,
        |total, _| Ok(total),
    )
}

fn mean(_: &NodeSpec<'_>) -> OpResult<Run> {
    fold(
        |a, b| Ok(a + b),
        |a, b| a + b,
        Tensor::add,
        |total, n| match total {
            Value::Device(t) => Ok(t.div_scalar(n as f64).into()),
            other => {
                let total = other.host()?;
                let all = total.to_f64()?.into_iter().map(|v| v / n as f64).collect();
                Ok(Numbers::Floats(all)
                    .stored(total.shape(), total.dtype())?
                    .into())
            }
        },
    )
}

/// A sample `x` and a constant `c`, element by element: `of(c)` gives factor and summand of `x`.
fn with_constant(
    x: &mut Lower<'_>,
    sample: usize,
    of: impl Fn(f32) -> (f32, f32),
) -> OpResult<Sample> {
    let s = x.sample(sample)?;
    let constant = s.broadcast(x.constant(1 - sample)?)?;
    let (scale, shift): (Vec<f32>, Vec<f32>) = constant.into_iter().map(of).unzip();
    x.scaled(&s, &scale, &shift)
}

fn lowered_add(_: &NodeSpec<'_>) -> OpResult<Lowering> {
    lowering(|x| match (x.is_constant(0), x.is_constant(1)) {
        (false, false) => {
            let (a, b) = (x.sample(0)?, x.sample(1)?);
            x.paired(&a, &b, Builder::add)
        }
        (is_first, _) => with_constant(x, usize::from(is_first), |c| (1.0, c)),
    })
}

fn lowered_sub(_: &NodeSpec<'_>) -> OpResult<Lowering> {
    lowering(|x| match (x.is_constant(0), x.is_constant(1)) {
        (true, _) => with_constant(x, 1, |c| (-1.0, c)),
        (_, true) => with_constant(x, 0, |c| (1.0, -c)),
        (false, false) => {
            let (a, b) = (x.sample(0)?, x.sample(1)?);
            let n = b.shape().iter().product();
            let b = x.scaled(&b, &vec![-1.0; n], &vec![0.0; n])?;
            x.paired(&a, &b, Builder::add)
        }
    })
}

fn lowered_mul(_: &NodeSpec<'_>) -> OpResult<Lowering> {
    lowering(|x| {
        if !x.is_constant(0) && !x.is_constant(1) {
            let (a, b) = (x.sample(0)?, x.sample(1)?);
            return x.paired(&a, &b, Builder::multiply);
        }
        let sample = usize::from(x.is_constant(0));
        with_constant(x, sample, |c| (c, 0.0))
    })
}

fn lowered_div(_: &NodeSpec<'_>) -> OpResult<Lowering> {
    lowering(|x| with_constant(x, 0, |c| (1.0 / c, 0.0)))
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Add", add).lowered(lowered_add),
    OperatorEntry::new("Sub", sub).lowered(lowered_sub),
    OperatorEntry::new("Mul", mul).lowered(lowered_mul),
    OperatorEntry::new("Div", div).lowered(lowered_div),
    OperatorEntry::new("Mod", modulo),
    OperatorEntry::new("Pow", pow),
    OperatorEntry::new("Sum", sum),
    OperatorEntry::new("Mean", mean),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, computed, number};

    #[test]
    fn gradients() {
        for op in ["Add", "Sub", "Mul", "Div", "Sum", "Mean"] {
            Case::new(op)
                .scattered(&[2, 3], -1.0, 1.0)
                .scattered(&[3], 0.5, 2.0)
                .assert_gradient();
            for swapped in [false, true] {
                let value = |c: Case| c.scattered(&[2, 3], 0.5, 2.0);
                let case = Case::new(op);
                let case = if swapped {
                    value(case.host(number(1.25)))
                } else {
                    value(case).host(number(1.25))
                };
                case.assert_gradient();
            }
        }
        for op in ["Sum", "Mean"] {
            Case::new(op).scattered(&[4], -1.0, 1.0).assert_gradient();
            Case::new(op)
                .scattered(&[2, 2], -1.0, 1.0)
                .scattered(&[2], -1.0, 1.0)
                .scattered(&[2, 1], -1.0, 1.0)
                .assert_gradient();
        }
    }

    #[test]
    fn gradients_of_remainders_and_powers() {
        for fmod in [0, 1] {
            Case::new("Mod")
                .int("fmod", fmod)
                .scattered(&[5], -3.0, 3.0)
                .tracked(&[5], vec![0.7, -0.9, 1.1, 0.8, -1.3])
                .assert_gradient();
        }
        for exponent in [0.0, 1.0, 2.0, 3.0, -1.0, 0.5, -2.5] {
            Case::new("Pow")
                .scattered(&[2, 3], 0.5, 2.0)
                .host(number(exponent))
                .assert_gradient();
        }
        Case::new("Pow")
            .scattered(&[2, 3], 0.5, 2.0)
            .scattered(&[3], -1.0, 2.0)
            .assert_gradient();
        Case::new("Pow")
            .tracked(&[3], vec![0.0, 0.0, -1.5])
            .host(Array::new([3], vec![0i64, 2, 3]))
            .assert_gradient();
    }

    #[test]
    fn integers_are_exact() {
        let pair = |op: &str, a: Vec<i64>, b: Vec<i64>| {
            computed(&Case::new(op).host(Array::list(a)).host(Array::list(b)))
        };
        let big = (1i64 << 53) + 1;
        assert_eq!(pair("Add", vec![big], vec![0]), Array::list(vec![big]));
        assert_eq!(
            pair("Add", vec![i64::MAX], vec![1]),
            Array::list(vec![i64::MIN])
        );
        assert_eq!(
            pair("Mul", vec![i64::MAX], vec![3]),
            Array::list(vec![i64::MAX.wrapping_mul(3)])
        );
        let most = || Array::new([1], vec![u64::MAX]);
        let c = Case::new("Mul").host(most()).host(most());
        assert_eq!(computed(&c), Array::new([1], vec![1u64]));
        assert_eq!(
            pair("Div", vec![-7, 7, i64::MIN], vec![2, -2, -1]),
            Array::list(vec![-3, -3, i64::MIN])
        );
        assert_eq!(
            pair("Mod", vec![-7, 7, -7], vec![3, -3, -3]),
            Array::list(vec![2, -2, -1])
        );
        assert_eq!(
            pair("Pow", vec![3, -2, 2, 2], vec![39, 3, -1, 64]),
            Array::list(vec![3i64.pow(39), -8, 0, 0])
        );
        let c = Case::new("Sub")
            .host(Array::new([2], vec![3u8, 1]))
            .host(Array::new([1], vec![2u8]));
        assert_eq!(computed(&c), Array::new([2], vec![1u8, 255]));
        let c = Case::new("Mod")
            .int("fmod", 1)
            .host(Array::list(vec![-7]))
            .host(Array::list(vec![3]));
        assert_eq!(computed(&c), Array::list(vec![-1]));
        let c = Case::new("Pow")
            .host(Array::list(vec![2, 3]))
            .host(Array::new([], vec![0.5f32]));
        assert_eq!(computed(&c), Array::list(vec![1, 1]));
    }

    #[test]
    fn device_and_host_agree() {
        let (a, b) = (vec![-7.5, 7.25, -3.0, 2.0], vec![2.0, -3.0, -1.5, 0.5]);
        let host = |v: &[f64]| Array::new([4], v.iter().map(|x| *x as f32).collect::<Vec<_>>());
        for op in ["Add", "Sub", "Mul", "Div", "Mod", "Mean"] {
            for fmod in [0, 1] {
                let case = || Case::new(op).int("fmod", fmod);
                let there = case().tracked(&[4], a.clone()).tracked(&[4], b.clone());
                let here = case().host(host(&a)).host(host(&b));
                assert_eq!(computed(&there), computed(&here), "{op}");
            }
        }
    }

    #[test]
    fn an_empty_tensor_stays_empty() {
        let c = Case::new("Add").tracked(&[0, 2], vec![]).host(number(1.0));
        assert_eq!(computed(&c), Array::new([0, 2], Vec::<f32>::new()));
    }

    #[test]
    fn invalid_nodes_are_errors() {
        let problem = |c: Case| c.run().unwrap_err();
        let ints = |v: &[i64]| Array::list(v.to_vec());
        for op in ["Div", "Mod"] {
            let c = Case::new(op).host(ints(&[1])).host(ints(&[0]));
            assert_eq!(problem(c), "division by zero");
        }
        let c = Case::new("Add").host(ints(&[1, 2])).host(ints(&[1, 2, 3]));
        assert_eq!(problem(c), "shapes [2] and [3] do not broadcast");
        let c = Case::new("Add")
            .scattered(&[2], 0.0, 1.0)
            .scattered(&[3], 0.0, 1.0);
        assert_eq!(problem(c), "shapes [2] and [3] do not broadcast");
        let c = Case::new("Add").host(ints(&[1])).host(number(1.0));
        assert!(problem(c).contains("types int64 and float32"));
        let c = Case::new("Add").host(ints(&[1]));
        assert_eq!(problem(c), "input 1 is missing");
        assert!(problem(Case::new("Sum")).contains("at least one"));
        let c = Case::new("Mod").float("fmod", 1.0).host(ints(&[1]));
        assert_eq!(problem(c), "attribute `fmod` is not an integer");
    }
}
