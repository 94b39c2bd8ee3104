use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use proofmark_domain::{ModelPart, Needs};

use super::bpda::join;
use crate::access::Signature;
use crate::digest::derived;
use crate::{ModelError, Network, Query};

/// What an [`Ensemble`] averages over its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Average {
    /// Logits.
    #[default]
    Logits,
    /// Probabilities after a softmax. The scores are the logarithms of the means, so that losses on logits apply.
    Probabilities,
}

impl Average {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Probabilities => "probabilities",
        }
    }
}

/// Several models as one: its scores are means over those of the members.
///
/// As a model under attack it is an ensemble that is deployed as such; as the source of a
/// [`Surrogate`](super::Surrogate), its gradients transfer better than those of one model. Source: Dong et al.,
/// "Boosting Adversarial Attacks with Momentum", CVPR 2018, section 3.4; Liu et al., "Delving into Transferable
/// Adversarial Examples", ICLR 2017. [`MeanLoss`](super::MeanLoss) averages losses.
///
/// ```
/// # use proofmark_domain::{Bounds, Kind, Modality, Needs};
/// # use proofmark_model::{BurnModel, ScoreModel, wrap::{Average, Ensemble}};
/// # let device = burn::tensor::Device::default();
/// # let input = || Modality { name: "x".into(), kind: Kind::Table, shape: vec![2], bounds: Bounds::uniform(0.0, 1.0).unwrap() };
/// # let a = BurnModel::closure(vec![input()], 2, &device, |x| x[0].clone())?;
/// # let b = BurnModel::closure(vec![input()], 2, &device, |x| x[0].clone() * 2.0)?;
/// let both = Ensemble::new(vec![a, b], Average::Probabilities)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Ensemble<N> {
    members: Vec<N>,
    average: Average,
    signature: Signature,
}

impl<N: Network> Ensemble<N> {
    /// Makes one model of `members`. Their inputs, bounds, classes and device must agree; names of inputs may differ,
    /// those of the first count. An error without members.
    pub fn new(members: Vec<N>, average: Average) -> Result<Self, ModelError> {
        let signature = joined(&members, average.as_str())?;
        Ok(Self {
            members,
            average,
            signature,
        })
    }

    pub(super) fn members(&self) -> &[N] {
        &self.members
    }

    /// Returns the mean of the members' scores.
    pub(super) fn mean(&self, scores: Vec<Tensor<2>>) -> Tensor<2> {
        let n = scores.len() as f32;
        match self.average {
            Average::Logits => mean(scores),
            Average::Probabilities => {
                let logs: Vec<_> = scores.into_iter().map(|z| log_softmax(z, 1)).collect();
                // The largest is taken out, so that no exponential vanishes; the derivative does not depend on it.
                let largest = logs.iter().map(|l| l.clone().detach());
                let largest = largest.reduce(Tensor::max_pair).expect("a member");
                let sum = logs.into_iter().map(|l| (l - largest.clone()).exp());
                let sum = sum.reduce(|a, b| a + b).expect("a member");
                (sum / n).log() + largest
            }
        }
    }
}

/// Returns the mean of tensors, summed in their order.
pub(super) fn mean<const D: usize>(all: Vec<Tensor<D>>) -> Tensor<D> {
    let n = all.len() as f32;
    all.into_iter().reduce(|a, b| a + b).expect("a member") / n
}

/// Returns the signature of a mean over `members`.
pub(super) fn joined<N: Network>(members: &[N], of: &str) -> Result<Signature, ModelError> {
    let Some(first) = members.first() else {
        return Err(ModelError::Signature {
            model: "ensemble".into(),
            problem: "no members; expected at least one model".into(),
        });
    };
    let mut signature = first.signature().clone();
    signature.penultimate = None;
    let (mut parts, mut names) = (Vec::new(), Vec::new());
    for (i, member) in members.iter().enumerate() {
        let own = member.signature();
        if let Some(difference) = signature.difference(own) {
            return Err(ModelError::Signature {
                model: own.name.clone(),
                problem: format!(
                    "cannot be averaged with `{}`: they {difference}",
                    signature.name
                ),
            });
        }
        names.push(own.name.clone());
        parts.push(ModelPart {
            name: own.name.clone(),
            sha256: own.sha256.clone(),
        });
        if i > 0 {
            signature.row_independent &= own.row_independent;
            signature.parameters = signature.parameters.zip(own.parameters).map(|(a, b)| a + b);
            signature.activations = signature.activations.max(own.activations);
            for flag in &own.stated {
                join(&mut signature.stated, flag.clone());
            }
        }
    }
    let digests: Vec<&str> = parts.iter().map(|p| p.sha256.as_str()).collect();
    let change = format!("ensemble({of},{})", digests.join(","));
    signature.sha256 = derived("", &change);
    signature.name = format!("mean {of} of {}", names.join(", "));
    signature.members = parts;
    Ok(signature)
}

impl<N: Network> Network for Ensemble<N> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let scores = self.members.iter().map(|m| m.forward(query));
        Ok(self.mean(scores.collect::<Result<_, _>>()?))
    }

    fn gives(&self) -> Needs {
        let each = self.members.iter().map(Network::gives);
        each.min().unwrap_or(Needs::Gradients)
    }

    fn cost(&self) -> u64 {
        self.members.iter().map(Network::cost).sum()
    }
}
