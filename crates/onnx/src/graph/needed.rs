//! Finds the nodes that some values depend on.

use std::collections::BTreeMap;

use super::captured;
use crate::proto::GraphProto;

/// Returns, per node, whether one of the values `wanted` depends on it. All nodes if one of the values is not computed
/// at the top level of the graph, since it may be inside a branch.
pub(crate) fn needed(graph: &GraphProto, wanted: &[&str]) -> Vec<bool> {
    let mut producer: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|n| !n.is_empty()) {
            producer.insert(name, at);
        }
    }
    let inputs = graph.input.iter().map(|v| v.name.as_str());
    let constants = graph.initializer.iter().map(|t| t.name.as_str());
    let given: Vec<&str> = inputs.chain(constants).collect();
    let known = |name: &&str| producer.contains_key(name) || given.contains(name);
    if !wanted.iter().all(known) {
        return vec![true; graph.node.len()];
    }
    let mut needed = vec![false; graph.node.len()];
    let mut open: Vec<usize> = wanted
        .iter()
        .filter_map(|n| producer.get(n))
        .copied()
        .collect();
    while let Some(at) = open.pop() {
        if std::mem::replace(&mut needed[at], true) {
            continue;
        }
        let node = &graph.node[at];
        let read = captured(node);
        let before = node.input.iter().chain(&read);
        open.extend(before.filter_map(|n| producer.get(n.as_str())));
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::needed;
    use crate::sketch::{graph, node};

    #[test]
    fn values_that_a_branch_reads_are_needed() {
        let branch = |value: &str| graph(vec![node("Neg", &[value], &["b"])], &[], &["b"]);
        let nodes = vec![
            node("Relu", &["x"], &["r"]),
            node("Exp", &["x"], &["e"]),
            node("Log", &["x"], &["unused"]),
            node("If", &["c"], &["y"])
                .graph("then_branch", branch("r"))
                .graph("else_branch", branch("e")),
        ];
        let whole = graph(nodes, &["x", "c"], &["y"]);
        assert_eq!(needed(&whole, &["y"]), [true, true, false, true]);
        assert_eq!(needed(&whole, &["r"]), [true, false, false, false]);
        // A value inside a branch may need any node.
        assert_eq!(needed(&whole, &["b"]), [true; 4]);
    }
}
