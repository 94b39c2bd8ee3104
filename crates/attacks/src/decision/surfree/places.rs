//! Where each row is in the search of its angle.

use proofmark_threat::{Column, Columns, prefixed};

use super::super::approach::{Approach, Stage};

/// Part of the state that is kept on the host.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) approach: Approach,
    /// Largest angle of the row's sign search, radians.
    pub(super) widest: Vec<f64>,
    /// Number of angles that the sign search has tried.
    pub(super) tried: Vec<u64>,
    /// Largest angle that succeeded, with its sign; 0 while the sign search goes on.
    pub(super) angle: Vec<f64>,
    /// Smallest angle on that side that did not succeed; 0 while none is known.
    pub(super) beyond: Vec<f64>,
    /// Number of bisections of the angle so far.
    pub(super) halved: Vec<u64>,
    /// Gauge of the point of the largest angle.
    pub(super) found: Vec<f64>,
}

impl Columns for Places {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("approach", &mut self.approach);
        all.extend([
            ("widest".into(), Column::Real(&mut self.widest)),
            ("tried".into(), Column::Count(&mut self.tried)),
            ("angle".into(), Column::Real(&mut self.angle)),
            ("beyond".into(), Column::Real(&mut self.beyond)),
            ("halved".into(), Column::Count(&mut self.halved)),
            ("found".into(), Column::Real(&mut self.found)),
        ]);
        all
    }
}

/// Effect of an answer about a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The search of the angle goes on.
    On,
    /// The row moves to the point of the largest angle.
    Done,
}

impl Places {
    /// Creates `n` rows that search for a start, with this first largest angle, radians.
    pub(super) fn new(n: usize, angle: f64) -> Self {
        Self {
            approach: Approach::new(n),
            widest: vec![angle; n],
            tried: vec![0; n],
            angle: vec![0.0; n],
            beyond: vec![0.0; n],
            halved: vec![0; n],
            found: vec![0.0; n],
        }
    }

    /// Returns whether row `i` is at the boundary and needs a direction.
    pub(super) fn is_fresh(&self, i: usize) -> bool {
        self.approach.stage(i) == Stage::There && self.tried[i] == 0
    }
}
