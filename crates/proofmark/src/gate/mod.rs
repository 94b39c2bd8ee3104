//! A policy, carried out: every check measured, each leaving one evidence record.

mod attack_check;
mod audit_check;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::Device;
use proofmark_audit::AuditError;
use proofmark_domain::Shard;
use proofmark_engine::{Event, Observer};
use proofmark_gate::{Check, Evidence, Known, Policy, PolicyError, Record, Task};

use attack_check::AttackCheck;
use audit_check::AuditCheck;

use crate::{Progress, RunError, Settings, shipped};

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

/// A policy whose every part was found and checked, ready to run.
pub struct Gate {
    policy: Policy,
    checks: Vec<Prepared>,
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
        let mut checks = policy
            .checks
            .iter()
            .map(|check| prepare(&policy, check, folder, device))
            .collect::<Result<Vec<_>, _>>()?;
        one_family(&mut checks);
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
            let Some(found) = evidence.get_mut(&check.check) else {
                continue;
            };
            if found.as_ref().is_ok_and(|r| !check.made_or_stopped(r)) {
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
        earlier: &BTreeMap<String, Record>,
        done: &mut dyn FnMut(&str, &Result<Record, String>),
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
            let earlier = earlier.get(&check.check);
            let record = match &check.work {
                Work::Attack(work) => {
                    let mut plan = work.plan(options.batch);
                    plan.shard = options.shard;
                    plan.stop = &stop;
                    plan.clock = options.clock;
                    plan.progress = &meter;
                    match earlier {
                        Some(Record::Attack(report)) if plan.made(report) => {
                            Ok(Record::Attack(report.clone()))
                        }
                        _ => plan
                            .run()
                            .map(|m| m.report.into())
                            .map_err(|e| e.to_string()),
                    }
                }
                // A table is not divided: the first shard audits it whole.
                Work::Audit(_) if options.shard.is_some_and(|s| s.index > 0) => continue,
                Work::Audit(work) => match earlier {
                    Some(Record::Audit(report)) if work.made(report) => {
                        Ok(Record::Audit(report.clone()))
                    }
                    _ if stop() => {
                        Err("the run was stopped before the table was audited".to_owned())
                    }
                    _ => work.run().map(Record::from),
                },
            };
            done(&check.check, &record);
            evidence.insert(check.check.clone(), record);
        }
        evidence
    }
}

impl Prepared {
    /// Whether a record is of this check as it stands, finished or not.
    fn made_or_stopped(&self, record: &Record) -> bool {
        match (&self.work, record) {
            (Work::Attack(work), Record::Attack(report)) => {
                work.plan(Settings::default().batch).made_or_stopped(report)
            }
            (Work::Audit(work), Record::Audit(report)) => work.made(report),
            _ => false,
        }
    }
}

fn prepare(
    policy: &Policy,
    check: &Check,
    folder: &Path,
    device: &Device,
) -> Result<Prepared, GateError> {
    let work = match &check.task {
        Task::Attack(task) => Work::Attack(Box::new(attack_check::prepare(
            policy, &check.id, task, folder, device,
        )?)),
        Task::Audit(task) => Work::Audit(Box::new(audit_check::prepare(check, task, folder)?)),
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
