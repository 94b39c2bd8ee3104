//! Spectral signatures: samples that lie far out along the direction of largest variance of their class.
//!
//! # Idea
//! Poisoned samples of a class share an activation that clean ones lack. If it is strong enough, it is the direction of
//! largest variance, and the poisoned samples lie together at one end of it.
//!
//! # Maths
//! `v` is the first principal direction of the class's activations `h_i`, its mean `m` **subtracted**; the suspicion of a
//! sample is `(v · (h_i − m))²`. The coordinates `v · (h_i − m)` are fitted by one normal distribution and by two with a
//! common variance. With `g` the gain of log-likelihood, `n` the samples and 7 what normal numbers reach in one of a
//! hundred cases, the statistic of the class is `max(g − 7, 0) / n`; a spread of 0.02 among the classes counts at least. The suspicious part is the distribution
//! with fewer samples (or the one farther from trusted samples).
//!
//! # Reference
//! Tran, Li and Madry, "Spectral Signatures in Backdoor Attacks", `NeurIPS` 2018.
//!
//! # Divergences
//! The authors remove the 1.5 ε most suspicious samples of every class, ε an upper bound on the poison rate that the user
//! knows; with `rate` the probe does so. Otherwise the mixture estimates the share, and only classes that stand out are
//! reported. The implementation of the Adversarial Robustness Toolbox projects activations without subtracting their
//! mean: `v` is then close to the mean itself.
//!
//! # Cost
//! One sample-forward per sample, the covariance of each class, and some 500 passes over its coordinates.
//!
//! # When it fails
//! Few poisoned samples, or triggers whose activation varies less than the class itself: the first direction is then that
//! of some property of clean samples. Classes that consist of two kinds of samples look poisoned. If most of a class is
//! poisoned, the clean part is the smaller one: give clean samples.
//!
//! # Example
//! ```
//! use proofmark_backdoor::probe::training;
//! let probe = training::build("spectral", &"rate = 0.05".parse().unwrap()).unwrap();
//! assert_eq!(probe.parameters()["rate"], 0.05);
//! ```

use proofmark_domain::Seed;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entry::{ClassSplit, TrainingProbe, TrainingProbeEntry, TrainingProbeMeta};
use super::set::FeatureSet;
use super::split::mixture;
use crate::probe::input::{ProbeError, read, require, written};

/// Gain of log-likelihood that normal numbers exceed in one of a hundred cases.
pub(super) const CHANCE: f64 = 7.0;

/// Parameters of spectral signatures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Upper bound on the share of poisoned samples in their class, above 0, below 0.5: the suspicious part is the 1.5
    /// `rate` most suspicious samples. Default: none, the share is estimated.
    pub rate: Option<f64>,
}

const META: TrainingProbeMeta = TrainingProbeMeta {
    id: "spectral",
    version: 1,
    summary: "spectral signatures: outliers along the first principal direction of a class",
    statistic: "gain of log-likelihood per sample of two normal distributions over one, along that direction",
    resolution: 0.02,
    source: "Tran, Li and Madry 2018, arXiv:1811.00636",
};

/// Spectral signatures with checked parameters.
#[derive(Debug, Clone)]
pub struct Spectral {
    config: Config,
}

impl Config {
    /// Builds the probe, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Spectral, ProbeError> {
        if let Some(rate) = self.rate {
            require(
                rate > 0.0 && rate < 0.5,
                META.id,
                "rate",
                rate,
                "a share above 0, below 0.5",
            )?;
        }
        Ok(Spectral { config: self })
    }
}

impl Spectral {
    fn class(&self, set: &FeatureSet, class: usize) -> ClassSplit {
        let rows = set.rows(class);
        let centred = match set.centred(class) {
            Ok(centred) => centred,
            Err(why) => return ClassSplit::none(why, rows.len()),
        };
        let direction = centred.covariance().principal(1);
        let along = centred.along(&direction);
        let Some(mixture) = mixture(along.values()) else {
            return ClassSplit::none("no direction has any variance", rows.len());
        };
        let suspicion: Vec<f64> = along.values().iter().map(|v| v * v).collect();
        let upper: Vec<bool> = mixture.upper.iter().map(|u| *u > 0.5).collect();
        let suspicious = set.suspicious(class, &upper);
        let suspected = match self.config.rate {
            None => {
                let in_part = |(row, up): (&usize, &bool)| (*up == suspicious).then_some(*row);
                rows.iter().zip(&upper).filter_map(in_part).collect()
            }
            Some(rate) => {
                let n = (1.5 * rate * rows.len() as f64).round() as usize;
                let mut order: Vec<usize> = (0..rows.len()).collect();
                order.sort_by(|a, b| suspicion[*b].total_cmp(&suspicion[*a]));
                let mut most: Vec<usize> = order.iter().take(n).map(|i| rows[*i]).collect();
                most.sort_unstable();
                most
            }
        };
        let gain = (mixture.gain - CHANCE).max(0.0) / rows.len() as f64;
        ClassSplit {
            statistic: Ok(gain),
            suspected,
            suspicion,
        }
    }
}

impl TrainingProbe for Spectral {
    fn meta(&self) -> &'static TrainingProbeMeta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.config)
    }

    fn split(
        &self,
        set: &FeatureSet,
        _: Seed,
        done: &(dyn Fn(usize) -> bool + Sync),
    ) -> Result<Vec<ClassSplit>, ProbeError> {
        super::examine::each_class(set, done, |class| self.class(set, class))
    }
}

/// Registry entry of spectral signatures.
pub const ENTRY: TrainingProbeEntry = TrainingProbeEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
