use std::collections::BTreeMap;

use proofmark_domain::{Interval, SampleId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Tail;

/// Schema of an [`InputReport`].
pub const INPUT_REPORT_SCHEMA: &str = "proofmark/suspect-inputs/1";

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing beyond chance.
    None,
    /// Samples that chance does not explain.
    Found,
    /// The probe could not tell; `reason` says why.
    CannotTell,
}

impl Status {
    /// Returns the exit code of a command with this result: 0, 1 or 3.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Found => 1,
            Self::CannotTell => 3,
        }
    }

    /// Returns the status of several probes: found if one found something, otherwise none if one could tell.
    pub fn of_all(all: impl IntoIterator<Item = Self>) -> Self {
        let mut status = Self::CannotTell;
        for one in all {
            match one {
                Self::Found => return Self::Found,
                Self::None => status = Self::None,
                Self::CannotTell => {}
            }
        }
        status
    }
}

/// How often clean samples are flagged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FalseAlarms {
    /// Expected share of clean inputs that are flagged.
    pub value: f64,
    /// Interval of that share, 95 %.
    pub ci95: Interval,
}

/// What a probe says about one input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputResult {
    /// Id of the input.
    pub id: SampleId,
    /// Class that the model decides on; absent where its answer holds no decision.
    pub class: Option<usize>,
    /// Score of the probe; absent where the model's answer gives none.
    pub score: Option<f64>,
    /// Probability that a clean sample is at least as suspicious; absent without clean samples.
    pub p_value: Option<f64>,
    /// Whether the score lies beyond the threshold.
    pub flagged: bool,
}

/// Result of one probe on a set of inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputReport {
    /// [`INPUT_REPORT_SCHEMA`].
    pub schema: String,
    /// Id of the probe.
    pub probe: String,
    /// Version of the probe.
    pub version: u32,
    /// Every parameter.
    pub parameters: Map<String, Value>,
    /// Whether inputs carry a trigger: [`Status::Found`] if `p_value` is at most `level`.
    pub status: Status,
    /// Why the probe could not tell.
    pub reason: Option<String>,
    /// Probability that as many clean inputs would be flagged; absent without clean samples.
    pub p_value: Option<f64>,
    /// Level of the threshold and of the status, such as 0.05.
    pub level: f64,
    /// Number of clean samples that the probe compares inputs with.
    pub reference: usize,
    /// Number of clean samples behind the p-values.
    pub calibration: usize,
    /// Which scores are suspicious.
    pub tail: Tail,
    /// Inputs with a score beyond this one are flagged; absent if none can be.
    pub threshold: Option<f64>,
    /// Whether the threshold was given, not calibrated.
    pub threshold_given: bool,
    /// How often clean inputs are flagged.
    pub false_alarm_rate: Option<FalseAlarms>,
    /// Number of inputs.
    pub n: usize,
    /// Number of flagged inputs.
    pub flagged: usize,
    /// The class that most flagged inputs are given, if more than half are.
    pub target: Option<usize>,
    /// Number of flagged inputs by the class they are given.
    pub flagged_by_class: BTreeMap<usize, usize>,
    /// What to know about this run.
    pub notes: Vec<String>,
    /// Every input, in the order given.
    pub inputs: Vec<InputResult>,
}
