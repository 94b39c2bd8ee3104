use proofmark_domain::Seed;

use super::check::{Check, Task};

/// One measurement a policy needs: what the runner turns into evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Id of the check it is for.
    pub check: String,
    /// What is measured.
    pub task: Task,
    /// Seed of the run.
    pub seed: Seed,
}

impl Job {
    pub(crate) fn of(check: &Check, seed: Seed) -> Self {
        Self {
            check: check.id.clone(),
            task: check.task.clone(),
            seed,
        }
    }
}
