//! Policies, trust rules, judging and renderers: turns evidence and a policy into a verdict.
//!
//! Everything here is a pure function of its arguments: no tensors, no clock, no files, no printing.
//!
//! * [`summarise`] computes the figures of a [`Report`] from an attack run's results on each sample; [`merge`] does the
//!   same for the shards of a run.
//! * [`Policy::parse`] reads a policy, [`Check::measure`] says what one of its checks has to measure, and [`judge`]
//!   judges the evidence by the policy. [`kind`] holds the kinds of checks, one file each.
//! * [`render`] turns a [`GateReport`] or a [`Report`] into text.
//!
//! [`Report`]: proofmark_domain::Report

mod certified;
pub mod chart;
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
mod sequence;
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
    SurrogateSpec, ThreatSpec,
};
pub use merge::{MergeError, merge};
pub use metric::Metric;
pub use policy::{
    Accept, Check, DataEntry, DataRef, Effect, Exemption, Known, Layout, Limits, ModelEntry,
    ModelRef, POLICY_SCHEMA, Policy, PolicyError, Preprocess, Waiver,
};
pub use resolved_plan::{Difference, ResolvedPlan, difference};
pub use sequence::{Looks, extend, is_decided};
pub use summary::{ReportHead, summarise};
