//! Plans which nodes to run for given values.

use super::{Graph, Slot};

/// Nodes to run for some slots, and the inputs each of them uses for the last time.
pub(crate) struct Plan {
    /// Node indices in order; per input, whether it is read for the last time.
    pub(crate) steps: Vec<(usize, Vec<bool>)>,
    pub(super) wanted: Vec<Slot>,
}

impl Plan {
    /// Whether one of the plan's nodes computes a slot.
    pub(crate) fn computes(&self, graph: &Graph, slot: Slot) -> bool {
        let gives = |at: usize| graph.nodes[at].outputs.contains(&Some(slot));
        self.steps.iter().any(|(at, _)| gives(*at))
    }
}

impl Graph {
    /// Returns the plan that computes `wanted`.
    pub(crate) fn plan(&self, wanted: &[Slot]) -> Plan {
        self.planned(wanted, None).0
    }

    /// Returns the plan that computes `wanted` from the value of `given`; `None` if it needs an input of the graph, too.
    pub(crate) fn plan_behind(&self, given: Slot, wanted: Slot) -> Option<Plan> {
        let (plan, needed) = self.planned(&[wanted], Some(given));
        let open = |slot: &Slot| needed[*slot] && *slot != given && self.known[*slot].is_none();
        (!self.inputs.iter().any(open)).then_some(plan)
    }

    /// Returns the plan, and which slots it needs.
    fn planned(&self, wanted: &[Slot], given: Option<Slot>) -> (Plan, Vec<bool>) {
        let mut needed = vec![false; self.known.len()];
        for slot in wanted {
            needed[*slot] = true;
        }
        // A slot used later (or wanted) must be kept.
        let mut later = needed.clone();
        let mut steps = Vec::new();
        for (at, node) in self.nodes.iter().enumerate().rev() {
            let open = |s: &Slot| needed[*s] && Some(*s) != given;
            if !node.outputs.iter().flatten().any(open) {
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
        let plan = Plan {
            steps,
            wanted: wanted.to_vec(),
        };
        (plan, needed)
    }
}
