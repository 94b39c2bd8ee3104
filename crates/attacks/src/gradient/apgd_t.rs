//! Auto-PGD towards one target class after another.
//!
//! # Idea
//! Ascend towards each of the likeliest wrong classes in turn, with momentum and a step that halves when the loss stops
//! rising. There is no step size to tune, and the attack tries classes that the untargeted gradient ignores.
//!
//! # Maths
//! With `z = P(x_k + η_k u(∇ℓ(x_k)))`, `u` the steepest step of the norm inside the bounds and `P` the projection on
//! ball ∩ bounds,
//!
//! `x_{k+1} = P(x_k + 0.75 (z − x_k) + 0.25 (x_k − x_{k−1}))`; the first step has no momentum.
//!
//! `η_0 = 2 ε`. At checkpoints after 22 %, 41 %, 57 %, … of the steps (each interval is shorter than the last by 3 % of
//! the steps, at least 6 %), a row halves its step and returns to its best point if the loss rose in at most 75 % of
//! the steps since the last checkpoint, or if neither its best loss nor its step has changed since.
//!
//! Restart `t` (of `targets × restarts`) ascends towards the class with the `⌊t / restarts⌋ + 1`-highest clean score
//! other than the label, on the targeted difference of logits ratio.
//!
//! # Reference
//! Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
//! ICML 2020, algorithm 1 and section 4.1; `APGDAttack_targeted` of the authors' `AutoAttack`.
//!
//! # Divergences
//! When it counts rises, the authors' code compares the first loss of a row with 0; here it is compared with the loss
//! at the start. Their L2 step is `η g / |g|` regardless of the bounds; here it is the step of that length that gains
//! most inside them. Their projections clip after projecting; these are exact on ball ∩ bounds. As in their code, every
//! row keeps its own step, checkpoints and best point. The authors leave ties between classes to `sort`; here the lower
//! class is taken first. A target class set by the user is the only one tried. With fewer than 4 classes the loss is
//! the margin ([`Dlr`](crate::loss::Dlr)).
//!
//! # Cost
//! Per sample and restart: `steps` forwards and backwards, one forward for the clean scores, one to judge. A sample
//! stops once it breaks.
//!
//! # When it fails
//! Where gradients are zero, saturated or misleading, like every gradient attack.
//!
//! # Example
//! ```
//! let table: toml::Table = "targets = 3\nsteps = 50".parse().unwrap();
//! let attack = proofmark_attacks::build("apgd-t", &table).unwrap();
//! assert_eq!(attack.parameters()["targets"], 3);
//! ```

use proofmark_domain::{Norm, Role, StepRecord, ThreatRecord};
use proofmark_engine::{
    Access, Attack, AttackEntry, BuildError, EngineError, Job, Loss, Meta, Needs, Oracle, Outcomes,
    Rows, Stepper, run,
};
use proofmark_model::GradientModel;
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Column, Columns, Draw, Step, host, prefixed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{likeliest, where_rows};
use crate::config::{at_least_one, read, written};
use crate::loss::LossKind;

/// Parameters of targeted APGD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Steps per restart, at least 1; default 100.
    pub steps: u32,
    /// Number of target classes, the likeliest first, at least 1; default 9 (or all other classes, if there are fewer).
    pub targets: u32,
    /// Restarts per class, at least 1; default 1.
    pub restarts: u32,
    /// Loss: `ce`, `margin` or `dlr`; default `dlr`.
    pub loss: LossKind,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: 100,
            targets: 9,
            restarts: 1,
            loss: LossKind::Dlr,
        }
    }
}

/// First step, in units of epsilon.
const FIRST_STEP: f64 = 2.0;

/// Share of a step that follows the gradient; the rest is momentum.
const FRESH: f32 = 0.75;

/// The step halves if the loss rose in at most this share of the steps between two checkpoints.
const RISES: f64 = 0.75;

const META: Meta = Meta {
    id: "apgd-t",
    version: 1,
    summary: "Auto-PGD towards the likeliest other classes in turn",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: &[Norm::Linf, Norm::L2],
    reference: "Croce and Hein 2020, arXiv:2003.01690",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<ApgdT, BuildError> {
        at_least_one(META.id, "steps", self.steps)?;
        at_least_one(META.id, "targets", self.targets)?;
        at_least_one(META.id, "restarts", self.restarts)?;
        Ok(ApgdT(self))
    }
}

