//! Activation functions, some with a bias added first.

use super::super::OperatorEntry;
use super::super::activation::{each, gelu_exact, gelu_tanh, sigmoid_weighted};
use crate::node::{NodeSpec, OpResult, Run, one, run};

/// Builds `BiasGelu`: `Gelu(A + B)`.
fn bias_gelu(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let t = x.tensor(0)?;
        one(gelu_exact(t.add(x.tensor(1)?)?)?)
    })
}

/// Builds `FastGelu`: the tanh approximation of GELU, after adding a bias if there is one.
fn fast_gelu(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let mut t = x.tensor(0)?;
        if let Some(bias) = x.tensor_opt(1)? {
            t = t.add(bias)?;
        }
        one(gelu_tanh(t)?)
    })
}

fn quick_gelu(node: &NodeSpec<'_>) -> OpResult<Run> {
    let alpha = node.float("alpha", 1.702)?;
    each(move |t| sigmoid_weighted(t, alpha))
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Gelu", |_| each(gelu_exact)),
    OperatorEntry::new("BiasGelu", bias_gelu),
    OperatorEntry::new("FastGelu", fast_gelu),
    OperatorEntry::new("QuickGelu", quick_gelu),
];

#[cfg(test)]
mod tests {
    use crate::check::{Case, computed};

    #[test]
    fn gradients() {
        let value = |op: &str| Case::microsoft(op).scattered(&[2, 3], -3.0, 3.0);
        value("Gelu").assert_gradient();
        value("FastGelu").assert_gradient();
        value("QuickGelu").assert_gradient();
        value("QuickGelu").float("alpha", 0.7).assert_gradient();
        for op in ["BiasGelu", "FastGelu"] {
            value(op).scattered(&[3], -1.0, 1.0).assert_gradient();
        }
    }

    #[test]
    fn values() {
        let at = |op: &str| {
            let case = Case::microsoft(op).tracked(&[1], vec![1.5]);
            computed(&case).to_f64().unwrap()[0]
        };
        // 1.5 Φ(1.5); x / (1 + exp(-1.702 x)).
        assert!((at("Gelu") - 1.5 * 0.933_192_798_731_142).abs() < 1e-6);
        assert!((at("QuickGelu") - 1.5 / (1.0 + (-1.702f64 * 1.5).exp())).abs() < 1e-6);
    }
}
