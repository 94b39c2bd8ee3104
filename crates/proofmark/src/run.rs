//! One run: a model, a data set, attacks and budgets in; a report out.

use std::collections::BTreeMap;

use proofmark_data::Dataset;
use proofmark_domain::{
    DataFacts, Epsilon, ModelFacts, Norm, Observation, Report, Role, RunMeta, RunOutcome,
    RunStatus, SampleRecord, Seed, Shard, ToolFacts,
};
use proofmark_engine::{
    Access, Attack, Clean, Goal, Job, Judge, Needs, Observer, Outcome, Point, Samples, preflight,
};
use proofmark_gate::{ReportHead, summarise};
use proofmark_model::GradientModel;
use proofmark_threat::Threat;
use serde_json::{Map, Value, json};

use crate::{RunError, Target, ThreatPlan, device, samples, trust};

/// What labels samples are judged against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Labels {
    /// Those of the data.
    #[default]
    Given,
    /// The model's own clean predictions.
    Predicted,
}

/// How a run goes about it. Only `seed`, `forwards`, `judge` and `trust` can change a result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Seed of every random number.
    pub seed: Seed,
    /// Rows at work at once.
    pub batch: usize,
    /// Rows per model call; `None` takes the usual one for the device.
    pub tile: Option<usize>,
    /// Whether broken rows leave at once.
    pub compaction: bool,
    /// Sample-forwards one row may spend on one attack.
    pub forwards: Option<u64>,
    /// How returned points are measured again.
    pub judge: Judge,
    /// Whether the baseline and the unbounded probe run beside the attacks.
    pub trust: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: Seed(0),
            batch: 64,
            tile: None,
            compaction: true,
            forwards: None,
            judge: Judge::default(),
            trust: true,
        }
    }
}

/// Somebody who watches a run.
pub trait Progress: Observer {
    /// An attack begins on so many samples.
    fn begin(&self, run: &str, samples: usize);
}

impl Progress for proofmark_engine::Silent {
    fn begin(&self, _: &str, _: usize) {}
}

/// One run, described.
pub struct RunPlan<'a> {
    /// The model.
    pub model: &'a dyn GradientModel,
    /// The samples of the whole run, all shards together.
    pub data: &'a Dataset,
    /// The attacks, in order.
    pub attacks: &'a [Box<dyn Attack>],
    /// The budgets, each attack at each.
    pub threats: Vec<ThreatPlan>,
    /// What samples are judged against.
    pub labels: Labels,
    /// The class to reach, if the attacks are targeted.
    pub target: Option<Target>,
    /// How to go about it.
    pub settings: Settings,
    /// Which part of the samples to run.
    pub shard: Option<Shard>,
    /// What happens between data units and the model, for the report.
    pub preprocessing: Map<String, Value>,
    /// Where the model came from, for the report.
    pub origin: Option<String>,
    /// Asked between steps; `true` ends the run, and samples not done are reported as stopped.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Seconds since some fixed moment; constant where time is not to be reported.
    pub clock: &'a dyn Fn() -> f64,
    /// Who watches.
    pub progress: &'a dyn Progress,
}

/// A run that was made.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// Its report.
    pub report: Report,
    /// The adversarial of each broken sample, at the smallest budget that broke it, in the order of the
    /// report's samples.
    pub adversarials: Vec<Option<Vec<Vec<f32>>>>,
}

impl<'a> RunPlan<'a> {
    /// A plan with the usual settings, nobody watching and no clock.
    pub fn new(
        model: &'a dyn GradientModel,
        data: &'a Dataset,
        attacks: &'a [Box<dyn Attack>],
        threats: Vec<ThreatPlan>,
    ) -> Self {
        Self {
            model,
            data,
            attacks,
            threats,
            labels: Labels::Given,
            target: None,
            settings: Settings::default(),
            shard: None,
            preprocessing: Map::new(),
            origin: None,
            stop: &|| false,
            clock: &|| 0.0,
            progress: &proofmark_engine::Silent,
        }
    }

