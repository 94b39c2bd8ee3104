//! Universal changes: one change of the input for all samples, fitted on some of them and judged on all.
//!
//! [`Split`] chooses, by the run's seed, which samples a change is fitted on. [`Fitting`] is the loop's access to the
//! model: one row of the engine stands for all samples ([`RowId::Universal`]), its queries are unwatched, and each
//! sample's own queries are counted. [`Fitting::conclude`] hands the change to the executor, which applies it to every
//! sample and has each point re-measured by the judge. Samples of the fitting carry [`Observation::Fitted`], so that
//! reports count the held-out ones by themselves.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use proofmark_domain::{Bounds, Modality, Observation, QueryCount};
use proofmark_model::{DecisionModel, GradientModel, Query};
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};
use proofmark_threat::{Batch, Radius, Region, host};

use crate::judge::{FIRST_DRAW, answers};
use crate::{
    Access, Aim, EngineError, Event, Job, Loss, Oracle, Outcome, Outcomes, Request, RowId, Rows,
    Stepper, run,
};

/// Attack code of the split: all universal attacks of a run hold out the same samples.
const SPLIT: &str = "universal";

/// The samples that a universal change is fitted on, and the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Places in the samples, in the job's order.
    pub fit: Vec<usize>,
    /// The other rows of the job, in its order.
    pub held_out: Vec<usize>,
}

impl Split {
    /// Splits the rows of `job`: `share` of them, rounded, at least one and not all, are for fitting. Which ones depends
    /// on the seed and on the samples' keys alone. Fails if there is a single row.
    pub fn new(job: &Job<'_>, share: f64) -> Result<Self, EngineError> {
        check_universal(job)?;
        let n = job.rows.len();
        let rank = |row: usize| {
            let mut key = StreamKey::new(job.seed, job.samples.keys[row], Purpose::Subset);
            key.attack = attack_code(SPLIT);
            let mut stream = Stream::new(&key);
            (stream.next_u32(), stream.next_u32(), row)
        };
        let mut order: Vec<usize> = job.rows.to_vec();
        order.sort_by_key(|row| rank(*row));
        let wanted = (share * n as f64).round() as usize;
        let chosen = &order[..wanted.clamp(usize::from(n > 1), n.saturating_sub(1))];
        let (fit, held_out) = job.rows.iter().partition(|row| chosen.contains(row));
        Ok(Self { fit, held_out })
    }
}

/// Fails, before the first query, if no universal change can be fitted on the rows of `job`.
pub fn check_universal(job: &Job<'_>) -> Result<(), EngineError> {
    let refuse = |name, given: String, expected: &str| {
        Err(EngineError::Parameter {
            name,
            given,
            expected: expected.into(),
        })
    };
    if job.rows.len() == 1 {
        return refuse(
            "samples to attack",
            "1".into(),
            "at least 2 for a universal change, which is fitted on some samples and judged on the others",
        );
    }
    if let Some(limit) = job.forwards {
        return refuse(
            "forwards",
            limit.to_string(),
            "no limit per sample for a universal change, whose fitting spends its queries on all samples together",
        );
    }
    let mut budgets = job.threat.budgets().iter();
    if let Some(own) = budgets.find(|b| matches!(b.radius, Radius::PerSample(_))) {
        return refuse(
            "epsilon",
            format!("one per sample for input `{}`", own.modality),
            "the same for all samples, as one change is fitted for all of them",
        );
    }
    if !job.goal.outputs().is_classes() {
        return refuse(
            "criterion",
            format!("about the {} of each sample", job.goal.outputs()),
            "one about classes for a universal change",
        );
    }
    Ok(())
}

/// A change of the input for all samples: its values per modality, in data units.
pub type Change = Vec<Vec<f32>>;

/// The loop's access to the model while a universal change is fitted.
#[derive(Debug)]
pub struct Fitting<'a, M: ?Sized> {
    oracle: Oracle<'a, M>,
    rows: Rows,
    job: &'a Job<'a>,
    region: Region,
    spent: BTreeMap<usize, QueryCount>,
    /// Forwards computed by other runs for this fitting.
    computed: u64,
    /// Draw of a random model with which the next query is asked: a new one each time.
    draw: u32,
}

