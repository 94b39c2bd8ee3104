//! Registry of all metrics.

use super::MetricEntry;
use crate::AuditError;

const ALL: &[&[MetricEntry]] = &[
    super::base_rate::ENTRIES,
    super::selection_rate::ENTRIES,
    super::impact_ratio::ENTRIES,
    super::scoring_rate::ENTRIES,
    super::shortfall::ENTRIES,
    super::true_positive_rate::ENTRIES,
    super::false_positive_rate::ENTRIES,
    super::true_negative_rate::ENTRIES,
    super::false_negative_rate::ENTRIES,
    super::positive_predictive_value::ENTRIES,
    super::negative_predictive_value::ENTRIES,
    super::false_discovery_rate::ENTRIES,
    super::false_omission_rate::ENTRIES,
    super::equalized_odds::ENTRIES,
    super::accuracy::ENTRIES,
    super::balanced_accuracy::ENTRIES,
    super::auc::ENTRIES,
    super::log_loss::ENTRIES,
    super::brier_score::ENTRIES,
    super::calibration::ENTRIES,
    super::calibration::GAP_ENTRIES,
    super::mean_score::ENTRIES,
    super::score_of_positives::ENTRIES,
    super::score_of_negatives::ENTRIES,
    super::mean_error::ENTRIES,
    super::mean_absolute_error::ENTRIES,
    super::mean_squared_error::ENTRIES,
    super::root_mean_squared_error::ENTRIES,
    super::r_squared::ENTRIES,
    super::differential_fairness::ENTRIES,
    super::bias_amplification::ENTRIES,
    super::conditional_demographic_parity::ENTRIES,
    super::conditional_demographic_disparity::ENTRIES,
    super::mantel_haenszel::ENTRIES,
    super::generalized_entropy::ENTRIES,
    super::theil::ENTRIES,
    super::consistency::ENTRIES,
    super::counterfactual_flips::ENTRIES,
    super::clean_accuracy::ENTRIES,
    super::robust_accuracy::ENTRIES,
    super::attack_success_rate::ENTRIES,
];

/// Every metric, in the order in which they are reported.
pub fn all() -> impl Iterator<Item = &'static MetricEntry> {
    ALL.iter().copied().flatten()
}

/// Returns the metric with this id or alias.
pub fn find(id: &str) -> Result<&'static MetricEntry, AuditError> {
    let names = |e: &'static MetricEntry| std::iter::once(e.id).chain(e.aliases.iter().copied());
    all()
        .find(|e| names(e).any(|n| n == id))
        .ok_or_else(|| AuditError::Metric {
            given: id.to_owned(),
            hint: proofmark_domain::hint(id, all().flat_map(names)),
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_texts_are_not_empty() {
        let mut seen = BTreeSet::new();
        for entry in all() {
            for name in std::iter::once(&entry.id).chain(entry.aliases) {
                assert!(seen.insert(*name), "{name} twice");
                assert!(
                    name.chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
                );
            }
            for text in [entry.definition, entry.sign, entry.source] {
                assert!(text.len() > 3, "{}", entry.id);
            }
            assert!(!entry.needs.is_empty(), "{}", entry.id);
        }
    }

    #[test]
    fn an_unknown_name_suggests_the_nearest() {
        let message = find("tpr_diference").expect_err("misspelt").to_string();
        assert_eq!(
            message,
            "unknown metric `tpr_diference` (did you mean `tpr_difference`?)"
        );
    }
}
