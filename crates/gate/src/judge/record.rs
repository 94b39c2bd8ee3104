use std::collections::BTreeMap;

use proofmark_audit::AuditReport;
use proofmark_domain::Report;
use serde::Serialize;
use serde_json::Value;

/// Where the `config` of a report says what was asked for.
pub const REQUEST: &str = "request";

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

    /// What was asked for when it was measured; see [`crate::Check::request`].
    pub fn request(&self) -> Option<&Value> {
        match self {
            Self::Attack(report) => report.config.get(REQUEST),
            Self::Audit(report) => report.request.as_ref(),
        }
    }

    /// The report of an attack.
    pub(crate) fn attack(&self) -> Result<&Report, NoRecord> {
        match self {
            Self::Attack(report) => Ok(report),
            Self::Audit(_) => Err(self.foreign()),
        }
    }

    pub(crate) fn into_attack(self) -> Result<Report, NoRecord> {
        match self {
            Self::Attack(report) => Ok(*report),
            Self::Audit(_) => Err(self.foreign()),
        }
    }

    /// The report of an audit.
    pub(crate) fn audit(&self) -> Result<&AuditReport, NoRecord> {
        match self {
            Self::Audit(report) => Ok(report),
            Self::Attack(_) => Err(self.foreign()),
        }
    }

    fn foreign(&self) -> NoRecord {
        NoRecord::Mismatched(format!("its schema is `{}`", self.schema()))
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
