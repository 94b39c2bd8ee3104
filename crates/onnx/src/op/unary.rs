//! Elementwise functions, other than activations.

use proofmark_kernels::Function;

use super::numbers::Numbers;
use super::quantise::with_derivative_of;
use super::{Gradient, OperatorEntry};
use crate::array::Array;
use crate::lower::{Lowering, lowering};
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;

/// Builds a function of floating point; `device` computes it if `floats` is `None`.
fn float(device: fn(Tensor) -> Tensor, floats: Option<fn(f64) -> f64>) -> OpResult<Run> {
    number(device, None, floats)
}

fn number(
    device: fn(Tensor) -> Tensor,
    ints: Option<fn(i128) -> i128>,
    floats: Option<fn(f64) -> f64>,
) -> OpResult<Run> {
    run(move |x| {
        if x.all_host() {
            let a = x.array(0)?;
            let all = match (Numbers::of(&a)?, ints, floats) {
                (Numbers::Ints(v), Some(f), _) => Numbers::Ints(v.into_iter().map(f).collect()),
                (Numbers::Floats(v), _, Some(f)) => Numbers::Floats(v.into_iter().map(f).collect()),
                _ => return one(device(a.on(x.device)?)),
            };
            return one(all.stored(a.shape(), a.dtype())?);
        }
        one(device(x.tensor(0)?))
    })
}

fn neg(_: &NodeSpec<'_>) -> OpResult<Run> {
    number(Tensor::neg, Some(|v| -v), Some(|v| -v))
}

fn abs(_: &NodeSpec<'_>) -> OpResult<Run> {
    number(Tensor::abs, Some(i128::abs), Some(f64::abs))
}

/// Builds `Sign`, with the derivative of `x / (1 + |x|)`: largest where the sign flips, and zero nowhere, so that the
/// gradient has a direction whatever the scale of the values.
fn sign(_: &NodeSpec<'_>) -> OpResult<Run> {
    rounding(
        Tensor::sign,
        |t| t.clone().div(t.abs().add_scalar(1.0)),
        Some(i128::signum),
        // `signum` of zero is not zero.
        |v| if v == 0.0 { 0.0 } else { v.signum() },
    )
}

/// Builds a function that rounds, with the derivative of the identity.
fn straight_through(device: fn(Tensor) -> Tensor, floats: fn(f64) -> f64) -> OpResult<Run> {
    rounding(device, Ok, None, floats)
}

/// Builds a function whose own derivative is zero, with that of `smooth` in its place.
fn rounding(
    device: fn(Tensor) -> Tensor,
    smooth: fn(Tensor) -> OpResult<Tensor>,
    ints: Option<fn(i128) -> i128>,
    floats: fn(f64) -> f64,
) -> OpResult<Run> {
    let known = number(device, ints, Some(floats))?;
    run(move |x| {
        if x.all_host() {
            return known(x);
        }
        let t = x.tensor(0)?;
        let value = device(t.clone().detach());
        one(with_derivative_of(value, t, smooth)?)
    })
}

fn is_nan(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        if x.all_host() {
            let a = x.array(0)?;
            let all: Vec<bool> = a.to_f64()?.into_iter().map(f64::is_nan).collect();
            return one(Array::try_new(a.shape(), all)?);
        }
        one(x.tensor(0)?.is_nan().numbers())
    })
}

fn is_inf(node: &NodeSpec<'_>) -> OpResult<Run> {
    let below = node.flag("detect_negative", true)?;
    let above = node.flag("detect_positive", true)?;
    run(move |x| {
        if x.all_host() {
            let a = x.array(0)?;
            let all: Vec<bool> = a
                .to_f64()?
                .into_iter()
                .map(|v| (above && v == f64::INFINITY) || (below && v == f64::NEG_INFINITY))
                .collect();
            return one(Array::try_new(a.shape(), all)?);
        }
        let t = x.tensor(0)?;
        one(match (below, above) {
            (true, true) => t.is_inf().numbers(),
            (true, false) => t.equal_scalar(f64::NEG_INFINITY).numbers(),
            (false, true) => t.equal_scalar(f64::INFINITY).numbers(),
            (false, false) => t.equal_scalar(f64::NAN).numbers(),
        })
    })
}

