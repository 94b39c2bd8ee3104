//! The runs that every evaluation adds to its attacks, to find out whether it can be trusted.

use proofmark_domain::{Role, ThreatRecord};
use proofmark_engine::{Aim, Attack, Needs};
use proofmark_model::Signature;
use proofmark_threat::Threat;
use serde_json::Value;

use crate::{RunError, RunPlan, numbers};

/// Maximum number of samples that the unbounded probe attacks: the first in the seeded stratified order.
const PROBED: usize = 128;

/// Minimum number of steps for the unbounded probe; if the attacks have fewer, the probe is PGD with twice as many.
const FEW_STEPS: u64 = 10;

/// A run added to the requested attacks.
pub(crate) struct TrustRun {
    pub(crate) attack: Box<dyn Attack>,
    pub(crate) role: Role,
    pub(crate) threat: Threat,
    pub(crate) record: ThreatRecord,
}

/// Returns the rank below which samples are probed. It is known before sharding, so shards agree on it.
pub(crate) fn probed_ranks(order: &[u64]) -> u64 {
    first_ranks(order, PROBED)
}

/// Returns the rank below which the samples are on which other readings of the data are tried: those that are probed,
/// as far as they belong to the first look.
pub(crate) fn tried_ranks(plan: &RunPlan<'_>, order: &[u64]) -> u64 {
    let looks = plan.looks.as_ref().map(|l| l.sizes(order.len()));
    let first = looks.and_then(|sizes| sizes.first().copied());
    first_ranks(order, first.map_or(PROBED, |look| look.min(PROBED)))
}

fn first_ranks(order: &[u64], n: usize) -> u64 {
    let mut ranks = order.to_vec();
    ranks.sort_unstable();
    ranks.get(n).copied().unwrap_or(u64::MAX)
}

/// Returns a gradient-free baseline at every budget (unless the plan has one) and one gradient attack without budget
/// limit.
pub(crate) fn runs(
    plan: &RunPlan<'_>,
    threats: &[Threat],
    whole: &[ThreatRecord],
    signature: &Signature,
) -> Result<Vec<TrustRun>, RunError> {
    let mut runs = Vec::new();
    if !plan.attacks.iter().any(|a| a.meta().role == Role::Baseline) {
        for (threat, whole) in threats.iter().zip(whole) {
            runs.push(TrustRun {
                attack: proofmark_attacks::build("salt-and-pepper", &toml::Table::new())?,
                role: Role::Baseline,
                threat: threat.clone(),
                record: whole.clone(),
            });
        }
    }
    // Suites that choose their members by access may hold members that need more than the model gives.
    let gradients = plan.model.gives() >= Needs::Gradients;
    let strongest = gradients.then(|| strongest(plan.attacks)).transpose()?;
    if let Some(attack) = strongest.flatten() {
        let threat = numbers::unbounded(signature, plan.data.len())?;
        let mut record = threat.record();
        "unbounded".clone_into(&mut record.text);
        runs.push(TrustRun {
            attack,
            role: Role::Probe,
            threat,
            record,
        });
    }
    Ok(runs)
}

/// Rebuilds the gradient attack with the most steps to start once, from the clean sample, and without an absolute step
/// size (which would be tiny without a budget). `None` if the plan has no gradient attack.
fn strongest(attacks: &[Box<dyn Attack>]) -> Result<Option<Box<dyn Attack>>, RunError> {
    let steps = |a: &dyn Attack| {
        a.parameters()
            .get("steps")
            .and_then(Value::as_u64)
            .unwrap_or(1)
    };
    let gradient: Vec<&dyn Attack> = attacks
        .iter()
        .flat_map(|a| match a.members() {
            [] => std::slice::from_ref(a),
            members => members,
        })
        .filter(|a| a.meta().needs == Needs::Gradients)
        .map(AsRef::as_ref)
        .collect();
    if gradient.is_empty() {
        return Ok(None);
    }
    let registered = |a: &&dyn Attack| {
        proofmark_attacks::ALL
            .iter()
            .any(|e| e.meta.id == a.meta().id)
    };
    let best = gradient
        .into_iter()
        // `max_by_key` keeps the last of equals; reversed, that is the first.
        .rev()
        // A minimum-norm attack searches for the nearest point, which does not exist without a budget.
        .filter(|a| a.aim() == Aim::Within)
        .max_by_key(|a| steps(*a))
        .filter(registered)
        .filter(|a| steps(*a) >= FEW_STEPS);
    let Some(best) = best else {
        let table = format!("steps = {}\nrandom_start = false", 2 * FEW_STEPS);
        let table = table
            .parse()
            .map_err(|e| RunError::Parameter(format!("{e}")))?;
        return Ok(Some(proofmark_attacks::build("pgd", &table)?));
    };
    let mut table = toml::Table::new();
    for (name, value) in best.parameters() {
        // Without a budget limit, a random start alone breaks most samples, with or without gradients.
        let value = match name.as_str() {
            "step_size" => continue,
            "random_start" => Value::Bool(false),
            "restarts" => Value::from(1),
            _ => value,
        };
        if let Ok(value) = toml::Value::try_from(value) {
            table.insert(name, value);
        }
    }
    Ok(Some(proofmark_attacks::build(best.meta().id, &table)?))
}
