//! Points of inputs that take whole numbers, as the model reads them.

use proofmark_model::{Numbers, Signature};

use crate::Job;
use crate::judge::Candidate;

/// Whether an attack may change an input of whole numbers.
pub(crate) fn any(signature: &Signature) -> bool {
    let whole = |n: &Numbers| matches!(n, Numbers::Whole { .. });
    signature.numbers.iter().any(whole)
}

/// A candidate rounded to whole numbers, so that what is measured is an input that the model can be given. Where that
/// leaves the budget, each change is cut off instead, which never does.
pub(crate) fn rounded(signature: &Signature, job: &Job<'_>, candidate: &Candidate) -> Candidate {
    let x0 = job.samples.sample(candidate.row);
    let with = |round: fn(f32, f32) -> f32| -> Vec<Vec<f32>> {
        let inputs = candidate.x.iter().zip(&x0).zip(&signature.numbers);
        inputs
            .map(|((x, x0), numbers)| match numbers {
                Numbers::Whole { .. } => x.iter().zip(*x0).map(|(x, x0)| round(*x, *x0)).collect(),
                Numbers::Real | Numbers::Fixed { .. } => x.clone(),
            })
            .collect()
    };
    let gauge = |x: &[Vec<f32>]| {
        job.threat
            .gauge(&job.samples.modalities, candidate.row, x, &x0)
    };
    let nearest = with(|x, _| x.round_ties_even());
    let x = match gauge(&nearest) {
        Some(g) if g <= 1.0 => nearest,
        _ => with(|x, x0| x0 + (x - x0).trunc()),
    };
    Candidate {
        row: candidate.row,
        x,
    }
}
