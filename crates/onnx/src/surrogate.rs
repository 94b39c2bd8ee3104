//! Rewrites a graph with steps (signs, comparisons with a threshold) to one whose steps have a slope.
//!
//! The derivative of a step is zero wherever it exists, so a binarised network gives a search no direction, and its
//! scores move in whole steps, so most changes of an input change nothing. The rewritten graph gives the same scores,
//! with the derivative of a bend in place of each step's, and beside them a second set of scores in which the last steps
//! on the way are bends: these move with every value that is near its threshold.
//!
//! Rewritten are `Sign`, and `Where` and `Cast` of a comparison with constant results. A step of a step (larq writes a
//! sign without a zero as `Sign(Sign(x) + 0.1)`) becomes one step.

use std::collections::{BTreeMap, BTreeSet};

use crate::load::{OnnxFile, own_domain, read_array};
use crate::op::{BEND, OWN, STEP};
use crate::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// A value that is cut, and the three values that it becomes.
#[derive(Debug, Clone, PartialEq)]
struct Cut {
    input: String,
    at: f32,
    /// Below the threshold, on it and above it.
    values: [f32; 3],
}

/// A graph's constants and the producers of its values.
struct Reader<'a> {
    graph: &'a GraphProto,
    made_by: BTreeMap<&'a str, &'a NodeProto>,
    scalars: BTreeMap<&'a str, f32>,
}

/// Returns the only element of a constant inside the file.
fn number(proto: &TensorProto) -> Option<f32> {
    if proto.data_location == 1 || proto.dims.iter().any(|d| *d != 1) {
        return None;
    }
    let all = read_array(proto, None).ok()?.to_f64().ok()?;
    all.first().map(|v| *v as f32)
}

impl<'a> Reader<'a> {
    fn new(graph: &'a GraphProto) -> Self {
        let mut scalars = BTreeMap::new();
        let initial = graph
            .initializer
            .iter()
            .map(|t| (t.name.as_str(), number(t)));
        scalars.extend(initial.filter_map(|(name, v)| Some((name, v?))));
        for node in graph.node.iter().filter(|n| n.op_type == "Constant") {
            for attribute in &node.attribute {
                let value = match (attribute.name.as_str(), &attribute.t) {
                    ("value", Some(proto)) => number(proto),
                    ("value_float", _) => Some(attribute.f),
                    _ => None,
                };
                if let (Some(value), Some(output)) = (value, node.output.first()) {
                    scalars.insert(output.as_str(), value);
                }
            }
        }
        let produced = |n: &'a NodeProto| n.output.iter().map(move |o| (o.as_str(), n));
        Self {
            graph,
            made_by: graph.node.iter().flat_map(produced).collect(),
            scalars,
        }
    }

    /// Returns the constant that a value is.
    fn scalar(&self, name: &str) -> Option<f32> {
        self.scalars.get(name).copied()
    }

