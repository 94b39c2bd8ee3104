//! Universal changes and maps in whole runs: held-out rates, records, shards, resuming and refusals.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use proofmark::attacks::build;
use proofmark::domain::{Epsilon, MapSpec, Norm, Observation, Report, Role, RunStatus, Shard};
use proofmark::engine::{Attack, predict};
use proofmark::models::{Query, ScoreModel};
use proofmark::{BurnModel, Dataset, Measurement, RunCheckpoint, RunPlan, ThreatPlan};

fn model() -> &'static BurnModel {
    static MODEL: OnceLock<BurnModel> = OnceLock::new();
    MODEL.get_or_init(|| {
        proofmark::model("digits-standard", &proofmark::device("cpu").unwrap()).unwrap()
    })
}

fn data(n: usize) -> Dataset {
    proofmark::open("digits")
        .unwrap()
        .limit(n, Default::default())
}

fn attacks(all: &[(&str, &str)]) -> Vec<Box<dyn Attack>> {
    let one = |(id, table): &(&str, &str)| build(id, &table.parse().unwrap()).unwrap();
    all.iter().map(one).collect()
}

fn linf(eps: f64) -> Vec<ThreatPlan> {
    vec![ThreatPlan::new(Norm::Linf, Epsilon::new(eps).unwrap())]
}

fn mapped<'a>(data: &'a Dataset, attacks: &'a [Box<dyn Attack>], map: &str) -> RunPlan<'a> {
    let mut plan = RunPlan::new(model(), data, attacks, linf(1.0));
    plan.map = Some(map.parse::<MapSpec>().unwrap());
    plan
}

#[test]
fn a_report_counts_held_out_samples_by_themselves() {
    let data = data(80);
    let attacks = attacks(&[("uap-pgd", ""), ("uap", ""), ("pgd", "steps = 10")]);
    let mut plan = RunPlan::new(model(), &data, &attacks, linf(0.2));
    plan.settings.trust = false;
    let measured = plan.run().unwrap();
    let report = &measured.report;
    for (i, run) in report.attacks.iter().take(2).enumerate() {
        let held = run.held_out.expect("universal");
        let outcomes = report.samples.iter().map(|s| &s.runs[i]);
        let tried = outcomes.filter(|o| o.status != RunStatus::Misclassified);
        let (fitted, others): (Vec<_>, Vec<_>) =
            tried.partition(|o| o.observed.contains(&Observation::Fitted));
        let broken = |all: &[&proofmark::domain::RunOutcome]| {
            let broken = all.iter().filter(|o| o.status == RunStatus::Broken);
            broken.count()
        };
        assert_eq!((held.fitted, held.n), (fitted.len(), others.len()));
        assert_eq!(
            (held.fitted_broken, held.broken),
            (broken(&fitted), broken(&others))
        );
        assert!(held.fitted.abs_diff(held.n) <= 1 && held.n > 30);
        let rate = held.broken as f64 / held.n as f64;
        assert_eq!(held.fooling_rate, rate);
        assert!(held.ci95.low < rate && rate < held.ci95.high && held.ci95.low > 0.0);
        assert!(rate > 0.2, "{}: {rate}", run.key);
    }
    assert!(report.attacks[2].held_out.is_none());
    let text = serde_json::to_string(&report.attacks[2]).unwrap();
    assert!(!text.contains("held_out"));
    // The changes are there, within the budget, and both attacks held out the same samples.
    let keys: Vec<&str> = measured.universal.iter().map(|u| u.0.as_str()).collect();
    assert_eq!(keys, ["uap-pgd@linf:0.2", "uap@linf:0.2"]);
    for (_, change) in &measured.universal {
        assert!(change[0].iter().all(|v| v.abs() <= 0.2));
        assert!(change[0].iter().any(|v| v.abs() > 0.1));
    }
    let fitted = |s: &proofmark::domain::SampleRecord, i: usize| {
        s.runs[i].observed.contains(&Observation::Fitted)
    };
    assert!(report.samples.iter().all(|s| fitted(s, 0) == fitted(s, 1)));
}

#[test]
fn a_universal_change_is_refused_on_shards() {
    let data = data(20);
    let attacks = attacks(&[("uap-pgd", "")]);
    let mut plan = RunPlan::new(model(), &data, &attacks, linf(0.1));
    plan.shard = Some(Shard { index: 1, count: 3 });
    let told = plan.run().unwrap_err().to_string();
    assert!(
        told.contains("shard 1/3") && told.contains("`uap-pgd`"),
        "{told}"
    );
}

/// Returns the class that the model sees in an image.
fn class(x: &[f32]) -> usize {
    let modalities = proofmark::models::DecisionModel::signature(model())
        .modalities
        .clone();
    let device = proofmark::device("cpu").unwrap();
    let x = proofmark::threats::Batch::from_host(modalities, vec![x.to_vec()], &device).unwrap();
    let scores = model().scores(&Query::one_per_row(x, &[0])).unwrap();
    predict(&proofmark::threats::host(&scores)).unwrap()
}