/// Steps between checkpoints: the first interval, the decrease from one interval to the next, and the shortest
/// interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Intervals {
    first: u64,
    shorter: u64,
    least: u64,
}

impl Intervals {
    /// Returns the intervals of `AutoAttack` for `steps`: 22 %, 3 % and 6 %, each at least 1.
    fn of(steps: u32) -> Self {
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

/// Targeted APGD with its parameters checked.
#[derive(Debug)]
pub struct ApgdT(Config);

/// The attack for a model with a given number of classes.
#[derive(Debug)]
struct Climb<'a> {
    config: &'a Config,
    loss: Box<dyn Loss>,
    /// Number of target classes.
    targets: u32,
    intervals: Intervals,
}

/// State of each row: its present, previous and best point, and the progress of its ascent.
#[derive(Debug, Clone)]
struct State {
    x: Batch,
    before: Batch,
    best: Batch,
    best_gradient: Batch,
    climb: Progress,
    target: Vec<u64>,
}

/// Progress of each row's ascent, on the host.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// Step length in units of epsilon.
    step: Vec<f64>,
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

impl Columns for Progress {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        vec![
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
        ]
    }
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("before", &mut self.before));
        all.extend(prefixed("best", &mut self.best));
        all.extend(prefixed("best_gradient", &mut self.best_gradient));
        all.extend(prefixed("climb", &mut self.climb));
        all.push(("target".into(), Column::Count(&mut self.target)));
        all
    }
}

/// Result of evaluating a row's loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Verdict {
    /// Whether the present point is the row's best.
    is_best: bool,
    /// Whether the row returns to its best point.
    goes_back: bool,
}

impl Progress {
    fn new(rows: usize, intervals: Intervals) -> Self {
        let least = vec![f64::NEG_INFINITY; rows];
        Self {
            step: vec![FIRST_STEP; rows],
            loss: least.clone(),
            best: least.clone(),
            best_at_check: least,
            steps: vec![0; rows],
            rises: vec![0; rows],
            interval: vec![intervals.first; rows],
            halved: vec![1; rows],
        }
    }

