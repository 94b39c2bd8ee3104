//! Runs the levels on the attack engine and checks what it finds.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use proofmark_domain::{Grid, Modality, Observation, QueryCount, RunStatus};
use proofmark_engine::{Access, Job, Outcomes, Samples, run as run_engine};
use proofmark_model::{DecisionModel, GradientModel, ModelError, Query, ScoreModel, Signature};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_threat::Threat;

use super::climb::Climb;
use super::kept::{Elite, Kept};
use super::property::{Near, Nearness, Property, Rows, Satisfied};
use super::random_search::RandomSearch;
use super::schedule::{Direction, Method, Recipe, Shape, Weighing, allot, level};
use super::space::{Boxed, key};
use super::start::Start;
use super::windows::Windows;
use super::{Counterexample, Falsified, Falsify};
use crate::{RunError, device};

/// Maximum number of constraint coefficients on the device: 256 MB.
const MAX_COEFFICIENTS: usize = 1 << 26;

/// Maximum number of values in the starts of one run.
const MAX_VALUES: usize = 1 << 25;

/// The model in cube coordinates.
pub(super) enum Cube<'a> {
    Scores(Boxed<'a, dyn ScoreModel + 'a>),
    Gradients(Boxed<'a, dyn GradientModel + 'a>),
}

impl Cube<'_> {
    pub(super) fn signature(&self) -> &Signature {
        match self {
            Self::Scores(m) => m.signature(),
            Self::Gradients(m) => m.signature(),
        }
    }

    pub(super) fn outside(&self, query: &Query) -> Result<Query, ModelError> {
        match self {
            Self::Scores(m) => m.outside(query),
            Self::Gradients(m) => m.outside(query),
        }
    }

    pub(super) fn exact(&self, case: usize, x: &[f32]) -> Vec<f64> {
        match self {
            Self::Scores(m) => m.exact(case, x),
            Self::Gradients(m) => m.exact(case, x),
        }
    }
}

/// One run to carry out.
pub(super) struct Attempt {
    pub(super) name: String,
    pub(super) recipe: Recipe,
    /// Case that each row tries.
    pub(super) cases: Vec<usize>,
    /// Start of each row.
    pub(super) starts: Vec<Start>,
    /// Given points of the rows, in the cube.
    pub(super) values: Vec<f32>,
    /// Required margin.
    pub(super) slack: f64,
}

pub(super) struct Search<'a> {
    pub(super) plan: &'a Falsify<'a>,
    pub(super) cube: Cube<'a>,
    property: Arc<Property>,
    pub(super) shape: Shape,
    threat: Threat,
    /// Nearest that each case has come to being satisfied.
    reached: Vec<f32>,
    /// Required margin: above 0 once a point failed its confirmation.
    slack: f64,
    /// Best points of earlier runs on a surrogate.
    elite: Elite,
    /// How the inputs lie in an image.
    grid: Grid,
    /// Number of rows begun so far; keeps their random streams apart.
    rows: u32,
    runs: usize,
    pub(super) queries: QueryCount,
}

pub(super) fn run(plan: &Falsify<'_>) -> Result<Falsified, RunError> {
    let mut search = Search::new(plan)?;
    let mut levels = 0;
    let mut found = None;
    'levels: while plan.levels.is_none_or(|most| levels < most) {
        for recipe in level(levels, search.shape) {
            if (plan.stop)() {
                break 'levels;
            }
            found = search.attempt(levels, recipe)?;
            if found.is_some() {
                break 'levels;
            }
        }
        levels = levels.saturating_add(1);
    }
    let counterexample = match found {
        Some((u, point)) => Some(search.polish(&u, point)?),
        None => None,
    };
    let nearest = search.reached.iter().copied().fold(f32::MIN, f32::max);
    Ok(Falsified {
        nearest: (counterexample.is_none() && nearest > f32::MIN).then_some(nearest),
        counterexample,
        levels,
        queries: search.queries,
    })
}

/// A counterexample, preceded by its point in the cube.
type Found = (Vec<f32>, Counterexample);

