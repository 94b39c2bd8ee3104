use proofmark_domain::Interval;
use serde::{Deserialize, Serialize};

/// What an audit holds to, beyond the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Least persons in a metric's own denominator (positives for a true-positive rate) for a group's figure to be
    /// estimated, 0 or more; 10. Empty groups are never estimable.
    pub min_n: u64,
    /// Least share of all persons of known group that a group must be for its figures to be estimated, from 0 to below 1; 0.
    /// Local Law 144 of New York City lets categories below 0.02 be left out.
    pub min_share: f64,
    /// Groups of an attribute up to which each of them is compared with all together, the highest and the reference, and up
    /// to which a report tells what figures that nothing gates are made of; 50.
    pub detail_groups: usize,
    /// `(attribute, value)`: the groups that others are compared with; none.
    pub reference: Vec<(String, String)>,
    /// Attributes taken together at most, 1 or more; 1, each by itself.
    pub intersections: usize,
    /// Metrics by id or alias; empty for all that the table's columns allow.
    pub metrics: Vec<String>,
    /// Bins of the reliability curve, 1 to [`Settings::MAX_BINS`]; 10.
    pub bins: usize,
    /// The alpha of the generalised entropy index; 2.
    pub alpha: f64,
    /// Pseudo-counts that smooth differential fairness, above 0; 1.
    pub concentration: f64,
    /// What scores cannot leave, whatever rows may still come; none stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_range: Option<Interval>,
    /// What true values cannot leave; none stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_range: Option<Interval>,
    /// Neighbours of the consistency, 1 or more; 5.
    pub neighbours: usize,
    /// Whether features are divided by their standard deviation before neighbours are sought; true.
    pub standardise: bool,
    /// Distances the consistency may compute; above it, persons are drawn at random; 400,000,000.
    pub distances: u64,
    /// The seed of that draw; 0.
    pub seed: u64,
}

impl Settings {
    /// Most bins of the reliability curve: every group has all of them, and finer ones would be empty.
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
