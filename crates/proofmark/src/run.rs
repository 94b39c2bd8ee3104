//! One run: takes a model, a data set, attacks and budgets, and returns a report.

use std::ops::Range;

use proofmark_data::{Dataset, sequence};
use proofmark_domain::{
    CertificateStatus, Criteria, DataFacts, Epsilon, MapSpec, ModelFacts, Needs, Norm, Outputs,
    Reading, Report, Role, RunStatus, SampleRecord, Sampling, Seed, Shard, ToolFacts,
};
use proofmark_engine::{
    Access, Attack, Change, Clean, Criterion, Job, Judge, Observer, Samples, Truth, landscape,
    preflight,
};
use proofmark_gate::{Looks, ReportHead, ResolvedPlan};
use proofmark_threat::Threat;
use serde_json::{Map, Value, json};

use crate::certify::Measured;
use crate::record::{CleanSamples, Record, Run};
use crate::{
    Certificate, RunCheckpoint, RunError, Target, ThreatPlan, device, numbers, reading, samples,
    trust,
};

mod carry_out;
mod looks;
mod mapped;
mod resolve;
mod targets;

use carry_out::Prepared;
use mapped::Behind;
pub use mapped::MapParameters;

/// Labels that samples are judged against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Labels {
    /// The labels of the data.
    #[default]
    Given,
    /// The model's own clean predictions.
    Predicted,
}

/// Settings of a run. Only `seed`, `forwards`, `judge` and `trust` can change a result.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Seed of every random number.
    pub seed: Seed,
    /// Rows in progress at once; by default 64, or two tiles per thread if that is more.
    pub batch: usize,
    /// Rows per model call; `None` takes the usual number for the device.
    pub tile: Option<usize>,
    /// Whether broken rows leave the batch at once.
    pub compaction: bool,
    /// Maximum number of sample-forwards of one row in one attack.
    pub forwards: Option<u64>,
    /// How returned points are measured again.
    pub judge: Judge,
    /// Whether the baseline and the unbounded probe run in addition to the attacks.
    pub trust: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: Seed(0),
            batch: 64.max(2 * Job::TILE * rayon::current_num_threads()),
            tile: None,
            compaction: true,
            forwards: None,
            judge: Judge::default(),
            trust: true,
        }
    }
}

/// Receives the progress of a run.
pub trait Progress: Observer {
    /// Called when an attack begins, with its number of samples.
    fn begin(&self, run: &str, samples: usize);
}

impl Progress for proofmark_engine::Silent {
    fn begin(&self, _: &str, _: usize) {}
}

/// Description of one run.
#[derive(Clone)]
#[non_exhaustive]
pub struct RunPlan<'a> {
    /// The model, and how much of it attacks may query: `Access::Decisions(&model)` shows attacks only the decisions of
    /// any model, and a [`Surrogate`](proofmark_model::wrap::Surrogate) replaces its gradients by those of another.
    pub model: Access<'a>,
    /// The samples of the whole run, all shards together.
    pub data: &'a Dataset,
    /// The attacks, in order.
    pub attacks: &'a [Box<dyn Attack>],
    /// The budgets; every attack runs at each.
    pub threats: Vec<ThreatPlan>,
    /// Map from a few parameters to a changed input, which the attacks choose in place of values; budgets are then shares
    /// of its limits.
    pub map: Option<MapSpec>,
    /// What is certified beside the attacks, at each budget that fits; none by default.
    pub certificates: &'a [Certificate],
    /// Labels, or targets, that samples are judged against.
    pub labels: Labels,
    /// What counts as success of an attack.
    pub criterion: Criteria,
    /// The target class, if the attacks are targeted.
    pub target: Option<Target>,
    /// Settings of the run.
    pub settings: Settings,
    /// Part of the samples to run.
    pub shard: Option<Shard>,
    /// Looks at which the run may end, if its number of samples is not fixed: see [`RunPlan::run_until`].
    pub looks: Option<Looks>,
    /// Places, in the order of the samples, of those to run: what a look adds.
    pub(crate) look: Option<Range<usize>>,
    /// Conversion from data units to model input, for the report.
    pub preprocessing: Map<String, Value>,
    /// How the samples were chosen (limit, range), for the report.
    pub selection: Map<String, Value>,
    /// How the model's file is read (layout, output, kind of output), for the report.
    pub reading: Map<String, Value>,
    /// Origin of the model, for the report.
    pub origin: Option<String>,
    /// Called between steps; `true` ends the run, and samples not done are reported as stopped.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Checkpoint of an earlier run of this plan that was stopped, to resume from.
    pub resume: Option<&'a RunCheckpoint>,
    /// Seconds since some fixed moment; constant if time is not to be reported.
    pub clock: &'a (dyn Fn() -> f64 + Sync),
    /// Receives progress.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for RunPlan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunPlan")
            .field("model", &self.model)
            .field("attacks", &self.attacks)
            .field("threats", &self.threats)
            .field("map", &self.map)
            .field("certificates", &self.certificates)
            .field("labels", &self.labels)
            .field("criterion", &self.criterion)
            .field("target", &self.target)
            .field("settings", &self.settings)
            .field("shard", &self.shard)
            .field("looks", &self.looks)
            .finish_non_exhaustive()
    }
}