    /// Records the loss of row `i` at its point `k` (from 0).
    fn see(&mut self, i: usize, k: u64, loss: f64, intervals: Intervals) -> Verdict {
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

/// Draws a random point at the full budget's distance from the clean one, before the bounds clip it.
pub(super) fn on_sphere(draw: &mut Draw<'_>, stream: &mut Stream) {
    let direction: Vec<f64> = (0..draw.x.len())
        .map(|_| match draw.norm {
            Norm::L2 => f64::from(stream.normal()),
            _ => 2.0 * f64::from(stream.uniform()) - 1.0,
        })
        .collect();
    let scale = draw.eps
        / draw
            .norm
            .of(direction.iter().copied())
            .max(f64::MIN_POSITIVE);
    for (x, d) in draw.x.iter_mut().zip(direction) {
        *x = (f64::from(*x) + scale * d) as f32;
    }
}

/// Returns the class with the `rank`-highest score (from 0) other than `label`; ties go to the lower class.
fn nth_other(scores: &[f32], label: usize, rank: usize) -> usize {
    let others = likeliest(scores, label);
    others[rank.min(others.len() - 1)]
}

impl Climb<'_> {
    /// Returns each row's target class: the user's if one is set, otherwise chosen by clean score and restart number.
    fn targets<M: GradientModel + ?Sized>(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
    ) -> Result<Vec<u64>, EngineError> {
        let focus = rows.focus();
        if let Some(target) = focus.target() {
            return Ok(target.iter().map(|t| *t as u64).collect());
        }
        let clean = rows.request(&rows.region().x0());
        let classes = oracle.signature().classes;
        let scores = host(&oracle.scores(rows, clean)?);
        let rank = |restart: u64| (restart / u64::from(self.config.restarts)) as usize;
        Ok(scores
            .chunks(classes)
            .zip(focus.label())
            .zip(rows.restarts())
            .map(|((scores, label), restart)| nth_other(scores, *label, rank(*restart)) as u64)
            .collect())
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Climb<'_> {
    type State = State;

    fn id(&self) -> &'static str {
        META.id
    }

    fn steps(&self) -> u32 {
        self.config.steps
    }

    fn restarts(&self) -> u32 {
        self.targets.saturating_mul(self.config.restarts)
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        let target = self.targets(oracle, rows)?;
        let x = rows
            .region()
            .perturb(&rows.streams(Purpose::Start, 0), on_sphere);
        Ok(State {
            before: x.clone(),
            best: x.clone(),
            best_gradient: x.map(|b| b.zeros_like()),
            climb: Progress::new(rows.len(), self.intervals),
            target,
            x,
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let target = state.target.iter().map(|t| *t as usize).collect();
        let request = rows.request(&state.x).towards(target);
        let answer = oracle.gradient_of(rows, request, self.loss.as_ref())?;
        let losses = host(&answer.loss);
        let verdicts: Vec<Verdict> = (losses.iter().zip(rows.steps()).enumerate())
            .map(|(i, (loss, k))| state.climb.see(i, *k, f64::from(*loss), self.intervals))
            .collect();
        let is_best: Vec<bool> = verdicts.iter().map(|v| v.is_best).collect();
        let goes_back: Vec<bool> = verdicts.iter().map(|v| v.goes_back).collect();
        state.best = where_rows(&is_best, &state.x, &state.best);
        state.best_gradient = where_rows(&is_best, &answer.gradient, &state.best_gradient);
        let x = where_rows(&goes_back, &state.best, &state.x);
        let gradient = where_rows(&goes_back, &state.best_gradient, &answer.gradient);

        let region = rows.region();
        let size: Vec<f32> = state.climb.step.iter().map(|s| *s as f32).collect();
        let ahead = region.advance(&x, &gradient, &Step::new(region.column(&size)));
        // The first step has no momentum: it has no previous point.
        let fresh: Vec<f32> = (rows.steps().iter())
            .map(|k| if *k == 0 { 1.0 } else { FRESH })
            .collect();
        let fresh = region.column(&fresh).unsqueeze_dim::<2>(1);
        let moved = ahead.zip(&x, |ahead, x| (ahead - x) * fresh.clone());
        let momentum = x.zip(&state.before, |x, before| {
            (x - before) * (fresh.clone().neg() + 1.0)
        });
        let next = x.zip(&moved, |x, m| x + m).zip(&momentum, |x, m| x + m);
        state.before = x;
        state.x = region.project(&next);
        Ok(())
    }

    fn last(&self, state: &State) -> Option<Batch> {
        Some(state.x.clone())
    }
}

impl Attack for ApgdT {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.0)
    }

    fn step_sizes(&self, threat: &ThreatRecord) -> Vec<StepRecord> {
        let moving = threat.budgets.iter().filter(|b| b.eps > 0.0);
        moving
            .map(|b| StepRecord {
                modality: b.modality.clone(),
                first: FIRST_STEP * b.eps,
                // Each row halves its own step.
                last: 0.0,
                every_third_try: None,
            })
            .collect()
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let others = access.signature().classes as u32 - 1;
        let climb = Climb {
            config: &self.0,
            loss: self.0.loss.loss(),
            targets: if job.goal.targeted() {
                1
            } else {
                self.0.targets.min(others)
            },
            intervals: Intervals::of(self.0.steps),
        };
        run(access.gradients(META.id)?, &climb, job)
    }
}

/// Registry entry of targeted APGD.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper's checkpoints for 100 steps: p = 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99.
    #[test]
    fn checkpoints_match_the_paper() {
        let intervals = Intervals::of(100);
        let (mut at, mut interval, mut all) = (0, intervals.first, Vec::new());
        while at + interval <= 100 {
            at += interval;
            all.push(at);
            interval = intervals.after(interval);
        }
        assert_eq!(all, [22, 41, 57, 70, 80, 87, 93, 99]);
        let few = Intervals::of(4);
        assert_eq!((few.first, few.shorter, few.least), (1, 1, 1));
    }

    /// One row, computed by hand: intervals of 4, then 3.
    #[test]
    fn steps_halve_when_the_loss_stops_rising() {
        let intervals = Intervals {
            first: 4,
            shorter: 1,
            least: 2,
        };
        let mut p = Progress::new(1, intervals);
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
    fn targets_are_the_likeliest_other_classes() {
        let scores = [1.0, 5.0, 3.0, 3.0, f32::NEG_INFINITY];
        let all: Vec<usize> = (0..5).map(|rank| nth_other(&scores, 1, rank)).collect();
        assert_eq!(all, [2, 3, 0, 4, 4]);
        assert_eq!(nth_other(&scores, 2, 0), 1);
    }
}
