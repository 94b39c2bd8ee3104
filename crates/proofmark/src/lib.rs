//! proofmark tests machine-learning models for adversarial robustness.

mod device;
mod error;
mod gate;
mod model;
mod run;
mod samples;
pub mod shipped;
mod target;
mod threat;
mod trust;

pub use burn;
pub use device::{DEVICES, device};
pub use error::RunError;
pub use gate::{Gate, GateError, GateOptions};
pub use model::model;
pub use run::{Labels, Measurement, Progress, RunPlan, Settings};
pub use target::Target;
pub use threat::ThreatPlan;