impl<'a> Search<'a> {
    fn new(plan: &'a Falsify<'a>) -> Result<Self, RunError> {
        let (spec, cases) = (plan.spec, plan.spec.cases.as_slice());
        let signature = plan.model.signature();
        let inputs: usize = signature.modalities.iter().map(Modality::features).sum();
        let problem = if spec.inputs != inputs {
            Some(format!(
                "the property has {} inputs X_i; the model takes {inputs}",
                spec.inputs
            ))
        } else if spec.outputs != signature.classes {
            Some(format!(
                "the property has {} outputs Y_j; the model gives {}",
                spec.outputs, signature.classes
            ))
        } else if Property::size(cases, spec.outputs) > MAX_COEFFICIENTS {
            Some(format!(
                "{} cases with that many constraints and outputs; expected at most {MAX_COEFFICIENTS} coefficients",
                cases.len()
            ))
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(RunError::Mismatch {
                data: spec.name.clone(),
                model: signature.name.clone(),
                problem,
            });
        }
        let (cube, gradients) = match plan.model {
            Access::Gradients(m) => {
                let m = m.smoothed().unwrap_or(m);
                (Cube::Gradients(Boxed::new(m, cases)?), true)
            }
            access => {
                let m = access.scores("falsify")?;
                (Cube::Scores(Boxed::new(m, cases)?), false)
            }
        };
        let steps = matches!(plan.model, Access::Gradients(m) if m.smoothed().is_some());
        let strip = Grid::channels_first([1, 1, inputs]);
        let grid = match &*signature.modalities {
            [only] => Grid::of(only).unwrap_or(strip),
            _ => strip,
        };
        let property = Property::new(cases, spec.outputs, &signature.device);
        Ok(Self {
            plan,
            shape: Shape {
                inputs,
                constraints: property.constraints(),
                gradients,
                steps,
            },
            elite: Elite::default(),
            grid,
            threat: Threat::unbounded(&cube.signature().modalities),
            cube,
            property: Arc::new(property),
            reached: vec![f32::MIN; cases.len()],
            slack: 0.0,
            rows: 0,
            runs: 0,
            queries: QueryCount::default(),
        })
    }

    /// Carries out one run of a level on fresh rows.
    fn attempt(&mut self, level: u32, recipe: Recipe) -> Result<Option<Found>, RunError> {
        let first = self.runs == 0;
        let mut cases = self.cases(first);
        let mut values = vec![0.0; cases.len() * self.shape.inputs];
        if let Method::Windows { .. } = recipe.method {
            let Some(starts) = self.elite.starts() else {
                return Ok(None);
            };
            (cases, values) = starts;
        }
        let mut starts = vec![recipe.start; cases.len()];
        if first {
            // The first run tries the middle of every box.
            for case in 0..self.reached.len() {
                if let Some(first) = cases.iter().position(|c| *c == case) {
                    starts[first] = Start::Given;
                }
            }
        }
        let method = match recipe.method {
            Method::Climb { .. } => "climb",
            Method::RandomSearch => "random search",
            Method::Windows { .. } => "windows",
        };
        let outcomes = self.carry_out(Attempt {
            name: format!("level {level} {method}"),
            recipe,
            cases: cases.clone(),
            starts,
            values,
            slack: self.slack,
        })?;
        self.learn(&cases, &outcomes, recipe);
        for outcome in outcomes.rows {
            let Some(point) = outcome
                .point
                .filter(|_| outcome.status == RunStatus::Broken)
            else {
                continue;
            };
            let u = point.x.into_iter().flatten().collect::<Vec<f32>>();
            match self.measure(cases[outcome.row], &u)? {
                Ok(point) => return Ok(Some((u, point))),
                // The sum before a step was rounded another way: that says nothing about other points.
                Err(_) if self.shape.steps => {}
                // The point lies on the very edge: the next one must lie further inside.
                Err(short) => self.slack = (2.0 * short).max(2.0 * self.slack).max(1e-6),
            }
        }
        Ok(None)
    }

    /// Returns the case that each row tries.
    fn cases(&mut self, first: bool) -> Vec<usize> {
        let n = self.reached.len();
        self.runs += 1;
        if first {
            // All cases go into one run, as long as the rows fit into memory; the others get their turn later.
            let most = (MAX_VALUES / self.shape.inputs.max(1)).max(self.shape.rows());
            let rows = self.shape.rows().max(n).min(most);
            return (0..n).cycle().take(rows - rows % n.min(rows)).collect();
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| self.reached[*b].total_cmp(&self.reached[*a]).then(a.cmp(b)));
        allot(&order, self.shape.rows(), self.runs)
    }

