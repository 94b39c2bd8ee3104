//! Dependency analysis: which nodes the inputs influence, and how.

use std::collections::BTreeSet;

use super::{Failure, Graph, Node, Plan, Slot};
use crate::op::{Gradient, IN_TRAINING};

/// Comparisons and logical operators: their derivative is zero wherever it exists, and the values they select have
/// their own derivatives.
const MASKS: [&str; 11] = [
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "And",
    "Or",
    "Xor",
    "Not",
    "IsNaN",
    "IsInf",
];

impl Graph {
    /// Returns, as `name (operator)`, the nodes of a plan that depend on these inputs and whose derivative is not the
    /// true one, or is zero because values are rounded.
    pub(crate) fn rough(&self, plan: &Plan, from: impl Iterator<Item = Slot>) -> Vec<String> {
        let mut depends: BTreeSet<Slot> = from.collect();
        let mut rough = Vec::new();
        for (at, _) in &plan.steps {
            let node = &self.nodes[*at];
            if !node.moved_by(&depends) {
                continue;
            }
            depends.extend(node.outputs.iter().flatten());
            let rounds = match node.entry.gradient {
                Gradient::Exact => node.casts_to_int(),
                Gradient::Zero => !MASKS.contains(&node.op.as_str()),
                Gradient::StraightThrough | Gradient::None => true,
            };
            if rounds {
                rough.push(format!("{} ({})", node.name, node.op));
            }
        }
        rough
    }

    /// Whether the value `to` of a plan has a derivative by the inputs: some way there leads through no node without one.
    pub(crate) fn passes_gradients(&self, plan: &Plan, to: Slot) -> bool {
        let mut depends: BTreeSet<Slot> = self.inputs.iter().copied().collect();
        for (at, _) in &plan.steps {
            let node = &self.nodes[*at];
            if node.entry.gradient != Gradient::None && node.moved_by(&depends) {
                depends.extend(node.outputs.iter().flatten());
            }
        }
        depends.contains(&to)
    }

    /// Returns an error if a node of a plan normalises each batch by its own statistics, because the scores of a sample
    /// then depend on the rest of the batch.
    pub(crate) fn refuse_training(&self, plan: &Plan) -> Result<(), Failure> {
        let mut nodes = plan.steps.iter().map(|(at, _)| &self.nodes[*at]);
        let found = nodes.find(|n| n.op == "BatchNormalization" && n.int("training_mode", 0) != 0);
        found.map_or(Ok(()), |n| Err(n.failure(IN_TRAINING.into())))
    }

    /// Returns the conditions of `If` nodes that are the same whatever the inputs hold.
    pub(crate) fn steady_conditions(&self) -> BTreeSet<Slot> {
        let steady = self.steady();
        let conditions = self.nodes.iter().filter(|n| n.op == "If");
        conditions
            .filter_map(|n| n.inputs.first().copied().flatten())
            .filter(|s| steady.contains(s))
            .collect()
    }

    /// Returns the values that are the same whatever the inputs hold: those computed from sizes that do not themselves
    /// depend on the data (as the number of elements above zero does).
    pub(crate) fn steady(&self) -> BTreeSet<Slot> {
        let mut moving: BTreeSet<Slot> = self.inputs.iter().copied().collect();
        let mut sized: BTreeSet<Slot> = BTreeSet::new();
        let mut steady: BTreeSet<Slot> = BTreeSet::new();
        for node in &self.nodes {
            let any = |of: &BTreeSet<Slot>| node.inputs.iter().flatten().any(|s| of.contains(s));
            let outputs = node.outputs.iter().flatten();
            if any(&sized) || node.sized_by(&moving) {
                sized.extend(outputs.clone());
                moving.extend(outputs);
            } else if node.moved_by(&moving) {
                moving.extend(outputs);
            } else if let [Some(only)] = node.outputs.as_slice() {
                steady.insert(*only);
            }
        }
        steady
    }
}

impl Node {
    /// Whether the node's outputs depend on the values of any of these slots. Shape and Size outputs do not.
    fn moved_by(&self, slots: &BTreeSet<Slot>) -> bool {
        !matches!(self.op.as_str(), "Shape" | "Size")
            && self.inputs.iter().flatten().any(|s| slots.contains(s))
    }

    /// Whether the sizes of the node's outputs may depend on the values of any of these slots. True of every operator
    /// that computes on the host or holds a graph, and of operators whose inputs after the first may be sizes, indices
    /// or counts.
    fn sized_by(&self, slots: &BTreeSet<Slot>) -> bool {
        let moved = |from: usize| {
            let read = self.inputs.iter().skip(from).flatten();
            read.into_iter().any(|s| slots.contains(s))
        };
        let inner = matches!(self.op.as_str(), "If" | "Loop" | "Scan");
        let operands = matches!(
            self.op.as_str(),
            "MatMul" | "Gemm" | "Einsum" | "Concat" | "Gather" | "Conv" | "Attention"
        ) || self.op.starts_with("com.microsoft.")
            || crate::batch::pointwise(&self.op);
        ((self.entry.reads_back || inner) && moved(0)) || (!operands && moved(1))
    }
}
