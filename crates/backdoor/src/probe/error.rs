use proofmark_engine::EngineError;
use proofmark_model::ModelError;
use proofmark_threat::BatchError;

/// Errors that keep a probe from giving a statistic.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The model or the device failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The probe cannot run on this model or these samples; others may. The text says what it needs.
    #[error("{0}")]
    Unfit(String),
    /// The run was stopped before the probe was done.
    #[error("stopped before it was done")]
    Stopped,
    /// A setting is out of its range, or there is no such probe.
    #[error("{0}")]
    Setting(String),
}

impl From<ModelError> for ProbeError {
    fn from(e: ModelError) -> Self {
        Self::Engine(e.into())
    }
}

impl From<BatchError> for ProbeError {
    fn from(e: BatchError) -> Self {
        Self::Engine(e.into())
    }
}
