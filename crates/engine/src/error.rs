use proofmark_domain::Norm;
use proofmark_model::ModelError;
use proofmark_threat::{BatchError, LoadError};

/// Errors that can stop an attack run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The model or the device failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The attack proposed points of the wrong shape.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The attack does not support this norm.
    #[error("attack `{attack}` does not support norm {norm}; it supports {supported}")]
    Norm {
        /// The attack's id.
        attack: String,
        /// The norm requested.
        norm: Norm,
        /// The norms it supports.
        supported: String,
    },
    /// The criterion of the run needs scores, but the model gives decisions only.
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
    /// A checkpoint cannot be read, or belongs to another run.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
}

impl From<LoadError> for EngineError {
    fn from(e: LoadError) -> Self {
        Self::Checkpoint(e.to_string())
    }
}
