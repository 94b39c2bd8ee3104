/// Why a network cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// Shapes that do not fit together, or sizes of 0.
    #[error("{operation}: {problem}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// The mismatch.
        problem: String,
    },
    /// Something that is right but that no kernel computes.
    #[error("{operation}: {problem}")]
    Unsupported {
        /// The operation.
        operation: &'static str,
        /// The unsupported case.
        problem: String,
    },
}

impl KernelError {
    pub(crate) fn shape(operation: &'static str, problem: impl Into<String>) -> Self {
        Self::Shape {
            operation,
            problem: problem.into(),
        }
    }

    pub(crate) fn unsupported(operation: &'static str, problem: impl Into<String>) -> Self {
        Self::Unsupported {
            operation,
            problem: problem.into(),
        }
    }
}
