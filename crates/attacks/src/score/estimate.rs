//! The loop shared by the attacks that estimate gradients from scores: probe, ascend, query the new point.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Modality, StepRecord, ThreatRecord};
use proofmark_engine::{
    Access, Attack, EngineError, Job, Loss, Meta, Oracle, Outcomes, Request, Rows, Stepper, run,
};
use proofmark_model::{Query, ScoreModel};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_threat::{Batch, Column, Columns, Step, host, index, prefixed};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::written;
use crate::gradient::{Length, where_rows};
use crate::loss::LossKind;
use crate::update::{self, Update};

/// Distribution of the random directions along which the loss is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Independent normal entries, cut off at ±3.
    Gaussian,
    /// Entries ±1.
    Rademacher,
}

impl Probe {
    /// Returns the largest entry.
    const fn reach(self) -> f32 {
        match self {
            Self::Gaussian => 3.0,
            Self::Rademacher => 1.0,
        }
    }

    /// Draws a direction, each entry scaled by its radius.
    fn fill(self, values: &mut [f32], radii: &[f32], stream: &mut Stream) {
        match self {
            Self::Gaussian => {
                for (v, radius) in values.iter_mut().zip(radii) {
                    *v = radius * stream.normal().clamp(-self.reach(), self.reach());
                }
            }
            Self::Rademacher => {
                for (values, radii) in values.chunks_mut(32).zip(radii.chunks(32)) {
                    let bits = stream.next_u32();
                    for (i, (v, radius)) in values.iter_mut().zip(radii).enumerate() {
                        *v = if bits >> i & 1 == 1 { *radius } else { -radius };
                    }
                }
            }
        }
    }
}

/// Maximum number of pairs of probes of one row in one query.
const AT_ONCE: usize = 32;

/// Maximum number of values of one row in one query: samples with many features are probed in smaller parts.
const VALUES: usize = 1 << 16;

/// Keeps probes inside the bounds in spite of rounding.
const MARGIN: f32 = 1.001;

/// An ascent along estimated gradients.
///
/// ```text
/// g = Σ_i (loss(c + r u_i) − loss(c − r u_i)) u_i / r     c: x, moved inward by the reach of the probes
/// x ← region.advance(x, update_n(… update_1(g)), step)
/// query x
/// ```
///
/// `r` is a share of each feature's range, so that the scale of the data does not matter.
#[derive(Debug)]
pub struct EstimatedAscent {
    /// Metadata of the attack.
    pub meta: &'static Meta,
    /// Parameters of the attack, for the report.
    pub parameters: Map<String, Value>,
    /// Loss that the attack maximises.
    pub loss: Box<dyn Loss>,
    /// Distribution of the probes.
    pub probe: Probe,
    /// Pairs of probes per step, at least 1.
    pub pairs: u32,
    /// Radius of the probes, as a share of each feature's range; above 0.
    pub radius: f32,
    /// Updates that turn estimates into directions, applied in order.
    pub updates: Vec<Box<dyn Update>>,
    /// Steps per restart, at least 1.
    pub steps: u32,
    /// Restarts, at least 1; all but the first begin at a random point.
    pub restarts: u32,
    /// Step lengths.
    pub length: Length,
    /// Minimum share of the features that the first L1 step is spread over; falls linearly to a single feature.
    pub l1_spread: f32,
    /// Whether an Linf step adds the direction itself (Adam) instead of its signs.
    pub plain: bool,
}

impl EstimatedAscent {
    /// Returns an ascent of default step lengths without updates.
    pub(super) fn new(
        meta: &'static Meta,
        config: &impl Serialize,
        loss: LossKind,
        probe: Probe,
    ) -> Self {
        Self {
            meta,
            parameters: written(config),
            loss: loss.loss(),
            probe,
            pairs: 1,
            radius: 0.01,
            updates: Vec::new(),
            steps: 1,
            restarts: 1,
            length: Length::DEFAULT,
            l1_spread: 0.015,
            plain: false,
        }
    }

