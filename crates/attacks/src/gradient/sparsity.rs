//! Step lengths and sparsity of APGD in L1, and its optional stages with larger balls.
//!
//! A step moves the features with the steepest slopes, all by the same length. At checkpoints the number of features of
//! a step becomes two thirds of the number that the row's best point has moved and that have not met their bound. If
//! that point has become sparser, the search begins again from it with the full step; otherwise steps become shorter.
//! The largest number of features and the shortest step fall linearly to one feature and to 0.

use proofmark_threat::{Batch, Column, Columns, Region, host};

/// Share of the features that may change that the first step moves.
const FIRST_SHARE: f64 = 0.2;

/// A step moves this share of the number of features that the best point has moved and that can move further.
const SPARSER: f64 = 1.0 / 1.5;

/// The best point has become sparser if it moves less than this share of the features of the last checkpoint.
const DROP: f64 = 0.95;

/// Factor of a step that becomes shorter, and the shortest step at first, in units of the ball's radius.
const SHORTER: f64 = 1.0 / 1.5;
pub(super) const LEAST_STEP: f64 = 0.1;

/// Radius of the first ball of a search through larger balls, in units of epsilon.
pub(super) const WIDEST: f64 = 3.0;

/// Consecutive steps of a restart with the same radius.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stage {
    /// Radius of the ball, in units of epsilon.
    pub(super) radius: f64,
    /// Steps between two checkpoints: 4 % of the stage, at least 1.
    window: u64,
    /// Its first step, and the step after its last one.
    from: u64,
    until: u64,
}

impl Stage {
    /// Returns the share of its steps that is left at step `k`.
    pub(super) fn left(&self, k: u64) -> f64 {
        1.0 - (k - self.from) as f64 / (self.until - self.from) as f64
    }
}

/// Stages of a restart, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stages(Vec<Stage>);

impl Stages {
    /// Returns one stage of `steps` in the budget or, with `large_radii`, stages in balls of 3, 2 and 1 times the
    /// budget, of 30 %, 30 % and 40 % of the steps. The shares of few steps are rounded in favour of the last stage.
    pub(super) fn of(steps: u32, large_radii: bool) -> Self {
        let steps = u64::from(steps);
        let larger = if large_radii { steps * 3 / 10 } else { 0 };
        let mut all = Vec::new();
        let mut until = 0;
        for (radius, length) in [(WIDEST, larger), (2.0, larger), (1.0, steps - 2 * larger)] {
            let from = until;
            until += length;
            if length > 0 {
                all.push(Stage {
                    radius,
                    window: (length / 25).max(1),
                    from,
                    until,
                });
            }
        }
        Self(all)
    }

    /// Returns the stage of step `k` and, if `k` is its last step, the next one.
    pub(super) fn at(&self, k: u64) -> (Stage, Option<Stage>) {
        let last = self.0.len() - 1;
        let i = (self.0.iter().position(|s| k < s.until)).unwrap_or(last);
        let next = (k + 1 == self.0[i].until).then(|| self.0.get(i + 1).copied());
        (self.0[i], next.flatten())
    }

    /// Returns the radius of the first ball, in units of epsilon.
    pub(super) fn first_radius(&self) -> f64 {
        self.0[0].radius
    }
}

/// Progress of each row's ascent, on the host.
#[derive(Debug, Clone, Default)]
pub(super) struct Sparsity {
    /// Step length in units of the ball's radius.
    pub(super) step: Vec<f64>,
    /// Number of features of a step, not rounded, and of the first step of the stage.
    features: Vec<f64>,
    first: Vec<f64>,
    /// Number of features that the best point had moved at the last checkpoint.
    moved: Vec<f64>,
    best: Vec<f64>,
    /// Steps since the last checkpoint.
    steps: Vec<u64>,
}

impl Columns for Sparsity {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        vec![
            ("step".into(), Column::Real(&mut self.step)),
            ("features".into(), Column::Real(&mut self.features)),
            ("first".into(), Column::Real(&mut self.first)),
            ("moved".into(), Column::Real(&mut self.moved)),
            ("best".into(), Column::Real(&mut self.best)),
            ("steps".into(), Column::Count(&mut self.steps)),
        ]
    }
}

