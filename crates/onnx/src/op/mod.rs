//! The operators, one file per family. Each file ends with its `ENTRIES`; adding an operator is adding one there.

use crate::node::{NodeSpec, OpResult, Run};

mod activation;
mod arithmetic;
mod axis;
mod bits;
mod compare;
mod constant;
mod convert;
mod extreme;
mod numbers;
mod order;
mod quantise;
mod quantised_matmul;
mod reduce;
mod softmax;
mod unary;

/// What the derivative of an operator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gradient {
    /// The true one, almost everywhere.
    Exact,
    /// Zero almost everywhere (Sign, Floor, comparisons): attacks that follow gradients see nothing through it.
    Zero,
    /// That of the identity, in place of the true one, which is zero (quantisation).
    StraightThrough,
    /// None: the result is computed on the host, or does not depend on the values (Shape).
    None,
}

/// One operator.
pub(crate) struct Entry {
    /// ONNX's name.
    pub(crate) name: &'static str,
    /// The derivative.
    pub(crate) gradient: Gradient,
    /// Whether values on the device are copied to the host to compute it.
    pub(crate) reads_back: bool,
    /// Whether the same inputs always give the same outputs (random operators do not).
    pub(crate) pure: bool,
    /// Reads the node's attributes.
    pub(crate) build: fn(&NodeSpec<'_>) -> OpResult<Run>,
}

impl Entry {
    /// An operator with a true derivative.
    pub(crate) const fn new(name: &'static str, build: fn(&NodeSpec<'_>) -> OpResult<Run>) -> Self {
        Self {
            name,
            gradient: Gradient::Exact,
            reads_back: false,
            pure: true,
            build,
        }
    }

    /// The same with another derivative.
    pub(crate) const fn gradient(mut self, gradient: Gradient) -> Self {
        self.gradient = gradient;
        self
    }

    /// The same, computed on the host.
    pub(crate) const fn on_host(mut self) -> Self {
        self.reads_back = true;
        self.gradient = Gradient::None;
        self
    }

    /// The same, not to be computed ahead of time.
    pub(crate) const fn impure(mut self) -> Self {
        self.pure = false;
        self
    }
}

/// Every operator of ONNX's own domain.
pub(crate) const ALL: &[&[Entry]] = &[
    activation::ENTRIES,
    arithmetic::ENTRIES,
    axis::ENTRIES,
    bits::ENTRIES,
    compare::ENTRIES,
    constant::ENTRIES,
    convert::ENTRIES,
    extreme::ENTRIES,
    order::ENTRIES,
    quantise::ENTRIES,
    quantised_matmul::ENTRIES,
    reduce::ENTRIES,
    softmax::ENTRIES,
    unary::ENTRIES,
];

/// The operator of that name. Domains other than ONNX's own have none.
pub(crate) fn find(domain: &str, name: &str) -> Option<&'static Entry> {
    if !matches!(domain, "" | "ai.onnx") {
        return None;
    }
    ALL.iter().flat_map(|f| f.iter()).find(|e| e.name == name)
}
