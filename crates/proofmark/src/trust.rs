//! The runs that every evaluation adds to its attacks, to find out whether it can be trusted.

use proofmark_domain::{Norm, Role, ThreatRecord};
use proofmark_engine::{Aim, Attack, Needs};
use proofmark_model::Signature;
use proofmark_threat::Threat;
use serde_json::{Value, json};

use crate::{RunError, RunPlan, numbers};

/// Maximum number of samples whose surroundings are looked at and that the unbounded probe attacks: the first in the
/// seeded stratified order.
const PROBED: usize = 128;

/// Maximum number of samples that adversarials are planted near, the first of those.
const PLANTED: usize = 32;

/// Minimum number of steps for the unbounded probe; if the attacks have fewer, the probe is PGD with twice as many.
const FEW_STEPS: u64 = 10;

/// A run added to the requested attacks.
pub(crate) struct TrustRun {
    pub(crate) attack: Box<dyn Attack>,
    pub(crate) role: Role,
    pub(crate) threat: Threat,
    pub(crate) record: ThreatRecord,
}

/// The ranks below which samples are probed, and below which adversarials are planted near them. They are known before
/// sharding, so shards agree on them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ranks {
    pub(crate) probed: u64,
    pub(crate) planted: u64,
}

impl Ranks {
    /// Returns those of samples in this order.
    pub(crate) fn of(order: &[u64]) -> Self {
        Self {
            probed: first(order, PROBED),
            planted: first(order, PLANTED),
        }
    }
}

/// Returns the rank below which the samples are on which other readings of the data are tried: those that are probed,
/// as far as they belong to the first look.
pub(crate) fn tried_ranks(plan: &RunPlan<'_>, order: &[u64]) -> u64 {
    let looks = plan.looks.as_ref().map(|l| l.sizes(order.len()));
    let look = looks.and_then(|sizes| sizes.first().copied());
    first(order, look.map_or(PROBED, |look| look.min(PROBED)))
}

/// Returns the rank below which the first `n` samples are.
fn first(order: &[u64], n: usize) -> u64 {
    let mut ranks = order.to_vec();
    ranks.sort_unstable();
    ranks.get(n).copied().unwrap_or(u64::MAX)
}

/// Returns a gradient-free baseline at every budget (unless the plan has one), one gradient attack without budget
/// limit, and the same one on planted adversarials within the first budget, if the model shows the layer to plant them
/// behind.
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
    // Within a map there is no unbounded attack that must succeed, and nothing to plant.
    if plan.model.gives() < Needs::Gradients || plan.map.is_some() {
        return Ok(runs);
    }
    if let Some(attack) = strongest(plan.attacks, &unlimited)? {
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
    // An L0 ball has no inner ball of nearly its size to plant beside.
    let in_l0 = |t: &Threat| t.budgets().iter().any(|b| b.norm == Norm::L0);
    let dense = threats.iter().zip(whole).find(|(t, _)| !in_l0(t));
    if let (Some((threat, record)), Some(_)) = (dense, &signature.penultimate)
        && plan.criterion.outputs().is_classes()
        && let Some(attack) = strongest(plan.attacks, &|_, value| Some(value))?
    {
        runs.push(TrustRun {
            attack,
            role: Role::Planted,
            threat: threat.clone(),
            record: record.clone(),
        });
    }
    Ok(runs)
}

/// Changes a parameter for a run without budget limit: one start, from the clean sample (a random one alone breaks most
/// samples then, with or without gradients), and no absolute step size, which would be tiny.
fn unlimited(name: &str, value: Value) -> Option<Value> {
    match name {
        "step_size" => None,
        "random_start" => Some(Value::Bool(false)),
        "restarts" => Some(Value::from(1)),
        _ => Some(value),
    }
}

/// Rebuilds the gradient attack with the most steps, each parameter as `change` returns it; PGD if it has fewer than
/// ten or is not registered. `None` if the plan has no gradient attack.
fn strongest(
    attacks: &[Box<dyn Attack>],
    change: &dyn Fn(&str, Value) -> Option<Value>,
) -> Result<Option<Box<dyn Attack>>, RunError> {
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
        // One that fits a change for all samples must not find what there is for each.
        .filter(|a| !a.is_universal())
        .max_by_key(|a| steps(*a))
        .filter(registered)
        .filter(|a| steps(*a) >= FEW_STEPS);
    let Some(best) = best else {
        let substitute = json!({ "steps": 2 * FEW_STEPS, "random_start": true });
        let fields = substitute.as_object().into_iter().flatten();
        let table = table(fields.map(|(k, v)| (k.clone(), v.clone())), change);
        return Ok(Some(proofmark_attacks::build("pgd", &table)?));
    };
    let table = table(best.parameters(), change);
    Ok(Some(proofmark_attacks::build(best.meta().id, &table)?))
}

/// Returns parameters as a table, each as `change` returns it.
fn table(
    parameters: impl IntoIterator<Item = (String, Value)>,
    change: &dyn Fn(&str, Value) -> Option<Value>,
) -> toml::Table {
    let changed = parameters.into_iter().filter_map(|(name, value)| {
        let value = toml::Value::try_from(change(&name, value)?).ok()?;
        Some((name, value))
    });
    changed.collect()
}
