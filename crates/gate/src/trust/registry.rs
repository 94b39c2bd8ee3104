use proofmark_domain::{RunMeta, SampleRecord, TrustCode, TrustFlag};

use super::evidence::Evidence;
use super::{
    baseline, larger_epsilon, observed, probabilities, saturated, unbounded, zero_gradients,
};

/// Every flag the runs raise, at most one per code, in the order of [`TrustCode::ALL`].
pub(crate) fn flags(runs: &[RunMeta], samples: &[SampleRecord], classes: usize) -> Vec<TrustFlag> {
    let evidence = Evidence::new(runs, samples, classes);
    TrustCode::ALL
        .into_iter()
        .filter_map(|code| rule(code, &evidence))
        .collect()
}

fn rule(code: TrustCode, evidence: &Evidence<'_>) -> Option<TrustFlag> {
    match code {
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
    }
}