    /// Returns the widest probes, as a multiple of the radius: their reach is half of each feature's range.
    fn widest(&self) -> f64 {
        f64::from(0.5 / (self.radius * self.probe.reach() * MARGIN))
    }
}

/// The ascent on inputs of given shapes.
#[derive(Debug)]
struct Climb<'a> {
    attack: &'a EstimatedAscent,
    inputs: Vec<Input>,
    modalities: Arc<[Modality]>,
    features: usize,
}

/// Facts about the features of one modality.
#[derive(Debug)]
struct Input {
    /// Radius of each feature's probes, data units; 0 where it may not change.
    radii: Vec<f32>,
    /// `[1, features]` each: the radii, the inverse of their squares (0 for 0), and the bounds (none where a feature may
    /// not change).
    radius: Tensor<2>,
    inverse: Tensor<2>,
    low: Tensor<2>,
    high: Tensor<2>,
}

impl Input {
    fn new(modality: &Modality, may: impl Fn(usize) -> bool, radius: f32, device: &Device) -> Self {
        let features = modality.features();
        let bounds = &modality.bounds;
        let column = |free: &dyn Fn(usize) -> f32, frozen: f32| -> Vec<f32> {
            let of = |f| if may(f) { free(f) } else { frozen };
            (0..features).map(of).collect()
        };
        let tensor =
            |values: Vec<f32>| Tensor::from_data(TensorData::new(values, [1, features]), device);
        let radii = column(&|f| radius * (bounds.high(f) - bounds.low(f)), 0.0);
        let inverse = |r: &f32| if *r > 0.0 { (r * r).recip() } else { 0.0 };
        Self {
            inverse: tensor(radii.iter().map(inverse).collect()),
            low: tensor(column(&|f| bounds.low(f), f32::MIN)),
            high: tensor(column(&|f| bounds.high(f), f32::MAX)),
            radius: tensor(radii.clone()),
            radii,
        }
    }
}

/// Position of each row, the memory of its updates, and how wide its probes are.
#[derive(Debug, Clone)]
struct State {
    x: Batch,
    memory: Vec<Batch>,
    /// Multiple of the radius.
    width: Vec<f64>,
}

impl Columns for State {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.extend(prefixed("memory", &mut self.memory));
        all.push(("width".into(), Column::Real(&mut self.width)));
        all
    }
}

