use std::sync::Arc;

use burn::tensor::Tensor;
use proofmark_domain::Outputs;

use super::{Ways, columns, numbers};
use crate::{Criterion, Focus, Truth};

/// An output differs from its reference by more than its bound.
///
/// Two ways per output, up and down, in units of its bound. The distance itself has no gradient where it is 0, which is
/// the clean sample if its own answer is the reference; each way has one everywhere.
#[derive(Debug, Clone)]
pub struct Regression {
    outputs: Vec<usize>,
    /// One per entry of `outputs`.
    bounds: Vec<f64>,
    /// Per sample and output of the model.
    reference: Arc<[f64]>,
    width: usize,
}

impl Regression {
    /// Creates the criterion on these outputs, each below `width`, with a bound above 0 for each; `reference` holds
    /// `width` numbers per sample.
    pub fn new(outputs: Vec<usize>, bounds: Vec<f64>, reference: Arc<[f64]>, width: usize) -> Self {
        Self {
            outputs,
            bounds,
            reference,
            width,
        }
    }

    fn reference(&self, sample: usize, output: usize) -> f64 {
        self.reference[sample * self.width + output]
    }
}

impl Criterion for Regression {
    fn outputs(&self) -> Outputs {
        Outputs::Values
    }

    fn met_by(&self, values: &[f32], truth: &Truth) -> bool {
        let beyond = |(output, bound): (&usize, &f64)| {
            let reference = self.reference(truth.sample, *output);
            (f64::from(values[*output]) - reference).abs() > *bound
        };
        self.outputs.iter().zip(&self.bounds).any(beyond)
    }

    fn ways(&self) -> Option<&dyn Ways> {
        Some(self)
    }
}

impl Ways for Regression {
    fn count(&self, _: usize) -> usize {
        2 * self.outputs.len()
    }

    fn excess(&self, values: &Tensor<2>, focus: &Focus) -> Tensor<2> {
        let samples = focus.sample();
        let each = |number: &dyn Fn(usize, usize) -> f64| {
            let all = samples
                .iter()
                .flat_map(|s| (0..self.outputs.len()).map(move |o| number(*s, o) as f32));
            numbers(all.collect(), self.outputs.len(), values)
        };
        let reference = each(&|s, o| self.reference(s, self.outputs[o]));
        let bound = each(&|_, o| self.bounds[o]);
        let moved = (columns(values, &self.outputs) - reference) / bound;
        Tensor::cat(vec![moved.clone() - 1.0, moved.neg() - 1.0], 1)
    }
}
