//! The attack engine: everything about running an attack that is not the attack.
//!
//! An attack is a [`Stepper`]: one immutable configuration, one explicit state, one method that proposes.
//! It never judges, logs, stops or compacts. The [`Oracle`] is its only way to the model; it counts every
//! sample-forward and watches every point that passes, so the best point seen can not be lost. The executor
//! ([`run`]) drops rows that are done, refills the batch, restarts what survives, and has the [`Judge`]
//! measure every returned point again.

mod attack;
mod checkpoint;
mod error;
mod executor;
mod focus;
mod goal;
mod job;
mod judge;
mod loss;
mod observer;
mod oracle;
mod outcome;
mod preflight;
mod request;
mod rows;
mod stepper;
mod suite;
mod tiles;
mod whole;

pub use attack::{Attack, AttackEntry, BuildError, Meta, Parameters, check_norms};
pub use checkpoint::Checkpoint;
pub use error::EngineError;
pub use executor::run;
pub use focus::Focus;
pub use goal::{Criterion, Goal, Truth, predict};
pub use job::{Job, Samples, Starts};
pub use judge::{Judge, Rule};
pub use loss::Loss;
pub use observer::{Event, Observer, Silent};
pub use oracle::Oracle;
pub use outcome::{Outcome, Outcomes, Point};
pub use preflight::{Clean, preflight};
/// What an attack needs of a model.
pub use proofmark_domain::Needs;
/// The model an attack is handed.
pub use proofmark_model::Access;
/// Counter-based random numbers, keyed by sample: the only source of randomness in an attack.
pub use proofmark_stats::random;
pub use request::Request;
pub use rows::{RowId, Rows};
pub use stepper::{Aim, Stepper};
pub use suite::{Part, run_all};
