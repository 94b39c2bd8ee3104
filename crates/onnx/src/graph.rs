//! Builds a graph that is ready to run: resolves names to slots, finds operators, reads attributes, folds constants.

mod depend;
mod fuse;
mod needed;
mod plan;
mod run;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::array::{Array, Data};
use crate::dtype::DType;
use crate::inspect::operator;
use crate::load::Scope;
use crate::lower::Lowering;
use crate::node::{Args, NodeSpec, OpResult, Run};
use crate::op::OperatorEntry;
use crate::proto::{AttributeProto, GraphProto, NodeProto};
use crate::room;
use crate::value::Value;

pub(crate) use needed::needed;
pub(crate) use plan::Plan;

/// Index of a value while a graph runs.
pub(crate) type Slot = usize;

/// Error for a node whose operator is not known.
pub(crate) const NOT_SUPPORTED: &str = "this operator is not supported";
/// Maximum elements of all constants computed when the graph is built (1 GiB of `f32`).
const FOLDED: usize = 1 << 28;

/// An operation that is ready to run.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) op: String,
    pub(crate) opset: i64,
    pub(crate) entry: &'static OperatorEntry,
    /// Attributes of the node, without constants and branches.
    pub(crate) attributes: Vec<AttributeProto>,
    pub(crate) inputs: Vec<Option<Slot>>,
    pub(crate) outputs: Vec<Option<Slot>>,
    /// Changes of inputs that let a node written for one sample process many (see [`crate::batch`]).
    pub(crate) fixes: Vec<Fix>,
    /// Its part in a network of kernels, if they compute it.
    pub(crate) lowering: Option<Lowering>,
    run: Run,
}

/// A change of a node's input that lets the node process a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fix {
    /// The input is a list of sizes; this entry becomes the number of samples times `each`.
    OperatorEntry {
        /// Index of the input.
        input: usize,
        /// Index of the entry.
        index: usize,
        /// Elements of one sample along that dimension.
        each: usize,
    },
    /// The input is the same for every sample and must be repeated along this axis.
    Repeat {
        /// Index of the input.
        input: usize,
        /// Axis of the samples.
        axis: usize,
    },
}

/// The node that failed, and the problem.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) node: String,
    pub(crate) op: String,
    pub(crate) opset: i64,
    pub(crate) problem: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "node `{}` ({}, opset {}): {}",
            self.node, self.op, self.opset, self.problem
        )
    }
}

/// A graph that is ready to run.
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    /// Value of each slot, if it is known before the graph runs.
    pub(crate) known: Vec<Option<Value>>,
    pub(crate) inputs: Vec<Slot>,
    /// Slots of the requested values, in the order requested.
    pub(crate) outputs: Vec<Slot>,
    pub(crate) names: BTreeMap<String, Slot>,
    /// Notes on how the graph is computed.
    pub(crate) notes: Notes,
    /// Values that replace the output of the node that computes them.
    pinned: BTreeMap<String, Array>,
}

/// Notes on how a graph is computed, left by its operators, without duplicates.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<BTreeSet<String>>>);

impl Notes {
    /// Adds a note.
    pub(crate) fn leave(&self, note: String) {
        // The lock is never held across code that can panic.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(note);
    }

    /// Returns the notes left so far.
    pub(crate) fn all(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().cloned().collect()
    }
}

