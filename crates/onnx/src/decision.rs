//! Detects models that end in a decision instead of scores.

use crate::graph::{Graph, Node, Slot};

/// Returns the error for an output that is the index of the largest score; `None` for any other output.
pub(crate) fn instead_of_scores(graph: &Graph, output: Slot) -> Option<String> {
    let node = choosing(graph, output)?;
    let scores = graph.name((*node.inputs.first()?)?);
    if node.op == "ArgMin" {
        return Some(format!(
            "output `{}` is the class that was chosen (node `{}`, ArgMin), the one with the smallest of `{scores}`, and the largest score must win: export the negative of `{scores}` as an output and name it with --output",
            graph.name(output),
            node.name
        ));
    }
    Some(format!(
        "output `{}` is the class that was chosen (node `{}`, {}), not one score per class: pass --output {scores}, the scores it is chosen by",
        graph.name(output),
        node.name,
        node.op
    ))
}

/// Returns the node that picks the largest score, skipping nodes that only move, rename or look up its index.
fn choosing(graph: &Graph, mut slot: Slot) -> Option<&Node> {
    loop {
        let gives = |n: &&Node| n.outputs.contains(&Some(slot));
        let node = graph.nodes.iter().find(gives)?;
        slot = match node.op.as_str() {
            "ArgMax" | "ArgMin" => return Some(node),
            // The second output holds the indices.
            "TopK" => return (node.outputs.get(1) == Some(&Some(slot))).then_some(node),
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Cast" => {
                node.inputs[0]?
            }
            // Class names looked up by index.
            "Gather" if node.inputs[0].is_some_and(|s| graph.known[s].is_some()) => {
                (*node.inputs.get(1)?)?
            }
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::instead_of_scores;
    use crate::load::OnnxFile;
    use crate::sketch::{floats, graph, list, model, node};
    use prost::Message;

    fn said(nodes: Vec<crate::proto::NodeProto>) -> Option<String> {
        let graph = graph(nodes, &["x"], &["y"])
            .constant("classes", &list(&[3, 5]))
            .constant("k", &list(&[1]))
            .constant("w", &floats(&[1.0, 2.0]));
        let bytes = model(graph).encode_to_vec();
        let file = OnnxFile::decode("m", bytes, None).unwrap();
        let built = file.build(&Device::flex()).unwrap();
        instead_of_scores(&built, built.outputs[0])
    }

    #[test]
    fn the_smallest_of_some_distances_are_no_scores() {
        let said = said(vec![
            node("Mul", &["x", "w"], &["distances"]),
            node("ArgMin", &["distances"], &["y"]),
        ]);
        let said = said.unwrap_or_default();
        assert!(said.contains("negative of `distances`"), "{said}");
    }

    #[test]
    fn an_output_of_class_indices_is_not_taken_for_scores() {
        let scores = || node("Mul", &["x", "w"], &["scores"]);
        for ends in [
            vec![node("ArgMax", &["scores"], &["y"])],
            vec![
                node("ArgMax", &["scores"], &["i"]),
                node("Cast", &["i"], &["j"]).int("to", 6),
                node("Gather", &["classes", "j"], &["y"]),
            ],
            vec![node("TopK", &["scores", "k"], &["top", "y"])],
        ] {
            let said = said([vec![scores()], ends].concat()).unwrap_or_default();
            assert!(said.contains("--output scores"), "{said}");
        }
        assert_eq!(said(vec![node("Relu", &["x"], &["y"])]), None);
        let top = vec![scores(), node("TopK", &["scores", "k"], &["y", "i"])];
        assert_eq!(said(top), None);
    }
}
