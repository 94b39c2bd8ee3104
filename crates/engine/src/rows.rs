use std::sync::Arc;

use burn::tensor::{Bool, Device, Tensor};
use proofmark_domain::QueryCount;
use proofmark_model::Query;
use proofmark_stats::random::{Purpose, StreamKey, attack_code};
use proofmark_threat::{Batch, Column, Columns, Region, mask, prefixed};

use crate::climb::Climb;
use crate::{Aim, EngineError, Focus, Job, Others, Request, Starts};

/// Code for "no target class", and for "no label" in [`Rows::of`].
const NONE: u64 = u64::MAX;

/// Flag in the id of a row that stands for a class.
const CLASS: u64 = 1 << 62;

/// Id of the row that stands for all samples.
const UNIVERSAL: u64 = 1 << 63;

/// What a row of an attack represents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowId {
    /// The sample at this place; the attack searches for a change of it.
    Sample(usize),
    /// A class; the attack searches for one change that moves many samples to it (a trigger).
    Class(usize),
    /// All samples; the attack searches for one change for all of them.
    Universal,
}

impl RowId {
    /// Returns its place in the samples, if it is a sample.
    pub const fn sample(self) -> Option<usize> {
        match self {
            Self::Sample(place) => Some(place),
            Self::Class(_) | Self::Universal => None,
        }
    }

    const fn code(self) -> u64 {
        match self {
            Self::Sample(place) => place as u64,
            Self::Class(class) => CLASS | class as u64,
            Self::Universal => UNIVERSAL,
        }
    }

    const fn decode(code: u64) -> Self {
        if code == UNIVERSAL {
            Self::Universal
        } else if code & CLASS != 0 {
            Self::Class((code & !CLASS) as usize)
        } else {
            Self::Sample(code as usize)
        }
    }
}

/// The active rows, with all facts about them.
#[derive(Debug, Clone)]
pub struct Rows {
    sample: Vec<u64>,
    key: Vec<u64>,
    label: Vec<u64>,
    target: Vec<u64>,
    restart: Vec<u64>,
    step: Vec<u64>,
    /// Queries that this restart of each row has used so far.
    forward: Vec<u64>,
    backward: Vec<u64>,
    surrogate_forward: Vec<u64>,
    surrogate_backward: Vec<u64>,
    region: Region,
    seed: proofmark_domain::Seed,
    attack: u32,
    starts: Option<Arc<Starts>>,
    others: Option<Arc<Others>>,
    /// Whether attacks see the ways to meet the criterion in place of classes, and whether those are about a property.
    has_ways: bool,
    is_property: bool,
    /// Best point and marks that the oracle recorded for each row.
    pub(crate) watch: Watch,
}

/// Columns that identify the rows.
struct Facts {
    id: Vec<u64>,
    key: Vec<u64>,
    label: Vec<u64>,
    target: Vec<u64>,
    restart: Vec<u64>,
}

/// The best point seen of each row, on the device.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) best: Batch,
    /// Gauge of `best`; `f32::MAX` while nothing was found.
    pub(crate) gauge: Tensor<1>,
    /// 1 where an adversarial was found.
    pub(crate) found: Tensor<1>,
    /// 1 where scores, 2 where a gradient was not finite before an adversarial was found.
    pub(crate) invalid: Tensor<1>,
    /// Number of gradients requested, and how many of them were exactly zero.
    pub(crate) gradients: Tensor<1>,
    pub(crate) zero: Tensor<1>,
    /// Progress of the loss.
    pub(crate) climb: Climb,
}

impl Watch {
    fn new(x0: Batch) -> Self {
        let zeros = || Tensor::<1>::zeros([x0.rows()], &x0.device());
        Self {
            gauge: zeros().full_like(f32::MAX),
            found: zeros(),
            invalid: zeros(),
            gradients: zeros(),
            zero: zeros(),
            climb: Climb::new(&x0),
            best: x0,
        }
    }

