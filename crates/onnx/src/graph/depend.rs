//! What depends on what: which nodes are moved by the inputs, and how.

use std::collections::BTreeSet;

use super::{Failure, Graph, Node, Plan, Slot};
use crate::op::{Gradient, IN_TRAINING};

/// Yes-or-no questions of the values: zero is their derivative wherever they have one, and what they choose between
/// has its own.
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
    /// The nodes of a plan on the way from these inputs whose derivative is not the true one, or zero because
    /// values are rounded, as `name (operator)`.
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

    /// An error where a node of a plan normalises each batch by its own statistics: no sample then has scores of its
    /// own.
    pub(crate) fn refuse_training(&self, plan: &Plan) -> Result<(), Failure> {
        let mut nodes = plan.steps.iter().map(|(at, _)| &self.nodes[*at]);
        let found = nodes.find(|n| n.op == "BatchNormalization" && n.int("training_mode", 0) != 0);
        found.map_or(Ok(()), |n| Err(n.failure(IN_TRAINING.into())))
    }

    /// The conditions of `If` nodes that are the same whatever the inputs hold: those that come from sizes which do not
    /// themselves come from the data, as the number of elements above zero does.
    pub(crate) fn steady_conditions(&self) -> BTreeSet<Slot> {
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
        let conditions = self.nodes.iter().filter(|n| n.op == "If");
        conditions
            .filter_map(|n| n.inputs.first().copied().flatten())
            .filter(|s| steady.contains(s))
            .collect()
    }
}

impl Node {
    /// Whether its outputs depend on the values of any of these. Sizes do not.
    fn moved_by(&self, slots: &BTreeSet<Slot>) -> bool {
        !matches!(self.op.as_str(), "Shape" | "Size")
            && self.inputs.iter().flatten().any(|s| slots.contains(s))
    }

    /// Whether the sizes of its outputs may depend on the values of any of these: said of every operator that computes
    /// on the host or holds a graph, and of those whose further inputs may be sizes, places or numbers of anything.
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
