//! State of a walk along the boundary: the phase of each row and its place at the boundary.

use proofmark_engine::Rows;
use proofmark_threat::{Batch, Column, Columns, mask, prefixed};

use super::super::bracket::Brackets;
use super::estimate;

/// Phase of a row: what it does in the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Searches for a point that succeeds.
    Start,
    /// Bisects back to the boundary.
    Bisect,
    /// Estimates the direction of the adversarial side.
    Estimate,
    /// Jumps in that direction.
    Jump,
    /// Finished: no start was found.
    Over,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::Start,
        Self::Bisect,
        Self::Estimate,
        Self::Jump,
        Self::Over,
    ];

    fn of(code: u64) -> Self {
        Self::ALL.get(code as usize).copied().unwrap_or(Self::Over)
    }
}

/// Position of each row on its walk.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// A point that succeeds; the clean sample until one has.
    pub(super) x: Batch,
    /// Sum of the directions that succeeded, and of all directions.
    pub(super) succeeding: Batch,
    pub(super) all: Batch,
    /// Direction of the next jump.
    pub(super) direction: Batch,
    pub(super) host: Places,
}

/// Part of the state that is kept on the host.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) phase: Vec<u64>,
    /// Number of the row's current estimate, from 1.
    pub(super) round: Vec<u64>,
    /// Starts tried, points of the estimate queried so far, or halvings of the jump, depending on the phase.
    pub(super) done: Vec<u64>,
    /// Number of points of the estimate that succeeded.
    pub(super) successes: Vec<u64>,
    /// Brackets of the boundary; `reached` is the gauge before the last bisection.
    pub(super) brackets: Brackets,
}

impl Columns for Places {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = vec![
            ("phase".into(), Column::Count(&mut self.phase)),
            ("round".into(), Column::Count(&mut self.round)),
            ("done".into(), Column::Count(&mut self.done)),
            ("successes".into(), Column::Count(&mut self.successes)),
        ];
        all.extend(self.brackets.columns());
        all
    }
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("succeeding", &mut self.succeeding));
        all.extend(prefixed("all", &mut self.all));
        all.extend(prefixed("direction", &mut self.direction));
        all.extend(prefixed("host", &mut self.host));
        all
    }
}

impl Places {
    /// Creates `n` places in [`Phase::Start`].
    pub(super) fn new(n: usize) -> Self {
        Self {
            phase: vec![Phase::Start as u64; n],
            round: vec![0; n],
            done: vec![0; n],
            successes: vec![0; n],
            brackets: Brackets::new(n),
        }
    }

    pub(super) fn phase(&self, i: usize) -> Phase {
        Phase::of(self.phase[i])
    }

    pub(super) fn enter(&mut self, i: usize, phase: Phase) {
        self.phase[i] = phase as u64;
        self.done[i] = 0;
    }

    /// Starts a bisection of row `i` from a point of this gauge that succeeds.
    pub(super) fn bisect(&mut self, i: usize, gauge: f64) {
        self.enter(i, Phase::Bisect);
        self.brackets.open(i, gauge);
    }

    /// Starts the next estimate of row `i`, which is at the boundary.
    pub(super) fn estimate(&mut self, i: usize) {
        self.enter(i, Phase::Estimate);
        self.round[i] += 1;
        self.successes[i] = 0;
    }
}

impl State {
    /// Creates the state of rows that search for a start.
    pub(super) fn new(rows: &Rows) -> Self {
        let x = rows.region().x0();
        let zero = x.map(|b| b.zeros_like());
        Self {
            x,
            succeeding: zero.clone(),
            all: zero.clone(),
            direction: zero,
            host: Places::new(rows.len()),
        }
    }

    /// Sets the direction of the rows whose estimate is complete and resets their sums.
    pub(super) fn turn(&mut self, rows: &Rows, estimated: &[bool]) {
        let complete = |i: usize| estimated[i] && self.host.phase(i) == Phase::Jump;
        let complete: Vec<bool> = (0..rows.len()).map(complete).collect();
        if !complete.contains(&true) {
            return;
        }
        let share = |i: usize| estimate::weights(self.host.successes[i], self.host.done[i]);
        let shares: Vec<[f32; 2]> = (0..rows.len()).map(share).collect();
        let column = |k: usize| {
            let values: Vec<f32> = shares.iter().map(|s| s[k]).collect();
            rows.region().column(&values).unsqueeze_dim::<2>(1)
        };
        let (ours, every) = (column(0), column(1));
        let found = self
            .succeeding
            .zip(&self.all, |s, a| s * ours.clone() + a * every.clone());
        let found = rows.region().free(&found);
        let mask = mask(&complete, &found.device());
        let zero = found.map(|b| b.zeros_like());
        self.direction = self.direction.replace_rows(&mask, &found);
        self.succeeding = self.succeeding.replace_rows(&mask, &zero);
        self.all = self.all.replace_rows(&mask, &zero);
        for i in (0..rows.len()).filter(|i| complete[*i]) {
            self.host.done[i] = 0;
        }
    }
}
