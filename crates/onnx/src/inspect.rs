//! Summarises a file without running it: inputs, outputs, operators and which of them are supported.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;

use crate::dtype::DType;
use crate::error::OnnxError;
use crate::graph::{name_of, needed};
use crate::load::{OnnxFile, own_domain};
use crate::op::{self, Gradient};
use crate::proto::{GraphProto, NodeProto};
use crate::session::Declared;

/// Maximum number of unsupported nodes whose inputs [`OnnxFile::computable`] tries.
const REFUSED: usize = 16;

/// Contents of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Name of the file.
    pub name: String,
    /// Hex sha256 over the file and, where there is any, its external data.
    pub sha256: String,
    /// Producer of the file and its version, if stated.
    pub producer: Option<String>,
    /// Version of the format.
    pub ir_version: Option<i64>,
    /// Versions of operator sets, by domain (ONNX's own is `ai.onnx`).
    pub opsets: BTreeMap<String, i64>,
    /// Inputs to be given: neither constants nor fixed.
    pub inputs: Vec<Declared>,
    /// Outputs of the graph.
    pub outputs: Vec<Declared>,
    /// Number of elements of all constants that may be weights: floating-point numbers and 8-bit integers (quantised
    /// weights).
    pub parameters: usize,
    /// Every operator, by domain and name, including those in branches, loop bodies and functions.
    pub operators: Vec<OperatorUse>,
    /// Every node whose operator is not supported, in the order of the file.
    pub unsupported: Vec<UnsupportedNode>,
    /// Outputs that need no unsupported operator; if there are none, the inputs of the unsupported operators that need
    /// none.
    pub computable: Vec<String>,
}

/// One operator of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorUse {
    /// Domain of the operator; ONNX's own is `ai.onnx`.
    pub domain: String,
    /// Name of the operator.
    pub name: String,
    /// Version of the operator set.
    pub opset: i64,
    /// Number of nodes.
    pub count: usize,
    /// How the operator is computed, if it is supported.
    pub support: Option<Support>,
}

/// How an operator is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    /// Kind of derivative.
    pub gradient: Gradient,
    /// Whether the operator copies values from the device to the host.
    pub reads_back: bool,
}

/// A node whose operator is not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// Name of the node, or of its first output; nodes inside others follow the outer node's name (`loop/inner`).
    pub node: String,
    /// Operator, with its domain unless that is ONNX's own.
    pub operator: String,
    /// Version of the operator set; 0 if the file states none.
    pub opset: i64,
}

impl std::fmt::Display for UnsupportedNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (node, operator) = (&self.node, &self.operator);
        match self.opset {
            0 => write!(f, "node `{node}` ({operator}, no version stated)"),
            opset => write!(f, "node `{node}` ({operator}, opset {opset})"),
        }
    }
}

/// Returns a node's operator, with its domain unless that is ONNX's own.
pub(crate) fn operator(node: &NodeProto) -> String {
    match domain(node) {
        "ai.onnx" => node.op_type.clone(),
        other => format!("{other}.{}", node.op_type),
    }
}

/// Returns a node's domain; ONNX's own is `ai.onnx`.
pub(crate) fn domain(node: &NodeProto) -> &str {
    if node.domain.is_empty() {
        "ai.onnx"
    } else {
        &node.domain
    }
}

/// Calls `see` with every node of a graph and its name, prefixed with the names of the enclosing nodes.
pub(crate) fn walk<'a>(
    graph: &'a GraphProto,
    around: &str,
    see: &mut dyn FnMut(&'a NodeProto, String),
) {
    for node in &graph.node {
        visit(node, around, see);
    }
}

/// As [`walk`], for one node and the nodes inside it.
fn visit<'a>(node: &'a NodeProto, around: &str, see: &mut dyn FnMut(&'a NodeProto, String)) {
    let name = format!("{around}{}", name_of(node));
    let inside = format!("{name}/");
    see(node, name);
    for inner in node.attribute.iter().filter_map(|a| a.g.as_ref()) {
        walk(inner, &inside, see);
    }
}

fn weights(graph: &GraphProto) -> usize {
    let attributes = || graph.node.iter().flat_map(|n| &n.attribute);
    let own = graph
        .initializer
        .iter()
        .chain(attributes().filter_map(|a| a.t.as_ref()))
        .filter(|t| {
            DType::from_onnx(t.data_type)
                .is_ok_and(|d| d.is_float() || matches!(d, DType::I8 | DType::U8))
        })
        .map(|t| {
            t.dims.iter().fold(1usize, |n, d| {
                n.saturating_mul(usize::try_from(*d).unwrap_or(0))
            })
        });
    let inner = attributes().filter_map(|a| a.g.as_ref()).map(weights);
    own.chain(inner).fold(0, usize::saturating_add)
}

