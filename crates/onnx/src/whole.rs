//! Integer inputs: whether an attack may change them, and how values between integers are read.

use proofmark_domain::Modality;
use proofmark_model::Numbers;

use crate::dtype::DType;
use crate::graph::{Graph, Node, Slot};

/// Largest absolute value up to which single precision represents every integer.
const EXACT: f32 = 16_777_216.0;

/// Returns the numbers an input takes; an integer type takes integers. An attack may change integers only if they are
/// read as numbers: by a Cast, a dequantisation or a quantised operator. Any other reader may use them as an index, a
/// class or a mask.
pub(crate) fn numbers(graph: &Graph, input: Slot, dtype: DType) -> Result<Numbers, String> {
    if dtype.is_float() {
        return Ok(Numbers::Real);
    }
    let (low, high) = dtype
        .range()
        .ok_or_else(|| format!("is {dtype}; expected numbers or booleans"))?;
    let (low, high) = ((low as f32).max(-EXACT), (high as f32).min(EXACT));
    Ok(if dtype.is_int() && becomes_real(graph, input) {
        Numbers::Whole { low, high }
    } else {
        Numbers::Fixed { low, high }
    })
}

/// Whether every node that reads an integer value converts it to floating point, possibly after moving its elements.
fn becomes_real(graph: &Graph, value: Slot) -> bool {
    let mut readers = graph
        .nodes
        .iter()
        .filter(|n| n.inputs.contains(&Some(value)))
        .peekable();
    readers.peek().is_some()
        && readers.all(|node| {
            let first = node.inputs.iter().skip(1).all(|s| *s != Some(value));
            first && (makes_real(node) || (moves(node) && all_become_real(graph, node)))
        })
}

fn makes_real(node: &Node) -> bool {
    match node.op.as_str() {
        "Cast" => node.keeps_numbers(),
        // These read the value that an integer stands for: minus the zero point, times the scale.
        "DequantizeLinear"
        | "ConvInteger"
        | "MatMulInteger"
        | "QLinearConv"
        | "QLinearMatMul"
        | "ai.onnx.ml.LinearClassifier"
        | "ai.onnx.ml.LinearRegressor"
        | "ai.onnx.ml.SVMClassifier"
        | "ai.onnx.ml.SVMRegressor"
        | "ai.onnx.ml.Scaler"
        | "ai.onnx.ml.TreeEnsemble"
        | "ai.onnx.ml.TreeEnsembleClassifier"
        | "ai.onnx.ml.TreeEnsembleRegressor" => true,
        "com.microsoft.QLinearWhere" => false,
        op => {
            op.starts_with("com.microsoft.Q")
                || op == "com.microsoft.DequantizeLinear"
                || op == "com.microsoft.MatMulIntegerToFloat"
        }
    }
}

fn moves(node: &Node) -> bool {
    matches!(
        node.op.as_str(),
        "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose"
    )
}

fn all_become_real(graph: &Graph, node: &Node) -> bool {
    node.outputs
        .iter()
        .flatten()
        .all(|s| becomes_real(graph, *s))
}

/// Returns why these bounds are not integers in the input's range, if they are not. Only integer inputs that an attack
/// may change are checked.
pub(crate) fn misfit(numbers: Numbers, modality: &Modality, dtype: DType) -> Option<String> {
    let Numbers::Whole { low, high } = numbers else {
        return None;
    };
    let bounds = &modality.bounds;
    let features = bounds.features().unwrap_or(1);
    (0..features)
        .map(|f| (bounds.low(f), bounds.high(f)))
        .find(|(l, h)| l.fract() != 0.0 || h.fract() != 0.0 || *l < low || *h > high)
        .map(|(l, h)| {
            format!(
                "is {dtype} and takes whole numbers from {low} to {high}; the data have bounds {l},{h}: keep the numbers as they are stored (--units raw) and state whole bounds (--bounds)"
            )
        })
}
