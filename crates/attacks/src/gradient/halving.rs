//! Step lengths of APGD in Linf and L2: at checkpoints, a row whose loss has stopped rising halves its step and returns
//! to its best point.

use proofmark_threat::{Batch, Column, Columns, prefixed};

/// First step, in units of epsilon.
pub(super) const FIRST_STEP: f64 = 2.0;

/// The step halves if the loss rose in at most this share of the steps between two checkpoints.
const RISES: f64 = 0.75;

/// Steps between checkpoints: the first interval, the decrease from one interval to the next, and the shortest
/// interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Intervals {
    first: u64,
    shorter: u64,
    least: u64,
}

impl Intervals {
    /// Returns the intervals of `AutoAttack` for `steps`: 22 %, 3 % and 6 %, each at least 1.
    pub(super) fn of(steps: u32) -> Self {
        let share = |percent: u64| (u64::from(steps) * percent / 100).max(1);
        Self {
            first: share(22),
            shorter: share(3),
            least: share(6),
        }
    }

    fn after(self, interval: u64) -> u64 {
        interval.saturating_sub(self.shorter).max(self.least)
    }
}

/// Result of evaluating a row's loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Verdict {
    /// Whether the present point is the row's best.
    pub(super) is_best: bool,
    /// Whether the row returns to its best point.
    pub(super) goes_back: bool,
}

/// Progress of each row's ascent: its previous point and, on the host, its losses and its step.
#[derive(Debug, Clone)]
pub(super) struct Halving {
    /// Previous point, for the momentum.
    pub(super) before: Batch,
    /// Step length in units of epsilon.
    pub(super) step: Vec<f64>,
    loss: Vec<f64>,
    best: Vec<f64>,
    best_at_check: Vec<f64>,
    /// Steps since the last checkpoint, how many of them raised the loss, and how many steps there are to the next
    /// checkpoint.
    steps: Vec<u64>,
    rises: Vec<u64>,
    interval: Vec<u64>,
    /// 1 if the last checkpoint halved the step; also 1 before the first checkpoint.
    halved: Vec<u64>,
}

impl Columns for Halving {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("before", &mut self.before);
        all.extend([
            ("step".into(), Column::Real(&mut self.step)),
            ("loss".into(), Column::Real(&mut self.loss)),
            ("best".into(), Column::Real(&mut self.best)),
            (
                "best_at_check".into(),
                Column::Real(&mut self.best_at_check),
            ),
            ("steps".into(), Column::Count(&mut self.steps)),
            ("rises".into(), Column::Count(&mut self.rises)),
            ("interval".into(), Column::Count(&mut self.interval)),
            ("halved".into(), Column::Count(&mut self.halved)),
        ]);
        all
    }
}

impl Halving {
    /// Returns the progress of rows that start at `x`.
    pub(super) fn new(x: Batch, intervals: &[Intervals]) -> Self {
        let rows = x.rows();
        let least = vec![f64::NEG_INFINITY; rows];
        Self {
            before: x,
            step: vec![FIRST_STEP; rows],
            loss: least.clone(),
            best: least.clone(),
            best_at_check: least,
            steps: vec![0; rows],
            rises: vec![0; rows],
            interval: intervals.iter().map(|i| i.first).collect(),
            halved: vec![1; rows],
        }
    }

    /// Forgets the losses of row `i`, which continues with another loss.
    pub(super) fn forget(&mut self, i: usize) {
        for losses in [&mut self.loss, &mut self.best, &mut self.best_at_check] {
            losses[i] = f64::NEG_INFINITY;
        }
    }