    /// Runs a recipe on the attack engine.
    pub(super) fn carry_out(&mut self, attempt: Attempt) -> Result<Outcomes, RunError> {
        let n = attempt.cases.len();
        let rows = self.rows;
        self.rows = rows.wrapping_add(n as u32);
        let serial = |i: usize| rows.wrapping_add(i as u32);
        let keys = attempt
            .cases
            .iter()
            .enumerate()
            .map(|(i, case)| key(*case, serial(i)));
        let signature = self.cube.signature();
        let samples = Samples {
            modalities: signature.modalities.clone(),
            keys: keys.collect(),
            values: vec![attempt.values],
            // A property has no classes: a row's case is found by its index.
            labels: vec![0; n],
            targets: None,
        };
        let all: Vec<usize> = (0..n).collect();
        let rows = Rows {
            property: self.property.clone(),
            cases: attempt.cases,
        };
        let goal = Satisfied {
            rows: rows.clone(),
            slack: attempt.slack,
        };
        self.plan.progress.begin(&attempt.name, n);
        let batch = n.min(self.shape.rows());
        let job = Job {
            goal: &goal,
            seed: self.plan.seed,
            batch,
            tile: device::is_exact(&signature.device).then_some(batch),
            enough: Some(1),
            stop: self.plan.stop,
            ..Job::new(&samples, &all, &self.threat, self.plan.progress)
        };
        let recipe = attempt.recipe;
        let kept = Kept::default();
        let cases = rows.cases.clone();
        let near = self.near(recipe.weighing, rows, &samples.keys);
        let outcomes = match (recipe.method, &self.cube) {
            (
                Method::Climb {
                    direction,
                    scatter,
                    lengths,
                },
                Cube::Gradients(m),
            ) => {
                let climb = Climb {
                    scatter: (scatter > 0).then(|| (self.elsewhere(&near, &samples.keys), scatter)),
                    near,
                    starts: attempt.starts,
                    draws: recipe.draws,
                    updates: direction.updates(),
                    plain: direction == Direction::Adam,
                    steps: recipe.steps,
                    lengths,
                    kept: &kept,
                };
                run_engine(m, &climb, &job)?
            }
            (Method::Windows { every }, Cube::Gradients(m)) => {
                let windows = Windows {
                    near,
                    starts: attempt.starts,
                    steps: recipe.steps,
                    every,
                    grid: self.grid,
                    kept: &kept,
                };
                run_engine(m, &windows, &job)?
            }
            // Without gradients no schedule uses a climb.
            (_, cube) => {
                let random_search = RandomSearch {
                    near,
                    starts: attempt.starts,
                    draws: recipe.draws,
                    steps: recipe.steps,
                };
                match cube {
                    Cube::Gradients(m) => run_engine(m, &random_search, &job)?,
                    Cube::Scores(m) => run_engine(m, &random_search, &job)?,
                }
            }
        };
        for outcome in &outcomes.rows {
            self.queries += outcome.queries;
        }
        if self.shape.steps && recipe.weighing == Weighing::Worst {
            self.elite.admit(kept, &cases);
        }
        Ok(outcomes)
    }

    /// Returns the loss that the rows maximise.
    fn near(&self, weighing: Weighing, rows: Rows, keys: &[u64]) -> Near {
        let by = match weighing {
            Weighing::Worst => Nearness::Worst,
            Weighing::Soft => Nearness::Soft,
            Weighing::Random => {
                // Exponential weights: occasionally one constraint stands out.
                let weight = |s: &mut Stream| -(1.0 - s.uniform()).ln();
                Nearness::Hinges(self.draws(keys, 1, self.shape.constraints, &weight))
            }
        };
        Near { rows, by }
    }

    /// Returns a loss that follows a random direction of the outputs for each row.
    fn elsewhere(&self, near: &Near, keys: &[u64]) -> Near {
        let entry = |s: &mut Stream| s.uniform().mul_add(2.0, -1.0);
        Near {
            rows: near.rows.clone(),
            by: Nearness::Towards(self.draws(keys, 2, self.plan.spec.outputs, &entry)),
        }
    }

    /// Returns random numbers per row, `[rows, width]`.
    fn draws(
        &self,
        keys: &[u64],
        salt: u32,
        width: usize,
        draw: &dyn Fn(&mut Stream) -> f32,
    ) -> Tensor<2> {
        let values: Vec<f32> = keys
            .iter()
            .flat_map(|key| {
                let mut key = StreamKey::new(self.plan.seed, *key, Purpose::Direction);
                key.draw = salt;
                let mut stream = Stream::new(&key);
                (0..width).map(move |_| draw(&mut stream))
            })
            .collect();
        let device = &self.cube.signature().device;
        Tensor::from_data(TensorData::new(values, [keys.len(), width]), device)
    }

    /// Updates what later runs depend on: the nearest point of each case, and whether gradients are usable.
    fn learn(&mut self, cases: &[usize], outcomes: &Outcomes, recipe: Recipe) {
        if recipe.weighing == Weighing::Worst {
            for outcome in &outcomes.rows {
                let nearest = &mut self.reached[cases[outcome.row]];
                *nearest = nearest.max(outcome.reached.unwrap_or(f32::MIN));
            }
        }
        if recipe.method != Method::RandomSearch && !self.shape.steps {
            let blind =
                |o: &&proofmark_engine::Outcome| o.observed.contains(&Observation::ZeroGradient);
            // If hardly any row had a gradient, later ones will not have one either.
            if outcomes.rows.iter().filter(blind).count() * 10 > outcomes.rows.len() * 9 {
                self.shape.gradients = false;
            }
        }
    }
}
