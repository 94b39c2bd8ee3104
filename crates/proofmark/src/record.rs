//! What the runs of a plan leave on each sample.

use std::collections::BTreeMap;

use proofmark_data::Dataset;
use proofmark_domain::{
    Observation, Role, RunMeta, RunOutcome, RunStatus, SampleRecord, ThreatRecord,
};
use proofmark_engine::{Attack, Clean, Needs, Outcome, Point, Samples};
use proofmark_gate::{ReportHead, summarise};
use proofmark_threat::Threat;

use crate::Measurement;

/// One attack at one budget.
pub(crate) struct Run<'a> {
    pub(crate) key: String,
    pub(crate) attack: &'a dyn Attack,
    pub(crate) role: Role,
    pub(crate) threat: Threat,
    gradient: bool,
    record: ThreatRecord,
}

impl<'a> Run<'a> {
    /// `whole` describes the threat over all shards; a probe is named by what it is.
    pub(crate) fn new(
        attack: &'a dyn Attack,
        role: Role,
        threat: &Threat,
        whole: ThreatRecord,
    ) -> Self {
        let meta = attack.meta();
        let at = if role == Role::Probe {
            whole.text.clone()
        } else {
            format!("{}:{}", whole.norm, whole.text)
        };
        Self {
            key: format!("{}@{at}", meta.id),
            attack,
            role,
            gradient: meta.needs == Needs::Gradients,
            threat: threat.clone(),
            record: whole,
        }
    }

    fn meta(&self, seconds: f64) -> RunMeta {
        RunMeta {
            key: self.key.clone(),
            id: self.attack.meta().id.to_owned(),
            version: self.attack.meta().version,
            role: self.role,
            gradient: self.gradient,
            threat: self.record.clone(),
            parameters: self.attack.parameters(),
            step_size: self.attack.step_sizes(&self.record),
            seconds,
        }
    }
}

/// The same attack may be asked for twice with different parameters: later ones get a number.
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

/// Every sample, filling up run by run.
pub(crate) struct Record {
    samples: Vec<SampleRecord>,
    metas: Vec<RunMeta>,
    /// The adversarial of the smallest budget so far, and that budget.
    best: Vec<Option<(f64, Point)>>,
    /// Gradient attacks that met zero gradients on the sample, of those that attacked it.
    zero: Vec<(usize, usize)>,
}

impl Record {
    pub(crate) fn new(data: &Dataset, samples: &Samples, clean: &[Clean]) -> Self {
        let sample = |c: &Clean| SampleRecord {
            id: data.ids[c.row].clone(),
            label: samples.labels[c.row],
            clean_pred: c.pred,
            adv_pred: None,
            clean_correct: c.pred == Some(samples.labels[c.row]),
            broken_by: None,
            gauge: None,
            distance: None,
            norm: None,
            observed: c.observed.clone(),
            runs: Vec::new(),
            groups: data
                .groups
                .iter()
                .map(|(attribute, values)| (attribute.clone(), values[c.row].clone()))
                .collect(),
        };
        Self {
            samples: clean.iter().map(sample).collect(),
            metas: Vec::new(),
            best: vec![None; clean.len()],
            zero: vec![(0, 0); clean.len()],
        }
    }

    /// Adds what a run found.
    pub(crate) fn add(&mut self, run: &Run<'_>, outcomes: Vec<Outcome>, seconds: f64) {
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
        self.metas.push(run.meta(seconds));
    }

    fn note(&mut self, run: &Run<'_>, row: usize, outcome: &Outcome) {
        for o in &outcome.observed {
            if *o != Observation::ZeroGradient {
                observe(&mut self.samples[row], *o);
            }
        }
        if run.role == Role::Attack && run.gradient {
            self.zero[row].0 += usize::from(outcome.observed.contains(&Observation::ZeroGradient));
            self.zero[row].1 += 1;
        }
        let eps = run.record.eps;
        if let (RunStatus::Broken, Some(point), true) =
            (outcome.status, &outcome.point, run.role != Role::Probe)
            && self.best[row].as_ref().is_none_or(|(e, _)| eps < *e)
        {
            self.best[row] = Some((eps, point.clone()));
        }
    }

    /// The report, and the adversarials in the order of its samples.
    pub(crate) fn finish(mut self, head: ReportHead) -> Measurement {
        for (sample, (seen, of)) in self.samples.iter_mut().zip(&self.zero) {
            // Zero gradients only matter where no attack had better ones.
            if *of > 0 && seen == of {
                observe(sample, Observation::ZeroGradient);
            }
        }
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        order.sort_by(|a, b| self.samples[*a].id.cmp(&self.samples[*b].id));
        let adversarials = order
            .into_iter()
            .map(|row| self.best[row].take().map(|(_, point)| point.x))
            .collect();
        Measurement {
            report: summarise(head, self.metas, self.samples),
            adversarials,
        }
    }
}

fn run_outcome(run: &Run<'_>, outcome: Option<&Outcome>, sample: &SampleRecord) -> RunOutcome {
    let untouched = match sample.clean_pred {
        None => RunStatus::Invalid,
        Some(_) if !sample.clean_correct => RunStatus::Misclassified,
        Some(_) if run.role == Role::Probe => RunStatus::Skipped,
        // Already of the target class: this attack has nothing to do here, and did nothing.
        Some(_) => RunStatus::Robust,
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
    }
}

fn observe(sample: &mut SampleRecord, what: Observation) {
    if let Err(at) = sample.observed.binary_search(&what) {
        sample.observed.insert(at, what);
    }
}
