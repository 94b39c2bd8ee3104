//! Selects the value of a graph that holds the scores (logits) for attacks.
//!
//! A final softmax flattens gradients (to exactly zero in `f32` for confident models); the scores before it rank the
//! classes identically. So if an output comes from a Softmax over its classes, the scores are taken before it; if the
//! output is stated to hold probabilities and no such softmax is found, their logarithm is taken. Log-probabilities are
//! used as scores unchanged. A single output is the logit, or the probability, of the second of two classes.
//!
//! Statements about the output are verified: [`Scores::check`] compares the output's values with them.

use burn::tensor::Tensor as Burn;
use proofmark_domain::{OutputKind, Outputs};
use proofmark_kernels::{Builder, Value};

use crate::decision::instead_of_scores;
use crate::graph::{Graph, Node, Slot};
use crate::model::OnnxOptions;
use crate::node::axis;

/// Where the scores come from and how they are computed.
#[derive(Debug, Clone)]
pub(crate) struct Scores {
    /// Value that the scores are computed from.
    pub(crate) slot: Slot,
    /// Number of classes.
    pub(crate) classes: usize,
    /// Conversion from the value to scores.
    change: Change,
    /// Sentence that describes the scores, if they are not the output unchanged.
    pub(crate) note: Option<String>,
    /// Whether the output's probabilities were replaced by logits or log-probabilities.
    pub(crate) cured: bool,
    /// The classifier of `ai.onnx.ml` that computes them, if one does: its scores may be probabilities.
    classical: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    /// Probabilities per class: their logarithms.
    Log,
    /// Two scores, of which the higher one is that of the class not chosen.
    Reversed,
    /// One logit for classes 0 and 1.
    Binary,
    /// One probability for classes 0 and 1.
    BinaryLog,
    /// A probability for each label: the logarithm of its odds.
    Odds,
}

/// Lower clip of probabilities before the logarithm; `f32` distinguishes it from zero.
const LEAST: f32 = 1e-30;
/// Tolerance of a probability outside [0, 1].
const OUTSIDE: f32 = 1e-3;
/// Tolerance of the sum of all class probabilities around 1: quantised models round each of them.
const FROM_ONE: f32 = 0.02;

impl Scores {
    /// Returns scores that are the value unchanged.
    pub(crate) fn untouched(slot: Slot) -> Self {
        Self {
            slot,
            classes: 0,
            change: Change::None,
            note: None,
            cured: false,
            classical: None,
        }
    }

    /// Takes the logarithms of the scores of a classifier of `ai.onnx.ml` if these values of it, `[n, width]`, are
    /// probabilities: such a file does not say what its scores are.
    pub(crate) fn see(&mut self, values: &[f32], width: usize) {
        let Some(node) = self
            .classical
            .clone()
            .filter(|_| self.change == Change::None)
        else {
            return;
        };
        let read = Self {
            change: Change::Log,
            ..self.clone()
        };
        // Rows that are not finite say nothing, and no row at all says nothing either.
        let some = values
            .chunks(width.max(1))
            .any(|row| row.iter().all(|v| v.is_finite()));
        if width > 1 && some && read.check(values, width).is_ok() {
            self.change = Change::Log;
            self.cured = true;
            self.note = Some(format!(
                "the scores are the logarithms of the probabilities (node `{node}`)"
            ));
        }
    }

    /// Converts the value `[n, width]` to scores `[n, classes]`.
    pub(crate) fn finish(&self, raw: Burn<2>) -> Burn<2> {
        match self.change {
            Change::None => raw,
            Change::Reversed => raw.flip([1]),
            Change::Log => raw.clamp_min(LEAST).log(),
            Change::Binary => {
                let half = raw.mul_scalar(0.5);
                Burn::cat(vec![half.clone().neg(), half], 1)
            }
            Change::BinaryLog => {
                let other = raw.clone().neg().add_scalar(1.0);
                Burn::cat(vec![other, raw], 1).clamp_min(LEAST).log()
            }
            Change::Odds => {
                let other = raw.clone().neg().add_scalar(1.0);
                raw.clamp_min(LEAST).log() - other.clamp_min(LEAST).log()
            }
        }
    }

    /// The same as operations of a network, or why there are none.
    pub(crate) fn finished(&self, net: &mut Builder, raw: Value) -> Result<Value, String> {
        match self.change {
            Change::None => Ok(raw),
            Change::Binary => net
                .dense(raw, vec![-0.5, 0.5], vec![])
                .map_err(|e| e.to_string()),
            Change::Reversed => Err("a support vector machine is no network".into()),
            Change::Log | Change::BinaryLog | Change::Odds => Err(
                "the scores are logarithms of probabilities that no softmax or sigmoid at the end of the graph computes"
                    .into(),
            ),
        }
    }

