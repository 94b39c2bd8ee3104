//! Fuses quantised operators that are written as three nodes: dequantise, compute, quantise.
//!
//! onnxruntime runs the three as one integer operator with its own rounding (`QLinearConv` and similar). Computed as
//! written, floating-point sums differ in their last bits, and now and then a value lands on the other side of a half.
//! So the last of the three nodes is replaced by the operator onnxruntime uses. The intermediate values stay in the
//! graph and are computed only on request.
//!
//! On x86 onnxruntime leaves some int8 operators in floating point ([`SHARED_INT8`]). Doing the same was tried: the
//! result depends on the order of additions, and was as far from onnxruntime as integer arithmetic is (`docs/onnx.md`).

use std::collections::BTreeMap;

use crate::array::Array;
use crate::load::read_array;
use crate::op::MICROSOFT;
use crate::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Returns the fused nodes, by the index of the `QuantizeLinear` each one replaces.
pub(super) fn fused(graph: &GraphProto) -> BTreeMap<usize, NodeProto> {
    if !graph.node.iter().any(|n| is(n, "QuantizeLinear")) {
        return BTreeMap::new();
    }
    let whole = Whole::of(graph);
    let quantising = graph.node.iter().enumerate();
    quantising
        .filter(|(_, n)| is(n, "QuantizeLinear"))
        .filter_map(|(at, n)| Some((at, whole.fused(n)?)))
        .collect()
}

/// Note left when [`shares_int8`] holds.
pub(super) const SHARED_INT8: &str = "operators at int8 activations with several readers are computed in integers, as onnxruntime does with `session.qdqisint8allowed` (meant for ARM); by default on x86 its optimiser leaves them in floating point, and scores differ by a few quanta";

/// Whether several operators read one quantised int8 activation.
pub(super) fn shares_int8(graph: &GraphProto) -> bool {
    let whole = Whole::of(graph);
    let mut reads: BTreeMap<&str, usize> = BTreeMap::new();
    for node in graph.node.iter().filter(|n| is(n, "DequantizeLinear")) {
        if let (Some(value), Some(output)) = (node.input.first(), node.output.first()) {
            let count = whole.readers.get(output.as_str()).copied().unwrap_or(0);
            *reads.entry(value).or_insert(0) += count;
        }
    }
    let is_int8 = |q: &NodeProto| {
        let zero = q.input.get(2).and_then(|z| whole.constants.get(z.as_str()));
        zero.is_some_and(|t| t.data_type == 3)
    };
    let quantising = graph.node.iter().filter(|n| is(n, "QuantizeLinear"));
    quantising
        .filter(|q| is_int8(q))
        .filter_map(|q| q.output.first())
        .any(|value| reads.get(value.as_str()).is_some_and(|n| *n > 1))
}

fn is(node: &NodeProto, op: &str) -> bool {
    node.op_type == op && matches!(node.domain.as_str(), "" | "ai.onnx" | MICROSOFT)
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    let found = node.attribute.iter().find(|a| a.name == name);
    found.map_or(default, |a| a.i)
}

/// A quantised value that a node reads: the names of value, scale and zero point, the scales, and their axis.
struct Scaled<'a> {
    names: [&'a str; 3],
    scales: Array,
    axis: i64,
}

impl Scaled<'_> {
    fn is_single(&self) -> bool {
        self.scales.len() == 1
    }

    /// Whether the value has one scale, or one for each index along `axis`.
    fn is_along(&self, axis: i64) -> bool {
        self.is_single() || self.axis == axis
    }
}

/// A graph indexed by value names.
struct Whole<'a> {
    producer: BTreeMap<&'a str, &'a NodeProto>,
    constants: BTreeMap<&'a str, &'a TensorProto>,
    /// Number of times each value is read.
    readers: BTreeMap<&'a str, usize>,
}

