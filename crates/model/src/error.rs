use proofmark_domain::Needs;
use proofmark_threat::BatchError;

/// Errors of a model query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The model (or the device under it) panicked; the process continues.
    #[error("model `{model}` panicked: {message}")]
    Panicked {
        /// The model's name.
        model: String,
        /// Message of the panic.
        message: String,
    },
    /// The model reported a failure, or its answer does not fit the query.
    #[error("model `{model}` failed: {problem}")]
    Failed {
        /// The model's name.
        model: String,
        /// The model's message, or what was expected of it.
        problem: String,
    },
    /// The model gives less than an attack needs.
    #[error("attack `{attack}` needs {needs}; model `{model}` gives {gives}")]
    Access {
        /// The attack's id.
        attack: String,
        /// Access that the attack needs.
        needs: Needs,
        /// The model's name.
        model: String,
        /// Access that the model gives.
        gives: Needs,
    },
    /// Device work outside the model failed: values could not be read back, memory ran out, the device was lost.
    #[error(
        "the device failed outside the model: {message}; try a smaller --batch-size or another --device"
    )]
    Device {
        /// The device's message.
        message: String,
    },
    /// The output has the wrong shape.
    #[error(
        "model `{model}` returned shape {given:?} for {rows} rows; expected [{rows}, {classes}]"
    )]
    OutputShape {
        /// The model's name.
        model: String,
        /// The shape returned.
        given: Vec<usize>,
        /// Rows in the query.
        rows: usize,
        /// Classes declared.
        classes: usize,
    },
    /// The gradient of an input is missing: the output does not depend on it.
    #[error(
        "model `{model}` gives no gradient for input `{modality}`: its output does not depend on it through differentiable operations"
    )]
    NoGradient {
        /// The model's name.
        model: String,
        /// Name of the input.
        modality: String,
    },
    /// The inputs do not fit the model.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The model's description contradicts itself.
    #[error("model `{model}`: {problem}")]
    Signature {
        /// The model's name.
        model: String,
        /// What is wrong.
        problem: String,
    },
    /// Weights could not be read or written.
    #[error("weights {file}: {problem}")]
    Weights {
        /// The file, or `(embedded)`.
        file: String,
        /// What is wrong and what was expected.
        problem: String,
    },
}
