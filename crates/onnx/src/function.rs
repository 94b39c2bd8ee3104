//! Inlines model-local functions: a node that calls a function is replaced by the nodes of its body.
//!
//! Functions are inlined before the graph is built, so that later stages need not handle them. Values inside a body get
//! new names for every call.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::load::own_domain as domain;
use crate::node::OpResult;
use crate::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};

/// Maximum number of nodes of a model with all its functions inlined.
const MOST: usize = 1 << 20;
/// Maximum bytes of the nodes that inlining creates (a body may hold constants).
const MAX_BYTES: usize = 1 << 30;
/// Maximum nesting depth of graphs with functions inlined (a file alone cannot nest them this deep).
const MAX_DEPTH: usize = 64;

type Key = (String, String);

fn key(domain_name: &str, name: &str) -> Key {
    (domain(domain_name).to_owned(), name.to_owned())
}

/// Inlines every call of the model's functions.
pub(crate) fn inline(model: &mut ModelProto) -> OpResult<()> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let listed = std::mem::take(&mut model.functions);
    let mut functions = BTreeMap::new();
    for function in &listed {
        let at = key(&function.domain, &function.name);
        if functions.insert(at, function).is_some() {
            return Err(format!("function `{}` is defined twice", function.name));
        }
    }
    let Some(graph) = model.graph.as_mut() else {
        return Ok(());
    };
    let versions = model
        .opset_import
        .iter()
        .map(|set| (domain(&set.domain).to_owned(), set.version))
        .collect();
    let mut taken = BTreeSet::new();
    names(graph, &mut taken);
    let mut inliner = Inliner {
        functions,
        versions,
        taken,
        uses: 0,
        nodes: 0,
        bytes: 0,
        open: Vec::new(),
    };
    graph.node = inliner.nodes(std::mem::take(&mut graph.node), 0)?;
    Ok(())
}

/// Collects every name in a graph, so that new names do not clash.
fn names(graph: &GraphProto, taken: &mut BTreeSet<String>) {
    taken.extend(graph.input.iter().map(|v| v.name.clone()));
    taken.extend(graph.initializer.iter().map(|t| t.name.clone()));
    for node in &graph.node {
        taken.extend(node.output.iter().cloned());
        for inner in node.attribute.iter().filter_map(|a| a.g.as_ref()) {
            names(inner, taken);
        }
    }
}

struct Inliner<'a> {
    functions: BTreeMap<Key, &'a FunctionProto>,
    versions: BTreeMap<String, i64>,
    taken: BTreeSet<String>,
    uses: usize,
    nodes: usize,
    bytes: usize,
    /// Functions being inlined; one that appears again calls itself.
    open: Vec<Key>,
}

