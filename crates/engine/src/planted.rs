use std::collections::BTreeMap;

use proofmark_domain::{Norm, QueryCount};
use proofmark_model::wrap::{Binarised, Head};
use proofmark_model::{GradientModel, Query, guarded_device};
use proofmark_stats::random::{Purpose, Stream, attack_code};
use proofmark_threat::{Batch, Draw, Region, host};

use crate::{Aim, EngineError, Event, Job, Oracle, Rows};

/// Points per sample that a head must tell from the planted one: the clean sample and random ones around it.
const INNER: u32 = 63;

/// Share of the budget within which those points lie.
const WITHIN: f32 = 0.95;

/// Ridge of the fit, as a share of the activations' mean variance.
const RIDGE: f64 = 1e-3;

/// Smallest distance of the planted point's score from the highest other one, as a share of its distance from their
/// mean.
const GAP: f64 = 1e-3;

/// Score of the planted point above the mean of the others: cross-entropy neither vanishes nor saturates.
const SCALE: f64 = 8.0;

/// Adversarials planted by [`plant`].
#[derive(Debug, Clone, Default)]
pub struct Planted {
    /// The head behind which each sample's adversarial lies, by the key of the sample's random streams.
    pub heads: BTreeMap<u64, Head>,
    /// The rows of the job that have one, in their order.
    pub rows: Vec<usize>,
    /// Queries for each of the job's rows; those of activations count as forwards.
    pub queries: QueryCount,
    /// Sample-forwards that the model computed, padding included.
    pub computed: u64,
}

/// Plants an adversarial within the budget of each row of `job`: a linear head over the model's activations before its
/// last layer ([`GradientModel::penultimate`]) that puts the row and 62 random points within 95 % of its budget in class
/// 0, and a point at the end of the budget in class 1.
///
/// A row is left out if no such head is found: the activations do not tell the point from the others. Each row costs 64
/// forwards. `None` if the run is stopped. Budgets in L0 have no inner ball of nearly the same size, so no row of them
/// gets a head.
///
/// Source: Zimmermann, Brendel, Tramèr and Carlini, "Increasing Confidence in Adversarial Robustness Evaluations",
/// `NeurIPS` 2022. Divergences: 63 inner points instead of 999, so that a check of many samples stays cheap; the head is a
/// ridge discriminant in closed form instead of a trained logistic regression, and its threshold lies half-way between
/// the planted point and the nearest other.
pub fn plant(model: &dyn GradientModel, job: &Job<'_>) -> Result<Option<Planted>, EngineError> {
    guarded_device(|| {
        job.check()?;
        let mut planted = Planted::default();
        // The activations of a model whose rows do not depend on each other may be computed another way than its scores;
        // without heads the wrapper only says so.
        let model = Binarised::new(model, BTreeMap::new());
        let mut oracle = Oracle::<dyn GradientModel>::new(&model, job, Aim::Within);
        for chunk in job.rows.chunks(job.batch) {
            if (job.stop)() {
                return Ok(None);
            }
            let tries: Vec<(usize, u32)> = chunk.iter().map(|row| (*row, 0)).collect();
            let device = oracle.device().clone();
            let mut rows = Rows::new(job, &tries, attack_code("planted"), &device)?;
            if rows.region().norms().any(|n| n == Norm::L0) {
                return Ok(Some(planted));
            }
            let read = activations(&mut oracle, &mut rows)?;
            let spent = (0..rows.len()).map(|i| rows.spent(i));
            job.observer.event(Event::queried(spent.sum()));
            planted.queries = rows.spent(0);
            for (i, points) in read.into_iter().enumerate() {
                if let Some(head) = head(&points) {
                    planted.heads.insert(rows.keys()[i], head);
                    planted.rows.push(chunk[i]);
                }
            }
        }
        planted.computed = oracle.computed();
        Ok(Some(planted))
    })
}

/// Returns the activations at the points around each row, the planted one last.
fn activations(
    oracle: &mut Oracle<'_, dyn GradientModel + '_>,
    rows: &mut Rows,
) -> Result<Vec<Vec<Vec<f32>>>, EngineError> {
    let mut all = vec![Vec::new(); rows.len()];
    for draw in 0..=INNER {
        let keys = rows.streams(Purpose::Plant, draw);
        let region = rows.region();
        let x = match draw {
            0 => region.x0(),
            INNER => at_the_end(region, &keys),
            _ => towards(&region.x0(), &region.random(&keys), WITHIN),
        };
        let query = Query::one_per_row(x, rows.keys());
        let read = oracle.penultimate(rows, &query)?;
        let width = read.dims()[1];
        for (points, values) in all.iter_mut().zip(host(&read).chunks(width)) {
            points.push(values.to_vec());
        }
    }
    Ok(all)
}

/// Returns the points `share` of the way from `x0` to `x`.
pub(crate) fn towards(x0: &Batch, x: &Batch, share: f32) -> Batch {
    x0.zip(x, |x0, x| x0.clone() + (x - x0) * share)
}

/// Returns a random point at the end of each row's budget: every feature moves to the side where it has room.
fn at_the_end(region: &Region, keys: &[proofmark_stats::random::StreamKey]) -> Batch {
    region.perturb(keys, far)
}

/// Moves a row by twice its budget; the projection brings it back to the end.
fn far(draw: &mut Draw<'_>, stream: &mut Stream) {
    let steps: Vec<f64> = (0..draw.x.len())
        .map(|f| {
            let size = match draw.norm {
                Norm::Linf => 1.0,
                _ => f64::from(stream.normal()).abs(),
            };
            let (down, up) = (draw.x0[f] - draw.lower[f], draw.upper[f] - draw.x0[f]);
            let is_up = stream.next_u32() & 1 == 0;
            let roomy = f64::from(if is_up { up } else { down }) >= draw.eps;
            let is_up = if roomy { is_up } else { up >= down };
            if is_up { size } else { -size }
        })
        .collect();
    let length = draw.norm.of(steps.iter().copied());
    let by = if length > 0.0 {
        2.0 * draw.eps / length
    } else {
        0.0
    };
    for (x, step) in draw.x.iter_mut().zip(steps) {
        *x += (by * step) as f32;
    }
}

