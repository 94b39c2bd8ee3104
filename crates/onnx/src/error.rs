/// Why an ONNX file cannot be read or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file (or its external data) cannot be read, or is not a well-formed model.
    #[error("{file}: {problem}")]
    File {
        /// The file.
        file: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// Operators that are not supported, all of them at once.
    #[error(
        "{file}: operators that are not supported: {} (`proofmark inspect {file}` lists every operator){hint}",
        .nodes.join("; ")
    )]
    Unsupported {
        /// The file.
        file: String,
        /// One line per node: its name, operator and operator set.
        nodes: Vec<String>,
        /// Which values need none of them, as the end of the sentence; empty if there are none.
        hint: String,
    },
    /// One node cannot be computed.
    #[error("{file}: node `{node}` ({op}, opset {opset}): {problem}")]
    Node {
        /// The file.
        file: String,
        /// The node's name, or that of its first output.
        node: String,
        /// The operator, with its domain where it is not ONNX's own.
        op: String,
        /// The version of the operator set the model was written for.
        opset: i64,
        /// What is wrong.
        problem: String,
    },
}