impl<'a> Inliner<'a> {
    /// Inlines every function call in `nodes`, including those inside branches.
    fn nodes(&mut self, nodes: Vec<NodeProto>, depth: usize) -> OpResult<Vec<NodeProto>> {
        if depth > MAX_DEPTH {
            return Err(format!("graphs are nested more than {MAX_DEPTH} deep"));
        }
        let mut all = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            let at = key(&node.domain, &node.op_type);
            if let Some(function) = self.functions.get(&at).copied() {
                all.append(&mut self.body(at, function, &node, depth)?);
                continue;
            }
            self.count()?;
            for graph in node.attribute.iter_mut().filter_map(|a| a.g.as_mut()) {
                graph.node = self.nodes(std::mem::take(&mut graph.node), depth + 1)?;
            }
            all.push(node);
        }
        Ok(all)
    }

    fn count(&mut self) -> OpResult<()> {
        self.nodes += 1;
        if self.nodes > MOST {
            return Err(format!(
                "with its functions written out the model has more than {MOST} nodes"
            ));
        }
        Ok(())
    }

    /// Returns the inlined nodes of one function call.
    fn body(
        &mut self,
        at: Key,
        function: &'a FunctionProto,
        node: &NodeProto,
        depth: usize,
    ) -> OpResult<Vec<NodeProto>> {
        let name = &function.name;
        if self.open.contains(&at) {
            return Err(format!("function `{name}` calls itself"));
        }
        // Functions inside functions recurse here as branches do.
        if self.open.len() > MAX_DEPTH {
            return Err(format!("functions are nested more than {MAX_DEPTH} deep"));
        }
        self.check(function, node)?;
        // Counts a call even if the body is empty, because it still takes work.
        self.count()?;
        self.uses += 1;
        let short: String = name.chars().take(40).collect();
        let mut scope = Renaming {
            prefix: format!("{short}#{}/", self.uses),
            taken: &self.taken,
            names: vec![BTreeMap::new()],
            attributes: attributes(function, node),
            bytes: self.bytes,
        };
        for (i, inner) in function.input.iter().enumerate() {
            let outer = node.input.get(i).cloned().unwrap_or_default();
            scope.names[0].insert(inner.clone(), outer);
        }
        let mut passed_on = Vec::new();
        for (i, inner) in function.output.iter().enumerate() {
            let Some(outer) = node.output.get(i).filter(|n| !n.is_empty()) else {
                continue;
            };
            // An output that is also an input, or another output, is copied with Identity.
            if let Some(source) = scope.names[0].get(inner) {
                passed_on.push(NodeProto {
                    op_type: "Identity".into(),
                    input: vec![source.clone()],
                    output: vec![outer.clone()],
                    ..Default::default()
                });
            } else {
                scope.names[0].insert(inner.clone(), outer.clone());
            }
        }
        let mut body = scope.nodes(&function.node, depth)?;
        body.append(&mut passed_on);
        self.bytes = scope.bytes;
        self.open.push(at);
        let body = self.nodes(body, depth);
        self.open.pop();
        body
    }

    fn check(&self, function: &FunctionProto, node: &NodeProto) -> OpResult<()> {
        let name = &function.name;
        for set in &function.opset_import {
            let of = domain(&set.domain);
            let own = self.versions.get(of);
            // A domain that only functions use has no version in the model.
            if own.is_some_and(|v| *v != set.version) || (of.is_empty() && own.is_none()) {
                return Err(format!(
                    "function `{name}` is written for version {} of operator set `{}`, and the model for version {}; expected the same",
                    set.version,
                    if of.is_empty() { "ai.onnx" } else { of },
                    own.copied().unwrap_or(0)
                ));
            }
        }
        if node.input.len() > function.input.len() || node.output.len() > function.output.len() {
            return Err(format!(
                "function `{name}` is used with {} inputs and {} outputs; it has {} and {}",
                node.input.len(),
                node.output.len(),
                function.input.len(),
                function.output.len()
            ));
        }
        Ok(())
    }
}

/// Returns the function's attributes for one call: the values given there, or the function's defaults.
fn attributes(function: &FunctionProto, node: &NodeProto) -> BTreeMap<String, AttributeProto> {
    let defaults = function.attribute_proto.iter();
    let declared = |a: &&AttributeProto| {
        function.attribute.contains(&a.name)
            || function.attribute_proto.iter().any(|d| d.name == a.name)
    };
    defaults
        .chain(node.attribute.iter().filter(declared))
        .map(|a| (a.name.clone(), a.clone()))
        .collect()
}

/// Renames the values and attributes of one function call.
struct Renaming<'a> {
    prefix: String,
    taken: &'a BTreeSet<String>,
    /// Maps names in the body to names in the model; one map per enclosing graph.
    names: Vec<BTreeMap<String, String>>,
    attributes: BTreeMap<String, AttributeProto>,
    bytes: usize,
}

