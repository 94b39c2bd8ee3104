use std::iter::Sum;
use std::ops::{AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// Number of model queries, in samples (not batches; padding rows are not counted).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryCount {
    /// Forward passes of the model.
    pub forward: u64,
    /// Backward passes of the model.
    pub backward: u64,
    /// Forward passes of the surrogate whose gradients stand for the model's, if there is one.
    pub surrogate_forward: u64,
    /// Backward passes of the surrogate.
    pub surrogate_backward: u64,
}

impl AddAssign for QueryCount {
    fn add_assign(&mut self, other: Self) {
        self.forward += other.forward;
        self.backward += other.backward;
        self.surrogate_forward += other.surrogate_forward;
        self.surrogate_backward += other.surrogate_backward;
    }
}

impl Sub for QueryCount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            forward: self.forward - other.forward,
            backward: self.backward - other.backward,
            surrogate_forward: self.surrogate_forward - other.surrogate_forward,
            surrogate_backward: self.surrogate_backward - other.surrogate_backward,
        }
    }
}

impl Sum for QueryCount {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, c| {
            sum += c;
            sum
        })
    }
}