    fn maker(&self, name: &str) -> Option<&'a NodeProto> {
        let node = self.made_by.get(name).copied()?;
        own_domain(&node.domain).is_empty().then_some(node)
    }

    /// Returns what a comparison cuts, with 1 for true.
    fn question(&self, name: &str) -> Option<Cut> {
        let node = self.maker(name)?;
        if node.op_type == "Not" {
            let inner = self.question(node.input.first()?)?;
            let values = inner.values.map(|v| 1.0 - v);
            return Some(Cut { values, ..inner });
        }
        let values = match node.op_type.as_str() {
            "Greater" => [0.0, 0.0, 1.0],
            "GreaterOrEqual" => [0.0, 1.0, 1.0],
            "Less" => [1.0, 0.0, 0.0],
            "LessOrEqual" => [1.0, 1.0, 0.0],
            _ => return None,
        };
        let [a, b] = node.input.as_slice() else {
            return None;
        };
        match (self.scalar(a), self.scalar(b)) {
            (None, Some(at)) => Some(Cut {
                input: a.clone(),
                at,
                values,
            }),
            (Some(at), None) => Some(Cut {
                input: b.clone(),
                at,
                values: [values[2], values[1], values[0]],
            }),
            _ => None,
        }
    }

    /// Returns what a node cuts, if it is a step.
    fn cut(&self, node: &NodeProto) -> Option<Cut> {
        if !own_domain(&node.domain).is_empty() {
            return None;
        }
        let first = node.input.first()?;
        match node.op_type.as_str() {
            "Sign" => Some(Cut {
                input: first.clone(),
                at: 0.0,
                values: [-1.0, 0.0, 1.0],
            }),
            "Where" => {
                let (yes, no) = (
                    self.scalar(node.input.get(1)?)?,
                    self.scalar(node.input.get(2)?)?,
                );
                let question = self.question(first)?;
                let values = question.values.map(|v| if v > 0.5 { yes } else { no });
                Some(Cut { values, ..question })
            }
            "Cast" if node.attribute.iter().any(|a| a.name == "to" && a.i == 1) => {
                self.question(first)
            }
            _ => None,
        }
    }

    /// Merges a step into the step that its input is a linear function of.
    fn merged(&self, cut: Cut, before: &BTreeMap<&str, Cut>) -> Cut {
        let mut chain: Vec<(&NodeProto, bool, f32)> = Vec::new();
        let mut name = cut.input.as_str();
        loop {
            if let Some(earlier) = before.get(name) {
                let value = |v: f32| {
                    let v = chain.iter().rev().fold(v, |v, (node, first, c)| {
                        match (node.op_type.as_str(), *first) {
                            ("Add", _) => v + c,
                            ("Mul", _) => v * c,
                            ("Sub", true) => v - c,
                            ("Sub", false) => c - v,
                            ("Div", true) => v / c,
                            _ => v,
                        }
                    });
                    match v.partial_cmp(&cut.at) {
                        Some(std::cmp::Ordering::Less) => cut.values[0],
                        Some(std::cmp::Ordering::Equal) => cut.values[1],
                        Some(std::cmp::Ordering::Greater) => cut.values[2],
                        None => f32::NAN,
                    }
                };
                let values = earlier.values.map(value);
                if values.iter().any(|v| v.is_nan()) {
                    return cut;
                }
                return Cut {
                    values,
                    ..earlier.clone()
                };
            }
            let Some(node) = self.maker(name) else {
                return cut;
            };
            match (node.op_type.as_str(), node.input.as_slice()) {
                ("Identity", [x]) => {
                    chain.push((node, true, 0.0));
                    name = x;
                }
                ("Add" | "Mul" | "Sub" | "Div", [a, b]) => {
                    let (x, first, c) = match (self.scalar(a), self.scalar(b)) {
                        (None, Some(c)) => (a, true, c),
                        (Some(c), None) if node.op_type != "Div" => (b, false, c),
                        _ => return cut,
                    };
                    chain.push((node, first, c));
                    name = x;
                }
                _ => return cut,
            }
        }
    }

    /// Returns the steps by the name of their output.
    fn cuts(&self) -> BTreeMap<&'a str, Cut> {
        let mut found = BTreeMap::new();
        for node in &self.graph.node {
            if let (Some(cut), [output]) = (self.cut(node), node.output.as_slice()) {
                let cut = self.merged(cut, &found);
                found.insert(output.as_str(), cut);
            }
        }
        found
    }
}

/// Whether a node holds a graph, whose captured values a renaming would miss.
fn nests(node: &NodeProto) -> bool {
    node.attribute.iter().any(|a| a.g.is_some())
}

/// Returns the values that `wanted` is computed from, itself included.
fn needed<'a>(graph: &'a GraphProto, wanted: &'a str) -> BTreeSet<&'a str> {
    let mut needed = BTreeSet::from([wanted]);
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|o| needed.contains(o.as_str())) {
            needed.extend(node.input.iter().map(String::as_str));
        }
    }
    needed
}

/// Returns the values that depend on one of `from`, those included.
fn following<'a>(graph: &'a GraphProto, from: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut all: BTreeSet<&str> = from.collect();
    for node in &graph.node {
        if node.input.iter().any(|i| all.contains(i.as_str())) {
            all.extend(node.output.iter().map(String::as_str));
        }
    }
    all
}

fn step(op: &str, cut: &Cut, width: f32, output: &str) -> NodeProto {
    let number = |name: &str, f: f32| AttributeProto {
        name: name.into(),
        f,
        r#type: 1,
        ..Default::default()
    };
    NodeProto {
        input: vec![cut.input.clone()],
        output: vec![output.to_owned()],
        name: format!("{output} ({op})"),
        op_type: op.to_owned(),
        attribute: vec![
            number("at", cut.at),
            number("below", cut.values[0]),
            number("on", cut.values[1]),
            number("above", cut.values[2]),
            number("width", width),
        ],
        domain: OWN.to_owned(),
    }
}

/// Returns the name of a value's twin in the second set.
fn fine(name: &str) -> String {
    format!("{name} (fine)")
}

