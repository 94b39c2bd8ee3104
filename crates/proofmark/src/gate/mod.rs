//! A policy, carried out: every check measured, each leaving one evidence record.

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
    #[error("check `{check}`: {source}{}", as_fields(&source.to_string()))]
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
        " (in a policy such options are fields of [[data]], [[model]] or the check, with `_` for `-`)"
    } else {
        ""
    }
}

/// A policy that was read. Nothing that it names is open, so evidence can be judged without models and data.
#[derive(Debug)]
pub struct Gate {
    policy: Policy,
    folder: PathBuf,
}

/// A policy whose every part was found, opened and checked, ready to be measured.
pub struct PreparedGate<'a> {
    policy: &'a Policy,
    /// One of each check.
    work: Vec<Box<dyn Work>>,
}

impl std::fmt::Debug for PreparedGate<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedGate")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
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
    /// [of this run](PreparedGate::can_resume).
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
    /// Reads a policy. Findings call it by `file`, and the paths in it are relative to the folder of that.
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

    /// The checked policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The folder that its paths are relative to.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the check that left this record came to its end.
    pub fn finished(record: &Record) -> bool {
        match record {
            Record::Attack(report) => RunPlan::finished(report),
            Record::Audit(_) => true,
        }
    }

    /// Opens what the policy names, each file once however many checks are about it, and refuses what can be refused before
    /// anything is attacked. Tables are audited here: that takes no model, and shows whether they can be.
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
            policy,
            work: work.collect(),
        })
    }
}

impl PreparedGate<'_> {
    /// What there is to know of how the checks' models are computed and their data were read, each once.
    pub fn notes(&self) -> BTreeSet<String> {
        self.work.iter().flat_map(|w| w.notes()).collect()
    }

    fn check(&self, id: &str) -> Result<(&Check, &dyn Work), String> {
        let mut checks = self.policy.checks.iter().zip(&self.work);
        let found = checks.find(|(check, _)| check.id == id);
        let (check, work) = found.ok_or("the policy has no such check")?;
        Ok((check, work.as_ref()))
    }

    /// Whether an earlier record can stand for a check, or for one shard of it, without measuring again; if not, why.
    pub fn reusable(
        &self,
        check: &str,
        record: &Record,
        shard: Option<Shard>,
        same_device: bool,
    ) -> Result<(), String> {
        let (check, work) = self.check(check)?;
        check.requested(record)?;
        work.fits(record, shard, same_device)?;
        if Gate::finished(record) {
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
        self.check(check)?.1.can_resume(checkpoint, options)
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
        let meter = Meter::new(options, self.policy.limits);
        let stop = || meter.is_over();
        let turn = Turn {
            options,
            stop: &stop,
            progress: &meter,
        };
        let mut evidence = Evidence::new();
        for (check, work) in self.policy.checks.iter().zip(&self.work) {
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