    /// Makes the run.
    pub fn run(&self) -> Result<Measurement, RunError> {
        let began = (self.clock)();
        let signature = self.model.signature();
        if self.labels == Labels::Given {
            samples::require_labels(self.data)?;
        }
        if !self.attacks.is_empty() && self.threats.is_empty() {
            return Err(RunError::Parameter(
                "attacks need at least one budget".into(),
            ));
        }
        let probed = trust::probed_ranks(self.data);
        let data = match self.shard {
            None => self.data.clone(),
            Some(Shard { index, count }) if index < count => self.data.shard(index, count),
            Some(s) => {
                return Err(RunError::Parameter(format!(
                    "shard {}/{}; expected the first below the second",
                    s.index, s.count
                )));
            }
        };
        let mut samples = samples::samples(&data, signature)?;
        if self.labels == Labels::Predicted {
            samples.labels = vec![0; data.len()];
        }
        let threats: Vec<Threat> = self
            .threats
            .iter()
            .map(|t| t.fit(&signature.modalities, &data))
            .collect::<Result<_, _>>()?;
        let all: Vec<usize> = (0..data.len()).collect();
        let exact = device::is_exact(&signature.device);
        let tile = self.settings.tile.or_else(|| exact.then_some(Job::TILE));

        let clean = if data.is_empty() {
            Vec::new()
        } else {
            self.progress.begin("clean", data.len());
            let still = Threat::uniform(&signature.modalities, Norm::Linf, &Epsilon::default());
            preflight(
                self.model,
                &self.job(&samples, &all, &still, tile, Goal::Untargeted),
            )?
        };
        if self.labels == Labels::Predicted {
            for c in &clean {
                samples.labels[c.row] = c.pred.unwrap_or(0);
            }
        }
        let right: Vec<usize> = clean
            .iter()
            .filter(|c| c.pred == Some(samples.labels[c.row]))
            .map(|c| c.row)
            .collect();
        let (goal, attacked) = self.aim(&mut samples, &clean, &right)?;

        let mut runs = Vec::new();
        for (plan, threat) in self.threats.iter().zip(&threats) {
            for attack in self.attacks {
                runs.push(Run::asked(attack.as_ref(), threat, &plan.eps.to_string()));
            }
        }
        let extra = if self.settings.trust && !self.attacks.is_empty() {
            trust::runs(self, &threats, &signature.modalities)?
        } else {
            Vec::new()
        };
        runs.extend(
            extra
                .iter()
                .map(|e| Run::trust(e.attack.as_ref(), e.role, &e.threat, &e.label)),
        );
        unique_keys(&mut runs);
        // Every attack refuses what it cannot do before the first one has cost anything.
        for run in &runs {
            run.attack
                .check(&self.job(&samples, &attacked, &run.threat, tile, goal))?;
        }

        let mut records = self.records(&data, &samples, &clean);
        let mut best: Vec<Option<(f64, Point)>> = vec![None; data.len()];
        let mut zero = vec![(0_usize, 0_usize); data.len()];
        let mut metas = Vec::new();
        for run in &runs {
            let started = (self.clock)();
            let probe = run.role == Role::Probe;
            let rows: Vec<usize> = if probe {
                right
                    .iter()
                    .copied()
                    .filter(|r| data.rank[*r] < probed)
                    .collect()
            } else {
                attacked.clone()
            };
            let goal = if probe { Goal::Untargeted } else { goal };
            self.progress.begin(&run.key, rows.len());
            let outcomes = if rows.is_empty() {
                Vec::new()
            } else {
                run.attack
                    .run(
                        Access::Gradients(self.model),
                        &self.job(&samples, &rows, &run.threat, tile, goal),
                    )?
                    .rows
            };
            let mut by_row: BTreeMap<usize, Outcome> =
                outcomes.into_iter().map(|o| (o.row, o)).collect();
            for (row, record) in records.iter_mut().enumerate() {
                let outcome = by_row.remove(&row);
                if let Some(o) = &outcome {
                    self.note(run, o, record, &mut best[row], &mut zero[row]);
                }
                record.runs.push(run_outcome(run, outcome, record, probe));
            }
            metas.push(run.meta((self.clock)() - started));
        }
        for (record, (seen, of)) in records.iter_mut().zip(zero) {
            // Zero gradients only matter if no attack had better ones.
            if of > 0 && seen == of {
                observe(record, Observation::ZeroGradient);
            }
        }

        let head = self.head(&data, tile, (self.clock)() - began);
        let order: Vec<_> = {
            let mut order: Vec<usize> = (0..records.len()).collect();
            order.sort_by(|a, b| records[*a].id.cmp(&records[*b].id));
            order
        };
        let report = summarise(head, metas, records);
        let adversarials = order
            .into_iter()
            .map(|row| best[row].take().map(|(_, point)| point.x))
            .collect();
        Ok(Measurement {
            report,
            adversarials,
        })
    }

