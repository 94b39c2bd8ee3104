//! A table of decisions: what a check of kind `bias` needs.

use std::path::Path;
use std::sync::Arc;

use proofmark_audit::report::{Detail, samples};
use proofmark_audit::{Asked, AuditError, AuditReport, Settings, Table, report};
use proofmark_gate::{AuditTask, Check, difference};
use serde_json::json;

use super::GateError;
use super::opened::{Opened, shared};

/// A table, read, with what is asked of it.
pub(super) struct AuditCheck {
    table: Arc<Table>,
    settings: Settings,
    asked: Asked,
    samples: Detail,
    /// Figures it judges by their intervals.
    pub(super) family: usize,
    /// Those of the other checks.
    pub(super) elsewhere: usize,
}

/// Reads the table. What can be refused is refused here: the figures that are required are measured once.
pub(super) fn prepare(
    check: &Check,
    task: &AuditTask,
    folder: &Path,
    opened: &mut Opened,
) -> Result<AuditCheck, GateError> {
    let fault = |e: AuditError| GateError::Table {
        check: check.id.clone(),
        source: Box::new(e),
    };
    let key = format!("{:?} {:?}", task.data.path, task.options);
    let table = shared(&mut opened.tables, key, || {
        Table::open(&folder.join(&task.data.path), &task.options).map_err(fault)
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
    let asked = Asked {
        requirements: task.require.clone(),
        level: check.level,
        suppress: task.suppress,
        ..Asked::default()
    };
    let required = Settings {
        metrics: task.require.iter().map(|r| r.metric.clone()).collect(),
        ..task.settings.clone()
    };
    // Rows and suppression exclude each other.
    drop(samples(&table, None, task.samples, task.suppress).map_err(fault)?);
    let first = report(&table, &required, &asked).map_err(fault)?;
    Ok(AuditCheck {
        table,
        settings: task.settings.clone(),
        asked,
        samples: task.samples,
        family: first.settings.family as usize,
        elsewhere: 0,
    })
}

impl AuditCheck {
    pub(super) fn run(&self) -> Result<AuditReport, String> {
        let asked = Asked {
            elsewhere: self.elsewhere,
            ..self.asked.clone()
        };
        let all = report(&self.table, &self.settings, &asked).and_then(|mut report| {
            let rows = samples(&self.table, None, self.samples, self.asked.suppress)?;
            report.samples = rows.collect();
            Ok(report)
        });
        all.map_err(|e| e.to_string())
    }

    /// Whether a report is of this table, read and measured in this way; if not, what differs.
    pub(super) fn made(&self, report: &AuditReport) -> Result<(), String> {
        let expected = json!({
            "table": self.table.origin(),
            "settings": self.settings,
            "suppress": self.asked.suppress,
        });
        let found = json!({
            "table": report.table.origin,
            "settings": report.settings.measured,
            "suppress": report.settings.suppress,
        });
        difference(&expected, &found).map_or(Ok(()), |d| Err(d.to_string()))
    }
}
