//! Results of a plan's runs on each sample.

use std::collections::BTreeMap;

use proofmark_data::Dataset;
use proofmark_domain::{
    CertificateMeta, Cost, MapSpec, Observation, Role, RunMeta, RunOutcome, RunStatus,
    SampleRecord, ThreatRecord,
};
use proofmark_engine::{Aim, Attack, Change, Clean, Needs, Outcome, Outcomes, Point, Samples};
use proofmark_gate::{ReportHead, summarise};
use proofmark_threat::Threat;
use serde_json::{Value, json};

use crate::certify::{Certified, contradiction};
use crate::checkpoint::Finished;
use crate::{Measurement, RunCheckpoint, RunError};

/// Source of a run's outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Queries of the model.
    Model,
    /// The nearest points that the run before it found, at another budget.
    Nearest,
    /// The suite before it; this run is the member at this index.
    Member(usize),
}

/// Returns the outcomes of a member of a suite, and why it failed, if it did.
pub(crate) fn part(suite: &Outcomes, i: usize) -> (Outcomes, Option<String>) {
    suite.parts.get(i).map_or_else(Default::default, |part| {
        let outcomes = Outcomes {
            rows: part.rows.clone(),
            computed: part.computed,
            ..Outcomes::default()
        };
        (outcomes, part.failed.clone())
    })
}

/// One attack at one budget.
pub(crate) struct Run<'a> {
    pub(crate) key: String,
    pub(crate) attack: &'a dyn Attack,
    pub(crate) role: Role,
    /// Source of its outcomes.
    pub(crate) source: Source,
    pub(crate) threat: Threat,
    /// Whether the criterion is not about classes, so that attacks climb a loss of its own.
    pub(crate) is_property: bool,
    gradient: bool,
    record: ThreatRecord,
}

impl<'a> Run<'a> {
    /// Creates a run. `whole` describes the threat over all shards; the keys of a probe and of a
    /// planted run have no norm.
    pub(crate) fn new(
        attack: &'a dyn Attack,
        role: Role,
        threat: &Threat,
        whole: ThreatRecord,
    ) -> Self {
        let meta = attack.meta();
        let at = match role {
            Role::Probe => whole.text.clone(),
            Role::Planted => "planted".to_owned(),
            Role::Attack | Role::Baseline => format!("{}:{}", whole.norm, whole.text),
        };
        Self {
            key: format!("{}@{at}", meta.id),
            attack,
            source: Source::Model,
            role,
            is_property: false,
            gradient: meta.needs == Needs::Gradients,
            threat: threat.clone(),
            record: whole,
        }
    }

    /// Returns the run of this suite's `i`th member, `attack`.
    pub(crate) fn member(&self, i: usize, attack: &'a dyn Attack) -> Self {
        let member = Self::new(
            attack,
            attack.meta().role,
            &self.threat,
            self.record.clone(),
        );
        Self {
            key: format!("{}/{}", self.attack.meta().id, member.key),
            source: Source::Member(i),
            ..member
        }
    }

    /// Returns the same run; it follows gradients if one of these members does.
    pub(crate) fn of_members(self, members: &[Self]) -> Self {
        Self {
            gradient: self.gradient || members.iter().any(|m| m.gradient),
            ..self
        }
    }

    /// Whether other runs take their outcomes from this one.
    pub(crate) fn is_followed(&self) -> bool {
        self.attack.aim() == Aim::Minimise || !self.attack.members().is_empty()
    }

    /// Returns the same run, taking its outcomes from an earlier run of its attack that found the nearest points.
    pub(crate) fn follows(self) -> Self {
        Self {
            source: Source::Nearest,
            ..self
        }
    }

    /// Returns everything that determines its results, for the plan: all that a report says of it except its figures.
    pub(crate) fn resolved(&self) -> Value {
        let mut resolved = json!(self.meta(Cost::default(), None));
        if let Value::Object(fields) = &mut resolved {
            fields.remove("seconds");
            fields.remove("computed");
        }
        resolved
    }

    fn meta(&self, cost: Cost, failed: Option<String>) -> RunMeta {
        let mut parameters = self.attack.parameters();
        if let Some(loss) = parameters.get_mut("loss").filter(|_| self.is_property) {
            *loss = json!("criterion");
        }
        RunMeta {
            key: self.key.clone(),
            id: self.attack.meta().id.to_owned(),
            version: self.attack.meta().version,
            role: self.role,
            gradient: self.gradient,
            threat: self.record.clone(),
            parameters,
            step_size: self.attack.step_sizes(&self.record),
            cost,
            failed,
        }
    }
}

