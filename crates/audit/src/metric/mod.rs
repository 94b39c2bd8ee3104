//! Metrics, one file each.
//!
//! A statistic (a rate, a mean, an area) gives one number per group, and every statistic is contrasted in the same six
//! ways: between groups, to all together and to a named reference, as a difference and as a ratio. Metrics that are not
//! contrasts of a statistic (inequality indices, consistency, conditional parity, paired tables) have functions of
//! their own.
//!
//! A metric that cannot be estimated has no value and gives the reason; it never returns a stand-in value.

mod accuracy;
mod attack_success_rate;
mod auc;
mod balanced_accuracy;
mod base_rate;
mod bias_amplification;
mod brier_score;
pub mod calibration;
mod clean_accuracy;
mod conditional_demographic_disparity;
mod conditional_demographic_parity;
mod consistency;
mod contrast;
mod counterfactual_flips;
mod differential_fairness;
mod entry;
mod equalized_odds;
mod false_discovery_rate;
mod false_negative_rate;
mod false_omission_rate;
mod false_positive_rate;
pub(crate) mod generalized_entropy;
mod impact_ratio;
mod log_loss;
mod mantel_haenszel;
mod mean_absolute_error;
mod mean_error;
mod mean_score;
mod mean_squared_error;
mod negative_predictive_value;
mod positive_predictive_value;
mod r_squared;
mod registry;
mod robust_accuracy;
mod root_mean_squared_error;
mod score_of_negatives;
mod score_of_positives;
mod scoring_rate;
mod selection_rate;
mod shortfall;
mod strata;
mod theil;
mod true_negative_rate;
mod true_positive_rate;

pub use entry::{Contrast, Ideal, MetricEntry, Need, Rows, Statistic};
pub use registry::{all, find};

pub(crate) use contrast::Last;
pub(crate) use entry::{Of, Run};
