//! How APGD moves a point: a step with momentum that is halved at checkpoints or, in L1, a sparse step.
//!
//! Rows of one batch may be at different steps of different schedules ([`At`]).

use proofmark_domain::{Modality, Norm, StepRecord, ThreatRecord};
use proofmark_engine::{EngineError, Job, Rows};
use proofmark_stats::random::StreamKey;
use proofmark_threat::{Batch, Column, Columns, Region, Step, append, prefixed, select};

use super::fallback::Answer;
use super::halving::{FIRST_STEP, Halving, Intervals, Verdict};
use super::sparsity::{LEAST_STEP, Sparsity, Stage, Stages, WIDEST, free, moved};
use super::{start, where_rows};
use crate::inputs;

/// Share of a step that follows the gradient; the rest is momentum.
const FRESH: f32 = 0.75;

/// Schedule of the steps of one ascent: one for norms whose steps move all features, one for L1.
#[derive(Debug)]
pub(super) enum Schedule {
    Halving(Intervals),
    Sparse(Stages),
}

impl Schedule {
    /// Returns the schedule of `steps` for the job's norms. `large_radii` begins an ascent in L1 in larger balls.
    pub(super) fn of(
        attack: &str,
        job: &Job<'_>,
        steps: u32,
        large_radii: bool,
    ) -> Result<Self, EngineError> {
        Ok(if is_sparse(attack, job)? {
            Self::Sparse(Stages::of(steps, large_radii))
        } else {
            Self::Halving(Intervals::of(steps))
        })
    }

    fn intervals(&self) -> Intervals {
        match self {
            Self::Halving(intervals) => *intervals,
            Self::Sparse(_) => unreachable!("all rows have the schedule of one norm"),
        }
    }

    fn stages(&self) -> &Stages {
        match self {
            Self::Sparse(stages) => stages,
            Self::Halving(_) => unreachable!("all rows have the schedule of one norm"),
        }
    }
}

/// Place of a row on its ascent: the step, from 0, and the schedule.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) step: u64,
    pub(super) schedule: &'a Schedule,
}

/// Returns the first and last step of each modality that may change.
pub(super) fn step_sizes(threat: &ThreatRecord, large_radii: bool) -> Vec<StepRecord> {
    let moving = threat.budgets.iter().filter(|b| b.eps > 0.0);
    moving
        .map(|b| {
            let [first, last] = match b.norm {
                Norm::L1 if large_radii => [WIDEST, LEAST_STEP],
                Norm::L1 => [1.0, LEAST_STEP],
                // Each row halves its own step.
                _ => [FIRST_STEP, 0.0],
            };
            StepRecord {
                modality: b.modality.clone(),
                first: first * b.eps,
                last: last * b.eps,
                every_third_try: None,
            }
        })
        .collect()
}

/// The ascent of each row.
#[derive(Debug, Clone)]
pub(super) struct Path {
    points: Points,
    progress: Progress,
}

impl Columns for Path {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let points = &mut self.points;
        let mut all = prefixed("x", &mut points.x);
        all.extend(prefixed("best", &mut points.best));
        all.extend(prefixed("best_gradient", &mut points.best_gradient));
        all.extend(prefixed("progress", &mut self.progress));
        all
    }
}

impl Path {
    /// Begins each row's ascent at a random point, by `keys`.
    pub(super) fn begin(region: &Region, keys: &[StreamKey], schedules: &[&Schedule]) -> Self {
        let is_sparse = matches!(schedules.first(), Some(Schedule::Sparse(_)));
        let (x, progress) = if is_sparse {
            let radii: Vec<f64> = (schedules.iter())
                .map(|s| s.stages().first_radius())
                .collect();
            let radius: Vec<f32> = radii.iter().map(|r| *r as f32).collect();
            let x = region.perturb_within(keys, &region.column(&radius), start::draw);
            let mut progress = Sparsity::new(free(region));
            if radii.iter().any(|r| *r > 1.0) {
                let moved = moved(region, &x).into_iter();
                for (i, moved) in moved.enumerate().filter(|(i, _)| radii[*i] > 1.0) {
                    progress.begin(i, moved);
                }
            }
            (x, Progress::Sparse(progress))
        } else {
            let x = region.perturb(keys, start::draw);
            let intervals: Vec<Intervals> = schedules.iter().map(|s| s.intervals()).collect();
            (x.clone(), Progress::Halving(Halving::new(x, &intervals)))
        };
        Self {
            points: Points {
                best: x.clone(),
                best_gradient: x.map(|b| b.zeros_like()),
                x,
            },
            progress,
        }
    }

    /// Replaces the ascents of the rows `at` by those of `fresh`.
    pub(super) fn replace(&mut self, at: &[usize], mut fresh: Self) {
        let n = self.points.x.rows();
        append(self, &mut fresh);
        let mut keep: Vec<usize> = (0..n).collect();
        for (k, i) in at.iter().enumerate() {
            keep[*i] = n + k;
        }
        select(self, &keep);
    }

    /// Returns the present point of each row.
    pub(super) const fn x(&self) -> &Batch {
        &self.points.x
    }

    /// Moves each row by the answer at its present point.
    pub(super) fn step(&mut self, rows: &Rows, answer: &Answer, at: &[At<'_>]) {
        for i in (0..rows.len()).filter(|i| answer.changed[*i]) {
            self.progress.forget(i);
        }
        match &mut self.progress {
            Progress::Halving(p) => step_with_momentum(rows, &mut self.points, p, answer, at),
            Progress::Sparse(p) => sparse_step(rows, &mut self.points, p, answer, at),
        }
    }
}

/// Present point of each row, and its best point with the gradient there.
#[derive(Debug, Clone)]
struct Points {
    x: Batch,
    best: Batch,
    best_gradient: Batch,
}

/// Progress of each row under the schedule of its norm.
#[derive(Debug, Clone)]
enum Progress {
    Halving(Halving),
    Sparse(Sparsity),
}

impl Progress {
    /// Forgets the losses of row `i`, which continues with another loss.
    fn forget(&mut self, i: usize) {
        match self {
            Self::Halving(p) => p.forget(i),
            Self::Sparse(p) => p.forget(i),
        }
    }
}

impl Columns for Progress {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        match self {
            Self::Halving(p) => p.columns(),
            Self::Sparse(p) => p.columns(),
        }
    }
}

