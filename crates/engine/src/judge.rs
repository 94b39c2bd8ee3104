use proofmark_domain::QueryCount;
use proofmark_model::{DecisionModel, Output, Query};
use proofmark_threat::{Batch, host};
use serde::{Deserialize, Serialize};

use crate::goal::Truth;
use crate::outcome::Point;
use crate::whole;
use crate::{EngineError, Job, Oracle, predict};

/// Number of the judge's draws that must agree.
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

impl Rule {
    /// Returns how many of `draws` must agree.
    pub const fn least(self, draws: u32) -> u32 {
        match self {
            Self::Majority => draws / 2 + 1,
            Self::Any => 1,
            Self::All => draws,
        }
    }
}

/// Re-measures every returned point: fresh forwards, with draws the attack never saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judge {
    /// Fresh forwards per point, at least 1; more than 1 only makes sense for random models.
    pub draws: u32,
    /// How many draws must agree.
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

/// First draw number of the judge; attacks draw from 0.
pub(crate) const FIRST_DRAW: u32 = 1 << 31;

/// A point for the judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) row: usize,
    pub(crate) x: Vec<Vec<f32>>,
}

/// Result of re-measuring a candidate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Measured {
    /// It is adversarial and inside the bounds.
    Adversarial(Point),
    /// It is not adversarial, or not inside the bounds.
    Rejected,
    /// Neither of the two: some answer gives no decision (scores not finite, or a class that does not exist).
    Undecided,
}

impl Judge {
    /// Returns the sample-forwards that one point costs.
    pub(crate) fn cost<M: DecisionModel + ?Sized>(self, oracle: &Oracle<'_, M>) -> QueryCount {
        QueryCount {
            forward: u64::from(self.draws) * oracle.cost(),
            ..QueryCount::default()
        }
    }

    /// Measures each candidate with its own draws; each costs [`Judge::cost`].
    pub(crate) fn measure<M: DecisionModel + ?Sized>(
        self,
        oracle: &mut Oracle<'_, M>,
        job: &Job<'_>,
        candidates: &[&Candidate],
    ) -> Result<Vec<Measured>, EngineError> {
        let read: Vec<Candidate>;
        let rounded: Vec<&Candidate>;
        let candidates = if whole::any(oracle.signature()) {
            let signature = oracle.signature();
            read = candidates
                .iter()
                .map(|c| whole::rounded(signature, job, c))
                .collect();
            rounded = read.iter().collect();
            &rounded
        } else {
            candidates
        };
        let mut verdicts = Vec::with_capacity(candidates.len());
        let modalities = &job.samples.modalities;
        // Batches of at least a tile keep padding down; the answers do not depend on the batch size.
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
            let mut undecided = vec![false; chunk.len()];
            let mut outputs: Vec<Vec<f32>> = vec![Vec::new(); chunk.len()];
            for draw in 0..self.draws {
                let mut query = Query::one_per_row(x.clone(), &key);
                query.draw.fill(FIRST_DRAW + draw);
                let output = oracle.remeasure(&query)?;
                let classes = oracle.signature().classes;
                let answers = answers(&output, classes);
                for (i, answer) in answers.into_iter().enumerate() {
                    let Some(decision) = answer.decision(job, rows[i]) else {
                        undecided[i] = true;
                        continue;
                    };
                    if answer.met(job, rows[i])? {
                        votes[i] += 1;
                        pred[i] = pred[i].or(Some(decision));
                        if outputs[i].is_empty() {
                            outputs[i] = answer.outputs(job);
                        }
                    }
                }
            }
            for (i, c) in chunk.iter().enumerate() {
                let agreed = votes[i] >= self.rule.least(self.draws);
                let x0 = job.samples.sample(c.row);
                let gauge = job.threat.gauge(modalities, c.row, &c.x, &x0);
                verdicts.push(match (agreed, gauge, pred[i]) {
                    (true, Some(gauge), Some(pred)) => Measured::Adversarial(Point {
                        distance: job.threat.distance(&c.x, &x0),
                        x: c.x.clone(),
                        gauge,
                        pred,
                        outputs: std::mem::take(&mut outputs[i]),
                    }),
                    _ if undecided[i] => Measured::Undecided,
                    _ => Measured::Rejected,
                });
            }
        }
        Ok(verdicts)
    }
}

/// A model's answer on one point.
pub(crate) enum Answer {
    Scores(Vec<f32>),
    /// A class; `None` if it does not exist.
    Class(Option<usize>),
}

impl Answer {
    /// Returns the prediction; `None` without a decision.
    fn decision(&self, job: &Job<'_>, row: usize) -> Option<usize> {
        match self {
            Self::Scores(scores) => job.goal.prediction(scores, &truth(job, row)),
            Self::Class(class) => *class,
        }
    }

    /// Returns whether it succeeds for a row.
    pub(crate) fn met(&self, job: &Job<'_>, row: usize) -> Result<bool, EngineError> {
        let truth = truth(job, row);
        match self {
            Self::Scores(scores) => Ok(job.goal.met_by(scores, &truth)),
            Self::Class(None) => Ok(false),
            Self::Class(Some(class)) => job.goal.met_by_class(*class, &truth),
        }
    }

    /// Returns the outputs to be recorded: none if they are classes.
    fn outputs(self, job: &Job<'_>) -> Vec<f32> {
        match self {
            Self::Scores(scores) if !job.goal.outputs().is_classes() => scores,
            Self::Scores(_) | Self::Class(_) => Vec::new(),
        }
    }
}

fn truth(job: &Job<'_>, row: usize) -> Truth {
    Truth {
        sample: row,
        label: job.samples.labels[row],
        target: job.samples.targets.as_ref().map(|t| t[row]),
    }
}

/// Returns the class decided per point; `None` where the answer gives no decision.
pub(crate) fn classes(output: &Output, classes: usize) -> Vec<Option<usize>> {
    let class = |answer: Answer| match answer {
        Answer::Scores(scores) => predict(&scores),
        Answer::Class(class) => class,
    };
    answers(output, classes).into_iter().map(class).collect()
}

/// Returns the answer per point.
pub(crate) fn answers(output: &Output, classes: usize) -> Vec<Answer> {
    match output {
        Output::Scores(scores) => host(scores)
            .chunks(scores.dims()[1])
            .map(|s| Answer::Scores(s.to_vec()))
            .collect(),
        // Class numbers are small, hence exact in `f32`.
        Output::Labels(labels) => host(&labels.clone().float())
            .into_iter()
            .map(|l| {
                let class = usize::try_from(l as i64).ok();
                Answer::Class(class.filter(|c| l >= 0.0 && *c < classes))
            })
            .collect(),
    }
}
