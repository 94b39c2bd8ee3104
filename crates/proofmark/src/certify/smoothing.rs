//! Randomized smoothing as a certificate.
//!
//! # Idea
//! The smoothed model decides for the class that the model gives most often when Gaussian noise is added to the sample.
//! How often it does so bounds how far the decision reaches, in L2, whatever the model.
//!
//! # Maths
//! `n0` draws choose a class, `n` further ones count it. With `p` the Clopper–Pearson lower bound at confidence
//! `1 - alpha`, the smoothed model decides for that class everywhere closer than `sigma Phi^-1(p)`; it abstains if `p` is
//! at most 1/2. At a budget `eps` a sample is certified if the class is its label and the radius exceeds `eps`. One count
//! serves all budgets, so the statements about a sample at all of them are wrong together with probability `alpha` at most.
//!
//! # Reference
//! Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019.
//!
//! A model with gradients is attacked as well, smoothed, at every budget: by `apgd` on means over `attack_draws` draws
//! (Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", `NeurIPS` 2019). A sample
//! is broken if `n` new draws at the point found decide for another class, by the exact binomial test at `alpha`
//! (`PREDICT`). Both statements about a sample are wrong with probability `2 alpha` at most; more disagreements than that
//! allows are an error, and a sample for which they disagree is not certified.
//!
//! # Divergences
//! None in the method. Draws that give no decision count for no class. Noise is a function of seed, sample, draw and
//! feature.
//!
//! # Cost
//! `n0 + n` forwards per sample; the attack takes 100 steps of `attack_draws` forwards and backwards per sample and
//! budget, and `n` forwards for a sample that it breaks.
//!
//! # When it fails
//! It says nothing about the model itself, whose attacks may succeed at any distance. A model that was not trained with
//! such noise loses its accuracy under it.

use proofmark_domain::{CertificateOutcome, CertificateStatus, Cost};
use proofmark_engine::{Stage, votes};
use proofmark_model::{Numbers, Signature};
use proofmark_stats::certified_radius;
use proofmark_threat::Threat;
use serde::{Deserialize, Serialize};

use super::{Certificate, Certified, Measured, outcome};
use crate::{RunError, RunPlan};

/// Parameters of randomized smoothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smoothing {
    /// Standard deviation of the noise, data units, above 0; no default.
    pub sigma: f64,
    /// Draws that choose the class, 1 or more; 100.
    #[serde(default = "selection")]
    pub n0: u32,
    /// Draws that count it, 1 or more; 100 000.
    #[serde(default = "estimation")]
    pub n: u32,
    /// Probability that a sample's radius is wrong, above 0 and at most 0.5; 0.001.
    #[serde(default = "alpha")]
    pub alpha: f64,
    /// Draws over which an attack on the smoothed model averages, for models with gradients; 0 for no attack; 20.
    #[serde(default = "attack_draws")]
    pub attack_draws: u32,
}

const fn selection() -> u32 {
    100
}

const fn estimation() -> u32 {
    100_000
}

const fn alpha() -> f64 {
    0.001
}

const fn attack_draws() -> u32 {
    20
}

impl Smoothing {
    /// Smoothing with noise of this standard deviation, and the usual number of draws.
    pub const fn new(sigma: f64) -> Self {
        Self {
            sigma,
            n0: selection(),
            n: estimation(),
            alpha: alpha(),
            attack_draws: attack_draws(),
        }
    }

    /// Refuses numbers out of range.
    pub(super) fn check(&self) -> Result<(), RunError> {
        let refuse = |field: &str, given: String, expected: &str| {
            Err(RunError::Parameter(format!(
                "certificate `smoothing`: {field} = {given}; expected {expected}"
            )))
        };
        if !(self.sigma.is_finite() && self.sigma as f32 > 0.0) {
            return refuse(
                "sigma",
                self.sigma.to_string(),
                "a number above 0, in data units",
            );
        }
        if !(self.alpha > 0.0 && self.alpha <= 0.5) {
            return refuse("alpha", self.alpha.to_string(), "above 0 and at most 0.5");
        }
        for (field, given) in [("n0", self.n0), ("n", self.n)] {
            if given == 0 || given > i32::MAX as u32 {
                return refuse(field, given.to_string(), "1 to 2147483647 draws");
            }
        }
        Ok(())
    }

