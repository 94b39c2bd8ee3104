//! The loop shared by the gradient attacks: compute the gradient, transform it, step.

use std::sync::Arc;

use proofmark_domain::{Norm, StepRecord, ThreatRecord};
use proofmark_engine::{
    Access, Attack, EngineError, Job, Loss, Meta, Oracle, Others, Outcomes, Request, Rows, Stepper,
    check_norms, run,
};
use proofmark_model::{GradientModel, Query};
use proofmark_stats::random::{Purpose, Stream};
use proofmark_threat::{Batch, Column, Columns, Draw, Step, mask, prefixed};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::written;
use crate::inputs;
use crate::loss::LossKind;
use crate::update::{self, Update};
use crate::view::{self, View};

/// Start point of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// The clean sample; restarts begin at random points of the region.
    Clean,
    /// A random point of the region.
    Random,
    /// The clean sample moved by a random sign per feature, in total by this share of epsilon.
    RandomSign(f32),
}

/// Step lengths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// Constant, this share of epsilon.
    Constant(f64),
    /// Constant, this many data units of the leading modality.
    Absolute(f64),
    /// Falls from this share of epsilon towards 0, with the square of the share of steps left.
    ///
    /// In Linf every third restart wanders instead: it takes constant steps of epsilon along the sign of the gradient
    /// plus some noise ([`Jitter`](update::Jitter)), among the corners and edges near the one that the gradient points
    /// at. With rounded scores or approximate gradients, a neighbour of that corner often breaks the sample.
    Falling(f64),
}

impl Length {
    /// Default of the iterated attacks: the first steps cross the whole ball and the last ones settle, in every norm.
    ///
    /// Steps of `eps / steps` or `2.5 eps / steps`, as Linf attacks are usually described, add up to enough only if
    /// every feature moves in every step.
    pub const DEFAULT: Self = Self::Falling(4.0);

    /// Step length of a restart that wanders.
    const WANDERING: Self = Self::Constant(1.0);

    /// Returns the given absolute length, or the default if there is none.
    pub(crate) fn given(step_size: Option<f64>) -> Self {
        step_size.map_or(Self::DEFAULT, Self::Absolute)
    }

    /// Returns the length of step `k` of `steps` as a share of `eps`, the leading modality's epsilon.
    pub(crate) fn share(self, k: u64, steps: u32, eps: f64) -> f64 {
        match self {
            Self::Constant(share) => share,
            Self::Absolute(units) if eps > 0.0 => units / eps,
            Self::Absolute(_) => 0.0,
            Self::Falling(first) => first * (1.0 - k as f64 / f64::from(steps)).powi(2),
        }
    }
}

/// A gradient attack as a chain: loss → updates → step → region.
///
/// ```text
/// g = ∇ loss(x_k)          asked of the oracle, which sees x_k; with views, the mean over changed copies of x_k
/// d = update_n(… update_1(g))
/// x_{k+1} = region.advance(x_k, d, step)
/// ```
#[derive(Debug)]
pub struct Ascent {
    /// Metadata of the attack.
    pub meta: &'static Meta,
    /// Parameters of the attack, for the report.
    pub parameters: Map<String, Value>,
    /// Loss that the attack maximises.
    pub loss: Box<dyn Loss>,
    /// Changed copies of a point whose gradients are taken in place of the point's own, a chain.
    pub views: Vec<Box<dyn View>>,
    /// Updates that turn gradients into directions, applied in order.
    pub updates: Vec<Box<dyn Update>>,
    /// Whether a view or an update only has an effect on images.
    pub images: bool,
    /// Steps per restart, at least 1.
    pub steps: u32,
    /// Restarts, at least 1.
    pub restarts: u32,
    /// Start points of the rows.
    pub start: Start,
    /// Step lengths.
    pub length: Length,
    /// Minimum share of the features that the first L1 step is spread over; falls linearly to a single feature.
    pub l1_spread: f32,
    /// Whether an Linf step adds the direction itself (Adam) instead of its signs.
    pub plain: bool,
}

