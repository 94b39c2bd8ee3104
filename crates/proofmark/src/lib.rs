//! proofmark tests machine-learning models for adversarial robustness: it attacks a model, measures every returned
//! point again, and answers pass, fail or inconclusive, with an interval.
//!
//! Four lines to a gated model:
//!
//! ```
//! use proofmark::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = model("digits-robust", &device("cpu")?)?;
//! let data = open("digits")?.limit(60, Default::default());
//! let result = evaluate(&model, &data).linf(0.05).attacks(["fgsm", "pgd"]).run()?;
//! result.robust_accuracy().at_least(0.45, 0.95)?;
//! # Ok(()) }
//! ```
//!
//! A Burn module becomes a model through [`BurnModel`], an ONNX file through [`ModelSource`] or [`onnx::OnnxModel`], a
//! closure over arrays that calls any other runtime through [`FromScores`] or [`FromDecisions`]. [`RunPlan`] is the
//! same run with access to every setting, [`Falsify`] searches for a counterexample; both are made by `new`, have
//! public fields to set where the default does not fit, and are then `run`. [`Gate`] carries out a policy.

mod certify;
mod checkpoint;
mod criteria;
mod device;
mod error;
mod evaluate;
mod falsify;
mod gate;
mod model;
mod numbers;
pub mod prelude;
mod probe;
mod reading;
mod record;
mod run;
mod samples;
mod scale;
pub mod shipped;
mod surrogates;
mod target;
mod threat;
mod trust;

pub use burn;
pub use certify::{Certificate, Smoothing};
pub use checkpoint::RunCheckpoint;
pub use criteria::refuse_loss;
pub use device::{DEVICES, describe, device, devices};
pub use error::RunError;
pub use evaluate::{Evaluate, Evaluation, Measured, Shortfall, Subject, evaluate};
pub use falsify::{Counterexample, Falsified, Falsify};
pub use gate::{Gate, GateError, GateOptions, PreparedGate};
pub use model::{ModelSource, OpenModel, Preprocess, model};
pub use probe::{ProbePlan, ProbeRun, REFERENCE_TABLE, clean_samples};
pub use proofmark_attacks as attacks;
pub use proofmark_audit as audit;
pub use proofmark_backdoor as backdoor;
pub use proofmark_data as data;
pub use proofmark_data::{DataError, Dataset};
pub use proofmark_domain as domain;
pub use proofmark_domain::Criteria;
pub use proofmark_engine as engine;
pub use proofmark_gate as policy;
pub use proofmark_kernels as kernels;
pub use proofmark_model as models;
pub use proofmark_model::{Access, BurnModel, FromDecisions, FromScores, Signature};
pub use proofmark_onnx as onnx;
pub use proofmark_threat as threats;
pub use run::{Labels, MapParameters, Measurement, Progress, RunPlan, Settings};
pub use surrogates::Surrogates;
pub use target::Target;
pub use threat::ThreatPlan;

/// Opens a data set: a shipped one by name (`digits`, `digits:train`) or a file.
pub fn open(spec: &str) -> Result<Dataset, DataError> {
    proofmark_data::open(spec, &proofmark_data::Options::default())
}