impl Renaming<'_> {
    fn read(&self, name: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        let known = self.names.iter().rev().find_map(|n| n.get(name));
        // A name that the body does not define must not resolve to one of the model's names.
        known.map_or_else(|| self.own(name), Clone::clone)
    }

    fn own(&self, name: &str) -> String {
        let mut own = format!("{}{name}", self.prefix);
        while self.taken.contains(&own) {
            own.insert(0, '#');
        }
        own
    }

    fn define(&mut self, name: &str) {
        if name.is_empty() {
            return;
        }
        let own = self.own(name);
        if let Some(innermost) = self.names.last_mut() {
            innermost.entry(name.to_owned()).or_insert(own);
        }
    }

    fn nodes(&mut self, nodes: &[NodeProto], depth: usize) -> OpResult<Vec<NodeProto>> {
        for name in nodes.iter().flat_map(|n| &n.output) {
            self.define(name);
        }
        nodes.iter().map(|n| self.node(n, depth)).collect()
    }

    fn node(&mut self, node: &NodeProto, depth: usize) -> OpResult<NodeProto> {
        let mut attribute = Vec::with_capacity(node.attribute.len());
        for a in &node.attribute {
            if a.ref_attr_name.is_empty() {
                let mut a = a.clone();
                if let Some(graph) = a.g.take() {
                    a.g = Some(self.graph(&graph, depth + 1)?);
                }
                attribute.push(a);
            } else if let Some(given) = self.attributes.get(&a.ref_attr_name) {
                let mut given = given.clone();
                given.name.clone_from(&a.name);
                attribute.push(given);
            }
            // An attribute that is not given and has no default is dropped.
        }
        let renamed = NodeProto {
            input: node.input.iter().map(|n| self.read(n)).collect(),
            output: node.output.iter().map(|n| self.read(n)).collect(),
            name: if node.name.is_empty() {
                String::new()
            } else {
                self.own(&node.name)
            },
            op_type: node.op_type.clone(),
            attribute,
            domain: node.domain.clone(),
        };
        self.bytes = self.bytes.saturating_add(renamed.encoded_len());
        if self.bytes > MAX_BYTES {
            return Err(format!(
                "with its functions written out the model is larger than {MAX_BYTES} bytes"
            ));
        }
        Ok(renamed)
    }

    fn graph(&mut self, graph: &GraphProto, depth: usize) -> OpResult<GraphProto> {
        if depth > MAX_DEPTH {
            return Err(format!("graphs are nested more than {MAX_DEPTH} deep"));
        }
        self.names.push(BTreeMap::new());
        for input in &graph.input {
            self.define(&input.name);
        }
        for constant in &graph.initializer {
            self.define(&constant.name);
        }
        let mut renamed = GraphProto {
            node: self.nodes(&graph.node, depth)?,
            ..graph.clone()
        };
        for constant in &mut renamed.initializer {
            constant.name = self.read(&constant.name);
        }
        for value in renamed.input.iter_mut().chain(&mut renamed.output) {
            value.name = self.read(&value.name);
        }
        self.names.pop();
        Ok(renamed)
    }
}

#[cfg(test)]
mod tests {
    use super::MOST;
    use crate::proto::{AttributeProto, FunctionProto, ModelProto, NodeProto};
    use crate::sketch::{floats, graph, model, node, opset, run, yes};

    const DOMAIN: &str = "own";

    fn function(
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        body: Vec<NodeProto>,
    ) -> FunctionProto {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        FunctionProto {
            name: name.into(),
            domain: DOMAIN.into(),
            input: texts(inputs),
            output: texts(outputs),
            node: body,
            opset_import: vec![opset("", 21)],
            ..Default::default()
        }
    }

    fn calling(name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        node(name, inputs, outputs).domain(DOMAIN)
    }

    fn using(functions: Vec<FunctionProto>, nodes: Vec<NodeProto>) -> ModelProto {
        let mut model = model(graph(nodes, &["x"], &["y"]));
        model.opset_import.push(opset(DOMAIN, 1));
        model.functions = functions;
        model
    }

    fn double() -> FunctionProto {
        function(
            "Double",
            &["a"],
            &["b"],
            vec![
                node("Relu", &["a"], &["t"]),
                node("Add", &["t", "t"], &["b"]),
            ],
        )
    }

    fn problem(model: &ModelProto) -> String {
        run(model, &[floats(&[1.0])]).unwrap_err()
    }

    #[test]
    fn twice_and_within_another() {
        let four = function(
            "Four",
            &["a"],
            &["b"],
            vec![
                calling("Double", &["a"], &["t"]),
                calling("Double", &["t"], &["b"]),
            ],
        );
        // The model uses the function's inner name `t` as well.
        let model = using(
            vec![double(), four],
            vec![
                calling("Double", &["x"], &["t"]),
                calling("Four", &["t"], &["u"]),
                node("Add", &["u", "t"], &["y"]),
            ],
        );
        let got = run(&model, &[floats(&[1.0, -1.0])]).unwrap();
        assert_eq!(got, [floats(&[10.0, 0.0])]);
    }

    #[test]
    fn attributes_are_handed_down() {
        let mut part = function(
            "Part",
            &["a"],
            &["b"],
            vec![
                node("Unsqueeze", &["a", "zero"], &["wide"]),
                node("Flatten", &["wide"], &["b"]).refers("axis", "at", 2),
                node("Constant", &[], &["zero"]).refers("value_ints", "axes", 7),
            ],
        );
        part.attribute = vec!["axes".into()];
        part.attribute_proto = vec![AttributeProto {
            name: "at".into(),
            i: 2,
            r#type: 2,
            ..Default::default()
        }];
        // The Constant node is replaced by an input.
        part.node.pop();
        part.input.push("zero".into());
        let shape = |call: NodeProto| {
            let mut model = using(vec![part.clone()], vec![call]);
            let graph = model.graph.take().unwrap();
            model.graph = Some(graph.constant("zero", &crate::sketch::list(&[0])));
            run(&model, &[floats(&[1.0, 2.0])]).unwrap()[0]
                .shape()
                .to_vec()
        };
        let call = || calling("Part", &["x", "zero"], &["y"]);
        assert_eq!(shape(call()), [2, 1]);
        assert_eq!(shape(call().int("at", 0)), [1, 2]);
        assert_eq!(shape(call().int("at", 1)), [1, 2]);
    }

