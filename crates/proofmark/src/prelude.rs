//! The names a robustness suite uses, for `use proofmark::prelude::*`.
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
//! Models, data, inputs, budgets and results. To write attacks, wrappers or audits, use the modules
//! [`engine`](crate::engine), [`models`](crate::models), [`audit`](crate::audit).

pub use crate::{
    Access, BurnModel, Dataset, Evaluation, FromDecisions, FromScores, ModelSource, Signature,
    ThreatPlan, device, evaluate, model, open,
};
pub use proofmark_domain::{Bounds, Epsilon, Kind, Modality, Norm, Verdict};