    /// Stores `x` as the best point of the rows where `better` is set.
    pub(crate) fn take(&mut self, better: &Tensor<1, Bool>, x: &Batch, gauge: Tensor<1>) {
        // Most queries improve no row, and replacing none would still write the whole batch.
        if !better.clone().any().into_scalar::<bool>() {
            return;
        }
        self.best = self.best.replace_rows(better, x);
        self.gauge = self.gauge.clone().mask_where(better.clone(), gauge);
        self.found = self.found.clone().mask_fill(better.clone(), 1.0);
    }

    /// Discards the point found for the rows where `refuted` is set: they continue as if none had been found.
    pub(crate) fn forget(&mut self, refuted: &[bool]) {
        let mask = mask(refuted, &self.found.device());
        self.found = self.found.clone().mask_fill(mask.clone(), 0.0);
        self.gauge = self.gauge.clone().mask_fill(mask, f32::MAX);
    }

    /// Returns which rows a new adversarial of this gauge would improve.
    pub(crate) fn improved_by(&self, gauge: &Tensor<1>, aim: Aim) -> Tensor<1, Bool> {
        let better = match aim {
            Aim::Within => self.found.clone().lower_scalar(0.5),
            Aim::Minimise => gauge.clone().lower(self.gauge.clone()),
        };
        // A row with values that were not finite is done, even if it has not left the batch yet.
        better.bool_and(self.invalid.clone().lower_scalar(0.5))
    }
}

impl Rows {
    /// Creates fresh rows: restarts of samples of a job, each at step 0.
    pub(crate) fn new(
        job: &Job<'_>,
        tries: &[(usize, u32)],
        attack: u32,
        device: &Device,
    ) -> Result<Self, EngineError> {
        let samples: Vec<usize> = tries.iter().map(|t| t.0).collect();
        let column = |f: &dyn Fn(usize) -> u64| samples.iter().map(|s| f(*s)).collect::<Vec<u64>>();
        let facts = Facts {
            id: column(&|s| RowId::Sample(s).code()),
            key: column(&|s| job.samples.keys[s]),
            label: column(&|s| job.samples.labels[s] as u64),
            target: column(&|s| match &job.samples.targets {
                Some(t) if job.goal.needs_target() => t[s] as u64,
                _ => NONE,
            }),
            restart: tries.iter().map(|t| u64::from(t.1)).collect(),
        };
        let values = job.samples.gather(&samples);
        Self::made(job, facts, values, &samples, attack, device)
    }

    /// Creates fresh rows that are not samples but changes: for one class each, or for all samples. They start at the
    /// point within the bounds nearest to zero, have no label, and have their class as target.
    ///
    /// For loops that query the [`Oracle`](crate::Oracle) themselves; the executor only runs samples. Points of such
    /// rows are copies of many samples: query them with those samples' labels and unwatched ([`Request`]).
    pub fn of(
        ids: &[RowId],
        job: &Job<'_>,
        attack: &str,
        device: &Device,
    ) -> Result<Self, EngineError> {
        let n = ids.len();
        let values = job
            .samples
            .modalities
            .iter()
            .map(|m| {
                let zero = |f: usize| 0.0_f32.clamp(m.bounds.low(f), m.bounds.high(f));
                (0..n).flat_map(|_| (0..m.features()).map(zero)).collect()
            })
            .collect();
        let facts = Facts {
            id: ids.iter().map(|id| id.code()).collect(),
            key: ids.iter().map(|id| id.code()).collect(),
            label: vec![NONE; n],
            target: ids
                .iter()
                .map(|id| match id {
                    RowId::Class(c) => *c as u64,
                    RowId::Sample(_) | RowId::Universal => NONE,
                })
                .collect(),
            restart: vec![0; n],
        };
        // Per-sample budgets do not apply here; the first one is used for all rows.
        Self::made(job, facts, values, &vec![0; n], attack_code(attack), device)
    }

