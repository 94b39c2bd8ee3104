//! Votes of a model under Gaussian noise: what randomized smoothing counts.
//!
//! The noise of a draw follows from (seed, sample, stage, draw) and the feature alone, so votes repeat for any batch size,
//! shard and thread count. Only decisions are asked for: any model has them.

mod noisy;

use proofmark_domain::{QueryCount, Seed};
use proofmark_model::{Access, Query};
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};
use proofmark_threat::Batch;

pub use noisy::Noisy;

use crate::{Aim, EngineError, Event, Job, Oracle, judge};

/// Which draws are counted: those of one stage are independent of those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// Finding the class that is decided for most often.
    Selection = 0,
    /// Counting how often it is.
    Estimation = 1,
    /// Counting at a point that an attack found.
    Attacked = 2,
    /// Draws of an attack on the smoothed model.
    Attack = 3,
}

/// Decisions under noise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Votes {
    /// Draws that decided for each class.
    pub counts: Vec<u64>,
    /// Draws that gave no decision; they count for no class.
    pub undecided: u64,
    /// Sample-forwards computed, padding included.
    pub computed: u64,
}

impl Votes {
    /// Returns the class with the most votes, on ties the lowest; `None` if no draw decided.
    pub fn top(&self) -> Option<usize> {
        let most = self.counts.iter().copied().max().filter(|m| *m > 0)?;
        self.counts.iter().position(|c| *c == most)
    }
}

/// Counts the decisions of `model` on `draws` copies of `point` (one slice per input, data units), each with Gaussian
/// noise of standard deviation `sigma` added to every feature. `sample` is the place in the job's samples, whose key the
/// noise follows from. `None` if the job was stopped before the last draw.
///
/// Noisy values are not clipped to the bounds: the smoothed classifier is defined so.
pub fn votes(
    model: Access<'_>,
    job: &Job<'_>,
    sample: usize,
    point: &[&[f32]],
    sigma: f32,
    stage: Stage,
    draws: u32,
) -> Result<Option<Votes>, EngineError> {
    proofmark_model::guarded_device(|| count(model, job, sample, point, sigma, stage, draws))
}

fn count(
    model: Access<'_>,
    job: &Job<'_>,
    sample: usize,
    point: &[&[f32]],
    sigma: f32,
    stage: Stage,
    draws: u32,
) -> Result<Option<Votes>, EngineError> {
    job.check()?;
    let mut oracle = Oracle::new(model.decisions(), job, Aim::Within);
    let classes = oracle.signature().classes;
    let device = oracle.device().clone();
    let key = job.samples.keys[sample];
    let mut votes = Votes {
        counts: vec![0; classes],
        undecided: 0,
        computed: 0,
    };
    let at_once = job.batch.max(job.tile.unwrap_or(1)) as u32;
    let mut first = 0;
    while first < draws {
        if (job.stop)() {
            return Ok(None);
        }
        let drawn: Vec<u32> = (first..draws.min(first.saturating_add(at_once))).collect();
        let values = noisy(job, key, point, sigma, stage, &drawn);
        let x = Batch::from_host(job.samples.modalities.clone(), values, &device)?;
        let query = Query {
            x,
            owner: vec![0; drawn.len()],
            key: vec![key; drawn.len()],
            draw: drawn.clone(),
        };
        let output = oracle.remeasure(&query)?;
        for decision in judge::classes(&output, classes) {
            match decision {
                Some(class) => votes.counts[class] += 1,
                None => votes.undecided += 1,
            }
        }
        let spent = QueryCount {
            forward: drawn.len() as u64 * oracle.cost(),
            backward: 0,
            ..QueryCount::default()
        };
        job.observer.event(Event::queried(spent));
        first += drawn.len() as u32;
    }
    votes.computed = oracle.computed();
    Ok(Some(votes))
}

/// The copies of a point, per input.
fn noisy(
    job: &Job<'_>,
    sample: u64,
    point: &[&[f32]],
    sigma: f32,
    stage: Stage,
    draws: &[u32],
) -> Vec<Vec<f32>> {
    let mut values: Vec<Vec<f32>> = point
        .iter()
        .map(|x| Vec::with_capacity(x.len() * draws.len()))
        .collect();
    for draw in draws {
        let mut stream = stream(job.seed, sample, stage, *draw);
        for (all, x) in values.iter_mut().zip(point) {
            all.extend(x.iter().map(|v| v + sigma * stream.normal()));
        }
    }
    values
}

/// The noise of one draw of a sample.
fn stream(seed: Seed, sample: u64, stage: Stage, draw: u32) -> Stream {
    let mut key = StreamKey::new(seed, sample, Purpose::Smoothing);
    key.attack = attack_code("smoothing");
    (key.step, key.draw) = (stage as u32, draw);
    Stream::new(&key)
}
