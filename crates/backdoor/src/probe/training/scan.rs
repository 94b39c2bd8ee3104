//! `SCAn`: a class whose activations are two groups, measured by the variation that all classes share.
//!
//! # Idea
//! Samples of a class differ by their class's mean and by a variation that is alike in all classes. Measured by that
//! variation, a class of two groups, each with its own mean, is told from a class of one, even where the groups are not
//! apart along the class's largest variance.
//!
//! # Maths
//! With `S` the covariance of all activations around the means of their classes, `y_i = L⁻¹ (h_i − m_c)`, `L Lᵀ = S`. The
//! split is found by linear discriminants: from each of the first `starts` principal directions of the `y_i`, two normal
//! distributions are fitted to the coordinates along the line between the means, the parts are taken anew, and so on; the
//! one with the largest gain `g` of log-likelihood over a single distribution counts. The statistic of a class is
//! `max(g − g_0 − 7, 0) / n`, `n` the samples, `g_0` the mean of `g` in as many normal rows of as many dimensions and 7 what
//! it exceeds that by in few cases; a
//! spread of 0.02 among the classes counts at least. The suspicion of a sample is its probability to be of the suspicious
//! part: the smaller one, or the one farther from trusted samples.
//!
//! # Reference
//! Tang, Wang, Tang and Zhang, "Demon in the Variant: Statistical Analysis of DNNs for Robust Backdoor Contamination
//! Detection", USENIX Security 2021.
//!
//! # Divergences
//! The authors estimate `S` on clean samples by expectation and maximisation and flag an index
//! of their likelihood ratio `n_1 n_2 / n |y̅_1 − y̅_2|²` above e², or e in their code. That ratio is largest for a split
//! through the middle of a class unless the poisoned samples are many; the likelihood of a mixture is not. Here `S` comes
//! from the training set itself, of which most is clean, and the index has a p-value. More than 64 activations are reduced to the 64 principal directions of `S`.
//!
//! # Cost
//! One sample-forward per sample, one covariance of the whole set, and the fits of each class.
//!
//! # When it fails
//! If several classes are poisoned alike (all-to-all), none stands out. Classes that consist of two kinds of samples look
//! poisoned. If most of a class is poisoned, the clean part is the smaller one: give clean samples.
//!
//! # Example
//! ```
//! use proofmark_backdoor::probe::training;
//! let error = training::build("scan", &"starts = 0".parse().unwrap()).unwrap_err().to_string();
//! assert_eq!(error, "probe `scan`: starts = 0; expected 1 to 16");
//! ```

use std::collections::BTreeMap;

use proofmark_domain::Seed;
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entry::{ClassSplit, TrainingProbe, TrainingProbeEntry, TrainingProbeMeta};
use super::linear::Matrix;
use super::set::FeatureSet;
use super::spectral::CHANCE;
use super::split::mixture;
use crate::probe::input::{ProbeError, read, require, written};

/// Most dimensions in which classes are split.
const DIMS: usize = 64;

/// Draws of normal rows whose mean gain a class is measured by.
const NULL_DRAWS: u32 = 3;

/// Parameters of `SCAn`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Principal directions from which a split is sought, 1 to 16; default 4.
    pub starts: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { starts: 4 }
    }
}

const META: TrainingProbeMeta = TrainingProbeMeta {
    id: "scan",
    version: 1,
    summary: "SCAn: two groups in a class, measured by the variation that all classes share",
    statistic: "gain of log-likelihood per sample of two groups over one, beyond that of normal rows",
    resolution: 0.02,
    source: "Tang et al. 2021, arXiv:1908.00686",
};

/// `SCAn` with checked parameters.
#[derive(Debug, Clone)]
pub struct Scan {
    config: Config,
}

impl Config {
    /// Builds the probe, or returns an error that names the wrong parameter.
    pub fn build(self) -> Result<Scan, ProbeError> {
        require(
            (1..=16).contains(&self.starts),
            META.id,
            "starts",
            self.starts,
            "1 to 16",
        )?;
        Ok(Scan { config: self })
    }
}

/// Two groups of whitened rows.
struct Groups {
    gain: f64,
    upper: Vec<f64>,
}

