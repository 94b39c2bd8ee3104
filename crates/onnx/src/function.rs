//! Functions of a file: a call becomes the nodes of the function's body, so that nothing else has to know of them.
//!
//! What a body computes is named after the call (`call/inner`); its inputs and outputs are those of the call.

use std::collections::BTreeMap;

use prost::Message;

use crate::graph::name_of;
use crate::node::OpResult;
use crate::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
};

/// Functions within functions.
const DEEPEST: usize = 64;
/// What a decoded node takes beyond its bytes in the file, roughly.
const OVERHEAD: usize = 512;
/// Bytes of all nodes that calls are replaced with: a few functions that call each other twice can ask for anything.
const LARGEST: usize = 1 << 28;

/// Replaces every call of a function by the function's nodes.
pub(crate) fn expand(model: &mut ModelProto) -> OpResult<()> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let functions: BTreeMap<(String, String), FunctionProto> = std::mem::take(&mut model.functions)
        .into_iter()
        .map(|f| ((plain(&f.domain).to_owned(), f.name.clone()), f))
        .collect();
    let mut calls = Calls {
        opsets: model
            .opset_import
            .iter()
            .map(|o| (plain(&o.domain).to_owned(), o.version))
            .collect(),
        functions: &functions,
        left: LARGEST,
    };
    if let Some(graph) = &mut model.graph {
        calls.graph(graph, 0)?;
    }
    for (domain, version) in calls.opsets {
        if !model
            .opset_import
            .iter()
            .any(|o| plain(&o.domain) == domain)
        {
            model
                .opset_import
                .push(OperatorSetIdProto { domain, version });
        }
    }
    Ok(())
}

/// ONNX's own domain has two names.
fn plain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

struct Calls<'a> {
    functions: &'a BTreeMap<(String, String), FunctionProto>,
    opsets: BTreeMap<String, i64>,
    left: usize,
}

impl Calls<'_> {
    fn graph(&mut self, graph: &mut GraphProto, depth: usize) -> OpResult<()> {
        graph.node = self.nodes(std::mem::take(&mut graph.node), depth)?;
        Ok(())
    }

    fn nodes(&mut self, nodes: Vec<NodeProto>, depth: usize) -> OpResult<Vec<NodeProto>> {
        let mut all = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            let key = (plain(&node.domain).to_owned(), node.op_type.clone());
            let Some(function) = self.functions.get(&key) else {
                for attribute in &mut node.attribute {
                    if let Some(graph) = &mut attribute.g {
                        self.graph(graph, depth)?;
                    }
                }
                all.push(node);
                continue;
            };
            let about = |e: String| format!("function `{}`: {e}", function.name);
            if depth == DEEPEST {
                return Err(about(format!(
                    "functions call each other more than {DEEPEST} deep"
                )));
            }
            self.agree(function).map_err(about)?;
            let size = |n: &NodeProto| n.encoded_len().saturating_add(OVERHEAD);
            let size = function
                .node
                .iter()
                .map(size)
                .fold(OVERHEAD, usize::saturating_add);
            self.left = self
                .left
                .checked_sub(size)
                .ok_or_else(|| about(format!("all calls together exceed {LARGEST} bytes")))?;
            let body = Body::new(function, &node).map_err(about)?.nodes();
            all.extend(self.nodes(body, depth + 1)?);
        }
        Ok(all)
    }

    /// A body is put among the model's nodes, so it has to be written for the same operator sets.
    fn agree(&mut self, function: &FunctionProto) -> OpResult<()> {
        for set in &function.opset_import {
            let domain = plain(&set.domain);
            let known = *self.opsets.entry(domain.to_owned()).or_insert(set.version);
            if known != set.version {
                return Err(format!(
                    "is written for opset {}{} and the model for {known}; expected the same",
                    set.version,
                    if domain.is_empty() {
                        String::new()
                    } else {
                        format!(" of {domain}")
                    },
                ));
            }
        }
        Ok(())
    }
}