/// Position of each row, and the memory of its updates.
#[derive(Debug, Clone)]
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
    /// Returns the simplest ascent: from the clean sample, one restart, no updates, default step lengths.
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
            views: Vec::new(),
            updates: Vec::new(),
            images: false,
            steps,
            restarts: 1,
            start: Start::Clean,
            length: Length::DEFAULT,
            l1_spread: 0.0,
            plain: false,
        }
    }

    /// Returns the gradient of the loss at one point per row, or the mean of those at its views.
    ///
    /// Views are not points of the ball: none is kept, and the point itself is queried beside them. Attacks that see a
    /// surrogate alone save that query, since no success on the way counts.
    fn gradient<M: GradientModel + ?Sized>(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        x: &Batch,
    ) -> Result<Batch, EngineError> {
        if self.views.is_empty() {
            return Ok(oracle.gradient(rows, x, self.loss.as_ref())?.gradient);
        }
        if !oracle.is_transfer() {
            oracle.decide_at(rows, x)?;
        }
        let (seen, back) = view::look(&self.views, x, rows);
        let keys = rows.keys();
        let query = Query {
            key: seen.owner.iter().map(|row| keys[*row]).collect(),
            draw: vec![0; seen.owner.len()],
            owner: seen.owner,
            x: seen.x,
        };
        let request = Request::new(query).unwatched();
        let answer = oracle.gradient_of(rows, request, self.loss.as_ref())?;
        Ok(back(answer.gradient))
    }

    /// Whether a restart wanders among corners ([`Length::Falling`]).
    fn wanders(&self, restart: u64, mut norms: impl Iterator<Item = Norm>) -> bool {
        matches!(self.length, Length::Falling(_))
            && restart % 3 == 2
            && norms.all(|n| n == Norm::Linf)
    }

    /// Returns the step of each row; `wandering` rows get the step of a restart that wanders.
    fn step_of(&self, rows: &Rows, wandering: &[bool]) -> Step {
        let region = rows.region();
        let eps = region.leading_eps();
        let size: Vec<f32> = (rows.steps().iter().zip(eps).zip(wandering))
            .map(|((k, eps), wanders)| {
                let length = if *wanders {
                    Length::WANDERING
                } else {
                    self.length
                };
                length.share(*k, self.steps, eps) as f32
            })
            .collect();
        let spread: Vec<f32> = rows
            .steps()
            .iter()
            .map(|k| self.l1_spread * (1.0 - *k as f32 / self.steps as f32))
            .collect();
        Step::new(region.column(&size)).spread(region.column(&spread))
    }
}

/// Takes the rows of `ours` where `which` is set, otherwise those of `others`.
pub(crate) fn where_rows(which: &[bool], ours: &Batch, others: &Batch) -> Batch {
    others.replace_rows(&mask(which, &others.device()), ours)
}

/// Moves every free feature by a random sign, by `length` in total in the norm.
fn random_signs(draw: &mut Draw<'_>, length: f64, stream: &mut Stream) {
    let free = |i: usize| draw.lower[i] < draw.upper[i];
    let features = (0..draw.x.len()).filter(|i| free(*i)).count().max(1);
    let by = (length / draw.norm.of(std::iter::repeat_n(1.0, features))) as f32;
    for x in draw.x.iter_mut() {
        *x += if stream.next_u32() & 1 == 0 { by } else { -by };
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
            Start::Clean => {
                let again: Vec<bool> = rows.restarts().iter().map(|r| *r > 0).collect();
                if again.contains(&true) {
                    let random = region.random(&rows.streams(Purpose::Start, 0));
                    where_rows(&again, &random, &x0)
                } else {
                    x0.clone()
                }
            }
            Start::Random => region.random(&rows.streams(Purpose::Start, 0)),
            Start::RandomSign(share) => region.perturb(
                &rows.streams(Purpose::Start, 0),
                |draw, stream: &mut Stream| {
                    let length = f64::from(share) * draw.eps;
                    random_signs(draw, length, stream);
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
        let gradient = self.gradient(oracle, rows, &state.x)?;
        let mut direction = update::apply(&self.updates, gradient, &mut state.memory, rows);
        let region = rows.region();
        let wandering: Vec<bool> = (rows.restarts().iter())
            .map(|restart| self.wanders(*restart, region.norms()))
            .collect();
        if wandering.contains(&true) {
            let noisy = update::JITTER.apply(direction.clone(), &mut [], rows);
            direction = where_rows(&wandering, &noisy, &direction);
        }
        let step = self.step_of(rows, &wandering);
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

    fn step_sizes(&self, threat: &ThreatRecord) -> Vec<StepRecord> {
        let share = |length: Length, k: u32| length.share(u64::from(k), self.steps, threat.eps);
        let third = self.restarts > 2 && self.wanders(2, threat.budgets.iter().map(|b| b.norm));
        let moving = threat.budgets.iter().filter(|b| b.eps > 0.0);
        moving
            .map(|b| StepRecord {
                modality: b.modality.clone(),
                first: b.eps * share(self.length, 0),
                last: b.eps * share(self.length, self.steps - 1),
                every_third_try: third.then(|| b.eps * share(Length::WANDERING, 0)),
            })
            .collect()
    }

    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        check_norms(self.meta, job)?;
        if self.images {
            inputs::image(self.meta, job)?;
        }
        if self.mixes() {
            inputs::others(self.meta, job)?;
        }
        Ok(())
    }

    fn mixes(&self) -> bool {
        self.views.iter().any(|v| v.mixes())
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let model = access.gradients(self.meta.id)?;
        if !self.mixes() || job.others.is_some() {
            return run(model, self, job);
        }
        let others = Arc::new(Others::of(job.samples));
        let others = Some(&others);
        run(model, self, &Job { others, ..*job })
    }
}