fn lowered_erf() -> OpResult<Lowering> {
    lowering(|x| x.elementwise(|net, x| net.smooth(x, Function::Erf)))
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Neg", neg),
    OperatorEntry::new("Abs", abs),
    OperatorEntry::new("Sign", sign).gradient(Gradient::StraightThrough),
    OperatorEntry::new("Sqrt", |_| float(Tensor::sqrt, Some(f64::sqrt))),
    OperatorEntry::new("Exp", |_| float(Tensor::exp, Some(f64::exp))),
    OperatorEntry::new("Log", |_| float(Tensor::log, Some(f64::ln))),
    OperatorEntry::new("Reciprocal", |_| float(Tensor::recip, Some(f64::recip))),
    OperatorEntry::new("Floor", |_| straight_through(Tensor::floor, f64::floor))
        .gradient(Gradient::StraightThrough),
    OperatorEntry::new("Ceil", |_| straight_through(Tensor::ceil, f64::ceil))
        .gradient(Gradient::StraightThrough),
    OperatorEntry::new("Round", |_| {
        straight_through(Tensor::round, f64::round_ties_even)
    })
    .gradient(Gradient::StraightThrough),
    OperatorEntry::new("Erf", |_| float(Tensor::erf, None)).lowered(|_| lowered_erf()),
    OperatorEntry::new("Sin", |_| float(Tensor::sin, Some(f64::sin))),
    OperatorEntry::new("Cos", |_| float(Tensor::cos, Some(f64::cos))),
    OperatorEntry::new("Tan", |_| float(Tensor::tan, Some(f64::tan))),
    OperatorEntry::new("Sinh", |_| float(Tensor::sinh, Some(f64::sinh))),
    OperatorEntry::new("Cosh", |_| float(Tensor::cosh, Some(f64::cosh))),
    OperatorEntry::new("Asin", |_| float(Tensor::asin, Some(f64::asin))),
    OperatorEntry::new("Acos", |_| float(Tensor::acos, Some(f64::acos))),
    OperatorEntry::new("Atan", |_| float(Tensor::atan, Some(f64::atan))),
    OperatorEntry::new("Asinh", |_| float(Tensor::asinh, Some(f64::asinh))),
    OperatorEntry::new("Acosh", |_| float(Tensor::acosh, Some(f64::acosh))),
    OperatorEntry::new("Atanh", |_| float(Tensor::atanh, Some(f64::atanh))),
    OperatorEntry::new("IsNaN", is_nan).gradient(Gradient::Zero),
    OperatorEntry::new("IsInf", is_inf).gradient(Gradient::Zero),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, computed, weight};

    #[test]
    fn gradients() {
        let everywhere = [
            "Neg", "Abs", "Exp", "Erf", "Sin", "Cos", "Tan", "Sinh", "Cosh", "Atan", "Asinh",
        ];
        for op in everywhere {
            Case::new(op)
                .scattered(&[3, 4], -1.4, 1.4)
                .assert_gradient();
        }
        for op in ["Sqrt", "Log", "Reciprocal"] {
            Case::new(op).scattered(&[3, 4], 0.2, 3.0).assert_gradient();
        }
        for op in ["Asin", "Acos", "Atanh"] {
            Case::new(op).scattered(&[7], -0.9, 0.9).assert_gradient();
        }
        Case::new("Acosh")
            .scattered(&[7], 1.1, 4.0)
            .assert_gradient();
    }

    #[test]
    fn rounding_passes_gradients_straight_through_and_a_sign_those_of_a_smooth_function() {
        let values = vec![-3.0, -0.6, 0.0, 0.25, 1.5];
        for op in ["Floor", "Ceil", "Round", "Sign"] {
            let case = Case::new(op).tracked(&[5], values.clone());
            let gradient = case.gradient().remove(0);
            for (i, (g, v)) in gradient.iter().zip(&values).enumerate() {
                let slope = if op == "Sign" {
                    (1.0 + v.abs()).powi(-2)
                } else {
                    1.0
                };
                assert!(
                    (g - weight(0, i) * slope).abs() < 1e-5,
                    "{op}: {gradient:?}"
                );
            }
        }
        // The derivative does not change the value, an infinity included.
        let ends = vec![f64::NEG_INFINITY, -1e30, 1e30, f64::INFINITY];
        let case = Case::new("Floor").tracked(&[4], ends.clone());
        let ends: Vec<f32> = ends.into_iter().map(|v| v as f32).collect();
        assert_eq!(computed(&case), Array::new([4], ends));
    }

    #[test]
    fn integers_are_exact() {
        let ints = vec![i64::MIN, -((1 << 53) + 1), 0, 7];
        let of = |op: &str| computed(&Case::new(op).host(Array::list(ints.clone())));
        assert_eq!(of("Neg"), Array::list(vec![i64::MIN, (1 << 53) + 1, 0, -7]));
        assert_eq!(of("Abs"), Array::list(vec![i64::MIN, (1 << 53) + 1, 0, 7]));
        assert_eq!(of("Sign"), Array::list(vec![-1, -1, 0, 1]));
        let c = Case::new("Neg").host(Array::new([1], vec![1u8]));
        assert_eq!(computed(&c), Array::new([1], vec![255u8]));
    }

    #[test]
    fn host_and_device_agree() {
        let values = vec![-1.5, -0.5, 0.5, 0.75, 1.5, 2.5];
        for op in [
            "Neg", "Abs", "Sign", "Floor", "Ceil", "Round", "IsNaN", "IsInf", "Erf",
        ] {
            let there = Case::new(op).tracked(&[6], values.clone());
            let here = Case::new(op).host(Array::new(
                [6],
                values.iter().map(|v| *v as f32).collect::<Vec<_>>(),
            ));
            assert_eq!(computed(&there), computed(&here), "{op}");
        }
        let c = Case::new("Round").tracked(&[6], values);
        let even = vec![-2.0f32, -0.0, 0.0, 1.0, 2.0, 2.0];
        assert_eq!(computed(&c), Array::new([6], even));
        // The host computes in double precision.
        let c = Case::new("Sqrt").host(Array::new([1], vec![2.0f64]));
        assert_eq!(computed(&c), Array::new([1], vec![2.0f64.sqrt()]));
    }

    #[test]
    fn infinities() {
        let values = vec![f64::NEG_INFINITY, 0.0, f64::INFINITY, f64::NAN];
        for (below, above) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let case = || {
                Case::new("IsInf")
                    .int("detect_negative", below)
                    .int("detect_positive", above)
            };
            let expected = Array::new([4], vec![below == 1, false, above == 1, false]);
            assert_eq!(computed(&case().tracked(&[4], values.clone())), expected);
            assert_eq!(
                computed(&case().host(Array::new([4], values.clone()))),
                expected
            );
        }
        let c = Case::new("IsNaN").tracked(&[4], values);
        assert_eq!(
            computed(&c),
            Array::new([4], vec![false, false, false, true])
        );
    }

    #[test]
    fn invalid_nodes_are_errors() {
        let text = Array::new([1], vec!["a".to_owned()]);
        let c = Case::new("Abs").host(text);
        assert!(c.run().unwrap_err().contains("strings"));
        assert_eq!(Case::new("Exp").run().unwrap_err(), "input 0 is missing");
    }
}