impl Climb<'_> {
    /// Returns the points around which the rows are probed: probes on both sides of them lie inside the bounds.
    fn centres(&self, x: &Batch, widths: &Tensor<2>) -> Batch {
        let reach = widths.clone() * (self.attack.probe.reach() * MARGIN);
        let mut inputs = self.inputs.iter();
        x.map(|x| {
            let input = inputs.next().expect("one input per modality");
            let margin = input.radius.clone() * reach.clone();
            let low = input.low.clone() + margin.clone();
            let high = input.high.clone() - margin;
            x.max_pair(low).min_pair(high)
        })
    }

    /// Draws pairs `from..from + count` of every row: one direction each, row by row, scaled by the features' radii.
    fn directions(&self, keys: &[StreamKey], from: usize, count: usize, device: &Device) -> Batch {
        let blocks = self.inputs.iter().enumerate().map(|(m, input)| {
            let width = input.radii.len();
            let mut values = vec![0.0; keys.len() * count * width];
            let points = values.par_chunks_mut(width).enumerate();
            points.for_each(|(q, values)| {
                let mut key = keys[q / count];
                key.draw = ((from + q % count) * self.inputs.len() + m) as u32;
                let probe = self.attack.probe;
                probe.fill(values, &input.radii, &mut Stream::new(&key));
            });
            values
        });
        Batch::from_host(self.modalities.clone(), blocks.collect(), device)
            .expect("blocks have the shapes of their inputs")
    }

    /// Estimates the gradient of the loss at each row, and returns whether at least half of the row's pairs differ.
    fn estimate<M: ScoreModel + ?Sized>(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &State,
    ) -> Result<(Batch, Vec<bool>), EngineError> {
        let (n, pairs) = (rows.len(), self.attack.pairs as usize);
        let device = state.x.device();
        let keys = rows.streams(Purpose::Direction, 0);
        let widths: Vec<f32> = state.width.iter().map(|w| *w as f32).collect();
        let widths = rows.region().column(&widths).unsqueeze_dim::<2>(1);
        let centres = self.centres(&state.x, &widths);
        let mut gradient = state.x.map(|b| b.zeros_like());
        let mut differ = vec![0; n];
        let at_once = (VALUES / (2 * self.features)).clamp(1, AT_ONCE);
        let mut from = 0;
        while from < pairs {
            let count = at_once.min(pairs - from);
            let owner: Vec<usize> = (0..n * count).map(|q| q / count).collect();
            let at = index(&owner, &device);
            let directions = self.directions(&keys, from, count, &device);
            let width = widths.clone().select(0, at.clone());
            let moves = directions.map(|d| d * width.clone());
            let centre = centres.select(&at);
            let plus = centre.zip(&moves, |c, m| c + m);
            let minus = centre.zip(&moves, |c, m| c - m);
            let losses = self.losses(oracle, rows, &Batch::cat(&[&plus, &minus]), &owner)?;
            let (up, down) = losses.split_at(n * count);
            // The radii are in the directions already; the width of the row's probes is divided out here.
            let share = |q: usize| 2.0 * state.width[owner[q]] * pairs as f64;
            let weights: Vec<f32> = (up.iter().zip(down).enumerate())
                .map(|(q, (up, down))| {
                    let difference = f64::from(*up) - f64::from(*down);
                    // A loss that is not finite says nothing; the engine marks the row.
                    if difference.is_finite() {
                        differ[owner[q]] += usize::from(difference != 0.0);
                        (difference / share(q)) as f32
                    } else {
                        0.0
                    }
                })
                .collect();
            let weights = Tensor::<2>::from_data(TensorData::new(weights, [n * count, 1]), &device);
            gradient = gradient.zip(&directions, |g, d| {
                let features = d.dims()[1];
                let sums = (d * weights.clone()).reshape([n, count, features]);
                g + sums.sum_dim(1).squeeze_dim::<2>(1)
            });
            from += count;
        }
        let mut inputs = self.inputs.iter();
        let gradient = gradient.map(|g| {
            let input = inputs.next().expect("one input per modality");
            g * input.inverse.clone()
        });
        Ok((
            gradient,
            differ.into_iter().map(|d| 2 * d >= pairs).collect(),
        ))
    }

    /// Returns the losses at the points of both ends of the pairs.
    fn losses<M: ScoreModel + ?Sized>(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        points: &Batch,
        owner: &[usize],
    ) -> Result<Vec<f32>, EngineError> {
        let owner = [owner, owner].concat();
        let query = Query {
            x: points.clone(),
            key: owner.iter().map(|i| rows.keys()[*i]).collect(),
            draw: vec![0; owner.len()],
            owner,
        };
        let request = Request::new(query);
        let focus = rows.focus_of(&request);
        let scores = oracle.scores(rows, request)?;
        Ok(host(&self.attack.loss.per_sample(&scores, points, &focus)))
    }

    /// Returns the step of each row.
    fn step_of(&self, rows: &Rows) -> Step {
        let region = rows.region();
        let steps = self.attack.steps;
        let size: Vec<f32> = (rows.steps().iter().zip(region.leading_eps()))
            .map(|(k, eps)| self.attack.length.share(*k, steps, eps) as f32)
            .collect();
        let spread = |k: &u64| self.attack.l1_spread * (1.0 - *k as f32 / steps as f32);
        let spread: Vec<f32> = rows.steps().iter().map(spread).collect();
        Step::new(region.column(&size)).spread(region.column(&spread))
    }
}