    /// Refuses models that take no noise.
    pub(super) fn require(&self, signature: &Signature) -> Result<(), RunError> {
        self.check()?;
        if signature.numbers[0] != Numbers::Real {
            return Err(RunError::Parameter(format!(
                "certificate `smoothing`: input `{}` of model `{}` takes whole numbers; noise needs a model that takes any number",
                signature.modalities[0].name, signature.name
            )));
        }
        Ok(())
    }
}

/// What the votes say about one sample.
enum Voted {
    Stopped,
    /// The class, its votes, and the radius if there is a majority.
    Counted(Option<usize>, u64, Option<f64>),
}

impl RunPlan<'_> {
    /// Certifies every sample once, and compares the radii with every budget.
    pub(super) fn smoothed(
        &self,
        certificate: &Certificate,
        smoothing: &Smoothing,
        measured: &Measured<'_>,
    ) -> Result<Vec<Certified>, RunError> {
        let started = (self.clock)();
        self.progress
            .begin(certificate.id(), measured.samples.len());
        let mut computed = 0;
        let mut voted = Vec::with_capacity(measured.samples.len());
        for row in 0..measured.samples.len() {
            voted.push(self.voted(smoothing, measured, row, &mut computed)?);
        }
        let mut cost = Cost {
            computed,
            seconds: (self.clock)() - started,
        };
        let mut all = Vec::new();
        for (t, threat) in measured.threats.iter().enumerate() {
            // The draws are counted once, with the first budget.
            let meta = certificate.meta(measured.whole[t].clone(), std::mem::take(&mut cost));
            let outcomes = voted.iter().enumerate();
            let outcomes = outcomes.map(|(row, v)| judged(v, threat, measured, row, &meta.key));
            let mut one = Certified {
                threat: t,
                outcomes: outcomes.collect(),
                meta,
            };
            self.attack_smoothed(smoothing, measured, &mut one)?;
            all.push(one);
        }
        Ok(all)
    }

    fn voted(
        &self,
        smoothing: &Smoothing,
        measured: &Measured<'_>,
        row: usize,
        computed: &mut u64,
    ) -> Result<Voted, RunError> {
        if (self.stop)() {
            return Ok(Voted::Stopped);
        }
        let threat = &measured.threats[0];
        let rows = [row];
        let job = self.plain_job(measured.samples, &rows, threat, measured.tile);
        let point = measured.samples.sample(row);
        let sigma = smoothing.sigma as f32;
        let count = |stage, draws| votes(self.model, &job, row, &point, sigma, stage, draws);
        let Some(selection) = count(Stage::Selection, smoothing.n0)? else {
            return Ok(Voted::Stopped);
        };
        *computed += selection.computed;
        let Some(class) = selection.top() else {
            return Ok(Voted::Counted(None, 0, None));
        };
        let Some(estimation) = count(Stage::Estimation, smoothing.n)? else {
            return Ok(Voted::Stopped);
        };
        *computed += estimation.computed;
        let own = estimation.counts[class];
        let n = u64::from(smoothing.n);
        let radius = certified_radius(own, n, smoothing.alpha, f64::from(sigma));
        Ok(Voted::Counted(Some(class), own, radius))
    }
}

/// The outcome of a sample at a budget.
fn judged(
    voted: &Voted,
    threat: &Threat,
    measured: &Measured<'_>,
    row: usize,
    key: &str,
) -> CertificateOutcome {
    let Voted::Counted(class, votes, radius) = voted else {
        return outcome(key, CertificateStatus::Stopped);
    };
    let eps = threat.budgets()[0].radius.of(row);
    let status = match (class, radius) {
        (_, None) => CertificateStatus::Abstained,
        (class, Some(_)) if *class != Some(measured.samples.labels[row]) => {
            CertificateStatus::Misclassified
        }
        (_, Some(radius)) if *radius > eps => CertificateStatus::Certified,
        _ => CertificateStatus::Open,
    };
    CertificateOutcome {
        radius: *radius,
        class: *class,
        votes: Some(*votes),
        ..outcome(key, status)
    }
}
