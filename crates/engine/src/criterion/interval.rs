use burn::tensor::Tensor;
use proofmark_domain::Outputs;

use super::{Ways, columns};
use crate::{Criterion, Focus, Truth};

/// An output leaves an interval. One way per output and end.
#[derive(Debug, Clone)]
pub struct Interval {
    low: Option<f64>,
    high: Option<f64>,
    outputs: Vec<usize>,
}

impl Interval {
    /// Creates the criterion on these outputs; at least one end is given.
    pub fn new(low: Option<f64>, high: Option<f64>, outputs: Vec<usize>) -> Self {
        Self { low, high, outputs }
    }
}

impl Criterion for Interval {
    fn outputs(&self) -> Outputs {
        Outputs::Values
    }

    fn met_by(&self, values: &[f32], _: &Truth) -> bool {
        self.outputs.iter().any(|o| {
            let value = f64::from(values[*o]);
            self.low.is_some_and(|low| value < low) || self.high.is_some_and(|high| value > high)
        })
    }

    fn ways(&self) -> Option<&dyn Ways> {
        Some(self)
    }
}

impl Ways for Interval {
    fn count(&self, _: usize) -> usize {
        let ends = usize::from(self.low.is_some()) + usize::from(self.high.is_some());
        ends * self.outputs.len()
    }

    fn excess(&self, values: &Tensor<2>, _: &Focus) -> Tensor<2> {
        let values = columns(values, &self.outputs);
        let mut ways = Vec::new();
        if let Some(low) = self.low {
            ways.push(values.clone().neg() + low);
        }
        if let Some(high) = self.high {
            ways.push(values - high);
        }
        Tensor::cat(ways, 1)
    }
}
