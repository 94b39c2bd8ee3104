//! Per-row search for the constant that weighs the loss against the size of the change, as Carlini and Wagner do it.

use burn::tensor::{Bool, Tensor};
use proofmark_threat::{Batch, Column, Columns, Region, prefixed};

/// Number of searches and steps, and whether a search ends when its objective stops falling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) searches: u32,
    pub(super) steps: u32,
    pub(super) abort_early: bool,
}

/// Factor of the constant while no change has succeeded.
const RAISE: f64 = 10.0;

/// Largest constant; its product with a gradient is still an `f32`.
const LARGEST: f64 = 1e18;

/// A search goes on if a tenth of its steps lowered the objective by more than this share.
const FALL: f64 = 1e-4;

/// With this many searches, the last one repeats the smallest constant that succeeded.
const REPEAT_FROM: u32 = 10;

impl Plan {
    /// Returns the largest number of steps that all searches of a row take together.
    pub(super) fn total(self) -> u32 {
        self.searches.saturating_mul(self.steps)
    }
}

/// Constants of the rows, and how far their searches are.
#[derive(Debug, Clone)]
pub(super) struct Searches {
    /// The present constant, the largest that failed and the smallest that succeeded.
    pub(super) constant: Vec<f64>,
    failed: Vec<f64>,
    succeeded: Vec<f64>,
    /// Number of searches ended, and of steps in the present one.
    pub(super) ended: Vec<u64>,
    pub(super) step: Vec<u64>,
    /// 1 if the present search has succeeded.
    success: Vec<u64>,
    /// Objective when it was last compared.
    before: Vec<f64>,
}

impl Columns for Searches {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        vec![
            ("constant".into(), Column::Real(&mut self.constant)),
            ("failed".into(), Column::Real(&mut self.failed)),
            ("succeeded".into(), Column::Real(&mut self.succeeded)),
            ("ended".into(), Column::Count(&mut self.ended)),
            ("step".into(), Column::Count(&mut self.step)),
            ("success".into(), Column::Count(&mut self.success)),
            ("before".into(), Column::Real(&mut self.before)),
        ]
    }
}

impl Searches {
    /// Creates the searches of rows with these first constants.
    pub(super) fn new(constant: Vec<f64>) -> Self {
        let n = constant.len();
        Self {
            constant: constant.into_iter().map(|c| c.min(LARGEST)).collect(),
            failed: vec![0.0; n],
            succeeded: vec![f64::INFINITY; n],
            ended: vec![0; n],
            step: vec![0; n],
            success: vec![0; n],
            before: vec![f64::INFINITY; n],
        }
    }

    /// Records row `i`'s success and objective at its present point, and returns whether its search ends here: the row
    /// then begins anew at the clean sample, with the next constant.
    pub(super) fn see(&mut self, i: usize, success: bool, objective: f64, plan: Plan) -> bool {
        self.success[i] |= u64::from(success);
        let steps = u64::from(plan.steps);
        let mut ends = self.step[i] + 1 >= steps;
        if plan.abort_early && self.step[i].is_multiple_of((steps / 10).max(1)) {
            ends |= objective > self.before[i] * (1.0 - FALL);
            self.before[i] = objective;
        }
        if !ends {
            self.step[i] += 1;
            return false;
        }
        let constant = self.constant[i];
        if self.success[i] == 1 {
            self.succeeded[i] = self.succeeded[i].min(constant);
        } else {
            self.failed[i] = self.failed[i].max(constant);
        }
        self.ended[i] += 1;
        let is_last = self.ended[i] + 1 == u64::from(plan.searches);
        let next = if self.succeeded[i].is_infinite() {
            constant * RAISE
        } else if is_last && plan.searches >= REPEAT_FROM {
            self.succeeded[i]
        } else {
            f64::midpoint(self.failed[i], self.succeeded[i])
        };
        self.constant[i] = next.min(LARGEST);
        (self.step[i], self.success[i], self.before[i]) = (0, 0, f64::INFINITY);
        true
    }

