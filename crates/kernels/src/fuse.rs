//! Which operations a kernel computes together: batch norms folded into convolutions; additions and activations fused into
//! the kernel before them; functions of one value in a row.

use crate::builder::Builder;
use crate::epilogue::Clamp;
use crate::kernel::Stage;
use crate::operation::{Operation, Scale};

/// A step of the forward pass: an operation, and what is fused into it.
#[derive(Debug)]
pub(crate) struct Step {
    /// First operation; `Add(x, x)` stands for the value `x` unchanged.
    pub(crate) operation: Operation,
    /// A value added to it.
    pub(crate) addend: Option<usize>,
    /// An activation applied at the end.
    pub(crate) clamp: Option<Clamp>,
    /// The value that it computes.
    pub(crate) value: usize,
    /// The operations that were taken together.
    pub(crate) fused: Vec<&'static str>,
}

/// Fuses the operations that lead to `output`, in an order in which they can run.
pub(crate) fn steps(net: &Builder, output: usize) -> Vec<Step> {
    let (needed, readers) = readers(net, output);
    // The only operation that reads a value, if nobody else needs it.
    let only = |value: usize| match readers[value].as_slice() {
        [reader] if value != output => Some(*reader),
        _ => None,
    };
    let mut taken = vec![false; net.operations.len()];
    let mut chains = chains(net, &needed, &only);
    for chain in chains.iter().flatten() {
        for inner in &chain.inner {
            taken[*inner] = true;
        }
    }
    let mut steps = Vec::new();
    for at in 1..net.operations.len() {
        if !needed[at] || taken[at] {
            continue;
        }
        let mut step = Step {
            operation: net.operations[at].clone(),
            addend: None,
            clamp: None,
            value: at,
            fused: vec![net.operations[at].name()],
        };
        match step.operation {
            // An addition and an activation by themselves are epilogues of the value as it is.
            Operation::Add(a, b) => {
                step.operation = Operation::Add(a, a);
                step.addend = Some(b);
            }
            Operation::Clamp(x, clamp) => {
                step.operation = Operation::Add(x, x);
                step.clamp = Some(clamp);
            }
            _ => {}
        }
        if let Some(chain) = chains[at].take() {
            let names = chain.inner.iter().map(|v| net.operations[*v].name());
            step.fused.splice(..0, names);
            step.operation = Operation::Pointwise(chain.from, chain.stages.into());
            (step.addend, step.clamp) = (None, None);
            steps.push(step);
            continue;
        }
        let fuses = matches!(
            step.operation,
            Operation::Convolution(..)
                | Operation::Scale(..)
                | Operation::Average(..)
                | Operation::Add(..)
                | Operation::Affine(..)
                | Operation::Spread(_)
        );
        // Scale and shift before a convolution without padding are part of its weights.
        if let (Operation::Scale(x, s), Some(reader)) = (&net.operations[at], only(at))
            && let Operation::Convolution(_, c) = &net.operations[reader]
            && c.window.pads == [[0; 2]; 2]
            && !taken[reader]
        {
            let mut convolution = c.clone();
            convolution.after(net.maps[at], &s.scale, &s.shift);
            step.operation = Operation::Convolution(*x, convolution);
            step.value = reader;
            step.fused.push(net.operations[reader].name());
            taken[reader] = true;
        }
        // One number times all that softmax reads is part of it.
        if let (Operation::Scale(x, s), Some(reader)) = (&step.operation, only(at))
            && let Some((factor, 0.0)) = uniform(s)
            && let Operation::Softmax(_, is_log, own) = &net.operations[reader]
        {
            step.operation = Operation::Softmax(*x, *is_log, factor * own);
            step.value = reader;
            step.fused.push(net.operations[reader].name());
            taken[reader] = true;
            steps.push(step);
            continue;
        }
        while let (true, None, Some(reader)) =
            (fuses, step.clamp, only(step.value).filter(|r| !taken[*r]))
        {
            match (&net.operations[reader], &mut step.operation) {
                (Operation::Scale(_, s), Operation::Convolution(_, c)) if step.addend.is_none() => {
                    c.scaled(&s.scale, &s.shift);
                }
                (Operation::Add(a, b), _) if step.addend.is_none() && a != b => {
                    step.addend = Some(if *a == step.value { *b } else { *a });
                }
                (Operation::Clamp(_, clamp), _) => step.clamp = Some(*clamp),
                _ => break,
            }
            taken[reader] = true;
            step.fused.push(net.operations[reader].name());
            step.value = reader;
        }
        steps.push(step);
    }
    // A step runs where the last operation that it takes along stands: the addend is there by then.
    steps.sort_by_key(|s| s.value);
    steps
}

