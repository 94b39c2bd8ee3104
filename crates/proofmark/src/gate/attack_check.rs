//! Checks of kind `robustness` and `clean`: a model on data, with or without attacks.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use proofmark_data::{DataError, Dataset, Options, Rows, Selection};
use proofmark_domain::{Epsilon, Needs, Norm, Outputs, Report, Seed, Shard};
use proofmark_engine::{Attack, EngineError, Job, Silent, check_members};
use proofmark_gate::{
    AttackTask, Budgets, Check, DataEntry, DataRef, ModelRef, NoRecord, Policy, REQUEST, Record,
    ThreatSpec,
};
use proofmark_model::Access;
use proofmark_model::wrap::Surrogate;
use proofmark_onnx::{Layout, OnnxOptions};
use serde_json::{Value, json};

use super::opened::{Opened, shared};
use super::work::{Turn, Work};
use super::{GateError, GateOptions};
use crate::model::{ModelSource, OpenModel, Preprocess};
use crate::{
    Certificate, RunCheckpoint, RunError, RunPlan, Settings, Surrogates, ThreatPlan, shipped,
};

/// Everything a run of attacks needs, opened and checked.
pub(super) struct AttackCheck {
    seed: Seed,
    level: f64,
    task: AttackTask,
    /// The policy's request, as the report repeats it.
    request: Value,
    model: Arc<OpenModel>,
    /// Models whose gradients stand for the model's, and whether the model is asked about final points alone.
    surrogates: Option<(Surrogates, bool)>,
    data: Arc<Dataset>,
    attacks: Vec<Box<dyn Attack>>,
    threats: Vec<ThreatPlan>,
    certificates: Vec<Certificate>,
}

impl AttackCheck {
    /// Calls `with` with the run plan of this check; `turn` says how the check of this id is run.
    fn plan<T>(
        &self,
        batch: usize,
        shard: Option<Shard>,
        turn: Option<(&str, &Turn<'_>)>,
        with: impl FnOnce(RunPlan<'_>) -> T,
    ) -> Result<T, RunError> {
        let Some((surrogates, transfer)) = &self.surrogates else {
            let mut plan = self.planned(self.model.model.access(), batch, shard);
            if let Some((check, turn)) = turn {
                take_turn(&mut plan, check, turn);
            }
            return Ok(with(plan));
        };
        let source = surrogates.source()?;
        let model = Surrogate::new(self.model.model.as_ref(), source.as_ref())?;
        let model = if *transfer { model.transfer() } else { model };
        let mut plan = self.planned(Access::from(&model), batch, shard);
        if let Some((check, turn)) = turn {
            take_turn(&mut plan, check, turn);
        }
        Ok(with(plan))
    }

    fn planned<'a>(&'a self, model: Access<'a>, batch: usize, shard: Option<Shard>) -> RunPlan<'a> {
        let mut plan = RunPlan::new(model, &self.data, &self.attacks, self.threats.clone());
        plan.map = self.task.threat.as_ref().and_then(|t| t.map);
        plan.certificates = &self.certificates;
        plan.settings = Settings {
            seed: self.seed,
            batch,
            ..Settings::default()
        };
        plan.criterion.clone_from(&self.task.criterion);
        plan.preprocessing.clone_from(&self.model.preprocessing);
        plan.reading.clone_from(&self.model.reading);
        let limit = json!(self.task.limit);
        plan.selection.insert("limit".to_owned(), limit);
        plan.selection
            .insert(REQUEST.to_owned(), self.request.clone());
        plan.shard = shard;
        plan.looks.clone_from(&self.task.looks);
        plan
    }
}

/// Sets how a plan is run.
fn take_turn<'a>(plan: &mut RunPlan<'a>, check: &str, turn: &Turn<'a>) {
    plan.stop = turn.stop;
    plan.resume = turn.options.resume.get(check);
    plan.clock = turn.options.clock;
    plan.progress = turn.progress;
}

impl Work for AttackCheck {
    fn notes(&self) -> Vec<String> {
        let (model, data) = (&self.model.model.signature().name, &self.data);
        let of_model = self.model.notes.iter().map(|n| format!("{model}: {n}"));
        let of_data = data.read_as.notes.iter();
        let of_data = of_data.map(|n| format!("{}: {n}", data.name));
        let surrogates = self.surrogates.iter().flat_map(|(s, _)| s.notes());
        of_model.chain(surrogates).chain(of_data).collect()
    }

