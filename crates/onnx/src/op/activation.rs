//! Elementwise activation functions.
//!
//! At a kink the derivative is `PyTorch`'s.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::backend::Dispatch;
use burn::backend::ops::ActivationOps;
use proofmark_kernels::{Clamp, Function};

use super::OperatorEntry;
use super::numbers::Numbers;
use crate::lower::{Lowering, lowering};
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::tensor::{Tensor, broadcast};

pub(super) fn each(
    f: impl Fn(Tensor) -> OpResult<Tensor> + Send + Sync + 'static,
) -> OpResult<Run> {
    run(move |x| one(f(x.tensor(0)?)?))
}

fn relu(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        if x.all_host() {
            let a = x.array(0)?;
            let all = match Numbers::of(&a)? {
                Numbers::Ints(v) => Numbers::Ints(v.into_iter().map(|x| x.max(0)).collect()),
                Numbers::Floats(v) => Numbers::Floats(
                    v.into_iter()
                        .map(|x| if x < 0.0 { 0.0 } else { x })
                        .collect(),
                ),
            };
            return one(all.stored(a.shape(), a.dtype())?);
        }
        one(x.tensor(0)?.relu())
    })
}

/// Replaces the elements at or below zero by those of `slope(t)`.
pub(super) fn bent(t: Tensor, slope: impl FnOnce(Tensor) -> OpResult<Tensor>) -> OpResult<Tensor> {
    let below = t.clone().lower_equal_scalar(0.0);
    below.choose(slope(t.clone())?, t)
}

fn leaky_relu(node: &NodeSpec<'_>) -> OpResult<Run> {
    let alpha = node.float("alpha", 0.01)?;
    each(move |t| bent(t, |t| Ok(t.mul_scalar(alpha))))
}

fn prelu(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let (t, slope) = (x.tensor(0)?, x.tensor(1)?);
        let (shape, own) = (t.shape(), slope.shape());
        if broadcast(&shape, &own)? != shape {
            return Err(format!(
                "a slope of shape {own:?} cannot be expanded to {shape:?}"
            ));
        }
        one(bent(t, |t| t.mul(slope))?)
    })
}

/// Returns `above * t` where `t` is positive and `scale * (exp(t / width) - 1)` below. The exponential never gets a
/// positive number: its derivative there would be infinite, and infinity times zero is NaN.
pub(super) fn exponential(t: Tensor, above: f64, scale: f64, width: f64) -> OpResult<Tensor> {
    let mut below = t.clone().clamp_max(0.0);
    if width != 1.0 {
        below = below.div_scalar(width);
    }
    let below = below.exp().sub_scalar(1.0).mul_scalar(scale);
    let mut positive = t.relu();
    if above != 1.0 {
        positive = positive.mul_scalar(above);
    }
    positive.add(below)
}

fn elu(node: &NodeSpec<'_>) -> OpResult<Run> {
    let alpha = node.float("alpha", 1.0)?;
    each(move |t| exponential(t, 1.0, alpha, 1.0))
}

fn celu(node: &NodeSpec<'_>) -> OpResult<Run> {
    let alpha = node.float("alpha", 1.0)?;
    if alpha == 0.0 {
        return Err("attribute `alpha` is 0; expected another value, as Celu divides by it".into());
    }
    each(move |t| exponential(t, 1.0, alpha, alpha))
}

fn selu(node: &NodeSpec<'_>) -> OpResult<Run> {
    let alpha = node.float("alpha", 1.673_263_2)?;
    let gamma = node.float("gamma", 1.050_701)?;
    each(move |t| exponential(t, gamma, alpha * gamma, 1.0))
}

/// Computes the exact GELU from `erf`: on some devices the fused operation has the derivative of an approximation.
pub(super) fn gelu_exact(t: Tensor) -> OpResult<Tensor> {
    let cdf = t.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0);
    t.mul_scalar(0.5).mul(cdf)
}

/// Computes the tanh approximation of GELU.
pub(super) fn gelu_tanh(t: Tensor) -> OpResult<Tensor> {
    let square = t.clone().mul(t.clone())?;
    let bent = square.mul_scalar(0.044_715).add_scalar(1.0);
    let inner = t.clone().mul_scalar((2.0 / PI).sqrt()).mul(bent)?;
    t.mul_scalar(0.5).mul(inner.tanh().add_scalar(1.0))
}

fn gelu(node: &NodeSpec<'_>) -> OpResult<Run> {
    match node.text("approximate", "none")?.as_str() {
        "none" => each(gelu_exact),
        "tanh" => each(gelu_tanh),
        other => Err(format!(
            "attribute `approximate` is `{other}`; expected none or tanh"
        )),
    }
}

fn ramp(t: Tensor, alpha: f64, beta: f64) -> Tensor {
    t.mul_scalar(alpha)
        .add_scalar(beta)
        .clamp_min(0.0)
        .clamp_max(1.0)
}