/// A function's body for one call of it.
struct Body<'a> {
    function: &'a FunctionProto,
    call: &'a NodeProto,
    prefix: String,
    /// The call's names for the function's inputs and outputs.
    names: BTreeMap<&'a str, &'a str>,
}

impl<'a> Body<'a> {
    fn new(function: &'a FunctionProto, call: &'a NodeProto) -> OpResult<Self> {
        if call.input.len() > function.input.len() || call.output.len() > function.output.len() {
            return Err(format!(
                "is called by node `{}` with {} inputs and {} outputs; expected at most {} and {}",
                name_of(call),
                call.input.len(),
                call.output.len(),
                function.input.len(),
                function.output.len()
            ));
        }
        let mut names = BTreeMap::new();
        let inputs = call.input.iter().map(String::as_str);
        for (formal, given) in function
            .input
            .iter()
            .zip(inputs.chain(std::iter::repeat("")))
        {
            names.insert(formal.as_str(), given);
        }
        for (formal, given) in function.output.iter().zip(&call.output) {
            // An input handed through is copied below.
            if !given.is_empty() && !function.input.contains(formal) {
                names.insert(formal, given);
            }
        }
        // Names of nodes may repeat; a value is defined once.
        let prefix = call
            .output
            .iter()
            .find(|o| !o.is_empty())
            .cloned()
            .unwrap_or_default();
        Ok(Self {
            function,
            call,
            prefix,
            names,
        })
    }

    fn nodes(&self) -> Vec<NodeProto> {
        let copies = self
            .function
            .output
            .iter()
            .zip(&self.call.output)
            .filter(|(formal, given)| !given.is_empty() && self.function.input.contains(formal))
            .map(|(formal, given)| NodeProto {
                name: format!("{}/{formal}", name_of(self.call)),
                op_type: "Identity".into(),
                input: vec![self.name(formal)],
                output: vec![given.clone()],
                ..NodeProto::default()
            });
        let nodes = self.function.node.iter().map(|n| self.node(n));
        nodes.chain(copies).collect()
    }

    fn name(&self, inner: &str) -> String {
        match self.names.get(inner) {
            _ if inner.is_empty() => String::new(),
            Some(outer) => (*outer).to_owned(),
            None => format!("{}/{inner}", self.prefix),
        }
    }

    fn node(&self, node: &NodeProto) -> NodeProto {
        let all = |names: &[String]| names.iter().map(|n| self.name(n)).collect();
        NodeProto {
            input: all(&node.input),
            output: all(&node.output),
            name: format!("{}/{}", name_of(self.call), name_of(node)),
            attribute: node
                .attribute
                .iter()
                .filter_map(|a| self.attribute(a))
                .collect(),
            ..node.clone()
        }
    }

    /// An attribute; one that refers to the call's is left out where the call has none and there is no default.
    fn attribute(&self, inner: &AttributeProto) -> Option<AttributeProto> {
        if !inner.ref_attr_name.is_empty() {
            let of = |list: &[AttributeProto]| {
                list.iter().find(|a| a.name == inner.ref_attr_name).cloned()
            };
            let given = of(&self.call.attribute).or_else(|| of(&self.function.attribute_proto))?;
            return Some(AttributeProto {
                name: inner.name.clone(),
                ..given
            });
        }
        Some(AttributeProto {
            g: inner.g.as_ref().map(|g| self.graph(g)),
            ..inner.clone()
        })
    }

    fn graph(&self, graph: &GraphProto) -> GraphProto {
        let mut graph = graph.clone();
        graph.node = graph.node.iter().map(|n| self.node(n)).collect();
        for constant in &mut graph.initializer {
            constant.name = self.name(&constant.name);
        }
        for value in graph.input.iter_mut().chain(&mut graph.output) {
            value.name = self.name(&value.name);
        }
        graph
    }
}
