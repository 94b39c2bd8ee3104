//! Which operations a kernel computes together: batch norms folded into convolutions; additions and activations fused into
//! the kernel before them.

use crate::builder::Builder;
use crate::epilogue::Clamp;
use crate::operation::Operation;

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
    // The only operation that reads a value, if nobody else needs it.
    let only = |value: usize| match readers[value].as_slice() {
        [reader] if value != output => Some(*reader),
        _ => None,
    };
    let mut taken = vec![false; net.operations.len()];
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