    /// Whether the output was stated to hold probabilities, which the values must confirm.
    pub(crate) fn claims_probabilities(&self) -> bool {
        matches!(self.change, Change::Log | Change::BinaryLog | Change::Odds)
    }

    /// Checks that values `[n, width]` are probabilities if they are claimed to be; the error names what they look like
    /// instead. Rows that are not finite are skipped.
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
                _ if self.change == Change::Odds => "logits per label: pass --output-kind logits",
                (1, _) => "a raw score: pass --output-kind logit (class 1 where it is above 0)",
                (_, true) => "log-probabilities, which are valid logits: pass --output-kind logits",
                _ => "logits: pass --output-kind logits",
            };
            return Err(format!(
                "is stated to hold probabilities, and holds {v}, outside [0, 1]; it looks like {looks}"
            ));
        }
        let sums = rows.iter().map(|r| r.iter().sum::<f32>());
        let of_classes = width > 1 && self.change != Change::Odds;
        match sums.filter(|_| of_classes).find(|sum| !one(*sum)) {
            None => Ok(()),
            Some(sum) => Err(format!(
                "is stated to hold probabilities, and the classes of one sample add up to {sum:.3}; expected 1. It looks like scores per class, or a probability for each: pass --output-kind logits"
            )),
        }
    }

    /// Sets the scores for an output with one number per label; with `bypass`, a final Sigmoid is skipped.
    fn take_labels(&mut self, end: &End<'_>, kind: OutputKind, bypass: bool) -> Result<(), String> {
        let (change, note) = match end {
            End::Softmax(node, _) | End::LogSoftmax(node) | End::LogOfSoftmax(node, _) => {
                return Err(format!(
                    "comes out of a Softmax (node `{}`): the probabilities of classes that exclude one another, and the criterion is about labels that do not; use one about classes, such as margin=K",
                    node.name
                ));
            }
            &End::Sigmoid(node, before) if bypass => {
                self.slot = before;
                self.cured = true;
                let text = format!(
                    "the scores of the labels are those before the Sigmoid (node `{}`)",
                    node.name
                );
                (Change::None, text)
            }
            End::Sigmoid(..) => {
                self.cured = true;
                let text = "the scores of the labels are the logarithms of the probabilities' odds";
                (Change::Odds, text.into())
            }
            End::Classical(_) | End::Other if kind == OutputKind::Probabilities => {
                self.cured = true;
                let text = "the scores of the labels are the logarithms of the probabilities' odds";
                (Change::Odds, text.into())
            }
            End::Classical(_) | End::Other => return Ok(()),
        };
        self.change = change;
        self.note = Some(note);
        Ok(())
    }

    /// Sets the scores for an output with this `end`; with `bypass`, a final Softmax or Sigmoid is skipped.
    fn take(&mut self, end: &End<'_>, kind: OutputKind, bypass: bool) -> Result<(), String> {
        let (change, note) = match (self.classes, end) {
            (1, &End::Sigmoid(node, before)) if bypass => {
                self.slot = before;
                self.cured = true;
                (
                    Change::Binary,
                    format!(
                        "two classes from one output: the logit before the Sigmoid (node `{}`) is that of class 1",
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
                "two classes from one output: a score above 0 means class 1".into(),
            ),
            (1, _) => {
                return Err(
                "is one number per sample and does not come out of a Sigmoid: say with --output-kind logit that class 1 wins where it is above 0, with --output-kind probabilities that it is the probability of class 1, with a criterion such as `--criterion regression=BOUND` that it is a number the model predicts, or name another output with --output".into(),
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
            (2, End::Classical(node)) if kind == OutputKind::Logits && is_reversed(node) => (
                Change::Reversed,
                format!(
                    "the scores of the two classes change places (node `{}`): without probabilities an SVMClassifier gives the class that it chooses the lower one",
                    node.name
                ),
            ),
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

/// Checks that an output holds numbers that a model predicts.
fn values(end: &End<'_>, kind: OutputKind) -> Result<(), String> {
    if kind != OutputKind::Logits {
        return Err(format!(
            "is used unchanged, as the criterion is about its values; --output-kind {kind} contradicts that"
        ));
    }
    match end {
        End::Softmax(node, _) | End::LogSoftmax(node) | End::LogOfSoftmax(node, _) => Err(format!(
            "comes out of a Softmax (node `{}`): one probability per class, and the criterion is about values that a model predicts; use one about classes, such as margin=K, or name another output with --output",
            node.name
        )),
        End::Sigmoid(..) | End::Classical(_) | End::Other => Ok(()),
    }
}

/// Returns the scores for an output whose shapes were seen with `rows` samples. `bypass`: whether a final Softmax or
/// Sigmoid, which only rescales the scores, may be skipped.
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
    if let Some(problem) =
        instead_of_scores(graph, output).filter(|_| options.outputs != Outputs::Values)
    {
        return Err(problem);
    }
    let per_sample: Vec<usize> = if rows == 1 {
        shape.clone()
    } else {
        shape[1..].to_vec()
    };
    if classes == 0 || per_sample.iter().filter(|d| **d > 1).count() > 1 {
        return Err(format!(
            "output `{name}` has shape {shape:?} for {rows} sample{}: that is not one {} (detectors, segmentation and sequence models cannot be attacked yet; name another output with --output)",
            if rows == 1 { "" } else { "s" },
            match options.outputs {
                Outputs::Classes => "score per class",
                Outputs::Labels => "score per label",
                Outputs::Values => "row of numbers",
            }
        ));
    }
    let end = End::of(graph, shapes, output, rows, classes);
    if let (Some(contradiction), kind) = (end.contradiction(options.kind, classes), options.kind) {
        return Err(format!(
            "output `{name}` {contradiction}; --output-kind {kind} contradicts that"
        ));
    }
    if let End::Classical(node) = end {
        scores.classical = Some(node.name.clone());
    }
    let taken = match options.outputs {
        Outputs::Classes => scores.take(&end, options.kind, bypass),
        Outputs::Labels => scores.take_labels(&end, options.kind, bypass),
        Outputs::Values => values(&end, options.kind),
    };
    taken.map_err(|e| format!("output `{name}` {e}"))?;
    Ok(scores)
}

/// Node that computes an output, ignoring nodes that only move or rename its elements.
enum End<'a> {
    /// A Softmax over the classes, and the scores before it.
    Softmax(&'a Node, Slot),
    /// The logarithm of a Softmax over the classes, and the scores before the Softmax.
    LogOfSoftmax(&'a Node, Slot),
    /// A `LogSoftmax` over the classes.
    LogSoftmax(&'a Node),
    /// A Sigmoid, and the scores before it.
    Sigmoid(&'a Node, Slot),
    /// A classifier of `ai.onnx.ml`, whose scores may be probabilities.
    Classical(&'a Node),
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
            // Scores of one class against the rest are normalised.
            "ai.onnx.ml.LinearClassifier"
            | "ai.onnx.ml.SVMClassifier"
            | "ai.onnx.ml.TreeEnsembleClassifier"
            | "ai.onnx.ml.Normalizer" => Self::Classical(node),
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

    /// Returns the contradiction between the graph and the stated output kind, if there is one.
    fn contradiction(&self, kind: OutputKind, classes: usize) -> Option<String> {
        let node = match self {
            Self::Softmax(n, _)
            | Self::LogOfSoftmax(n, _)
            | Self::LogSoftmax(n)
            | Self::Sigmoid(n, _) => n.name.as_str(),
            Self::Classical(_) | Self::Other => "",
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

/// Whether a node is a support vector machine of two classes without probabilities: of its scores `-s` and `s` libsvm's
/// `s > 0` chooses the first class.
fn is_reversed(node: &Node) -> bool {
    let has = |name: &str| {
        let given = node.attributes.iter().find(|a| a.name == name);
        given.is_some_and(|a| !a.floats.is_empty() || !a.ints.is_empty())
    };
    node.op == "ai.onnx.ml.SVMClassifier" && has("vectors_per_class") && !has("prob_a")
}

/// Whether each group of values that a node normalises is all the scores of one sample. `shape`: that of its input.
fn is_over_classes(node: &Node, shape: &[usize], rows: usize, classes: usize) -> bool {
    // Before opset 13 a group spans all axes from `axis` on.
    let onwards = node.opset < 13;
    let Ok(at) = axis(node.int("axis", if onwards { 1 } else { -1 }), shape.len()) else {
        return false;
    };
    let group: usize = if onwards {
        shape[at..].iter().product()
    } else {
        shape[at]
    };
    // Several samples lie along the first axis, so the node must not normalise over it.
    let apart = rows == 1 || at > 0;
    apart && group == classes && shape.iter().product::<usize>() == rows * classes
}

/// Returns the node that computes a value, skipping nodes that only move or rename elements.
pub(crate) fn last_step(graph: &Graph, mut slot: Slot) -> Option<&Node> {
    const MOVES: [&str; 8] = [
        "ai.onnx.ml.ZipMap",
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
