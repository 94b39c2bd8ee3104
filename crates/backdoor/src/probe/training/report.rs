use proofmark_domain::SampleId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::probe::input::Status;

/// Schema of a [`TrainingReport`].
pub const TRAINING_REPORT_SCHEMA: &str = "proofmark/training-set/1";

/// What a probe says about one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassResult {
    /// The class.
    pub class: usize,
    /// Number of its samples.
    pub n: usize,
    /// Statistic of the probe; absent where there is none.
    pub statistic: Option<f64>,
    /// Anomaly index of the statistic among the classes.
    pub index: Option<f64>,
    /// Probability of an index at least as large for any of the classes, if none was poisoned.
    pub p_value: Option<f64>,
    /// Why there is no statistic.
    pub reason: Option<String>,
    /// Number of samples in the suspicious part.
    pub suspected: usize,
}

/// A sample to review.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspect {
    /// Place in the order of suspicion, from 1.
    pub rank: usize,
    /// Row of the set, from 0.
    pub row: usize,
    /// Id of the sample.
    pub id: SampleId,
    /// Its label.
    pub label: usize,
    /// Suspicion within its class; larger is more suspicious.
    pub suspicion: f64,
    /// Whether it is in the suspicious part of a class that stands out.
    pub suspected: bool,
}

/// Result of one probe on a training set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingReport {
    /// [`TRAINING_REPORT_SCHEMA`].
    pub schema: String,
    /// Id of the probe.
    pub probe: String,
    /// Version of the probe.
    pub version: u32,
    /// Every parameter.
    pub parameters: Map<String, Value>,
    /// Layer whose activations were read.
    pub layer: String,
    /// Whether a class stands out: [`Status::Found`] if its p-value is at most `level`.
    pub status: Status,
    /// Why the probe could not tell.
    pub reason: Option<String>,
    /// Level of the status, such as 0.02.
    pub level: f64,
    /// The class that stands out most, if one does.
    pub target: Option<usize>,
    /// Smallest p-value of a class: that of the set.
    pub p_value: Option<f64>,
    /// Number of samples.
    pub n: usize,
    /// Number of samples that are suspected.
    pub suspected: usize,
    /// Their share of the set.
    pub share: f64,
    /// Every class.
    pub classes: Vec<ClassResult>,
    /// Every sample, the most suspicious first.
    pub samples: Vec<Suspect>,
}
