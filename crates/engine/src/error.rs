use proofmark_domain::Norm;
use proofmark_model::ModelError;
use proofmark_threat::{BatchError, LoadError};

/// What can stop an attack run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The model or the device failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Points of the wrong shape were proposed.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The attack cannot work in this norm.
    #[error("attack `{attack}` does not support norm {norm}; it supports {supported}")]
    Norm {
        /// The attack's id.
        attack: String,
        /// The norm asked for.
        norm: Norm,
        /// What it supports.
        supported: String,
    },
    /// The criterion of the run is about scores, and the model only decides.
    #[error(
        "this run is judged on scores and the model gives decisions only; expected a model that gives scores"
    )]
    NeedsScores,
    /// A parameter of the run is out of range.
    #[error("{name} = {given}; expected {expected}")]
    Parameter {
        /// The parameter's name.
        name: &'static str,
        /// The value given.
        given: String,
        /// What was expected.
        expected: String,
    },
    /// A checkpoint cannot be read, or is not of this run.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
}

impl From<LoadError> for EngineError {
    fn from(e: LoadError) -> Self {
        Self::Checkpoint(e.to_string())
    }
}
