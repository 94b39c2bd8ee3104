use proofmark_engine::BadParameter;
use proofmark_model::ModelError;

/// Errors of a probe on inputs or on a training set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A parameter is unknown, of the wrong type or out of range.
    #[error("probe `{probe}`: {problem}")]
    Parameter {
        /// The probe's id.
        probe: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// The samples do not fit the model, each other or the probe.
    #[error("{set}: {problem}")]
    Samples {
        /// Which samples: `clean samples`, `inputs`, `training set`.
        set: String,
        /// What is wrong, what was expected and what to do.
        problem: String,
    },
    /// A query of the model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The caller asked to stop.
    #[error("stopped before the probe was done")]
    Stopped,
}

impl ProbeError {
    /// An error about samples.
    pub(crate) fn samples(set: &str, problem: impl Into<String>) -> Self {
        Self::Samples {
            set: set.to_owned(),
            problem: problem.into(),
        }
    }

    /// An error about a parameter.
    pub(crate) fn parameter(probe: &str, problem: impl Into<String>) -> Self {
        Self::Parameter {
            probe: probe.to_owned(),
            problem: problem.into(),
        }
    }
}

/// Returns an error that names parameter, value and what was expected, unless `ok`.
pub(crate) fn require(
    ok: bool,
    probe: &str,
    field: &str,
    given: impl std::fmt::Display,
    expected: &str,
) -> Result<(), ProbeError> {
    let checked = BadParameter::unless(ok, field, given, expected);
    checked.map_err(|e| ProbeError::parameter(probe, e.problem))
}
