//! Carries out a policy: measures every check and leaves one evidence record for each.

mod attack_check;
mod audit_check;
mod opened;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use proofmark_audit::AuditError;
use proofmark_domain::Shard;
use proofmark_gate::{Check, Evidence, Known, Measure, NoRecord, Policy, PolicyError, Record};

use opened::Opened;
use work::{Meter, Turn, Work};

use crate::{Progress, RunCheckpoint, RunError, RunPlan, Settings, shipped};

/// Why a gate cannot begin; nothing has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// The policy is wrong; the error names the line.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A model or data set that a check names cannot be opened or used.
    #[error("check `{check}`: {source}{}", as_fields(&source.to_string()))]
    Check {
        /// Id of the check.
        check: String,
        /// The underlying error.
        source: Box<RunError>,
    },
    /// A table of decisions cannot be audited.
    #[error("check `{check}`: {source}{}", as_fields(&source.to_string()))]
    Table {
        /// Id of the check.
        check: String,
        /// The underlying error.
        source: Box<AuditError>,
    },
    /// A file is not the one the policy was written for.
    #[error(
        "{what} `{name}` has sha256 {found}; the policy expects {expected}: it is another file than the one that was reviewed"
    )]
    Digest {
        /// `model` or `data`.
        what: &'static str,
        /// Name of the model or data.
        name: String,
        /// Digest found.
        found: String,
        /// Digest expected.
        expected: String,
    },
}

/// Returns a hint on how a policy writes what a message calls by its command-line option.
fn as_fields(message: &str) -> &'static str {
    let option = message.contains("`--") || message.contains(" --");
    if option && !message.contains("in a policy") {
        " (in a policy such options are fields of [[data]], [[model]] or the check, with `_` for `-`)"
    } else {
        ""
    }
}

/// A policy that was read. Nothing that it names is opened, so evidence can be judged without models and data.
#[derive(Debug)]
pub struct Gate {
    policy: Policy,
    folder: PathBuf,
}

/// A policy with everything that it names opened and checked, ready to be measured.
pub struct PreparedGate<'a> {
    gate: &'a Gate,
    /// One entry per check.
    work: Vec<Box<dyn Work>>,
}

impl std::fmt::Debug for PreparedGate<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedGate")
            .field("policy", &self.gate.policy)
            .finish_non_exhaustive()
    }
}

/// Options of a gate run.
#[non_exhaustive]
pub struct GateOptions<'a> {
    /// Rows in progress at once.
    pub batch: usize,
    /// Part of each check's samples to run.
    pub shard: Option<Shard>,
    /// Called between steps; `true` ends the run.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Checkpoints of stopped checks, by check id, to resume from. Each must be [of this
    /// run](PreparedGate::can_resume).
    pub resume: &'a BTreeMap<String, RunCheckpoint>,
    /// Called with the checkpoint of a stopped check, before its evidence is reported.
    pub stopped: &'a dyn Fn(&str, &RunCheckpoint),
    /// Seconds since some fixed moment.
    pub clock: &'a (dyn Fn() -> f64 + Sync),
    /// Receives progress.
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

/// No checkpoints.
static NOWHERE: BTreeMap<String, RunCheckpoint> = BTreeMap::new();