/// Returns a head that separates the last of `points` from all others, if the ridge discriminant does.
///
/// With centred activations `X` (one row per other point) and `δ` those of the last one, the weights are
/// `(XᵀX + λI)⁻¹ δ`, up to a factor, computed with the inverse of a matrix as large as there are points.
fn head(points: &[Vec<f32>]) -> Option<Head> {
    let (planted, others) = points.split_last()?;
    let (n, width) = (others.len(), planted.len());
    if points.iter().flatten().any(|v| !v.is_finite()) {
        return None;
    }
    let mean: Vec<f64> = (0..width)
        .map(|j| others.iter().map(|p| f64::from(p[j])).sum::<f64>() / n as f64)
        .collect();
    let centred = |p: &[f32]| -> Vec<f64> {
        p.iter()
            .zip(&mean)
            .map(|(v, m)| f64::from(*v) - m)
            .collect()
    };
    let x: Vec<Vec<f64>> = others.iter().map(|p| centred(p)).collect();
    let delta = centred(planted);
    let mut gram: Vec<Vec<f64>> = x
        .iter()
        .map(|a| x.iter().map(|b| dot(a, b)).collect())
        .collect();
    let variance = (0..n).map(|i| gram[i][i]).sum::<f64>() / n as f64;
    let ridge = (RIDGE * variance).max(f64::MIN_POSITIVE);
    for (i, row) in gram.iter_mut().enumerate() {
        row[i] += ridge;
    }
    let along: Vec<f64> = x.iter().map(|a| dot(a, &delta)).collect();
    let solved = solve(gram, along)?;
    let weights: Vec<f64> = (0..width)
        .map(|j| delta[j] - x.iter().zip(&solved).map(|(a, s)| a[j] * s).sum::<f64>())
        .collect();
    let highest = x.iter().map(|a| dot(a, &weights)).fold(0.0, f64::max);
    let last = dot(&delta, &weights);
    if !(last.is_finite() && last > 0.0 && last - highest >= GAP * last) {
        return None;
    }
    let scale = SCALE / last;
    let threshold = f64::midpoint(highest, last);
    let head = Head {
        weights: weights.iter().map(|w| (w * scale) as f32).collect(),
        bias: (-scale * (dot(&weights, &mean) + threshold)) as f32,
    };
    // Rounded to `f32`, the head must still separate them.
    let score = |p: &Vec<f32>| {
        let sum: f32 = p.iter().zip(&head.weights).map(|(v, w)| v * w).sum();
        sum + head.bias
    };
    (score(planted) > 0.0 && others.iter().all(|p| score(p) < 0.0)).then_some(head)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Solves `a x = b` for a symmetric positive definite `a`, by Cholesky's method; `None` if it is not.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let n = b.len();
    for i in 0..n {
        for j in 0..=i {
            let inner: f64 = (0..j).map(|k| a[i][k] * a[j][k]).sum();
            let rest = a[i][j] - inner;
            a[i][j] = if i == j {
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / a[j][j]
            };
        }
    }
    for i in 0..n {
        let inner: f64 = (0..i).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - inner) / a[i][i];
    }
    for i in (0..n).rev() {
        let inner: f64 = (i + 1..n).map(|k| a[k][i] * b[k]).sum();
        b[i] = (b[i] - inner) / a[i][i];
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in [-1, 1] that look random.
    fn number(i: usize) -> f32 {
        ((i * 7 + 3) as f64 * 0.618_033_988_749_894_9).fract() as f32 * 2.0 - 1.0
    }

    #[test]
    fn equations_are_solved() {
        let a = vec![vec![4.0, 2.0], vec![2.0, 3.0]];
        let x = solve(a.clone(), vec![8.0, 8.0]).unwrap();
        for (row, b) in a.iter().zip([8.0, 8.0]) {
            assert!((dot(row, &x) - b).abs() < 1e-12);
        }
        assert_eq!(
            solve(vec![vec![1.0, 2.0], vec![2.0, 1.0]], vec![1.0, 1.0]),
            None
        );
    }

    #[test]
    fn a_point_beside_the_others_gets_a_head_and_one_among_them_none() {
        let width = 5;
        let mut points: Vec<Vec<f32>> = (0..40)
            .map(|i| (0..width).map(|j| number(i * width + j)).collect())
            .collect();
        points.push(vec![0.0, 0.0, 3.0, 0.0, 0.0]);
        let found = head(&points).expect("it lies outside");
        let score = |p: &[f32]| -> f32 {
            p.iter()
                .zip(&found.weights)
                .map(|(v, w)| v * w)
                .sum::<f32>()
                + found.bias
        };
        assert!(score(&points[40]) > 0.0);
        assert!(points[..40].iter().all(|p| score(p) < 0.0));
        points[40] = vec![0.0; width];
        assert_eq!(head(&points), None, "the middle of them is no corner");
    }

    #[test]
    fn activations_that_do_not_change_or_are_not_finite_give_no_head() {
        assert_eq!(head(&vec![vec![1.0, 2.0]; 10]), None);
        let mut points = vec![vec![0.0, 1.0]; 10];
        points[3][1] = f32::NAN;
        points[9] = vec![9.0, 9.0];
        assert_eq!(head(&points), None);
    }
}