    /// Records the loss of row `i` at its point `k` (from 0).
    pub(super) fn see(&mut self, i: usize, k: u64, loss: f64, intervals: Intervals) -> Verdict {
        // A NaN loss is never the best.
        let is_best = loss > self.best[i];
        if is_best {
            self.best[i] = loss;
        }
        let rose = loss > self.loss[i];
        self.loss[i] = loss;
        if k == 0 {
            self.best_at_check[i] = loss;
            return Verdict {
                is_best: true,
                goes_back: false,
            };
        }
        self.steps[i] += 1;
        self.rises[i] += u64::from(rose);
        if self.steps[i] < self.interval[i] {
            return Verdict {
                is_best,
                goes_back: false,
            };
        }
        let stands = self.rises[i] as f64 <= RISES * self.interval[i] as f64;
        let no_better = self.halved[i] == 0 && self.best_at_check[i] >= self.best[i];
        let goes_back = stands || no_better;
        if goes_back {
            self.step[i] /= 2.0;
        }
        self.halved[i] = u64::from(goes_back);
        self.best_at_check[i] = self.best[i];
        self.interval[i] = intervals.after(self.interval[i]);
        (self.steps[i], self.rises[i]) = (0, 0);
        Verdict { is_best, goes_back }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proofmark_domain::{Bounds, Kind, Modality};

    use super::*;

    fn halving(intervals: Intervals) -> Halving {
        let modality = Modality {
            name: "x".into(),
            kind: Kind::Table,
            shape: vec![1],
            bounds: Bounds::uniform(0.0, 1.0).unwrap(),
        };
        let x = Batch::from_host([modality].into(), vec![vec![0.0]], &Device::flex()).unwrap();
        Halving::new(x, &[intervals])
    }

    /// The paper's checkpoints for 100 steps: p = 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99.
    #[test]
    fn checkpoints_match_the_paper() {
        let checkpoints = |steps: u32| {
            let intervals = Intervals::of(steps);
            let mut progress = halving(intervals);
            let mut all = Vec::new();
            for k in 0..=u64::from(steps) {
                progress.see(0, k, k as f64, intervals);
                // A checkpoint starts the count of steps again.
                if k > 0 && progress.steps[0] == 0 {
                    all.push(k);
                }
            }
            all
        };
        assert_eq!(checkpoints(100), [22, 41, 57, 70, 80, 87, 93, 99]);
        assert_eq!(checkpoints(50), [11, 21, 30, 38, 45]);
        let of_20: Vec<u64> = [4, 7].into_iter().chain(9..=20).collect();
        assert_eq!(checkpoints(20), of_20);
        let of_10: Vec<u64> = (2..=10).collect();
        assert_eq!(checkpoints(10), of_10);
        assert_eq!(checkpoints(1), [1]);
    }

    /// One row, computed by hand: intervals of 4, then 3.
    #[test]
    fn steps_halve_when_the_loss_stops_rising() {
        let intervals = Intervals {
            first: 4,
            shorter: 1,
            least: 2,
        };
        let mut p = halving(intervals);
        let mut see = |k: u64, loss: f64| {
            let v = p.see(0, k, loss, intervals);
            (v.is_best, v.goes_back, p.step[0])
        };
        assert_eq!(see(0, 1.0), (true, false, 2.0));
        // The loss rises in 4 of 4 steps, more than 75 %: the step stays.
        assert_eq!(see(1, 2.0), (true, false, 2.0));
        assert_eq!(see(2, 3.0), (true, false, 2.0));
        assert_eq!(see(3, 4.0), (true, false, 2.0));
        assert_eq!(see(4, 5.0), (true, false, 2.0));
        // The loss rises in two of three steps: the row halves its step and goes back.
        assert_eq!(see(5, 4.0), (false, false, 2.0));
        assert_eq!(see(6, 4.5), (false, false, 2.0));
        assert_eq!(see(7, 4.8), (false, true, 1.0));
        // Both steps raise the loss, without a new best; the last checkpoint halved the step, so it stays.
        assert_eq!(see(8, 4.85), (false, false, 1.0));
        assert_eq!(see(9, 4.9), (false, false, 1.0));
        // Again both steps raise the loss without a new best, and the last checkpoint did not halve the step: it is
        // halved now.
        assert_eq!(see(10, 4.92), (false, false, 1.0));
        assert_eq!(see(11, 4.95), (false, true, 0.5));
        // NaN is never the best.
        assert_eq!(see(12, f64::NAN), (false, false, 0.5));
    }

    #[test]
    fn a_row_with_another_loss_begins_a_new_record() {
        let intervals = Intervals::of(100);
        let mut p = halving(intervals);
        p.see(0, 0, 5.0, intervals);
        p.forget(0);
        let lower = p.see(0, 1, -3.0, intervals);
        assert!(lower.is_best && !lower.goes_back);
    }
}
