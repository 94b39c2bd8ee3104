//! Rules for operators that compute, and the dispatch to all rules.

use super::{Carried, Choices, Rule, Seen, length_at, to};
use crate::graph::Fix;
use crate::node::axis;
use crate::op::equation::Equation;

impl Seen<'_> {
    /// Returns the position of the samples in this node's outputs, and the fixes it needs.
    pub(super) fn rule(&self, choices: &mut Choices) -> Rule {
        match self.node.op.as_str() {
            "Conv"
            | "ConvTranspose"
            | "MaxPool"
            | "AveragePool"
            | "LpPool"
            | "GlobalAveragePool"
            | "GlobalMaxPool"
            | "GlobalLpPool"
            | "BatchNormalization"
            | "InstanceNormalization"
            | "GroupNormalization"
            | "LRN"
            | "DepthToSpace"
            | "SpaceToDepth"
            | "ConvInteger"
            | "QLinearConv"
            | "com.microsoft.QLinearAveragePool"
            | "com.microsoft.QLinearGlobalAveragePool"
            | "Upsample" => self.leading(),
            "com.microsoft.FusedConv" => self.fused_conv(),
            "Resize" => self.resize(),
            "Softmax"
            | "LogSoftmax"
            | "Hardmax"
            | "LayerNormalization"
            | "RMSNormalization"
            | "SimplifiedLayerNormalization"
            | "LpNormalization"
            | "CumSum"
            | "TopK"
            | "com.microsoft.QLinearSoftmax" => self.along_another_axis(),
            "com.microsoft.SkipLayerNormalization"
            | "com.microsoft.SkipSimplifiedLayerNormalization" => self.skip_norm(),
            "MatMul" | "MatMulInteger" => self.matmul(1),
            "QLinearMatMul" => self.matmul(3),
            "com.microsoft.FusedMatMul" | "com.microsoft.TransposeMatMul" => self.fused_matmul(),
            "Gemm" | "com.microsoft.FusedGemm" => self.gemm(2),
            "com.microsoft.QGemm" => self.gemm(6),
            "Einsum" => self.einsum(),
            "Attention" => self.attention(),
            "com.microsoft.Attention" => self.only_first_axis(),
            "RotaryEmbedding" => self.rotary(),
            "Transpose" => self.transpose(),
            "Reshape" => self.reshape(choices),
            "Flatten" => self.flatten(),
            "Squeeze" => self.squeeze(),
            "Unsqueeze" => self.unsqueeze(),
            "Concat" | "com.microsoft.QLinearConcat" => self.concat(),
            "Slice" => self.slice(),
            "Split" => self.split(),
            "Gather" => self.gather(),
            "Pad" => self.pad(),
            "Expand" => self.expand(),
            "Tile" => self.tile(),
            "Trilu" => self.triangle(),
            "LSTM" | "GRU" | "RNN" => self.recurrent(),
            "ai.onnx.ml.LinearClassifier"
            | "ai.onnx.ml.SVMClassifier"
            | "ai.onnx.ml.TreeEnsembleClassifier" => self.row_by_row(2),
            "ai.onnx.ml.Imputer"
            | "ai.onnx.ml.LinearRegressor"
            | "ai.onnx.ml.Normalizer"
            | "ai.onnx.ml.Scaler"
            | "ai.onnx.ml.SVMRegressor"
            | "ai.onnx.ml.TreeEnsemble"
            | "ai.onnx.ml.TreeEnsembleRegressor"
            | "ai.onnx.ml.ZipMap" => self.row_by_row(1),
            "ai.onnx.ml.ArrayFeatureExtractor" => match self.carried(1) {
                None => self.row_by_row(1),
                Some(_) => Err("the columns that it chooses depend on the sample".into()),
            },
            "ai.onnx.ml.FeatureVectorizer" => self.side_by_side(),
            // Shape and Size give the same sizes for every sample.
            "Shape" | "Size" => Ok((Vec::new(), Vec::new())),
            "QuantizeLinear"
            | "DequantizeLinear"
            | "ai.onnx.ml.CategoryMapper"
            | "ai.onnx.ml.LabelEncoder"
            | "ai.onnx.ml.OneHotEncoder"
            | "com.microsoft.QuantizeLinear"
            | "com.microsoft.DequantizeLinear" => to(self.only_first()?),
            op if op.starts_with("Reduce") || op == "ArgMax" || op == "ArgMin" => self.reduce(),
            op if pointwise(op) => self.pointwise(),
            _ => Err("no rule says how it treats samples side by side".into()),
        }
    }

    /// Keeps the samples along axis 0; an error if they lie along another axis.
    fn leading(&self) -> Rule {
        match self.only_first()? {
            c if c.axis == 0 => to(c),
            c => Err(format!("samples lie along axis {}; expected 0", c.axis)),
        }
    }

    /// Samples are the rows of a matrix, and of each of the `outputs`.
    fn row_by_row(&self, outputs: usize) -> Rule {
        if self.rank() < 2 {
            return Err("its input is a single sample without an axis for samples".into());
        }
        let (rows, fixes) = self.leading()?;
        Ok((vec![rows[0]; outputs], fixes))
    }

    /// Every input holds the samples as rows.
    fn side_by_side(&self) -> Rule {
        let mut rows = (0..self.node.inputs.len()).map(|i| self.carried(i));
        match rows.next().flatten() {
            Some(first) if first.axis == 0 && rows.all(|c| c == Some(first)) => to(first),
            _ => Err("not every input holds the samples along axis 0".into()),
        }
    }

    fn resize(&self) -> Rule {
        let (outputs, mut fixes) = self.leading()?;
        if let Some(list) = self.shape(3)
            && list == [self.rank()]
            && self.node.ints("axes").is_none()
        {
            fixes.push(Fix::OperatorEntry {
                input: 3,
                index: 0,
                each: outputs[0].each(),
            });
        }
        Ok((outputs, fixes))
    }

    fn along_another_axis(&self) -> Rule {
        let c = self.only_first()?;
        let op = self.node.op.as_str();
        let softmax = matches!(op, "Softmax" | "LogSoftmax" | "Hardmax");
        let old = softmax && self.node.opset < 13;
        let default = if old { 1 } else { -1 };
        let given = if op == "CumSum" {
            *self
                .list(1)
                .as_deref()
                .and_then(<[i64]>::first)
                .ok_or("its axis is not constant")?
        } else {
            self.node.int("axis", default)
        };
        let at = axis(given, self.rank())?;
        // These normalise over all axes from `axis` on.
        let onwards = old || matches!(op, "LayerNormalization" | "RMSNormalization");
        if c.axis == at || (onwards && c.axis > at) {
            return Err(format!(
                "it mixes along axis {}, where the samples lie",
                c.axis
            ));
        }
        to(c)
    }

    fn pointwise(&self) -> Rule {
        let rank = self.out_shape()?.len();
        let mut place: Option<Carried> = None;
        for i in 0..self.node.inputs.len() {
            if let (Some(c), Some(shape)) = (self.carried(i), self.shape(i)) {
                let c = c.at(c.axis + rank - shape.len());
                if place.is_some_and(|p| p != c) {
                    return Err("its inputs hold the samples along different axes".into());
                }
                place = Some(c);
            }
        }
        let place = place.ok_or("no input depends on the sample")?;
        for i in 0..self.node.inputs.len() {
            if let (None, Some(shape)) = (self.carried(i), self.shape(i))
                && length_at(shape, rank, place.axis) > 1
            {
                return Err("a constant differs along the axis of the samples".into());
            }
        }
        to(place)
    }

    /// Convolution with an optional fourth input that is added to the result.
    fn fused_conv(&self) -> Rule {
        let c = self
            .carried(0)
            .ok_or("only a parameter depends on the sample")?;
        if c.axis != 0 || self.carried(1).is_some() || self.carried(2).is_some() {
            return Err("samples lie along another axis than the first, or in a parameter".into());
        }
        let added = self.shape(3).is_some();
        match self.carried(3) {
            Some(more) if more != c => {
                Err("its inputs hold the samples along different axes".into())
            }
            None if added && self.shape(3).is_some_and(|s| s.first() != Some(&1)) => {
                Err("a constant differs along the axis of the samples".into())
            }
            _ => to(c),
        }
    }

    /// Only the first input carries samples, along axis 0, and no input from the fourth on is given.
    fn only_first_axis(&self) -> Rule {
        if (3..self.node.inputs.len()).any(|i| self.shape(i).is_some()) {
            return Err("its masks and states are baked in".into());
        }
        self.leading()
    }

    /// Input and residual carry the samples along the same axis, which is not the last.
    fn skip_norm(&self) -> Rule {
        let rank = self.rank();
        let (rule, _) = self.pointwise()?;
        match rule[0] {
            c if c.axis + 1 == rank => Err("it mixes along the axis of the samples".into()),
            c => to(c),
        }
    }

    /// As [`Self::matmul`]; an operand may be transposed if it is the same for all samples.
    fn fused_matmul(&self) -> Rule {
        let turned =
            |i: usize, name: &str| self.node.int(name, 0) != 0 && self.carried(i).is_some();
        let names = [
            (0, "transA"),
            (0, "transBatchA"),
            (1, "transB"),
            (1, "transBatchB"),
        ];
        let last_two = |i: usize| {
            let rank = self.shape(i).map_or(0, <[usize]>::len);
            self.carried(i).is_some_and(|c| c.axis + 2 >= rank)
        };
        for (i, name) in names {
            // Transposing the last two axes leaves the axes before them in place.
            if turned(i, name) && (name.contains("Batch") || last_two(i)) {
                return Err("it transposes the matrices that hold the samples".into());
            }
        }
        let constant_turned =
            self.carried(1).is_none() && self.shape(1).is_some_and(|s| s.len() == 2);
        if constant_turned && self.carried(0).is_some_and(|c| c.axis + 1 < self.rank()) {
            return to(self.carried(0).ok_or("no input depends on the sample")?);
        }
        self.matmul(1)
    }

    /// Matrix product whose right operand is input `right`.
    fn matmul(&self, right: usize) -> Rule {
        let parameters = (1..self.node.inputs.len()).filter(|i| *i != right);
        if parameters.into_iter().any(|i| self.carried(i).is_some()) {
            return Err("a parameter depends on the sample".into());
        }
        let (Some(a), Some(b)) = (self.shape(0), self.shape(right)) else {
            return Err("its shapes were not seen".into());
        };
        let summed = || Err("it sums over the axis of the samples".into());
        // A vector operand counts as a row or column that the product drops.
        match (a.len(), b.len(), self.carried(0), self.carried(right)) {
            (2.., 1, Some(c), None) => {
                return if c.axis + 1 == a.len() {
                    summed()
                } else {
                    to(c)
                };
            }
            (1, 2.., None, Some(c)) => {
                return match b.len() - c.axis {
                    1 => to(c.at(c.axis - 1)),
                    2 => summed(),
                    _ => to(c),
                };
            }
            (2.., 2.., ..) => {}
            _ => return Err("one of its inputs is a vector".into()),
        }
        let rank = a.len().max(b.len());
        let widened = |c: Carried, own: usize| c.at(c.axis + rank - own);
        let (ca, cb) = (
            self.carried(0).map(|c| widened(c, a.len())),
            self.carried(right).map(|c| widened(c, b.len())),
        );
        match (ca, cb) {
            (Some(x), Some(y)) if x == y && x.axis + 2 < rank => to(x),
            (Some(_), Some(_)) => {
                Err("both matrices depend on the sample in different ways".into())
            }
            (Some(x), None) if x.axis + 1 == rank => summed(),
            (None, Some(y)) if y.axis + 2 == rank => summed(),
            (Some(x), None) if x.axis + 2 == rank || length_at(b, rank, x.axis) == 1 => to(x),
            (None, Some(y)) if y.axis + 1 == rank || length_at(a, rank, y.axis) == 1 => to(y),
            _ => Err("a constant matrix differs along the axis of the samples".into()),
        }
    }

    /// Product of two matrices with a bias, which is input `bias`.
    fn gemm(&self, bias: usize) -> Rule {
        let c = self.only_first()?;
        let rows = usize::from(self.node.int("transA", 0) != 0);
        if c.axis != rows {
            return Err("it sums over the axis of the samples".into());
        }
        if self.shape(bias).is_some_and(|s| length_at(s, 2, 0) > 1) {
            return Err("its bias differs along the axis of the samples".into());
        }
        to(c.at(0))
    }

    fn reduce(&self) -> Rule {
        let c = self.only_first()?;
        let arg = self.node.op.starts_with("Arg");
        let gone = if arg {
            vec![axis(self.node.int("axis", 0), self.rank())?]
        } else {
            match self.axes(1)? {
                Some(list) if !list.is_empty() => list,
                _ if self.node.int("noop_with_empty_axes", 0) != 0 => return to(c),
                _ => return Err("it takes all elements together".into()),
            }
        };
        if gone.contains(&c.axis) {
            return Err("it takes the samples together".into());
        }
        let before = gone.iter().filter(|a| **a < c.axis).count();
        let dropped = if self.node.int("keepdims", 1) == 0 {
            before
        } else {
            0
        };
        to(c.at(c.axis - dropped))
    }

    fn recurrent(&self) -> Rule {
        let first = self.node.int("layout", 0) != 0;
        let (x, y, h) = if first { (0, 0, 0) } else { (1, 2, 1) };
        let c = self
            .carried(0)
            .filter(|c| c.axis == x)
            .ok_or_else(|| format!("samples do not lie along axis {x} of its input"))?;
        let mut fixes = Vec::new();
        for i in 1..self.node.inputs.len() {
            let given = self.node.inputs[i].is_some();
            match (i, self.carried(i)) {
                (5 | 6, None) if given && c.each() != 1 => {
                    return Err("its state would have to be repeated in blocks".into());
                }
                (5 | 6, None) if given => fixes.push(Fix::Repeat { input: i, axis: h }),
                (5 | 6, Some(state)) if state == c.at(h) => {}
                (4, _) if given => return Err("its sequence lengths are baked in".into()),
                (_, Some(_)) => return Err("a parameter depends on the sample".into()),
                _ => {}
            }
        }
        Ok((vec![c.at(y), c.at(h)], fixes))
    }

    /// The index of the sample axis must occur in the output and exactly once in every operand that carries samples; in
    /// the other operands its length may be at most 1.
    fn einsum(&self) -> Rule {
        let shapes: Vec<Vec<usize>> = (0..self.node.inputs.len())
            .map(|i| self.shape(i).map(<[usize]>::to_vec))
            .collect::<Option<_>>()
            .ok_or("its shapes were not seen")?;
        let equation = Equation::parse(&self.node.text("equation"))?;
        let (labels, output) = equation.labels(&shapes)?;
        let mut found = None;
        for (i, own) in labels.iter().enumerate() {
            if let Some(c) = self.carried(i) {
                let here = (own[c.axis], c.outer, c.inner);
                if found.is_some_and(|f| f != here) {
                    return Err("its inputs hold the samples along different indices".into());
                }
                found = Some(here);
            }
        }
        let (label, outer, inner) = found.ok_or("no input depends on the sample")?;
        for (i, own) in labels.iter().enumerate() {
            let times = own.iter().filter(|l| **l == label).count();
            if self.carried(i).is_some() {
                if times != 1 {
                    return Err("it takes a diagonal along the samples".into());
                }
            } else if own
                .iter()
                .zip(&shapes[i])
                .any(|(l, d)| *l == label && *d > 1)
            {
                return Err("a constant differs along the axis of the samples".into());
            }
        }
        let axis = output
            .iter()
            .position(|l| *l == label)
            .ok_or("it sums over the axis of the samples")?;
        to(Carried { axis, outer, inner })
    }

    /// Each sample attends to itself: every input that carries samples has them along axis 0, and the others are
    /// repeated.
    fn attention(&self) -> Rule {
        let mut place = None;
        for i in 0..self.node.inputs.len() {
            let Some(c) = self.carried(i) else { continue };
            let rank = self.shape(i).map_or(0, <[usize]>::len);
            // A mask broadcasts from the right, so its sample axis needs all four dimensions; the other inputs have one
            // row per sample.
            if c.axis != 0 || (i == 3 && rank != 4) || place.is_some_and(|p| p != c) {
                return Err("its inputs hold the samples along different axes".into());
            }
            place = Some(c);
        }
        let place = place.ok_or("no input depends on the sample")?;
        let mut fixes = Vec::new();
        for i in 0..self.node.inputs.len() {
            if self.carried(i).is_some() || self.node.inputs[i].is_none() {
                continue;
            }
            match i {
                3 | 6 => {
                    let rank = self.shape(i).map_or(0, <[usize]>::len);
                    let full = if i == 3 { 4 } else { 1 };
                    if self.shape(i).is_some_and(|s| rank == full && s[0] > 1) {
                        return Err("a constant differs along the axis of the samples".into());
                    }
                }
                _ if place.each() != 1 => {
                    return Err("a constant would have to be repeated in blocks".into());
                }
                _ => fixes.push(Fix::Repeat { input: i, axis: 0 }),
            }
        }
        Ok((vec![place], fixes))
    }

    fn rotary(&self) -> Rule {
        let c = self.only_first()?;
        if c.axis != 0 {
            return Err(format!("samples lie along axis {}; expected 0", c.axis));
        }
        for i in [1, 2, 3] {
            let tables = self.shape(3).is_some() && i < 3;
            if !tables
                && self
                    .shape(i)
                    .is_some_and(|s| s.first().is_some_and(|n| *n > 1))
            {
                return Err("a constant differs along the axis of the samples".into());
            }
        }
        to(c)
    }
}

/// Whether an operator treats every element alike and broadcasts its inputs.
pub(crate) fn pointwise(op: &str) -> bool {
    POINTWISE.contains(&op)
}

/// Operators that treat every element alike and broadcast their inputs.
const POINTWISE: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Div",
    "Dropout",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pow",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Where",
    "Xor",
    "ai.onnx.ml.Binarizer",
    "com.microsoft.BiasGelu",
    "com.microsoft.FastGelu",
    "com.microsoft.Gelu",
    "com.microsoft.QLinearAdd",
    "com.microsoft.QLinearLeakyRelu",
    "com.microsoft.QLinearMul",
    "com.microsoft.QLinearSigmoid",
    "com.microsoft.QLinearWhere",
    "com.microsoft.QuickGelu",
    "proofmark.internal.Bend",
    "proofmark.internal.Step",
];
