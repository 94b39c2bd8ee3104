//! What a file holds, without running it: inputs, outputs, operators and which of them are supported.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;

use crate::dtype::DType;
use crate::error::OnnxError;
use crate::graph::{name_of, needed};
use crate::load::{OnnxFile, own_domain};
use crate::op::{self, Gradient};
use crate::proto::{GraphProto, NodeProto};
use crate::session::Declared;

/// So many unsupported nodes are asked for what they are given.
const REFUSED: usize = 16;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The file's name.
    pub name: String,
    /// Hex sha256 over the file and, where there is any, its external data.
    pub sha256: String,
    /// What wrote it, with its version, if it says.
    pub producer: Option<String>,
    /// The version of the format.
    pub ir_version: Option<i64>,
    /// Versions of operator sets, by domain (ONNX's own is `ai.onnx`).
    pub opsets: BTreeMap<String, i64>,
    /// The inputs to be given: neither constants nor fixed.
    pub inputs: Vec<Declared>,
    /// The outputs.
    pub outputs: Vec<Declared>,
    /// Elements of all constants that may be weights: floating-point numbers and 8-bit integers (quantised weights).
    pub parameters: usize,
    /// Every operator, by domain and name. Branches, bodies of loops and functions count.
    pub operators: Vec<OperatorUse>,
    /// Every node whose operator is not supported, in the order of the file.
    pub unsupported: Vec<UnsupportedNode>,
    /// The outputs that need no unsupported operator; where each needs one, the values that those operators are given.
    pub computable: Vec<String>,
}

/// One operator of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorUse {
    /// Its domain; ONNX's own is `ai.onnx`.
    pub domain: String,
    /// Its name.
    pub name: String,
    /// The version of the operator set.
    pub opset: i64,
    /// How many nodes.
    pub count: usize,
    /// How it is computed, if it is supported.
    pub support: Option<Support>,
}

/// How an operator is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Support {
    /// What its derivative is.
    pub gradient: Gradient,
    /// Whether values on the device are copied to the host to compute it.
    pub reads_back: bool,
}

/// A node whose operator is not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// Its name, or that of its first output; nodes inside others after the name of those (`loop/inner`).
    pub node: String,
    /// The operator, with its domain where it is not ONNX's own.
    pub operator: String,
    /// The version of the operator set; 0 if the file states none.
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

/// A node's operator, with its domain where it is not ONNX's own.
pub(crate) fn operator(node: &NodeProto) -> String {
    match domain(node) {
        "ai.onnx" => node.op_type.clone(),
        other => format!("{other}.{}", node.op_type),
    }
}

/// A node's domain; ONNX's own is `ai.onnx`.
pub(crate) fn domain(node: &NodeProto) -> &str {
    if node.domain.is_empty() {
        "ai.onnx"
    } else {
        &node.domain
    }
}

/// Shows every node of a graph, with its name within those around it.
pub(crate) fn walk<'a>(
    graph: &'a GraphProto,
    around: &str,
    see: &mut dyn FnMut(&'a NodeProto, String),
) {
    for node in &graph.node {
        visit(node, around, see);
    }
}

/// The same for a node and those inside it.
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
    /// What the file holds. Nothing is run, and nothing but operators is checked: see [`Self::check`].
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

    /// Every node that leads to one of the values `wanted` and whose operator is not supported, branches, bodies of
    /// loops and functions included.
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

    /// The outputs that need no unsupported operator; where each needs one, the values that those operators are given
    /// (indices of the largest score left out).
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

    /// The end of a sentence about unsupported operators: what can be had without them.
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

    /// Whether values between input and output have half precision: weights alone may be stored so.
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

    /// Builds the model for a device and lets it go: says whether all of its outputs can be computed there. An
    /// unsupported operator in a branch that is certainly not taken does no harm.
    pub fn check(&self, device: &Device) -> Result<(), OnnxError> {
        self.build(device).map(|_| ())
    }
}
