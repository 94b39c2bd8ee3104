use proofmark_domain::Interval;
use serde::{Deserialize, Serialize};

/// Settings of an audit beside the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// Minimum number of people in a metric's own denominator (positives for a true-positive rate) for a group's figure
    /// to be estimated, 0 or more; default 10. Empty groups are never estimable.
    pub min_n: u64,
    /// Minimum share of all people of known group that a group must have for its figures to be estimated, from 0 to
    /// below 1; default 0. New York City's Local Law 144 allows leaving out categories below 0.02.
    pub min_share: f64,
    /// Maximum number of groups of an attribute for which each group is compared with all together, the highest and the
    /// reference, and for which a report stores the parts of figures that are not gated; default 50.
    pub detail_groups: usize,
    /// `(attribute, value)`: the reference groups that others are compared with; default none.
    pub reference: Vec<(String, String)>,
    /// Maximum number of attributes combined into intersections, 1 or more; default 1, each by itself.
    pub intersections: usize,
    /// Metrics by id or alias; if empty, all that the table's columns allow.
    pub metrics: Vec<String>,
    /// Bins of the reliability curve, 1 to [`Settings::MAX_BINS`]; default 10.
    pub bins: usize,
    /// Alpha of the generalised entropy index; default 2.
    pub alpha: f64,
    /// Pseudo-counts that smooth differential fairness, above 0; default 1.
    pub concentration: f64,
    /// Range that scores cannot leave, whichever rows are added; default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_range: Option<Interval>,
    /// Range that true values cannot leave; default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_range: Option<Interval>,
    /// Neighbours used by the consistency metric, 1 or more; default 5.
    pub neighbours: usize,
    /// Whether features are divided by their standard deviation before the neighbour search; default true.
    pub standardise: bool,
    /// Maximum number of distances the consistency metric computes; above it, people are sampled at random; default
    /// 400,000,000.
    pub distances: u64,
    /// Seed of that random sample; default 0.
    pub seed: u64,
}

impl Settings {
    /// Maximum number of bins of the reliability curve: every group has all bins, and finer ones would be empty.
    pub const MAX_BINS: usize = 1000;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_n: 10,
            min_share: 0.0,
            detail_groups: 50,
            reference: Vec::new(),
            intersections: 1,
            metrics: Vec::new(),
            bins: 10,
            alpha: 2.0,
            concentration: 1.0,
            score_range: None,
            target_range: None,
            neighbours: 5,
            standardise: true,
            distances: 400_000_000,
            seed: 0,
        }
    }
}