    /// Returns which rows have ended all their searches.
    pub(super) fn finished(&self, plan: Plan) -> Vec<bool> {
        (self.ended.iter())
            .map(|n| *n >= u64::from(plan.searches))
            .collect()
    }

    /// Returns the share of its steps that each row's present search has made.
    pub(super) fn progress(&self, plan: Plan) -> impl Iterator<Item = f64> + '_ {
        let steps = f64::from(plan.steps);
        self.step.iter().map(move |k| *k as f64 / steps)
    }
}

/// The nearest point of each row that succeeds with the required confidence. The oracle's own record is the nearest
/// that succeeds at all.
#[derive(Debug, Clone)]
pub(super) struct Confident {
    pub(super) x: Batch,
    gauge: Tensor<1>,
}

impl Confident {
    pub(super) fn new(region: &Region) -> Self {
        Self {
            x: region.x0(),
            gauge: region.column(&vec![f32::MAX; region.rows()]),
        }
    }

    pub(super) fn see(&mut self, region: &Region, x: &Batch, success: Tensor<1, Bool>) {
        let gauge = region.gauge(x);
        let nearer = success.bool_and(gauge.clone().lower(self.gauge.clone()));
        self.x = self.x.replace_rows(&nearer, x);
        self.gauge = self.gauge.clone().mask_where(nearer, gauge);
    }
}

impl Columns for Confident {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.push(("gauge".into(), Column::Vector(&mut self.gauge)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        searches: 4,
        steps: 2,
        abort_early: false,
    };

    /// Runs one search of row 0 and returns the next constant.
    fn search(s: &mut Searches, success: bool, plan: Plan) -> f64 {
        while !s.see(0, success, 1.0, plan) {}
        s.constant[0]
    }

    #[test]
    fn the_constant_grows_tenfold_until_it_succeeds_and_is_then_bisected() {
        let mut s = Searches::new(vec![1.0]);
        assert!(!s.see(0, false, 1.0, PLAN), "two steps per search");
        assert_eq!(search(&mut s, false, PLAN), 10.0);
        assert_eq!(search(&mut s, true, PLAN), 5.5);
        assert_eq!(search(&mut s, true, PLAN), 3.25);
        assert_eq!(s.finished(PLAN), [false]);
        assert_eq!(search(&mut s, false, PLAN), 4.375);
        assert_eq!(s.finished(PLAN), [true]);
    }

    #[test]
    fn the_last_of_ten_searches_repeats_the_smallest_constant_that_succeeded() {
        let plan = Plan {
            searches: 10,
            ..PLAN
        };
        let mut s = Searches::new(vec![16.0]);
        let constants: Vec<f64> = (0..9).map(|k| search(&mut s, k == 0, plan)).collect();
        assert_eq!(constants[..3], [8.0, 12.0, 14.0]);
        assert_eq!(constants[8], 16.0);
    }

    #[test]
    fn a_search_ends_early_for_the_row_alone_whose_objective_stops_falling() {
        let plan = Plan {
            searches: 2,
            steps: 20,
            abort_early: true,
        };
        let mut s = Searches::new(vec![1.0; 2]);
        // The objective is compared every second step.
        for k in 0..4 {
            assert!(!s.see(0, false, 10.0 - f64::from(k), plan));
            let ends = s.see(1, false, 10.0 - 1e-5 * f64::from(k), plan);
            assert_eq!(ends, k == 2, "{k}");
        }
        assert_eq!((s.ended[0], s.ended[1]), (0, 1));
        // NaN never ends a search early, and never succeeds.
        let mut s = Searches::new(vec![1.0]);
        assert!((0..19).all(|_| !s.see(0, false, f64::NAN, plan)));
        assert!(s.see(0, false, f64::NAN, plan));
    }
}