fn hard_sigmoid(node: &NodeSpec<'_>) -> OpResult<Run> {
    let alpha = node.float("alpha", 0.2)?;
    let beta = node.float("beta", 0.5)?;
    each(move |t| Ok(ramp(t, alpha, beta)))
}

fn hard_swish(_: &NodeSpec<'_>) -> OpResult<Run> {
    each(|t| ramp(t.clone(), 1.0 / 6.0, 0.5).mul(t))
}

/// Computes `log(1 + exp(t))` without the overflow of the literal formula.
fn softplus(t: Tensor) -> Tensor {
    t.neg()
        .with(<Dispatch as ActivationOps<Dispatch>>::log_sigmoid)
        .neg()
}

fn softsign(t: Tensor) -> OpResult<Tensor> {
    let size = t.clone().abs().add_scalar(1.0);
    t.div(size)
}

fn thresholded_relu(node: &NodeSpec<'_>) -> OpResult<Run> {
    let alpha = node.float("alpha", 1.0)?;
    each(move |t| {
        let below = t.clone().lower_equal_scalar(alpha);
        below.fill(t, 0.0)
    })
}

fn mish(t: Tensor) -> OpResult<Tensor> {
    softplus(t.clone()).tanh().mul(t)
}

fn swish(node: &NodeSpec<'_>) -> OpResult<Run> {
    let alpha = node.float("alpha", 1.0)?;
    each(move |t| sigmoid_weighted(t, alpha))
}

/// Returns `t * sigmoid(alpha * t)`.
pub(super) fn sigmoid_weighted(t: Tensor, alpha: f64) -> OpResult<Tensor> {
    let inner = if alpha == 1.0 {
        t.clone()
    } else {
        t.clone().mul_scalar(alpha)
    };
    inner.sigmoid().mul(t)
}

fn shrink(node: &NodeSpec<'_>) -> OpResult<Run> {
    let bias = node.float("bias", 0.0)?;
    let lambda = node.float("lambd", 0.5)?;
    run(move |x| {
        if x.all_host() {
            let a = x.array(0)?;
            let all = a
                .to_f64()?
                .into_iter()
                .map(|v| match v {
                    v if v < -lambda => v + bias,
                    v if v > lambda => v - bias,
                    _ => 0.0,
                })
                .collect();
            return one(Numbers::Floats(all).stored(a.shape(), a.dtype())?);
        }
        let t = x.tensor(0)?;
        let (below, above) = (
            t.clone().lower_scalar(-lambda),
            t.clone().greater_scalar(lambda),
        );
        let between = below.clone().or(above)?.not();
        let moved = below.choose(t.clone().add_scalar(bias), t.sub_scalar(bias))?;
        one(between.fill(moved, 0.0)?)
    })
}

/// An activation that is linear in pieces, as a kernel.
pub(super) fn clamped(clamp: Clamp) -> OpResult<Lowering> {
    lowering(move |x| x.elementwise(|net, x| net.clamp(x, clamp)))
}

