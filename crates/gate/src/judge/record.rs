use std::collections::BTreeMap;

use proofmark_audit::AuditReport;
use proofmark_domain::Report;
use serde::Serialize;
use serde_json::Value;

/// Key of a report's `config` that holds the request it was measured for.
pub const REQUEST: &str = "request";

/// The evidence of one check: everything it is judged by. The schema in the file tells the variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Record {
    /// Evidence about a model, sample by sample.
    Attack(Box<Report>),
    /// Evidence about a table of decisions, group by group.
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
    /// Returns the schema it states.
    pub fn schema(&self) -> &str {
        match self {
            Self::Attack(report) => &report.schema,
            Self::Audit(report) => &report.schema,
        }
    }

    /// Returns the request it was measured for; see [`crate::Check::request`].
    pub fn request(&self) -> Option<&Value> {
        match self {
            Self::Attack(report) => report.config.get(REQUEST),
            Self::Audit(report) => report.request.as_ref(),
        }
    }

    /// Returns the attack report, or an error if this is an audit.
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

    /// Returns the audit report, or an error if this is an attack report.
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
    /// The check could not run, or its record cannot be read.
    Failed(String),
    /// The record belongs to another run; the text says what differs.
    Mismatched(String),
    /// The time limit or query budget ran out before the check began.
    Stopped,
}

/// Evidence by check id: a record, or why there is none.
pub type Evidence = BTreeMap<String, Result<Record, NoRecord>>;

/// Returns the name of the evidence file of a check.
pub fn evidence_file(check: &str) -> String {
    format!("{check}.json")
}
