//! Universal perturbation by projected gradient ascent.
//!
//! # Idea
//! One change `v` for all samples. Climb the mean loss of the samples with `v`, a small batch of them per step, and
//! judge `v` on samples that it was not fitted on.
//!
//! # Maths
//! With a batch `B` of the samples for fitting and `m ← decay · m + g / |g|_1`, `g` the mean over `B` of
//! `∇_v min(loss(clip(x + v)), cap)`:
//!
//! `v ← P_ε(v + α_t · steepest(m))`, `α_t` falling from `step_size` to 0 along half a cosine.
//!
//! After every epoch `v` is tried on all samples for fitting; the one that breaks most of them is returned.
//!
//! # Reference
//! Shafahi, Najibi, Xu, Dickerson, Davis and Goldstein, "Universal Adversarial Training", AAAI 2020, algorithm 1 and
//! section 4 (the cap). Mopuri et al. and Hendrik Metzen et al. (2017) climb in the same way.
//!
//! # Divergences
//! * The paper takes plain sign steps of constant length; here they fall, with momentum.
//! * The best of all epochs is returned, not the last.
//! * In L2 a step is the unit vector of the gradient.
//! * A part of the samples is held out, and the report gives the fooling rate on it. The paper fits on the training set;
//!   peers report the rate on the samples of the fitting.
//!
//! # Cost
//! Per sample for fitting: `epochs` forwards and backwards, and as many forwards to try the change; for every sample one
//! forward to judge it.
//!
//! # When it fails
//! With few samples for fitting the change suits those alone: compare the two rates of the report. A model may be
//! broken on every sample by changes of its own and still have no universal one.
//!
//! # Example
//! ```
//! let table: toml::Table = "epochs = 5\nfit = 0.3".parse().unwrap();
//! assert!(proofmark_attacks::build("uap-pgd", &table).is_ok());
//! ```

use burn::tensor::Tensor;
use proofmark_domain::Role;
use proofmark_engine::{
    Access, Attack, AttackEntry, BuildError, EngineError, Fitting, Focus, Job, Loss, Meta, Needs,
    Outcomes, Parameters, Split,
};
use proofmark_threat::{Batch, Step};
use serde::{Deserialize, Serialize};

use super::shared::{self, Best, NORMS, shuffled, still};
use crate::config::{
    at_least_one, between_0_and_1, not_negative, positive, read, steps_forward, written,
};
use crate::loss::LossKind;
use crate::schedule::cosine;

/// Parameters of the universal perturbation by gradient ascent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Passes over the samples for fitting, at least 1; default 20.
    pub epochs: u32,
    /// Samples per step, at least 1; default 16.
    pub minibatch: u32,
    /// Share of the samples that the change is fitted on, above 0 and below 1; default 0.5. The others judge it.
    pub fit: f64,
    /// First step length in data units (of the first modality that may change), above 0. Without it, half of epsilon.
    pub step_size: Option<f64>,
    /// Decay of the momentum, at least 0; default 0.9.
    pub decay: f64,
    /// Loss: `ce`, `margin` or `dlr`; default `ce`.
    pub loss: LossKind,
    /// Largest loss of a sample that counts, in the unit of the loss, above 0; default 9. A sample beyond it pulls no
    /// further, so that none decides for all.
    pub cap: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            epochs: 20,
            minibatch: 16,
            fit: 0.5,
            step_size: None,
            decay: 0.9,
            loss: LossKind::Ce,
            cap: 9.0,
        }
    }
}

const META: Meta = Meta {
    id: "uap-pgd",
    version: 1,
    summary: "one perturbation for all samples, by gradient ascent on small batches, judged on others",
    role: Role::Attack,
    needs: Needs::Gradients,
    norms: NORMS,
    reference: "Shafahi et al. 2020, arXiv:1811.11304",
};

impl Config {
    /// Builds the attack, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<UapPgd, BuildError> {
        at_least_one(META.id, "epochs", self.epochs)?;
        at_least_one(META.id, "minibatch", self.minibatch)?;
        between_0_and_1(META.id, "fit", self.fit)?;
        steps_forward(META.id, self.step_size)?;
        not_negative(META.id, "decay", self.decay)?;
        positive(META.id, "cap", self.cap, "the unit of the loss")?;
        Ok(UapPgd(self))
    }
}

/// Universal perturbation by gradient ascent, with its parameters checked.
#[derive(Debug)]
pub struct UapPgd(Config);

/// A loss that does not rise beyond a cap.
#[derive(Debug)]
struct Capped {
    loss: Box<dyn Loss>,
    cap: f64,
}

impl Loss for Capped {
    fn per_sample(&self, scores: &Tensor<2>, x: &Batch, focus: &Focus) -> Tensor<1> {
        let loss = self.loss.per_sample(scores, x, focus);
        // The loss towards a target is negative, and 0 where it is reached: nothing to cap.
        loss.clamp_max(self.cap)
    }
}

impl UapPgd {
    /// Returns the first step length as a share of the budget.
    fn first_step(&self, eps: f64) -> f64 {
        self.0.step_size.map_or(0.5, |s| s / eps)
    }

    fn fit(
        &self,
        access: Access<'_>,
        job: &Job<'_>,
        split: &Split,
    ) -> Result<Outcomes, EngineError> {
        let config = &self.0;
        let loss = Capped {
            loss: config.loss.loss(),
            cap: config.cap,
        };
        let mut fitting = Fitting::new(access.gradients(META.id)?, job, META.id)?;
        let mut change = still(job);
        let mut best = Best::none(&change);
        let mut momentum: Vec<Vec<f64>> = change.iter().map(|c| vec![0.0; c.len()]).collect();
        let at_once = config.minibatch as usize;
        let per_epoch = split.fit.len().div_ceil(at_once);
        let steps = f64::from(config.epochs) * per_epoch as f64;
        let first = self.first_step(fitting.region().leading_eps()[0]);
        let mut step = 0;
        for epoch in 0..config.epochs {
            let order = shuffled(job, META.id, &split.fit, epoch);
            for part in order.chunks(at_once) {
                if fitting.stopped() {
                    return Ok(Outcomes::stopped(job));
                }
                let gradient = fitting.gradient(part, &change, &loss)?;
                for (m, g) in momentum.iter_mut().zip(&gradient) {
                    let size = g.iter().map(|g| g.abs()).sum::<f64>().max(1e-30);
                    for (m, g) in m.iter_mut().zip(g) {
                        *m = config.decay * *m + g / size;
                    }
                }
                let direction = momentum.iter();
                let direction = direction.map(|m| m.iter().map(|v| *v as f32).collect());
                let direction = fitting.batch(&direction.collect::<Vec<_>>())?;
                let at = fitting.batch(&change)?;
                let length = first * cosine(f64::from(step), steps);
                let region = fitting.region();
                let length = Step::new(region.column(&[length as f32]));
                change = region.advance(&at, &direction, &length).to_host();
                step += 1;
            }
            best.offer(&mut fitting, &change, &split.fit, at_once)?;
        }
        fitting.conclude(access, META.id, split, best.change)
    }
}

impl Attack for UapPgd {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn parameters(&self) -> Parameters {
        written(&self.0)
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
        self.fit(access, job, &Split::new(job, self.0.fit)?)
    }
}

/// Registry entry of the universal perturbation by gradient ascent.
pub const ENTRY: AttackEntry = AttackEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
