//! A row's way to the boundary: it searches for a point that succeeds, then goes back towards the clean sample until it
//! is at the boundary. Attacks that improve the point send it back again ([`Approach::retreat`]).

use proofmark_engine::Rows;
use proofmark_threat::{Batch, Column, Columns, mask};

use super::bracket::{Brackets, along};
use super::round::Round;
use super::start;

/// Gauge below which a row is at its clean sample.
const NOTHING: f64 = 1e-12;

/// Stage of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Searches for a point that succeeds.
    Search,
    /// Goes back to the boundary.
    Back,
    /// Is at the boundary.
    There,
    /// Found no start.
    Lost,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Search, Self::Back, Self::There, Self::Lost];
}

/// Limits of the search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Number of starts tried.
    pub(super) tries: u32,
    /// Width of the bracket at which a row is at the boundary, as a share of the gauge.
    pub(super) tolerance: f64,
}

/// Where each row is on its way to the boundary.
#[derive(Debug, Clone)]
pub(super) struct Approach {
    stage: Vec<u64>,
    /// Starts tried so far.
    tried: Vec<u64>,
    /// First step back, as a gauge; 0 bisects.
    first: Vec<f64>,
    brackets: Brackets,
}

impl Columns for Approach {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = vec![
            ("stage".into(), Column::Count(&mut self.stage)),
            ("tried".into(), Column::Count(&mut self.tried)),
            ("first".into(), Column::Real(&mut self.first)),
        ];
        all.extend(self.brackets.columns());
        all
    }
}

impl Approach {
    /// Creates `n` rows that search for a start.
    pub(super) fn new(n: usize) -> Self {
        Self {
            stage: vec![Stage::Search as u64; n],
            tried: vec![0; n],
            first: vec![0.0; n],
            brackets: Brackets::new(n),
        }
    }

    /// Returns the stage of row `i`.
    pub(super) fn stage(&self, i: usize) -> Stage {
        let stage = Stage::ALL.get(self.stage[i] as usize);
        stage.copied().unwrap_or(Stage::Lost)
    }

    /// Returns whether row `i` is in this stage, for all rows.
    pub(super) fn is(&self, stage: Stage) -> Vec<bool> {
        (0..self.stage.len())
            .map(|i| self.stage(i) == stage)
            .collect()
    }

    /// Returns the gauge of row `i`'s point.
    pub(super) fn gauge(&self, i: usize) -> f64 {
        self.brackets.high[i]
    }

    /// Returns how many points row `i` queries, `None` if it is at the boundary. `first` is the number of points that
    /// it tries before noise.
    pub(super) fn points(&self, i: usize, limits: &Limits, first: usize) -> Option<usize> {
        match self.stage(i) {
            Stage::Search if self.tried[i] == 0 && first > 0 => {
                Some(first.min(limits.tries as usize))
            }
            Stage::Search => Some(start::next(limits.tries, self.tried[i])),
            Stage::Back => Some(1),
            Stage::There => None,
            Stage::Lost => Some(0),
        }
    }

    /// Returns `others` with the points of the rows that go back to the boundary, one point per row.
    pub(super) fn back(&self, rows: &Rows, x: &Batch, others: &Batch) -> Batch {
        let back = self.is(Stage::Back);
        if !back.contains(&true) {
            return others.clone();
        }
        let nearer = along(rows, x, |i| self.next(i));
        others.replace_rows(&mask(&back, &x.device()), &nearer)
    }

    /// Returns `points` with the starts of the rows that search for one; `first` as in [`start::insert`].
    pub(super) fn starts(
        &self,
        rows: &Rows,
        points: &Batch,
        round: &Round,
        first: &[Batch],
    ) -> Batch {
        let searching = |i: usize| self.stage(i) == Stage::Search;
        let tried: Vec<Option<u64>> = (0..rows.len())
            .map(|i| searching(i).then(|| self.tried[i]))
            .collect();
        start::insert(rows, points, &round.counts, &tried, first)
    }

