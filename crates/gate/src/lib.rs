//! Policy, trust rules, judging and renderers: evidence times policy gives a verdict.
//!
//! Everything here is a pure function of data that is handed in: no tensors, no clock, no files, no printing.
//!
//! * [`summarise`] turns what an attack run measured on each sample into the figures of a [`Report`];
//!   [`merge`] does the same for the shards of a run.
//! * [`Policy::parse`] reads a policy, [`Policy::plan`] says what must be measured for it, and [`judge`]
//!   holds the evidence against it.
//! * [`render`] turns a [`GateReport`] or a [`Report`] into text.
//!
//! [`Report`]: proofmark_domain::Report

mod date;
mod finding_code;
mod gate_report;
mod judge;
mod merge;
mod metric;
mod policy;
mod proportion;
pub mod render;
mod resolved_plan;
mod standing;
mod summary;
mod trust;

pub use date::{Date, DateError};
pub use finding_code::{FindingCode, FindingCodeError};
pub use gate_report::{CheckResult, ComparisonResult, GATE_SCHEMA, GateReport, PolicyFacts};
pub use judge::{Assessment, Evidence, NoRecord, Record, assess, evidence_file, judge};
pub use merge::{MergeError, merge};
pub use metric::Metric;
pub use policy::{
    Accept, AttackSpec, AttackTask, AuditTask, Budgets, Check, CheckKind, Comparison, DataEntry,
    DataRef, Effect, Excuse, Job, Known, Layout, Limits, ModalityBudget, ModelEntry, ModelRef,
    POLICY_SCHEMA, Policy, PolicyError, Preprocess, Requirement, Task, ThreatSpec, Waiver,
};
pub use resolved_plan::{Difference, ResolvedPlan, difference};
pub use summary::{ReportHead, summarise};
