//! One run: a model, a data set, attacks and budgets in; a report out.

use proofmark_data::Dataset;
use proofmark_domain::{
    DataFacts, Epsilon, ModelFacts, Norm, Reading, Report, Role, RunStatus, SampleRecord, Seed,
    Shard, ThreatRecord, ToolFacts,
};
use proofmark_engine::{Access, Attack, Clean, Goal, Job, Judge, Observer, Samples, preflight};
use proofmark_gate::ReportHead;
use proofmark_model::GradientModel;
use proofmark_threat::Threat;
use serde_json::{Map, Value, json};

use crate::record::{self, Record, Run};
use crate::{RunError, Target, ThreatPlan, device, numbers, reading, samples, scale, trust};

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
    /// How the samples were chosen (limit, range), for the report.
    pub selection: Map<String, Value>,
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
    /// report's samples; per input, in the model's order.
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
            selection: Map::new(),
            origin: None,
            stop: &|| false,
            clock: &|| 0.0,
            progress: &proofmark_engine::Silent,
        }
    }

    /// Makes the run.
    pub fn run(&self) -> Result<Measurement, RunError> {
        let began = (self.clock)();
        if self.labels == Labels::Given {
            samples::require_labels(self.data)?;
        }
        if !self.attacks.is_empty() && self.threats.is_empty() {
            return Err(RunError::Parameter(
                "attacks need at least one budget".into(),
            ));
        }
        let signature = self.model.signature();
        let data = self.part()?;
        let mut samples = samples::samples(&data, signature)?;
        let threats: Vec<Threat> = self
            .threats
            .iter()
            .map(|t| t.fit(&signature.modalities, &data))
            .collect::<Result<_, _>>()?;
        for threat in &threats {
            numbers::check(threat, signature, data.len())?;
        }
        let exact = device::is_exact(&signature.device);
        let tile = self.settings.tile.or_else(|| exact.then_some(Job::TILE));

        let clean = self.clean(&mut samples, tile)?;
        let right: Vec<usize> = clean
            .iter()
            .filter(|c| c.pred == Some(samples.labels[c.row]))
            .map(|c| c.row)
            .collect();
        let reading = if self.labels == Labels::Given {
            reading::best(self, &data, &clean, &samples.labels, tile)?
        } else {
            None
        };
        let (goal, attacked) = self.aim(&mut samples, &clean, &right)?;
        let probed = trust::probed_ranks(self.data);
        let probes: Vec<usize> = right
            .iter()
            .copied()
            .filter(|r| data.rank[*r] < probed)
            .collect();

        let whole = self.whole_threats()?;
        let extra = self.trust_runs(&threats, &whole)?;
        let runs = self.runs(&threats, &whole, &extra);
        let target = |run: &Run<'_>| match run.role {
            Role::Probe => (&probes, Goal::Untargeted),
            Role::Attack | Role::Baseline => (&attacked, goal),
        };
        // Every attack refuses what it cannot do before the first one has cost anything.
        for run in &runs {
            let (rows, goal) = target(run);
            run.attack
                .check(&self.job(&samples, rows, &run.threat, tile, &goal))?;
        }
        let mut record = Record::new(&data, &samples, &clean);
        for run in &runs {
            let started = (self.clock)();
            let (rows, goal) = target(run);
            self.progress.begin(&run.key, rows.len());
            let job = self.job(&samples, rows, &run.threat, tile, &goal);
            let outcomes = if rows.is_empty() {
                Vec::new()
            } else {
                run.attack.run(Access::Gradients(self.model), &job)?.rows
            };
            record.add(run, outcomes, (self.clock)() - started);
        }
        let mut head = self.head(&data, reading, tile, (self.clock)() - began);
        let rounded = numbers::stated(signature, &threats);
        head.model.stated.extend(rounded);
        Ok(record.finish(head))
    }

    /// The samples of this shard.
    fn part(&self) -> Result<Dataset, RunError> {
        match self.shard {
            None => Ok(self.data.clone()),
            Some(Shard { index, count }) if index < count => Ok(self.data.shard(index, count)),
            Some(Shard { index, count }) => Err(RunError::Parameter(format!(
                "shard {index}/{count}; expected the first below the second"
            ))),
        }
    }

    /// Every sample before any attack; sets labels where the model's own predictions stand in for them.
    pub(crate) fn clean(
        &self,
        samples: &mut Samples,
        tile: Option<usize>,
    ) -> Result<Vec<Clean>, RunError> {
        let n = samples.keys.len();
        if self.labels == Labels::Predicted {
            samples.labels = vec![0; n];
        }
        if n == 0 {
            return Ok(Vec::new());
        }
        self.progress.begin("clean", n);
        let all: Vec<usize> = (0..n).collect();
        let still = Threat::uniform(&samples.modalities, Norm::Linf, &Epsilon::default());
        let clean = preflight(
            self.model,
            &self.job(samples, &all, &still, tile, &Goal::Untargeted),
        )?;
        if self.labels == Labels::Predicted {
            for c in &clean {
                samples.labels[c.row] = c.pred.unwrap_or(0);
            }
        }
        Ok(clean)
    }

    fn trust_runs(
        &self,
        threats: &[Threat],
        whole: &[ThreatRecord],
    ) -> Result<Vec<trust::TrustRun>, RunError> {
        if self.settings.trust && !self.attacks.is_empty() {
            trust::runs(self, threats, whole, self.model.signature())
        } else {
            Ok(Vec::new())
        }
    }

    /// Every attack at every budget, then the runs nobody asked for.
    fn runs<'b>(
        &'b self,
        threats: &[Threat],
        whole: &[ThreatRecord],
        extra: &'b [trust::TrustRun],
    ) -> Vec<Run<'b>> {
        let mut runs = Vec::new();
        for (threat, whole) in threats.iter().zip(whole) {
            for attack in self.attacks {
                let role = attack.meta().role;
                runs.push(Run::new(attack.as_ref(), role, threat, whole.clone()));
            }
        }
        runs.extend(
            extra
                .iter()
                .map(|e| Run::new(e.attack.as_ref(), e.role, &e.threat, e.record.clone())),
        );
        record::unique_keys(&mut runs);
        runs
    }

    /// Each threat model over the samples of all shards, as reports write it down.
    fn whole_threats(&self) -> Result<Vec<ThreatRecord>, RunError> {
        let modalities = &self.model.signature().modalities;
        self.threats
            .iter()
            .map(|t| {
                let threat = t.fit(modalities, self.data)?;
                Ok(scale::record(&threat, modalities, self.data))
            })
            .collect()
    }

    /// Whether `report` is what this plan would measure: an earlier, finished run of it.
    pub fn made(&self, report: &Report) -> bool {
        let stopped = |s: &SampleRecord| s.runs.iter().any(|r| r.status == RunStatus::Stopped);
        self.made_or_stopped(report) && !report.samples.iter().any(stopped)
    }

    /// The same, finished or not.
    pub fn made_or_stopped(&self, report: &Report) -> bool {
        let signature = self.model.signature();
        let Ok(whole) = self.whole_threats() else {
            return false;
        };
        let asked: Vec<_> = whole
            .iter()
            .flat_map(|t| {
                self.attacks
                    .iter()
                    .map(|a| (a.meta().id, a.meta().version, a.parameters(), t.clone()))
            })
            .collect();
        let made = report.attacks.iter().take(asked.len());
        let made: Vec<_> = made
            .map(|a| {
                (
                    a.id.as_str(),
                    a.version,
                    a.parameters.clone(),
                    a.threat.clone(),
                )
            })
            .collect();
        // The samples are those of the plan, one by one: a count could be that of others.
        let Ok(part) = self.part() else { return false };
        let mut ids: Vec<_> = part.ids.iter().collect();
        ids.sort();
        report.model.sha256 == signature.sha256
            && report.model.name == signature.name
            && report.data.sha256 == self.data.sha256
            && report.data.name == self.data.name
            && report.data.planned == self.data.len()
            && report.seed == self.settings.seed.0
            && report.shard == self.shard
            && report.preprocessing == self.preprocessing
            && made == asked
            && report.samples.iter().map(|s| &s.id).eq(ids)
    }

    fn job<'b>(
        &'b self,
        samples: &'b Samples,
        rows: &'b [usize],
        threat: &'b Threat,
        tile: Option<usize>,
        goal: &'b Goal,
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

    fn head(
        &self,
        data: &Dataset,
        reading: Option<Reading>,
        tile: Option<usize>,
        seconds: f64,
    ) -> ReportHead {
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
                Value::Object(map) => map.into_iter().chain(self.selection.clone()).collect(),
                _ => self.selection.clone(),
            },
            model: ModelFacts {
                name: signature.name.clone(),
                sha256: signature.sha256.clone(),
                origin: self.origin.clone(),
                classes: signature.classes,
                stated: signature.stated.clone(),
            },
            data: DataFacts {
                name: data.name.clone(),
                sha256: data.sha256.clone(),
                total: data.total,
                planned: self.data.len(),
                bounds,
                reading,
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
