//! Search for the boundary between the clean sample and a point that succeeds, on the path of the points `P_r(x)`: `x`
//! projected on balls of smaller radii `r` around the sample.

use proofmark_engine::Rows;
use proofmark_threat::{Batch, Column, Columns};

/// Brackets of the boundary: one per row, in units of its budget.
#[derive(Debug, Clone)]
pub(super) struct Brackets {
    /// Largest gauge that is known not to succeed; 0 if none is.
    pub(super) low: Vec<f64>,
    /// Smallest gauge that succeeds.
    pub(super) high: Vec<f64>,
    /// Gauge with which the search began.
    pub(super) reached: Vec<f64>,
}

impl Columns for Brackets {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        vec![
            ("low".into(), Column::Real(&mut self.low)),
            ("high".into(), Column::Real(&mut self.high)),
            ("reached".into(), Column::Real(&mut self.reached)),
        ]
    }
}

impl Brackets {
    /// Creates `n` empty brackets.
    pub(super) fn new(n: usize) -> Self {
        Self {
            low: vec![0.0; n],
            high: vec![0.0; n],
            reached: vec![0.0; n],
        }
    }

    /// Begins the search of row `i` from a point of this gauge that succeeds.
    pub(super) fn open(&mut self, i: usize, gauge: f64) {
        (self.low[i], self.high[i], self.reached[i]) = (0.0, gauge, gauge);
    }

    /// Returns the middle of row `i`'s bracket.
    pub(super) fn middle(&self, i: usize) -> f64 {
        f64::midpoint(self.low[i], self.high[i])
    }

    /// Returns the next gauge to query if the boundary is probably just below `high`: steps back of `first`, twice as
    /// far each time, until one does not succeed, then the middle.
    pub(super) fn behind(&self, i: usize, first: f64) -> f64 {
        if self.low[i] > 0.0 {
            return self.middle(i);
        }
        let back = first.max(self.reached[i] - self.high[i]);
        (self.high[i] - back).max(self.middle(i))
    }

    /// Narrows row `i`'s bracket by the answer at gauge `at`.
    pub(super) fn narrow(&mut self, i: usize, at: f64, succeeded: bool) {
        if succeeded {
            self.high[i] = at;
        } else {
            self.low[i] = at;
        }
    }

    /// Returns whether row `i`'s bracket is at most `tolerance` wide, or too narrow for `f32`.
    pub(super) fn is_narrow(&self, i: usize, tolerance: f64) -> bool {
        // Below the resolution of `f32` there is nothing more to find.
        let finest = f64::from(f32::EPSILON) * self.high[i];
        self.high[i] - self.low[i] <= tolerance.max(finest)
    }
}

/// Returns each row of `x` moved along its path to a gauge.
pub(super) fn along(rows: &Rows, x: &Batch, gauge: impl Fn(usize) -> f64) -> Batch {
    let gauges: Vec<f32> = (0..rows.len()).map(|i| gauge(i) as f32).collect();
    let region = rows.region();
    region.project_within(x, &region.column(&gauges))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bracket_is_halved_until_it_is_narrow() {
        let mut b = Brackets::new(1);
        b.open(0, 8.0);
        // The boundary is at 3.
        let mut asked = Vec::new();
        while !b.is_narrow(0, 1.0) {
            let at = b.middle(0);
            asked.push(at);
            b.narrow(0, at, at >= 3.0);
        }
        assert_eq!(asked, [4.0, 2.0, 3.0]);
        assert_eq!((b.low[0], b.high[0], b.reached[0]), (2.0, 3.0, 8.0));
    }

    #[test]
    fn steps_back_double_until_one_does_not_succeed() {
        let mut b = Brackets::new(1);
        b.open(0, 8.0);
        // The boundary is at 4.5.
        let mut asked = Vec::new();
        while !b.is_narrow(0, 0.5) {
            let at = b.behind(0, 0.5);
            asked.push(at);
            b.narrow(0, at, at >= 4.5);
        }
        assert_eq!(asked, [7.5, 7.0, 6.0, 4.0, 5.0, 4.5]);
        assert_eq!((b.low[0], b.high[0]), (4.0, 4.5));
        // A step back never goes beyond the middle between the point and the sample.
        b.open(0, 1.0);
        assert!((b.behind(0, 9.0) - 0.5).abs() < 1e-12);
    }
}
