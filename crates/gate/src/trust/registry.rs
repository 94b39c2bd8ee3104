use std::collections::BTreeSet;

use proofmark_domain::{
    AttackSummary, DataFacts, ModelFacts, Report, RunMeta, SampleRecord, TrustCode, TrustFlag,
};

use super::evidence::{Scope, TrustInput};
use super::{
    approximate, baseline, clean_at_chance, epsilon_unit, incomplete, larger_epsilon, observed,
    planted, probabilities, saturated, stated, transfer, unbounded, unstable, zero_gradients,
};
use crate::metric::Metric;

/// Returns every flag raised in scope, at most one per code, in the order of [`TrustCode::ALL`]. A flag that the model
/// states about itself is added only if no measurement raises the same code.
pub(crate) fn flags(
    runs: &[RunMeta],
    samples: &[SampleRecord],
    model: &ModelFacts,
    data: &DataFacts,
    scope: &Scope<'_>,
) -> Vec<TrustFlag> {
    // A property holds or does not, however many outputs it is about.
    let classes = if model.outputs.is_classes() {
        model.classes
    } else {
        2
    };
    let evidence = TrustInput::new(runs, samples, classes, data.reading.as_ref(), scope);
    // Without classes there is no accuracy by chance.
    let applies =
        |code: &TrustCode| *code != TrustCode::CleanAtChance || model.outputs.is_classes();
    TrustCode::ALL
        .into_iter()
        .filter(applies)
        .filter_map(|code| {
            rule(code, &evidence, model).or_else(|| stated::rule(code, &model.stated, &evidence))
        })
        .collect()
}

/// Returns the flags against one metric that the report as a whole does not raise uncured: a figure of one attack rests
/// on that attack alone, a figure of one class on the samples of that class.
///
/// Accuracy over all attacks and means over all classes rest on everything, so the report's own flags apply to them.
pub(crate) fn own(metric: &Metric, report: &Report) -> Vec<TrustFlag> {
    let classes = || -> BTreeSet<usize> { report.samples.iter().map(|s| s.label).collect() };
    let scopes: Vec<Scope<'_>> = match metric {
        Metric::RobustAccuracyOf(id) => vec![Scope::Attack(id)],
        Metric::Precision {
            class,
            robust: true,
        }
        | Metric::Recall {
            class,
            robust: true,
        }
        | Metric::F1 {
            class,
            robust: true,
        } => vec![Scope::Class(*class)],
        Metric::MinRecall { robust: true } => classes().into_iter().map(Scope::Class).collect(),
        _ => Vec::new(),
    };
    let runs: Vec<RunMeta> = report.attacks.iter().map(AttackSummary::meta).collect();
    let known = |code| report.trust.iter().any(|f| f.code == code && !f.cured);
    let mut own: Vec<TrustFlag> = Vec::new();
    for scope in scopes {
        for mut flag in flags(&runs, &report.samples, &report.model, &report.data, &scope) {
            // `CleanAtChance` is only meaningful over all classes: within one class, all predictions may well be the
            // same.
            let of_labels = flag.code == TrustCode::CleanAtChance;
            if flag.cured
                || of_labels
                || known(flag.code)
                || own.iter().any(|f| f.code == flag.code)
            {
                continue;
            }
            flag.message = match scope {
                Scope::Class(label) => format!("on class {label} alone, {}", flag.message),
                _ => format!("for `{metric}` alone, {}", flag.message),
            };
            own.push(flag);
        }
    }
    own
}

fn rule(code: TrustCode, evidence: &TrustInput<'_>, model: &ModelFacts) -> Option<TrustFlag> {
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
        TrustCode::ApproximateGradients => approximate::rule(evidence, model),
        TrustCode::UnstablePredictions => unstable::rule(evidence),
        TrustCode::IncompleteOptimisation => incomplete::rule(evidence),
        TrustCode::TransferFailure => transfer::rule(evidence),
        TrustCode::PlantedAdversarialMissed => planted::rule(evidence),
    }
}