    fn made(
        job: &Job<'_>,
        facts: Facts,
        values: Vec<Vec<f32>>,
        budgets_of: &[usize],
        attack: u32,
        device: &Device,
    ) -> Result<Self, EngineError> {
        let modalities = &job.samples.modalities;
        let region = Region::new(job.threat, modalities, &values, budgets_of, device);
        let x0 = Batch::from_host(modalities.clone(), values, device)?;
        let n = facts.id.len();
        Ok(Self {
            sample: facts.id,
            key: facts.key,
            label: facts.label,
            target: facts.target,
            restart: facts.restart,
            step: vec![0; n],
            forward: vec![0; n],
            backward: vec![0; n],
            surrogate_forward: vec![0; n],
            surrogate_backward: vec![0; n],
            region,
            seed: job.seed,
            attack,
            starts: job.starts.cloned(),
            others: job.others.cloned(),
            has_ways: job.goal.ways().is_some(),
            is_property: job.goal.ways().is_some() && !job.goal.outputs().is_classes(),
            watch: Watch::new(x0),
        })
    }

    /// Returns the number of active rows.
    pub fn len(&self) -> usize {
        self.sample.len()
    }

    /// Returns whether no row is left.
    pub fn is_empty(&self) -> bool {
        self.sample.is_empty()
    }

    /// Returns what row `i` represents.
    pub fn id(&self, i: usize) -> RowId {
        RowId::decode(self.sample[i])
    }

    /// Returns row `i`'s place in the samples; all rows of the executor have one.
    pub(crate) fn sample(&self, i: usize) -> usize {
        self.sample[i] as usize
    }

    /// Returns the queries that this restart of row `i` has used so far.
    pub fn spent(&self, i: usize) -> QueryCount {
        QueryCount {
            forward: self.forward[i],
            backward: self.backward[i],
            surrogate_forward: self.surrogate_forward[i],
            surrogate_backward: self.surrogate_backward[i],
        }
    }

    /// Counts `price` for each of the rows in `owners`.
    pub(crate) fn count(&mut self, owners: &[usize], price: QueryCount) {
        for i in owners {
            self.forward[*i] += price.forward;
            self.backward[*i] += price.backward;
            self.surrogate_forward[*i] += price.surrogate_forward;
            self.surrogate_backward[*i] += price.surrogate_backward;
        }
    }

    /// Creates a request of one point per row.
    pub fn request(&self, x: &Batch) -> Request {
        Query::one_per_row(x.clone(), &self.key).into()
    }

    /// Returns the key of each row's random streams.
    pub fn keys(&self) -> &[u64] {
        &self.key
    }

    /// Returns the step each row is at, from 0.
    pub fn steps(&self) -> &[u64] {
        &self.step
    }

    /// Returns the restart each row is in, from 0. Rows of one batch may be in different ones.
    pub fn restarts(&self) -> &[u64] {
        &self.restart
    }

    /// Returns the point known for each row before the attack (from an earlier attack), per modality.
    pub fn starts(&self) -> Vec<Option<&[Vec<f32>]>> {
        let known = |code: &u64| {
            let place = RowId::decode(*code).sample()?;
            self.starts.as_ref()?.get(&place).map(AsRef::as_ref)
        };
        self.sample.iter().map(known).collect()
    }

    /// Returns the samples that an attack may mix into others, if the job has any.
    pub fn others(&self) -> Option<&Others> {
        self.others.as_deref()
    }

    /// Returns the best point that the oracle has seen succeed for each row in this restart, and its gauge in `f32`: the
    /// smallest, for an attack that minimises. Where none has, the clean row and `f32::MAX`.
    pub const fn best(&self) -> (&Batch, &Tensor<1>) {
        (&self.watch.best, &self.watch.gauge)
    }

    /// Returns the set in which each row may move.
    pub const fn region(&self) -> &Region {
        &self.region
    }

