use proofmark_domain::{Observation, QueryCount, RunStatus};
use serde::{Deserialize, Serialize};

use crate::Checkpoint;

/// A re-measured adversarial point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its values, per modality, data units.
    pub x: Vec<Vec<f32>>,
    /// Its gauge, in `f64`.
    pub gauge: f64,
    /// Its distance in the leading modality's norm, data units.
    pub distance: f64,
    /// The class that wins there.
    pub pred: usize,
}

/// What became of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its place in the samples.
    pub row: usize,
    /// What became of it.
    pub status: RunStatus,
    /// The adversarial found: within budget if `status` is broken; a minimum-norm attack also returns the
    /// nearest point it found outside the budget.
    pub point: Option<Point>,
    /// Queries spent, judging included.
    pub queries: QueryCount,
    /// What was seen that trust rules count, sorted.
    pub observed: Vec<Observation>,
    /// The best value it reached of what the attack climbs, over all restarts that came to their end; `None`
    /// where the attack does not say ([`Stepper::reached`](crate::Stepper::reached)).
    pub reached: Option<f32>,
}

/// What became of every row of a job, in the job's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcomes {
    /// One per row.
    pub rows: Vec<Outcome>,
    /// Sample-forwards that the model computed for them: those in the ledgers of the rows, padding of tiles, and tries that
    /// came to nothing as an earlier one succeeded.
    pub computed: u64,
    /// Where to go on, if the run was stopped.
    pub checkpoint: Option<Checkpoint>,
}