impl<M: ScoreModel + ?Sized> Stepper<M> for Climb<'_> {
    type State = State;

    fn id(&self) -> &'static str {
        self.attack.meta.id
    }

    fn steps(&self) -> u32 {
        self.attack.steps
    }

    fn restarts(&self) -> u32 {
        self.attack.restarts
    }

    fn start(&self, _: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<State, EngineError> {
        let region = rows.region();
        let mut x = region.x0();
        let memory = update::memory(&self.attack.updates, &x);
        let again: Vec<bool> = rows.restarts().iter().map(|r| *r > 0).collect();
        if again.contains(&true) {
            let random = region.random(&rows.streams(Purpose::Start, 0));
            x = where_rows(&again, &random, &x);
        }
        Ok(State {
            x,
            memory,
            width: vec![1.0; rows.len()],
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut State,
    ) -> Result<(), EngineError> {
        let (gradient, differs) = self.estimate(oracle, rows, state)?;
        let direction = update::apply(&self.attack.updates, gradient, &mut state.memory, rows);
        let (region, step) = (rows.region(), self.step_of(rows));
        state.x = if self.attack.plain {
            region.shift(&state.x, &direction, &step)
        } else {
            region.advance(&state.x, &direction, &step)
        };
        for (width, differs) in state.width.iter_mut().zip(differs) {
            if !differs {
                *width = (2.0 * *width).min(self.attack.widest());
            }
        }
        let request = rows.request(&state.x);
        oracle.scores(rows, request)?;
        Ok(())
    }
}

impl Attack for EstimatedAscent {
    fn meta(&self) -> &'static Meta {
        self.meta
    }

    fn parameters(&self) -> Map<String, Value> {
        self.parameters.clone()
    }

    fn step_sizes(&self, threat: &ThreatRecord) -> Vec<StepRecord> {
        let share = |k: u32| self.length.share(u64::from(k), self.steps, threat.eps);
        let moving = threat.budgets.iter().filter(|b| b.eps > 0.0);
        moving
            .map(|b| StepRecord {
                modality: b.modality.clone(),
                first: b.eps * share(0),
                last: b.eps * share(self.steps - 1),
                every_third_try: None,
            })
            .collect()
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        let modalities = &job.samples.modalities;
        let device = &access.signature().device;
        let inputs = modalities.iter().zip(job.threat.budgets());
        let climb = Climb {
            attack: self,
            inputs: inputs
                .map(|(modality, budget)| {
                    let mask = budget.mask.as_deref();
                    let may = |f: usize| budget.moves() && mask.is_none_or(|mask| mask[f]);
                    Input::new(modality, may, self.radius, device)
                })
                .collect(),
            modalities: modalities.clone(),
            features: modalities.iter().map(Modality::features).sum(),
        };
        run(access.scores(self.meta.id)?, &climb, job)
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::Seed;

    use super::*;

    fn stream(draw: u32) -> Stream {
        let mut key = StreamKey::new(Seed(0), 0, Purpose::Direction);
        key.draw = draw;
        Stream::new(&key)
    }

    #[test]
    fn probes_have_their_radius_and_no_bias() {
        let radii: Vec<f32> = (0..100).map(|f| (f % 3) as f32).collect();
        for (probe, squares) in [(Probe::Rademacher, 1.0), (Probe::Gaussian, 0.973)] {
            let (mut sum, mut square) = (vec![0.0; 100], vec![0.0; 100]);
            for draw in 0..2000 {
                let mut values = vec![f32::NAN; 100];
                probe.fill(&mut values, &radii, &mut stream(draw));
                for (f, v) in values.iter().enumerate() {
                    assert!(v.abs() <= radii[f] * probe.reach());
                    sum[f] += f64::from(*v);
                    square[f] += f64::from(v * v);
                }
            }
            for f in 0..100 {
                let radius = f64::from(radii[f]);
                // Five standard deviations.
                assert!(
                    sum[f].abs() <= 5.0 * radius * 2000.0_f64.sqrt(),
                    "{probe:?} {f}"
                );
                let expected = squares * radius * radius;
                assert!((square[f] / 2000.0 - expected).abs() <= 0.2 * radius * radius);
            }
        }
    }
}
