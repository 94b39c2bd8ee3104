//! Rounds points of integer inputs to values that the model accepts.

use proofmark_model::{Numbers, Signature};

use crate::Job;
use crate::judge::Candidate;

/// Returns whether an input that an attack may change takes integers.
pub(crate) fn any(signature: &Signature) -> bool {
    let whole = |n: &Numbers| matches!(n, Numbers::Whole { .. });
    signature.numbers.iter().any(whole)
}

/// Rounds a candidate to integers, so that the judge measures a valid input of the model. If the rounded point leaves
/// the budget, it truncates each change towards zero instead, which never leaves the budget.
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
