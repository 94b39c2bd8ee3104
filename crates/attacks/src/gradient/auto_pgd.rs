//! Auto-PGD, shared by `apgd` and `apgd-t`: one loop, with the schedule of the budget's norm.

use proofmark_domain::{Modality, Norm, StepRecord, ThreatRecord};
use proofmark_engine::{
    Access, Attack, EngineError, Job, Meta, Oracle, Outcomes, Rows, Stepper, check_norms, run,
};
use proofmark_model::GradientModel;
use proofmark_stats::random::Purpose;
use proofmark_threat::{Batch, Column, Columns, Step, host, prefixed};
use serde_json::{Map, Value};

use super::fallback::{Answer, WithFallback};
use super::halving::{FIRST_STEP, Halving, Intervals, Verdict};
use super::sparsity::{LEAST_STEP, Sparsity, Stage, Stages, WIDEST, free, moved};
use super::{nth_other, start, where_rows};
use crate::inputs;
use crate::loss::LossKind;

/// Share of a step that follows the gradient; the rest is momentum.
const FRESH: f32 = 0.75;

/// Target code of rows whose loss is that of the run's goal.
const NONE: u64 = u64::MAX;

/// APGD with its parameters checked.
#[derive(Debug)]
pub struct AutoPgd {
    pub(super) meta: &'static Meta,
    pub(super) parameters: Map<String, Value>,
    pub(super) steps: u32,
    pub(super) restarts: u32,
    pub(super) loss: LossKind,
    /// Number of target classes, each with its own restarts; `None` climbs the loss of the run's goal.
    pub(super) targets: Option<u32>,
    /// Draws of a random model per gradient.
    pub(super) draws: u32,
    /// Whether L1 restarts begin in larger balls.
    pub(super) large_radii: bool,
}

/// The attack for a model and a threat.
#[derive(Debug)]
struct Climb<'a> {
    attack: &'a AutoPgd,
    loss: WithFallback,
    /// Number of target classes; 1 if it climbs the loss of the run's goal.
    targets: u32,
    schedule: Schedule,
}

/// Schedule of the steps: one for norms whose steps move all features, one for L1.
#[derive(Debug)]
enum Schedule {
    Halving(Intervals),
    Sparse(Stages),
}

/// Present point of each row, and its best point with the gradient there.
#[derive(Debug, Clone)]
struct Points {
    x: Batch,
    best: Batch,
    best_gradient: Batch,
}

/// State of each row.
#[derive(Debug, Clone)]
struct State {
    points: Points,
    progress: Progress,
    /// Target class; [`NONE`] for the loss of the run's goal.
    target: Vec<u64>,
    /// 1 if the row climbs the second loss ([`WithFallback`]).
    on_fallback: Vec<u64>,
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

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let points = &mut self.points;
        let mut all = prefixed("x", &mut points.x);
        all.extend(prefixed("best", &mut points.best));
        all.extend(prefixed("best_gradient", &mut points.best_gradient));
        all.extend(prefixed("progress", &mut self.progress));
        all.push(("target".into(), Column::Count(&mut self.target)));
        all.push(("on_fallback".into(), Column::Count(&mut self.on_fallback)));
        all
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
fn is_sparse(attack: &str, job: &Job<'_>) -> Result<bool, EngineError> {
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

impl Climb<'_> {
    /// Returns each row's target class: the user's if one is set, otherwise chosen by clean score and restart number.
    fn targets<M: GradientModel + ?Sized>(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
    ) -> Result<Vec<u64>, EngineError> {
        if self.attack.targets.is_none() {
            return Ok(vec![NONE; rows.len()]);
        }
        let focus = rows.focus();
        if let Some(target) = focus.target() {
            return Ok(target.iter().map(|t| *t as u64).collect());
        }
        let clean = rows.request(&rows.region().x0());
        let classes = oracle.classes();
        let scores = host(&oracle.mean_scores(rows, clean, self.attack.draws)?);
        let rank = |restart: u64| (restart / u64::from(self.attack.restarts)) as usize;
        Ok(scores
            .chunks(classes)
            .zip(focus.label())
            .zip(rows.restarts())
            .map(|((scores, label), restart)| nth_other(scores, *label, rank(*restart)) as u64)
            .collect())
    }
}

/// Takes a step with momentum, and halves the step of rows whose loss has stopped rising.
fn step_with_momentum(
    rows: &Rows,
    points: &mut Points,
    progress: &mut Halving,
    answer: &Answer,
    intervals: Intervals,
) {
    let verdicts: Vec<Verdict> = (answer.loss.iter().zip(rows.steps()).enumerate())
        .map(|(i, (loss, k))| progress.see(i, *k, *loss, intervals))
        .collect();
    let is_best: Vec<bool> = verdicts.iter().map(|v| v.is_best).collect();
    let goes_back: Vec<bool> = verdicts.iter().map(|v| v.goes_back).collect();
    points.keep(&is_best, &answer.gradient);
    let [x, gradient] = points.or_best(&goes_back, &answer.gradient);

    let region = rows.region();
    let size: Vec<f32> = progress.step.iter().map(|s| *s as f32).collect();
    let ahead = region.advance(&x, &gradient, &Step::new(region.column(&size)));
    // The first step has no momentum: it has no previous point.
    let fresh: Vec<f32> = (rows.steps().iter())
        .map(|k| if *k == 0 { 1.0 } else { FRESH })
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
    stages: &Stages,
) {
    let region = rows.region();
    let at: Vec<(Stage, Option<Stage>)> = rows.steps().iter().map(|k| stages.at(*k)).collect();
    let (is_best, due): (Vec<bool>, Vec<bool>) = (answer.loss.iter().zip(&at).enumerate())
        .map(|(i, (loss, (stage, _)))| progress.see(i, *loss, *stage))
        .unzip();
    points.keep(&is_best, &answer.gradient);
    let left: Vec<f64> = (at.iter().zip(rows.steps()))
        .map(|((stage, _), k)| stage.left(*k))
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

impl<M: GradientModel + ?Sized> Stepper<M> for Climb<'_> {
    type State = State;

    fn id(&self) -> &'static str {
        self.attack.meta.id
    }

