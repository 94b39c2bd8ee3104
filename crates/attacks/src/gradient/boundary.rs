//! Linearised decision boundaries of a row's likeliest other classes, for attacks that move to them: FAB and `DeepFool`.

use burn::tensor::Tensor;
use proofmark_engine::{EngineError, Focus, Loss, Oracle, Request, Rows};
use proofmark_model::{GradientModel, Query};
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Column, Columns, Draw, Plane, Region, host, index};

use super::{likeliest, start};
use crate::loss::Margin;

/// Maximum number of values of one row in one query: samples with many features are queried class by class.
const VALUES: usize = 1 << 20;

/// Where two scores are tied, the boundary is taken to lie this share of the budget away: a point on it does not
/// succeed, and rounded scores stay tied for a while.
const TIED: f64 = 0.05;

/// `z_target − z_label`: zero at the boundary between the two classes.
#[derive(Debug)]
struct Difference;

impl Loss for Difference {
    fn per_sample(&self, scores: &Tensor<2>, x: &Batch, focus: &Focus) -> Tensor<1> {
        match focus.target() {
            Some(target) => Focus::score(scores, target) - Focus::score(scores, focus.label()),
            None => Margin.per_sample(scores, x, focus),
        }
    }
}

/// Classes whose boundaries are linearised, per row: the first, the second, … of every row.
#[derive(Debug, Clone)]
pub(super) struct Candidates(Vec<Vec<u64>>);

impl Columns for Candidates {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let ranks = self.0.iter_mut().enumerate();
        ranks
            .map(|(rank, classes)| (rank.to_string(), Column::Count(classes)))
            .collect()
    }
}

impl Candidates {
    /// Returns the `ranks` classes of each row with the highest scores other than its label.
    ///
    /// A class whose score is not finite (an impossible one) has no boundary; the least likely other one takes its
    /// place.
    pub(super) fn likeliest(scores: &Tensor<2>, labels: &[usize], ranks: usize) -> Self {
        let classes = scores.dims()[1];
        let scores = host(scores);
        let mut all = vec![Vec::with_capacity(labels.len()); ranks];
        for (scores, label) in scores.chunks(classes).zip(labels) {
            let others = likeliest(scores, *label);
            let possible = others.iter().filter(|c| scores[**c].is_finite()).count();
            let last = possible.max(1) - 1;
            for (rank, to) in all.iter_mut().enumerate() {
                to.push(others[rank.min(last)] as u64);
            }
        }
        Self(all)
    }

    /// Returns the one candidate of each row that its user chose.
    pub(super) fn given(target: &[usize]) -> Self {
        Self(vec![target.iter().map(|t| *t as u64).collect()])
    }

    /// Returns the first candidates of every row.
    pub(super) fn first(mut self, ranks: usize) -> Self {
        self.0.truncate(ranks);
        self
    }

    /// Returns the candidate of each row at its rank.
    pub(super) fn at(&self, rank: impl Fn(usize) -> usize) -> Vec<u64> {
        let rows = self.0.first().map_or(0, Vec::len);
        (0..rows).map(|i| self.0[rank(i)][i]).collect()
    }

    /// Makes the candidates of row `i` at the ranks `order` its first ones; the others keep their ranks.
    pub(super) fn reorder(&mut self, i: usize, order: &[usize]) {
        let sorted: Vec<u64> = order.iter().map(|rank| self.0[*rank][i]).collect();
        for (rank, class) in sorted.into_iter().enumerate() {
            self.0[rank][i] = class;
        }
    }

    #[cfg(test)]
    pub(super) const fn of(ranks: Vec<Vec<u64>>) -> Self {
        Self(ranks)
    }

    /// Returns the only candidate of each row: the one at its rank.
    pub(super) fn only(&self, rank: impl Fn(usize) -> usize) -> Self {
        Self(vec![self.at(rank)])
    }
}

/// The linearised boundary to which each row moves.
#[derive(Debug)]
pub(super) struct Boundary {
    /// Linear function that is zero on it.
    pub(super) plane: Plane,
    /// Rows without a way to their boundary: the gradient is zero, or the bounds let no feature follow it.
    pub(super) lost: Vec<bool>,
    /// Scores at the point where it was linearised.
    pub(super) scores: Tensor<2>,
}

/// Linearises the boundaries of all candidates at `x`, and returns the nearest of each row. For a targeted goal
/// (`candidates` is `None`) it is the boundary between the target and the strongest other class.
pub(super) fn nearest<M: GradientModel + ?Sized>(
    oracle: &mut Oracle<'_, M>,
    rows: &mut Rows,
    x: &Batch,
    candidates: Option<&Candidates>,
) -> Result<Boundary, EngineError> {
    let (planes, scores) = planes(oracle, rows, x, candidates)?;
    let region = rows.region();
    let n = rows.len();
    let mut chosen = vec![0; n];
    if planes.len() > 1 {
        let mut best = vec![NOWHERE; n];
        for (rank, plane) in planes.iter().enumerate() {
            for (i, far) in distances(region, x, plane).into_iter().enumerate() {
                if far < best[i] {
                    (best[i], chosen[i]) = (far, rank);
                }
            }
        }
    }
    let plane = picked(planes, &chosen, x);
    let uphill: Vec<f32> = plane
        .value
        .iter()
        .map(|v| if *v > 0.0 { -1.0 } else { 1.0 })
        .collect();
    let uphill = region.column(&uphill).unsqueeze_dim::<2>(1);
    let way = region.ahead(x, &plane.gradient.map(|g| g * uphill.clone()));
    let lost = host(&region.dual(&way))
        .into_iter()
        .map(|most| most == 0.0)
        .collect();
    Ok(Boundary {
        plane,
        lost,
        scores,
    })
}

