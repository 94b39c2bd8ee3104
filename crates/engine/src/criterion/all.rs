use std::sync::Arc;

use burn::tensor::Tensor;
use proofmark_domain::Outputs;

use super::Ways;
use crate::{Criterion, EngineError, Focus, Truth};

/// Several criteria, met by the same point. One way: the criterion that is furthest from being met.
#[derive(Debug, Clone)]
pub struct All(Vec<Arc<dyn Criterion>>);

impl All {
    /// Creates the conjunction of criteria of this module, at least one, about the same outputs.
    pub fn new(all: Vec<Arc<dyn Criterion>>) -> Self {
        Self(all)
    }
}

impl Criterion for All {
    fn outputs(&self) -> Outputs {
        self.0.first().map_or(Outputs::Classes, |c| c.outputs())
    }

    fn met_by(&self, outputs: &[f32], truth: &Truth) -> bool {
        self.0.iter().all(|c| c.met_by(outputs, truth))
    }

    fn needs_target(&self) -> bool {
        self.0.iter().any(|c| c.needs_target())
    }

    fn check(&self, width: usize) -> Result<(), EngineError> {
        self.0.iter().try_for_each(|c| c.check(width))
    }

    fn ways(&self) -> Option<&dyn Ways> {
        Some(self)
    }
}

impl Ways for All {
    fn count(&self, _: usize) -> usize {
        1
    }

    fn excess(&self, outputs: &Tensor<2>, focus: &Focus) -> Tensor<2> {
        let each = self.0.iter().filter_map(|c| c.ways());
        let best = each.map(|ways| ways.excess(outputs, focus).max_dim(1));
        Tensor::cat(best.collect(), 1).min_dim(1)
    }
}