    /// Returns the facts of the samples behind the rows, one point per row, for the criterion.
    pub(crate) fn truth(&self) -> Focus {
        let targeted = self.target.first().is_some_and(|t| *t != NONE);
        Focus {
            row: (0..self.len()).map(|i| self.id(i)).collect(),
            x0: self.region.x0(),
            label: self.label.iter().map(|l| *l as usize).collect(),
            target: targeted.then(|| self.target.iter().map(|t| *t as usize).collect()),
            draw: vec![0; self.len()],
            is_property: false,
        }
    }

    /// Returns the facts of the samples behind the points of a request, for the criterion. The request's targets are
    /// the attack's own and do not count.
    pub(crate) fn truth_of(&self, request: &Request) -> Focus {
        let query = &request.query;
        let mut focus = self.truth();
        if !query.is_one_per_row(self.len()) {
            focus = focus.at(&query.owner);
        }
        focus.draw.clone_from(&query.draw);
        if let Some(label) = &request.label {
            focus.label.clone_from(label);
        }
        if let Some(x0) = &request.x0 {
            focus.x0 = x0.clone();
        }
        focus
    }

    /// Returns the facts for a loss about one point per row. If the criterion has [`Ways`](crate::criterion::Ways), each
    /// row is of class 0, "not met", and has no target.
    pub fn focus(&self) -> Focus {
        self.as_seen(self.truth())
    }

    /// Returns the facts for a loss about the points of a request.
    pub fn focus_of(&self, request: &Request) -> Focus {
        let mut focus = self.as_seen(self.truth_of(request));
        if request.target.is_some() {
            focus.target.clone_from(&request.target);
        }
        focus
    }

    fn as_seen(&self, mut focus: Focus) -> Focus {
        if self.has_ways {
            focus.label.fill(0);
            focus.target = None;
            focus.is_property = self.is_property;
        }
        focus
    }

    /// Returns the random stream of each row for `purpose` at its current restart and step.
    pub fn streams(&self, purpose: Purpose, draw: u32) -> Vec<StreamKey> {
        (0..self.len())
            .map(|i| {
                let mut key = StreamKey::new(self.seed, self.key[i], purpose);
                key.attack = self.attack;
                key.target = if self.target[i] == NONE {
                    0
                } else {
                    self.target[i] as u32 + 1
                };
                key.restart = self.restart[i] as u32;
                key.step = self.step[i] as u32;
                key.draw = draw;
                key
            })
            .collect()
    }

    /// Notes how far the rows have come, of `steps` steps in all.
    pub(crate) fn note_progress(&mut self, steps: u32) {
        self.watch.climb.note(&self.step, steps);
    }

    pub(crate) fn advance_step(&mut self) {
        for s in &mut self.step {
            *s += 1;
        }
    }
}

impl Columns for Rows {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = vec![
            ("sample".into(), Column::Count(&mut self.sample)),
            ("key".into(), Column::Count(&mut self.key)),
            ("label".into(), Column::Count(&mut self.label)),
            ("target".into(), Column::Count(&mut self.target)),
            ("restart".into(), Column::Count(&mut self.restart)),
            ("step".into(), Column::Count(&mut self.step)),
            ("forward".into(), Column::Count(&mut self.forward)),
            ("backward".into(), Column::Count(&mut self.backward)),
            (
                "surrogate_forward".into(),
                Column::Count(&mut self.surrogate_forward),
            ),
            (
                "surrogate_backward".into(),
                Column::Count(&mut self.surrogate_backward),
            ),
        ];
        all.extend(prefixed("region", &mut self.region));
        all.extend(prefixed("best", &mut self.watch.best));
        all.push(("gauge".into(), Column::Vector(&mut self.watch.gauge)));
        all.push(("found".into(), Column::Vector(&mut self.watch.found)));
        all.push(("invalid".into(), Column::Vector(&mut self.watch.invalid)));
        all.push((
            "gradients".into(),
            Column::Vector(&mut self.watch.gradients),
        ));
        all.push(("zero".into(), Column::Vector(&mut self.watch.zero)));
        all.extend(prefixed("climb", &mut self.watch.climb));
        all
    }
}
