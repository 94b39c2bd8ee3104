use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};

use crate::access::{GradientModel, Signature};
use crate::digest::derived;
use crate::{ModelError, Network, Query};

/// Linear classifier of two classes over a model's activations before its last layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// One weight per activation.
    pub weights: Vec<f32>,
    /// Added to the weighted sum. Class 1 wins where the result is above 0.
    pub bias: f32,
}

/// A model whose last linear layer is replaced by a classifier of two classes, another one for each sample.
///
/// With heads that separate one point near a sample from all others around it, it is known where an adversarial is; an
/// attack that does not find it proves nothing by failing. Source: Zimmermann et al., "Increasing Confidence in
/// Adversarial Robustness Evaluations", `NeurIPS` 2022, section 3.
pub struct Binarised<'a> {
    inner: &'a dyn GradientModel,
    heads: BTreeMap<u64, Head>,
    signature: Signature,
}

impl std::fmt::Debug for Binarised<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binarised")
            .field("signature", &self.signature)
            .field("heads", &self.heads.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Binarised<'a> {
    /// Wraps `inner` with a head per sample, by the key of the sample's random streams ([`Query::key`]).
    pub fn new(inner: &'a dyn GradientModel, heads: BTreeMap<u64, Head>) -> Self {
        let of = inner.signature();
        let signature = Signature {
            name: format!("{}+binarised", of.name),
            classes: 2,
            sha256: derived(&of.sha256, "binarised"),
            // The activations may be computed another way than the scores.
            row_independent: false,
            ..of.clone()
        };
        Self {
            inner,
            heads,
            signature,
        }
    }

    fn problem(&self, problem: String) -> ModelError {
        ModelError::Signature {
            model: self.signature.name.clone(),
            problem,
        }
    }
}

impl Network for Binarised<'_> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let found = self.inner.penultimate(query)?;
        let activations = found
            .ok_or_else(|| self.problem("shows no activations before its last layer".into()))?;
        let [rows, width] = activations.dims();
        let (mut weights, mut biases) = (Vec::with_capacity(rows * width), Vec::new());
        for key in &query.key {
            let head = self.heads.get(key).filter(|h| h.weights.len() == width);
            let head = head.ok_or_else(|| {
                self.problem(format!("has no head of width {width} for a sample"))
            })?;
            weights.extend_from_slice(&head.weights);
            biases.push(head.bias);
        }
        let device = activations.device().inner();
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [rows, width]), &device);
        let biases = Tensor::<2>::from_data(TensorData::new(biases, [rows, 1]), &device);
        let score = (activations * weights).sum_dim(1) + biases;
        Ok(Tensor::cat(vec![score.clone().neg(), score], 1))
    }

    fn penultimate(&self, query: &Query) -> Result<Option<Tensor<2>>, ModelError> {
        self.inner.penultimate(query)
    }

    fn cost(&self) -> u64 {
        self.inner.cost()
    }
}