    /// Whether `report` is what this plan would measure (an earlier, finished run of it).
    pub fn made(&self, report: &Report) -> bool {
        let signature = self.model.signature();
        let asked: Vec<(String, Map<String, Value>, f64)> = self
            .threats
            .iter()
            .flat_map(|t| {
                let eps = t
                    .fit(&signature.modalities, self.data)
                    .map_or(f64::NAN, |t| t.record().eps);
                self.attacks
                    .iter()
                    .map(move |a| (a.meta().id.to_owned(), a.parameters(), eps))
            })
            .collect();
        let made = report
            .attacks
            .iter()
            .map(|a| (a.id.clone(), a.parameters.clone(), a.threat.eps));
        let complete = report
            .samples
            .iter()
            .all(|s| s.runs.iter().all(|r| r.status != RunStatus::Stopped));
        report.model.sha256 == signature.sha256
            && report.data.sha256 == self.data.sha256
            && report.data.planned == self.data.len()
            && report.seed == self.settings.seed.0
            && report.shard == self.shard
            && complete
            && made.take(asked.len()).collect::<Vec<_>>() == asked
    }

    fn job<'b>(
        &'b self,
        samples: &'b Samples,
        rows: &'b [usize],
        threat: &'b Threat,
        tile: Option<usize>,
        goal: Goal,
    ) -> Job<'b> {
        Job {
            goal,
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

    /// The goal, and the samples to attack; sets targets where there are any.
    fn aim(
        &self,
        samples: &mut Samples,
        clean: &[Clean],
        right: &[usize],
    ) -> Result<(Goal, Vec<usize>), RunError> {
        let Some(target) = self.target else {
            return Ok((Goal::Untargeted, right.to_vec()));
        };
        let classes = self.model.signature().classes;
        if let Target::Class(c) = target
            && c >= classes
        {
            return Err(RunError::Parameter(format!(
                "target class {c}; the model has classes 0 to {}",
                classes - 1
            )));
        }
        let targets: Vec<usize> = clean
            .iter()
            .map(|c| target.of(samples.labels[c.row], &c.scores))
            .collect();
        let attacked = right
            .iter()
            .copied()
            .filter(|r| targets[*r] != samples.labels[*r])
            .collect();
        samples.targets = Some(targets);
        Ok((Goal::Targeted, attacked))
    }

    fn records(&self, data: &Dataset, samples: &Samples, clean: &[Clean]) -> Vec<SampleRecord> {
        clean
            .iter()
            .map(|c| SampleRecord {
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
            })
            .collect()
    }

    fn note(
        &self,
        run: &Run<'_>,
        outcome: &Outcome,
        record: &mut SampleRecord,
        best: &mut Option<(f64, Point)>,
        zero: &mut (usize, usize),
    ) {
        let asked_gradient = run.role == Role::Attack && run.gradient;
        for o in &outcome.observed {
            if *o != Observation::ZeroGradient {
                observe(record, *o);
            }
        }
        if asked_gradient {
            zero.1 += 1;
            zero.0 += usize::from(outcome.observed.contains(&Observation::ZeroGradient));
        }
        let eps = run.threat.record().eps;
        if let (RunStatus::Broken, Some(point), true) =
            (outcome.status, &outcome.point, run.role != Role::Probe)
            && best.as_ref().is_none_or(|(e, _)| eps < *e)
        {
            *best = Some((eps, point.clone()));
        }
    }

    fn head(&self, data: &Dataset, tile: Option<usize>, seconds: f64) -> ReportHead {
        let signature = self.model.signature();
        let bounds = signature
            .modalities
            .iter()
            .map(|m| {
                let f = m.bounds.features().unwrap_or(1);
                let low = (0..f)
                    .map(|i| m.bounds.low(i))
                    .fold(f32::INFINITY, f32::min);
                let high = (0..f)
                    .map(|i| m.bounds.high(i))
                    .fold(f32::NEG_INFINITY, f32::max);
                (m.name.clone(), json!([low, high]))
            })
            .collect();
        let config = json!({
            "labels": if self.labels == Labels::Given { "given" } else { "predicted" },
            "target": self.target.map(|t| t.to_string()),
            "batch_size": self.settings.batch,
            "compaction": self.settings.compaction,
            "forwards": self.settings.forwards,
            "judge_draws": self.settings.judge.draws,
            "trust_runs": self.settings.trust,
            "per_sample_eps": self.threats.iter().any(|t| t.per_sample),
        });
        ReportHead {
            tool: ToolFacts {
                name: "proofmark".into(),
                version: env!("CARGO_PKG_VERSION").into(),
            },
            config: match config {
                Value::Object(map) => map,
                _ => Map::new(),
            },
            model: ModelFacts {
                name: signature.name.clone(),
                sha256: signature.sha256.clone(),
                origin: self.origin.clone(),
                classes: signature.classes,
            },
            data: DataFacts {
                name: data.name.clone(),
                sha256: data.sha256.clone(),
                total: data.total,
                planned: self.data.len(),
                bounds,
            },
            preprocessing: self.preprocessing.clone(),
            device: device::describe(&signature.device),
            tile: tile.unwrap_or(self.settings.batch),
            seed: self.settings.seed.0,
            seconds,
            shard: self.shard,
        }
    }
}

