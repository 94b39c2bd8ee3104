use burn::tensor::Tensor;
use proofmark_domain::Observation;
use proofmark_model::{GradientModel, Query, guarded_device};
use proofmark_stats::random::{Purpose, attack_code};
use proofmark_threat::{Batch, Step, host};

use crate::planted::towards;
use crate::{Aim, EngineError, Event, Focus, Job, Loss, Oracle, Rows};

/// Shares of the budget within which points are drawn around each sample, and how many at random. The first is about a
/// step of an attack; the second is finer than most rounding.
const SCALES: [(f32, u32); 2] = [(0.05, 16), (0.005, 8)];

/// Mean relative change of the margin from which predictions are unstable.
const UNSTABLE: f64 = 0.1;

/// Share of the changes that the gradient does not predict from which it is not that of the margin.
const MISMATCH: f64 = 0.5;

/// Changes below this share of the largest score are rounding.
const ROUNDING: f32 = 1e-5;

/// Looks at the margin (score of the label minus the highest other) around each row of `job`, at random points within a
/// twentieth and a two-hundredth of its budget and at the steepest steps of these lengths each way, and compares its
/// changes with the margin itself and with those that its gradient predicts.
///
/// Returns, for each row, whether [`Observation::UnstableMargin`] (from the wider points) and
/// [`Observation::GradientMismatch`] (from either) were seen; rows not reached before `job.stop` are left out. Thirty
/// forwards and one backward per row.
///
/// Source of the first: Pintor et al., "Indicators of Attack Failure", `NeurIPS` 2022 (unstable predictions). Divergences:
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
    /// Per scale: sizes of the changes and of those that the gradient predicts, and of their differences.
    scales: [(f64, f64); SCALES.len()],
}

/// A point near a sample.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Place of its scale in [`SCALES`].
    scale: usize,
    /// Whether it is a random point, not a step along the gradient.
    is_random: bool,
}

impl Seen {
    fn add(&mut self, change: f32, predicted: f32, margin: f32, rounding: f32, at: Place) {
        // Scores that are not finite have a code of their own.
        if !(change.is_finite() && predicted.is_finite()) {
            return;
        }
        let beyond = |v: f32| f64::from((v.abs() - rounding).max(0.0));
        if at.is_random && at.scale == 0 {
            let relative = f64::from(change.abs()) / f64::from(margin.abs()).max(f64::MIN_POSITIVE);
            self.relative += relative.min(1.0);
            self.points += 1.0;
        }
        let (sizes, differences) = &mut self.scales[at.scale];
        *sizes += beyond(change) + beyond(predicted);
        *differences += beyond(change - predicted);
    }

    fn observed(self) -> Vec<Observation> {
        let mut observed = Vec::new();
        if self.relative > UNSTABLE * self.points {
            observed.push(Observation::UnstableMargin);
        }
        let is_off = |(sizes, differences): &(f64, f64)| *differences > MISMATCH * sizes;
        if self.scales.iter().any(is_off) {
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
    let places = SCALES.iter().enumerate();
    let places = places.flat_map(|(scale, (within, draws))| {
        (0..draws + 2).map(move |k| (scale, *within, k, *draws))
    });
    for (scale, within, k, draws) in places {
        let region = rows.region();
        let is_random = k < draws;
        let x = if is_random {
            let keys = rows.streams(Purpose::Plant, 64 * scale as u32 + k);
            towards(&x0, &region.random(&keys), within)
        } else {
            let way = if k == draws {
                gradient.clone()
            } else {
                gradient.map(Tensor::neg)
            };
            let size = region.column(&vec![within; rows.len()]);
            region.advance(&x0, &way, &Step::new(size))
        };
        let moved = x.zip(&x0, |x, x0| x - x0);
        let predicted = moved.zip(&gradient, |d, g| d * g).sum_of(|b| b);
        let predicted = host(&predicted);
        let scores = scores(oracle, rows, &x)?;
        let at = host(&Focus::margin(&scores, &labels));
        for (i, seen) in seen.iter_mut().enumerate() {
            let rounding = ROUNDING * size[i];
            let place = Place { scale, is_random };
            seen.add(at[i] - margin[i], predicted[i], margin[i], rounding, place);
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
            let wide = Place {
                scale: 0,
                is_random: true,
            };
            seen.add(change, predicted, 2.0, 1e-4, wide);
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