/// Splits centred, whitened rows in two; `None` if they are all equal.
fn groups(rows: &Matrix, starts: usize) -> Option<Groups> {
    let n = rows.len();
    let directions = rows.covariance().principal(starts);
    let mut best: Option<Groups> = None;
    for start in directions.rows() {
        let mut direction = start.to_vec();
        for _ in 0..5 {
            let along = rows.along(&Matrix::new(1, rows.width(), direction.clone()));
            let Some(fit) = mixture(along.values()) else {
                break;
            };
            let part = |wanted: bool| -> Vec<usize> {
                (0..n).filter(|i| (fit.upper[*i] > 0.5) == wanted).collect()
            };
            let (a, b) = (part(true), part(false));
            if a.is_empty() || b.is_empty() {
                break;
            }
            let (first, second) = (rows.mean(&a), rows.mean(&b));
            let between: Vec<f64> = first.iter().zip(&second).map(|(a, b)| a - b).collect();
            let squared: f64 = between.iter().map(|d| d * d).sum();
            if squared.is_nan() || squared <= 0.0 {
                break;
            }
            let better = best
                .as_ref()
                .is_none_or(|g| fit.gain > g.gain * (1.0 + 1e-9));
            direction = between.iter().map(|d| d / squared.sqrt()).collect();
            if better {
                best = Some(Groups {
                    gain: fit.gain,
                    upper: fit.upper,
                });
            }
        }
    }
    best
}

impl Scan {
    /// Returns the mean gain of normal rows; of about as many, so that one draw serves classes of like sizes.
    fn null(&self, rows: usize, width: usize) -> f64 {
        let mut sum = 0.0;
        for draw in 0..NULL_DRAWS {
            let mut stream = Stream::new(&StreamKey {
                attack: attack_code("scan-null"),
                draw,
                ..StreamKey::new(Seed(0), (rows * 4096 + width) as u64, Purpose::Bootstrap)
            });
            let values = (0..rows * width)
                .map(|_| f64::from(stream.normal()))
                .collect();
            let rows = Matrix::new(rows, width, values).centred();
            sum += groups(&rows, self.config.starts as usize).map_or(0.0, |g| g.gain);
        }
        sum / f64::from(NULL_DRAWS)
    }
}

/// Returns `n` rounded down to a size of the null: at most 12 % below.
fn null_size(n: usize) -> usize {
    let mut size = super::set::LEAST as f64;
    while size * 1.125 <= n as f64 {
        size *= 1.125;
    }
    size as usize
}

impl TrainingProbe for Scan {
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
        let classes: Vec<Result<Matrix, String>> =
            (0..set.classes()).map(|c| set.centred(c)).collect();
        let usable: Vec<&Matrix> = classes.iter().flatten().collect();
        let pooled: Vec<f64> = usable
            .iter()
            .flat_map(|m| m.values().iter().copied())
            .collect();
        let rows = pooled.len() / set.width();
        let mut shared = Matrix::new(rows, set.width(), pooled);
        let mut directions = None;
        if rows > 0 && set.width() > DIMS {
            let principal = shared.covariance().principal(DIMS);
            shared = shared.along(&principal);
            directions = Some(principal);
        }
        let covariance = (rows > 0).then(|| shared.covariance());
        let mut nulls: BTreeMap<usize, f64> = BTreeMap::new();
        super::examine::each_class(set, done, |class| {
            let own = set.rows(class);
            let (centred, covariance) = match (&classes[class], &covariance) {
                (Err(why), _) => return ClassSplit::none(why.clone(), own.len()),
                (_, None) => return ClassSplit::none("no class can be split", own.len()),
                (Ok(centred), Some(covariance)) => (centred, covariance),
            };
            let reduced = directions.as_ref().map(|d| centred.along(d));
            let white = reduced.as_ref().unwrap_or(centred).whitened(covariance);
            let Some(groups) = groups(&white, self.config.starts as usize) else {
                return ClassSplit::none("there are no two groups", own.len());
            };
            let upper: Vec<bool> = groups.upper.iter().map(|u| *u > 0.5).collect();
            let suspicious = set.suspicious(class, &upper);
            let size = null_size(own.len());
            let null = *nulls
                .entry(size)
                .or_insert_with(|| self.null(size, white.width()) / size as f64);
            let in_part = |(row, up): (&usize, &bool)| (*up == suspicious).then_some(*row);
            ClassSplit {
                statistic: Ok(
                    (groups.gain / own.len() as f64 - null - CHANCE / own.len() as f64).max(0.0),
                ),
                suspected: own.iter().zip(&upper).filter_map(in_part).collect(),
                suspicion: groups
                    .upper
                    .iter()
                    .map(|u| if suspicious { *u } else { 1.0 - u })
                    .collect(),
            }
        })
    }
}

/// Registry entry of `SCAn`.
pub const ENTRY: TrainingProbeEntry = TrainingProbeEntry {
    meta: &META,
    build: |table| Ok(Box::new(read::<Config>(META.id, table)?.build()?)),
};