    fn steps(&self) -> u32 {
        self.attack.steps
    }

    fn restarts(&self) -> u32 {
        self.targets.saturating_mul(self.attack.restarts)
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        let target = self.targets(oracle, rows)?;
        let keys = rows.streams(Purpose::Start, 0);
        let region = rows.region();
        let (x, progress) = match &self.schedule {
            Schedule::Halving(intervals) => {
                let x = region.perturb(&keys, start::draw);
                (x.clone(), Progress::Halving(Halving::new(x, *intervals)))
            }
            Schedule::Sparse(stages) => {
                let radius = region.column(&vec![stages.first_radius() as f32; rows.len()]);
                let x = region.perturb_within(&keys, &radius, start::draw);
                let mut progress = Sparsity::new(free(region));
                if stages.first_radius() > 1.0 {
                    for (i, moved) in moved(region, &x).into_iter().enumerate() {
                        progress.begin(i, moved);
                    }
                }
                (x, Progress::Sparse(progress))
            }
        };
        Ok(State {
            points: Points {
                best: x.clone(),
                best_gradient: x.map(|b| b.zeros_like()),
                x,
            },
            progress,
            on_fallback: vec![0; target.len()],
            target,
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let target = (self.attack.targets.is_some()).then_some(state.target.as_slice());
        let on_fallback = &mut state.on_fallback;
        let x = &state.points.x;
        let answer = (self.loss).gradient(oracle, rows, x, target, on_fallback)?;
        for i in (0..rows.len()).filter(|i| answer.changed[*i]) {
            state.progress.forget(i);
        }
        match (&self.schedule, &mut state.progress) {
            (Schedule::Halving(intervals), Progress::Halving(progress)) => {
                step_with_momentum(rows, &mut state.points, progress, &answer, *intervals);
            }
            (Schedule::Sparse(stages), Progress::Sparse(progress)) => {
                sparse_step(rows, &mut state.points, progress, &answer, stages);
            }
            _ => unreachable!("the schedule chose the progress"),
        }
        Ok(())
    }

    fn last(&self, state: &State) -> Option<Batch> {
        Some(state.points.x.clone())
    }
}

impl Attack for AutoPgd {
    fn meta(&self) -> &'static Meta {
        self.meta
    }

    fn parameters(&self) -> Map<String, Value> {
        self.parameters.clone()
    }

    fn step_sizes(&self, threat: &ThreatRecord) -> Vec<StepRecord> {
        let moving = threat.budgets.iter().filter(|b| b.eps > 0.0);
        moving
            .map(|b| {
                let [first, last] = match b.norm {
                    Norm::L1 if self.large_radii => [WIDEST, LEAST_STEP],
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

    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        check_norms(self.meta, job)?;
        is_sparse(self.meta.id, job).map(|_| ())
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let classes = job.classes(access.signature());
        let targeted = job.goal.targeted() || self.targets.is_some();
        let climb = Climb {
            attack: self,
            loss: WithFallback::new(self.loss, classes, targeted, self.draws),
            targets: match self.targets {
                Some(targets) if !job.goal.targeted() => targets.min(classes as u32 - 1),
                _ => 1,
            },
            schedule: if is_sparse(self.meta.id, job)? {
                Schedule::Sparse(Stages::of(self.steps, self.large_radii))
            } else {
                Schedule::Halving(Intervals::of(self.steps))
            },
        };
        run(access.gradients(self.meta.id)?, &climb, job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_likeliest_other_classes() {
        let scores = [1.0, 5.0, 3.0, 3.0, f32::NEG_INFINITY];
        let all: Vec<usize> = (0..5).map(|rank| nth_other(&scores, 1, rank)).collect();
        assert_eq!(all, [2, 3, 0, 4, 4]);
        assert_eq!(nth_other(&scores, 2, 0), 1);
    }
}
