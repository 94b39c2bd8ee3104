//! Which value of a graph holds the scores that an attack should climb.
//!
//! A softmax on top flattens gradients (to exactly zero in `f32` for confident models); the scores before it order
//! the classes alike. So where an output comes out of a Softmax, the scores are taken before it; where it is
//! said to hold probabilities and no softmax is found, their logarithm is taken. A single output is the logit of
//! the second of two classes.

use burn::tensor::Tensor as Burn;

use crate::graph::{Graph, Node, Slot};
use crate::model::OnnxOptions;

/// Where the scores come from.
#[derive(Debug, Clone)]
pub(crate) struct Scores {
    /// The value.
    pub(crate) slot: Slot,
    /// How many classes.
    pub(crate) classes: usize,
    /// What is done to it.
    change: Change,
    /// In a sentence, if it is not the output as it stands.
    pub(crate) note: Option<String>,
    /// Whether an output of probabilities was avoided.
    pub(crate) cured: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    /// Probabilities per class.
    Log,
    /// One logit: classes 0 and 1.
    Binary,
    /// One probability: classes 0 and 1.
    BinaryLog,
}

/// Below this a probability's logarithm is cut off: `f32` keeps it apart from zero.
const LEAST: f32 = 1e-30;

impl Scores {
    /// The value as it stands.
    pub(crate) fn untouched(slot: Slot) -> Self {
        Self {
            slot,
            classes: 0,
            change: Change::None,
            note: None,
            cured: false,
        }
    }

    /// From the value `[n, width]` to scores `[n, classes]`.
    pub(crate) fn finish(&self, raw: Burn<2>) -> Burn<2> {
        match self.change {
            Change::None => raw,
            Change::Log => raw.clamp_min(LEAST).log(),
            Change::Binary => {
                let half = raw.mul_scalar(0.5);
                Burn::cat(vec![half.clone().neg(), half], 1)
            }
            Change::BinaryLog => {
                let other = raw.clone().neg().add_scalar(1.0);
                Burn::cat(vec![other, raw], 1).clamp_min(LEAST).log()
            }
        }
    }
}

/// The scores behind an output, whose shapes were seen with `rows` samples.
pub(crate) fn scores_of(
    graph: &Graph,
    shapes: &[Option<Vec<usize>>],
    output: Slot,
    rows: usize,
    options: &OnnxOptions,
) -> Result<Scores, String> {
    let name = graph.name(output).to_owned();
    let shape = shapes[output]
        .clone()
        .ok_or_else(|| format!("output `{name}` has no value"))?;
    let count: usize = shape.iter().product();
    let classes = count / rows.max(1);
    let mut scores = Scores::untouched(output);
    scores.classes = classes;
    if options.raw {
        return if classes > 0 {
            Ok(scores)
        } else {
            Err(format!("output `{name}` has shape {shape:?}: it is empty"))
        };
    }
    let per_sample: Vec<usize> = if rows == 1 {
        shape.clone()
    } else {
        shape[1..].to_vec()
    };
    if classes == 0 || per_sample.iter().filter(|d| **d > 1).count() > 1 {
        return Err(format!(
            "output `{name}` has shape {shape:?} for {rows} sample{}: that is not one score per class (detectors, segmentation and sequence models cannot be attacked yet; name another output with --output)",
            if rows == 1 { "" } else { "s" }
        ));
    }
    let last = last_step(graph, output);
    let behind = |node: &Node, op: &str| -> Option<Slot> {
        let before = node.inputs[0]?;
        (node.op == op && shapes[before].as_ref()?.iter().product::<usize>() == count)
            .then_some(before)
    };
    let softmax = last.and_then(|n| behind(n, "Softmax").map(|s| (n, s)));
    let sigmoid = last.and_then(|n| behind(n, "Sigmoid").map(|s| (n, s)));
    match (classes, softmax, sigmoid) {
        (1, _, Some((node, before))) => {
            scores.slot = before;
            scores.change = Change::Binary;
            scores.cured = true;
            scores.note = Some(format!(
                "two classes from one output: the logit before the Sigmoid (node `{}`) speaks for class 1",
                node.name
            ));
        }
        (1, ..) if options.probabilities => {
            scores.change = Change::BinaryLog;
            scores.cured = true;
            scores.note = Some(
                "two classes from one output: the logarithms of the probability and of its complement".into(),
            );
        }
        (1, ..) => {
            return Err(format!(
                "output `{name}` is one number per sample and does not come out of a Sigmoid: say with --output-kind probabilities that it is the probability of class 1, or name another output"
            ));
        }
        (_, Some((node, before)), _) => {
            scores.slot = before;
            scores.cured = true;
            scores.note = Some(format!(
                "the scores are those before the Softmax (node `{}`)",
                node.name
            ));
        }
        _ if options.probabilities => {
            scores.change = Change::Log;
            scores.cured = true;
            scores.note = Some("the scores are the logarithms of the probabilities".into());
        }
        _ => {}
    }
    if matches!(scores.change, Change::Binary | Change::BinaryLog) {
        scores.classes = 2;
    }
    Ok(scores)
}

/// The node that computes a value, seen through those that only move or rename elements.
fn last_step(graph: &Graph, mut slot: Slot) -> Option<&Node> {
    const MOVES: [&str; 7] = [
        "Identity",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Cast",
        "Dropout",
    ];
    loop {
        let node = graph
            .nodes
            .iter()
            .find(|n| n.outputs.contains(&Some(slot)))?;
        if !MOVES.contains(&node.op.as_str()) {
            return Some(node);
        }
        slot = node.inputs[0]?;
    }
}
