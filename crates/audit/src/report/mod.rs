//! The audit report, `proofmark/audit/2`: every figure with its interval, and what every group is made of.

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

/// The reason of what is suppressed.
pub(crate) const SUPPRESSED: &str = "suppressed";

/// Why what can be measured has no interval, and cannot be judged by one.
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

/// What came of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Status {
    /// Every requirement on it holds.
    Pass,
    /// A requirement on it is missed.
    Fail,
    /// There is a requirement, and the table cannot tell.
    Inconclusive,
    /// No requirement is on it: it decides nothing.
    Exploratory,
    /// It cannot be estimated, and no requirement is on it; `reason` says why.
    #[strum(serialize = "not estimable")]
    NotEstimable,
    /// It was estimated, and would say too much about too few.
    Suppressed,
}

impl Status {
    /// Its name.
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

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// [`AUDIT_SCHEMA`].
    pub schema: String,
    /// The proofmark that made it.
    pub version: String,
    /// What was audited.
    pub table: TableFacts,
    /// How.
    pub settings: SettingFacts,
    /// What the requirements come to; none if there were none.
    pub verdict: Option<Verdict>,
    /// Every requirement on every attribute.
    pub gates: Vec<RequirementResult>,
    /// Every comparison of groups.
    pub metrics: Vec<Metric>,
    /// What the figures are made of: see [`Metric::basis`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartsOf>,
    /// Every group, attribute by attribute, and all together.
    pub groups: Vec<GroupFacts>,
    /// Every attribute and intersection.
    pub attributes: Vec<AttributeFacts>,
    /// Metrics left out for want of a column.
    pub skipped: Vec<SkippedMetric>,
    /// Intersections left out for want of members.
    pub refused: Vec<RefusedGroups>,
    /// What a gate asked for when it had the table audited; absent where none did.
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
    /// The rows, where they were asked for and are few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<SampleFacts>,
    /// Name of the `.jsonl` beside the report that holds the rows where they are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples_file: Option<String>,
}

/// What was audited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableFacts {
    /// Its name, as given.
    pub name: String,
    /// Rows audited.
    pub rows: u64,
    /// Rows that filters left out.
    pub filtered: u64,
    /// Columns in which some row has no value. A row without decision, label, score, target or feature is left out of the
    /// metrics that need it; with cells suppressed, and in paired tables, of all of them.
    #[serde(default)]
    pub missing: Vec<Missing>,
    /// What looks wrong in the file, and is no error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Whether rows are weighted.
    pub weighted: bool,
    /// The file, its digest, and how its columns were read; none for a table of arrays.
    pub origin: Option<Origin>,
}

/// How an audit was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingFacts {
    /// Confidence with which requirements are judged, all together.
    pub level: f64,
    /// Figures judged together by their intervals, those of other tables of the same policy included.
    pub family: u64,
    /// Cells below this many persons are not shown; 0: all are.
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
    /// The value held against the tolerance.
    pub value: Option<f64>,
    /// At the level of all requirements together; none for a point rule.
    pub interval: Option<Interval>,
    /// Whether it is one of the figures judged together.
    pub family: bool,
    /// Pass, fail or inconclusive.
    pub verdict: Verdict,
    /// Where inconclusive: about how many more persons would settle it.
    pub needed: Option<u64>,
    /// Why there is nothing to judge.
    pub reason: Option<String>,
}

/// One comparison of groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The metric's id.
    pub metric: String,
    /// The attribute, or attributes joined by ` & `; empty for the table as a whole.
    pub attribute: String,
    /// Whether it is what a requirement on the metric means.
    pub headline: bool,
    /// The groups compared.
    pub groups: Vec<String>,
    /// The value; none if it cannot be estimated or is suppressed.
    pub value: Option<f64>,
    /// Its interval at 95 %.
    pub ci95: Option<Interval>,
    /// The chance of such a figure if the groups were equal, or at the tolerance where it is gated.
    pub p_value: Option<f64>,
    /// Adjusted for all exploratory figures together, or for all gated ones.
    pub p_adjusted: Option<f64>,
    /// What came of it.
    pub status: Status,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Persons in the denominators of those groups.
    pub n: Vec<u64>,
    /// Groups left out; the first [`SettingFacts::measured`]`.detail_groups` of them where they are more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutGroup>,
    /// How many groups are left out; none if suppressed.
    #[serde(default)]
    pub groups_left_out: Option<u64>,
    /// Persons left out: members of those groups, and those whose group is unknown.
    pub persons_left_out: Option<u64>,
    /// Their share of all.
    pub share_left_out: Option<f64>,
    /// Persons in all, whom the figure leaves out included.
    pub persons: Option<u64>,
    /// What practice shows beside an impact ratio; none of other figures, of weighted tables, and where cells are suppressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<PairTests>,
    /// What a headline is made of: all that its interval is computed from, at any level. None where cells are suppressed, and
    /// of an attribute of more than `detail_groups` groups only for what a requirement gates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<MadeOf>,
}

impl Metric {
    /// Whether it was measured and is not told.
    pub fn is_suppressed(&self) -> bool {
        self.reason.as_deref() == Some(SUPPRESSED)
    }
}

/// A group that a figure leaves out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOutGroup {
    /// Its name.
    pub group: String,
    /// Its members; none if suppressed.
    pub persons: Option<u64>,
    /// Why.
    pub reason: String,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupFacts {
    /// The attribute.
    pub attribute: String,
    /// Its name.
    pub group: String,
    /// Whether it is all groups together.
    pub overall: bool,
    /// Its members; none if suppressed, as every count below may be.
    pub n: Option<u64>,
    /// What they weigh; none without weights.
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
    /// Its rates and means.
    pub rates: Vec<Rate>,
}

/// One number of one group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The metric's id.
    pub metric: String,
    /// Its value; none if it cannot be estimated or is suppressed.
    pub value: Option<f64>,
    /// Its interval at 95 %, by itself; to seven digits, outward.
    pub ci95: Option<Interval>,
    /// Persons in its denominator.
    pub n: Option<u64>,
    /// Why there is no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is a share of persons, between 0 and 1.
    #[serde(default, skip_serializing_if = "is_false")]
    pub share: bool,
}

/// One attribute or intersection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributeFacts {
    /// Its name.
    pub attribute: String,
    /// Groups.
    pub groups: u64,
    /// Persons whose group is unknown; none if suppressed.
    pub unknown: Option<u64>,
    /// The group that others are compared with.
    pub reference: Option<String>,
    /// Groups whose counts are suppressed.
    pub suppressed: Vec<String>,
}

/// A metric left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SkippedMetric {
    /// Its id.
    pub metric: String,
    /// What the table lacks.
    pub needs: Vec<String>,
}

/// An intersection left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusedGroups {
    /// Its attributes.
    pub attribute: String,
    /// Why.
    pub reason: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_false(v: &bool) -> bool {
    !v
}
