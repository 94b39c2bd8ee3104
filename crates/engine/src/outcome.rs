use proofmark_domain::{Observation, QueryCount, RunStatus};
use serde::{Deserialize, Serialize};

use crate::{Checkpoint, Job, Part};

/// A re-measured adversarial point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its values, per modality, data units.
    pub x: Vec<Vec<f32>>,
    /// Its gauge, computed in `f64`.
    pub gauge: f64,
    /// Its distance in the leading modality's norm, in data units.
    pub distance: f64,
    /// The predicted class; 1 if the outputs are not classes.
    pub pred: usize,
    /// The model's outputs, if they are not classes.
    pub outputs: Vec<f32>,
}

/// Outcome of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Place in the samples.
    pub row: usize,
    /// Status of the row.
    pub status: RunStatus,
    /// Status if its point did not count: robust only if the search ran to its end. Differs from `status` where that is
    /// broken.
    pub without_point: RunStatus,
    /// The adversarial found: within the budget if `status` is broken; a minimum-norm attack also returns the nearest
    /// point it found outside the budget.
    pub point: Option<Point>,
    /// Queries used, including judging.
    pub queries: QueryCount,
    /// Observations that trust rules count, sorted.
    pub observed: Vec<Observation>,
    /// Best value reached of the quantity that the attack maximises, over all completed restarts; `None` if the attack
    /// does not report it ([`Stepper::reached`](crate::Stepper::reached)).
    pub reached: Option<f32>,
}

impl Outcome {
    /// Creates the outcome of a row with this status and no queries.
    pub(crate) fn new(row: usize, status: RunStatus) -> Self {
        Self {
            row,
            status,
            without_point: status,
            point: None,
            queries: QueryCount::default(),
            observed: Vec::new(),
            reached: None,
        }
    }

    /// Adds an observation, once.
    pub(crate) fn observe(&mut self, what: Observation) {
        if let Err(at) = self.observed.binary_search(&what) {
            self.observed.insert(at, what);
        }
    }
}

/// Outcomes of all rows of a job, in the job's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcomes {
    /// One per row.
    pub rows: Vec<Outcome>,
    /// Sample-forwards that the model computed for them: those counted for the rows, padding of tiles, and restarts
    /// discarded because an earlier one succeeded.
    pub computed: u64,
    /// Result of each member, if the attack is a suite.
    pub parts: Vec<Part>,
    /// The change that was fitted for all samples, per modality in data units, if the attack is universal.
    pub universal: Option<crate::Change>,
    /// State to resume from, if the run was stopped.
    pub checkpoint: Option<Checkpoint>,
}

impl Outcomes {
    /// Creates outcomes in which every row of a job is stopped without a query.
    pub fn stopped(job: &Job<'_>) -> Self {
        let row = |row: &usize| Outcome::new(*row, RunStatus::Stopped);
        Self {
            rows: job.rows.iter().map(row).collect(),
            ..Self::default()
        }
    }

    /// Re-evaluates the points of a minimum-norm attack against another budget. `job` has the same rows and a budget
    /// that is a multiple of the original ([`Threat::is_multiple_of`](proofmark_threat::Threat::is_multiple_of)). The
    /// points were already measured and only their gauge changes, so the model is not queried.
    #[must_use]
    pub fn within(&self, job: &Job<'_>) -> Self {
        let rows = self.rows.iter().map(|o| {
            let mut outcome = Outcome {
                queries: QueryCount::default(),
                status: o.without_point,
                ..o.clone()
            };
            let modalities = &job.samples.modalities;
            let x0 = job.samples.sample(o.row);
            outcome.point = outcome.point.and_then(|point| {
                let gauge = job.threat.gauge(modalities, o.row, &point.x, &x0)?;
                Some(Point { gauge, ..point })
            });
            if outcome.point.as_ref().is_some_and(|p| p.gauge <= 1.0) {
                outcome.status = RunStatus::Broken;
            }
            outcome
        });
        Self {
            rows: rows.collect(),
            ..Self::default()
        }
    }
}
