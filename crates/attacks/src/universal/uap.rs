//! Universal perturbation by `DeepFool`.
//!
//! # Idea
//! Go through the samples one by one. Where the change found so far does not succeed, add the smallest step that takes
//! this sample over the boundary, and bring the sum back into the budget. Boundaries of many samples lie in similar
//! directions, so the sum comes to succeed on most.
//!
//! # Maths
//! For each sample `x` for fitting, in an order of its own per epoch, unless `clip(x + v)` succeeds:
//!
//! `r = DeepFool(clip(x + v))` in L2, `v ← P_ε(v + r)`.
//!
//! It ends after an epoch in which `v` succeeds on a share of `target` of them, or after `epochs`; the `v` that did best
//! is returned.
//!
//! # Reference
//! Moosavi-Dezfooli, Fawzi, Fawzi and Frossard, "Universal adversarial perturbations", CVPR 2017, algorithm 1.
//!
//! # Divergences
//! * `DeepFool` is that of `deepfool`: bounds count on the way to the boundary, ties and zero gradients are treated.
//! * Success is that of the run's criterion against the labels; the paper counts changed predictions. Only samples
//!   that are right without attack are used, so that both are the same for fitting.
//! * A part of the samples is held out, and the report gives the fooling rate on it, as the paper does on its validation
//!   set. ART fits and reports on the same samples.
//! * ART draws the order from the global generator and applies `overshoot` to the whole step; here it belongs to
//!   `deepfool`.
//!
//! # Cost
//! Per sample for fitting and epoch: one forward, and for each that holds a run of `deepfool` (two or three steps of
//! nine forwards and backwards), one after the other; then one forward to try the change. For every sample one forward to
//! judge it.
//!
//! # When it fails
//! A projection undoes steps of earlier samples, and each sample pulls as far as its own boundary only: `uap-pgd`
//! usually breaks more at the same budget.
//!
//! # Example
//! ```
//! let table: toml::Table = "epochs = 3\ntarget = 0.9".parse().unwrap();
//! assert!(proofmark_attacks::build("uap", &table).is_ok());
//! ```

use proofmark_domain::{Norm, Role};
use proofmark_engine::{
    Access, Attack, AttackEntry, BuildError, EngineError, Fitting, Job, Meta, Needs, Outcomes,
    Parameters, Samples, Split,
};
use proofmark_threat::Threat;
use serde::{Deserialize, Serialize};

use super::shared::{self, Best, NORMS, shuffled, still};
use crate::config::{at_least_one, between_0_and_1, not_negative, read, require, written};
use crate::gradient::deepfool;

/// Samples tried together at the end of an epoch.
const AT_ONCE: usize = 64;

/// Parameters of the universal perturbation by `DeepFool`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Maximum number of passes over the samples for fitting, at least 1; default 10.
    pub epochs: u32,
    /// Share of the samples for fitting that is enough to end, above 0 and at most 1; default 0.8.
    pub target: f64,
    /// Share of the samples that the change is fitted on, above 0 and below 1; default 0.5. The others judge it.
    pub fit: f64,
    /// Maximum number of `DeepFool`'s steps for one sample, at least 1; default 20.
    pub steps: u32,
    /// How far beyond the boundary `DeepFool` ends, as a share of its distance, at least 0; default 0.02.
    pub overshoot: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            epochs: 10,
            target: 0.8,
            fit: 0.5,
            steps: 20,
            overshoot: 0.02,
        }
    }
}

const META: Meta = Meta {
    id: "uap",
    version: 1,
    summary: "one perturbation for all samples, by DeepFool from sample to sample, judged on others",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: NORMS,
    reference: "Moosavi-Dezfooli et al. 2017, arXiv:1610.08401",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Uap, BuildError> {
        at_least_one(META.id, "epochs", self.epochs)?;
        let ok = self.target > 0.0 && self.target <= 1.0;
        let expected = "a number above 0 and at most 1";
        require(ok, META.id, "target", self.target, expected)?;
        between_0_and_1(META.id, "fit", self.fit)?;
        at_least_one(META.id, "steps", self.steps)?;
        not_negative(META.id, "overshoot", self.overshoot)?;
        let single = deepfool::Config {
            steps: self.steps,
            overshoot: self.overshoot,
            bisections: 0,
            ..deepfool::Config::default()
        };
        Ok(Uap {
            config: self,
            single: single.build()?,
        })
    }
}

