use burn::tensor::Tensor;
use proofmark_domain::Observation;
use proofmark_model::{GradientModel, Query, guarded_device};
use proofmark_stats::random::{Purpose, attack_code};
use proofmark_threat::{Batch, Step, host};

use crate::planted::towards;
use crate::{Aim, EngineError, Event, Focus, Job, Loss, Oracle, Rows};

/// Random points around each sample.
const DRAWS: u32 = 16;

/// Share of the budget within which they lie.
const WITHIN: f32 = 0.05;

/// Mean relative change of the margin from which predictions are unstable.
const UNSTABLE: f64 = 0.1;

/// Share of the changes that the gradient does not predict from which it is not that of the margin.
const MISMATCH: f64 = 0.5;

/// Changes below this share of the largest score are rounding.
const ROUNDING: f32 = 1e-5;

/// Looks at the margin (score of the label minus the highest other) around each row of `job`, at sixteen random points
/// within a twentieth of its budget and at the steepest step of that length each way, and compares its changes with the
/// margin itself and with those that its gradient predicts.
///
/// Returns, for each row, whether [`Observation::UnstableMargin`] and [`Observation::GradientMismatch`] were seen; rows
/// not reached before `job.stop` are left out. Nineteen forwards and one backward per row.
///
/// Source of the first: Pintor et al., "Indicators of Attack Failure", NeurIPS 2022 (unstable predictions). Divergences:
/// the margin instead of the cross-entropy, which is relative to almost nothing on a confident sample; points within a
/// share of the budget, in its norm, instead of 8/255.
pub fn landscape(
    model: &dyn GradientModel,
    job: &Job<'_>,
) -> Result<Vec<(usize, Vec<Observation>)>, EngineError> {
    guarded_device(|| {
        job.check()?;
        let mut oracle = Oracle::new(model, job, Aim::Within);
        let device = oracle.device().clone();
        let mut all = Vec::with_capacity(job.rows.len());
        for chunk in job.rows.chunks(job.batch.max(job.tile.unwrap_or(1))) {
            if (job.stop)() {
                break;
            }
            let tries: Vec<(usize, u32)> = chunk.iter().map(|row| (*row, 0)).collect();
            let mut rows = Rows::new(job, &tries, attack_code("landscape"), &device)?;
            let seen = measure(&mut oracle, &mut rows)?;
            let spent = (0..chunk.len()).map(|i| rows.spent(i));
            job.observer.event(Event::queried(spent.sum()));
            all.extend(chunk.iter().zip(seen).map(|(row, s)| (*row, s.observed())));
        }
        Ok(all)
    })
}

/// Sums over the points around one sample.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Relative changes of the margin, each at most 1, and their number.
    relative: f64,
    points: f64,
    /// Sizes of the changes and of those that the gradient predicts, and of their differences.
    sizes: f64,
    differences: f64,
}

impl Seen {
    fn add(&mut self, change: f32, predicted: f32, margin: f32, rounding: f32, is_random: bool) {
        // Scores that are not finite have a code of their own.
        if !(change.is_finite() && predicted.is_finite()) {
            return;
        }
        let beyond = |v: f32| f64::from((v.abs() - rounding).max(0.0));
        if is_random {
            let relative = f64::from(change.abs()) / f64::from(margin.abs()).max(f64::MIN_POSITIVE);
            self.relative += relative.min(1.0);
            self.points += 1.0;
        }
        self.sizes += beyond(change) + beyond(predicted);
        self.differences += beyond(change - predicted);
    }

    fn observed(self) -> Vec<Observation> {
        let mut observed = Vec::new();
        if self.relative > UNSTABLE * self.points {
            observed.push(Observation::UnstableMargin);
        }
        if self.differences > MISMATCH * self.sizes {
            observed.push(Observation::GradientMismatch);
        }
        observed
    }
}

fn measure(
    oracle: &mut Oracle<'_, dyn GradientModel + '_>,
    rows: &mut Rows,
) -> Result<Vec<Seen>, EngineError> {
    let x0 = rows.region().x0();
    let gradient = oracle.gradient(rows, &x0, &Margin)?.gradient;
    let labels = rows.focus().label().to_vec();
    let (margin, size) = {
        let scores = scores(oracle, rows, &x0)?;
        let largest = scores.clone().abs().max_dim(1).squeeze_dim::<1>(1);
        (host(&Focus::margin(&scores, &labels)), host(&largest))
    };
    let mut seen = vec![Seen::default(); rows.len()];
    for k in 0..DRAWS + 2 {
        let region = rows.region();
        let is_random = k < DRAWS;
        let x = if is_random {
            let keys = rows.streams(Purpose::Plant, k);
            towards(&x0, &region.random(&keys), WITHIN)
        } else {
            let way = if k == DRAWS {
                gradient.clone()
            } else {
                gradient.map(Tensor::neg)
            };
            let size = region.column(&vec![WITHIN; rows.len()]);
            region.advance(&x0, &way, &Step::new(size))
        };
        let moved = x.zip(&x0, |x, x0| x - x0);
        let predicted = moved.zip(&gradient, |d, g| d * g).sum_of(|b| b);
        let predicted = host(&predicted);
        let scores = scores(oracle, rows, &x)?;
        let at = host(&Focus::margin(&scores, &labels));
        for (i, seen) in seen.iter_mut().enumerate() {
            let rounding = ROUNDING * size[i];
            seen.add(at[i] - margin[i], predicted[i], margin[i], rounding, is_random);
        }
    }
    Ok(seen)
}

/// Returns the scores at one point per row, which is not watched: these points are no attack.
fn scores(
    oracle: &mut Oracle<'_, dyn GradientModel + '_>,
    rows: &mut Rows,
    x: &Batch,
) -> Result<Tensor<2>, EngineError> {
    let query = Query::one_per_row(x.clone(), rows.keys());
    oracle.scores(rows, crate::Request::new(query).unwatched())
}

/// Score of the label minus the highest other one.
#[derive(Debug)]
struct Margin;

impl Loss for Margin {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, focus: &Focus) -> Tensor<1> {
        Focus::margin(scores, focus.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is observed of 16 changes of a margin of 2, of which the gradient predicts `predicted`.
    fn observed(change: f32, predicted: f32) -> Vec<Observation> {
        let mut seen = Seen::default();
        for _ in 0..16 {
            seen.add(change, predicted, 2.0, 1e-4, true);
        }
        seen.observed()
    }

    #[test]
    fn a_tenth_of_the_margin_is_the_limit() {
        assert_eq!(observed(0.199, 0.199), []);
        assert_eq!(observed(0.201, 0.201), [Observation::UnstableMargin]);
    }

    #[test]
    fn a_gradient_is_off_if_half_of_the_changes_are_not_its_own() {
        assert_eq!(observed(0.1, 0.034), [], "a third");
        assert_eq!(observed(0.1, 0.03), [Observation::GradientMismatch]);
        assert_eq!(observed(0.1, 0.0), [Observation::GradientMismatch]);
        assert_eq!(observed(0.0, 0.1), [Observation::GradientMismatch]);
        assert_eq!(observed(5e-5, 0.0), [], "rounding");
    }

    #[test]
    fn scores_that_are_not_finite_are_not_observed_here() {
        assert_eq!(observed(f32::NAN, 0.1), []);
    }
}
