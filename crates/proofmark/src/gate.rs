//! A policy, carried out: every check measured, each leaving one evidence record.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::Device;
use proofmark_data::{Dataset, Options};
use proofmark_domain::{Epsilon, Norm, Report, Shard};
use proofmark_engine::{Attack, Event, Observer};
use proofmark_gate::{
    Budgets, DataBounds, DataRef, Evidence, Job, Known, ModelRef, OutputKind, Policy, PolicyError,
    ThreatSpec,
};
use proofmark_model::GradientModel;
use proofmark_onnx::{Layout, OnnxOptions};
use serde_json::{Map, json};

use crate::model::{ModelSource, OpenModel, Preprocess};
use crate::{Progress, RunError, RunPlan, Settings, ThreatPlan, shipped};

/// Why a gate cannot begin: nothing has run.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The policy is wrong, at a line.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// What it names cannot be had.
    #[error("check `{check}`: {source}")]
    Check {
        /// The check's id.
        check: String,
        /// What is wrong.
        source: Box<RunError>,
    },
    /// A file is not the one the policy was written for.
    #[error(
        "{what} `{name}` has sha256 {found}; the policy expects {expected}: it is another file than the one that was reviewed"
    )]
    Digest {
        /// `model` or `data`.
        what: &'static str,
        /// Its name.
        name: String,
        /// The digest found.
        found: String,
        /// The digest expected.
        expected: String,
    },
}

/// A policy whose every part was found and checked, ready to run.
pub struct Gate {
    policy: Policy,
    checks: Vec<Prepared>,
}

struct Prepared {
    job: Job,
    model: Box<dyn GradientModel>,
    data: Dataset,
    attacks: Vec<Box<dyn Attack>>,
    threats: Vec<ThreatPlan>,
    preprocessing: Map<String, serde_json::Value>,
}

/// How a gate run goes about it.
pub struct GateOptions<'a> {
    /// Rows at work at once.
    pub batch: usize,
    /// Which part of each check's samples to run.
    pub shard: Option<Shard>,
    /// Asked between steps; `true` ends the run.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Seconds since some fixed moment.
    pub clock: &'a (dyn Fn() -> f64 + Sync),
    /// Who watches.
    pub progress: &'a dyn Progress,
}

/// All samples, nobody watching, no clock.
impl Default for GateOptions<'_> {
    fn default() -> Self {
        Self {
            batch: Settings::default().batch,
            shard: None,
            stop: &|| false,
            clock: &|| 0.0,
            progress: &proofmark_engine::Silent,
        }
    }
}

impl Gate {
    /// Reads a policy and finds everything it names; paths are relative to `folder`.
    pub fn prepare(source: &[u8], folder: &Path, device: &Device) -> Result<Self, GateError> {
        let ids = proofmark_attacks::ids();
        let known = Known {
            attacks: &ids,
            models: &shipped::NAMES,
            data: &proofmark_data::SHIPPED,
        };
        let policy = Policy::parse(source, &known)?;
        let checks = policy
            .plan()
            .into_iter()
            .map(|job| prepare(&policy, job, folder, device))
            .collect::<Result<_, _>>()?;
        Ok(Self { policy, checks })
    }

    /// The checked policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Turns evidence that is not of this policy as it stands (another attack parameter, other samples, another
    /// model) into an error: judging then fails closed.
    pub fn refuse_stale(&self, evidence: &mut Evidence) {
        for check in &self.checks {
            let Some(found) = evidence.get_mut(&check.job.check) else {
                continue;
            };
            if found
                .as_ref()
                .is_ok_and(|r| !check.plan(Settings::default().batch).made_or_stopped(r))
            {
                *found =
                    Err("the evidence was measured for another policy, model or data".to_owned());
            }
        }
    }

    /// Measures every check that `earlier` does not already hold, telling `done` of each as it ends.
    ///
    /// A check that fails to run is told like any other: its evidence is the error, and judging fails closed.
    pub fn run(
        &self,
        options: &GateOptions<'_>,
        earlier: &BTreeMap<String, Report>,
        done: &mut dyn FnMut(&str, &Result<Report, String>),
    ) -> Evidence {
        let began = (options.clock)();
        let meter = Meter {
            inner: options.progress,
            forwards: AtomicU64::new(0),
        };
        let limits = &self.policy.limits;
        let stop = || {
            (options.stop)()
                || limits
                    .seconds
                    .is_some_and(|s| (options.clock)() - began > s)
                || limits
                    .forwards
                    .is_some_and(|f| meter.forwards.load(Ordering::Relaxed) > f)
        };
        let mut evidence = Evidence::new();
        for check in &self.checks {
            let mut plan = check.plan(options.batch);
            plan.shard = options.shard;
            plan.stop = &stop;
            plan.clock = options.clock;
            plan.progress = &meter;
            let report = match earlier.get(&check.job.check) {
                Some(report) if plan.made(report) => Ok(report.clone()),
                _ => plan.run().map(|m| m.report).map_err(|e| e.to_string()),
            };
            done(&check.job.check, &report);
            evidence.insert(check.job.check.clone(), report);
        }
        evidence
    }
}

impl Prepared {
    /// The run this check asks for.
    fn plan(&self, batch: usize) -> RunPlan<'_> {
        let mut plan = RunPlan::new(
            self.model.as_ref(),
            &self.data,
            &self.attacks,
            self.threats.clone(),
        );
        plan.settings = Settings {
            seed: self.job.seed,
            batch,
            ..Settings::default()
        };
        plan.preprocessing.clone_from(&self.preprocessing);
        plan.selection
            .insert("limit".to_owned(), json!(self.job.limit));
        plan
    }
}

