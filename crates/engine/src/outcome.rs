use proofmark_domain::{Observation, QueryCount, RunStatus};
use serde::{Deserialize, Serialize};

use crate::{Checkpoint, Job, Part};

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
    /// What it would be if its point did not count: robust only if the search came to its end. Differs from `status` where
    /// that is broken.
    pub without_point: RunStatus,
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

impl Outcome {
    /// A row of this status, of which nothing was asked.
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

    /// Adds what was seen, once.
    pub(crate) fn observe(&mut self, what: Observation) {
        if let Err(at) = self.observed.binary_search(&what) {
            self.observed.insert(at, what);
        }
    }
}

/// What became of every row of a job, in the job's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcomes {
    /// One per row.
    pub rows: Vec<Outcome>,
    /// Sample-forwards that the model computed for them: those in the ledgers of the rows, padding of tiles, and tries that
    /// came to nothing as an earlier one succeeded.
    pub computed: u64,
    /// What each member came to, if the attack is made of others.
    pub parts: Vec<Part>,
    /// Where to go on, if the run was stopped.
    pub checkpoint: Option<Checkpoint>,
}

impl Outcomes {
    /// Every row of a job stopped, nothing asked.
    pub fn stopped(job: &Job<'_>) -> Self {
        let row = |row: &usize| Outcome::new(*row, RunStatus::Stopped);
        Self {
            rows: job.rows.iter().map(row).collect(),
            ..Self::default()
        }
    }

    /// What a minimum-norm attack found, held against another budget than its own: `job` has the same rows and a budget
    /// that is a multiple ([`Threat::is_multiple_of`](proofmark_threat::Threat::is_multiple_of)). The points were measured
    /// when they were found; only how large they are in that budget is new, so nothing is asked of the model.
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
