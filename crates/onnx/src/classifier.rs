//! Which value of a graph holds the scores that an attack should climb.
//!
//! A softmax on top flattens gradients (to exactly zero in `f32` for confident models); the scores before it order
//! the classes alike. So where an output comes out of a Softmax over its classes, the scores are taken before it;
//! where it is stated to hold probabilities and no such softmax is found, their logarithm is taken. Log-probabilities
//! are scores as they stand. A single output is the logit, or the probability, of the second of two classes.
//!
//! Nothing that is stated is believed: [`Scores::check`] holds the output's values against it.

use burn::tensor::Tensor as Burn;
use proofmark_domain::OutputKind;

use crate::decision::instead_of_scores;
use crate::graph::{Graph, Node, Slot};
use crate::model::OnnxOptions;
use crate::node::axis;

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
/// How far a probability may lie outside [0, 1].
const OUTSIDE: f32 = 1e-3;
/// How far the probabilities of all classes together may be from 1: quantised models round each of them.
const FROM_ONE: f32 = 0.02;

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

    /// Whether values are taken for probabilities on somebody's word.
    pub(crate) fn claims_probabilities(&self) -> bool {
        matches!(self.change, Change::Log | Change::BinaryLog)
    }

    /// Holds values `[n, width]` against the claim that they are probabilities; what they look like if they are not.
    /// Rows that are not finite say nothing.
    pub(crate) fn check(&self, values: &[f32], width: usize) -> Result<(), String> {
        if !self.claims_probabilities() {
            return Ok(());
        }
        let finite = |row: &&[f32]| row.iter().all(|v| v.is_finite());
        let rows: Vec<&[f32]> = values.chunks(width.max(1)).filter(finite).collect();
        let in_range = |v: &f32| (-OUTSIDE..=1.0 + OUTSIDE).contains(v);
        let one = |sum: f32| (sum - 1.0).abs() <= FROM_ONE;
        if let Some(v) = rows.iter().copied().flatten().find(|v| !in_range(v)) {
            let logs = width > 1
                && rows.iter().all(|r| {
                    r.iter().all(|v| *v <= OUTSIDE) && one(r.iter().map(|v| v.exp()).sum())
                });
            let looks = match (width, logs) {
                (1, _) => "a raw score: pass --output-kind logit (class 1 where it is above 0)",
                (_, true) => "log-probabilities, which are valid logits: pass --output-kind logits",
                _ => "logits: pass --output-kind logits",
            };
            return Err(format!(
                "is stated to hold probabilities, and holds {v}, outside [0, 1]; it looks like {looks}"
            ));
        }
        let sums = rows.iter().map(|r| r.iter().sum::<f32>());
        match sums.filter(|_| width > 1).find(|sum| !one(*sum)) {
            None => Ok(()),
            Some(sum) => Err(format!(
                "is stated to hold probabilities, and the classes of one sample add up to {sum:.3}; expected 1. It looks like scores per class, or a probability for each: pass --output-kind logits"
            )),
        }
    }

    /// What is taken for the scores of an output that ends so; `bypass`: what only rescales them may be gone behind.
    fn take(&mut self, end: &End<'_>, kind: OutputKind, bypass: bool) -> Result<(), String> {
        let (change, note) = match (self.classes, end) {
            (1, &End::Sigmoid(node, before)) if bypass => {
                self.slot = before;
                self.cured = true;
                (
                    Change::Binary,
                    format!(
                        "two classes from one output: the logit before the Sigmoid (node `{}`) speaks for class 1",
                        node.name
                    ),
                )
            }
            (1, end) if kind == OutputKind::Probabilities || matches!(end, End::Sigmoid(..)) => {
                self.cured = true;
                (
                Change::BinaryLog,
                "two classes from one output: the logarithms of the probability and of its complement".into(),
            )
            }
            (1, _) if kind == OutputKind::Logit => (
                Change::Binary,
                "two classes from one output: a score above 0 speaks for class 1".into(),
            ),
            (1, _) => {
                return Err(
                "is one number per sample and does not come out of a Sigmoid: say with --output-kind logit that class 1 wins where it is above 0, with --output-kind probabilities that it is the probability of class 1, or name another output with --output".into(),
            );
            }
            (_, &End::Softmax(node, before)) if bypass => {
                self.slot = before;
                self.cured = true;
                (
                    Change::None,
                    format!(
                        "the scores are those before the Softmax (node `{}`)",
                        node.name
                    ),
                )
            }
            (_, &End::LogOfSoftmax(node, before)) if bypass => {
                self.slot = before;
                (
                    Change::None,
                    format!(
                        "the scores are those before the Softmax (node `{}`) whose logarithm the output is",
                        node.name
                    ),
                )
            }
            (_, End::LogSoftmax(node)) => (
                Change::None,
                format!("the scores are log-probabilities (node `{}`)", node.name),
            ),
            _ if kind == OutputKind::Probabilities => {
                self.cured = true;
                (
                    Change::Log,
                    "the scores are the logarithms of the probabilities".into(),
                )
            }
            _ => return Ok(()),
        };
        self.change = change;
        self.note = Some(note);
        if matches!(change, Change::Binary | Change::BinaryLog) {
            self.classes = 2;
        }
        Ok(())
    }
}

