//! The policy file, `proofmark/policy/1`: TOML in, checked values out, and every error at its line, column and field.
//!
//! Two stages: `reader` walks the parsed TOML with its spans and hands out typed fields, the other files
//! check them. Serde is not used here: its errors name neither the field nor the place of a value inside an
//! attack's table.

mod attack_task;
mod attacks;
mod audit_task;
mod check;
mod data;
mod error;
mod excuse;
mod file;
mod model;
mod plan;
mod reader;
mod requirement;
mod threat;

#[cfg(test)]
mod tests;

pub use attack_task::AttackTask;
pub use attacks::AttackSpec;
pub use audit_task::AuditTask;
pub use check::{Check, CheckKind, Effect, Task};
pub use data::{DataEntry, DataRef};
pub use error::PolicyError;
pub use excuse::{Accept, Excuse, Waiver};
pub use file::{Known, Limits, POLICY_SCHEMA, Policy};
pub use model::{Layout, ModelEntry, ModelRef, Preprocess};
pub use plan::Job;
pub use requirement::{Comparison, Requirement};
pub use threat::{Budgets, ModalityBudget, ThreatSpec};