/// Universal perturbation by `DeepFool`, with its parameters checked.
#[derive(Debug)]
pub struct Uap {
    config: Config,
    /// The attack on a single sample.
    single: deepfool::DeepFool,
}

impl Uap {
    /// Returns the step that takes sample `row` with the change over the boundary; `None` if none was found.
    fn step(
        &self,
        access: Access<'_>,
        job: &Job<'_>,
        fitting: &mut Fitting<'_, dyn proofmark_model::GradientModel + '_>,
        row: usize,
        change: &[Vec<f32>],
    ) -> Result<Option<Vec<Vec<f32>>>, EngineError> {
        let moved = fitting.changed(&[row], change);
        let samples = Samples {
            modalities: job.samples.modalities.clone(),
            values: moved.clone(),
            labels: vec![job.samples.labels[row]],
            targets: job.samples.targets.as_ref().map(|t| vec![t[row]]),
            keys: vec![job.samples.keys[row]],
        };
        // The budget is that of the sum, which is projected afterwards; the gauge of a single step does not matter.
        let budgets = job.threat.budgets().iter().cloned().map(|mut b| {
            b.norm = Norm::L2;
            b
        });
        let modalities = &samples.modalities;
        let threat = Threat::new(modalities, budgets.collect(), job.threat.coupling(), 1)
            .expect("the budgets of a threat that exists, in another norm");
        let alone = Job {
            samples: &samples,
            rows: &[0],
            threat: &threat,
            resume: None,
            starts: None,
            ..*job
        };
        let outcomes = self.single.run(access, &alone)?;
        fitting.add(row, &outcomes);
        let point = outcomes.rows.into_iter().next().and_then(|o| o.point);
        Ok(point.map(|point| {
            let parts = point.x.iter().zip(&moved);
            let step = parts.map(|(to, from)| to.iter().zip(from).map(|(t, f)| t - f).collect());
            step.collect()
        }))
    }

    fn fit(
        &self,
        access: Access<'_>,
        job: &Job<'_>,
        split: &Split,
    ) -> Result<Outcomes, EngineError> {
        let config = &self.config;
        let mut fitting = Fitting::new(access.gradients(META.id)?, job, META.id)?;
        let mut change = still(job);
        let mut best = Best::none(&change);
        let enough = (config.target * split.fit.len() as f64).ceil() as usize;
        for epoch in 0..config.epochs {
            for row in shuffled(job, META.id, &split.fit, epoch) {
                if fitting.stopped() {
                    return Ok(Outcomes::stopped(job));
                }
                if fitting.succeeds(&[row], &change)?[0] {
                    continue;
                }
                let Some(step) = self.step(access, job, &mut fitting, row, &change)? else {
                    continue;
                };
                for (change, step) in change.iter_mut().zip(&step) {
                    change.iter_mut().zip(step).for_each(|(c, s)| *c += s);
                }
                let sum = fitting.batch(&change)?;
                change = fitting.region().project(&sum).to_host();
            }
            best.offer(&mut fitting, &change, &split.fit, AT_ONCE)?;
            if best.broken >= enough {
                break;
            }
        }
        fitting.conclude(access, META.id, split, best.change)
    }
}

impl Attack for Uap {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Parameters {
        written(&self.config)
    }

    fn is_universal(&self) -> bool {
        true
    }

    fn check(&self, job: &Job<'_>) -> Result<(), EngineError> {
        shared::check(&META, job)
    }

    fn run(&self, access: Access<'_>, job: &Job<'_>) -> Result<Outcomes, EngineError> {
        self.check(job)?;
        if job.rows.is_empty() {
            return Ok(Outcomes::default());
        }
        self.fit(access, job, &Split::new(job, self.config.fit)?)
    }
}

/// Registry entry of the universal perturbation by `DeepFool`.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
