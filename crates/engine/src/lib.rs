//! The attack engine: runs attacks, and contains everything but the attacks themselves.
//!
//! An attack is a [`Stepper`]: one immutable configuration, one explicit state, one method that proposes points. It
//! never judges, logs, stops or compacts. It reaches the model only through the [`Oracle`], which counts every
//! sample-forward and watches every point, so that the best point seen cannot be lost. The executor ([`run`]) drops
//! rows that are done, refills the batch, restarts the rows that survive, and has the [`Judge`] re-measure every
//! returned point.

mod attack;
mod bisection;
mod checkpoint;
mod climb;
pub mod criterion;
mod error;
mod executor;
mod expectation;
mod focus;
mod goal;
mod job;
mod judge;
mod landscape;
mod loss;
mod observer;
mod oracle;
mod outcome;
mod parameters;
mod planted;
mod preflight;
mod request;
mod rows;
mod smoothing;
mod stepper;
mod suite;
mod tiles;
mod universal;
mod whole;

pub use attack::{Attack, AttackEntry, BuildError, Meta, Parameters, check_members, check_norms};
pub use bisection::{Bisected, Bracketed};
pub use checkpoint::Checkpoint;
pub use error::EngineError;
pub use executor::run;
pub use focus::Focus;
pub use goal::{Criterion, Goal, Truth, predict};
pub use job::{Job, Others, Samples, Starts};
pub use judge::{Judge, Rule};
pub use landscape::landscape;
pub use loss::Loss;
pub use observer::{Event, Observer, Silent};
pub use oracle::Oracle;
pub use outcome::{Outcome, Outcomes, Point};
pub use parameters::{BadParameter, read_parameters, write_parameters};
pub use planted::{Planted, plant};
pub use preflight::{Clean, preflight};
/// Level of access to a model that an attack needs.
pub use proofmark_domain::Needs;
/// The model handed to an attack.
pub use proofmark_model::Access;
/// Counter-based random numbers keyed by sample; an attack uses no other source of randomness.
pub use proofmark_stats::random;
pub use request::Request;
pub use rows::{RowId, Rows};
pub use smoothing::{Noisy, Stage, Votes, votes};
pub use stepper::{Aim, Stepper};
pub use suite::{Part, run_all};
pub use universal::{Change, Fitting, Split, check_universal};
