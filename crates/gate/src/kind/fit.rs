use proofmark_domain::{
    CertificateSummary, Coupling, REPORT_SCHEMA, Report, RunMeta, Sampling, ThreatRecord,
};
use serde_json::{Map, Value, json};

use super::{AttackTask, Budgets, ThreatSpec, surrogate};
use crate::ResolvedPlan;
use crate::policy::Policy;

/// Checks that a report is the evidence a check asks for; the error says what differs.
///
/// Re-judging reads files from a folder, so a stale or partial file must be refused.
pub(super) fn fits(policy: &Policy, task: &AttackTask, report: &Report) -> Result<(), String> {
    same("schema", REPORT_SCHEMA, &report.schema)?;
    let mut expected = expected_of_all();
    // Plans for misclassification do not name it.
    let criterion = if task.criterion.is_default() {
        Value::Null
    } else {
        json!(task.criterion)
    };
    expected.insert("criterion".to_owned(), criterion);
    if let Some(difference) = ResolvedPlan::of(report)?.departs_from(&expected) {
        return Err(difference.to_string());
    }
    same("model", task.model.name(), &report.model.name)?;
    same("data", task.data.name(), &report.data.name)?;
    let digests = [
        ("model sha256", task.model.sha256(), &report.model.sha256),
        ("data sha256", task.data.sha256(), &report.data.sha256),
    ];
    for (what, stated, found) in digests {
        if let Some(stated) = stated {
            same(what, stated, &found.to_ascii_lowercase())?;
        }
    }
    surrogate::fits(task.surrogate.as_ref(), report)?;
    same("seed", &policy.seed.to_string(), &report.seed.to_string())?;
    if let Some(shard) = report.shard {
        return Err(format!(
            "it is shard {} of {} only; merge the shards first",
            shard.index, shard.count
        ));
    }
    samples(task, report)?;
    if report.samples.is_empty() {
        return Err("it holds no samples".to_owned());
    }
    for comparison in &task.require.comparisons {
        if let Some(class) = comparison.metric.class()
            && class >= report.model.classes
        {
            return Err(format!(
                "`{}` asks for class {class}, the model has {}",
                comparison.metric, report.model.classes
            ));
        }
    }
    let runs: Vec<RunMeta> = report
        .attacks
        .iter()
        .map(proofmark_domain::AttackSummary::meta)
        .collect();
    ran(task, &runs)?;
    certified(task, report)
}

/// Checks that a report covers the planned samples, or those up to a look of the task.
fn samples(task: &AttackTask, report: &Report) -> Result<(), String> {
    let (n, planned) = (report.samples.len(), report.data.planned);
    match (&task.looks, &report.sampling) {
        (None, None) if n == planned => Ok(()),
        (None, None) => Err(format!("it holds {n} of {planned} planned samples")),
        (None, Some(_)) => Err(
            "its sampling is sequential, and the policy asks for a fixed number of samples"
                .to_owned(),
        ),
        (Some(_), None) => Err(
            "its number of samples was fixed, and the policy asks for sequential sampling"
                .to_owned(),
        ),
        (Some(expected), Some(Sampling::Sequential { looks, .. })) => {
            let expected = expected.sizes(planned);
            if *looks != expected {
                return Err(format!("its looks are {looks:?}, expected {expected:?}"));
            }
            if n > 0 && !looks.contains(&n) {
                return Err(format!(
                    "it holds {n} of {planned} planned samples, and the looks are {looks:?}"
                ));
            }
            Ok(())
        }
    }
}

/// Returns the plan fields that every policy expects.
fn expected_of_all() -> Map<String, Value> {
    let fields = [
        ("labels", json!("given")),
        ("target", Value::Null),
        ("trust_runs", json!(true)),
        ("forwards_per_sample", Value::Null),
        ("judge", json!({ "draws": 1, "rule": "majority" })),
    ];
    fields.map(|(k, v)| (k.to_owned(), v)).into_iter().collect()
}

pub(super) fn same(what: &str, expected: &str, found: &str) -> Result<(), String> {
    if expected == found {
        Ok(())
    } else {
        Err(format!(
            "{what} is `{found}`, the policy asks for `{expected}`"
        ))
    }
}

/// Checks that every attack of the task ran under the task's threat as often as the task lists it; probes do not count.
fn ran(task: &AttackTask, runs: &[RunMeta]) -> Result<(), String> {
    let Some(threat) = &task.threat else {
        return Ok(());
    };
    for attack in &task.attacks {
        let expected = task.attacks.iter().filter(|a| a.id == attack.id).count();
        // Baselines count: a policy may name one.
        let found = runs
            .iter()
            .filter(|r| r.id == attack.id && r.role.counts() && matches(threat, &r.threat))
            .count();
        if found < expected {
            let (norm, eps) = threat.leading();
            return Err(format!(
                "it has {found} of {expected} runs of `{}` under {norm} {eps}",
                attack.id
            ));
        }
    }
    Ok(())
}

/// Checks that every certificate of the task was computed under the task's threat, and finished.
fn certified(task: &AttackTask, report: &Report) -> Result<(), String> {
    let Some(threat) = &task.threat else {
        return Ok(());
    };
    for id in &task.certify {
        let own = |c: &&CertificateSummary| c.meta.method == *id && matches(threat, &c.meta.threat);
        if !report.certified.iter().any(|c| own(&c)) {
            let (norm, eps) = threat.leading();
            return Err(format!("it has no certificate `{id}` under {norm} {eps}"));
        }
    }
    Ok(())
}

fn matches(expected: &ThreatSpec, ran: &ThreatRecord) -> bool {
    // JSON text keeps 17 digits, but not every JSON reader does.
    let equal = |a: f64, b: f64| (a - b).abs() <= 1e-12 * a.abs().max(b.abs());
    match &expected.budgets {
        Budgets::All { norm, eps } => ran.norm == *norm && equal(ran.eps, eps.get()),
        Budgets::PerModality(each) => {
            let coupled = match (expected.coupling, ran.coupling) {
                (Coupling::Independent, Coupling::Independent) => true,
                (Coupling::Shared { q: a }, Coupling::Shared { q: b }) => equal(a, b),
                _ => false,
            };
            let free = ran.budgets.iter().filter(|b| b.eps > 0.0).count();
            let asked_free = each.iter().filter(|m| m.eps.get() > 0.0);
            coupled
                && free == asked_free.clone().count()
                && asked_free.clone().all(|m| {
                    ran.budgets.iter().any(|b| {
                        b.modality == m.name && b.norm == m.norm && equal(b.eps, m.eps.get())
                    })
                })
        }
    }
}
