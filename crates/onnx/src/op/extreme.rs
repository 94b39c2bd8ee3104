//! Elementwise maximum and minimum, and clipping.

use proofmark_kernels::Clamp;

use super::OperatorEntry;
use super::arithmetic::{fold, scalar};
use super::numbers::zip;
use crate::lower::{Lowering, lowering};
use crate::node::{Args, NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;
use crate::value::Value;

/// Returns the larger (or smaller) of both. Where they are equal each gets half of the gradient, as in `PyTorch`.
fn extreme(a: Tensor, b: Tensor, larger: bool) -> OpResult<Tensor> {
    let ties = a.clone().equal(b.clone())?;
    let wins = if larger {
        a.clone().greater(b.clone())
    } else {
        a.clone().lower(b.clone())
    }?;
    let wins = wins.or(a.clone().is_nan())?;
    let half = a.clone().mul_scalar(0.5).add(b.clone().mul_scalar(0.5))?;
    ties.choose(half, wins.choose(a, b)?)
}

/// Computes the maximum (or minimum) of a device tensor and a host number by clamping. `None` for other inputs, or if
/// the number is NaN.
fn limit(x: &mut Args<'_>, larger: bool) -> OpResult<Option<Tensor>> {
    if x.len() != 2 {
        return Ok(None);
    }
    for (value, bound) in [(0, 1), (1, 0)] {
        let rank = x.peek(value)?.shape().len();
        if let (Value::Device(_), Some(number)) = (x.peek(value)?, scalar(x, bound, rank)?) {
            if number.is_nan() {
                return Ok(None);
            }
            let t = x.tensor(value)?;
            return Ok(Some(if larger {
                t.clamp_min(number)
            } else {
                t.clamp_max(number)
            }));
        }
    }
    Ok(None)
}

fn max(_: &NodeSpec<'_>) -> OpResult<Run> {
    let general = fold(
        |a, b| Ok(a.max(b)),
        |a, b| if a > b || a.is_nan() { a } else { b },
        |a, b| extreme(a, b, true),
        |total, _| Ok(total),
    )?;
    run(move |x| match limit(x, true)? {
        Some(t) => one(t),
        None => general(x),
    })
}

fn min(_: &NodeSpec<'_>) -> OpResult<Run> {
    let general = fold(
        |a, b| Ok(a.min(b)),
        |a, b| if a < b || a.is_nan() { a } else { b },
        |a, b| extreme(a, b, false),
        |total, _| Ok(total),
    )?;
    run(move |x| match limit(x, false)? {
        Some(t) => one(t),
        None => general(x),
    })
}

/// Builds `Clip`. Bounds are attributes before version 11 and inputs since. If they cross, the upper bound wins.
fn clip(node: &NodeSpec<'_>) -> OpResult<Run> {
    if node.opset < 11 {
        let low = node.float_opt("min")?;
        let high = node.float_opt("max")?;
        return run(move |x| {
            let mut t = x.tensor(0)?;
            if let Some(low) = low {
                t = t.clamp_min(low);
            }
            if let Some(high) = high {
                t = t.clamp_max(high);
            }
            one(t)
        });
    }
    run(|x| {
        if x.all_host() {
            let mut a = x.array(0)?;
            let shape = a.shape().to_vec();
            if let Some(low) = x.array_opt(1)? {
                a = zip(&a, &low, |v, b| Ok(v.max(b)), f64::max)?;
            }
            if let Some(high) = x.array_opt(2)? {
                a = zip(&a, &high, |v, b| Ok(v.min(b)), f64::min)?;
            }
            // A bound of shape `[1]` broadcasts a scalar to that shape; restore the input's.
            return one(a.reshape(&shape)?);
        }
        let mut t = x.tensor(0)?;
        let shape = t.shape();
        for (i, lower) in [(1, true), (2, false)] {
            if !x.has(i) {
                continue;
            }
            t = if matches!(x.peek(i)?, Value::Host(_)) {
                let bound = x.scalar_opt(i)?.ok_or("a bound is missing")?;
                if lower {
                    t.clamp_min(bound)
                } else {
                    t.clamp_max(bound)
                }
            } else {
                let bound = x.tensor(i)?;
                extreme(t, bound, lower)?
            };
        }
        one(t.reshape(&shape)?)
    })
}

fn lowered(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let fixed = [node.float_opt("min")?, node.float_opt("max")?];
    let has_attributes = node.opset < 11;
    lowering(move |x| {
        let bound = |i: usize, open: f32| -> OpResult<f32> {
            if has_attributes {
                return Ok(fixed[i].map_or(open, |b| b as f32));
            }
            match x.numbers(i + 1)?.as_deref() {
                None => Ok(open),
                Some([one]) => Ok(*one),
                Some(all) => Err(format!("{} numbers as a bound", all.len())),
            }
        };
        let (low, high) = (bound(0, f32::NEG_INFINITY)?, bound(1, f32::INFINITY)?);
        if low.is_nan() || high.is_nan() || low > high {
            return Err(format!("bounds {low} and {high}"));
        }
        x.elementwise(|net, x| net.clamp(x, Clamp::Clip { low, high }))
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Max", max),
    OperatorEntry::new("Min", min),
    OperatorEntry::new("Clip", clip).lowered(lowered),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, computed, number, weight};

    #[test]
    fn gradients() {
        for op in ["Max", "Min"] {
            let case = || Case::new(op).scattered(&[2, 3], -1.0, 1.0);
            case().assert_gradient();
            case().scattered(&[3], -1.0, 1.0).assert_gradient();
            case()
                .scattered(&[3], -1.0, 1.0)
                .scattered(&[2, 1], -1.0, 1.0)
                .assert_gradient();
            case().host(number(0.2)).assert_gradient();
            Case::new(op)
                .host(number(0.2))
                .scattered(&[2, 3], -1.0, 1.0)
                .assert_gradient();
        }
    }

    #[test]
    fn equal_elements_share_the_gradient() {
        for op in ["Max", "Min"] {
            let gradient = Case::new(op)
                .tracked(&[1], vec![2.0])
                .tracked(&[1], vec![2.0])
                .gradient();
            let half = weight(0, 0) / 2.0;
            assert!(gradient.iter().all(|g| (g[0] - half).abs() < 1e-6));
        }
    }

    #[test]
    fn gradients_of_clip() {
        Case::new("Clip")
            .scattered(&[7], -2.0, 2.0)
            .host(number(-0.7))
            .host(number(0.9))
            .assert_gradient();
        Case::new("Clip")
            .opset(6 + 1)
            .float("min", -0.7)
            .float("max", 0.9)
            .scattered(&[7], -2.0, 2.0)
            .assert_gradient();
        Case::new("Clip")
            .scattered(&[7], -2.0, 2.0)
            .absent()
            .tracked(&[], vec![0.4])
            .assert_gradient();
    }

    #[test]
    fn device_and_host_agree() {
        let (a, b) = (vec![-7.5, 7.25, -3.0, 2.0], vec![2.0, -3.0, -3.0, 0.5]);
        let host = |v: &[f64]| Array::new([4], v.iter().map(|x| *x as f32).collect::<Vec<_>>());
        for op in ["Max", "Min"] {
            let there = Case::new(op)
                .tracked(&[4], a.clone())
                .tracked(&[4], b.clone());
            let here = Case::new(op).host(host(&a)).host(host(&b));
            assert_eq!(computed(&there), computed(&here), "{op}");
        }
        let big = (1i64 << 53) + 1;
        let c = Case::new("Max")
            .host(Array::list(vec![big, -1]))
            .host(Array::list(vec![0, 0]));
        assert_eq!(computed(&c), Array::list(vec![big, 0]));
    }

    #[test]
    fn infinities_and_crossed_bounds() {
        let c = Case::new("Max")
            .tracked(&[3], vec![f64::NAN, 1.0, f64::INFINITY])
            .tracked(&[3], vec![0.0, f64::NAN, f64::INFINITY]);
        let v = computed(&c).to_f64().unwrap();
        assert!(v[0].is_nan() && v[1].is_nan() && v[2] == f64::INFINITY);
        let c = Case::new("Clip")
            .tracked(&[2], vec![-1.0, 5.0])
            .host(number(3.0))
            .host(number(2.0));
        assert_eq!(computed(&c), Array::new([2], vec![2.0f32, 2.0]));
        let c = Case::new("Clip")
            .host(Array::new([3], vec![-9i8, 0, 9]))
            .host(Array::new([], vec![-3i8]));
        assert_eq!(computed(&c), Array::new([3], vec![-3i8, 0, 9]));
    }

    #[test]
    fn invalid_nodes_are_errors() {
        for (c, part) in [
            (Case::new("Max"), "at least one"),
            (
                Case::new("Min")
                    .scattered(&[2], 0.0, 1.0)
                    .scattered(&[3], 0.0, 1.0),
                "do not broadcast",
            ),
            (
                Case::new("Clip")
                    .scattered(&[2], 0.0, 1.0)
                    .host(Array::new([2], vec![0.0f32, 1.0])),
                "2 elements; expected one",
            ),
            (
                Case::new("Clip")
                    .opset(9)
                    .int("min", 0)
                    .scattered(&[2], 0.0, 1.0),
                "not a number",
            ),
            (Case::new("Clip"), "input 0 is missing"),
        ] {
            let problem = c.run().unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
