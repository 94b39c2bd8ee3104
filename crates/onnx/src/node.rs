//! The interface of operators: the node when the graph is built, its inputs when it runs.

use burn::tensor::Device;

use crate::array::Array;
use crate::dtype::DType;
use crate::graph::Graph;
use crate::load::Scope;
use crate::proto::{AttributeProto, GraphProto, NodeProto};
use crate::tensor::Tensor;
use crate::value::Value;

/// Result inside an operator; the error is a sentence, to which the graph adds file, node, operator and version.
pub(crate) type OpResult<T> = Result<T, String>;

/// A node that is ready to run: attributes are read and checked, nothing is left to decode.
pub(crate) type Run = Box<dyn Fn(&mut Args<'_>) -> OpResult<Vec<Value>> + Send + Sync>;

/// Wraps an operator's computation.
#[allow(clippy::unnecessary_wraps)] // every builder ends with it
pub(crate) fn run(
    f: impl Fn(&mut Args<'_>) -> OpResult<Vec<Value>> + Send + Sync + 'static,
) -> OpResult<Run> {
    Ok(Box::new(f))
}

/// Returns the only output of an operator.
#[allow(clippy::unnecessary_wraps)] // every computation ends with it
pub(crate) fn one(value: impl Into<Value>) -> OpResult<Vec<Value>> {
    Ok(vec![value.into()])
}

/// Converts an axis from `-rank` to `rank - 1` to an index.
pub(crate) fn axis(axis: i64, rank: usize) -> OpResult<usize> {
    let at = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(at)
        .ok()
        .filter(|a| *a < rank)
        .ok_or_else(|| format!("axis {axis} of a value with {rank} dimensions"))
}

/// Converts several axes to indices; an error if one is repeated.
pub(crate) fn axes(list: &[i64], rank: usize) -> OpResult<Vec<usize>> {
    let mut seen = vec![false; rank];
    list.iter()
        .map(|a| {
            let at = axis(*a, rank)?;
            if std::mem::replace(&mut seen[at], true) {
                return Err(format!("axis {a} is named twice"));
            }
            Ok(at)
        })
        .collect()
}

/// A node while the graph is built.
pub(crate) struct NodeSpec<'a> {
    pub(crate) proto: &'a NodeProto,
    /// Operator set version the model was written for.
    pub(crate) opset: i64,
    /// Value of each input, if it is already known.
    pub(crate) known: &'a [Option<Value>],
    pub(crate) scope: &'a Scope<'a>,
}

impl<'a> NodeSpec<'a> {
    /// Returns the attribute, if it is given.
    pub(crate) fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        self.proto.attribute.iter().find(|a| a.name == name)
    }

    fn typed(&self, name: &str, kind: i32, what: &str) -> OpResult<Option<&'a AttributeProto>> {
        match self.attribute(name) {
            // Old exporters omit the type.
            Some(a) if a.r#type == kind || a.r#type == 0 => Ok(Some(a)),
            Some(_) => Err(format!("attribute `{name}` is not {what}")),
            None => Ok(None),
        }
    }

    /// Reads an integer.
    pub(crate) fn int(&self, name: &str, default: i64) -> OpResult<i64> {
        Ok(self.typed(name, 2, "an integer")?.map_or(default, |a| a.i))
    }

    /// Reads an optional integer.
    pub(crate) fn int_opt(&self, name: &str) -> OpResult<Option<i64>> {
        Ok(self.typed(name, 2, "an integer")?.map(|a| a.i))
    }

    /// Reads a Boolean, stored as 1 or 0.
    pub(crate) fn flag(&self, name: &str, default: bool) -> OpResult<bool> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    /// Reads a float.
    pub(crate) fn float(&self, name: &str, default: f32) -> OpResult<f64> {
        Ok(f64::from(
            self.typed(name, 1, "a number")?.map_or(default, |a| a.f),
        ))
    }

    /// Reads an optional float.
    pub(crate) fn float_opt(&self, name: &str) -> OpResult<Option<f64>> {
        Ok(self.typed(name, 1, "a number")?.map(|a| f64::from(a.f)))
    }

    /// Reads a list of integers, if it is given.
    pub(crate) fn ints(&self, name: &str) -> OpResult<Option<Vec<i64>>> {
        Ok(self
            .typed(name, 7, "a list of integers")?
            .map(|a| a.ints.clone()))
    }

    /// Reads a list of non-negative integers, if it is given.
    pub(crate) fn sizes(&self, name: &str) -> OpResult<Option<Vec<usize>>> {
        self.ints(name)?
            .map(|list| {
                list.iter()
                    .map(|i| {
                        usize::try_from(*i).map_err(|_| {
                            format!("attribute `{name}` holds {i}; expected 0 or more")
                        })
                    })
                    .collect()
            })
            .transpose()
    }

    /// Reads a list of floats, if it is given.
    pub(crate) fn floats(&self, name: &str) -> OpResult<Option<Vec<f64>>> {
        Ok(self
            .typed(name, 6, "a list of numbers")?
            .map(|a| a.floats.iter().map(|f| f64::from(*f)).collect()))
    }

    /// Reads a string.
    pub(crate) fn text(&self, name: &str, default: &str) -> OpResult<String> {
        match self.typed(name, 3, "a text")? {
            Some(a) => String::from_utf8(a.s.to_vec())
                .map_err(|_| format!("attribute `{name}` is not UTF-8")),
            None => Ok(default.to_owned()),
        }
    }

    /// Reads a list of strings, if it is given.
    pub(crate) fn texts(&self, name: &str) -> OpResult<Option<Vec<String>>> {
        self.typed(name, 8, "a list of texts")?
            .map(|a| {
                a.strings
                    .iter()
                    .map(|s| {
                        String::from_utf8(s.to_vec())
                            .map_err(|_| format!("attribute `{name}` is not UTF-8"))
                    })
                    .collect()
            })
            .transpose()
    }

    /// Reads a tensor, if it is given.
    pub(crate) fn tensor(&self, name: &str) -> OpResult<Option<Array>> {
        self.typed(name, 4, "a tensor")?
            .and_then(|a| a.t.as_ref())
            .map(|t| self.scope.array(t))
            .transpose()
    }

    /// Reads an element type.
    pub(crate) fn dtype(&self, name: &str, default: DType) -> OpResult<DType> {
        match self.int_opt(name)? {
            Some(i) => DType::from_onnx(i as i32),
            None => Ok(default),
        }
    }

    fn branch_proto(&self, name: &str) -> OpResult<&'a GraphProto> {
        self.typed(name, 5, "a graph")?
            .and_then(|a| a.g.as_ref())
            .ok_or_else(|| format!("attribute `{name}` is missing; expected a graph"))
    }

    /// Builds a graph inside the node (a branch, a loop's body). Its captures are the node's own inputs from
    /// [`Self::declared`] on, in the order of [`Self::captured`].
    pub(crate) fn branch(&self, name: &str) -> OpResult<Graph> {
        let proto = self.branch_proto(name)?;
        self.scope.branch(proto, self)
    }

    /// Number of inputs the node declares, without those its branches capture.
    pub(crate) fn declared(&self) -> usize {
        self.proto.input.len()
    }

    /// Returns the outer values that the node's branches read.
    pub(crate) fn captured(&self) -> Vec<String> {
        crate::graph::captured(self.proto)
    }

    /// Returns input `i`, if it is a constant that is already known.
    pub(crate) fn constant(&self, i: usize) -> Option<&'a Array> {
        match self.known.get(i) {
            Some(Some(Value::Host(a))) => Some(a),
            _ => None,
        }
    }

    /// Number of outputs the node declares.
    pub(crate) fn outputs(&self) -> usize {
        self.proto.output.len()
    }

    /// Whether output `i` is requested.
    pub(crate) fn wants(&self, i: usize) -> bool {
        self.proto.output.get(i).is_some_and(|n| !n.is_empty())
    }
}