/// Numbers repeated keys: the same attack may be listed twice with different parameters.
pub(crate) fn unique_keys(runs: &mut [Run<'_>]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs {
        let n = seen.entry(run.key.clone()).or_default();
        *n += 1;
        if *n > 1 {
            run.key = format!("{}#{n}", run.key);
        }
    }
}

/// The samples without attack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CleanSamples<'a> {
    /// Those measured; if the run was stopped, not all of them.
    pub(crate) all: &'a [Clean],
    /// Whether the criterion leaves each of them to be attacked.
    pub(crate) holds: &'a [bool],
    /// Whether the outputs are not classes, so that records show them.
    pub(crate) is_property: bool,
}

/// Outcomes of every sample, filled in run by run.
pub(crate) struct Record {
    samples: Vec<SampleRecord>,
    metas: Vec<RunMeta>,
    /// Adversarial of the smallest budget so far, with that budget, per sample.
    best: Vec<Option<(f64, Point)>>,
    /// Universal changes by the key of their run.
    universal: Vec<(String, Change)>,
    certificates: Vec<CertificateMeta>,
}

impl Record {
    /// Creates a record without runs.
    pub(crate) fn new(
        data: &Dataset,
        samples: &Samples,
        clean: &CleanSamples<'_>,
        targets: Option<&[Option<usize>]>,
    ) -> Self {
        let with = clean.all.iter().zip(clean.holds);
        let measured: BTreeMap<usize, (&Clean, bool)> =
            with.map(|(c, h)| (c.row, (c, *h))).collect();
        let outputs = |row: usize| {
            let of = measured.get(&row).filter(|_| clean.is_property);
            of.and_then(|(c, _)| c.scores.clone()).unwrap_or_default()
        };

        let sample = |row: usize| SampleRecord {
            id: data.ids[row].clone(),
            label: samples.labels[row],
            target: targets.and_then(|t| t[row]),
            clean_pred: measured.get(&row).and_then(|(c, _)| c.pred),
            adv_pred: None,
            clean_correct: measured.get(&row).is_some_and(|(_, holds)| *holds),
            clean_outputs: outputs(row),
            adv_outputs: Vec::new(),
            broken_by: None,
            gauge: None,
            distance: None,
            norm: None,
            observed: measured
                .get(&row)
                .map_or_else(Vec::new, |(c, _)| c.observed.clone()),
            runs: Vec::new(),
            certificates: Vec::new(),
            groups: data
                .groups
                .iter()
                .map(|(attribute, values)| (attribute.clone(), values[row].clone()))
                .collect(),
        };
        Self {
            universal: Vec::new(),
            samples: (0..data.len()).map(sample).collect(),
            metas: Vec::new(),
            best: vec![None; data.len()],
            certificates: Vec::new(),
        }
    }