    #[test]
    fn inside_branches() {
        let choose = function(
            "Choose",
            &["c", "a"],
            &["b"],
            vec![
                node("Relu", &["a"], &["t"]),
                node("If", &["c"], &["b"])
                    .graph(
                        "then_branch",
                        graph(vec![calling("Double", &["t"], &["r"])], &[], &["r"]),
                    )
                    .graph(
                        "else_branch",
                        graph(vec![node("Add", &["a", "t"], &["r"])], &[], &["r"]),
                    ),
            ],
        );
        for (c, want) in [(true, [4.0, 0.0]), (false, [4.0, -1.0])] {
            let mut model = using(
                vec![choose.clone(), double()],
                vec![calling("Choose", &["c", "x"], &["y"])],
            );
            let graph = model.graph.take().unwrap();
            model.graph = Some(graph.constant("c", &yes(c)));
            let got = run(&model, &[floats(&[2.0, -1.0])]).unwrap();
            assert_eq!(got, [floats(&want)]);
        }
    }

    #[test]
    fn an_output_may_be_an_input() {
        let both = function(
            "Both",
            &["a"],
            &["a", "b"],
            vec![node("Relu", &["a"], &["b"])],
        );
        let mut inlined = using(
            vec![both],
            vec![
                calling("Both", &["x"], &["p", "q"]),
                node("Add", &["p", "q"], &["y"]),
            ],
        );
        super::inline(&mut inlined).unwrap();
        let nodes = inlined.graph.unwrap().node;
        let ops: Vec<&str> = nodes.iter().map(|n| n.op_type.as_str()).collect();
        assert_eq!(ops, ["Relu", "Identity", "Add"]);
        assert_eq!(nodes[1].input, ["x"]);
        assert_eq!(nodes[1].output, ["p"]);
    }

    #[test]
    fn a_recursive_function_is_refused() {
        let ping = function(
            "Ping",
            &["a"],
            &["b"],
            vec![calling("Pong", &["a"], &["b"])],
        );
        let pong = function(
            "Pong",
            &["a"],
            &["b"],
            vec![calling("Ping", &["a"], &["b"])],
        );
        let model = using(vec![ping, pong], vec![calling("Ping", &["x"], &["y"])]);
        assert!(problem(&model).contains("function `Ping` calls itself"));
    }

    #[test]
    fn functions_that_inline_to_too_many_nodes_are_refused() {
        let mut functions = vec![double()];
        for i in 0..40 {
            let inner = if i == 0 {
                "Double".into()
            } else {
                format!("F{}", i - 1)
            };
            functions.push(function(
                &format!("F{i}"),
                &["a"],
                &["b"],
                vec![
                    calling(&inner, &["a"], &["t"]),
                    calling(&inner, &["t"], &["b"]),
                ],
            ));
        }
        let model = using(functions, vec![calling("F39", &["x"], &["y"])]);
        assert!(problem(&model).contains(&format!("more than {MOST} nodes")));
    }

    #[test]
    fn mistakes_are_sentences() {
        let call = || vec![calling("Double", &["x"], &["y"])];
        let mut other = double();
        other.opset_import = vec![opset("", 12)];
        assert!(
            problem(&using(vec![other], call())).contains("version 12 of operator set `ai.onnx`")
        );
        let twice = using(vec![double(), double()], call());
        assert!(problem(&twice).contains("`Double` is defined twice"));
        let more = using(vec![double()], vec![calling("Double", &["x", "x"], &["y"])]);
        assert!(problem(&more).contains("used with 2 inputs"));
        // A name that the body does not define is not looked up outside.
        let leak = function(
            "Leak",
            &["a"],
            &["b"],
            vec![node("Add", &["a", "x"], &["b"])],
        );
        let leak = using(vec![leak], vec![calling("Leak", &["x"], &["y"])]);
        assert!(problem(&leak).contains("computed by no earlier node"));
    }
}