impl<'a, M: DecisionModel + ?Sized> Fitting<'a, M> {
    /// Begins fitting on `job` for the attack `id`.
    pub fn new(model: &'a M, job: &'a Job<'a>, id: &str) -> Result<Self, EngineError> {
        job.goal.check(model.signature().classes)?;
        let oracle = Oracle::new(model, job, Aim::Within);
        let device = oracle.device().clone();
        let rows = Rows::of(&[RowId::Universal], job, id, &device)?;
        let around_zero: Vec<Modality> = job.samples.modalities.iter().map(wide).collect();
        let zeros: Change = around_zero
            .iter()
            .map(|m| vec![0.0; m.features()])
            .collect();
        let region = Region::new(job.threat, &around_zero.into(), &zeros, &[0], &device);
        Ok(Self {
            oracle,
            rows,
            job,
            region,
            spent: BTreeMap::new(),
            computed: 0,
            draw: 0,
        })
    }

    /// Returns the set of allowed changes: one row, the ball around 0. Bounds of the inputs do not limit it, since each
    /// sample is clipped by itself.
    pub const fn region(&self) -> &Region {
        &self.region
    }

    /// Returns the number of classes that losses see.
    pub fn classes(&self) -> usize {
        self.oracle.classes()
    }

    /// Returns `change` as a batch of one row for [`Fitting::region`].
    pub fn batch(&self, change: &[Vec<f32>]) -> Result<Batch, EngineError> {
        let modalities = self.region.x0().modalities().clone();
        Ok(Batch::from_host(
            modalities,
            change.to_vec(),
            self.oracle.device(),
        )?)
    }

    /// Returns whether the run is to stop.
    pub fn stopped(&self) -> bool {
        (self.job.stop)()
    }

    /// Returns the samples `at` with the change, clipped to the bounds: values per modality.
    pub fn changed(&self, at: &[usize], change: &[Vec<f32>]) -> Vec<Vec<f32>> {
        changed(self.job, at, change)
    }

    /// Returns which of the samples `at` the change makes succeed, one forward each.
    pub fn succeeds(
        &mut self,
        at: &[usize],
        change: &[Vec<f32>],
    ) -> Result<Vec<bool>, EngineError> {
        let request = self.request(at, change)?;
        let output = self.counted(at, |oracle, rows| oracle.decide(rows, request))?;
        let classes = self.oracle.signature().classes;
        let answers = answers(&output, classes).into_iter().zip(at);
        answers
            .map(|(answer, row)| answer.met(self.job, *row))
            .collect()
    }

    /// Counts queries that another run of the engine made for this fitting.
    pub fn add(&mut self, sample: usize, outcomes: &Outcomes) {
        let queries: QueryCount = outcomes.rows.iter().map(|o| o.queries).sum();
        *self.spent.entry(sample).or_default() += queries;
        self.computed += outcomes.computed;
    }

    fn request(&mut self, at: &[usize], change: &[Vec<f32>]) -> Result<Request, EngineError> {
        // Another draw of a random model each time.
        let draw = self.draw;
        self.draw = (draw + 1) % FIRST_DRAW;
        let samples = self.job.samples;
        let device = self.oracle.device();
        let batch = |values| Batch::from_host(samples.modalities.clone(), values, device);
        let query = Query {
            x: batch(self.changed(at, change))?,
            owner: vec![0; at.len()],
            key: at.iter().map(|row| samples.keys[*row]).collect(),
            draw: vec![draw; at.len()],
        };
        let mut request = Request::new(query)
            .labelled(at.iter().map(|row| samples.labels[*row]).collect())
            .around(batch(samples.gather(at))?)
            .unwatched();
        if let Some(targets) = samples
            .targets
            .as_ref()
            .filter(|_| self.job.goal.targeted())
        {
            request = request.towards(at.iter().map(|row| targets[*row]).collect());
        }
        Ok(request)
    }

