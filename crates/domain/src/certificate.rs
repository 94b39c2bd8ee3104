//! Certificates in an attack report: samples for which no change within the budget can change the decision.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Cost, Interval, ThreatRecord};

/// The classifier that a certificate is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certifies {
    /// The model that the report's attacks ran on.
    Model,
    /// The model smoothed by noise: another classifier, which the report's attacks did not run on.
    SmoothedModel,
}

/// Outcome of one sample under one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateStatus {
    /// The decision is the label everywhere within the budget.
    Certified,
    /// Nothing was proven; there may or may not be an adversarial example.
    Open,
    /// The decision without a change is another class.
    Misclassified,
    /// The votes under noise have no certain majority.
    Abstained,
    /// The run ended before the sample was done.
    Stopped,
}

/// Result of one sample under one certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateOutcome {
    /// Key of the certificate.
    pub certificate: String,
    /// Outcome of the sample.
    pub status: CertificateStatus,
    /// Lower bound of the label's score minus the largest other one over the whole budget; absent for smoothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Radius that the votes certify, in the budget's norm and data units; absent for other methods, and if the smoothed
    /// model abstains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radius: Option<f64>,
    /// Class of the certificate: the one that most draws of the selection decided for; absent for other methods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<usize>,
    /// Draws that decided for that class; absent for other methods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub votes: Option<u64>,
    /// Whether an attack on the smoothed model found a point within the budget at which it decides for another class;
    /// absent for other methods, and where it was not attacked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<bool>,
}

/// Identity and settings of one certificate in a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateMeta {
    /// Unique in the report: `interval@linf:0.1`.
    pub key: String,
    /// The method: `interval`, `crown` or `smoothing`.
    pub method: String,
    /// The classifier that the certificate is about.
    pub certifies: Certifies,
    /// Budget of the certificate.
    pub threat: ThreatRecord,
    /// Every resolved parameter of the method.
    pub parameters: Map<String, Value>,
    /// Probability that the certificate of a sample is wrong, at most; 0 for a proof.
    pub alpha: f64,
    /// Compute cost.
    #[serde(flatten)]
    pub cost: Cost,
}

/// Settings and results of one certificate at one budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateSummary {
    /// Identity and settings.
    #[serde(flatten)]
    pub meta: CertificateMeta,
    /// Number of samples certified.
    pub certified: usize,
    /// Number of samples.
    pub n: usize,
    /// Number of samples for which the smoothed model abstains.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub abstained: usize,
    /// Number of samples that were not reached before the run ended.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stopped: usize,
    /// `certified / n`.
    pub certified_accuracy: f64,
    /// Interval at 95 % of the share of the population that is right everywhere within the budget, as far as the method
    /// shows it. For a proof, Clopper–Pearson. For smoothing the lower end allows for wrong certificates as well: with
    /// probability 99 % no more than `false_at_most` of these samples have one, and Clopper–Pearson at 96 % is taken of the
    /// others, so that both errors together stay within 5 %.
    pub ci95: Interval,
    /// Number of samples for which the smoothed model was neither seen to decide for another class nor broken by an attack
    /// on it; absent for other methods, and if it was not attacked. An upper limit of its accuracy under attack, as
    /// `certified` is a lower one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_broken: Option<usize>,
    /// Number of wrong certificates that is not exceeded with probability 99 %; 0 for a proof.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub false_at_most: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
const fn is_zero(n: &usize) -> bool {
    *n == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields over by reference"
)]
const fn is_zero_u64(n: &u64) -> bool {
    *n == 0
}
