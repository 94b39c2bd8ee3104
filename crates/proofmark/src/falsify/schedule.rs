//! The schedule of the search: levels of growing effort.

use proofmark_attacks::update::{Adam, Momentum, Update};

use super::start::Start;

/// Maximum number of inputs for which a box can be sampled densely.
const FEW: usize = 16;

/// Facts about the problem that determine the schedule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) inputs: usize,
    /// Number of constraints of the longest case.
    pub(super) constraints: usize,
    /// Whether usable gradients exist.
    pub(super) gradients: bool,
    /// Whether a surrogate is searched in place of a model whose scores move in steps.
    pub(super) steps: bool,
}

impl Shape {
    pub(super) fn few(&self) -> bool {
        self.inputs <= FEW
    }

    /// Returns the number of rows per run: for small networks, many rows cost little more.
    pub(super) fn rows(&self) -> usize {
        match (self.few(), self.steps) {
            (true, _) => 256,
            (false, false) => 64,
            (false, true) => 16,
        }
    }
}

/// How violations become one loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weighing {
    Worst,
    Soft,
    /// Hinges with random weights per row.
    Random,
}

/// How gradients become directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Sign,
    Momentum,
    Adam,
}

impl Direction {
    pub(super) fn updates(self) -> Vec<Box<dyn Update>> {
        match self {
            Self::Sign => Vec::new(),
            Self::Momentum => vec![Box::new(Momentum { decay: 0.9 })],
            Self::Adam => vec![Box::new(Adam {
                beta1: 0.9,
                beta2: 0.99,
            })],
        }
    }
}

/// Search method of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Method {
    /// Gradient ascent, [`super::climb::Climb`].
    Climb {
        direction: Direction,
        /// Number of steps towards random outputs before the climb.
        scatter: u32,
        /// First and last step length, in half widths.
        lengths: (f32, f32),
    },
    /// Random search without gradients, [`super::random_search::RandomSearch`].
    RandomSearch,
    /// Random search by windows from the best points so far, [`super::windows::Windows`].
    Windows {
        /// Number of steps that share a gradient.
        every: u32,
    },
}

/// One run of a level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Recipe {
    pub(super) weighing: Weighing,
    pub(super) method: Method,
    pub(super) start: Start,
    /// Number of points drawn per row; the best one is the start.
    pub(super) draws: u32,
    pub(super) steps: u32,
}

/// Returns the runs of a level. Steps and draws grow up to level 5; there is no last level.
pub(super) fn level(level: u32, shape: Shape) -> Vec<Recipe> {
    let steps = 40 << level.saturating_sub(1).min(4);
    let draws = if shape.few() { 16 << level.min(5) } else { 1 };
    let climb = |weighing, direction, scatter, lengths, start| Recipe {
        weighing,
        method: Method::Climb {
            direction,
            scatter,
            lengths,
        },
        start,
        draws: if start == Start::Inside { draws } else { 1 },
        steps,
    };
    let random_search = |weighing, steps| Recipe {
        weighing,
        method: Method::RandomSearch,
        start: Start::Inside,
        draws,
        steps,
    };
    if shape.steps {
        return in_steps(level, shape);
    }
    let (worst, soft, random) = (Weighing::Worst, Weighing::Soft, Weighing::Random);
    if !shape.gradients {
        let weighing = if level % 2 == 1 && shape.constraints > 1 {
            random
        } else {
            worst
        };
        return vec![random_search(weighing, 4 * steps)];
    }
    if level == 0 {
        // Most counterexamples that can be found are found here.
        return vec![Recipe {
            steps: 20,
            ..climb(worst, Direction::Sign, 0, (1.0, 0.05), Start::Inside)
        }];
    }
    // With one constraint all weighings are the same.
    let other = |w| if shape.constraints > 1 { w } else { worst };
    vec![
        climb(worst, Direction::Momentum, 5, (0.5, 0.01), Start::Inside),
        climb(other(soft), Direction::Adam, 0, (0.2, 0.005), Start::Inside),
        climb(
            other(random),
            Direction::Sign,
            0,
            (0.25, 0.01),
            Start::Corner,
        ),
        climb(other(soft), Direction::Sign, 10, (1.0, 0.01), Start::Inside),
        random_search(worst, steps),
    ]
}

/// Returns the runs of a level for a model whose scores move in steps: climbs along the surrogate's slope, each
/// followed by windows from the best points so far.
fn in_steps(level: u32, shape: Shape) -> Vec<Recipe> {
    let steps = 20 << level.min(5);
    let draws = if shape.few() { 16 << level.min(5) } else { 1 };
    let climb = |direction, lengths, start| Recipe {
        weighing: Weighing::Worst,
        method: Method::Climb {
            direction,
            scatter: 0,
            lengths,
        },
        start,
        draws: if start == Start::Inside { draws } else { 1 },
        steps,
    };
    let windows = Recipe {
        weighing: Weighing::Worst,
        method: Method::Windows { every: 4 },
        start: Start::Given,
        draws: 1,
        steps: 2 * steps,
    };
    let ascent = climb(Direction::Sign, (1.0, 0.05), Start::Inside);
    // A few steps in every case tell which cases are near.
    let scout = Recipe { steps: 3, ..ascent };
    let mut all = vec![
        ascent,
        windows,
        climb(Direction::Momentum, (0.5, 0.01), Start::Inside),
        windows,
        climb(Direction::Adam, (0.2, 0.005), Start::Corner),
        windows,
    ];
    if level == 0 {
        all.truncate(2);
        all.insert(0, scout);
    }
    all
}

/// Assigns a case to each of `rows` rows: half of the rows cycle through all cases, the other half through the nearest
/// three.
///
/// `order` lists the cases from the nearest on; `turn` moves the window on if there are more cases than rows.
pub(super) fn allot(order: &[usize], rows: usize, turn: usize) -> Vec<usize> {
    const NEAREST: usize = 3;
    let n = order.len();
    let near = order[..n.min(NEAREST)]
        .iter()
        .copied()
        .cycle()
        .take(rows / 2);
    let all = (0..n)
        .cycle()
        .skip(turn * (rows - rows / 2) % n)
        .take(rows - rows / 2);
    near.chain(all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_to_every_case_and_mostly_to_the_nearest() {
        let rows = allot(&[4, 2, 0, 1, 3], 20, 0);
        let of = |case: usize| rows.iter().filter(|c| **c == case).count();
        assert_eq!([0, 1, 2, 3, 4].map(of), [5, 2, 5, 2, 6]);
        assert_eq!(allot(&[0], 4, 7), [0; 4]);
        // With more cases than rows, every case gets its turn.
        let order: Vec<usize> = (0..100).collect();
        let mut seen: Vec<usize> = (0..20).flat_map(|turn| allot(&order, 10, turn)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, order);
    }

    #[test]
    fn effort_grows_and_never_ends() {
        let shape = Shape {
            inputs: 784,
            constraints: 1,
            gradients: true,
            steps: false,
        };
        let steps = |l| level(l, shape).iter().map(|r| r.steps).sum::<u32>();
        assert!(steps(0) < steps(1) && steps(1) < steps(3) && steps(u32::MAX) >= steps(5));
        let blind = level(
            3,
            Shape {
                gradients: false,
                ..shape
            },
        );
        assert!(blind.iter().all(|r| r.method == Method::RandomSearch));
    }
}
