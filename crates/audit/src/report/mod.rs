//! The audit report, `proofmark/audit/2`: every figure with its interval, and the counts of every group.

mod again;
mod attack;
mod audit;
mod build;
mod counts;
mod made_of;
mod pairs;
mod samples;
mod scan;
mod suppress;

pub use attack::{AttackFacts, UNDER_ATTACK};
pub use audit::{Audit, ReportOptions, Subject, report, report_attacked};
pub use made_of::{FamilyOf, MadeOf, PartsOf};
pub use pairs::PairFacts;
pub use samples::{Detail, SampleFacts, samples};
pub use scan::{ScanFacts, SubgroupFacts};

use proofmark_domain::{Interval, Verdict};
use serde::{Deserialize, Serialize};

use crate::metric::{self, Need};
use crate::{Missing, Origin, PairTests, Settings};

/// The schema name every audit report carries.
pub const AUDIT_SCHEMA: &str = "proofmark/audit/2";

/// The reason given for a suppressed figure.
pub(crate) const SUPPRESSED: &str = "suppressed";

/// Returns why a figure that can be measured has no interval and cannot be judged by one.
fn no_interval(metric: &str) -> String {
    let needs = |need| metric::find(metric).is_ok_and(|e| e.needs.contains(&need));
    let why = if metric.starts_with("r2") {
        "no interval: no limits of R² hold whatever the errors are"
    } else if metric.starts_with("log_loss") {
        "no interval: a loss has no bound where scores may be 0 or 1; expected a range of scores within, such as score=0.001,0.999"
    } else if needs(Need::Target) {
        "no interval: errors have no bound; expected the ranges of scores and of true values, such as score=0,100 and target=0,100"
    } else if needs(Need::Score) {
        "no interval: scores have no bound; expected their range, such as score=0,100"
    } else {
        "its parts give no interval"
    };
    why.to_owned()
}

/// Outcome of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Status {
    /// Every requirement on it holds.
    Pass,
    /// A requirement on it is missed.
    Fail,
    /// A requirement exists, but the table cannot decide it.
    Inconclusive,
    /// No requirement is set on it: it decides nothing.
    Exploratory,
    /// It cannot be estimated, and no requirement is set on it; `reason` says why.
    #[strum(serialize = "not estimable")]
    NotEstimable,
    /// It was estimated, but showing it would reveal too much about too few people.
    Suppressed,
}

impl Status {
    /// Returns the name of the status.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl From<Verdict> for Status {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Fail => Self::Fail,
            Verdict::Inconclusive | Verdict::Error => Self::Inconclusive,
        }
    }
}

/// Result of an audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// [`AUDIT_SCHEMA`].
    pub schema: String,
    /// Version of proofmark that wrote the report.
    pub version: String,
    /// The audited table.
    pub table: TableFacts,
    /// Settings of the audit.
    pub settings: SettingFacts,
    /// Verdict over all requirements; `None` if there were none.
    pub verdict: Option<Verdict>,
    /// Every requirement on every attribute.
    pub gates: Vec<RequirementResult>,
    /// Every comparison of groups.
    pub metrics: Vec<Metric>,
    /// Parts that the figures are computed from: see [`Metric::basis`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartsOf>,
    /// Every group, attribute by attribute, and all together.
    pub groups: Vec<GroupFacts>,
    /// Every attribute and intersection.
    pub attributes: Vec<AttributeFacts>,
    /// Metrics left out because the table lacks a column.
    pub skipped: Vec<SkippedMetric>,
    /// Intersections left out because they have too few members.
    pub refused: Vec<RefusedGroups>,
    /// Settings that a gate requested when it had the table audited; absent if no gate did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<serde_json::Value>,
    /// The attack whose samples were audited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attack: Option<AttackFacts>,
    /// The pairs of a paired table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<PairFacts>,
    /// Scans for subgroups, which decide nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scan: Vec<ScanFacts>,
    /// The rows, if requested and few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<SampleFacts>,
    /// Name of the `.jsonl` file beside the report that holds the rows if there are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples_file: Option<String>,
}

/// The audited table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableFacts {
    /// Name of the table, as given.
    pub name: String,
    /// Rows audited.
    pub rows: u64,
    /// Rows excluded by filters.
    pub filtered: u64,
    /// Columns in which some row has no value. A row without decision, label, score, target or feature is left out of
    /// the metrics that need it; if cells are suppressed, and in paired tables, it is left out of all metrics.
    #[serde(default)]
    pub missing: Vec<Missing>,
    /// Suspicious content of the file that is not an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Whether rows are weighted.
    pub weighted: bool,
    /// The file, its digest, and how its columns were read; `None` for a table built from arrays.
    pub origin: Option<Origin>,
}

/// Settings of an audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingFacts {
    /// Joint confidence level of the requirements.
    pub level: f64,
    /// Number of figures judged together by their intervals, including those of other tables of the same policy.
    pub family: u64,
    /// Cells of fewer people than this are suppressed; 0 shows all.
    pub suppress: u64,
    /// How figures were measured.
    #[serde(flatten)]
    pub measured: Settings,
}

