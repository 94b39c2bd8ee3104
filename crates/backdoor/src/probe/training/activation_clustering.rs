//! Activation clustering: two clusters in the activations of a class.
//!
//! # Idea
//! A class with poisoned samples consists of two kinds of samples, which the model tells apart before it gives them the
//! same answer. A clean class splits less clearly.
//!
//! # Maths
//! The activations of a class, mean subtracted, are projected on their first `dims` principal directions and split by
//! 2-means. The statistic is the mean silhouette of the split, `(b − a) / max(a, b)` with `a` and `b` the mean distances of
//! a sample to its own part and to the other. The suspicion of a sample is how much nearer it is to the centre of the
//! suspicious part than to the other's. The suspicious part is the smaller one (or the one farther from trusted samples).
//!
//! # Reference
//! Chen et al., "Detecting Backdoor Attacks on Deep Neural Networks by Activation Clustering", `SafeAI` 2019.
//!
//! # Divergences
//! The authors use independent components and judge by fixed thresholds: a silhouette of 0.1 to 0.25, a part of less than
//! 35 %. Clean classes reach those; here the silhouettes of the classes are compared with one another. Of classes with more
//! than 1,000 samples every second, third, … counts for the silhouette.
//!
//! # Cost
//! One sample-forward per sample, the covariance of each class, and distances of up to 1,000 samples of each.
//!
//! # When it fails
//! Few poisoned samples: 2-means splits the larger part instead. Classes that consist of two kinds of samples look
//! poisoned. If most of a class is poisoned, the clean part is the smaller one: give clean samples.
//!
//! # Example
//! ```
//! use proofmark_backdoor::probe::training;
//! let probe = training::build("activation_clustering", &"dims = 10".parse().unwrap()).unwrap();
//! assert_eq!(probe.meta().id, "activation_clustering");
//! ```

use proofmark_domain::Seed;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entry::{ClassSplit, TrainingProbe, TrainingProbeEntry, TrainingProbeMeta};
use super::set::FeatureSet;
use super::split::{silhouette, two_means};
use crate::probe::input::{ProbeError, read, require, written};

/// Samples of a class whose silhouettes are averaged.
const COMPARED: usize = 1000;

/// Parameters of activation clustering.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Principal directions, 1 to 64; default 10.
    pub dims: u32,
    /// Random starts of 2-means, 1 to 100; default 8.
    pub starts: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dims: 10,
            starts: 8,
        }
    }
}

const META: TrainingProbeMeta = TrainingProbeMeta {
    id: "activation_clustering",
    version: 1,
    summary: "activation clustering: two clusters in the activations of a class",
    statistic: "mean silhouette of the two clusters",
    resolution: 0.02,
    source: "Chen et al. 2019, arXiv:1811.03728",
};

/// Activation clustering with checked parameters.
#[derive(Debug, Clone)]
pub struct Clustering {
    config: Config,
}

impl Config {
    /// Builds the probe, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Clustering, ProbeError> {
        require(
            (1..=64).contains(&self.dims),
            META.id,
            "dims",
            self.dims,
            "1 to 64",
        )?;
        require(
            (1..=100).contains(&self.starts),
            META.id,
            "starts",
            self.starts,
            "1 to 100",
        )?;
        Ok(Clustering { config: self })
    }
}

impl Clustering {
    fn class(&self, set: &FeatureSet, class: usize, seed: Seed) -> ClassSplit {
        let rows = set.rows(class);
        let centred = match set.centred(class) {
            Ok(centred) => centred,
            Err(why) => return ClassSplit::none(why, rows.len()),
        };
        let directions = centred.covariance().principal(self.config.dims as usize);
        let along = centred.along(&directions);
        let Some(first) = two_means(&along, self.config.starts, seed, class as u64) else {
            return ClassSplit::none("all samples are at the same place", rows.len());
        };
        let suspicious = set.suspicious(class, &first);
        let part = |wanted: bool| -> Vec<usize> {
            (0..rows.len())
                .filter(|i| (first[*i] == suspicious) == wanted)
                .collect()
        };
        let (bad, good) = (part(true), part(false));
        if bad.is_empty() || good.is_empty() {
            return ClassSplit::none("the split has an empty part", rows.len());
        }
        let centres = [along.mean(&bad), along.mean(&good)];
        let far = |a: &[f64], b: &[f64]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(a, b)| (a - b).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        ClassSplit {
            statistic: Ok(silhouette(&along, &first, COMPARED)),
            suspected: bad.iter().map(|i| rows[*i]).collect(),
            suspicion: along
                .rows()
                .map(|r| far(r, &centres[1]) - far(r, &centres[0]))
                .collect(),
        }
    }
}

impl TrainingProbe for Clustering {
    fn meta(&self) -> &'static TrainingProbeMeta {
        &META
    }

    fn parameters(&self) -> Map<String, Value> {
        written(&self.config)
    }

    fn split(
        &self,
        set: &FeatureSet,
        seed: Seed,
        done: &(dyn Fn(usize) -> bool + Sync),
    ) -> Result<Vec<ClassSplit>, ProbeError> {
        super::examine::each_class(set, done, |class| self.class(set, class, seed))
    }
}

/// Registry entry of activation clustering.
pub const ENTRY: TrainingProbeEntry = TrainingProbeEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