impl<'a> Whole<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let mut constants: BTreeMap<&str, &TensorProto> = BTreeMap::new();
        constants.extend(graph.initializer.iter().map(|t| (t.name.as_str(), t)));
        let mut producer: BTreeMap<&str, &NodeProto> = BTreeMap::new();
        for node in &graph.node {
            producer.extend(node.output.iter().map(|name| (name.as_str(), node)));
            if let ("Constant", [name]) = (node.op_type.as_str(), node.output.as_slice())
                && let Some(t) = node.attribute.iter().find_map(|a| a.t.as_ref())
            {
                constants.insert(name, t);
            }
        }
        let mut readers: BTreeMap<&str, usize> = BTreeMap::new();
        for node in &graph.node {
            let captured = super::captured(node);
            for name in node.input.iter().chain(&captured) {
                if let Some((name, _)) = producer.get_key_value(name.as_str()) {
                    *readers.entry(name).or_insert(0) += 1;
                }
            }
        }
        for output in &graph.output {
            *readers.entry(output.name.as_str()).or_insert(0) += 1;
        }
        Self {
            producer,
            constants,
            readers,
        }
    }

    /// Returns a small constant; constants in external data are not read.
    fn constant(&self, name: &str) -> Option<Array> {
        read_array(self.constants.get(name)?, None).ok()
    }

    /// Returns the inputs of the `DequantizeLinear` that computes a value, if one does.
    fn scaled(&self, name: &str) -> Option<Scaled<'a>> {
        let node = *self.producer.get(name)?;
        if !is(node, "DequantizeLinear") || int(node, "block_size", 0) != 0 {
            return None;
        }
        let [value, scale, more @ ..] = node.input.as_slice() else {
            return None;
        };
        Some(Scaled {
            names: [value, scale, more.first().map_or("", String::as_str)],
            scales: self.constant(scale)?,
            axis: int(node, "axis", 1),
        })
    }

    /// As [`Self::scaled`], for an 8-bit value with one scale; returns the names.
    fn activation(&self, name: &str) -> Option<[&'a str; 3]> {
        let found = self.scaled(name).filter(Scaled::is_single)?;
        self.is_eight_bits(found.names[2]).then_some(found.names)
    }

    /// Whether a zero point is a single 8-bit number.
    fn is_eight_bits(&self, zero: &str) -> bool {
        let Some(t) = self.constants.get(zero) else {
            return false;
        };
        matches!(t.data_type, 2 | 3) && t.dims.iter().product::<i64>() == 1
    }

    /// Returns a node that replaces `quantise` and the nodes before it, if they can be fused.
    fn fused(&self, quantise: &NodeProto) -> Option<NodeProto> {
        let [result, scale, zero] = quantise.input.as_slice() else {
            return None;
        };
        let alone = |name: &str| self.readers.get(name) == Some(&1);
        let single = self.constant(scale)?.len() == 1 && self.is_eight_bits(zero);
        if !single || !alone(result) || int(quantise, "block_size", 0) != 0 {
            return None;
        }
        let mut node = *self.producer.get(result.as_str())?;
        // If the zero point is the smallest value of the type, quantising clips negative values, so the Relu is
        // redundant.
        if is(node, "Relu") && self.is_least(zero) && alone(node.input.first()?) {
            node = self.producer.get(node.input[0].as_str())?;
        }
        if !matches!(node.domain.as_str(), "" | "ai.onnx") || node.output.len() != 1 {
            return None;
        }
        let target = [scale.as_str(), zero.as_str()];
        let (op, inputs) = self.operator(node, target)?;
        let own = matches!(op, "QLinearConv" | "QLinearMatMul");
        let attributes = node.attribute.iter();
        Some(NodeProto {
            input: inputs.into_iter().map(ToOwned::to_owned).collect(),
            output: quantise.output.clone(),
            name: quantise.name.clone(),
            op_type: op.into(),
            attribute: attributes
                .filter(|a| a.name != "beta")
                .cloned()
                .collect::<Vec<AttributeProto>>(),
            domain: if own { "" } else { MICROSOFT }.into(),
        })
    }

    fn is_least(&self, zero: &str) -> bool {
        let Some(zero) = self.constant(zero) else {
            return false;
        };
        let least = zero.dtype().range().map(|r| r.0);
        zero.to_f64().ok().and_then(|v| v.first().copied()) == least
    }

    /// Returns the integer operator that replaces a floating-point node, with its inputs.
    fn operator(
        &self,
        node: &'a NodeProto,
        target: [&'a str; 2],
    ) -> Option<(&'static str, Vec<&'a str>)> {
        let input = |i: usize| {
            node.input
                .get(i)
                .map(String::as_str)
                .filter(|n| !n.is_empty())
        };
        let a = self.activation(input(0)?)?;
        let with = |more: &[[&'a str; 3]]| {
            let mut all = a.to_vec();
            all.extend(more.iter().flatten());
            all.extend(target);
            all
        };
        Some(match node.op_type.as_str() {
            "Conv" => {
                let w = self.scaled(input(1)?).filter(|w| w.is_along(0))?;
                let mut all = with(&[w.names]);
                all.extend(self.bias(input(2), &a, &w)?);
                ("QLinearConv", all)
            }
            "MatMul" => {
                let w = self.scaled(input(1)?).filter(Scaled::is_single)?;
                // The right operand is an activation or weights, 8-bit in either case.
                ("QLinearMatMul", with(&[w.names]))
            }
            "Gemm" if beta_is_one(node) => {
                let rows = i64::from(int(node, "transB", 0) == 0);
                let w = self.scaled(input(1)?).filter(|w| w.is_along(rows))?;
                let bias = self.bias(input(2), &a, &w)?;
                let mut all = a.to_vec();
                all.extend(w.names);
                all.push(bias.unwrap_or(""));
                all.extend(target);
                ("QGemm", all)
            }
            "Add" => ("QLinearAdd", with(&[self.activation(input(1)?)?])),
            "Mul" => ("QLinearMul", with(&[self.activation(input(1)?)?])),
            "GlobalAveragePool" => ("QLinearGlobalAveragePool", with(&[])),
            "AveragePool" => ("QLinearAveragePool", with(&[])),
            _ => return None,
        })
    }

    /// Returns the integer bias in units of the products: `Some(None)` if no bias is given, `None` if it has other
    /// units.
    #[allow(clippy::option_option)] // bias, no bias, or not fusable
    fn bias(&self, name: Option<&str>, a: &[&str; 3], w: &Scaled<'_>) -> Option<Option<&'a str>> {
        let Some(name) = name else {
            return Some(None);
        };
        let bias = self.scaled(name)?;
        let none = bias.names[2].is_empty();
        let zero = none
            || self
                .constant(bias.names[2])?
                .to_f64()
                .ok()?
                .iter()
                .all(|z| *z == 0.0);
        let of_a = *self.constant(a[1])?.to_f64().ok()?.first()?;
        let (own, of_w) = (bias.scales.to_f64().ok()?, w.scales.to_f64().ok()?);
        let near = |i: usize| {
            let expected = of_a * of_w[i % of_w.len()];
            (own[i] - expected).abs() <= 1e-3 * expected.abs()
        };
        let fits = zero && !own.is_empty() && !of_w.is_empty() && (0..own.len()).all(near);
        fits.then_some(Some(bias.names[0]))
    }
}

fn beta_is_one(node: &NodeProto) -> bool {
    let beta = node.attribute.iter().find(|a| a.name == "beta");
    beta.is_none_or(|a| a.f == 1.0)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::fused;
    use crate::array::Array;
    use crate::load::OnnxFile;
    use crate::proto::{GraphProto, NodeProto};
    use crate::session::Session;
    use crate::sketch::{graph, model, node};
    use burn::tensor::Device;

    fn scale(s: f32) -> Array {
        Array::new([], vec![s])
    }

    fn zero(z: u8) -> Array {
        Array::new([], vec![z])
    }

    /// `x`, quantised with scale 0.5, through `nodes` to `r`, which is quantised with scale 1 and zero point 7.
    fn sandwich(nodes: Vec<NodeProto>) -> GraphProto {
        let mut all = vec![
            node("QuantizeLinear", &["x", "s", "z"], &["q"]),
            node("DequantizeLinear", &["q", "s", "z"], &["d"]),
        ];
        all.extend(nodes);
        all.push(node("QuantizeLinear", &["r", "one", "seven"], &["y"]));
        graph(all, &["x"], &["y"])
            .constant("s", &scale(0.5))
            .constant("z", &zero(0))
            .constant("one", &scale(1.0))
            .constant("seven", &zero(7))
    }

    fn operators(graph: &GraphProto) -> Vec<String> {
        fused(graph).into_values().map(|n| n.op_type).collect()
    }

    fn session(graph: GraphProto) -> Session {
        let file = OnnxFile::decode("m", model(graph).encode_to_vec(), None).unwrap();
        Session::new(file, &Device::flex()).unwrap()
    }

    fn doubled() -> GraphProto {
        sandwich(vec![
            node("DequantizeLinear", &["q", "s", "z"], &["e"]),
            node("Add", &["d", "e"], &["r"]),
        ])
    }

    /// The difference shows at halves: as written, 0.5 is rounded to 0 and gives 0 + 7; with the zero point added
    /// first, 7.5 is rounded to 8.
    #[test]
    fn a_fused_sum_is_rounded_after_adding_the_zero_point() {
        let graph = doubled();
        assert_eq!(operators(&graph), ["QLinearAdd"]);
        let x = Array::new([2], vec![0.25f32, 2.0]);
        // 0.25 is quantised to 0, since half a unit is rounded to the even number.
        let y = session(graph).run(&[x]).unwrap();
        assert_eq!(y, [Array::new([2], vec![7u8, 11])]);
        let odd = sandwich(vec![node("Add", &["d", "c"], &["r"])])
            .constant("t", &scale(0.5))
            .constant("k", &Array::new([1], vec![1u8]));
        let mut odd = odd;
        odd.node
            .insert(2, node("DequantizeLinear", &["k", "t", "z"], &["c"]));
        assert_eq!(operators(&odd), ["QLinearAdd"]);
        let y = session(odd)
            .run(&[Array::new([2], vec![0.0f32, 1.0])])
            .unwrap();
        // 0.5 and 1.5 plus 7 are 7.5 and 8.5, which both round to the even number 8.
        assert_eq!(y, [Array::new([2], vec![8u8, 8])]);
    }

    #[test]
    fn an_int8_activation_with_several_readers_leaves_a_note() {
        let of_type = |mut g: GraphProto, zero: &Array| {
            g.initializer.retain(|t| t.name != "z" && t.name != "seven");
            g.constant("z", zero).constant("seven", zero)
        };
        let (int8, uint8) = (Array::new([], vec![3i8]), zero(3));
        let pool = || sandwich(vec![node("GlobalAveragePool", &["d"], &["r"])]);
        for (g, zero, op, notes) in [
            (doubled(), &int8, "QLinearAdd", 1),
            (doubled(), &uint8, "QLinearAdd", 0),
            (pool(), &int8, "QLinearGlobalAveragePool", 0),
        ] {
            let g = of_type(g, zero);
            assert_eq!(operators(&g), [op]);
            let all = session(g).notes();
            assert_eq!(all.len(), notes, "{op}: {all:?}");
            assert!(all.iter().all(|n| n.contains("on x86")), "{all:?}");
        }
    }

    #[test]
    fn values_inside_a_fused_operator_can_be_watched() {
        let mut session = session(doubled());
        session.watch("r").unwrap();
        let seen = session.run(&[Array::new([1], vec![1.5f32])]).unwrap();
        assert_eq!(seen[1], Array::new([1], vec![3.0f32]));
    }

    #[test]
    fn operators_are_fused_only_if_the_result_is_the_same() {
        let weights = |g: GraphProto, scales: &[f32], bias_scale: f32| {
            let mut g = g
                .constant("w", &Array::new([2, 1, 1], vec![1u8, 2]))
                .constant("ws", &Array::new([scales.len()], scales.to_vec()))
                .constant("b", &Array::new([2], vec![3i32, 4]))
                .constant("bs", &scale(bias_scale));
            g.node.insert(
                2,
                node("DequantizeLinear", &["w", "ws"], &["v"]).int("axis", 0),
            );
            g.node
                .insert(3, node("DequantizeLinear", &["b", "bs"], &["c"]));
            g
        };
        let conv = || sandwich(vec![node("Conv", &["d", "v", "c"], &["r"])]);
        assert_eq!(
            operators(&weights(conv(), &[0.5, 0.5], 0.25)),
            ["QLinearConv"]
        );
        // A bias in units other than those of the products.
        assert!(operators(&weights(conv(), &[0.5, 0.5], 0.3)).is_empty());
        // A result that another node reads as well.
        let mut read = weights(conv(), &[0.5, 0.5], 0.25);
        read.node.push(node("Relu", &["r"], &["more"]));
        assert!(operators(&read).is_empty());
        // Behind a Relu only if the zero point is the smallest value of the type.
        let relu = || {
            let last = node("Relu", &["p"], &["r"]);
            sandwich(vec![node("Conv", &["d", "v", "c"], &["p"]), last])
        };
        assert!(operators(&weights(relu(), &[0.5], 0.25)).is_empty());
        let mut at_zero = weights(relu(), &[0.5], 0.25);
        at_zero.node.last_mut().unwrap().input[2] = "z".into();
        assert_eq!(operators(&at_zero), ["QLinearConv"]);
        // A 16-bit zero point.
        let mut wide = doubled();
        wide.initializer.retain(|t| t.name != "seven");
        let wide = wide.constant("seven", &Array::new([], vec![7u16]));
        assert!(operators(&wide).is_empty());
    }
}