/// All samples, no progress, no clock.
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
    /// Reads a policy. Findings call it `file`, and the paths in it are relative to the folder of `file`.
    pub fn read(source: &[u8], file: &Path) -> Result<Self, PolicyError> {
        let ids = proofmark_attacks::ids();
        let known = Known {
            attacks: &ids,
            models: &shipped::NAMES,
            data: &proofmark_data::SHIPPED,
        };
        let mut policy = Policy::parse(source, &known)?;
        policy.file = file.display().to_string();
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        Ok(Self { policy, folder })
    }

    /// Returns the checked policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the folder that its paths are relative to.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the check that left this record finished: no sample was stopped, and a sequential check ended where its
    /// requirement is decided, or at its last look.
    pub fn finished(&self, check: &str, record: &Record) -> bool {
        let is_whole = match record {
            Record::Attack(report) => RunPlan::finished(report),
            Record::Audit(_) => true,
        };
        let check = self.policy.checks.iter().find(|c| c.id == check);
        is_whole && check.is_none_or(|c| c.is_settled(record))
    }

    /// Opens what the policy names, each file once however many checks use it, and refuses what can be refused before
    /// anything is attacked. Tables are audited here: that needs no model, and shows whether they can be audited.
    pub fn prepare(&self, device: &Device) -> Result<PreparedGate<'_>, GateError> {
        let policy = &self.policy;
        let mut opened = Opened::default();
        let mut tables = Vec::new();
        let mut models = Vec::new();
        for check in &policy.checks {
            models.push(match check.measure() {
                Measure::Attack(task) => Some(attack_check::prepare(
                    policy,
                    check,
                    task,
                    &self.folder,
                    device,
                    &mut opened,
                )?),
                Measure::Audit(task) => {
                    let table = audit_check::open(check, task, &self.folder, &mut opened)?;
                    tables.push(table);
                    None
                }
            });
        }
        let mut audits = audit_check::audit(&tables)?.into_iter();
        let work = models.into_iter().filter_map(|attacked| match attacked {
            Some(attack) => Some(Box::new(attack) as Box<dyn Work>),
            None => audits.next().map(|audit| Box::new(audit) as Box<dyn Work>),
        });
        Ok(PreparedGate {
            gate: self,
            work: work.collect(),
        })
    }
}

impl PreparedGate<'_> {
    /// Returns the notes on how the checks' models are computed and their data were read, without duplicates.
    pub fn notes(&self) -> BTreeSet<String> {
        self.work.iter().flat_map(|w| w.notes()).collect()
    }

    fn check(&self, id: &str) -> Result<(&Check, &dyn Work), String> {
        let mut checks = self.gate.policy.checks.iter().zip(&self.work);
        let found = checks.find(|(check, _)| check.id == id);
        let (check, work) = found.ok_or("the policy has no such check")?;
        Ok((check, work.as_ref()))
    }

    /// Checks that an earlier record can stand for a check, or for one shard of it, without measuring again; the error
    /// says why not.
    pub fn reusable(
        &self,
        check: &str,
        record: &Record,
        shard: Option<Shard>,
        same_device: bool,
    ) -> Result<(), String> {
        let id = check;
        let (check, work) = self.check(id)?;
        check.requested(record)?;
        work.fits(record, shard, same_device)?;
        if self.gate.finished(id, record) {
            Ok(())
        } else {
            Err(
                "it was stopped before its end, or ended where other requirements were decided"
                    .to_owned(),
            )
        }
    }

    /// Checks that a check, or one shard of it, can resume from a checkpoint; the error says why not.
    pub fn can_resume(
        &self,
        check: &str,
        checkpoint: &RunCheckpoint,
        options: &GateOptions<'_>,
    ) -> Result<(), String> {
        self.check(check)?.1.can_resume(checkpoint, options)
    }

    /// Measures every check that `earlier` does not already hold, and calls `done` with each record. Records in
    /// `earlier` must be [reusable](Self::reusable).
    ///
    /// A check that fails to run is reported like any other: its evidence is the error, and judging fails closed.
    pub fn run(
        &self,
        options: &GateOptions<'_>,
        earlier: &BTreeMap<String, Record>,
        done: &mut dyn FnMut(&str, &Result<Record, NoRecord>),
    ) -> Evidence {
        let meter = Meter::new(options, self.gate.policy.limits);
        let stop = || meter.is_over();
        let turn = Turn {
            options,
            stop: &stop,
            progress: &meter,
        };
        let mut evidence = Evidence::new();
        for (check, work) in self.gate.policy.checks.iter().zip(&self.work) {
            let is_first = options.shard.is_none_or(|s| s.index == 0);
            if !check.measure().is_divided() && !is_first {
                continue;
            }
            let record = match earlier.get(&check.id) {
                Some(record) => Ok(record.clone()),
                None => work.run(&check.id, &turn),
            };
            done(&check.id, &record);
            evidence.insert(check.id.clone(), record);
        }
        evidence
    }
}
