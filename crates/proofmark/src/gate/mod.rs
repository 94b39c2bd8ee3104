//! A policy, carried out: every check measured, each leaving one evidence record.

mod attack_check;
mod audit_check;
mod opened;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::Device;
use proofmark_audit::AuditError;
use proofmark_domain::Shard;
use proofmark_engine::{EngineError, Event, Observer};
use proofmark_gate::{Check, Evidence, Known, NoRecord, Policy, PolicyError, Record, Task};

use attack_check::AttackCheck;
use audit_check::AuditCheck;
use opened::Opened;

use crate::{Progress, RunCheckpoint, RunError, RunPlan, Settings, shipped};

/// Why a gate cannot begin: nothing has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// The policy is wrong, at a line.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// What it names cannot be had.
    #[error("check `{check}`: {source}{}", as_fields(&source.to_string()))]
    Check {
        /// The check's id.
        check: String,
        /// What is wrong.
        source: Box<RunError>,
    },
    /// A table of decisions cannot be audited.
    #[error("check `{check}`: {source}")]
    Table {
        /// The check's id.
        check: String,
        /// What is wrong.
        source: Box<AuditError>,
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

/// How to say in a policy what a message calls by its option on the command line.
fn as_fields(message: &str) -> &'static str {
    let option = message.contains("`--") || message.contains(" --");
    if option && !message.contains("in a policy") {
        " (in a policy such options are fields of [[data]] or [[model]], with `_` for `-`)"
    } else {
        ""
    }
}

/// A policy whose every part was found and checked, ready to run.
pub struct Gate {
    policy: Policy,
    checks: Vec<Prepared>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// One check, ready to run.
struct Prepared {
    check: String,
    work: Work,
}

enum Work {
    Attack(Box<AttackCheck>),
    Audit(Box<AuditCheck>),
}

/// How a gate run goes about it.
#[non_exhaustive]
pub struct GateOptions<'a> {
    /// Rows at work at once.
    pub batch: usize,
    /// Which part of each check's samples to run.
    pub shard: Option<Shard>,
    /// Asked between steps; `true` ends the run.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// By check, where an earlier run of it was stopped, to go on from there. What is in it has to be
    /// [of this run](Gate::can_resume).
    pub resume: &'a BTreeMap<String, RunCheckpoint>,
    /// Told where a check was stopped, before its evidence is.
    pub stopped: &'a dyn Fn(&str, &RunCheckpoint),
    /// Seconds since some fixed moment.
    pub clock: &'a (dyn Fn() -> f64 + Sync),
    /// Who watches.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for GateOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GateOptions")
            .field("batch", &self.batch)
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

/// Nothing to go on from.
static NOWHERE: BTreeMap<String, RunCheckpoint> = BTreeMap::new();

/// All samples, nobody watching, no clock.
impl Default for GateOptions<'_> {
    fn default() -> Self {
        Self {
            batch: Settings::default().batch,
            shard: None,
            stop: &|| false,
            resume: &NOWHERE,
            stopped: &|_, _| {},
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
        let mut opened = Opened::default();
        let mut checks = policy
            .checks
            .iter()
            .map(|check| prepare(&policy, check, folder, device, &mut opened))
            .collect::<Result<Vec<_>, _>>()?;
        one_family(&mut checks);
        Ok(Self { policy, checks })
    }

    /// Whether the check that left this record came to its end.
    pub fn finished(record: &Record) -> bool {
        match record {
            Record::Attack(report) => RunPlan::finished(report),
            Record::Audit(_) => true,
        }
    }

    /// The checked policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What there is to know of how the checks' models are computed and their data were read, each once.
    pub fn notes(&self) -> BTreeSet<String> {
        let attacks = self.checks.iter().filter_map(|c| match &c.work {
            Work::Attack(attack) => Some(attack.notes()),
            Work::Audit(_) => None,
        });
        attacks.flatten().collect()
    }

    /// Takes out evidence that is not of this policy as it stands (another attack parameter, other samples, another
    /// model; with `same_device`, another device), saying what differs: judging then fails closed.
    pub fn refuse_stale(&self, evidence: &mut Evidence, same_device: bool) {
        for check in &self.checks {
            let Some(found) = evidence.get_mut(&check.check) else {
                continue;
            };
            if let Ok(record) = found
                && let Err(why) = check.fits(record, None, same_device)
            {
                *found = Err(NoRecord::Mismatched(why));
            }
        }
    }

    /// Whether an earlier record can stand for a check, or for one shard of it, without measuring again; if not, why.
    pub fn reusable(
        &self,
        check: &str,
        record: &Record,
        shard: Option<Shard>,
        same_device: bool,
    ) -> Result<(), String> {
        let Some(check) = self.checks.iter().find(|c| c.check == check) else {
            return Err("the policy has no such check".to_owned());
        };
        check.fits(record, shard, same_device)?;
        if Self::finished(record) {
            Ok(())
        } else {
            Err("it was stopped before its end".to_owned())
        }
    }

    /// Whether a check, or one shard of it, can go on from a checkpoint; if not, why.
    pub fn can_resume(
        &self,
        check: &str,
        checkpoint: &RunCheckpoint,
        options: &GateOptions<'_>,
    ) -> Result<(), String> {
        match self
            .checks
            .iter()
            .find(|c| c.check == check)
            .map(|c| &c.work)
        {
            Some(Work::Attack(work)) => {
                let mut plan = work.plan(options.batch);
                plan.shard = options.shard;
                plan.can_resume(checkpoint).map_err(|e| e.to_string())
            }
            Some(Work::Audit(_)) => Err("a table is audited in one go".to_owned()),
            None => Err("the policy has no such check".to_owned()),
        }
    }

    /// Measures every check that `earlier` does not already hold, telling `done` of each as it ends. What is in
    /// `earlier` has to be [reusable](Self::reusable).
    ///
    /// A check that fails to run is told like any other: its evidence is the error, and judging fails closed.
    pub fn run(
        &self,
        options: &GateOptions<'_>,
        earlier: &BTreeMap<String, Record>,
        done: &mut dyn FnMut(&str, &Result<Record, NoRecord>),
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
            let record = match (&check.work, earlier.get(&check.check)) {
                // A table is not divided: the first shard audits it whole.
                (Work::Audit(_), _) if options.shard.is_some_and(|s| s.index > 0) => continue,
                (_, Some(record)) => Ok(record.clone()),
                (Work::Attack(work), None) => {
                    let mut plan = work.plan(options.batch);
                    plan.shard = options.shard;
                    plan.stop = &stop;
                    plan.resume = options.resume.get(&check.check);
                    plan.clock = options.clock;
                    plan.progress = &meter;
                    let measured = plan.run();
                    if let Ok(Some(checkpoint)) = measured.as_ref().map(|m| &m.checkpoint) {
                        (options.stopped)(&check.check, checkpoint);
                    }
                    measured
                        .map(|m| m.report.into())
                        .map_err(|e| match e {
                            RunError::Checkpoint(_)
                            | RunError::Engine(EngineError::Checkpoint(_)) => {
                                format!("{e}; remove the checkpoint to measure the check again")
                            }
                            e => e.to_string(),
                        })
                        .map_err(NoRecord::Failed)
                }
                (Work::Audit(_), None) if stop() => Err(NoRecord::Stopped),
                (Work::Audit(work), None) => work.run().map(Record::from).map_err(NoRecord::Failed),
            };
            done(&check.check, &record);
            evidence.insert(check.check.clone(), record);
        }
        evidence
    }
}

