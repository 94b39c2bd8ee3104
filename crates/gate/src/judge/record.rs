use std::collections::BTreeMap;

use proofmark_audit::AuditReport;
use proofmark_domain::Report;
use serde::Serialize;

/// What one check left: everything it is judged by. The schema in the file says which it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Record {
    /// Of a model, sample by sample.
    Attack(Box<Report>),
    /// Of a table of decisions, group by group.
    Audit(Box<AuditReport>),
}

impl From<Report> for Record {
    fn from(report: Report) -> Self {
        Self::Attack(Box::new(report))
    }
}

impl From<AuditReport> for Record {
    fn from(report: AuditReport) -> Self {
        Self::Audit(Box::new(report))
    }
}

impl Record {
    /// The schema it states.
    pub fn schema(&self) -> &str {
        match self {
            Self::Attack(report) => &report.schema,
            Self::Audit(report) => &report.schema,
        }
    }
}

/// Why a check has no record to be judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRecord {
    /// It could not run, or its record cannot be read.
    Failed(String),
    /// There is a record of another run: what differs.
    Mismatched(String),
    /// Time or the budget of queries was over before it began.
    Stopped,
}

/// What was measured, by check id: a record, or why there is none.
pub type Evidence = BTreeMap<String, Result<Record, NoRecord>>;

/// Name of the file that holds the evidence of a check.
pub fn evidence_file(check: &str) -> String {
    format!("{check}.json")
}