    /// Takes over the results of the first of `runs` from a checkpoint and returns their number; refuses results of
    /// other runs.
    pub(crate) fn take_over(
        &mut self,
        runs: &[Run<'_>],
        finished: &Finished,
    ) -> Result<usize, RunError> {
        let outcomes = finished.outcomes()?;
        let n = finished.costs.len();
        let theirs = |o: &Vec<RunOutcome>| {
            o.iter()
                .map(|o| &o.run)
                .eq(runs[..n].iter().map(|r| &r.key))
        };
        if n > runs.len()
            || finished.failed.len() != n
            || outcomes.len() != self.samples.len()
            || !outcomes.iter().all(theirs)
        {
            return Err(RunError::Checkpoint(format!(
                "its outcomes do not fit; expected those of the first {n} of {} runs on {} samples",
                runs.len(),
                self.samples.len()
            )));
        }
        for (sample, outcomes) in self.samples.iter_mut().zip(outcomes) {
            sample.runs = outcomes;
        }
        let metas = runs.iter().zip(finished.costs.iter().zip(&finished.failed));
        self.metas = metas
            .map(|(run, (cost, failed))| run.meta(*cost, failed.clone()))
            .collect();
        self.best.clone_from(&finished.best);
        Ok(n)
    }

    /// Returns the results of the runs added so far.
    pub(crate) fn finished(&self) -> Finished {
        let outcomes: Vec<&[RunOutcome]> = self.samples.iter().map(|s| &s.runs[..]).collect();
        let costs = self.metas.iter().map(|m| m.cost).collect();
        let failed = self.metas.iter().map(|m| m.failed.clone()).collect();
        Finished::new(costs, failed, &outcomes, self.best.clone())
    }

    /// Keeps the universal change of a run, if its attack fitted one.
    pub(crate) fn keep(&mut self, run: &Run<'_>, change: Option<Change>) {
        self.universal.extend(change.map(|c| (run.key.clone(), c)));
    }

    /// Adds the outcomes of a run.
    pub(crate) fn add(
        &mut self,
        run: &Run<'_>,
        outcomes: Vec<Outcome>,
        cost: Cost,
        failed: Option<String>,
    ) {
        let mut by_row: BTreeMap<usize, Outcome> =
            outcomes.into_iter().map(|o| (o.row, o)).collect();
        for row in 0..self.samples.len() {
            let outcome = by_row.remove(&row);
            if let Some(o) = &outcome {
                self.note(run, row, o);
            }
            let sample = &mut self.samples[row];
            sample.runs.push(run_outcome(run, outcome.as_ref(), sample));
        }
        self.metas.push(run.meta(cost, failed));
    }

    /// Adds the outcomes of certificates; refuses those that the outcomes of `runs` contradict.
    pub(crate) fn certify(
        &mut self,
        certified: Vec<Certified>,
        threats: &[Threat],
        runs: &[Run<'_>],
    ) -> Result<(), RunError> {
        // What was planted is behind other heads than the model's.
        let on_model = |r: &Run<'_>| (r.role != Role::Planted).then(|| r.threat.clone());
        let runs = runs.iter().map(|r| (r.key.clone(), on_model(r)));
        let runs: Vec<(String, Option<Threat>)> = runs.collect();
        contradiction(&certified, threats, &runs, &self.samples)?;
        for one in certified {
            for (sample, outcome) in self.samples.iter_mut().zip(one.outcomes) {
                sample.certificates.push(outcome);
            }
            self.certificates.push(one.meta);
        }
        Ok(())
    }

    fn note(&mut self, run: &Run<'_>, row: usize, outcome: &Outcome) {
        let eps = run.record.eps;
        if let (RunStatus::Broken, Some(point), true) =
            (outcome.status, &outcome.point, run.role.counts())
            && self.best[row].as_ref().is_none_or(|(e, _)| eps < *e)
        {
            self.best[row] = Some((eps, point.clone()));
        }
    }

    /// Returns the report, and the adversarials in the order of its samples.
    pub(crate) fn finish(
        mut self,
        mut head: ReportHead,
        checkpoint: Option<RunCheckpoint>,
    ) -> Measurement {
        for (sample, best) in self.samples.iter_mut().zip(&self.best) {
            if let Some((_, point)) = best {
                sample.adv_outputs.clone_from(&point.outputs);
            }
        }
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        order.sort_by(|a, b| self.samples[*a].id.cmp(&self.samples[*b].id));
        let adversarials = order
            .into_iter()
            .map(|row| self.best[row].take().map(|(_, point)| point.x))
            .collect();
        head.certificates = self.certificates;
        Measurement {
            report: summarise(head, self.metas, self.samples),
            adversarials,
            universal: self.universal,
            map: None,
            checkpoint,
            is_cut: false,
        }
    }
}

fn run_outcome(run: &Run<'_>, outcome: Option<&Outcome>, sample: &SampleRecord) -> RunOutcome {
    let untouched = match sample.clean_pred {
        None if !sample.is_measured() => RunStatus::Stopped,
        None => RunStatus::Invalid,
        Some(_) if !sample.clean_correct => RunStatus::Misclassified,
        // A probe takes a subset; a sample of the target class is not attacked.
        Some(_) => RunStatus::Skipped,
    };
    let point = outcome
        .filter(|o| o.status == RunStatus::Broken)
        .and_then(|o| o.point.as_ref());
    RunOutcome {
        run: run.key.clone(),
        status: outcome.map_or(untouched, |o| o.status),
        adv_pred: point.map(|p| p.pred),
        gauge: point.map(|p| p.gauge),
        distance: point.map(|p| p.distance),
        forward: outcome.map_or(0, |o| o.queries.forward),
        backward: outcome.map_or(0, |o| o.queries.backward),
        surrogate_forward: outcome.map_or(0, |o| o.queries.surrogate_forward),
        surrogate_backward: outcome.map_or(0, |o| o.queries.surrogate_backward),
        // An adversarial is proof, whatever the gradients were on the way: drops what only explains a failure.
        observed: outcome.map_or_else(Vec::new, |o| {
            let excuses = [Observation::ZeroGradient, Observation::StillRising];
            // A success at one random placement of a patch is none yet: the map's rule decides over many.
            let placed = matches!(run.record.map, Some(MapSpec::Patch { .. }));
            let counts = |what: &Observation| {
                (point.is_none() || !excuses.contains(what))
                    && !(placed && *what == Observation::WitnessRejected)
            };
            o.observed.iter().copied().filter(counts).collect()
        }),
    }
}
