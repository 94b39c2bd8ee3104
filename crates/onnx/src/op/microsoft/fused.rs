//! Convolutions and matrix products fused with the operations that follow them.

use super::super::OperatorEntry;
use super::super::activation::exponential;
use super::super::conv::Convolution;
use super::super::gate_function::Activation;
use super::super::matmul::product;
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;

/// Activation at the end of a node.
#[derive(Debug, Clone, Copy)]
enum Last {
    Nothing,
    Clip(f64, f64),
    Selu(f64, f64),
    HardSwish,
    Function(Activation),
}

impl Last {
    /// Reads an activation from its name and constants; missing constants get their defaults.
    fn read(name: &str, constants: &[f64]) -> OpResult<Self> {
        let constant = |i: usize, default: f64| constants.get(i).copied().unwrap_or(default);
        Ok(match name {
            "" => Self::Nothing,
            "Clip" => {
                let (low, high) = (f64::from(f32::MIN), f64::from(f32::MAX));
                Self::Clip(constant(0, low), constant(1, high))
            }
            "Selu" => Self::Selu(constant(0, 1.673_263_2), constant(1, 1.050_701)),
            "HardSwish" => Self::HardSwish,
            other => {
                let (mut first, mut second) =
                    (constants.iter().copied(), constants.iter().copied().skip(1));
                Self::Function(Activation::named(other, &mut first, &mut second)?)
            }
        })
    }

    fn of(self, t: Tensor) -> OpResult<Tensor> {
        Ok(match self {
            Self::Nothing => t,
            Self::Clip(low, high) => t.clamp_min(low).clamp_max(high),
            Self::Selu(alpha, gamma) => exponential(t, gamma, alpha * gamma, 1.0)?,
            Self::HardSwish => Activation::HardSigmoid(1.0 / 6.0, 0.5)
                .of(t.clone())?
                .mul(t)?,
            Self::Function(f) => f.of(t)?,
        })
    }
}

/// Builds `FusedConv`: adds the fourth input, if given, before the activation.
fn conv(node: &NodeSpec<'_>) -> OpResult<Run> {
    let convolution = Convolution::read(node)?;
    let constants = node.floats("activation_params")?.unwrap_or_default();
    let last = Last::read(&node.text("activation", "")?, &constants)?;
    run(move |x| {
        let (input, w, b) = (x.tensor(0)?, x.tensor(1)?, x.tensor_opt(2)?);
        let mut y = convolution.apply(input, w, b)?;
        if let Some(more) = x.tensor_opt(3)? {
            let shape = y.shape();
            y = y.add(more)?;
            if y.shape() != shape {
                return Err(format!("a sum of shape {:?} for {shape:?}", y.shape()));
            }
        }
        one(last.of(y)?)
    })
}

fn gemm(node: &NodeSpec<'_>) -> OpResult<Run> {
    let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
    let (turn_a, turn_b) = (node.flag("transA", false)?, node.flag("transB", false)?);
    let mut constants = Vec::new();
    for name in ["activation_alpha", "activation_beta", "activation_gamma"] {
        constants.extend(node.float_opt(name)?);
    }
    let last = Last::read(&node.text("activation", "")?, &constants)?;
    run(move |x| {
        let (a, b, c) = (x.tensor(0)?, x.tensor(1)?, x.tensor_opt(2)?);
        if a.rank() != 2 || b.rank() != 2 {
            let (a, b) = (a.shape(), b.shape());
            return Err(format!("shapes {a:?} and {b:?}; expected two matrices"));
        }
        let a = if turn_a { a.transposed() } else { a };
        let b = if turn_b { b.transposed() } else { b };
        let mut y = product(a, b, x.device)?.mul_scalar(alpha);
        if let Some(c) = c {
            y = y.add(c.mul_scalar(beta))?;
        }
        one(last.of(y)?)
    })
}

/// Moves the first dimension to the place before the last.
fn batch_turned(t: Tensor, turn: bool) -> Tensor {
    let rank = t.rank();
    if !turn || rank < 3 {
        return t;
    }
    let mut axes: Vec<usize> = (1..rank - 1).collect();
    axes.extend([0, rank - 1]);
    t.permute(&axes)
}

