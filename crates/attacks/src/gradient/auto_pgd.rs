//! Auto-PGD, shared by `apgd` and `apgd-t`: one loop, with the schedule of the budget's norm.

use proofmark_domain::{StepRecord, ThreatRecord};
use proofmark_engine::{
    Access, Attack, EngineError, Job, Meta, Oracle, Outcomes, Rows, Stepper, check_norms, run,
};
use proofmark_model::GradientModel;
use proofmark_stats::random::Purpose;
use proofmark_threat::{Batch, Column, Columns, host};
use serde_json::{Map, Value};

use super::auto_path::{self, At, Path, Schedule, is_sparse};
use super::fallback::WithFallback;
use super::nth_other;
use crate::loss::LossKind;

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

/// State of each row.
#[derive(Debug, Clone)]
struct State {
    path: Path,
    /// Target class; [`NONE`] for the loss of the run's goal.
    target: Vec<u64>,
    /// 1 if the row climbs the second loss ([`WithFallback`]).
    on_fallback: Vec<u64>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = self.path.columns();
        all.push(("target".into(), Column::Count(&mut self.target)));
        all.push(("on_fallback".into(), Column::Count(&mut self.on_fallback)));
        all
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
        let schedules = vec![&self.schedule; rows.len()];
        Ok(State {
            path: Path::begin(rows.region(), &keys, &schedules),
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
        let x = state.path.x();
        let answer = (self.loss).gradient(oracle, rows, x, target, on_fallback)?;
        let schedule = &self.schedule;
        let at = rows.steps().iter().map(|step| At {
            step: *step,
            schedule,
        });
        let at: Vec<At<'_>> = at.collect();
        state.path.step(rows, &answer, &at);
        Ok(())
    }

    fn last(&self, state: &State) -> Option<Batch> {
        Some(state.path.x().clone())
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
        auto_path::step_sizes(threat, self.large_radii)
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
            schedule: Schedule::of(self.meta.id, job, self.steps, self.large_radii)?,
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
