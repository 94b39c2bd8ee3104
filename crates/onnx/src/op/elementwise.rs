//! Functions of one element, and arithmetic of two.

use super::Entry;
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::tensor::Tensor;

fn relu(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| one(x.tensor(0)?.relu()))
}

fn binary(f: fn(Tensor, Tensor) -> OpResult<Tensor>) -> OpResult<Run> {
    run(move |x| {
        let a = x.tensor(0)?;
        one(f(a, x.tensor(1)?)?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new("Relu", relu),
    Entry::new("Add", |_| binary(Tensor::add)),
];