#[test]
fn what_a_map_returns_is_what_the_model_sees_and_within_its_limits() {
    let data = data(40);
    let attacks = attacks(&[("grid", "points = 5"), ("pgd", "")]);
    let plan = mapped(&data, &attacks, "spatial:degrees=40:shift=0.2");
    let measured = plan.run().unwrap();
    let report = &measured.report;
    let map = measured.map.as_ref().unwrap();
    assert_eq!(map.names, ["degrees", "pixels_down", "pixels_right"]);
    let mut seen = 0;
    for ((sample, x), parameters) in report
        .samples
        .iter()
        .zip(&measured.adversarials)
        .zip(&map.each)
    {
        assert_eq!(x.is_some(), sample.broken_by.is_some());
        assert_eq!(x.is_some(), parameters.is_some());
        let (Some(x), Some(parameters)) = (x, parameters) else {
            continue;
        };
        assert_eq!(Some(class(&x[0])), sample.adv_pred);
        assert_ne!(sample.adv_pred, Some(sample.label));
        let limits = [40.0, 1.6, 1.6];
        let within = parameters
            .iter()
            .zip(limits)
            .all(|(p, l)| p.abs() <= l + 1e-5);
        assert!(within, "{parameters:?}");
        seen += 1;
    }
    assert!(seen > 5, "{seen}");
    let threat = &report.attacks[0].threat;
    assert_eq!(threat.map, plan.map);
    assert_eq!(threat.text, "1 × spatial:degrees=40:shift=0.2:padding=zero");
    // The clean figures are those of the images as they are, and trust is checked by a baseline alone.
    let plain = RunPlan::new(model(), &data, &[], Vec::new()).run().unwrap();
    assert_eq!(plain.report.clean, report.clean);
    let roles: Vec<Role> = report.attacks.iter().map(|a| a.role).collect();
    assert_eq!(roles, [Role::Attack, Role::Attack, Role::Baseline]);
}

fn statuses(report: &Report) -> Vec<(String, Vec<RunStatus>)> {
    let one = |s: &proofmark::domain::SampleRecord| {
        (s.id.to_string(), s.runs.iter().map(|r| r.status).collect())
    };
    let mut all: Vec<_> = report.samples.iter().map(one).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn shards_behind_a_map_are_the_whole() {
    let data = data(30);
    let attacks = attacks(&[("apgd", "steps = 6\neot = 3"), ("pgd", "steps = 6")]);
    for map in ["patch:share=0.1:placements=5:degrees=10", "spatial"] {
        let whole = mapped(&data, &attacks, map).run().unwrap();
        let mut parts = Vec::new();
        for index in 0..3 {
            let mut plan = mapped(&data, &attacks, map);
            plan.shard = Some(Shard { index, count: 3 });
            parts.extend(statuses(&plan.run().unwrap().report));
        }
        parts.sort_by(|a: &(String, Vec<RunStatus>), b| a.0.cmp(&b.0));
        assert_eq!(parts, statuses(&whole.report), "{map}");
    }
}

fn results(m: &Measurement) -> String {
    let mut report = m.report.clone();
    for attack in &mut report.attacks {
        attack.cost = Default::default();
    }
    format!(
        "{} {:?} {:?}",
        serde_json::to_string(&report).unwrap(),
        m.adversarials,
        m.map
    )
}

#[test]
fn stopped_runs_of_universal_attacks_and_maps_end_with_the_report_of_the_whole() {
    let data = data(24);
    let attacks = attacks(&[
        ("pgd", "steps = 4"),
        ("uap-pgd", "epochs = 2\nminibatch = 6"),
    ]);
    for map in [None, Some("patch:share=0.1:placements=3:degrees=10")] {
        let mut plan = RunPlan::new(
            model(),
            &data,
            &attacks,
            linf(if map.is_some() { 1.0 } else { 0.1 }),
        );
        plan.map = map.map(|m| m.parse().unwrap());
        plan.settings.batch = 8;
        let whole = plan.run().unwrap();
        let polls = AtomicUsize::new(0);
        let counted = || {
            polls.fetch_add(1, Ordering::Relaxed);
            false
        };
        let mut again = plan.clone();
        again.stop = &counted;
        again.run().unwrap();
        let polls = polls.into_inner();
        let mut stops = 0;
        for at in (polls / 4..polls).step_by(7) {
            let asked = AtomicUsize::new(0);
            let stop = || asked.fetch_add(1, Ordering::Relaxed) >= at;
            let mut part = plan.clone();
            part.stop = &stop;
            let Some(checkpoint) = part.run().unwrap().checkpoint else {
                continue;
            };
            stops += 1;
            let read = RunCheckpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
            let mut rest = plan.clone();
            rest.resume = Some(&read);
            assert_eq!(
                results(&rest.run().unwrap()),
                results(&whole),
                "{map:?} {at} of {polls}"
            );
        }
        assert!(stops > 2, "{stops}");
    }
}

#[test]
fn what_does_not_fit_a_map_is_refused_with_a_reason() {
    let data = data(10);
    let some = attacks(&[("pgd", "")]);
    let told = |change: &dyn Fn(&mut RunPlan<'_>), map: &str| {
        let mut plan = mapped(&data, &some, map);
        change(&mut plan);
        plan.run().unwrap_err().to_string()
    };
    let far = told(&|p| p.threats = linf(1.5), "spatial");
    assert!(far.contains("share of its limits"), "{far}");
    let large = told(&|_| (), "patch:share=0.9");
    assert!(large.contains("8 × 8"), "{large}");
    let each = told(&|p| p.threats[0].per_sample = true, "spatial");
    assert!(each.contains("one epsilon per sample"), "{each}");
    let grid = attacks(&[("grid", "points = 9")]);
    let told = mapped(&data, &grid, "patch:share=0.1").run().unwrap_err();
    assert!(
        told.to_string().contains("features that may change"),
        "{told}"
    );
}
