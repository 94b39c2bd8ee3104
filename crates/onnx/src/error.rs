/// Why an ONNX file cannot be read or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file (or its external data) cannot be read, or is not a well-formed model.
    #[error("{file}: {problem}")]
    File {
        /// Name of the file.
        file: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// Unsupported operators, all of them at once.
    #[error(
        "{file}: operators that are not supported: {} (`proofmark inspect {file}` lists every operator){hint}",
        .nodes.join("; ")
    )]
    Unsupported {
        /// Name of the file.
        file: String,
        /// One line per node: its name, operator and operator set.
        nodes: Vec<String>,
        /// Values that need none of these operators, as the end of the sentence; empty if there are none.
        hint: String,
    },
    /// One node cannot be computed.
    #[error("{file}: node `{node}` ({op}, opset {opset}): {problem}")]
    Node {
        /// Name of the file.
        file: String,
        /// Name of the node, or of its first output.
        node: String,
        /// Operator, with its domain unless that is ONNX's own.
        op: String,
        /// Operator set version the model was written for.
        opset: i64,
        /// What is wrong.
        problem: String,
    },
}