/// The scores behind an output, whose shapes were seen with `rows` samples. `bypass`: whether what only rescales the
/// scores at the end of the graph may be gone behind.
pub(crate) fn scores_of(
    graph: &Graph,
    shapes: &[Option<Vec<usize>>],
    output: Slot,
    rows: usize,
    options: &OnnxOptions,
    bypass: bool,
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
    if let Some(problem) = instead_of_scores(graph, output) {
        return Err(problem);
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
    let end = End::of(graph, shapes, output, rows, classes);
    if let (Some(contradiction), kind) = (end.contradiction(options.kind, classes), options.kind) {
        return Err(format!(
            "output `{name}` {contradiction}; --output-kind {kind} contradicts that"
        ));
    }
    scores
        .take(&end, options.kind, bypass)
        .map_err(|e| format!("output `{name}` {e}"))?;
    Ok(scores)
}

/// What an output comes out of, seen through what only moves or renames its elements.
enum End<'a> {
    /// A Softmax over the classes, and the scores before it.
    Softmax(&'a Node, Slot),
    /// The logarithm of one.
    LogOfSoftmax(&'a Node, Slot),
    /// A `LogSoftmax` over the classes.
    LogSoftmax(&'a Node),
    /// A Sigmoid, and the scores before it.
    Sigmoid(&'a Node, Slot),
    Other,
}

impl<'a> End<'a> {
    fn of(
        graph: &'a Graph,
        shapes: &[Option<Vec<usize>>],
        output: Slot,
        rows: usize,
        classes: usize,
    ) -> Self {
        let Some(node) = last_step(graph, output) else {
            return Self::Other;
        };
        let over_classes = |node: &Node, before: Slot| {
            shapes[before]
                .as_ref()
                .is_some_and(|shape| is_over_classes(node, shape, rows, classes))
        };
        let Some(before) = node.inputs.first().copied().flatten() else {
            return Self::Other;
        };
        match node.op.as_str() {
            "Softmax" if over_classes(node, before) => Self::Softmax(node, before),
            "LogSoftmax" if over_classes(node, before) => Self::LogSoftmax(node),
            "Sigmoid" => Self::Sigmoid(node, before),
            "Log" => match last_step(graph, before) {
                Some(inner) if inner.op == "Softmax" => match inner.inputs[0] {
                    Some(before) if over_classes(inner, before) => {
                        Self::LogOfSoftmax(inner, before)
                    }
                    _ => Self::Other,
                },
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    /// What the graph says against the kind that is stated.
    fn contradiction(&self, kind: OutputKind, classes: usize) -> Option<String> {
        let node = match self {
            Self::Softmax(n, _)
            | Self::LogOfSoftmax(n, _)
            | Self::LogSoftmax(n)
            | Self::Sigmoid(n, _) => n.name.as_str(),
            Self::Other => "",
        };
        match (kind, self) {
            (OutputKind::Logit, _) if classes > 1 => Some(format!(
                "holds {classes} scores per sample, and a logit is a single one (pass --output-kind logits)"
            )),
            (OutputKind::Logit, Self::Sigmoid(..)) => Some(format!(
                "comes out of a Sigmoid (node `{node}`): a probability, which is never below 0 (pass --output-kind probabilities, or leave it out)"
            )),
            (OutputKind::Probabilities, Self::LogSoftmax(_) | Self::LogOfSoftmax(..)) => {
                Some(format!(
                    "holds log-probabilities (node `{node}`), which are valid logits (pass --output-kind logits, or leave it out)"
                ))
            }
            _ => None,
        }
    }
}

/// Whether each group of values that a node normalises is all the scores of one sample. `shape`: that of its input.
fn is_over_classes(node: &Node, shape: &[usize], rows: usize, classes: usize) -> bool {
    // Before version 13 a group is all the axes from the named one on.
    let onwards = node.opset < 13;
    let Ok(at) = axis(node.int("axis", if onwards { 1 } else { -1 }), shape.len()) else {
        return false;
    };
    let group: usize = if onwards {
        shape[at..].iter().product()
    } else {
        shape[at]
    };
    // Several samples lie along the first axis.
    let apart = rows == 1 || at > 0;
    apart && group == classes && shape.iter().product::<usize>() == rows * classes
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
        if !MOVES.contains(&node.op.as_str()) || !node.keeps_numbers() {
            return Some(node);
        }
        slot = node.inputs[0]?;
    }
}
