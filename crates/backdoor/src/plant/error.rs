use proofmark_engine::BadParameter;
use proofmark_model::ModelError;

/// An error in a planter's parameters, or in a request to poison a set.
///
/// Every message names the set, the field and its value, what was expected and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlantError {
    /// No planter of that name.
    #[error("no planter `{given}`{hint}; `proofmark list plants` names them all")]
    Unknown {
        /// Name that was given.
        given: String,
        /// Nearest name, if there is one.
        hint: String,
    },
    /// A parameter that cannot be read or is out of range.
    #[error("planter `{planter}`: {bad}")]
    Parameter {
        /// The planter's id.
        planter: &'static str,
        /// The parameter.
        bad: BadParameter,
    },
    /// A planter that does not fit the inputs of a set.
    #[error("planter `{planter}` does not fit {set}: {problem}")]
    Input {
        /// The planter's id.
        planter: &'static str,
        /// Name of the set.
        set: String,
        /// What does not fit and what was expected.
        problem: String,
    },
    /// A set without labels of classes, or of one class alone.
    #[error("{set}: {problem}; planting needs a label per sample, of two classes or more")]
    Labels {
        /// Name of the set.
        set: String,
        /// What is missing.
        problem: String,
    },
    /// A target class that the planter or the set does not allow.
    #[error("planter `{planter}`, target {given}: {problem}")]
    Target {
        /// The planter's id.
        planter: &'static str,
        /// Class that was given, or `none`.
        given: String,
        /// What was expected.
        problem: String,
    },
    /// A rate that poisons no sample, or more than there are.
    #[error("planter `{planter}`, rate {rate} of the {samples} samples of {set}: {problem}")]
    Rate {
        /// The planter's id.
        planter: &'static str,
        /// Name of the set.
        set: String,
        /// Rate that was given.
        rate: f64,
        /// Samples of the set.
        samples: usize,
        /// What was expected.
        problem: String,
    },
    /// A model that a planter asks and that fails, or does not fit.
    #[error("planter `{planter}`: {source}")]
    Model {
        /// The planter's id.
        planter: &'static str,
        /// Cause.
        source: ModelError,
    },
}