impl Sparsity {
    /// Returns the progress of rows of which this many features may change: the first steps move a fifth of them.
    pub(super) fn new(free: Vec<f64>) -> Self {
        let rows = free.len();
        let first: Vec<f64> = free.iter().map(|n| FIRST_SHARE * n).collect();
        Self {
            step: vec![1.0; rows],
            features: first.clone(),
            first,
            moved: free,
            best: vec![f64::NEG_INFINITY; rows],
            steps: vec![0; rows],
        }
    }

    /// Begins a stage of row `i` at a point that has moved these features.
    pub(super) fn begin(&mut self, i: usize, moved: Moved) {
        self.forget(i);
        self.step[i] = 1.0;
        self.features[i] = SPARSER * moved.open;
        self.first[i] = self.features[i];
        self.moved[i] = moved.all;
        self.steps[i] = 0;
    }

    /// Forgets the losses of row `i`, which continues with another loss or in another ball.
    pub(super) fn forget(&mut self, i: usize) {
        self.best[i] = f64::NEG_INFINITY;
    }

    /// Records the loss of row `i` and returns whether it is the row's best, and whether a checkpoint is due.
    pub(super) fn see(&mut self, i: usize, loss: f64, stage: Stage) -> (bool, bool) {
        let is_first = self.best[i] == f64::NEG_INFINITY;
        // A NaN loss is never the best.
        let is_best = is_first || loss > self.best[i];
        if loss > self.best[i] {
            self.best[i] = loss;
        }
        self.steps[i] += u64::from(!is_first);
        (is_best, self.steps[i] >= stage.window)
    }

    /// Makes the checkpoint of row `i`, whose best point has moved these features, with this share of the stage left, and
    /// returns whether the row returns to that point.
    pub(super) fn check(&mut self, i: usize, moved: Moved, left: f64) -> bool {
        let sparser = moved.all < DROP * self.moved[i];
        self.step[i] = if sparser {
            1.0
        } else {
            (SHORTER * self.step[i]).max(LEAST_STEP * left)
        };
        self.features[i] = SPARSER * moved.open;
        self.moved[i] = moved.all;
        self.steps[i] = 0;
        sparser
    }

    /// Returns the share of `all` features that makes a step move row `i`'s number of features, at least 1, with this
    /// share of the stage left.
    pub(super) fn spread(&self, i: usize, left: f64, all: usize) -> f64 {
        let features = self.features[i].min(self.first[i] * left);
        // A step rounds the share up to whole features.
        (features.floor().max(1.0) - 0.5) / all as f64
    }
}

/// Number of features in which a point differs from the clean row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moved {
    /// All of them.
    pub(super) all: f64,
    /// Those that have not met the bound in their direction.
    pub(super) open: f64,
}

/// Returns how many features of each row differ from the clean row.
pub(super) fn moved(region: &Region, x: &Batch) -> Vec<Moved> {
    let change = x.zip(&region.x0(), |x, x0| x - x0);
    let count = |d: &Batch| sums(&d.map(|d| d.not_equal_scalar(0.0).float()));
    let open = count(&region.ahead(x, &change));
    let counts = count(&change).into_iter().zip(open);
    counts.map(|(all, open)| Moved { all, open }).collect()
}

/// Returns how many features of each row may change.
pub(super) fn free(region: &Region) -> Vec<f64> {
    sums(&region.free(&region.x0().map(|x| x.ones_like())))
}

