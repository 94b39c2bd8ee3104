//! What has to run for some values.

use super::{Graph, Slot};

/// Which nodes to run for some slots, and which of their inputs are used for the last time.
pub(crate) struct Plan {
    /// Nodes in order, each with whether each of its inputs is read for the last time.
    pub(crate) steps: Vec<(usize, Vec<bool>)>,
    pub(super) wanted: Vec<Slot>,
}

impl Plan {
    /// Whether one of its nodes gives a slot its value.
    pub(crate) fn computes(&self, graph: &Graph, slot: Slot) -> bool {
        let gives = |at: usize| graph.nodes[at].outputs.contains(&Some(slot));
        self.steps.iter().any(|(at, _)| gives(*at))
    }
}

impl Graph {
    /// What has to run for `wanted`.
    pub(crate) fn plan(&self, wanted: &[Slot]) -> Plan {
        let mut needed = vec![false; self.known.len()];
        for slot in wanted {
            needed[*slot] = true;
        }
        // A slot used later (or wanted) must survive.
        let mut later = needed.clone();
        let mut steps = Vec::new();
        for (at, node) in self.nodes.iter().enumerate().rev() {
            if !node.outputs.iter().flatten().any(|s| needed[*s]) {
                continue;
            }
            let mut last = vec![false; node.inputs.len()];
            // Backwards, so that of two uses in one node the second is the last.
            for (i, slot) in node.inputs.iter().enumerate().rev() {
                if let Some(slot) = slot {
                    needed[*slot] = true;
                    last[i] = !std::mem::replace(&mut later[*slot], true);
                }
            }
            steps.push((at, last));
        }
        steps.reverse();
        Plan {
            steps,
            wanted: wanted.to_vec(),
        }
    }
}