/// Returns copies of the nodes from the last steps on, which are bends there, to `output`; `steps` are the outputs of all
/// steps on the way.
fn tail(graph: &GraphProto, steps: &[String], output: &str) -> Vec<NodeProto> {
    let last = |name: &&String| {
        let after = following(graph, std::iter::once(name.as_str()));
        steps
            .iter()
            .all(|other| other == *name || !after.contains(other.as_str()))
    };
    let ends: BTreeSet<&str> = steps.iter().filter(last).map(String::as_str).collect();
    let after = following(graph, ends.iter().copied());
    let needed = needed(graph, output);
    let copied = |name: &String| after.contains(name.as_str()) && needed.contains(name.as_str());
    let copy = |node: &NodeProto| {
        let mut copy = node.clone();
        copy.name = fine(&node.name);
        if ends.contains(node.output[0].as_str()) {
            BEND.clone_into(&mut copy.op_type);
        } else {
            for input in copy.input.iter_mut().filter(|i| copied(i)) {
                *input = fine(input);
            }
        }
        for output in &mut copy.output {
            *output = fine(output);
        }
        copy
    };
    let wanted = |n: &&NodeProto| n.output.iter().any(copied);
    graph.node.iter().filter(wanted).map(copy).collect()
}

/// Returns the node that puts both sets of scores side by side.
fn joined(output: &str, both: &str) -> NodeProto {
    NodeProto {
        input: vec![output.to_owned(), fine(output)],
        output: vec![both.to_owned()],
        name: both.to_owned(),
        op_type: "Concat".into(),
        attribute: vec![AttributeProto {
            name: "axis".into(),
            i: -1,
            r#type: 2,
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A graph whose steps have slopes.
pub(crate) struct Sloped {
    pub(crate) file: OnnxFile,
    /// Name of the output with both sets of scores.
    pub(crate) output: String,
    /// The values that are cut, in order.
    pub(crate) cuts: Vec<String>,
    /// The threshold of each.
    pub(crate) at: Vec<f32>,
}

impl OnnxFile {
    /// Returns the file with slopes for the steps on the way to `output`; `widths` are those of [`Sloped::cuts`], 1 for
    /// the rest. `None` if there is no step, or a part of the graph cannot be rewritten.
    pub(crate) fn sloped(&self, output: &str, widths: &[f32]) -> Option<Sloped> {
        let graph = self.graph();
        let reader = Reader::new(graph);
        let all = reader.cuts();
        // Steps merged into a later one are no longer on the way.
        let mut rewritten = graph.clone();
        let mut place = BTreeMap::new();
        for (at, node) in rewritten.node.iter_mut().enumerate() {
            if let Some(cut) = node.output.first().and_then(|o| all.get(o.as_str())) {
                *node = step(STEP, cut, 1.0, &node.output[0]);
                place.insert(node.output[0].clone(), at);
            }
        }
        let order: Vec<String> = {
            let needed = needed(&rewritten, output);
            let on_the_way = |n: &&NodeProto| {
                n.domain == OWN && n.output.iter().any(|o| needed.contains(o.as_str()))
            };
            let steps = rewritten.node.iter().filter(on_the_way);
            steps.map(|n| n.output[0].clone()).collect()
        };
        if order.is_empty() || rewritten.node.iter().any(nests) {
            return None;
        }
        for (name, width) in order.iter().zip(widths) {
            let cut = &all[name.as_str()];
            rewritten.node[place[name]] = step(STEP, cut, *width, name);
        }
        let tail = tail(&rewritten, &order, output);
        rewritten.node.extend(tail);
        let both = format!("{output} (both)");
        rewritten.node.push(joined(output, &both));
        rewritten.output = vec![ValueInfoProto {
            name: both.clone(),
            ..Default::default()
        }];
        let cuts = order
            .iter()
            .map(|o| all[o.as_str()].input.clone())
            .collect();
        let at = order.iter().map(|o| all[o.as_str()].at).collect();
        let mut opsets = self.opsets.clone();
        opsets.insert(OWN.to_owned(), 1);
        let mut proto = self.proto.clone();
        proto.graph = Some(rewritten);
        Some(Sloped {
            file: Self {
                name: self.name.clone(),
                folder: self.folder.clone(),
                proto,
                opsets,
                fixed: self.fixed.clone(),
                sha256: self.sha256.clone(),
            },
            output: both,
            cuts,
            at,
        })
    }
}