/// Distance of a boundary that no change leads to.
const NOWHERE: (f64, f64) = (f64::INFINITY, f64::INFINITY);

/// Returns each row's distance to its plane inside the bounds and, for boundaries that are out of reach, without them.
fn distances(region: &Region, x: &Batch, plane: &Plane) -> Vec<(f64, f64)> {
    let distance = region.distance(x, plane);
    let dual = host(&region.dual(&plane.gradient));
    let all = distance.into_iter().zip(dual).zip(&plane.value);
    all.map(|((distance, dual), value)| match f64::from(dual) {
        dual if dual > 0.0 => (distance, value.abs() / dual),
        _ => NOWHERE,
    })
    .collect()
}

/// Returns the candidates of each row sorted by the distances of their linearised boundaries at `x`, the nearest first.
pub(super) fn by_distance<M: GradientModel + ?Sized>(
    oracle: &mut Oracle<'_, M>,
    rows: &mut Rows,
    x: &Batch,
    candidates: &Candidates,
) -> Result<Candidates, EngineError> {
    let (planes, _) = planes(oracle, rows, x, Some(candidates))?;
    let far: Vec<Vec<(f64, f64)>> = (planes.iter())
        .map(|plane| distances(rows.region(), x, plane))
        .collect();
    let mut sorted = candidates.clone();
    for i in 0..rows.len() {
        let mut order: Vec<usize> = (0..far.len()).collect();
        order.sort_by(|a, b| {
            let (a, b) = (far[*a][i], far[*b][i]);
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        sorted.reorder(i, &order);
    }
    Ok(sorted)
}

/// Returns one plane per candidate, each for all rows, and the scores at `x`.
fn planes<M: GradientModel + ?Sized>(
    oracle: &mut Oracle<'_, M>,
    rows: &mut Rows,
    x: &Batch,
    candidates: Option<&Candidates>,
) -> Result<(Vec<Plane>, Tensor<2>), EngineError> {
    let n = rows.len();
    let one = [Vec::new()];
    let ranks = candidates.map_or(&one[..], |c| &c.0[..]);
    let features: usize = x.blocks().iter().map(|b| b.dims()[1]).sum();
    let at_once = (VALUES / features.max(1)).max(1);
    let (mut planes, mut scores) = (Vec::new(), None);
    for group in ranks.chunks(at_once) {
        let owner: Vec<usize> = (0..group.len()).flat_map(|_| 0..n).collect();
        let mut request = Request::new(Query {
            x: Batch::cat(&vec![x; group.len()]),
            key: owner.iter().map(|i| rows.keys()[*i]).collect(),
            draw: vec![0; owner.len()],
            owner,
        });
        if candidates.is_some() {
            let classes = group.iter().flatten().map(|c| *c as usize);
            request = request.towards(classes.collect());
        }
        let answer = oracle.gradient_of(rows, request, &Difference)?;
        scores.get_or_insert_with(|| answer.scores.clone().slice(0..n));
        let values = host(&answer.loss);
        for rank in 0..group.len() {
            let own = rank * n..(rank + 1) * n;
            let gradient = rows.region().free(&answer.gradient.slice(own.clone()));
            let dual = host(&rows.region().dual(&gradient));
            let value = values[own].iter().zip(dual).map(|(v, dual)| {
                if *v == 0.0 {
                    -TIED * f64::from(dual)
                } else {
                    f64::from(*v)
                }
            });
            planes.push(Plane {
                at: x.clone(),
                value: value.collect(),
                gradient,
            });
        }
    }
    Ok((planes, scores.expect("at least one candidate")))
}

/// Takes each row's plane from the one chosen for it.
fn picked(mut planes: Vec<Plane>, chosen: &[usize], x: &Batch) -> Plane {
    let n = chosen.len();
    if planes.len() == 1 {
        return planes.swap_remove(0);
    }
    let value = (0..n).map(|i| planes[chosen[i]].value[i]).collect();
    let at: Vec<usize> = (0..n).map(|i| chosen[i] * n + i).collect();
    let all: Vec<&Batch> = planes.iter().map(|p| &p.gradient).collect();
    Plane {
        at: x.clone(),
        value,
        gradient: Batch::cat(&all).select(&index(&at, &x.device())),
    }
}

/// Returns a random point of each row, half of the budget away and no farther than half of the best point's distance.
pub(super) fn halfway(rows: &Rows, purpose: Purpose) -> Batch {
    let region = rows.region();
    let half = |draw: &mut Draw<'_>, stream: &mut Stream| {
        start::draw(draw, stream);
        for (x, x0) in draw.x.iter_mut().zip(draw.x0) {
            *x = f32::midpoint(*x, *x0);
        }
    };
    let points = region.perturb(&rows.streams(purpose, 0), half);
    let radius = rows.best().1.clone().clamp_max(1.0) * 0.5;
    region.project_within(&points, &radius)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn candidates_are_the_likeliest_possible_classes() {
        let values = vec![1.0, 5.0, 3.0, f32::NEG_INFINITY, 2.0, 0.0, 0.0, 0.0];
        let scores = Tensor::<2>::from_data(TensorData::new(values, [2, 4]), &Device::flex());
        let all = Candidates::likeliest(&scores, &[1, 0], 3);
        // Class 3 of the first row is impossible.
        assert_eq!(all.0, [[2, 1], [0, 2], [0, 3]]);
        assert_eq!(all.only(|i| 1 - i).0, [[0, 1]]);
    }
}