impl OnnxFile {
    /// Summarises the file. Nothing is run and only operators are checked; see [`Self::check`].
    pub fn summary(&self) -> Summary {
        let mut operators: BTreeMap<(String, String), OperatorUse> = BTreeMap::new();
        walk(self.graph(), "", &mut |node, _| {
            let (domain, name) = (domain(node).to_owned(), node.op_type.clone());
            let found = operators
                .entry((domain.clone(), name.clone()))
                .or_insert_with(|| OperatorUse {
                    opset: self.opset(node),
                    support: op::find(&node.domain, &name).map(|entry| Support {
                        gradient: entry.gradient,
                        reads_back: entry.reads_back,
                    }),
                    domain,
                    name,
                    count: 0,
                });
            found.count += 1;
        });
        let producer = format!(
            "{} {}",
            self.proto.producer_name, self.proto.producer_version
        );
        let own = |domain: &String| {
            if domain.is_empty() {
                "ai.onnx".to_owned()
            } else {
                domain.clone()
            }
        };
        Summary {
            name: self.name.clone(),
            sha256: self.sha256.clone(),
            producer: Some(producer.trim().to_owned()).filter(|p| !p.is_empty()),
            ir_version: self.proto.ir_version,
            opsets: self.opsets.iter().map(|(d, v)| (own(d), *v)).collect(),
            inputs: self.inputs(),
            outputs: self.outputs(),
            parameters: weights(self.graph()),
            operators: operators.into_values().collect(),
            unsupported: self.unsupported_among(&vec![true; self.graph().node.len()]),
            computable: self.computable(),
        }
    }

    /// Returns every unsupported node that one of the values `wanted` depends on, including nodes in branches, loop
    /// bodies and functions.
    pub(crate) fn unsupported(&self, wanted: &[&str]) -> Vec<UnsupportedNode> {
        self.unsupported_among(&needed(self.graph(), wanted))
    }

    fn unsupported_among(&self, chosen: &[bool]) -> Vec<UnsupportedNode> {
        let mut found = Vec::new();
        let nodes = self.graph().node.iter().zip(chosen);
        for (node, _) in nodes.filter(|(_, chosen)| **chosen) {
            visit(node, "", &mut |node, name| {
                if op::find(&node.domain, &node.op_type).is_none() {
                    found.push(UnsupportedNode {
                        node: name,
                        operator: operator(node),
                        opset: self.opset(node),
                    });
                }
            });
        }
        found
    }

    /// Returns the outputs that need no unsupported operator; if there are none, the inputs of the unsupported
    /// operators that need none (except `ArgMax` and `ArgMin` indices).
    fn computable(&self) -> Vec<String> {
        let graph = self.graph();
        let can = |name: &str| self.unsupported(&[name]).is_empty();
        let outputs = self.output_names().into_iter();
        let whole: Vec<String> = outputs.filter(|n| can(n)).map(ToOwned::to_owned).collect();
        if !whole.is_empty() {
            return whole;
        }
        let needed = needed(graph, &self.output_names());
        let own = |node: &NodeProto| {
            let mut all = true;
            visit(node, "", &mut |n, _| {
                all &= op::find(&n.domain, &n.op_type).is_some();
            });
            all
        };
        let refused = graph.node.iter().zip(needed);
        let refused = refused.filter(|(n, needed)| *needed && !own(n));
        let mut found: Vec<String> = Vec::new();
        for name in refused.take(REFUSED).flat_map(|(n, _)| &n.input) {
            let score = graph.node.iter().any(|n| {
                n.output.contains(name) && !matches!(n.op_type.as_str(), "ArgMax" | "ArgMin")
            });
            if score && !name.is_empty() && !found.contains(name) && can(name) {
                found.push(name.clone());
            }
        }
        found
    }

    /// Returns the end of a sentence about unsupported operators: which values can be computed without them.
    pub(crate) fn without_unsupported(&self) -> String {
        let values = self.computable();
        let Some(first) = values.first() else {
            return String::new();
        };
        let list: Vec<String> = values.iter().map(|v| format!("`{v}`")).collect();
        let (list, verb) = (
            list.join(", "),
            if values.len() == 1 { "needs" } else { "need" },
        );
        format!("; {list} {verb} none of them: pass --output {first}")
    }

    /// Whether the file computes in half precision: it casts to half precision or a node other than a Cast reads a
    /// half-precision constant. A file that only stores weights in half precision does not count.
    pub(crate) fn computes_in_half(&self) -> bool {
        let is_half = |elem_type: i64| matches!(elem_type, 10 | 16);
        let graph = self.graph();
        let constants = graph.initializer.iter();
        let constants: BTreeSet<&str> = constants
            .filter(|t| is_half(t.data_type.into()))
            .map(|t| t.name.as_str())
            .collect();
        let mut found = false;
        walk(graph, "", &mut |node, _| {
            found |= if node.op_type == "Cast" {
                let mut attributes = node.attribute.iter();
                attributes.any(|a| a.name == "to" && is_half(a.i))
            } else {
                node.input.iter().any(|i| constants.contains(i.as_str()))
            };
        });
        found
    }

    fn opset(&self, node: &NodeProto) -> i64 {
        let domain = own_domain(&node.domain);
        self.opsets.get(domain).copied().unwrap_or(0)
    }

    /// Builds the model for a device and drops it; an error if one of its outputs cannot be computed there. An
    /// unsupported operator in a branch that is certainly not taken is no error.
    pub fn check(&self, device: &Device) -> Result<(), OnnxError> {
        self.build(device).map(|_| ())
    }
}
