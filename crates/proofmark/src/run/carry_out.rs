//! Carries out the runs of a plan, one after the other.

use std::sync::Arc;

use proofmark_domain::{Cost, Reading, Role};
use proofmark_engine::{
    Access, Attack, Checkpoint, Clean, Criterion, EngineError, Job, Others, Outcomes, Samples,
    Starts, plant,
};
use proofmark_model::wrap::Binarised;
use proofmark_threat::Threat;

use super::RunPlan;
use crate::record::{self, Record, Run, Source};
use crate::{RunCheckpoint, RunError, checkpoint};

/// State known before the first attack.
pub(super) struct Prepared<'a> {
    /// The model as attacks see it: behind the map, if there is one.
    pub(super) model: Access<'a>,
    pub(super) samples: &'a Samples,
    pub(super) clean: &'a [Clean],
    pub(super) reading: &'a Option<Reading>,
    pub(super) tile: Option<usize>,
    pub(super) goal: Arc<dyn Criterion>,
    /// Rows for attacks and baselines.
    pub(super) attacked: Vec<usize>,
    /// Rows for the probe.
    pub(super) probes: Vec<usize>,
    /// Rows that adversarials are planted near.
    pub(super) planted: Vec<usize>,
    pub(super) starts: Option<Arc<Starts>>,
    pub(super) others: Option<Arc<Others>>,
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
                Source::Model if run.role == Role::Planted => {
                    self.planted(prepared, run, job.resume)?
                }
                Source::Model => {
                    let (outcomes, failed) = attacked(prepared.model, run.attack, &job)?;
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
            record.keep(run, outcomes.universal);
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

    /// Plants adversarials near some samples and attacks the model with the heads behind which they lie.
    fn planted(
        &self,
        prepared: &Prepared<'_>,
        run: &Run<'_>,
        resume: Option<&Checkpoint>,
    ) -> Result<(Outcomes, Option<String>), RunError> {
        let (rows, all) = (&prepared.planted, prepared.samples);
        if rows.is_empty() {
            return Ok((Outcomes::default(), None));
        }
        let model = self.model.gradients(run.attack.meta().id)?;
        // The job has samples of its own: all of class 0, that of the points around them.
        let samples = Samples {
            modalities: all.modalities.clone(),
            values: all.gather(rows),
            labels: vec![0; rows.len()],
            targets: None,
            keys: rows.iter().map(|r| all.keys[*r]).collect(),
        };
        let (threat, places) = (run.threat.at(rows), (0..rows.len()).collect::<Vec<_>>());
        // The activations are no scores of a network of kernels, whose rows could be asked about one by one.
        let tile = prepared
            .tile
            .map(|_| self.settings.tile.unwrap_or(Job::TILE));
        let job = self.plain_job(&samples, &places, &threat, tile);
        let attacked = |job: &Job<'_>| -> Result<Outcomes, EngineError> {
            let Some(planted) = plant(model, job)? else {
                return Ok(Outcomes::stopped(job));
            };
            let binarised = Binarised::new(model, planted.heads);
            let on_planted = Job {
                rows: &planted.rows,
                resume,
                ..*job
            };
            if planted.rows.is_empty() {
                return Ok(Outcomes::default());
            }
            let mut outcomes = run.attack.run(Access::Gradients(&binarised), &on_planted)?;
            for outcome in &mut outcomes.rows {
                outcome.queries += planted.queries;
            }
            outcomes.computed += planted.computed;
            Ok(outcomes)
        };
        let (mut outcomes, failed) = match attacked(&job) {
            Ok(outcomes) => (outcomes, None),
            Err(e @ EngineError::Model(_)) => (Outcomes::stopped(&job), Some(e.to_string())),
            Err(e) => return Err(e.into()),
        };
        for outcome in &mut outcomes.rows {
            outcome.row = rows[outcome.row];
        }
        Ok((outcomes, failed))
    }

    /// Returns the job of a run.
    pub(super) fn job<'b>(&'b self, prepared: &'b Prepared<'_>, run: &'b Run<'_>) -> Job<'b> {
        let rows = match run.role {
            Role::Probe => &prepared.probes,
            Role::Planted => &prepared.planted,
            Role::Attack | Role::Baseline => &prepared.attacked,
        };
        let mut job = self.plain_job(prepared.samples, rows, &run.threat, prepared.tile);
        // A probe of a classifier only moves to another class: a lead or a rank may be out of reach for any input.
        if run.role.counts() || !self.criterion.outputs().is_classes() {
            job.goal = prepared.goal.as_ref();
        }
        if run.role.counts() {
            job.starts = prepared.starts.as_ref();
        }
        job.others = prepared.others.as_ref();
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
            judge: self.judge(),
            stop: self.stop,
            ..Job::new(samples, rows, threat, self.progress)
        }
    }
}

/// Runs an attack. If it fails partway (the model breaks down, a device is lost), the other attacks keep their
/// results: its samples are stopped, and the report says why.
fn attacked(
    model: Access<'_>,
    attack: &dyn Attack,
    job: &Job<'_>,
) -> Result<(Outcomes, Option<String>), RunError> {
    if job.rows.is_empty() {
        return Ok((Outcomes::default(), None));
    }
    match attack.run(model, job) {
        Ok(outcomes) => Ok((outcomes, None)),
        Err(e @ EngineError::Model(_)) => Ok((Outcomes::stopped(job), Some(e.to_string()))),
        Err(e) => Err(e.into()),
    }
}
