//! Carries out the runs of a plan, one after the other.

use std::sync::Arc;

use proofmark_domain::{Cost, Reading, Role};
use proofmark_engine::{Attack, Clean, EngineError, Goal, Job, Outcomes, Samples, Starts};
use proofmark_threat::Threat;

use super::RunPlan;
use crate::record::{self, Record, Run, Source};
use crate::{RunCheckpoint, RunError, checkpoint};

/// State known before the first attack.
pub(super) struct Prepared<'a> {
    pub(super) samples: &'a Samples,
    pub(super) clean: &'a [Clean],
    pub(super) reading: &'a Option<Reading>,
    pub(super) tile: Option<usize>,
    pub(super) goal: Goal,
    /// Rows for attacks and baselines.
    pub(super) attacked: Vec<usize>,
    /// Rows for the probe.
    pub(super) probes: Vec<usize>,
    pub(super) starts: Option<Arc<Starts>>,
    /// Whether all clean samples were measured; a run stopped before that has no results worth keeping.
    pub(super) is_whole: bool,
}

impl RunPlan<'_> {
    /// Carries out the remaining runs and records them. Returns a checkpoint if one was stopped.
    pub(super) fn carry_out(
        &self,
        prepared: &Prepared<'_>,
        runs: &[Run<'_>],
        record: &mut Record,
    ) -> Result<Option<RunCheckpoint>, RunError> {
        let mut resume = self.resume;
        let done = match resume {
            Some(checkpoint) => record.take_over(runs, &checkpoint.finished)?,
            None => 0,
        };
        let mut stopped = None;
        // Outcomes of the last run from which other runs take theirs.
        let mut last = Outcomes::default();
        for run in &runs[done..] {
            let started = (self.clock)();
            let mut job = self.job(prepared, run);
            self.progress.begin(&run.key, job.rows.len());
            // Only the first remaining run was in progress.
            let earlier = resume.take();
            job.resume = earlier.and_then(|c| c.at.as_ref());
            let (outcomes, failed) = match run.source {
                Source::Model => {
                    let (outcomes, failed) = self.attacked(run.attack, &job)?;
                    if run.is_followed() {
                        last.clone_from(&outcomes);
                    }
                    (outcomes, failed)
                }
                Source::Nearest => (last.within(&job), None),
                Source::Member(i) => record::part(&last, i),
            };
            let mut cost = Cost {
                computed: outcomes.computed,
                seconds: (self.clock)() - started,
            };
            if let Some(earlier) = earlier {
                cost += earlier.at_cost;
            }
            let (outcomes, at) = (outcomes.rows, outcomes.checkpoint);
            // A run that takes its outcomes from another one ended with it.
            let ended = run.source != Source::Model
                || checkpoint::ended(&outcomes, at.as_ref(), (self.stop)());
            if prepared.is_whole && stopped.is_none() && !ended {
                let (at, kept) = ((at, cost), record.finished());
                let reading = prepared.reading.clone();
                let kept = RunCheckpoint::new(self, prepared.clean, reading, kept, at)?;
                stopped = Some(kept);
            }
            record.add(run, outcomes, cost, failed);
        }
        Ok(stopped)
    }

    /// Runs an attack. If it fails partway (the model breaks down, a device is lost), the other attacks keep their
    /// results: its samples are stopped, and the report says why.
    fn attacked(
        &self,
        attack: &dyn Attack,
        job: &Job<'_>,
    ) -> Result<(Outcomes, Option<String>), RunError> {
        if job.rows.is_empty() {
            return Ok((Outcomes::default(), None));
        }
        match attack.run(self.model, job) {
            Ok(outcomes) => Ok((outcomes, None)),
            Err(e @ EngineError::Model(_)) => Ok((Outcomes::stopped(job), Some(e.to_string()))),
            Err(e) => Err(e.into()),
        }
    }

    /// Returns the job of a run.
    pub(super) fn job<'b>(&'b self, prepared: &'b Prepared<'_>, run: &'b Run<'_>) -> Job<'b> {
        let rows = match run.role {
            Role::Probe => &prepared.probes,
            Role::Attack | Role::Baseline => &prepared.attacked,
        };
        let mut job = self.plain_job(prepared.samples, rows, &run.threat, prepared.tile);
        if run.role != Role::Probe {
            job.goal = &prepared.goal;
            job.starts = prepared.starts.as_ref();
        }
        job
    }

    /// Returns an untargeted job without known start points.
    pub(crate) fn plain_job<'b>(
        &'b self,
        samples: &'b Samples,
        rows: &'b [usize],
        threat: &'b Threat,
        tile: Option<usize>,
    ) -> Job<'b> {
        Job {
            seed: self.settings.seed,
            batch: self.settings.batch,
            tile,
            compaction: self.settings.compaction,
            forwards: self.settings.forwards,
            judge: self.settings.judge,
            stop: self.stop,
            ..Job::new(samples, rows, threat, self.progress)
        }
    }
}
