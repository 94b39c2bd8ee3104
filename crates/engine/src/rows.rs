use burn::tensor::{Bool, Device, Tensor};
use proofmark_stats::random::{Purpose, StreamKey};
use proofmark_threat::{Batch, Column, Columns, Region, prefixed};

use crate::{Aim, EngineError, Focus, Job};

/// No target class.
const NONE: u64 = u64::MAX;

/// The rows at work, and every fact about them that moves with them.
#[derive(Debug, Clone)]
pub struct Rows {
    sample: Vec<u64>,
    key: Vec<u64>,
    label: Vec<u64>,
    target: Vec<u64>,
    restart: Vec<u64>,
    step: Vec<u64>,
    region: Region,
    seed: proofmark_domain::Seed,
    attack: u32,
    /// What the oracle has seen of each row.
    pub(crate) watch: Watch,
}

/// The best point seen of each row, on the device.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) best: Batch,
    /// Gauge of `best`; `f32::MAX` before anything was found.
    pub(crate) gauge: Tensor<1>,
    /// 1 where an adversarial was found.
    pub(crate) found: Tensor<1>,
    /// 1 where scores, 2 where a gradient was not finite before anything was found.
    pub(crate) invalid: Tensor<1>,
    /// Gradients asked for, and how many of them were exactly zero.
    pub(crate) gradients: Tensor<1>,
    pub(crate) zero: Tensor<1>,
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
            best: x0,
        }
    }

    /// Takes `x` as the best point of the rows where `better` is set.
    pub(crate) fn take(&mut self, better: &Tensor<1, Bool>, x: &Batch, gauge: Tensor<1>) {
        self.best = self.best.replace_rows(better, x);
        self.gauge = self.gauge.clone().mask_where(better.clone(), gauge);
        self.found = self.found.clone().mask_fill(better.clone(), 1.0);
    }

    /// Takes back what was found of the rows where `refuted` is set: they go on as if nothing had been.
    pub(crate) fn forget(&mut self, refuted: &[bool]) {
        let mask: Vec<f32> = refuted.iter().map(|r| f32::from(u8::from(*r))).collect();
        let mask =
            Tensor::<1>::from_floats(mask.as_slice(), &self.found.device()).greater_scalar(0.5);
        self.found = self.found.clone().mask_fill(mask.clone(), 0.0);
        self.gauge = self.gauge.clone().mask_fill(mask, f32::MAX);
    }

    /// Which rows a new adversarial of this gauge would improve.
    pub(crate) fn improved_by(&self, gauge: &Tensor<1>, aim: Aim) -> Tensor<1, Bool> {
        let better = match aim {
            Aim::Within => self.found.clone().lower_scalar(0.5),
            Aim::Minimise => gauge.clone().lower(self.gauge.clone()),
        };
        // A row that was not finite is done, whether or not it has left yet.
        better.bool_and(self.invalid.clone().lower_scalar(0.5))
    }
}

impl Rows {
    /// Fresh rows of a job, at the beginning of a restart.
    pub(crate) fn new(
        job: &Job<'_>,
        samples: &[usize],
        restart: u32,
        attack: u32,
        device: &Device,
    ) -> Result<Self, EngineError> {
        let values = job.samples.gather(samples);
        let region = Region::new(
            job.threat,
            &job.samples.modalities,
            &values,
            samples,
            device,
        );
        let x0 = Batch::from_host(job.samples.modalities.clone(), values, device)?;
        let column = |f: &dyn Fn(usize) -> u64| samples.iter().map(|s| f(*s)).collect::<Vec<u64>>();
        Ok(Self {
            sample: column(&|s| s as u64),
            key: column(&|s| job.samples.keys[s]),
            label: column(&|s| job.samples.labels[s] as u64),
            target: column(&|s| match &job.samples.targets {
                Some(t) if job.goal.targeted() => t[s] as u64,
                _ => NONE,
            }),
            restart: vec![u64::from(restart); samples.len()],
            step: vec![0; samples.len()],
            region,
            seed: job.seed,
            attack,
            watch: Watch::new(x0),
        })
    }

    /// Number of rows at work.
    pub fn len(&self) -> usize {
        self.sample.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.sample.is_empty()
    }

    /// Each row's place in the samples.
    pub fn samples(&self) -> Vec<usize> {
        self.sample.iter().map(|s| *s as usize).collect()
    }

    /// Row `i`'s place in the samples.
    pub fn sample(&self, i: usize) -> usize {
        self.sample[i] as usize
    }

    /// The key of each row's random streams.
    pub fn keys(&self) -> &[u64] {
        &self.key
    }

    /// The step each row is at, from 0.
    pub fn steps(&self) -> &[u64] {
        &self.step
    }

    /// The restart these rows are in, from 0: rows of one batch are always in the same.
    pub fn restart(&self) -> u64 {
        self.restart.first().copied().unwrap_or(0)
    }

    /// The set each row may move in.
    pub const fn region(&self) -> &Region {
        &self.region
    }

    /// Each row's label and target.
    pub fn focus(&self) -> Focus {
        let targeted = self.target.first().is_some_and(|t| *t != NONE);
        Focus::new(
            self.label.iter().map(|l| *l as usize).collect(),
            targeted.then(|| self.target.iter().map(|t| *t as usize).collect()),
        )
    }

    /// The random stream of each row for `purpose` at its present restart and step.
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
        all
    }
}