fn matmul(node: &NodeSpec<'_>) -> OpResult<Run> {
    let alpha = node.float("alpha", 1.0)?;
    let flag = |name: &str| node.flag(name, false);
    let (turn_a, turn_b) = (flag("transA")?, flag("transB")?);
    let (batch_a, batch_b) = (flag("transBatchA")?, flag("transBatchB")?);
    run(move |x| {
        let (a, b) = (x.tensor(0)?, x.tensor(1)?);
        let (a, b) = (batch_turned(a, batch_a), batch_turned(b, batch_b));
        // A vector is not transposed.
        let turned = |t: Tensor, turn: bool| {
            if turn && t.rank() > 1 {
                t.transposed()
            } else {
                t
            }
        };
        let y = product(turned(a, turn_a), turned(b, turn_b), x.device)?;
        one(if alpha == 1.0 { y } else { y.mul_scalar(alpha) })
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("FusedConv", conv),
    OperatorEntry::new("FusedGemm", gemm),
    OperatorEntry::new("FusedMatMul", matmul),
    // Former name of `FusedMatMul`, from before it could do more.
    OperatorEntry::new("TransposeMatMul", matmul),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, computed};

    fn conv() -> Case {
        Case::microsoft("FusedConv")
            .scattered(&[1, 2, 4], -1.0, 1.0)
            .scattered(&[3, 2, 2], -1.0, 1.0)
            .scattered(&[3], -1.0, 1.0)
    }

    #[test]
    fn gradients() {
        conv().assert_gradient();
        conv().text("activation", "Relu").assert_gradient();
        let leaky = conv().text("activation", "LeakyRelu");
        leaky.floats("activation_params", &[0.2]).assert_gradient();
        let clip = conv().text("activation", "Clip");
        clip.floats("activation_params", &[-0.3, 0.4])
            .assert_gradient();
        conv()
            .scattered(&[1, 3, 3], -1.0, 1.0)
            .text("activation", "Tanh")
            .assert_gradient();
        let gemm = |name: &str| {
            Case::microsoft("FusedGemm")
                .scattered(&[3, 2], -1.0, 1.0)
                .scattered(&[4, 3], -1.0, 1.0)
                .scattered(&[4], -1.0, 1.0)
                .int("transA", 1)
                .int("transB", 1)
                .float("alpha", 0.5)
                .float("beta", 2.0)
                .text("activation", name)
        };
        for name in [
            "Relu",
            "Selu",
            "HardSwish",
            "Softplus",
            "HardSigmoid",
            "Elu",
        ] {
            gemm(name).assert_gradient();
        }
        let matmul = |a: &[usize], b: &[usize]| {
            Case::microsoft("FusedMatMul")
                .scattered(a, -1.0, 1.0)
                .scattered(b, -1.0, 1.0)
                .float("alpha", 0.5)
        };
        matmul(&[2, 3, 4], &[2, 5, 4])
            .int("transB", 1)
            .assert_gradient();
        matmul(&[2, 4, 3], &[4, 5])
            .int("transA", 1)
            .assert_gradient();
        matmul(&[3, 2, 4], &[4, 2, 5])
            .int("transBatchA", 1)
            .int("transBatchB", 1)
            .assert_gradient();
    }

    #[test]
    fn the_sum_is_added_before_the_activation() {
        let case = Case::microsoft("FusedConv")
            .host(Array::new([1, 1, 2], vec![1.0f32, 2.0]))
            .host(Array::new([1, 1, 1], vec![1.0f32]))
            .absent()
            .host(Array::new([1, 1, 2], vec![-3.0f32, 1.0]))
            .text("activation", "Relu");
        assert_eq!(computed(&case), Array::new([1, 1, 2], vec![0.0f32, 3.0]));
        let problem = conv().text("activation", "Swoosh").run().unwrap_err();
        assert!(problem.contains("Swoosh"), "{problem}");
    }
}