/// Criterion of the measurements before any attack: only the meaning of the outputs counts.
#[derive(Debug)]
struct Meaning(Outputs);

impl Criterion for Meaning {
    fn outputs(&self) -> Outputs {
        self.0
    }

    fn met_by(&self, _: &[f32], _: &Truth) -> bool {
        false
    }
}

/// Result of a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Measurement {
    /// Report of the run.
    pub report: Report,
    /// Adversarial of each broken sample, at the smallest budget that broke it, in the order of the report's samples;
    /// per input, in the model's order.
    pub adversarials: Vec<Option<Vec<Vec<f32>>>>,
    /// Each universal change that the run fitted, with the key of its attack and budget, in their order; per input, in
    /// the model's order. Those of attacks that had ended before a run was stopped and resumed are not kept.
    pub universal: Vec<(String, Change)>,
    /// With a map, the parameters behind `adversarials`, which are what the model sees; those of universal changes are in
    /// their own units.
    pub map: Option<MapParameters>,
    /// Checkpoint to resume from, if the run was stopped after its clean samples were measured.
    pub checkpoint: Option<RunCheckpoint>,
    /// Whether the run was stopped before that.
    pub(crate) is_cut: bool,
}

impl Measurement {
    /// Refuses a run in which an attack failed. The report still holds the results of the others.
    pub fn complete(&self) -> Result<(), RunError> {
        let failed = self.report.attacks.iter();
        let failed: Vec<String> = failed
            .filter_map(|a| Some(format!("`{}`: {}", a.key, a.failed.as_ref()?)))
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(RunError::Attacks(failed.join("; ")))
    }
}

impl<'a> RunPlan<'a> {
    /// Creates a plan with the default settings, without progress and without a clock.
    pub fn new(
        model: impl Into<Access<'a>>,
        data: &'a Dataset,
        attacks: &'a [Box<dyn Attack>],
        threats: Vec<ThreatPlan>,
    ) -> Self {
        Self {
            model: model.into(),
            data,
            attacks,
            threats,
            map: None,
            certificates: &[],
            labels: Labels::Given,
            criterion: Criteria::default(),
            target: None,
            settings: Settings::default(),
            shard: None,
            looks: None,
            look: None,
            preprocessing: Map::new(),
            selection: Map::new(),
            reading: Map::new(),
            origin: None,
            stop: &|| false,
            resume: None,
            clock: &|| 0.0,
            progress: &proofmark_engine::Silent,
        }
    }

