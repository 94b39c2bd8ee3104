use burn::tensor::Tensor;
use proofmark_domain::Observation;
use proofmark_model::{GradientModel, guarded_device};
use proofmark_threat::{Batch, host};

use crate::{Aim, EngineError, Focus, Job, Loss, Oracle, Rows, predict};

/// Scores as the plain path and the gradient path give them may differ by this much, relative to their
/// norm (the size `AutoAttack`'s randomness check uses).
const SAME: f32 = 1e-4;

/// Softmax probabilities of the rivals vanish in `f32` when the top logit leads by `ln(f32::MIN_POSITIVE)`.
const SATURATED: f32 = 87.3;

/// One sample before any attack.
#[derive(Debug, Clone, PartialEq)]
pub struct Clean {
    /// Its place in the samples.
    pub row: usize,
    /// Its scores.
    pub scores: Vec<f32>,
    /// The class that wins; `None` if none does ([`predict`]).
    pub pred: Option<usize>,
    /// What was seen that trust rules count, sorted.
    pub observed: Vec<Observation>,
}

/// Asks the model about every clean sample of the job: twice plainly and once on the gradient path.
///
/// Three sample-forwards and one backward per sample buy the clean predictions and five trust checks. Rows not reached
/// before `job.stop` are left out.
pub fn preflight<M: GradientModel + ?Sized>(
    model: &M,
    job: &Job<'_>,
) -> Result<Vec<Clean>, EngineError> {
    guarded_device(|| measure(model, job))
}

fn measure<M: GradientModel + ?Sized>(model: &M, job: &Job<'_>) -> Result<Vec<Clean>, EngineError> {
    job.check()?;
    let mut oracle = Oracle::new(model, job, Aim::Within);
    let device = oracle.device().clone();
    let mut all = Vec::with_capacity(job.rows.len());
    let at_once = job.batch.max(job.tile.unwrap_or(1));
    for chunk in job.rows.chunks(at_once) {
        if (job.stop)() {
            break;
        }
        let three = ask(&mut oracle, job, chunk, &device)?;
        let classes = model.signature().classes;
        let [first, second, tracked] = three.map(|t| host(&t));
        for (i, row) in chunk.iter().enumerate() {
            let at = i * classes..(i + 1) * classes;
            all.push(observe(
                *row,
                &first[at.clone()],
                &second[at.clone()],
                &tracked[at],
            ));
        }
    }
    Ok(all)
}

fn ask<M: GradientModel + ?Sized>(
    oracle: &mut Oracle<'_, M>,
    job: &Job<'_>,
    chunk: &[usize],
    device: &burn::tensor::Device,
) -> Result<[Tensor<2>; 3], EngineError> {
    let mut rows = Rows::new(job, chunk, 0, 0, device)?;
    let x = rows.region().x0();
    let query = proofmark_model::Query::one_per_row(x.clone(), rows.keys());
    let first = oracle.scores(&mut rows, &query)?;
    let second = oracle.scores(&mut rows, &query)?;
    let tracked = oracle.gradient(&mut rows, &x, &SumOfScores)?.scores;
    Ok([first, second, tracked])
}

fn observe(row: usize, first: &[f32], second: &[f32], tracked: &[f32]) -> Clean {
    let mut observed = Vec::new();
    let pred = predict(first);
    let sum: f32 = first.iter().sum();
    let probability = |s: &f32| (-1e-5..=1.0 + 1e-5).contains(s);
    if pred.is_none() {
        observed.push(Observation::NonFiniteScores);
    } else {
        if differ(first, second) {
            observed.push(Observation::OutputChanged);
        }
        if first.iter().all(probability) && (sum - 1.0).abs() <= 1e-5 {
            observed.push(Observation::ProbabilityRow);
        }
        let mut sorted = first.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        if sorted[0] - sorted[1] > SATURATED {
            observed.push(Observation::SaturatedLogits);
        }
        if differ(first, tracked) {
            observed.push(Observation::TrackedMismatch);
        }
    }
    observed.sort_unstable();
    Clean {
        row,
        scores: first.to_vec(),
        pred,
        observed,
    }
}

fn differ(a: &[f32], b: &[f32]) -> bool {
    let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|x| x * x).sum::<f32>().sqrt();
    // Equal infinities are equal, and their difference is NaN.
    let apart = norm(&mut a.iter().zip(b).filter(|(x, y)| x != y).map(|(x, y)| x - y));
    let finite = &mut a.iter().copied().filter(|x| x.is_finite());
    let allowed = SAME * norm(finite).max(f32::MIN_POSITIVE);
    // A NaN is a difference.
    apart.is_nan() || apart > allowed
}

/// Any objective would do: only the scores of the gradient path are looked at.
#[derive(Debug)]
struct SumOfScores;

impl Loss for SumOfScores {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, _: &Focus) -> Tensor<1> {
        scores.clone().sum_dim(1).squeeze_dim::<1>(1)
    }
}