impl Points {
    /// Keeps the present point of the rows where it is the best.
    fn keep(&mut self, is_best: &[bool], gradient: &Batch) {
        self.best = where_rows(is_best, &self.x, &self.best);
        self.best_gradient = where_rows(is_best, gradient, &self.best_gradient);
    }

    /// Returns the present point and its gradient, and for the rows that go back their best point and the gradient
    /// there.
    fn or_best(&self, goes_back: &[bool], gradient: &Batch) -> [Batch; 2] {
        [
            where_rows(goes_back, &self.best, &self.x),
            where_rows(goes_back, &self.best_gradient, gradient),
        ]
    }
}

/// Returns whether the modalities that may change have L1 budgets; an error if only some of them have.
pub(super) fn is_sparse(attack: &str, job: &Job<'_>) -> Result<bool, EngineError> {
    let norms = inputs::norms(job);
    let sparse = norms.contains(&Norm::L1);
    match norms.iter().find(|n| **n != Norm::L1) {
        Some(other) if sparse => Err(EngineError::Parameter {
            name: "norm",
            given: format!("l1 beside {other}"),
            expected: format!(
                "l1 for every input that may change, or for none: `{attack}` has other steps in l1 (use pgd)"
            ),
        }),
        _ => Ok(sparse),
    }
}

/// Takes a step with momentum, and halves the step of rows whose loss has stopped rising.
fn step_with_momentum(
    rows: &Rows,
    points: &mut Points,
    progress: &mut Halving,
    answer: &Answer,
    at: &[At<'_>],
) {
    let verdicts: Vec<Verdict> = (answer.loss.iter().zip(at).enumerate())
        .map(|(i, (loss, at))| progress.see(i, at.step, *loss, at.schedule.intervals()))
        .collect();
    let is_best: Vec<bool> = verdicts.iter().map(|v| v.is_best).collect();
    let goes_back: Vec<bool> = verdicts.iter().map(|v| v.goes_back).collect();
    points.keep(&is_best, &answer.gradient);
    let [x, gradient] = points.or_best(&goes_back, &answer.gradient);

    let region = rows.region();
    let size: Vec<f32> = progress.step.iter().map(|s| *s as f32).collect();
    let ahead = region.advance(&x, &gradient, &Step::new(region.column(&size)));
    // The first step has no momentum: it has no previous point.
    let fresh: Vec<f32> = (at.iter())
        .map(|at| if at.step == 0 { 1.0 } else { FRESH })
        .collect();
    let fresh = region.column(&fresh).unsqueeze_dim::<2>(1);
    let moved = ahead.zip(&x, |ahead, x| (ahead - x) * fresh.clone());
    let momentum = x.zip(&progress.before, |x, before| {
        (x - before) * (fresh.clone().neg() + 1.0)
    });
    let next = x.zip(&moved, |x, m| x + m).zip(&momentum, |x, m| x + m);
    progress.before = x;
    points.x = region.project(&next);
}

/// Takes an L1 step of the features with the steepest slopes, and begins the next stage of rows at the end of one.
fn sparse_step(
    rows: &Rows,
    points: &mut Points,
    progress: &mut Sparsity,
    answer: &Answer,
    places: &[At<'_>],
) {
    let region = rows.region();
    let at: Vec<(Stage, Option<Stage>)> = (places.iter())
        .map(|at| at.schedule.stages().at(at.step))
        .collect();
    let (is_best, due): (Vec<bool>, Vec<bool>) = (answer.loss.iter().zip(&at).enumerate())
        .map(|(i, (loss, (stage, _)))| progress.see(i, *loss, *stage))
        .unzip();
    points.keep(&is_best, &answer.gradient);
    let left: Vec<f64> = (at.iter().zip(places))
        .map(|((stage, _), at)| stage.left(at.step))
        .collect();
    let mut goes_back = vec![false; rows.len()];
    if due.contains(&true) {
        let moved = moved(region, &points.best);
        for i in (0..rows.len()).filter(|i| due[*i]) {
            goes_back[i] = progress.check(i, moved[i], left[i]);
        }
    }
    let [x, gradient] = points.or_best(&goes_back, &answer.gradient);

    let features = x.modalities().iter().map(Modality::features).sum();
    let column = |value: &dyn Fn(usize) -> f64| {
        let values: Vec<f32> = (0..rows.len()).map(|i| value(i) as f32).collect();
        region.column(&values)
    };
    let step = Step::new(column(&|i| progress.step[i] * at[i].0.radius))
        .spread(column(&|i| progress.spread(i, left[i], features)))
        .within(column(&|i| at[i].0.radius));
    points.x = region.advance(&x, &gradient, &step);

    let ends: Vec<bool> = at.iter().map(|(_, next)| next.is_some()).collect();
    if ends.contains(&true) {
        let radius = column(&|i| at[i].1.map_or(1.0, |next| next.radius));
        let begun = region.project_within(&points.best, &radius);
        let moved = moved(region, &begun);
        for i in (0..rows.len()).filter(|i| ends[*i]) {
            progress.begin(i, moved[i]);
        }
        points.x = where_rows(&ends, &begun, &points.x);
    }
}
