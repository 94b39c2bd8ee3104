use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What a model was asked, in samples (not batches; padding rows are not counted).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryCount {
    /// Forward passes.
    pub forward: u64,
    /// Backward passes.
    pub backward: u64,
}

impl AddAssign for QueryCount {
    fn add_assign(&mut self, other: Self) {
        self.forward += other.forward;
        self.backward += other.backward;
    }
}