    /// Updates row `i`, which is not at the boundary, with the points that succeeded and their `gauges`. Returns the
    /// point that it continues from, if it moves.
    pub(super) fn take(
        &mut self,
        i: usize,
        succeeded: &[bool],
        gauges: &[f32],
        limits: &Limits,
    ) -> Option<usize> {
        match self.stage(i) {
            Stage::Search => {
                self.tried[i] += succeeded.len() as u64;
                let nearest = start::nearest(succeeded, gauges);
                if let Some(b) = nearest {
                    self.retreat(i, f64::from(gauges[b]), 0.0);
                } else if self.tried[i] >= u64::from(limits.tries) {
                    self.stage[i] = Stage::Lost as u64;
                }
                nearest
            }
            Stage::Back => {
                let at = self.next(i);
                self.brackets.narrow(i, at, succeeded[0]);
                let high = self.brackets.high[i];
                if self.brackets.is_narrow(i, limits.tolerance * high) || high < NOTHING {
                    self.stage[i] = Stage::There as u64;
                }
                succeeded[0].then_some(0)
            }
            Stage::There | Stage::Lost => None,
        }
    }

    /// Sends row `i` back to the boundary from a point of this gauge that succeeds. If the boundary is expected just
    /// below, `first` is the first step back, as a gauge; 0 bisects between the point and the sample.
    pub(super) fn retreat(&mut self, i: usize, gauge: f64, first: f64) {
        self.stage[i] = Stage::Back as u64;
        self.first[i] = first;
        self.brackets.open(i, gauge);
    }

    /// Moves row `i`, which stays at the boundary, to a point of this gauge.
    pub(super) fn step(&mut self, i: usize, gauge: f64) {
        self.brackets.open(i, gauge);
    }

    /// Returns the gauge that row `i` queries next on its way back.
    fn next(&self, i: usize) -> f64 {
        match self.first[i] {
            0.0 => self.brackets.middle(i),
            first => self.brackets.behind(i, first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        tries: 10,
        tolerance: 0.125,
    };

    #[test]
    fn a_row_goes_from_its_start_to_the_boundary() {
        let mut a = Approach::new(1);
        assert_eq!(a.points(0, &LIMITS, 0), Some(8));
        assert_eq!(a.points(0, &LIMITS, 3), Some(3));
        let taken = a.take(0, &[false, true, true], &[1.0, 9.0, 8.0], &LIMITS);
        assert_eq!((taken, a.gauge(0)), (Some(2), 8.0));
        // The boundary is at 3.2: 4 succeeds, 2 and 3 do not, 3.5 does.
        for at in [4.0, 2.0, 3.0, 3.5] {
            assert_eq!((a.next(0), a.stage(0)), (at, Stage::Back));
            a.take(0, &[at >= 3.2], &[at as f32], &LIMITS);
        }
        // 3 to 3.5 is wider than an eighth of 3.5.
        assert_eq!(a.take(0, &[true], &[3.25], &LIMITS), Some(0));
        assert_eq!((a.stage(0), a.gauge(0)), (Stage::There, 3.25));
        assert_eq!(a.points(0, &LIMITS, 0), None);
        // A small step back that does not succeed ends the way at once.
        a.retreat(0, 3.25, 0.25);
        assert_eq!((a.next(0), a.points(0, &LIMITS, 0)), (3.0, Some(1)));
        assert_eq!(a.take(0, &[false], &[3.0], &LIMITS), None);
        assert_eq!((a.stage(0), a.gauge(0)), (Stage::There, 3.25));
    }

    #[test]
    fn a_row_without_a_start_gives_up_after_its_tries() {
        let mut a = Approach::new(1);
        a.take(0, &[false; 8], &[1.0; 8], &LIMITS);
        assert_eq!(a.points(0, &LIMITS, 3), Some(2));
        a.take(0, &[false; 2], &[1.0; 2], &LIMITS);
        assert_eq!(
            (a.stage(0), a.points(0, &LIMITS, 3)),
            (Stage::Lost, Some(0))
        );
    }

    #[test]
    fn a_row_whose_clean_sample_succeeds_ends_there() {
        let mut a = Approach::new(1);
        a.retreat(0, 1.0, 0.01);
        let mut asked = 0;
        while a.stage(0) == Stage::Back {
            asked += 1;
            a.take(0, &[true], &[0.0], &LIMITS);
        }
        assert!(asked < 60, "{asked}");
    }
}
