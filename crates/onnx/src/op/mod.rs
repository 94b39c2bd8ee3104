//! The operators, one file per family. Each file ends with its `ENTRIES`; to add an operator, add an entry there. The
//! operators of onnxruntime's own domain are in [`microsoft`], those of classical machine learning in [`ml`].

use crate::lower::Lowering;
use crate::node::{NodeSpec, OpResult, Run};

mod activation;
mod arithmetic;
mod attention;
mod average_pool;
mod axis;
mod batch_norm;
mod bits;
mod compare;
mod constant;
mod control;
mod conv;
mod conv_integer;
mod conv_transpose;
mod convert;
mod einsum;
pub(crate) mod equation;
mod extreme;
mod gate_function;
mod gather;
mod grid;
mod interpolation;
mod layout;
mod matmul;
mod max_pool;
mod microsoft;
mod ml;
mod norm;
mod numbers;
mod order;
mod pad;
mod quantise;
mod quantised_matmul;
mod rearrange;
mod recurrent;
mod reduce;
mod requantise;
mod resize;
mod scatter;
mod sequence;
mod shape;
mod signal;
mod slice;
mod softmax;
mod step;
mod suppress;
mod unary;
mod window;

pub(crate) use batch_norm::IN_TRAINING;
pub(crate) use step::{BEND, OWN, STEP};

/// Derivative of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gradient {
    /// The true derivative, almost everywhere.
    Exact,
    /// Zero almost everywhere (comparisons, ArgMax): gradient-based attacks get no signal through it.
    Zero,
    /// The derivative of the identity, or for Sign of a smooth function, in place of the true one, which is zero
    /// (quantisation, Round, Floor).
    StraightThrough,
    /// No derivative: the result is computed on the host, or does not depend on the values (Shape).
    None,
}

/// One operator.
pub(crate) struct OperatorEntry {
    /// Name in ONNX.
    pub(crate) name: &'static str,
    /// Its derivative.
    pub(crate) gradient: Gradient,
    /// Whether values on the device are copied to the host to compute it.
    pub(crate) reads_back: bool,
    /// Reads the node's attributes and builds its computation.
    pub(crate) build: fn(&NodeSpec<'_>) -> OpResult<Run>,
    /// Reads the node's attributes and builds its part in a network of kernels, for operators that kernels compute.
    pub(crate) lower: Option<fn(&NodeSpec<'_>) -> OpResult<Lowering>>,
}

impl OperatorEntry {
    /// Creates an operator with the true derivative.
    pub(crate) const fn new(name: &'static str, build: fn(&NodeSpec<'_>) -> OpResult<Run>) -> Self {
        Self {
            name,
            gradient: Gradient::Exact,
            reads_back: false,
            build,
            lower: None,
        }
    }

    /// Sets the lowering to kernels.
    pub(crate) const fn lowered(mut self, lower: fn(&NodeSpec<'_>) -> OpResult<Lowering>) -> Self {
        self.lower = Some(lower);
        self
    }

    /// Sets the derivative.
    pub(crate) const fn gradient(mut self, gradient: Gradient) -> Self {
        self.gradient = gradient;
        self
    }

    /// Marks the operator as computed on the host, without a derivative.
    pub(crate) const fn on_host(mut self) -> Self {
        self.reads_back = true;
        self.gradient = Gradient::None;
        self
    }

    /// Marks the operator as reading single values (a condition) from the device to decide what to do.
    pub(crate) const fn asking(mut self) -> Self {
        self.reads_back = true;
        self
    }
}

pub(crate) use quantise::rounded;

/// Every operator of ONNX's own domain.
pub(crate) const ALL: &[&[OperatorEntry]] = &[
    activation::ENTRIES,
    arithmetic::ENTRIES,
    attention::ENTRIES,
    average_pool::ENTRIES,
    axis::ENTRIES,
    batch_norm::ENTRIES,
    bits::ENTRIES,
    compare::ENTRIES,
    constant::ENTRIES,
    control::ENTRIES,
    conv::ENTRIES,
    conv_integer::ENTRIES,
    conv_transpose::ENTRIES,
    convert::ENTRIES,
    einsum::ENTRIES,
    extreme::ENTRIES,
    gather::ENTRIES,
    grid::ENTRIES,
    matmul::ENTRIES,
    max_pool::ENTRIES,
    norm::ENTRIES,
    order::ENTRIES,
    pad::ENTRIES,
    quantise::ENTRIES,
    quantised_matmul::ENTRIES,
    rearrange::ENTRIES,
    recurrent::ENTRIES,
    reduce::ENTRIES,
    resize::ENTRIES,
    scatter::ENTRIES,
    sequence::ENTRIES,
    shape::ENTRIES,
    signal::ENTRIES,
    slice::ENTRIES,
    softmax::ENTRIES,
    suppress::ENTRIES,
    unary::ENTRIES,
];

/// The domain of onnxruntime's own operators.
pub(crate) const MICROSOFT: &str = "com.microsoft";
/// The domain of classical machine learning.
pub(crate) const CLASSICAL: &str = "ai.onnx.ml";

fn families(domain: &str) -> &'static [&'static [OperatorEntry]] {
    match domain {
        "" | "ai.onnx" => ALL,
        MICROSOFT => microsoft::ALL,
        CLASSICAL => ml::ALL,
        OWN => &[step::ENTRIES],
        _ => &[],
    }
}

/// Returns the operator of that name in a domain; `None` if there is none.
pub(crate) fn find(domain: &str, name: &str) -> Option<&'static OperatorEntry> {
    let entries = families(domain).iter().flat_map(|f| f.iter());
    entries.into_iter().find(|e| e.name == name)
}

/// Returns the names of all operators of a domain (`ai.onnx`, `ai.onnx.ml`, `com.microsoft`), in alphabetical order.
///
/// ```
/// assert!(proofmark_onnx::operators("ai.onnx").contains(&"Conv"));
/// assert!(proofmark_onnx::operators("com.microsoft").contains(&"FusedConv"));
/// ```
pub fn operators(domain: &str) -> Vec<&'static str> {
    let entries = families(domain).iter().flat_map(|f| f.iter());
    let mut names: Vec<_> = entries.map(|e| e.name).collect();
    names.sort_unstable();
    names
}
