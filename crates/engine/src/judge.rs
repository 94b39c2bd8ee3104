use proofmark_model::{DecisionModel, Output, Query};
use proofmark_threat::{Batch, host};

use crate::outcome::Point;
use crate::whole;
use crate::{EngineError, Job, Oracle, predict};

/// How many of a judge's draws must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// More than half.
    #[default]
    Majority,
    /// At least one.
    Any,
    /// Every one.
    All,
}

/// Measures every returned point again: fresh forwards, with draws the attack never saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judge {
    /// Fresh forwards per point, at least 1; more than 1 only makes sense for random models.
    pub draws: u32,
    /// How many must agree.
    pub rule: Rule,
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            draws: 1,
            rule: Rule::Majority,
        }
    }
}

/// Draw numbers of the judge start here; attacks draw from 0.
const FIRST_DRAW: u32 = 1 << 31;

/// A point to be judged.
pub(crate) struct Candidate {
    pub(crate) row: usize,
    pub(crate) x: Vec<Vec<f32>>,
}

impl Judge {
    /// The verdict on each candidate: the measured point if it is adversarial, inside bounds and (where
    /// `limit` says so) within budget, else `None`.
    pub(crate) fn measure<M: DecisionModel + ?Sized>(
        self,
        oracle: &mut Oracle<'_, M>,
        job: &Job<'_>,
        candidates: &[Candidate],
    ) -> Result<Vec<Option<Point>>, EngineError> {
        let read: Vec<Candidate>;
        let candidates = if whole::any(oracle.signature()) {
            let signature = oracle.signature();
            read = candidates
                .iter()
                .map(|c| whole::rounded(signature, job, c))
                .collect();
            &read
        } else {
            candidates
        };
        let mut verdicts = Vec::with_capacity(candidates.len());
        let modalities = &job.samples.modalities;
        // Judging in batches of at least a tile keeps padding down; the answers do not depend on it.
        let at_once = job.batch.max(job.tile.unwrap_or(1));
        for chunk in candidates.chunks(at_once) {
            let values = (0..modalities.len())
                .map(|m| chunk.iter().flat_map(|c| c.x[m].iter().copied()).collect())
                .collect();
            let x = Batch::from_host(modalities.clone(), values, oracle.device())?;
            let rows: Vec<usize> = chunk.iter().map(|c| c.row).collect();
            let key: Vec<u64> = rows.iter().map(|r| job.samples.keys[*r]).collect();
            let mut votes = vec![0; chunk.len()];
            let mut pred = vec![None; chunk.len()];
            for draw in 0..self.draws {
                let mut query = Query::one_per_row(x.clone(), &key);
                query.draw.fill(FIRST_DRAW + draw);
                let output = oracle.remeasure(&rows, &query)?;
                for (i, (met, class)) in judged(&output, job, &rows).into_iter().enumerate() {
                    if met {
                        votes[i] += 1;
                        pred[i] = pred[i].or(class);
                    }
                }
            }
            for (i, c) in chunk.iter().enumerate() {
                let agreed = match self.rule {
                    Rule::Majority => 2 * votes[i] > self.draws,
                    Rule::Any => votes[i] > 0,
                    Rule::All => votes[i] == self.draws,
                };
                let x0 = job.samples.sample(c.row);
                let gauge = job.threat.gauge(modalities, c.row, &c.x, &x0);
                verdicts.push(match (agreed, gauge, pred[i]) {
                    (true, Some(gauge), Some(pred)) => Some(Point {
                        distance: job.threat.distance(&c.x, &x0),
                        x: c.x.clone(),
                        gauge,
                        pred,
                    }),
                    _ => None,
                });
            }
        }
        Ok(verdicts)
    }
}

/// Per point: whether the goal is met, and the class that won.
fn judged(output: &Output, job: &Job<'_>, rows: &[usize]) -> Vec<(bool, Option<usize>)> {
    let label = |i: usize| job.samples.labels[rows[i]];
    let target = |i: usize| job.samples.targets.as_ref().map(|t| t[rows[i]]);
    match output {
        Output::Scores(scores) => {
            let classes = scores.dims()[1];
            host(scores)
                .chunks(classes)
                .enumerate()
                .map(|(i, s)| (job.goal.met_by(s, label(i), target(i)), predict(s)))
                .collect()
        }
        Output::Labels(labels) => {
            // Class numbers are small: exact in f32.
            host(&labels.clone().float())
                .into_iter()
                .map(|l| l as i64)
                .enumerate()
                .map(|(i, l)| {
                    let met = job.goal.met_by_class(l, label(i), target(i));
                    (met, usize::try_from(l).ok())
                })
                .collect()
        }
        // `Output` grows with new kinds of model; none of them reaches a classification judge.
        _ => vec![(false, None); rows.len()],
    }
}