fn prepare(
    policy: &Policy,
    job: Job,
    folder: &Path,
    device: &Device,
) -> Result<Prepared, GateError> {
    let fault = |source: RunError| GateError::Check {
        check: job.check.clone(),
        source: Box::new(source),
    };
    let data = find_data(&job, folder, &fault)?;
    let OpenModel {
        model,
        preprocessing,
    } = find_model(&job, &data, folder, device, &fault)?;
    let mut attacks = Vec::new();
    for spec in &job.attacks {
        let attack = proofmark_attacks::build(&spec.id, &spec.parameters)
            .map_err(|e| policy.attack_error(spec, e.field.as_deref(), e.problem))?;
        let norms = attack.meta().norms;
        let asked = job.threat.iter().map(|t| t.leading().0);
        if let Some(norm) = asked.into_iter().find(|n| !norms.contains(n)) {
            let known: Vec<&str> = norms.iter().map(|n| n.as_str()).collect();
            let problem = format!(
                "does not support norm {norm}; it supports {}",
                known.join(", ")
            );
            return Err(policy.attack_error(spec, None, problem).into());
        }
        attacks.push(attack);
    }
    let threats: Vec<ThreatPlan> = job.threat.iter().map(threat).collect();
    // Everything that can be refused is refused before the first check has cost anything.
    crate::samples::samples(&data, model.signature()).map_err(&fault)?;
    crate::samples::require_labels(&data).map_err(|e| fault(e.into()))?;
    for t in &threats {
        t.fit(&model.signature().modalities, &data)
            .map_err(&fault)?;
    }
    Ok(Prepared {
        job,
        model,
        data,
        attacks,
        threats,
        preprocessing,
    })
}

fn find_model(
    job: &Job,
    data: &Dataset,
    folder: &Path,
    device: &Device,
    fault: &dyn Fn(RunError) -> GateError,
) -> Result<OpenModel, GateError> {
    let entry = match &job.model {
        ModelRef::Shipped(name) => {
            return ModelSource::new(name).open(data, device).map_err(fault);
        }
        ModelRef::Entry(entry) => entry,
    };
    // A shipped model may be given another name, a digest to hold it to, or preprocessing.
    let spec = if shipped::NAMES.contains(&entry.path.as_str()) {
        entry.path.clone()
    } else {
        folder.join(&entry.path).display().to_string()
    };
    let narrow = |v: &[f64]| v.iter().map(|x| *x as f32).collect();
    let source = ModelSource {
        spec,
        name: Some(entry.name.clone()),
        preprocess: Preprocess {
            scale: entry.preprocess.scale.map(|s| s as f32),
            mean: narrow(&entry.preprocess.mean),
            std: narrow(&entry.preprocess.std),
        },
        onnx: OnnxOptions {
            layout: entry.layout.map(|l| match l {
                proofmark_gate::Layout::Nchw => Layout::Nchw,
                proofmark_gate::Layout::Nhwc => Layout::Nhwc,
            }),
            output: entry.output_name.clone(),
            probabilities: entry.output == OutputKind::Probabilities,
            raw: false,
        },
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
    job: &Job,
    folder: &Path,
    fault: &dyn Fn(RunError) -> GateError,
) -> Result<Dataset, GateError> {
    let broken = |e: proofmark_data::DataError| fault(e.into());
    let mut data = match &job.data {
        DataRef::Shipped(name) => {
            proofmark_data::open(name, &Options::default()).map_err(broken)?
        }
        DataRef::Entry(entry) => {
            let bounds = match &entry.bounds {
                None => None,
                Some(DataBounds::All(b)) => Some(b.clone()),
                Some(DataBounds::PerModality(_)) => {
                    return Err(fault(RunError::Parameter(format!(
                        "data `{}`: bounds by input are stated in the file itself (an array `bounds_NAME` of an npz)",
                        entry.name
                    ))));
                }
            };
            if entry.meta.is_some() {
                return Err(fault(RunError::Parameter(format!(
                    "data `{}`: `meta` columns are not read by this version",
                    entry.name
                ))));
            }
            let options = Options {
                bounds,
                ..Options::default()
            };
            // A shipped set may be given another name, a limit, a range.
            let path = if proofmark_data::SHIPPED.contains(&entry.path.as_str()) {
                entry.path.clone()
            } else {
                folder.join(&entry.path).display().to_string()
            };
            let mut data = proofmark_data::open(&path, &options).map_err(broken)?;
            if let Some(expected) = entry.sha256.as_ref().filter(|e| **e != data.sha256) {
                return Err(GateError::Digest {
                    what: "data",
                    name: entry.name.clone(),
                    found: data.sha256,
                    expected: expected.clone(),
                });
            }
            let seed = proofmark_domain::Seed(entry.seed.unwrap_or(job.seed.0));
            if let Some(range) = &entry.range {
                data = data
                    .range(range.start as usize..range.end as usize)
                    .map_err(broken)?;
            } else if let Some(limit) = entry.limit {
                data = data.limit(limit as usize, seed);
            }
            data.name.clone_from(&entry.name);
            data
        }
    };
    if let Some(limit) = job.limit {
        data = data.limit(limit as usize, job.seed);
    }
    Ok(data)
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

/// Counts what is asked of models, for `[limits] forwards`.
struct Meter<'a> {
    inner: &'a dyn Progress,
    forwards: AtomicU64,
}

impl Observer for Meter<'_> {
    fn event(&self, event: Event) {
        if let Event::Step { active, .. } = event {
            self.forwards.fetch_add(active as u64, Ordering::Relaxed);
        }
        self.inner.event(event);
    }
}

impl Progress for Meter<'_> {
    fn begin(&self, run: &str, samples: usize) {
        self.inner.begin(run, samples);
    }
}
