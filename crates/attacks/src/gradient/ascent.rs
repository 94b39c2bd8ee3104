//! The one loop behind every gradient attack: ask, transform, step.

use proofmark_engine::{
    Access, Attack, EngineError, Job, Loss, Meta, Oracle, Outcomes, Rows, Stepper, run,
};
use proofmark_model::GradientModel;
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Column, Columns, Step, prefixed};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::written;
use crate::loss::LossKind;
use crate::update::{self, Update};

/// Where a row begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// At the clean sample; restarts at random points of the region.
    Clean,
    /// At a random point of the region.
    Random,
    /// At the clean sample moved by a random sign per feature, times this share of epsilon.
    RandomSign(f32),
}

/// A gradient attack as a chain: loss → updates → step → region.
///
/// ```text
/// g = ∇ loss(x_k)          asked of the oracle, which sees x_k
/// d = update_n(… update_1(g))
/// x_{k+1} = region.advance(x_k, d, step)
/// ```
#[derive(Debug)]
pub struct Ascent {
    /// What is known of the attack.
    pub meta: &'static Meta,
    /// Its parameters, for the report.
    pub parameters: Map<String, Value>,
    /// What it climbs.
    pub loss: Box<dyn Loss>,
    /// How gradients become directions, in order.
    pub updates: Vec<Box<dyn Update>>,
    /// Steps per restart, at least 1.
    pub steps: u32,
    /// Restarts, at least 1.
    pub restarts: u32,
    /// Where rows begin.
    pub start: Start,
    /// Step length as a share of epsilon.
    pub step: f64,
    /// Step length in data units of the leading modality, in place of the share.
    pub step_size: Option<f64>,
    /// Share of the features an L1 step is spread over at first; falls linearly to a single one.
    pub l1_spread: f32,
    /// Whether to add the direction itself (Adam) instead of taking the steepest step along it.
    pub plain: bool,
}

/// Where each row is, and what its updates remember.
#[derive(Debug)]
pub struct State {
    x: Batch,
    memory: Vec<Batch>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("memory", &mut self.memory));
        all
    }
}

impl Ascent {
    /// The plainest ascent: from the clean sample, once, all of epsilon spread over the steps, no updates.
    pub(crate) fn new(
        meta: &'static Meta,
        config: &impl Serialize,
        loss: LossKind,
        steps: u32,
    ) -> Self {
        Self {
            meta,
            parameters: written(config),
            loss: loss.loss(),
            updates: Vec::new(),
            steps,
            restarts: 1,
            start: Start::Clean,
            step: 1.0 / f64::from(steps),
            step_size: None,
            l1_spread: 0.0,
            plain: false,
        }
    }

    fn step_of(&self, rows: &Rows) -> Step {
        let size = match self.step_size {
            None => vec![self.step as f32; rows.len()],
            Some(absolute) => rows
                .region()
                .leading_eps()
                .iter()
                .map(|e| if *e > 0.0 { (absolute / e) as f32 } else { 0.0 })
                .collect(),
        };
        let spread = rows
            .steps()
            .iter()
            .map(|k| self.l1_spread * (1.0 - *k as f32 / self.steps as f32))
            .collect();
        Step { size, spread }
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Ascent {
    type State = State;

    fn id(&self) -> &'static str {
        self.meta.id
    }

    fn steps(&self) -> u32 {
        self.steps
    }

    fn restarts(&self) -> u32 {
        self.restarts
    }

    fn start(&self, _: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        let region = rows.region();
        let x0 = region.x0();
        let x = match self.start {
            Start::Clean if rows.restart() == 0 => x0.clone(),
            Start::Clean | Start::Random => region.random(&rows.streams(Purpose::Start, 0)),
            Start::RandomSign(share) => region.perturb(
                &rows.streams(Purpose::Start, 0),
                |draw, stream: &mut Stream| {
                    let by = (f64::from(share) * draw.eps) as f32;
                    for x in draw.x.iter_mut() {
                        *x += if stream.next_u32() & 1 == 0 { by } else { -by };
                    }
                },
            ),
        };
        let memory = update::memory(&self.updates, &x0);
        Ok(State { x, memory })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let answer = oracle.gradient(rows, &state.x, self.loss.as_ref())?;
        let direction = update::apply(&self.updates, answer.gradient, &mut state.memory, rows);
        let step = self.step_of(rows);
        let region = rows.region();
        state.x = if self.plain {
            region.shift(&state.x, &direction, &step)
        } else {
            region.advance(&state.x, &direction, &step)
        };
        Ok(())
    }

    fn last(&self, state: &State) -> Option<Batch> {
        Some(state.x.clone())
    }
}

impl Attack for Ascent {
    fn meta(&self) -> &'static Meta {
        self.meta
    }

    fn parameters(&self) -> Map<String, Value> {
        self.parameters.clone()
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        run(access.gradients(self.meta.id)?, self, job)
    }
}