/// One attack at one budget.
struct Run<'a> {
    key: String,
    attack: &'a dyn Attack,
    role: Role,
    gradient: bool,
    threat: Threat,
    text: String,
}

impl<'a> Run<'a> {
    fn asked(attack: &'a dyn Attack, threat: &Threat, text: &str) -> Self {
        Self::trust(attack, attack.meta().role, threat, text)
    }

    fn trust(attack: &'a dyn Attack, role: Role, threat: &Threat, text: &str) -> Self {
        let meta = attack.meta();
        let norm = threat.record().norm;
        let at = if role == Role::Probe {
            text.to_owned()
        } else {
            format!("{norm}:{text}")
        };
        Self {
            key: format!("{}@{at}", meta.id),
            attack,
            role,
            gradient: meta.needs == Needs::Gradients,
            threat: threat.clone(),
            text: text.to_owned(),
        }
    }

    fn meta(&self, seconds: f64) -> RunMeta {
        let mut threat = self.threat.record();
        if self.role == Role::Probe {
            threat.text.clone_from(&self.text);
        }
        RunMeta {
            key: self.key.clone(),
            id: self.attack.meta().id.to_owned(),
            role: self.role,
            gradient: self.gradient,
            threat,
            parameters: self.attack.parameters(),
            seconds,
        }
    }
}

/// The same attack may be asked for twice with different parameters: later ones get a number.
fn unique_keys(runs: &mut [Run<'_>]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs {
        let n = seen.entry(run.key.clone()).or_default();
        *n += 1;
        if *n > 1 {
            run.key = format!("{}#{n}", run.key);
        }
    }
}

fn run_outcome(
    run: &Run<'_>,
    outcome: Option<Outcome>,
    record: &SampleRecord,
    probe: bool,
) -> RunOutcome {
    let untouched = match record.clean_pred {
        None => RunStatus::Invalid,
        Some(_) if !record.clean_correct => RunStatus::Misclassified,
        Some(_) if probe => RunStatus::Skipped,
        // Already of the target class: this attack has nothing to do here, and did nothing.
        Some(_) => RunStatus::Robust,
    };
    let point = outcome
        .as_ref()
        .filter(|o| o.status == RunStatus::Broken)
        .and_then(|o| o.point.as_ref());
    RunOutcome {
        run: run.key.clone(),
        status: outcome.as_ref().map_or(untouched, |o| o.status),
        adv_pred: point.map(|p| p.pred),
        gauge: point.map(|p| p.gauge),
        distance: point.map(|p| p.distance),
        forward: outcome.as_ref().map_or(0, |o| o.queries.forward),
        backward: outcome.as_ref().map_or(0, |o| o.queries.backward),
    }
}

fn observe(record: &mut SampleRecord, what: Observation) {
    if let Err(at) = record.observed.binary_search(&what) {
        record.observed.insert(at, what);
    }
}
