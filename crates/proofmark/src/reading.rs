//! Other readings of the data, tried if a model does no better than guessing or its pixels are in an unusual range.

use proofmark_data::Dataset;
use proofmark_domain::{Kind, Modality, Reading};
use proofmark_engine::{Clean, Samples};
use proofmark_model::Numbers;
use proofmark_stats::clopper_pearson;

use crate::{RunError, RunPlan, samples, trust};

/// Minimum number of samples for trying other readings.
const FEW: usize = 10;

/// A change of one value, given with its lower and upper bound.
type Change = fn(f32, f32, f32) -> f32;

/// Name of the change that corrects pixels 255 times too small.
const LARGER: &str = "times 255 (scale)";

/// Name of the change that corrects pixels 255 times too large.
const SMALLER: &str = "divided by 255 (scale)";

/// Widest range of pixels that counts as usual. Models take pixels with a range of 1 (or a few times that, normalised)
/// or of 255; beyond this constant, or below its inverse, the range is unusual.
const USUAL: f64 = 16.0;

/// Common mistakes with pixels, each as the change that corrects it.
const CHANGES: [(&str, Change); 4] = [
    (LARGER, |x, _, _| x * 255.0),
    (SMALLER, |x, _, _| x / 255.0),
    ("moved to [-1, 1] (mean and std)", |x, low, high| {
        2.0 * (x - low) / (high - low) - 1.0
    }),
    ("inverted, dark for light", |x, low, high| low + high - x),
];

/// Correct samples out of those tried.
struct Right {
    correct: usize,
    n: usize,
}

impl Right {
    fn of(clean: &[Clean], labels: &[usize]) -> Self {
        let right = |c: &&Clean| c.pred == Some(labels[c.row]);
        Self {
            correct: clean.iter().filter(right).count(),
            n: clean.len(),
        }
    }

    fn low(&self) -> f64 {
        clopper_pearson(self.correct as u64, self.n as u64, 0.95).low
    }

    fn high(&self) -> f64 {
        clopper_pearson(self.correct as u64, self.n as u64, 0.95).high
    }
}

/// Returns the reading on which the model is significantly better, and correct on most of the first samples of the
/// whole run (the same for every shard). `None` if there are no images, or if the model does better than guessing as it
/// is.
///
/// A model may do better than guessing on pixels that are 255 times too large. If they reach it in that range (or in
/// the inverse one), the usual one is tried in any case, and returned if the model is correct on at least as many
/// samples.
///
/// `clean` are the predictions on `part`, the samples of this shard.
pub(crate) fn best(
    plan: &RunPlan<'_>,
    part: &Dataset,
    clean: &[Clean],
    labels: &[usize],
    tile: Option<usize>,
) -> Result<Option<Reading>, RunError> {
    let signature = plan.model.signature();
    let inputs = &signature.modalities;
    let first = trust::Ranks::of(plan.data).probed;
    if !inputs.iter().any(|m| m.kind == Kind::Image) {
        return Ok(None);
    }
    let rows: Vec<usize> = (0..plan.data.len())
        .filter(|row| plan.data.rank[*row] < first)
        .collect();
    if rows.len() < FEW {
        return Ok(None);
    }
    let tried = plan.data.select(&rows);
    let mut as_given = samples::samples(&tried, signature)?;
    let now = if plan.shard.is_none() {
        let considered = clean.iter().filter(|c| part.rank[c.row] < first);
        Right::of(&considered.cloned().collect::<Vec<_>>(), labels)
    } else {
        Right::of(&plan.clean(&mut as_given, tile)?, &as_given.labels)
    };
    let guesses = now.low() <= 1.0 / signature.classes.max(1) as f64;
    let scale = unusual(plan, inputs);
    // A run that is being stopped has measured too few of them.
    if now.n < FEW || (!guesses && scale.is_none()) {
        return Ok(None);
    }
    let mut best: Option<Reading> = None;
    let tried = |name: &str| guesses || scale == Some(name);
    for (name, change) in CHANGES.into_iter().filter(|c| tried(c.0)) {
        let mut changed = Samples {
            values: apply(change, inputs, &as_given.values),
            ..as_given.clone()
        };
        // A model may refuse values that it is never given; then this change is not the explanation.
        let Ok(clean) = plan.clean(&mut changed, tile) else {
            continue;
        };
        let right = Right::of(&clean, &changed.labels);
        let enough = if guesses {
            right.low() >= 0.5 && right.low() > now.high()
        } else {
            right.correct >= now.correct
        };
        let better =
            right.n == now.n && enough && best.as_ref().is_none_or(|b| right.correct > b.correct);
        if better {
            best = Some(Reading {
                change: name.to_owned(),
                correct: right.correct,
                n: right.n,
            });
        }
    }
    Ok(best)
}

/// Returns the change that brings pixels into the usual range, if preprocessing takes them out of it.
fn unusual(plan: &RunPlan<'_>, inputs: &[Modality]) -> Option<&'static str> {
    let number = |v: &serde_json::Value| v.as_f64();
    let scale = plan.preprocessing.get("scale").and_then(number);
    let std = plan.preprocessing.get("std").and_then(|v| v.as_array());
    let std = std.into_iter().flatten().filter_map(number);
    let factor = scale.unwrap_or(1.0).abs() / std.reduce(f64::min).unwrap_or(1.0);
    // A whole-number type states by itself which pixels the model takes.
    let numbers = &plan.model.signature().numbers;
    let images = inputs.iter().zip(numbers);
    let images = images.filter(|(m, n)| m.kind == Kind::Image && **n == Numbers::Real);
    let ranges = images.map(|(m, _)| {
        let range = |f| f64::from(m.bounds.high(f)) - f64::from(m.bounds.low(f));
        (0..m.features()).map(range).fold(0.0, f64::max)
    });
    let widest = ranges.fold(0.0, f64::max) * factor;
    match widest {
        w if w > USUAL => Some(SMALLER),
        w if w > 0.0 && w < 1.0 / USUAL => Some(LARGER),
        _ => None,
    }
}

/// Changes the images only.
fn apply(change: Change, inputs: &[Modality], values: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let input = |(m, values): (&Modality, &Vec<f32>)| {
        if m.kind != Kind::Image {
            return values.clone();
        }
        let features = m.features();
        let changed = values.iter().enumerate().map(|(i, x)| {
            let f = i % features;
            change(*x, m.bounds.low(f), m.bounds.high(f))
        });
        changed.collect()
    };
    inputs.iter().zip(values).map(input).collect()
}