/// Returns the outer values that a node's branches read, in order of appearance.
pub(crate) fn captured(node: &NodeProto) -> Vec<String> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for graph in node.attribute.iter().filter_map(|a| a.g.as_ref()) {
        for name in free_names(graph) {
            if seen.insert(name) {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// Returns the names that a branch reads from outside.
pub(crate) fn free(graph: &GraphProto) -> BTreeSet<String> {
    free_names(graph)
        .into_iter()
        .map(ToOwned::to_owned)
        .collect()
}

fn free_names(graph: &GraphProto) -> Vec<&str> {
    let mut own: BTreeSet<&str> = graph.input.iter().map(|v| v.name.as_str()).collect();
    own.extend(graph.initializer.iter().map(|t| t.name.as_str()));
    own.extend(
        graph
            .node
            .iter()
            .flat_map(|n| n.output.iter().map(String::as_str)),
    );
    let inner = graph.node.iter().flat_map(|n| {
        let mut read: Vec<&str> = n.input.iter().map(String::as_str).collect();
        for graph in n.attribute.iter().filter_map(|a| a.g.as_ref()) {
            read.extend(free_names(graph));
        }
        read
    });
    let outputs = graph.output.iter().map(|o| o.name.as_str());
    // Inserting a free name into `own` prevents returning it twice.
    inner
        .chain(outputs)
        .filter(|name| !name.is_empty() && own.insert(name))
        .collect()
}

impl Graph {
    /// Builds a graph for the values `wanted`. A node that does not lead to them is skipped if it cannot be built.
    /// `fixed` are inputs or node outputs that become constants; `captures` are values of the enclosing graph, with
    /// their value if it is already known.
    pub(crate) fn build(
        proto: &GraphProto,
        wanted: &[&str],
        fixed: &BTreeMap<String, Array>,
        captures: Vec<(String, Option<Value>)>,
        scope: &Scope<'_>,
    ) -> Result<Self, Failure> {
        let whole = |problem: String| Failure {
            node: proto.name.clone(),
            op: "graph".into(),
            opset: scope.opset("").unwrap_or(0),
            problem,
        };
        let mut graph = Self {
            nodes: Vec::with_capacity(proto.node.len()),
            known: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            names: BTreeMap::new(),
            notes: scope.notes.clone(),
            pinned: fixed.clone(),
        };
        for constant in &proto.initializer {
            let value = scope
                .array(constant)
                .map_err(|e| whole(format!("constant `{}`: {e}", constant.name)))?;
            graph
                .define(&constant.name, Some(value.into()))
                .map_err(whole)?;
        }
        for input in &proto.input {
            // Up to IR version 3 constants were listed among the inputs as well.
            if let Some(slot) = graph.names.get(&input.name) {
                if graph.known[*slot].is_none() {
                    return Err(whole(format!("input `{}` is listed twice", input.name)));
                }
                continue;
            }
            let value = fixed.get(&input.name).cloned().map(Value::from);
            let is_fixed = value.is_some();
            let slot = graph.define(&input.name, value).map_err(whole)?;
            if !is_fixed {
                graph.inputs.push(slot);
            }
        }
        for (name, value) in captures {
            let slot = if name.is_empty() {
                graph.known.push(None);
                graph.known.len() - 1
            } else {
                graph.define(&name, value).map_err(whole)?
            };
            graph.inputs.push(slot);
        }
        let mut folded = 0;
        let (needed, fused) = (needed(proto, wanted), fuse::fused(proto));
        if !fused.is_empty() && fuse::shares_int8(proto) {
            scope.notes.leave(fuse::SHARED_INT8.to_owned());
        }
        for at in order(proto).map_err(whole)? {
            let node = fused.get(&at).unwrap_or(&proto.node[at]);
            match graph.add(node, scope, &mut folded) {
                Err(e) if needed[at] => return Err(e),
                _ => {}
            }
        }
        for name in wanted {
            let slot = graph
                .names
                .get(*name)
                .ok_or_else(|| whole(format!("output `{name}` is computed by no node")))?;
            graph.outputs.push(*slot);
        }
        Ok(graph)
    }

    fn define(&mut self, name: &str, value: Option<Value>) -> OpResult<Slot> {
        let slot = self.known.len();
        if self.names.insert(name.to_owned(), slot).is_some() {
            return Err(format!("value `{name}` is defined twice"));
        }
        self.known.push(value);
        Ok(slot)
    }

    fn add(
        &mut self,
        proto: &NodeProto,
        scope: &Scope<'_>,
        folded: &mut usize,
    ) -> Result<(), Failure> {
        let op = operator(proto);
        let opset = scope.opset(&proto.domain).unwrap_or(0);
        let failure = |problem: String| Failure {
            node: name_of(proto),
            op: op.clone(),
            opset,
            problem,
        };
        if let [output] = proto.output.as_slice()
            && let Some(value) = self.pinned.get(output).cloned()
        {
            self.define(output, Some(value.into())).map_err(failure)?;
            return Ok(());
        }
        let entry = crate::op::find(&proto.domain, &proto.op_type)
            .ok_or_else(|| failure(NOT_SUPPORTED.into()))?;
        let mut inputs = Vec::new();
        for name in proto.input.iter().chain(&captured(proto)) {
            inputs.push(if name.is_empty() {
                None
            } else {
                Some(*self.names.get(name).ok_or_else(|| {
                    failure(format!("input `{name}` is computed by no earlier node"))
                })?)
            });
        }
        let known: Vec<Option<Value>> = inputs
            .iter()
            .map(|s| s.and_then(|s| self.known[s].clone()))
            .collect();
        let spec = NodeSpec {
            proto,
            opset,
            known: &known,
            scope,
        };
        if let Some(branch) = taken(&spec)
            && self.inline(proto, branch, scope, folded)?
        {
            return Ok(());
        }
        let run = (entry.build)(&spec).map_err(failure)?;
        // What cannot be read was refused above.
        let lowering = entry.lower.and_then(|lower| lower(&spec).ok());
        let mut outputs = Vec::new();
        for name in &proto.output {
            outputs.push(if name.is_empty() {
                None
            } else {
                Some(self.define(name, None).map_err(failure)?)
            });
        }
        let node = Node {
            name: name_of(proto),
            op,
            opset,
            entry,
            attributes: plain_attributes(proto),
            inputs,
            outputs,
            fixes: Vec::new(),
            lowering,
            run,
        };
        let constant = node
            .inputs
            .iter()
            .all(|s| s.is_none_or(|s| self.known[s].is_some()));
        if constant && *folded < FOLDED {
            let mut args = Args {
                values: known,
                device: scope.device,
            };
            // A node that fails here may sit in a branch that is never taken; its error is reported when it runs.
            if let Ok(values) = room::while_folding(|| node.call(&mut args)) {
                for (slot, value) in node.outputs.iter().zip(values) {
                    if let Some(slot) = slot {
                        *folded += value.elements();
                        self.known[*slot] = Some(value);
                    }
                }
                return Ok(());
            }
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Replaces an `If` with a known condition by the nodes of the branch taken, so that their constants are folded and
    /// samples can be followed through them. Returns `false` if a name in the branch is already used.
    fn inline(
        &mut self,
        proto: &NodeProto,
        branch: &GraphProto,
        scope: &Scope<'_>,
        folded: &mut usize,
    ) -> Result<bool, Failure> {
        let constants = branch.initializer.iter().map(|t| &t.name);
        let computed = branch.node.iter().flat_map(|n| &n.output);
        let mut own = BTreeSet::new();
        let free = constants
            .chain(computed)
            .filter(|n| !n.is_empty())
            .all(|n| !self.names.contains_key(n) && own.insert(n));
        if !free || branch.output.len() < proto.output.len() {
            return Ok(false);
        }
        let failure = |problem: String| Failure {
            node: name_of(proto),
            op: proto.op_type.clone(),
            opset: scope.opset("").unwrap_or(0),
            problem,
        };
        for constant in &branch.initializer {
            let value = scope.array(constant).map_err(failure)?;
            self.define(&constant.name, Some(value.into()))
                .map_err(failure)?;
        }
        for at in order(branch).map_err(failure)? {
            self.add(&branch.node[at], scope, folded)?;
        }
        for (name, inner) in proto.output.iter().zip(&branch.output) {
            let slot = *self.names.get(&inner.name).ok_or_else(|| {
                failure(format!("output `{}` is computed by no node", inner.name))
            })?;
            if !name.is_empty() && self.names.insert(name.clone(), slot).is_some() {
                return Err(failure(format!("value `{name}` is defined twice")));
            }
        }
        Ok(true)
    }

    /// Returns the names of all values that nodes or inputs provide, in slot order.
    pub(crate) fn value_names(&self) -> Vec<String> {
        let mut named: Vec<(Slot, &String)> = self
            .names
            .iter()
            .filter(|(_, s)| self.known[**s].is_none())
            .map(|(n, s)| (*s, n))
            .collect();
        named.sort();
        named.into_iter().map(|(_, n)| n.clone()).collect()
    }

    /// Returns the number of elements of all floating-point constants that nodes read.
    pub(crate) fn parameters(&self) -> usize {
        let read: BTreeSet<Slot> = self
            .nodes
            .iter()
            .flat_map(|n| n.inputs.iter().flatten().copied())
            .collect();
        read.into_iter()
            .filter_map(|s| self.known[s].as_ref())
            .filter(|v| v.dtype().is_float())
            .map(|v| v.shape().iter().product::<usize>())
            .sum()
    }

    /// Returns the name of a slot's value.
    pub(crate) fn name(&self, slot: Slot) -> &str {
        self.names
            .iter()
            .find(|(_, s)| **s == slot)
            .map_or("", |(n, _)| n)
    }
}

impl Node {
    /// Returns an integer attribute.
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attributes
            .iter()
            .find(|a| a.name == name)
            .map_or(default, |a| a.i)
    }

    /// Whether the node is a Cast that truncates to integers; other Casts have the derivative of the identity.
    pub(crate) fn casts_to_int(&self) -> bool {
        self.op == "Cast" && DType::from_onnx(self.int("to", 1) as i32).is_ok_and(DType::is_int)
    }

    /// Whether the node leaves numbers unchanged: all but a Cast to integers, booleans or strings.
    pub(crate) fn keeps_numbers(&self) -> bool {
        self.op != "Cast" || DType::from_onnx(self.int("to", 1) as i32).is_ok_and(DType::is_float)
    }

    /// Returns an attribute that is a list of integers.
    pub(crate) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attributes
            .iter()
            .find(|a| a.name == name)
            .map(|a| a.ints.as_slice())
    }

    /// Returns a string attribute; empty if it is absent.
    pub(crate) fn text(&self, name: &str) -> String {
        self.attributes
            .iter()
            .find(|a| a.name == name)
            .map_or_else(String::new, |a| String::from_utf8_lossy(&a.s).into_owned())
    }

    pub(crate) fn failure(&self, problem: String) -> Failure {
        Failure {
            node: self.name.clone(),
            op: self.op.clone(),
            opset: self.opset,
            problem,
        }
    }
}

/// Returns the branch taken by an `If` whose condition is known.
fn taken<'a>(spec: &NodeSpec<'a>) -> Option<&'a GraphProto> {
    let plain = matches!(spec.proto.domain.as_str(), "" | "ai.onnx");
    if !plain || spec.proto.op_type != "If" {
        return None;
    }
    let condition = match spec.constant(0)?.data() {
        Data::Bool(v) => *v.first()?,
        _ => return None,
    };
    let name = if condition {
        "then_branch"
    } else {
        "else_branch"
    };
    let branch = spec.attribute(name)?.g.as_ref()?;
    branch.input.is_empty().then_some(branch)
}

fn plain_attributes(node: &NodeProto) -> Vec<AttributeProto> {
    let plain = |a: &&AttributeProto| a.t.is_none() && a.g.is_none();
    node.attribute.iter().filter(plain).cloned().collect()
}

/// Returns a node's name, or that of its first output.
pub(crate) fn name_of(node: &NodeProto) -> String {
    if node.name.is_empty() {
        node.output.first().cloned().unwrap_or_default()
    } else {
        node.name.clone()
    }
}

/// Returns the nodes in topological order, keeping the order of the file where possible.
fn order(graph: &GraphProto) -> OpResult<Vec<usize>> {
    let producer: BTreeMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i)))
        .filter(|(name, _)| !name.is_empty())
        .collect();
    let mut waiting = vec![0usize; graph.node.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.node.len()];
    for (i, node) in graph.node.iter().enumerate() {
        for name in node.input.iter().chain(&captured(node)) {
            if let Some(from) = producer.get(name.as_str()) {
                waiting[i] += 1;
                readers[*from].push(i);
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..graph.node.len())
        .filter(|i| waiting[*i] == 0)
        .map(Reverse)
        .collect();
    let mut sorted = Vec::with_capacity(graph.node.len());
    while let Some(Reverse(i)) = ready.pop() {
        sorted.push(i);
        for reader in &readers[i] {
            waiting[*reader] -= 1;
            if waiting[*reader] == 0 {
                ready.push(Reverse(*reader));
            }
        }
    }
    if sorted.len() == graph.node.len() {
        Ok(sorted)
    } else {
        let stuck = waiting.iter().position(|w| *w > 0).unwrap_or(0);
        Err(format!(
            "node `{}` is part of a cycle",
            name_of(&graph.node[stuck])
        ))
    }
}
