//! Policy, trust rules, judging and renderers: evidence times policy gives a verdict.
//!
//! Everything here is a pure function of data that is handed in: no tensors, no clock, no files, no printing.
//!
//! * [`summarise`] turns what an attack run measured on each sample into the figures of a [`Report`];
//!   [`merge`] does the same for the shards of a run.
//! * [`Policy::parse`] reads a policy, [`Check::measure`] says what must be measured for a check of it, and [`judge`]
//!   holds the evidence against it. [`kind`] has the kinds of checks, one file each.
//! * [`render`] turns a [`GateReport`] or a [`Report`] into text.
//!
//! [`Report`]: proofmark_domain::Report

mod date;
mod finding_code;
mod gate_report;
mod judge;
pub mod kind;
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
pub use gate_report::{
    CheckCost, CheckResult, ComparisonResult, GATE_SCHEMA, GateReport, PolicyFacts,
};
pub use judge::{Assessment, Evidence, NoRecord, REQUEST, Record, assess, evidence_file, judge};
pub use kind::{
    AttackSpec, AttackTask, AuditTask, Budgets, Comparison, Measure, ModalityBudget, Requirement,
    ThreatSpec,
};
pub use merge::{MergeError, merge};
pub use metric::Metric;
pub use policy::{
    Accept, Check, DataEntry, DataRef, Effect, Exemption, Known, Layout, Limits, ModelEntry,
    ModelRef, POLICY_SCHEMA, Policy, PolicyError, Preprocess, Waiver,
};
pub use resolved_plan::{Difference, ResolvedPlan, difference};
pub use summary::{ReportHead, summarise};
