use proofmark_domain::{AttackSummary, Finding, Interval, Report, Verdict};
use serde::{Deserialize, Serialize};

use crate::Date;

/// The schema name every gate report carries.
pub const GATE_SCHEMA: &str = "proofmark/gate/1";

/// What the gate says: `proofmark/gate/1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// [`GATE_SCHEMA`].
    pub schema: String,
    /// Error, else fail, else inconclusive, else pass, over what each check [counts as](CheckResult::counts_as).
    pub verdict: Verdict,
    /// The policy that was held against the evidence.
    pub policy: PolicyFacts,
    /// The day waivers and accepts were held against.
    pub date: Date,
    /// One entry per check, in the order of the policy.
    pub checks: Vec<CheckResult>,
    /// Everything there is to say, check by check, then about the policy.
    pub findings: Vec<Finding>,
}

/// Which policy it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyFacts {
    /// Its file, as whoever ran the gate called it.
    #[serde(default)]
    pub file: String,
    /// SHA-256 of its file, hex.
    pub sha256: String,
}

/// What became of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// The worst verdict of its comparisons.
    pub verdict: Verdict,
    /// What it does to the gate, after waivers and `on_fail`, `on_inconclusive = "warn"`.
    pub counts_as: Verdict,
    /// The whole requirement.
    pub requirement: String,
    /// The figure of the comparison that decided; absent without evidence, or where it is 0 out of 0.
    pub observed: Option<f64>,
    /// Its interval.
    pub ci: Option<Interval>,
    /// Its threshold.
    pub threshold: Option<f64>,
    /// Samples it rests on.
    pub n: Option<u64>,
    /// Further samples that would settle it, if it is undecided and some number would.
    pub needed: Option<u64>,
    /// Each comparison by itself.
    pub comparisons: Vec<ComparisonResult>,
    /// What measuring it took; absent without evidence, and of a table.
    #[serde(default)]
    pub cost: Option<CheckCost>,
    /// Name of the evidence file; absent without evidence.
    pub evidence: Option<String>,
}

/// What measuring a check took, by its evidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CheckCost {
    /// Wall-clock seconds, summed over shards.
    pub seconds: f64,
    /// Sample-forwards that attacks, baselines and probes asked for.
    pub forward: u64,
    /// Sample-backwards that they asked for.
    pub backward: u64,
    /// Rows that the model computed for them, padding and early tries included.
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

/// What became of one comparison of a requirement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonResult {
    /// The comparison: `robust_accuracy >= 0.45`, `fpr_difference(race)<=0.1`.
    pub requirement: String,
    /// Its verdict; a pass that cannot be trusted is inconclusive.
    pub verdict: Verdict,
    /// The figure; absent where it is 0 out of 0.
    pub observed: Option<f64>,
    /// Its interval at the check's level, or at that of all bias checks together; absent where there is none.
    pub ci: Option<Interval>,
    /// The threshold.
    pub threshold: f64,
    /// Samples it rests on; for a table its rows.
    pub n: u64,
    /// Further samples (rows of a table) that would settle it, at the rate seen so far.
    pub needed: Option<u64>,
}
