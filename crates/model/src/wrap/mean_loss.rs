use burn::tensor::Tensor;
use proofmark_threat::Batch;

use super::ensemble::{Average, Ensemble, joined, mean};
use crate::access::{
    Access, DecisionModel, Gradient, GradientModel, Objective, Output, ScoreModel, Signature,
};
use crate::{ModelError, Network, Query};

/// Several models whose losses are averaged: the third way to attack several at once, besides those of [`Ensemble`].
///
/// Its gradient of an objective is the mean of the members' gradients of it, each at its own scores. Its scores are the
/// members' mean logits.
#[derive(Debug)]
pub struct MeanLoss<N> {
    inner: Ensemble<N>,
    signature: Signature,
}

impl<N: Network> MeanLoss<N> {
    /// Makes one model of `members`, under the conditions of [`Ensemble::new`].
    pub fn new(members: Vec<N>) -> Result<Self, ModelError> {
        let signature = joined(&members, "losses")?;
        let inner = Ensemble::new(members, Average::Logits)?;
        Ok(Self { inner, signature })
    }
}

impl<N: Network> DecisionModel for MeanLoss<N> {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn access(&self) -> Access<'_> {
        Access::Gradients(self)
    }

    fn decide(&self, query: &Query) -> Result<Output, ModelError> {
        self.inner.decide(query)
    }

    fn cost(&self) -> u64 {
        Network::cost(&self.inner)
    }
}

impl<N: Network> ScoreModel for MeanLoss<N> {
    fn scores(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        self.inner.scores(query)
    }
}

impl<N: Network> GradientModel for MeanLoss<N> {
    fn gradient(&self, query: &Query, objective: &Objective<'_>) -> Result<Gradient, ModelError> {
        let each = self.inner.members().iter();
        let each = each.map(|m| GradientModel::gradient(m, query, objective));
        let each: Vec<Gradient> = each.collect::<Result<_, _>>()?;
        let block = |i: usize| {
            mean(
                each.iter()
                    .map(|g| g.gradient.blocks()[i].clone())
                    .collect(),
            )
        };
        let blocks = (0..query.x.blocks().len()).map(block).collect();
        Ok(Gradient {
            scores: self
                .inner
                .mean(each.iter().map(|g| g.scores.clone()).collect()),
            loss: mean(each.iter().map(|g| g.loss.clone()).collect()),
            gradient: Batch::new(query.x.modalities().clone(), blocks)?,
        })
    }
}
