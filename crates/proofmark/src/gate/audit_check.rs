//! Checks of kind `bias`: a table of decisions.

use std::path::Path;
use std::sync::Arc;

use proofmark_audit::report::{Audit, Detail, Subject, samples};
use proofmark_audit::{AuditError, AuditReport, ReportOptions, Settings, Table};
use proofmark_domain::Shard;
use proofmark_gate::{AuditTask, Check, NoRecord, Record, difference};
use serde_json::{Value, json};

use super::opened::{Opened, shared};
use super::work::{Turn, Work};
use super::{GateError, GateOptions};
use crate::RunCheckpoint;

/// A table that was read, with what to measure on it.
pub(super) struct AuditTable {
    check: String,
    request: Value,
    table: Arc<Table>,
    settings: Settings,
    options: ReportOptions,
    samples: Detail,
}

/// A table that was audited.
struct AuditCheck {
    table: Arc<Table>,
    samples: Detail,
    /// The report without its rows.
    report: AuditReport,
}

/// Reads the table.
pub(super) fn open(
    check: &Check,
    task: &AuditTask,
    folder: &Path,
    opened: &mut Opened,
) -> Result<AuditTable, GateError> {
    let setup = &task.setup;
    let key = format!("{:?} {:?}", task.data.path, setup.columns);
    let table = shared(&mut opened.tables, key, || {
        Table::open(&folder.join(&task.data.path), &setup.columns).map_err(|e| fault(&check.id, e))
    })?;
    if let (Some(expected), Some(origin)) = (&task.data.sha256, table.origin())
        && *expected != origin.sha256
    {
        return Err(GateError::Digest {
            what: "data",
            name: task.data.name.clone(),
            found: origin.sha256.clone(),
            expected: expected.clone(),
        });
    }
    let mut options = ReportOptions::default();
    options.requirements.clone_from(&task.require);
    options.level = check.level;
    options.suppress = setup.suppress;
    Ok(AuditTable {
        check: check.id.clone(),
        request: check.request.clone(),
        table,
        settings: setup.settings.clone(),
        options,
        samples: setup.samples,
    })
}

fn fault(check: &str, source: AuditError) -> GateError {
    GateError::Table {
        check: check.to_owned(),
        source: Box::new(source),
    }
}

/// Measures every table once, and judges them together: all figures that a policy gates form one family.
pub(super) fn audit(tables: &[AuditTable]) -> Result<Vec<impl Work + use<>>, GateError> {
    let subjects: Vec<Subject<'_>> = tables
        .iter()
        .map(|t| Subject::new(&t.table, &t.options))
        .collect();
    let mut audits = Vec::new();
    for (t, subject) in tables.iter().zip(&subjects) {
        let wrong = |e| fault(&t.check, e);
        // Refuses rows together with suppression: they exclude each other.
        drop(samples(&t.table, None, t.samples, t.options.suppress).map_err(wrong)?);
        audits.push(Audit::measure(subject, &t.settings, &t.options).map_err(wrong)?);
    }
    let families: Vec<usize> = audits.iter().map(Audit::family).collect();
    let together: usize = families.iter().sum();
    let mut checks = Vec::new();
    for ((t, audit), own) in tables.iter().zip(&audits).zip(families) {
        let mut report = audit
            .report(together - own)
            .map_err(|e| fault(&t.check, e))?;
        report.request = Some(t.request.clone());
        checks.push(AuditCheck {
            table: t.table.clone(),
            samples: t.samples,
            report,
        });
    }
    Ok(checks)
}

impl Work for AuditCheck {
    fn fits(
        &self,
        record: &Record,
        _shard: Option<Shard>,
        _same_device: bool,
    ) -> Result<(), String> {
        let Record::Audit(found) = record else {
            return Err(format!("its schema is `{}`", record.schema()));
        };
        let facts = |report: &AuditReport| {
            json!({
                "table": report.table.origin,
                "settings": report.settings.measured,
                "suppress": report.settings.suppress,
            })
        };
        let differs = difference(&facts(&self.report), &facts(found));
        differs.map_or(Ok(()), |d| Err(d.to_string()))
    }

    fn can_resume(
        &self,
        _checkpoint: &RunCheckpoint,
        _options: &GateOptions<'_>,
    ) -> Result<(), String> {
        Err("a table is audited in one go".to_owned())
    }

    fn run(&self, _check: &str, turn: &Turn<'_>) -> Result<Record, NoRecord> {
        if (turn.stop)() {
            return Err(NoRecord::Stopped);
        }
        let suppress = self.report.settings.suppress;
        let rows = samples(&self.table, None, self.samples, suppress)
            .map_err(|e| NoRecord::Failed(e.to_string()))?;
        let mut report = self.report.clone();
        report.samples = rows.collect();
        Ok(report.into())
    }
}