    /// Runs the plan on all of its samples.
    pub fn run(&self) -> Result<Measurement, RunError> {
        let began = (self.clock)();
        self.require()?;
        let signature = self.model.signature();
        let data = self.part()?;
        let mut samples = samples::samples(&data, signature)?;
        let threats = self.checked(&data)?;
        self.require_certificates(&threats)?;
        let exact = device::is_exact(&signature.device);
        let natural = exact.then(|| Job::tile_for(signature));
        let tile = self.settings.tile.or(natural);

        let clean = match self.resume {
            Some(checkpoint) => {
                checkpoint.check(self, data.len())?;
                let clean = checkpoint.clean();
                self.label(&mut samples, &clean);
                clean
            }
            None => self.clean(&mut samples, tile)?,
        };
        let reading = self.other_reading(&data, &clean, &samples.labels, tile)?;
        let targets = self.targets(&samples, &clean)?;
        // Only rows with a target are attacked; the target of the others is never used.
        samples.targets =
            (targets.as_ref()).map(|targets| targets.iter().map(|t| t.unwrap_or(0)).collect());
        let goal = self.criterion_of(&data, &clean, targets.is_some())?;
        let (mut shown, holds) = self.held(goal.as_ref(), &samples, &clean);
        let right: Vec<usize> = (shown.iter().zip(&holds))
            .filter_map(|(c, holds)| holds.then_some(c.row))
            .collect();
        let attacked = match &targets {
            None => right.clone(),
            Some(targets) => {
                let wanted = |r: &usize| targets[*r].is_some_and(|t| t != samples.labels[*r]);
                right.iter().copied().filter(wanted).collect()
            }
        };
        let ranks = trust::Ranks::of(&self.order());
        let below = |rank: u64| -> Vec<usize> {
            let rows = right.iter().copied();
            rows.filter(|r| data.rank[*r] < rank).collect()
        };
        let (probes, planted) = (below(ranks.probed), below(ranks.planted));
        let whole = self.whole_threats()?;
        let extra = self.trust_runs(&threats, &whole)?;
        let runs = self.runs(&threats, &whole, &extra)?;
        let clean = match self.resume {
            Some(_) => clean,
            None => self.surroundings(&samples, clean, &runs, &probes, tile)?,
        };
        let observed = shown.iter_mut().zip(&clean);
        observed.for_each(|(shown, clean)| shown.observed.clone_from(&clean.observed));
        // A run stopped before this point has no results worth keeping.
        let is_whole = !(self.stop)();
        let starts = self.starts(&data, targets.as_deref())?;
        let behind = self.behind(&samples)?;
        let seen = behind.as_ref().map_or(&samples, |b| &b.samples);
        let prepared = Prepared {
            model: behind.as_ref().map_or(self.model, Behind::access),
            samples: seen,
            clean: &clean,
            reading: &reading,
            tile,
            goal,
            attacked,
            probes,
            planted,
            starts,
            others: self.others()?,
            is_whole: self.resume.is_some() || is_whole,
        };

        // Every attack refuses what it cannot do before the first one costs anything.
        for run in &runs {
            run.attack.check(&self.job(&prepared, run))?;
        }
        let is_property = !self.criterion.outputs().is_classes();
        let clean_samples = CleanSamples {
            all: &shown,
            holds: &holds,
            is_property,
        };
        let mut record = Record::new(&data, &samples, &clean_samples, targets.as_deref());
        let mut stopped = self.carry_out(&prepared, &runs, &mut record)?;
        let is_cut = !prepared.is_whole;
        let certified = self.certify(&Measured {
            samples: &samples,
            clean: &clean,
            threats: &threats,
            whole: &whole,
            tile,
        })?;
        record.certify(certified, &threats, &runs)?;
        let resolved = self.resolved()?;
        let seconds = self.resume.map_or(0.0, |c| c.seconds) + (self.clock)() - began;
        if let Some(checkpoint) = &mut stopped {
            checkpoint.seconds = seconds;
        }
        let mut head = self.head(&data, reading, tile, resolved, seconds);
        self.state_rounding(&mut head, &threats);
        let measured = Measurement {
            is_cut,
            ..record.finish(head, stopped)
        };
        self.unmapped(behind.as_ref(), measured)
    }

    /// Returns another reading of the data under which the model does much better, if there is one. It is tried on samples
    /// of the first look, which settles it for the later ones.
    fn other_reading(
        &self,
        data: &Dataset,
        clean: &[Clean],
        labels: &[usize],
        tile: Option<usize>,
    ) -> Result<Option<Reading>, RunError> {
        let is_first = self.look.as_ref().is_none_or(|l| l.start == 0);
        let is_of_classes = self.criterion.outputs().is_classes();
        match self.resume {
            Some(checkpoint) => Ok(checkpoint.reading.clone()),
            None if self.labels == Labels::Given && is_of_classes && is_first => {
                reading::best(self, data, clean, labels, tile)
            }
            None => Ok(None),
        }
    }

