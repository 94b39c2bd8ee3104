//! One query of all rows together, with any number of points per row.

use std::ops::Range;

use proofmark_engine::{EngineError, Oracle, Request, Rows};
use proofmark_model::{DecisionModel, Query};
use proofmark_threat::{Batch, host, index};

/// The number of points that each row queries in one step.
#[derive(Debug)]
pub(super) struct Round {
    /// Number of points of each row.
    pub(super) counts: Vec<usize>,
    /// The row of each point; the points of a row lie side by side, in the order of the rows.
    pub(super) owner: Vec<usize>,
}

/// Answers to a query, one per point.
#[derive(Debug)]
pub(super) struct Answers {
    /// Whether the point succeeds.
    pub(super) succeeded: Vec<bool>,
    /// Gauge of the point.
    pub(super) gauges: Vec<f32>,
}

impl Round {
    /// Creates a query of `counts` points per row.
    pub(super) fn new(counts: Vec<usize>) -> Self {
        let owner = (counts.iter().enumerate())
            .flat_map(|(i, count)| std::iter::repeat_n(i, *count))
            .collect();
        Self { counts, owner }
    }

    /// Returns the points of each row that has any.
    pub(super) fn spans(&self) -> Vec<(usize, Range<usize>)> {
        let mut from = 0;
        let mut all = Vec::new();
        for (i, count) in self.counts.iter().enumerate() {
            if *count > 0 {
                all.push((i, from..from + count));
            }
            from += count;
        }
        all
    }

    /// Returns row `i` of `x` for each point of row `i`.
    pub(super) fn spread(&self, x: &Batch) -> Batch {
        x.select(&index(&self.owner, &x.device()))
    }

    /// Queries the points.
    pub(super) fn ask<M: DecisionModel + ?Sized>(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        points: &Batch,
    ) -> Result<Answers, EngineError> {
        let query = Query {
            key: self.owner.iter().map(|i| rows.keys()[*i]).collect(),
            draw: vec![0; self.owner.len()],
            x: points.clone(),
            owner: self.owner.clone(),
        };
        let succeeded = oracle.succeeds(rows, Request::new(query))?;
        let gauges = host(&rows.region().at(&self.owner).gauge(points));
        Ok(Answers { succeeded, gauges })
    }
}

/// Shows each row that queried points its answers, and returns `x` with the points from which the rows continue: `take`
/// gets the row, whether each of its points succeeded and their gauges, and returns the place of one of them, if the row
/// moves.
pub(super) fn continued(
    x: &Batch,
    round: &Round,
    points: &Batch,
    answers: &Answers,
    mut take: impl FnMut(usize, &[bool], &[f32]) -> Option<usize>,
) -> Batch {
    let mut taken = vec![None; round.counts.len()];
    for (i, span) in round.spans() {
        let succeeded = &answers.succeeded[span.clone()];
        let gauges = &answers.gauges[span.clone()];
        taken[i] = take(i, succeeded, gauges).map(|b| span.start + b);
    }
    moved(x, points, &taken)
}

/// Returns `x` with the point `taken` (a place in `points`) in the rows that take one.
pub(super) fn moved(x: &Batch, points: &Batch, taken: &[Option<usize>]) -> Batch {
    let n = taken.len();
    let source = |(i, taken): (usize, &Option<usize>)| taken.map_or(i, |q| n + q);
    let source: Vec<usize> = taken.iter().enumerate().map(source).collect();
    let both = Batch::cat(&[x, points]);
    both.select(&index(&source, &both.device()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_a_row_lie_side_by_side() {
        let round = Round::new(vec![2, 0, 1]);
        assert_eq!(round.owner, [0, 0, 2]);
        assert_eq!(round.spans(), [(0, 0..2), (2, 2..3)]);
    }
}