/// Any other activation, as a kernel.
fn smooth(function: Function) -> OpResult<Lowering> {
    lowering(move |x| x.elementwise(|net, x| net.smooth(x, function)))
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Relu", relu).lowered(|_| clamped(Clamp::Leaky { slope: 0.0 })),
    OperatorEntry::new("LeakyRelu", leaky_relu).lowered(|node| {
        let slope = node.float("alpha", 0.01)? as f32;
        clamped(Clamp::Leaky { slope })
    }),
    OperatorEntry::new("PRelu", prelu),
    OperatorEntry::new("Elu", elu).lowered(|node| {
        let alpha = node.float("alpha", 1.0)? as f32;
        smooth(Function::Elu { alpha })
    }),
    OperatorEntry::new("Celu", celu),
    OperatorEntry::new("Selu", selu),
    OperatorEntry::new("Gelu", gelu).lowered(|node| {
        match node.text("approximate", "none")?.as_str() {
            "none" => smooth(Function::Gelu),
            other => Err(format!("no kernel approximates it by {other}")),
        }
    }),
    OperatorEntry::new("HardSigmoid", hard_sigmoid).lowered(|node| {
        let (alpha, beta) = (
            node.float("alpha", 0.2)? as f32,
            node.float("beta", 0.5)? as f32,
        );
        smooth(Function::HardSigmoid { alpha, beta })
    }),
    OperatorEntry::new("HardSwish", hard_swish).lowered(|_| smooth(Function::HardSwish)),
    OperatorEntry::new("Sigmoid", |_| each(|t| Ok(t.sigmoid())))
        .lowered(|_| smooth(Function::Sigmoid)),
    OperatorEntry::new("Softplus", |_| each(|t| Ok(softplus(t)))),
    OperatorEntry::new("Softsign", |_| each(softsign)),
    OperatorEntry::new("Tanh", |_| each(|t| Ok(t.tanh()))).lowered(|_| smooth(Function::Tanh)),
    OperatorEntry::new("ThresholdedRelu", thresholded_relu),
    OperatorEntry::new("Mish", |_| each(mish)),
    OperatorEntry::new("Swish", swish).lowered(|node| {
        let alpha = node.float("alpha", 1.0)?;
        if alpha != 1.0 {
            return Err(format!("no kernel computes it with alpha {alpha}"));
        }
        smooth(Function::Silu)
    }),
    OperatorEntry::new("Shrink", shrink),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, computed};

    fn close(case: &Case, expected: &[f64]) {
        let v = computed(case).to_f64().unwrap();
        assert_eq!(v.len(), expected.len());
        for (a, b) in v.iter().zip(expected) {
            assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{v:?}");
        }
    }

    #[test]
    fn gradients() {
        for op in [
            "Relu",
            "LeakyRelu",
            "Elu",
            "Celu",
            "Selu",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "Sigmoid",
            "Softplus",
            "Softsign",
            "Tanh",
            "ThresholdedRelu",
            "Mish",
            "Swish",
            "Shrink",
        ] {
            Case::new(op)
                .scattered(&[3, 5], -4.0, 4.0)
                .assert_gradient();
        }
        for op in [
            "LeakyRelu",
            "Elu",
            "Celu",
            "HardSigmoid",
            "ThresholdedRelu",
            "Swish",
        ] {
            Case::new(op)
                .float("alpha", 0.6)
                .scattered(&[9], -3.0, 3.0)
                .assert_gradient();
        }
        Case::new("Gelu")
            .text("approximate", "tanh")
            .scattered(&[9], -3.0, 3.0)
            .assert_gradient();
        Case::new("Selu")
            .float("alpha", 1.5)
            .float("gamma", 0.7)
            .scattered(&[9], -3.0, 3.0)
            .assert_gradient();
        Case::new("HardSigmoid")
            .float("alpha", 0.4)
            .float("beta", 0.1)
            .scattered(&[9], -3.0, 3.0)
            .assert_gradient();
        Case::new("Shrink")
            .float("lambd", 1.0)
            .float("bias", 0.3)
            .scattered(&[9], -3.0, 3.0)
            .assert_gradient();
        Case::new("PRelu")
            .scattered(&[2, 3, 2], -1.0, 1.0)
            .scattered(&[3, 1], 0.1, 0.9)
            .assert_gradient();
    }

    #[test]
    fn gradients_are_finite_far_out() {
        for op in ["Elu", "Celu", "Selu", "Softplus", "Mish", "Gelu", "Swish"] {
            Case::new(op)
                .tracked(&[4], vec![-200.0, -30.0, 30.0, 200.0])
                .assert_gradient();
        }
        // These functions are smooth at zero; a composition could add a kink there.
        for op in ["Softplus", "Mish", "Gelu"] {
            Case::new(op).tracked(&[1], vec![0.0]).assert_gradient();
        }
    }

    #[test]
    fn values() {
        let at = |op: &str| Case::new(op).tracked(&[3], vec![-2.0, 0.0, 1.5]);
        close(&at("Celu"), &[(-2.0f64).exp() - 1.0, 0.0, 1.5]);
        close(&at("Softsign"), &[-2.0 / 3.0, 0.0, 0.6]);
        close(
            &at("Mish"),
            &[
                -2.0 * (-2.0f64).exp().ln_1p().tanh(),
                0.0,
                1.5 * 1.5f64.exp().ln_1p().tanh(),
            ],
        );
        close(
            &at("Swish").float("alpha", 0.5),
            &[
                -2.0 / (1.0 + 1f64.exp()),
                0.0,
                1.5 / (1.0 + (-0.75f64).exp()),
            ],
        );
        close(&at("HardSwish"), &[-2.0 / 6.0, 0.0, 1.125]);
        let shrink = |c: Case| c.float("lambd", 1.0).float("bias", 0.5);
        close(&shrink(at("Shrink")), &[-1.5, 0.0, 1.0]);
        let ints = Array::new([3], vec![-2i32, 1, 4]);
        let c = shrink(Case::new("Shrink")).host(ints.clone());
        assert_eq!(computed(&c), Array::new([3], vec![-1i32, 0, 3]));
        let c = Case::new("Relu").host(ints);
        assert_eq!(computed(&c), Array::new([3], vec![0i32, 1, 4]));
    }

    #[test]
    fn invalid_nodes_are_errors() {
        let c = Case::new("Gelu")
            .text("approximate", "no")
            .scattered(&[2], 0.0, 1.0);
        assert!(c.run().unwrap_err().contains("expected none or tanh"));
        let c = Case::new("Celu")
            .float("alpha", 0.0)
            .scattered(&[2], 0.0, 1.0);
        assert!(c.run().unwrap_err().contains("alpha"));
        let c = Case::new("PRelu")
            .scattered(&[3], 0.0, 1.0)
            .scattered(&[2, 3], 0.0, 1.0);
        assert!(c.run().unwrap_err().contains("cannot be expanded"));
        let c = Case::new("Elu").int("alpha", 1).scattered(&[2], 0.0, 1.0);
        assert_eq!(c.run().unwrap_err(), "attribute `alpha` is not a number");
    }
}
