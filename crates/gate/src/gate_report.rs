use proofmark_domain::{AttackSummary, Finding, Interval, Report, Sampling, Verdict};
use serde::{Deserialize, Serialize};

use crate::Date;

/// Schema name of every gate report.
pub const GATE_SCHEMA: &str = "proofmark/gate/1";

/// The gate's report: `proofmark/gate/1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// [`GATE_SCHEMA`].
    pub schema: String,
    /// Error, else fail, else inconclusive, else pass, over what each check [counts as](CheckResult::counts_as).
    pub verdict: Verdict,
    /// The policy that was judged.
    pub policy: PolicyFacts,
    /// The date at which waivers and accepts were evaluated.
    pub date: Date,
    /// One entry per check, in policy order.
    pub checks: Vec<CheckResult>,
    /// All findings: check by check, then those about the policy.
    pub findings: Vec<Finding>,
}

/// Identity of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFacts {
    /// Path of the policy file, as the caller gave it.
    #[serde(default)]
    pub file: String,
    /// SHA-256 of the policy file, hex.
    pub sha256: String,
}

/// Result of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Id of the check.
    pub id: String,
    /// Kind of the check.
    pub kind: String,
    /// Worst verdict of its comparisons.
    pub verdict: Verdict,
    /// Verdict that counts for the gate, after waivers and `on_fail`, `on_inconclusive = "warn"`.
    pub counts_as: Verdict,
    /// The whole requirement.
    pub requirement: String,
    /// Figure of the deciding comparison; absent without evidence, or where it is 0 out of 0.
    pub observed: Option<f64>,
    /// Interval of that figure.
    pub ci: Option<Interval>,
    /// Threshold of the deciding comparison.
    pub threshold: Option<f64>,
    /// Number of samples behind the figure.
    pub n: Option<u64>,
    /// Further samples needed to settle the check, if it is undecided and some number would settle it.
    pub needed: Option<u64>,
    /// Result of each comparison.
    pub comparisons: Vec<ComparisonResult>,
    /// How the number of samples came about; absent if it was fixed beforehand. The looks made are those that judging
    /// needed: results beyond them count in no figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Cost of the measurement; absent without evidence and for a table.
    #[serde(default)]
    pub cost: Option<CheckCost>,
    /// Name of the evidence file; absent without evidence.
    pub evidence: Option<String>,
}

/// Cost of measuring a check, read from its evidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CheckCost {
    /// Wall-clock seconds, summed over shards.
    pub seconds: f64,
    /// Sample-forwards requested by attacks, baselines and probes.
    pub forward: u64,
    /// Sample-backwards requested by attacks, baselines and probes.
    pub backward: u64,
    /// Rows the model computed for them, padding and early tries included.
    pub computed: u64,
}

impl CheckCost {
    pub(crate) fn of(report: &Report) -> Self {
        let sum = |of: fn(&AttackSummary) -> u64| report.attacks.iter().map(of).sum();
        Self {
            seconds: report.seconds,
            forward: sum(|a| a.forward),
            backward: sum(|a| a.backward),
            computed: sum(|a| a.cost.computed),
        }
    }
}

impl ComparisonResult {
    /// Whether it passes or fails.
    pub(crate) fn is_decided(&self) -> bool {
        matches!(self.verdict, Verdict::Pass | Verdict::Fail)
    }
}

/// Result of one comparison of a requirement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonResult {
    /// The comparison: `robust_accuracy >= 0.45`, `fpr_difference(race)<=0.1`.
    pub requirement: String,
    /// Verdict; a pass that cannot be trusted is inconclusive.
    pub verdict: Verdict,
    /// The figure; absent where it is 0 out of 0.
    pub observed: Option<f64>,
    /// Interval at the check's level, over all looks of a sequential check, or at the joint level of all bias checks;
    /// absent where there is none.
    pub ci: Option<Interval>,
    /// The threshold.
    pub threshold: f64,
    /// Number of samples behind the figure; for a table its rows.
    pub n: u64,
    /// Further samples (table rows for a bias check) that would settle it at the rate seen so far.
    pub needed: Option<u64>,
}