/// One requirement on one attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequirementResult {
    /// `metric<=tolerance` or `metric>=tolerance`.
    pub requirement: String,
    /// The metric's id.
    pub metric: String,
    /// The attribute; empty for the table as a whole.
    pub attribute: String,
    /// `interval` or `point`.
    pub judge: String,
    /// The value compared with the tolerance.
    pub value: Option<f64>,
    /// Interval at the joint level of all requirements; `None` for a point rule.
    pub interval: Option<Interval>,
    /// Whether the figure is one of those judged together.
    pub family: bool,
    /// Pass, fail or inconclusive.
    pub verdict: Verdict,
    /// If inconclusive: about how many more people would settle it.
    pub needed: Option<u64>,
    /// Why there is nothing to judge or show, or why a pass was withheld.
    pub reason: Option<String>,
}

/// One comparison of groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The metric's id.
    pub metric: String,
    /// The attribute, or attributes joined by ` & `; empty for the table as a whole.
    pub attribute: String,
    /// Whether a requirement on the metric applies to this figure.
    pub headline: bool,
    /// The groups compared.
    pub groups: Vec<String>,
    /// The value; `None` if it cannot be estimated or is suppressed.
    pub value: Option<f64>,
    /// 95 % interval of the figure on its own.
    pub ci95: Option<Interval>,
    /// Probability of such a figure if the groups were equal or, for a gated figure, if the truth were the tolerance.
    pub p_value: Option<f64>,
    /// p-value adjusted for all exploratory figures together, or for all gated ones.
    pub p_adjusted: Option<f64>,
    /// Outcome of the figure.
    pub status: Status,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// People in the denominators of those groups.
    pub n: Vec<u64>,
    /// Groups left out; at most the first [`SettingFacts::measured`]`.detail_groups` of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutGroup>,
    /// Number of groups left out; `None` if suppressed.
    #[serde(default)]
    pub groups_left_out: Option<u64>,
    /// People left out: members of those groups, and people whose group is unknown.
    pub persons_left_out: Option<u64>,
    /// Share of all people that is left out.
    pub share_left_out: Option<f64>,
    /// All people, including those the figure leaves out.
    pub persons: Option<u64>,
    /// Tests that practice reports beside an impact ratio; `None` for other figures, for weighted tables, and if cells
    /// are suppressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<PairTests>,
    /// Parts of a headline: everything its interval is computed from, at any level. `None` if cells are suppressed; for
    /// an attribute of more than `detail_groups` groups, only gated figures have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<MadeOf>,
}

impl Metric {
    /// Whether it was measured but is not shown.
    pub fn is_suppressed(&self) -> bool {
        self.reason.as_deref() == Some(SUPPRESSED)
    }
}

/// A group that a figure leaves out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOutGroup {
    /// Name of the group.
    pub group: String,
    /// Number of members; `None` if suppressed.
    pub persons: Option<u64>,
    /// Why it is left out.
    pub reason: String,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupFacts {
    /// The attribute.
    pub attribute: String,
    /// Name of the group.
    pub group: String,
    /// Whether this is all groups together.
    pub overall: bool,
    /// Number of members; `None` if suppressed, as for every count below.
    pub n: Option<u64>,
    /// Total weight of the members; `None` without weights.
    pub weight: Option<f64>,
    /// Favourable decisions.
    pub favourable: Option<u64>,
    /// Positive labels.
    pub positives: Option<u64>,
    /// Favourable decision, positive label.
    pub tp: Option<u64>,
    /// Favourable decision, negative label.
    pub fp: Option<u64>,
    /// Unfavourable decision, positive label.
    #[serde(rename = "fn")]
    pub fn_: Option<u64>,
    /// Unfavourable decision, negative label.
    pub tn: Option<u64>,
    /// Rates and means of the group.
    pub rates: Vec<Rate>,
}

/// One rate or mean of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The metric's id.
    pub metric: String,
    /// The value; `None` if it cannot be estimated or is suppressed.
    pub value: Option<f64>,
    /// 95 % interval of the rate on its own, rounded outward to seven digits.
    pub ci95: Option<Interval>,
    /// People in the denominator.
    pub n: Option<u64>,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the rate is a share of people, between 0 and 1.
    #[serde(default, skip_serializing_if = "is_false")]
    pub share: bool,
}

/// One attribute or intersection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributeFacts {
    /// Name of the attribute or intersection.
    pub attribute: String,
    /// Number of groups.
    pub groups: u64,
    /// People whose group is unknown; `None` if suppressed.
    pub unknown: Option<u64>,
    /// The reference group, with which others are compared.
    pub reference: Option<String>,
    /// Groups whose counts are suppressed.
    pub suppressed: Vec<String>,
}

/// A metric left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SkippedMetric {
    /// The metric's id.
    pub metric: String,
    /// Columns the table lacks.
    pub needs: Vec<String>,
}

/// An intersection left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusedGroups {
    /// The attributes of the intersection.
    pub attribute: String,
    /// Why it is left out.
    pub reason: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_false(v: &bool) -> bool {
    !v
}