/// Which operations `output` needs, and for each those of them that read it.
pub(crate) fn readers(net: &Builder, output: usize) -> (Vec<bool>, Vec<Vec<usize>>) {
    let mut needed = vec![false; net.operations.len()];
    needed[output] = true;
    let mut readers = vec![Vec::new(); net.operations.len()];
    for at in (0..net.operations.len()).rev() {
        if needed[at] {
            for input in net.operations[at].inputs() {
                needed[input] = true;
                readers[input].push(at);
            }
        }
    }
    (needed, readers)
}

/// Functions of one value in a row, the last of which computes a value that is kept.
#[derive(Debug, Clone)]
struct Chain {
    /// The value that all of it is computed from.
    from: usize,
    stages: Vec<Stage>,
    /// Values in between, which nobody else reads.
    inner: Vec<usize>,
}

/// The chains of two operations or more, at the last value of each.
fn chains(
    net: &Builder,
    needed: &[bool],
    only: &dyn Fn(usize) -> Option<usize>,
) -> Vec<Option<Chain>> {
    let mut all: Vec<Option<Chain>> = vec![None; net.operations.len()];
    for at in (0..net.operations.len()).filter(|v| needed[*v]) {
        // What is computed for this operation alone is part of the chain.
        let on = |x: usize, stages: &[Stage]| {
            let mut chain = match &all[x] {
                Some(chain) if only(x) == Some(at) => {
                    let mut chain = chain.clone();
                    chain.inner.push(x);
                    chain
                }
                _ => Chain {
                    from: x,
                    stages: Vec::new(),
                    inner: Vec::new(),
                },
            };
            chain.stages.extend(stages);
            chain
        };
        let chain = match &net.operations[at] {
            Operation::Pointwise(x, stages) => Some(on(*x, stages)),
            Operation::Clamp(x, clamp) => Some(on(*x, &[Stage::Clamp(*clamp)])),
            Operation::Scale(x, s) => {
                uniform(s).map(|(scale, shift)| on(*x, &[Stage::Scale { scale, shift }]))
            }
            Operation::Multiply(a, b) => {
                let ways = [(*a, *b), (*b, *a)].into_iter();
                let mut ways = ways.map(|(x, other)| (x, on(other, &[Stage::TimesInput])));
                ways.find(|(x, chain)| chain.from == *x).map(|w| w.1)
            }
            _ => None,
        };
        all[at] = chain;
    }
    // Scales and activations alone are better off in the kernels before and after them.
    let is_worth = |chain: &Chain| {
        let mut stages = chain.stages.iter();
        !chain.inner.is_empty() && stages.any(|s| matches!(s, Stage::Apply(_) | Stage::TimesInput))
    };
    let inner: Vec<usize> = all.iter().flatten().flat_map(|c| c.inner.clone()).collect();
    for at in inner {
        all[at] = None;
    }
    for chain in &mut all {
        if chain.as_ref().is_some_and(|c| !is_worth(c)) {
            *chain = None;
        }
    }
    all
}

/// Factor and summand, if all channels have the same.
fn uniform(s: &Scale) -> Option<(f32, f32)> {
    let same = |all: &[f32]| all.iter().all(|v| *v == all[0]).then_some(all[0]);
    Some((same(&s.scale)?, same(&s.shift)?))
}
