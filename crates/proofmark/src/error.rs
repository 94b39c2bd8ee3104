use proofmark_data::DataError;
use proofmark_engine::{BuildError, EngineError};
use proofmark_model::ModelError;
use proofmark_onnx::OnnxError;
use proofmark_threat::ThreatError;

/// Why a run has no report, or, for [`RunError::Attacks`], an incomplete one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The data could not be read or are not usable.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An ONNX file cannot be read or run.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The attack engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An attack's parameters are wrong.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The threat model does not fit the model's inputs.
    #[error(transparent)]
    Threat(#[from] ThreatError),
    /// Attacks failed partway; the results of the others are kept.
    #[error("attacks that did not finish: {0}")]
    Attacks(String),
    /// A certificate that contradicts what was measured. Nothing is reported.
    #[error("contradiction: {0}")]
    Certificate(String),
    /// A checkpoint cannot be read, or belongs to another run.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// A number is out of range.
    #[error("{0}")]
    Parameter(String),
    /// Data and model do not fit each other.
    #[error("data `{data}` and model `{model}` do not fit: {problem}")]
    Mismatch {
        /// Name of the data.
        data: String,
        /// Name of the model.
        model: String,
        /// The part that does not fit.
        problem: String,
    },
    /// There is no such model.
    #[error(
        "no model `{given}`{hint}; expected an .onnx file or a shipped model ({known}); a Burn module is attacked through the library"
    )]
    UnknownModel {
        /// The name given.
        given: String,
        /// The nearest known name, as a phrase.
        hint: String,
        /// The known names.
        known: String,
    },
    /// There is no such device in this build.
    #[error("device `{given}`: {problem}")]
    Device {
        /// The name given.
        given: String,
        /// The problem.
        problem: String,
    },
}
