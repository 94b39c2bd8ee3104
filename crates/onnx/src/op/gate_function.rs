//! The activation functions that recurrent operators name in their attributes.

use crate::node::{NodeSpec, OpResult};
use crate::tensor::Tensor;

/// One function, with its constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    Relu,
    Tanh,
    Sigmoid,
    Softsign,
    Softplus,
    Affine(f64, f64),
    LeakyRelu(f64),
    ThresholdedRelu(f64),
    ScaledTanh(f64, f64),
    HardSigmoid(f64, f64),
    Elu(f64),
}

impl Activation {
    /// Returns the function of that name; takes the constants it needs from the front of the two lists.
    pub(super) fn named(
        name: &str,
        alphas: &mut impl Iterator<Item = f64>,
        betas: &mut impl Iterator<Item = f64>,
    ) -> OpResult<Self> {
        let mut a = |default: f64| alphas.next().unwrap_or(default);
        let mut b = |default: f64| betas.next().unwrap_or(default);
        Ok(match name.to_ascii_lowercase().as_str() {
            "relu" => Self::Relu,
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            "softsign" => Self::Softsign,
            "softplus" => Self::Softplus,
            "affine" => Self::Affine(a(1.0), b(0.0)),
            "leakyrelu" => Self::LeakyRelu(a(f64::from(0.01f32))),
            "thresholdedrelu" => Self::ThresholdedRelu(a(1.0)),
            "scaledtanh" => Self::ScaledTanh(a(1.0), b(1.0)),
            "hardsigmoid" => Self::HardSigmoid(a(f64::from(0.2f32)), b(0.5)),
            "elu" => Self::Elu(a(1.0)),
            _ => return Err(format!("activation `{name}` is not one of ONNX's")),
        })
    }

    /// Reads the functions of every direction, or takes `defaults` for each.
    pub(super) fn read(
        node: &NodeSpec<'_>,
        directions: usize,
        defaults: &[Self],
    ) -> OpResult<Vec<Vec<Self>>> {
        let Some(names) = node.texts("activations")? else {
            return Ok(vec![defaults.to_vec(); directions]);
        };
        if names.len() != directions * defaults.len() {
            return Err(format!(
                "attribute `activations` has {} entries; expected {} for each of {directions} directions",
                names.len(),
                defaults.len()
            ));
        }
        let mut alphas = node
            .floats("activation_alpha")?
            .unwrap_or_default()
            .into_iter();
        let mut betas = node
            .floats("activation_beta")?
            .unwrap_or_default()
            .into_iter();
        let all = names
            .iter()
            .map(|n| Self::named(n, &mut alphas, &mut betas))
            .collect::<OpResult<Vec<_>>>()?;
        Ok(all.chunks(defaults.len()).map(<[Self]>::to_vec).collect())
    }

    /// Applies the function.
    pub(super) fn of(self, x: Tensor) -> OpResult<Tensor> {
        Ok(match self {
            Self::Relu => x.relu(),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => x.sigmoid(),
            Self::Softsign => x.clone().div(x.abs().add_scalar(1.0))?,
            // Neither term overflows.
            Self::Softplus => x.clone().relu().add(x.abs().neg().exp().log1p())?,
            Self::Affine(a, b) => x.mul_scalar(a).add_scalar(b),
            Self::LeakyRelu(a) => x.clone().relu().sub(x.neg().relu().mul_scalar(a))?,
            Self::ThresholdedRelu(a) => x.clone().mul(x.greater_equal_scalar(a).numbers())?,
            Self::ScaledTanh(a, b) => x.mul_scalar(b).tanh().mul_scalar(a),
            Self::HardSigmoid(a, b) => x.mul_scalar(a).add_scalar(b).clamp_min(0.0).clamp_max(1.0),
            Self::Elu(a) => {
                let below = x.clone().neg().relu().neg().exp().sub_scalar(1.0);
                x.relu().add(below.mul_scalar(a))?
            }
        })
    }
}
