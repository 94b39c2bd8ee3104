//! A model that sees its input through Gaussian noise, a new one for every draw: what attacks on a smoothed model query.

use burn::tensor::{Tensor, TensorData};
use proofmark_domain::Seed;
use proofmark_model::{
    Access, DecisionModel, Gradient, GradientModel, ModelError, Objective, Output, Query,
    ScoreModel, Signature,
};
use proofmark_threat::Batch;

use super::{Stage, stream};

/// A model under noise. Attack it with means over draws ([`Oracle::mean_gradient`](crate::Oracle::mean_gradient)).
#[derive(Clone, Copy)]
pub struct Noisy<'a> {
    inner: &'a dyn GradientModel,
    sigma: f32,
    seed: Seed,
}

impl std::fmt::Debug for Noisy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Noisy")
            .field("inner", &self.inner.signature().name)
            .field("sigma", &self.sigma)
            .finish_non_exhaustive()
    }
}

impl<'a> Noisy<'a> {
    /// Puts noise of standard deviation `sigma`, data units, before a model.
    pub fn new(inner: &'a dyn GradientModel, sigma: f32, seed: Seed) -> Self {
        Self { inner, sigma, seed }
    }

    /// The query with each point's noise added; it follows from the point's sample and draw.
    fn drawn(&self, query: &Query) -> Result<Query, ModelError> {
        let modalities = query.x.modalities().clone();
        let mut values: Vec<Vec<f32>> = modalities.iter().map(|_| Vec::new()).collect();
        for (key, draw) in query.key.iter().zip(&query.draw) {
            let mut stream = stream(self.seed, *key, Stage::Attack, *draw);
            for (all, modality) in values.iter_mut().zip(modalities.iter()) {
                all.extend((0..modality.features()).map(|_| self.sigma * stream.normal()));
            }
        }
        let blocks = query.x.blocks().iter().zip(values).map(|(block, noise)| {
            let noise = TensorData::new(noise, block.dims());
            block.clone() + Tensor::from_data(noise, &block.device())
        });
        Ok(query.with_x(Batch::new(modalities.clone(), blocks.collect())?))
    }
}

impl DecisionModel for Noisy<'_> {
    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn access(&self) -> Access<'_> {
        Access::Gradients(self)
    }

    fn decide(&self, query: &Query) -> Result<Output, ModelError> {
        self.inner.decide(&self.drawn(query)?)
    }

    fn cost(&self) -> u64 {
        self.inner.cost()
    }
}

impl ScoreModel for Noisy<'_> {
    fn scores(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        self.inner.scores(&self.drawn(query)?)
    }
}

impl GradientModel for Noisy<'_> {
    fn gradient(&self, query: &Query, objective: &Objective<'_>) -> Result<Gradient, ModelError> {
        self.inner.gradient(&self.drawn(query)?, objective)
    }
}