    fn fits(&self, record: &Record, shard: Option<Shard>, same_device: bool) -> Result<(), String> {
        let Record::Attack(report) = record else {
            return Err(format!("its schema is `{}`", record.schema()));
        };
        let batch = Settings::default().batch;
        let fits = self.plan(batch, shard, None, |plan| plan.made(report));
        fits.map_err(|e| e.to_string())??;
        let device = crate::describe(&self.model.model.signature().device);
        if same_device && device != report.device {
            return Err(format!("device is {}, expected {device}", report.device));
        }
        Ok(())
    }

    fn can_resume(
        &self,
        checkpoint: &RunCheckpoint,
        options: &GateOptions<'_>,
    ) -> Result<(), String> {
        let can = self.plan(options.batch, options.shard, None, |plan| {
            plan.can_resume(checkpoint)
        });
        can.and_then(|can| can).map_err(|e| e.to_string())
    }

    fn run(&self, check: &str, turn: &Turn<'_>) -> Result<Record, NoRecord> {
        let options = turn.options;
        let turn = Some((check, turn));
        let decided = |report: &Report| self.task.is_decided(report, self.level);
        let measured = self.plan(options.batch, options.shard, turn, |plan| {
            plan.run_until(&decided)
        });
        let measured = measured.and_then(|m| m).map_err(|e| match e {
            RunError::Checkpoint(_) | RunError::Engine(EngineError::Checkpoint(_)) => {
                NoRecord::Failed(format!(
                    "{e}; remove the checkpoint to measure the check again"
                ))
            }
            e => NoRecord::Failed(e.to_string()),
        })?;
        if let Some(checkpoint) = &measured.checkpoint {
            (options.stopped)(check, checkpoint);
        }
        Ok(measured.report.into())
    }
}

pub(super) fn prepare(
    policy: &Policy,
    check: &Check,
    task: &AttackTask,
    folder: &Path,
    device: &Device,
    opened: &mut Opened,
) -> Result<AttackCheck, GateError> {
    let fault = |source: RunError| GateError::Check {
        check: check.id.clone(),
        source: Box::new(source),
    };
    // The key covers everything that affects what is opened: the policy's entry, and the rows that the check takes.
    let outputs = task.criterion.outputs();
    let of_data = format!("{:?} {:?} {outputs}", task.data, task.limit);
    let data = shared(&mut opened.data, of_data.clone(), || {
        find_data(policy, task, folder, &fault)
    })?;
    // The data settle what a model's file leaves open, so they are part of the model's key.
    let mut open = |model: &ModelRef| {
        shared(&mut opened.models, format!("{model:?} {of_data}"), || {
            find_model(model, outputs, &data, folder, device, &fault)
        })
    };
    let model = open(&task.model)?;
    let surrogates = match &task.surrogate {
        None => None,
        Some(spec) => {
            let models = spec
                .models
                .iter()
                .map(&mut open)
                .collect::<Result<_, _>>()?;
            let surrogates = Surrogates::new(models, spec.averaging).map_err(&fault)?;
            Some((surrogates, spec.transfer))
        }
    };
    let signature = model.model.signature();
    let mut attacks = Vec::new();
    for spec in &task.attacks {
        let attack = proofmark_attacks::build(&spec.id, &spec.parameters)
            .map_err(|e| policy.attack_error(spec, e.field.as_deref(), e.problem))?;
        crate::criteria::refuse_loss(&task.criterion, &spec.id, &spec.parameters)
            .map_err(|problem| policy.attack_error(spec, Some("loss"), problem))?;
        attacks.push(attack);
    }
    let threats: Vec<ThreatPlan> = task.threat.iter().map(threat).collect();
    let gives = match surrogates {
        Some(_) => Needs::Gradients,
        None => model.model.access().gives(),
    };
    // Everything that can be refused is refused before the first check has cost anything.
    let samples = crate::samples::samples(&data, signature).map_err(&fault)?;
    crate::criteria::fits_model(&task.criterion, signature).map_err(&fault)?;
    crate::criteria::require_references(&task.criterion, &data, signature, "").map_err(&fault)?;
    let map = task.threat.as_ref().and_then(|t| t.map);
    let mut plan = RunPlan::new(model.model.as_ref(), &data, &attacks, threats.clone());
    plan.map = map;
    plan.looks.clone_from(&task.looks);
    plan.require_whole().map_err(&fault)?;
    let modalities = plan.inputs().map_err(&fault)?;
    let samples = match map {
        Some(_) => plan.without_samples().map_err(&fault)?,
        None => samples,
    };
    for t in &threats {
        t.require_change(&modalities, &data).map_err(&fault)?;
        let threat = t.fit(&modalities, &data).map_err(&fault)?;
        if map.is_none() {
            crate::numbers::check(&threat, signature, data.len()).map_err(&fault)?;
        }
        for (spec, attack) in task.attacks.iter().zip(&attacks) {
            let job = Job::new(&samples, &[], &threat, &Silent);
            check_members(attack.as_ref(), gives, &job).map_err(|e| {
                let problem = e.to_string();
                let own = format!("attack `{}` ", spec.id);
                let problem = problem.strip_prefix(&own).unwrap_or(&problem);
                policy.attack_error(spec, None, problem.to_owned())
            })?;
        }
    }
    let certificates = task.certify.iter();
    let certificates = certificates.map(|id| Certificate::build(id, &toml::Table::new()));
    let certificates: Vec<Certificate> = certificates.collect::<Result<_, _>>().map_err(&fault)?;
    plan.criterion.clone_from(&task.criterion);
    plan.certificates = &certificates;
    let fitted: Result<Vec<_>, RunError> =
        threats.iter().map(|t| t.fit(&modalities, &data)).collect();
    plan.require_certificates(&fitted.map_err(&fault)?)
        .map_err(&fault)?;
    let check = AttackCheck {
        certificates,
        seed: policy.seed,
        level: check.level,
        task: task.clone(),
        request: check.request.clone(),
        model,
        surrogates,
        data,
        attacks,
        threats,
    };
    // Refuses surrogates that do not agree with the model.
    check.plan(1, None, None, |_| ()).map_err(&fault)?;
    Ok(check)
}

fn find_model(
    model: &ModelRef,
    outputs: Outputs,
    data: &Dataset,
    folder: &Path,
    device: &Device,
    fault: &dyn Fn(RunError) -> GateError,
) -> Result<OpenModel, GateError> {
    let entry = match model {
        ModelRef::Shipped(name) => {
            let mut source = ModelSource::new(name);
            source.onnx.outputs = outputs;
            return source.open(data, device).map_err(fault);
        }
        ModelRef::Entry(entry) => entry,
    };
    // A policy may give a shipped model another name, a required digest, or preprocessing.
    let spec = if shipped::NAMES.contains(&entry.path.as_str()) {
        entry.path.clone()
    } else {
        folder.join(&entry.path).display().to_string()
    };
    let narrow = |v: &[f64]| v.iter().map(|x| *x as f32).collect();
    let mut onnx = OnnxOptions::default();
    onnx.layout = entry.layout.map(|l| match l {
        proofmark_gate::Layout::Nchw => Layout::Nchw,
        proofmark_gate::Layout::Nhwc => Layout::Nhwc,
    });
    onnx.output.clone_from(&entry.output_name);
    onnx.kind = entry.output;
    onnx.outputs = outputs;
    let source = ModelSource {
        spec,
        name: Some(entry.name.clone()),
        preprocess: Preprocess {
            scale: entry.preprocess.scale.map(|s| s as f32),
            mean: narrow(&entry.preprocess.mean),
            std: narrow(&entry.preprocess.std),
        },
        onnx,
        fixed: entry.fix.iter().cloned().collect(),
    };
    let found = source.open(data, device).map_err(fault)?;
    let sha256 = &found.model.signature().sha256;
    if let Some(expected) = entry.sha256.as_ref().filter(|e| *e != sha256) {
        return Err(GateError::Digest {
            what: "model",
            name: entry.name.clone(),
            found: sha256.clone(),
            expected: expected.clone(),
        });
    }
    Ok(found)
}

fn find_data(
    policy: &Policy,
    task: &AttackTask,
    folder: &Path,
    fault: &dyn Fn(RunError) -> GateError,
) -> Result<Dataset, GateError> {
    let run = policy.seed;
    let broken = |e: DataError| fault(e.into());
    let mut data = match &task.data {
        DataRef::Shipped(name) => {
            let mut options = Options::default();
            options.outputs = task.criterion.outputs();
            proofmark_data::open(name, &options).map_err(broken)?
        }
        DataRef::Entry(entry) => {
            if entry.meta.is_some() {
                return Err(fault(RunError::Parameter(format!(
                    "data `{}`: `meta` columns are not read by this version",
                    entry.name
                ))));
            }
            let mut options = (*entry.options).clone();
            options.labels = entry.options.labels.as_ref().map(|p| folder.join(p));
            options.outputs = task.criterion.outputs();
            options.select = selection(entry, task.limit, run);
            // A policy may give a shipped set another name, a limit, a range.
            let path = if proofmark_data::SHIPPED.contains(&entry.path.as_str()) {
                entry.path.clone()
            } else {
                folder.join(&entry.path).display().to_string()
            };
            let mut data = proofmark_data::open(&path, &options).map_err(|e| match e {
                DataError::NoBounds { array, values, .. } => policy
                    .data_error(
                        entry,
                        format!(
                            "`{array}` holds {values} and states no bounds; add `bounds = [0, 1]` to this [[data]], with the least and greatest value it may take"
                        ),
                    )
                    .into(),
                DataError::NoUnits {
                    array,
                    values,
                    scale,
                    ..
                } => policy
                    .data_error(
                        entry,
                        format!(
                            "`{array}` holds {values}, and does not say what they are; add to this [[data]] `bounds = [LO, HI]` to keep features as they are, within these bounds, or `units = \"scaled\"` to divide them by {scale}, as pixels and sound are"
                        ),
                    )
                    .into(),
                e => broken(e),
            })?;
            if let Some(expected) = entry.sha256.as_ref().filter(|e| **e != data.sha256) {
                return Err(GateError::Digest {
                    what: "data",
                    name: entry.name.clone(),
                    found: data.sha256,
                    expected: expected.clone(),
                });
            }
            data.name.clone_from(&entry.name);
            data
        }
    };
    let chosen = matches!(&task.data, DataRef::Entry(e) if e.range.is_none() && e.limit.is_none());
    if let Some(limit) = task.limit.filter(|_| !chosen) {
        data = data.limit(limit as usize, run);
    }
    Ok(data)
}

/// Returns the rows of an entry; those of the check if the entry takes all, so that no others are read.
fn selection(entry: &DataEntry, limit: Option<u64>, run: Seed) -> Selection {
    match (&entry.range, entry.limit, limit) {
        (Some(range), ..) => Selection {
            rows: Rows::Range(range.start as usize..range.end as usize),
            ..Selection::default()
        },
        (None, Some(n), _) => Selection {
            seed: Seed(entry.seed.unwrap_or(run.0)),
            rows: Rows::Limit(n as usize),
        },
        (None, None, Some(n)) => Selection {
            seed: run,
            rows: Rows::Limit(n as usize),
        },
        (None, None, None) => Selection::default(),
    }
}

fn threat(spec: &ThreatSpec) -> ThreatPlan {
    match &spec.budgets {
        Budgets::All { norm, eps } => ThreatPlan {
            coupling: spec.coupling,
            ..ThreatPlan::new(*norm, eps.clone())
        },
        // An input that is not named is frozen.
        Budgets::PerModality(each) => ThreatPlan {
            inputs: each
                .iter()
                .map(|b| (b.name.clone(), (b.norm, b.eps.clone())))
                .collect(),
            coupling: spec.coupling,
            ..ThreatPlan::new(Norm::Linf, Epsilon::default())
        },
    }
}
