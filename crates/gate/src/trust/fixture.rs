//! Small runs and samples for the tests of this crate.

use proofmark_domain::{
    BudgetRecord, Cost, Coupling, DataFacts, ModelFacts, Needs, Norm, Report, Role, RunMeta,
    RunOutcome, RunStatus, SampleId, SampleRecord, ThreatRecord, ToolFacts,
};
use serde_json::{Map, Value, json};

use crate::ResolvedPlan;
use crate::summary::{ReportHead, summarise};

pub(crate) fn threat(norm: Norm, eps: f64) -> ThreatRecord {
    ThreatRecord {
        norm,
        eps,
        text: eps.to_string(),
        budgets: vec![BudgetRecord {
            modality: "image".into(),
            norm,
            eps,
            scale: None,
        }],
        coupling: Coupling::Independent,
        map: None,
    }
}

fn run(id: &str, eps: f64, role: Role, gradient: bool) -> RunMeta {
    RunMeta {
        key: format!("{id}@linf:{eps}"),
        id: id.into(),
        version: 1,
        role,
        gradient,
        threat: threat(Norm::Linf, eps),
        parameters: Map::new(),
        step_size: Vec::new(),
        cost: Cost {
            computed: 640,
            seconds: 0.5,
        },
        failed: None,
    }
}

/// A gradient attack under Linf.
pub(crate) fn attack(id: &str, eps: f64) -> RunMeta {
    run(id, eps, Role::Attack, true)
}

/// A baseline without gradients.
pub(crate) fn noise(eps: f64) -> RunMeta {
    run("noise", eps, Role::Baseline, false)
}

/// An unbounded run of a gradient attack.
pub(crate) fn probe(id: &str) -> RunMeta {
    RunMeta {
        key: format!("{id}@unbounded"),
        ..run(id, 1.0, Role::Probe, true)
    }
}

/// An attack on scores under Linf.
pub(crate) fn scoring(id: &str, eps: f64) -> RunMeta {
    run(id, eps, Role::Attack, false)
}

/// A run of a gradient attack on planted adversarials.
pub(crate) fn planted(id: &str) -> RunMeta {
    RunMeta {
        key: format!("{id}@planted"),
        ..run(id, 0.1, Role::Planted, true)
    }
}

/// Adds one parameter to a run.
pub(crate) fn with(mut run: RunMeta, name: &str, value: impl Into<Value>) -> RunMeta {
    run.parameters.insert(name.into(), value.into());
    run
}

/// Returns a sample of class `row % 10` that is correct without attack. Its outcomes carry no keys yet: [`report`] sets
/// those of the runs, in order.
pub(crate) fn sample(row: u64, statuses: &[RunStatus]) -> SampleRecord {
    let label = (row % 10) as usize;
    let outcome = |status: &RunStatus| RunOutcome {
        run: String::new(),
        status: *status,
        adv_pred: (*status == RunStatus::Broken).then_some((label + 1) % 10),
        gauge: (*status == RunStatus::Broken).then_some(0.75),
        distance: (*status == RunStatus::Broken).then_some(0.075),
        forward: 10,
        backward: 5,
        surrogate_forward: 0,
        surrogate_backward: 0,
        observed: Vec::new(),
    };
    SampleRecord {
        id: SampleId::Row(row),
        label,
        target: None,
        clean_pred: Some(label),
        adv_pred: None,
        clean_correct: true,
        clean_outputs: Vec::new(),
        adv_outputs: Vec::new(),
        broken_by: None,
        gauge: None,
        distance: None,
        norm: None,
        observed: vec![],
        runs: statuses.iter().map(outcome).collect(),
        certificates: Vec::new(),
        groups: std::collections::BTreeMap::new(),
    }
}

/// Makes a sample misclassified without attack, in every run.
pub(crate) fn wrong(mut sample: SampleRecord) -> SampleRecord {
    sample.clean_correct = false;
    sample.clean_pred = Some((sample.label + 1) % 10);
    for outcome in &mut sample.runs {
        *outcome = RunOutcome {
            status: RunStatus::Misclassified,
            adv_pred: None,
            gauge: None,
            distance: None,
            ..outcome.clone()
        };
    }
    sample
}

/// Changes one field of a report's plan, with its digest, as a run with that value would have written it.
pub(crate) fn plan(report: &mut Report, field: &str, value: Value) {
    let mut document = report.config["plan"].as_object().unwrap().clone();
    document.insert(field.to_owned(), value);
    ResolvedPlan::new(document).write(&mut report.config);
}

/// Writes the plan that every policy expects.
fn default_plan(config: &mut Map<String, Value>) {
    let plan = json!({
        "labels": "given", "target": null, "trust_runs": true, "forwards_per_sample": null,
        "judge": { "draws": 1, "rule": "majority" },
    });
    if let Value::Object(document) = plan {
        ResolvedPlan::new(document).write(config);
    }
}

/// Returns the head of a report on `n` samples of a set of 1,797.
pub(crate) fn head(n: usize) -> ReportHead {
    let mut config = Map::from_iter([
        ("shard".to_owned(), Value::Null),
        ("limit".to_owned(), Value::from(n)),
    ]);
    default_plan(&mut config);
    ReportHead {
        tool: ToolFacts {
            name: "proofmark".into(),
            version: "0.1.0".into(),
        },
        config,
        model: ModelFacts {
            name: "digits-robust".into(),
            sha256: "ab".repeat(32),
            origin: None,
            classes: 10,
            outputs: proofmark_domain::Outputs::Classes,
            stated: Vec::new(),
            gives: Needs::Gradients,
            surrogate: None,
        },
        data: DataFacts {
            name: "digits".into(),
            sha256: "cd".repeat(32),
            total: 1797,
            planned: n,
            bounds: Map::new(),
            reading: None,
            read_as: Default::default(),
        },
        preprocessing: Map::new(),
        device: "cpu".into(),
        tile: 64,
        seed: 0,
        seconds: 1.5,
        shard: None,
        sampling: None,
        certificates: Vec::new(),
    }
}

/// Builds the report of these runs and samples.
pub(crate) fn report(runs: Vec<RunMeta>, mut samples: Vec<SampleRecord>) -> Report {
    for sample in &mut samples {
        for (outcome, run) in sample.runs.iter_mut().zip(&runs) {
            outcome.run.clone_from(&run.key);
        }
    }
    summarise(head(samples.len()), runs, samples)
}