    /// Refuses an incomplete plan before the model is queried: it needs labels, budgets that change something, and a
    /// model that gives enough.
    fn require(&self) -> Result<(), RunError> {
        self.require_criterion()?;
        if !self.attacks.is_empty() && self.threats.is_empty() {
            return Err(RunError::Parameter(
                "attacks need at least one budget".into(),
            ));
        }
        let modalities = self.inputs()?;
        for threat in &self.threats {
            threat.require_change(&modalities, self.data)?;
        }
        self.require_whole()?;
        let of_any_model = self.attacks.iter().filter(|a| !a.chooses_by_access());
        let members = of_any_model.flat_map(|a| a.members());
        for attack in self.attacks.iter().chain(members) {
            let meta = attack.meta();
            self.model.require(meta.id, meta.needs)?;
        }
        let gives = self.model.judged().gives();
        if self.target == Some(Target::LeastLikely) && gives < Needs::Scores {
            return Err(RunError::Parameter(format!(
                "target least-likely needs scores; model `{}` gives {gives}",
                self.model.signature().name,
            )));
        }
        Ok(())
    }

    /// Refuses attacks that fit one change for all samples on a part of them: the change, and so every sample's outcome,
    /// would depend on the parts.
    pub(crate) fn require_whole(&self) -> Result<(), RunError> {
        let Some(attack) = self.attacks.iter().find(|a| a.is_universal()) else {
            return Ok(());
        };
        let part = match (&self.shard, &self.looks) {
            (Some(shard), _) => format!("shard {}/{}", shard.index, shard.count),
            (None, Some(_)) => "sequential sampling".to_owned(),
            (None, None) => return Ok(()),
        };
        Err(RunError::Parameter(format!(
            "attack `{}` fits one change for all samples, so it cannot run on {part}; expected all samples in one run",
            attack.meta().id
        )))
    }

    /// Fits each threat model to these samples.
    fn fitted(&self, data: &Dataset) -> Result<Vec<Threat>, RunError> {
        let modalities = self.inputs()?;
        let fitted = self.threats.iter().map(|t| t.fit(&modalities, data));
        fitted.collect()
    }

    /// Fits each threat model to these samples, and checks that the numbers of the inputs allow it.
    fn checked(&self, data: &Dataset) -> Result<Vec<Threat>, RunError> {
        let threats = self.fitted(data)?;
        // Parameters of a map are real numbers.
        for threat in threats.iter().filter(|_| self.map.is_none()) {
            numbers::check(threat, self.model.signature(), data.len())?;
        }
        Ok(threats)
    }

    /// Notes inputs whose changes the model rounds.
    fn state_rounding(&self, head: &mut ReportHead, threats: &[Threat]) {
        if self.map.is_none() {
            let rounded = numbers::stated(self.model.signature(), threats);
            head.model.stated.extend(rounded);
        }
    }

    /// Returns the place of each of the run's samples in the seeded order in which samples are taken for shards, looks
    /// and probes: stratified, or plain if the number of samples is not fixed.
    pub(crate) fn order(&self) -> Vec<u64> {
        match self.looks {
            None => self.data.rank.clone(),
            Some(_) => sequence(&self.data.ids, self.settings.seed),
        }
    }

    /// Returns the samples of this shard and look, ranked in that order.
    pub(crate) fn part(&self) -> Result<Dataset, RunError> {
        let order = self.order();
        let of_shard = |rank: u64| match self.shard {
            None => true,
            Some(Shard { index, count }) => rank.checked_rem(count as u64) == Some(index as u64),
        };
        let of_look = |rank: u64| match &self.look {
            None => true,
            Some(places) => places.contains(&(rank as usize)),
        };
        if let Some(Shard { index, count }) = self.shard.filter(|s| s.index >= s.count) {
            return Err(RunError::Parameter(format!(
                "shard {index}/{count}; expected the first below the second"
            )));
        }
        let mine = |row: &usize| of_shard(order[*row]) && of_look(order[*row]);
        let rows: Vec<usize> = (0..self.data.len()).filter(mine).collect();
        let mut part = self.data.select(&rows);
        part.rank = rows.into_iter().map(|row| order[row]).collect();
        Ok(part)
    }