impl Prepared {
    /// Whether a record is of this check as it stands, finished or not; if not, what differs.
    fn fits(&self, record: &Record, shard: Option<Shard>, same_device: bool) -> Result<(), String> {
        match (&self.work, record) {
            (Work::Attack(work), Record::Attack(report)) => {
                let mut plan = work.plan(Settings::default().batch);
                plan.shard = shard;
                plan.made(report)?;
                let device = crate::describe(&plan.model.signature().device);
                if same_device && device != report.device {
                    return Err(format!("device is {}, expected {device}", report.device));
                }
                Ok(())
            }
            (Work::Audit(work), Record::Audit(report)) => work.made(report),
            (_, record) => Err(format!("its schema is `{}`", record.schema())),
        }
    }
}

fn prepare(
    policy: &Policy,
    check: &Check,
    folder: &Path,
    device: &Device,
    opened: &mut Opened,
) -> Result<Prepared, GateError> {
    let work = match &check.task {
        Task::Attack(task) => Work::Attack(Box::new(attack_check::prepare(
            policy, &check.id, task, folder, device, opened,
        )?)),
        Task::Audit(task) => {
            Work::Audit(Box::new(audit_check::prepare(check, task, folder, opened)?))
        }
    };
    Ok(Prepared {
        check: check.id.clone(),
        work,
    })
}

/// Tells every audit how many figures the others gate.
fn one_family(checks: &mut [Prepared]) {
    let own = |c: &Prepared| match &c.work {
        Work::Audit(audit) => audit.family,
        Work::Attack(_) => 0,
    };
    let together: usize = checks.iter().map(own).sum();
    for check in checks {
        if let Work::Audit(audit) = &mut check.work {
            audit.elsewhere = together - audit.family;
        }
    }
}

/// Counts what is asked of models, for `[limits] forwards`: clean samples, attacks, baselines, probes and judging.
struct Meter<'a> {
    inner: &'a dyn Progress,
    forwards: AtomicU64,
}

impl Observer for Meter<'_> {
    fn event(&self, event: Event) {
        if let Event::Asked { forward, .. } = event {
            self.forwards.fetch_add(forward, Ordering::Relaxed);
        }
        self.inner.event(event);
    }
}

impl Progress for Meter<'_> {
    fn begin(&self, run: &str, samples: usize) {
        self.inner.begin(run, samples);
    }
}