    /// Asks about one point of each of the samples `at`, and counts what it costs for each.
    fn counted<T>(
        &mut self,
        at: &[usize],
        ask: impl FnOnce(&mut Oracle<'a, M>, &mut Rows) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let before = self.rows.spent(0);
        let answer = ask(&mut self.oracle, &mut self.rows)?;
        let all = self.rows.spent(0) - before;
        let n = at.len() as u64;
        let each = QueryCount {
            forward: all.forward / n,
            backward: all.backward / n,
            surrogate_forward: all.surrogate_forward / n,
            surrogate_backward: all.surrogate_backward / n,
        };
        for row in at {
            *self.spent.entry(*row).or_default() += each;
        }
        self.job.observer.event(Event::queried(all));
        Ok(answer)
    }

    /// Applies the change to every row of the job and has each point measured by the judge, which is all that it costs.
    /// The outcomes carry the change.
    ///
    /// A run that is stopped here leaves a checkpoint. The fitting itself has none: it is repeated, with the same
    /// result, and its queries count once.
    pub fn conclude(
        self,
        access: Access<'_>,
        id: &'static str,
        split: &Split,
        change: Change,
    ) -> Result<Outcomes, EngineError> {
        let applied = Applied {
            id,
            change: &change,
        };
        let mut outcomes = run(access.decisions(), &applied, self.job)?;
        let is_whole = outcomes.checkpoint.is_none();
        for outcome in outcomes.rows.iter_mut().filter(|_| is_whole) {
            outcome.queries += self.spent.get(&outcome.row).copied().unwrap_or_default();
            if split.fit.contains(&outcome.row) {
                outcome.observe(Observation::Fitted);
            }
        }
        if is_whole {
            outcomes.computed += self.oracle.computed() + self.computed;
            outcomes.universal = Some(change);
        }
        Ok(outcomes)
    }
}

impl<M: GradientModel + ?Sized> Fitting<'_, M> {
    /// Returns the mean of the gradients of `loss` at the samples `at` with the change, in `f64`, per modality.
    pub fn gradient(
        &mut self,
        at: &[usize],
        change: &[Vec<f32>],
        loss: &dyn Loss,
    ) -> Result<Vec<Vec<f64>>, EngineError> {
        let request = self.request(at, change)?;
        let answer = self.counted(at, |oracle, rows| oracle.gradient_of(rows, request, loss))?;
        let mean = |block| {
            let values: Vec<f32> = host(block);
            let features = values.len() / at.len();
            let mut mean = vec![0.0; features];
            for row in values.chunks(features) {
                for (m, g) in mean.iter_mut().zip(row) {
                    *m += f64::from(*g) / at.len() as f64;
                }
            }
            mean
        };
        Ok(answer.gradient.blocks().iter().map(mean).collect())
    }
}

/// Returns the modality with bounds that let every value move from one end of its range to the other.
fn wide(modality: &Modality) -> Modality {
    let range = modality.bounds.widest();
    Modality {
        bounds: Bounds::uniform(-range, range).expect("a range is finite and above 0"),
        ..modality.clone()
    }
}

fn changed(job: &Job<'_>, at: &[usize], change: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let modalities = job.samples.modalities.iter().zip(job.samples.gather(at));
    let changed = modalities.zip(change).map(|((m, values), change)| {
        let features = m.features();
        let moved = values.iter().enumerate().map(|(i, x)| {
            let f = i % features;
            let (low, high) = (m.bounds.low(f).min(*x), m.bounds.high(f).max(*x));
            (x + change[f]).clamp(low, high)
        });
        moved.collect()
    });
    changed.collect()
}

/// The fitted change as an attack of one step.
#[derive(Debug)]
struct Applied<'a> {
    id: &'static str,
    change: &'a [Vec<f32>],
}

impl<M: DecisionModel + ?Sized> Stepper<M> for Applied<'_> {
    type State = Batch;

    fn id(&self) -> &'static str {
        self.id
    }

    fn steps(&self) -> u32 {
        1
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Batch, EngineError> {
        let region = rows.region();
        let x0 = region.x0();
        let blocks = self.change.iter().zip(x0.blocks()).map(|(change, x)| {
            let change = Tensor::<1>::from_floats(change.as_slice(), oracle.device());
            x.clone() + change.unsqueeze::<2>()
        });
        let moved = Batch::new(x0.modalities().clone(), blocks.collect())?;
        // Rounding could leave the ball by an ulp, which the judge would refuse.
        Ok(region.project(&moved))
    }

    fn step(&self, _: &mut Oracle<'_, M>, _: &mut Rows, _: &mut Batch) -> Result<(), EngineError> {
        Ok(())
    }

    /// The judge asks about it, and nobody before.
    fn last(&self, x: &Batch) -> Option<Batch> {
        Some(x.clone())
    }
}

impl Outcome {
    /// Returns whether the sample was used to fit a universal change.
    pub fn is_fitted(&self) -> bool {
        self.observed.contains(&Observation::Fitted)
    }
}