/// Inputs of a node that runs. Each is taken at most once, so that its memory can be reused at the last use.
pub(crate) struct Args<'a> {
    pub(crate) values: Vec<Option<Value>>,
    pub(crate) device: &'a Device,
}

impl Args<'_> {
    /// Number of inputs, including those left out in the middle.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether input `i` is given (and not yet taken).
    pub(crate) fn has(&self, i: usize) -> bool {
        matches!(self.values.get(i), Some(Some(_)))
    }

    /// Whether all inputs are on the host.
    pub(crate) fn all_host(&self) -> bool {
        self.values
            .iter()
            .flatten()
            .all(|v| matches!(v, Value::Host(_)))
    }

    /// Returns input `i` without taking it.
    pub(crate) fn peek(&self, i: usize) -> OpResult<&Value> {
        self.values
            .get(i)
            .and_then(Option::as_ref)
            .ok_or_else(|| format!("input {i} is missing"))
    }

    /// Takes input `i`.
    pub(crate) fn take(&mut self, i: usize) -> OpResult<Value> {
        self.values
            .get_mut(i)
            .and_then(Option::take)
            .ok_or_else(|| format!("input {i} is missing"))
    }

    /// Takes input `i` on the device.
    pub(crate) fn tensor(&mut self, i: usize) -> OpResult<Tensor> {
        self.take(i)?.device(self.device)
    }

    /// Takes input `i` on the device, if it is given.
    pub(crate) fn tensor_opt(&mut self, i: usize) -> OpResult<Option<Tensor>> {
        if self.has(i) {
            self.tensor(i).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Takes input `i` on the host (copied there if necessary: see [`crate::op::OperatorEntry::reads_back`]).
    pub(crate) fn array(&mut self, i: usize) -> OpResult<Array> {
        self.take(i)?.host()
    }

    /// Takes input `i` on the host, if it is given.
    pub(crate) fn array_opt(&mut self, i: usize) -> OpResult<Option<Array>> {
        if self.has(i) {
            self.array(i).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Takes input `i` as a list of integers (axes, a shape, pads).
    pub(crate) fn ints(&mut self, i: usize) -> OpResult<Vec<i64>> {
        self.array(i)?.to_ints()
    }

    /// Takes input `i` as a list of integers, if it is given.
    pub(crate) fn ints_opt(&mut self, i: usize) -> OpResult<Option<Vec<i64>>> {
        if self.has(i) {
            self.ints(i).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Takes input `i` as a single number, if it is given.
    pub(crate) fn scalar_opt(&mut self, i: usize) -> OpResult<Option<f64>> {
        let Some(a) = self.array_opt(i)? else {
            return Ok(None);
        };
        match a.to_f64()?.as_slice() {
            [x] => Ok(Some(*x)),
            v => Err(format!("input {i} has {} elements; expected one", v.len())),
        }
    }
}
