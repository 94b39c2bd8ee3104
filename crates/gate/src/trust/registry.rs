use proofmark_domain::{DataFacts, ModelFacts, RunMeta, SampleRecord, TrustCode, TrustFlag};

use super::evidence::Evidence;
use super::{
    baseline, clean_at_chance, epsilon_unit, larger_epsilon, observed, probabilities, saturated,
    stated, unbounded, zero_gradients,
};

/// Every flag the runs raise, at most one per code, in the order of [`TrustCode::ALL`]. What the model states of
/// itself is told where nothing measured says more.
pub(crate) fn flags(
    runs: &[RunMeta],
    samples: &[SampleRecord],
    model: &ModelFacts,
    data: &DataFacts,
) -> Vec<TrustFlag> {
    let evidence = Evidence::new(runs, samples, model.classes, data.reading.as_ref());
    TrustCode::ALL
        .into_iter()
        .filter_map(|code| {
            rule(code, &evidence).or_else(|| stated::rule(code, &model.stated, &evidence))
        })
        .collect()
}

fn rule(code: TrustCode, evidence: &Evidence<'_>) -> Option<TrustFlag> {
    match code {
        TrustCode::CleanAtChance => clean_at_chance::rule(evidence),
        TrustCode::EpsilonUnit => epsilon_unit::rule(evidence),
        TrustCode::ZeroGradients => zero_gradients::rule(evidence),
        TrustCode::NonFiniteGradients
        | TrustCode::NonFiniteScores
        | TrustCode::RandomisedOutputs
        | TrustCode::TrackedLogitsDiffer
        | TrustCode::SilentSuccess => observed::rule(code, evidence),
        TrustCode::ProbabilitiesAsLogits => probabilities::rule(evidence),
        TrustCode::SaturatedLogits => saturated::rule(evidence),
        TrustCode::BaselineBeatsGradient => baseline::rule(evidence),
        TrustCode::LargerEpsilonFindsLess => larger_epsilon::rule(evidence),
        TrustCode::UnboundedAttackFails => unbounded::rule(evidence),
        // Known from the model alone.
        TrustCode::ApproximateGradients => None,
    }
}