    /// Measures the samples before any attack, as far as the run gets before it is stopped. Sets the labels if the
    /// model's own predictions replace them.
    pub(crate) fn clean(
        &self,
        samples: &mut Samples,
        tile: Option<usize>,
    ) -> Result<Vec<Clean>, RunError> {
        let n = samples.keys.len();
        if self.labels == Labels::Predicted || !self.criterion.outputs().is_classes() {
            samples.labels = vec![0; n];
        }
        if n == 0 {
            return Ok(Vec::new());
        }
        self.progress.begin("clean", n);
        let all: Vec<usize> = (0..n).collect();
        let still = Threat::uniform(&samples.modalities, Norm::Linf, &Epsilon::default());
        let mut job = self.plain_job(samples, &all, &still, tile);
        let meaning = Meaning(self.criterion.outputs());
        job.goal = &meaning;
        let clean = preflight(self.model, &job)?;
        self.label(samples, &clean);
        Ok(clean)
    }

    /// Looks at the surroundings of the probed samples, if an attack that follows gradients is tested there, and adds
    /// what is observed to the clean samples.
    fn surroundings(
        &self,
        samples: &Samples,
        mut clean: Vec<Clean>,
        runs: &[Run<'_>],
        probes: &[usize],
        tile: Option<usize>,
    ) -> Result<Vec<Clean>, RunError> {
        let has = |role| runs.iter().any(|r| r.role == role);
        let first = runs.iter().find(|r| r.role == Role::Attack);
        let (Access::Gradients(model), Some(first)) = (self.model, first) else {
            return Ok(clean);
        };
        // A property has no margin between classes, and the gradients of a surrogate are not the model's.
        let applies = self.criterion.outputs().is_classes() && self.model.surrogate().is_none();
        if probes.is_empty() || !has(Role::Probe) || !applies || self.map.is_some() {
            return Ok(clean);
        }
        let job = self.plain_job(samples, probes, &first.threat, tile);
        for (row, seen) in landscape(model, &job)? {
            // Clean samples are in the order of their rows.
            if let Ok(at) = clean.binary_search_by_key(&row, |c| c.row) {
                clean[at].observed.extend(seen);
                clean[at].observed.sort_unstable();
            }
        }
        Ok(clean)
    }

    /// Sets the labels if the model's own predictions replace them.
    fn label(&self, samples: &mut Samples, clean: &[Clean]) {
        if !self.criterion.outputs().is_classes() {
            samples.labels = vec![0; samples.keys.len()];
        } else if self.labels == Labels::Predicted {
            samples.labels = vec![0; samples.keys.len()];
            for c in clean {
                samples.labels[c.row] = c.pred.unwrap_or(0);
            }
        }
    }

    /// Whether the run that made this report finished.
    pub fn finished(report: &Report) -> bool {
        let stopped = |s: &SampleRecord| {
            !s.is_measured()
                || s.runs.iter().any(|r| r.status == RunStatus::Stopped)
                || s.certificates
                    .iter()
                    .any(|c| c.status == CertificateStatus::Stopped)
        };
        !report.samples.iter().any(stopped)
    }

    fn head(
        &self,
        data: &Dataset,
        reading: Option<Reading>,
        tile: Option<usize>,
        resolved: ResolvedPlan,
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
        let mut config = self.selection.clone();
        config.insert("batch_size".to_owned(), json!(self.settings.batch));
        config.insert("compaction".to_owned(), json!(self.settings.compaction));
        config.insert("criterion".to_owned(), self.describe_criterion());
        resolved.write(&mut config);
        ReportHead {
            tool: ToolFacts {
                name: "proofmark".into(),
                version: env!("CARGO_PKG_VERSION").into(),
            },
            config,
            model: ModelFacts {
                name: signature.name.clone(),
                sha256: signature.sha256.clone(),
                origin: self.origin.clone(),
                classes: signature.classes,
                outputs: self.criterion.outputs(),
                stated: signature.stated.clone(),
                gives: self.model.judged().gives(),
                surrogate: self.model.surrogate().map(|s| s.facts().clone()),
            },
            data: DataFacts {
                name: data.name.clone(),
                sha256: data.sha256.clone(),
                total: data.total,
                planned: self.data.len(),
                bounds,
                reading,
                read_as: data.read_as.clone(),
            },
            preprocessing: self.preprocessing.clone(),
            device: device::describe(&signature.device),
            tile: tile.unwrap_or(self.settings.batch),
            seed: self.settings.seed.0,
            seconds,
            shard: self.shard,
            sampling: self.looks.as_ref().map(|looks| Sampling::Sequential {
                looks: looks.sizes(self.data.len()),
                made: 0,
            }),
            certificates: Vec::new(),
        }
    }
}