fn sums(x: &Batch) -> Vec<f64> {
    host(&x.sum_of(|b| b)).into_iter().map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::Device;
    use proofmark_domain::{Bounds, Epsilon, Kind, Modality, Norm};
    use proofmark_threat::{Step, Threat};

    use super::*;

    #[test]
    fn larger_balls_take_three_fifths_of_the_steps() {
        let stages = |steps: u32| -> Vec<(f64, u64, u64)> {
            let of = Stages::of(steps, true).0;
            of.iter().map(|s| (s.radius, s.window, s.until)).collect()
        };
        assert_eq!(stages(100), [(3.0, 1, 30), (2.0, 1, 60), (1.0, 1, 100)]);
        assert_eq!(
            stages(1000),
            [(3.0, 12, 300), (2.0, 12, 600), (1.0, 16, 1000)]
        );
        assert_eq!(stages(4), [(3.0, 1, 1), (2.0, 1, 2), (1.0, 1, 4)]);
        assert_eq!(stages(3), [(1.0, 1, 3)]);
        assert_eq!(Stages::of(100, false).0.len(), 1);
        assert_eq!(Stages::of(100, false).0[0].window, 4);
        let of = Stages::of(10, true);
        assert_eq!(of.at(0), (of.0[0], None));
        assert_eq!(of.at(2), (of.0[0], Some(of.0[1])));
        assert_eq!(of.at(3), (of.0[1], None));
        assert_eq!(of.at(9), (of.0[2], None));
        let left = [0, 3, 5, 6, 9].map(|k| of.at(k).0.left(k));
        assert!((left[2] - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!([left[0], left[1], left[3], left[4]], [1.0, 1.0, 1.0, 0.25]);
    }

    /// One row of 100 features, computed by hand, with a checkpoint every two steps.
    #[test]
    fn a_sparser_best_point_begins_the_search_again() {
        let stage = Stage {
            radius: 1.0,
            window: 2,
            from: 0,
            until: 50,
        };
        let open = |open: f64| Moved { all: open, open };
        let mut s = Sparsity::new(vec![100.0]);
        assert_eq!((s.features[0], s.moved[0], s.step[0]), (20.0, 100.0, 1.0));
        // The start and the first step are no checkpoint, the second step is.
        assert_eq!(s.see(0, -5.0, stage), (true, false));
        assert_eq!(s.see(0, -6.0, stage), (false, false));
        assert_eq!(s.see(0, -4.0, stage), (true, true));
        // 12 of 100 features is less than 95 %: full step, from the best point, with 12 / 1.5 features.
        assert!(s.check(0, open(12.0), 0.9));
        assert_eq!((s.step[0], s.spread(0, 0.9, 100)), (1.0, 0.075));
        // 11.4 of 12 is 95 %, not less: the step becomes shorter.
        assert_eq!(s.see(0, -3.0, stage), (true, false));
        assert_eq!(s.see(0, f64::NAN, stage), (false, true));
        assert!(!s.check(0, open(12.0), 0.9));
        assert!((s.step[0] - 1.0 / 1.5).abs() < 1e-12);
        // It becomes no shorter than a tenth of the share that is left. Features at their bound count for sparsity alone.
        for _ in 0..20 {
            let at_bounds = Moved {
                all: 12.0,
                open: 6.0,
            };
            assert!(!s.check(0, at_bounds, 0.5));
        }
        assert_eq!((s.step[0], s.spread(0, 0.5, 100)), (0.05, 0.035));
        // With a tenth of the stage left, a tenth of the first 20 features.
        assert_eq!(s.spread(0, 0.1, 100), 0.015);
        // A point that has not moved at all leaves one feature.
        assert!(s.check(0, open(0.0), 0.1));
        assert_eq!((s.step[0], s.spread(0, 0.1, 100)), (1.0, 0.005));
        // A further stage counts from the point that it begins with.
        s.begin(0, open(12.0));
        assert_eq!((s.features[0], s.first[0], s.moved[0]), (8.0, 8.0, 12.0));
        assert_eq!(s.see(0, -99.0, stage), (true, false));
    }

    /// Four features of equal steps: the four steepest of ten move by a quarter of the length each.
    #[test]
    fn a_step_moves_the_steepest_features_alike() {
        let modalities: Arc<[Modality]> = vec![Modality {
            name: "x".into(),
            kind: Kind::Table,
            shape: vec![10],
            bounds: Bounds::uniform(-9.0, 9.0).unwrap(),
        }]
        .into();
        let threat = Threat::uniform(&modalities, Norm::L1, &Epsilon::new(4.0).unwrap());
        let device = Device::flex();
        let region = Region::new(&threat, &modalities, &[vec![0.0; 10]], &[0], &device);
        let slopes: Vec<f32> = (1..=10).map(|i| i as f32 * 0.1).collect();
        let slopes = Batch::from_host(modalities.clone(), vec![slopes], &device).unwrap();
        let mut s = Sparsity::new(free(&region));
        assert_eq!(s.features, [2.0]);
        (s.features[0], s.first[0]) = (4.9, 9.0);
        let step =
            Step::new(region.column(&[0.5])).spread(region.column(&[s.spread(0, 1.0, 10) as f32]));
        let x = region.advance(&region.x0(), &slopes, &step);
        let by = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5];
        assert_eq!(x.to_host()[0], by);
        let four = Moved {
            all: 4.0,
            open: 4.0,
        };
        assert_eq!(moved(&region, &x), [four]);
        // At its bound a feature has moved and cannot move further.
        let further = x.map(|x| x * 18.0);
        let at_bounds = Moved {
            all: 4.0,
            open: 0.0,
        };
        assert_eq!(moved(&region, &further), [at_bounds]);
    }
}
