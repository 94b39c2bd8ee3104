//! A run that is stopped and resumed ends with the report of an uninterrupted run.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use proofmark::domain::{Epsilon, Norm, Seed, Shard};
use proofmark::engine::Attack;
use proofmark::{
    BurnModel, Dataset, Labels, Measurement, RunCheckpoint, RunPlan, Target, ThreatPlan,
};

fn model() -> &'static BurnModel {
    static MODEL: OnceLock<BurnModel> = OnceLock::new();
    MODEL.get_or_init(|| {
        proofmark::model("digits-standard", &proofmark::device("cpu").unwrap()).unwrap()
    })
}

fn data() -> Dataset {
    proofmark::open("digits")
        .unwrap()
        .limit(40, Default::default())
}

fn attacks(steps: u32) -> Vec<Box<dyn Attack>> {
    let pgd = format!("steps = {steps}\nrestarts = 2");
    [("fgsm", ""), ("pgd", &pgd)]
        .map(|(id, p)| proofmark::attacks::build(id, &p.parse().unwrap()).unwrap())
        .into()
}

fn plan<'a>(data: &'a Dataset, attacks: &'a [Box<dyn Attack>]) -> RunPlan<'a> {
    let threats = [(Norm::Linf, 0.08), (Norm::L2, 0.6)]
        .map(|(norm, eps)| ThreatPlan::new(norm, Epsilon::new(eps).unwrap()));
    let mut plan = RunPlan::new(model(), data, attacks, threats.to_vec());
    plan.settings.batch = 16;
    plan
}

/// Returns the report without costs (restarts that ran early run again) and the adversarials.
fn results(m: &Measurement) -> (String, &[Option<Vec<Vec<f32>>>]) {
    let mut report = m.report.clone();
    for attack in &mut report.attacks {
        attack.cost = Default::default();
    }
    let report = serde_json::to_string(&report).unwrap();
    (report, &m.adversarials)
}

/// Runs the plan with a stop callback that returns true from call number `at` on, counted from 0.
fn stopped(plan: &RunPlan<'_>, resume: Option<&RunCheckpoint>, at: usize) -> Measurement {
    let asked = AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) >= at;
    let mut again: RunPlan<'_> = plan.clone();
    again.stop = &stop;
    again.resume = resume;
    again.run().unwrap()
}

/// Stops and resumes a run after every `every` calls of the stop callback, until it is finished; checkpoints go through
/// bytes. Returns the measurement and the number of stops.
fn in_pieces(plan: &RunPlan<'_>, every: usize) -> (Measurement, usize) {
    let mut part = stopped(plan, None, every);
    let mut stops = 0;
    while let Some(checkpoint) = part.checkpoint.take() {
        assert_ne!(results(&part).0, "");
        assert!(!RunPlan::finished(&part.report));
        let read = RunCheckpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
        assert_eq!(read, checkpoint);
        part = stopped(plan, Some(&read), every);
        stops += 1;
        assert!(stops < 200, "it never ends");
    }
    (part, stops)
}

#[test]
fn a_stopped_run_ends_with_the_report_of_the_whole() {
    let (data, attacks) = (data(), attacks(8));
    let plan = plan(&data, &attacks);
    let whole = plan.run().unwrap();
    assert!(whole.checkpoint.is_none());
    let broken = whole.adversarials.iter().flatten().count();
    assert!((5..40).contains(&broken), "a mixed set is needed: {broken}");
    for (every, least) in [(13, 5), (31, 2), (100, 1)] {
        let (pieces, stops) = in_pieces(&plan, every);
        assert!(stops >= least, "stopped {stops} times at {every}");
        assert_eq!(results(&pieces), results(&whole), "every {every}");
    }
}

#[test]
fn targets_and_predicted_labels_survive_a_resume() {
    let (data, attacks) = (data(), attacks(4));
    let mut plan = plan(&data, &attacks);
    plan.labels = Labels::Predicted;
    plan.target = Some(Target::LeastLikely);
    plan.shard = Some(Shard { index: 1, count: 2 });
    let whole = plan.run().unwrap();
    let (pieces, stops) = in_pieces(&plan, 21);
    assert!(stops > 0);
    assert_eq!(results(&pieces), results(&whole));
}

#[test]
fn a_run_stopped_before_its_first_attack_has_no_checkpoint() {
    let (data, attacks) = (data(), attacks(4));
    for at in [0, 1] {
        let part = stopped(&plan(&data, &attacks), None, at);
        assert!(part.checkpoint.is_none(), "stopped at {at}");
    }
}

#[test]
fn a_changed_checkpoint_is_refused() {
    let (data, attacks) = (data(), attacks(4));
    let part = stopped(&plan(&data, &attacks), None, 20);
    let bytes = part.checkpoint.expect("it was stopped").to_bytes();
    let problem = |bytes: &[u8]| RunCheckpoint::from_bytes(bytes).unwrap_err().to_string();
    for at in (0..bytes.len()).step_by(bytes.len() / 200) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let problem = problem(&changed);
        assert!(problem.starts_with("checkpoint: "), "{problem}");
        let cut = RunCheckpoint::from_bytes(&bytes[..at]);
        assert!(cut.is_err(), "cut at {at}");
    }
    let longer = [&bytes[..], b"\n"].concat();
    assert!(problem(&longer).contains("was changed or cut short"));
    for foreign in [
        &b""[..],
        b"{}",
        b"proofmark/checkpoint/3\n",
        b"proofmark/checkpoint/3\n",
    ] {
        let problem = problem(foreign);
        assert!(
            problem.contains("expected `proofmark/checkpoint/3`"),
            "{problem}"
        );
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused_and_the_field_is_named() {
    let (data, attacks, others) = (data(), attacks(4), attacks(5));
    let part = stopped(&plan(&data, &attacks), None, 20);
    let checkpoint = part.checkpoint.expect("it was stopped");
    plan(&data, &attacks).can_resume(&checkpoint).unwrap();

    let fewer = data.clone().limit(39, Default::default());
    let mut cases = vec![
        (plan(&data, &others), "parameters.steps is 4, expected 5"),
        (plan(&fewer, &attacks), "plan.data.samples"),
    ];
    let mut with = |field, change: &dyn Fn(&mut RunPlan<'_>)| {
        let mut other = plan(&data, &attacks);
        change(&mut other);
        cases.push((other, field));
    };
    with("plan.seed is 0, expected 1", &|p| p.settings.seed = Seed(1));
    with("compaction is true, expected false", &|p| {
        p.settings.compaction = false;
    });
    with("shard is null", &|p| {
        p.shard = Some(Shard { index: 0, count: 2 });
    });
    with(
        "key is \"fgsm@linf:0.08\", expected \"fgsm@linf:0.09\"",
        &|p| {
            p.threats[0] = ThreatPlan::new(Norm::Linf, Epsilon::new(0.09).unwrap());
        },
    );
    for (mut other, field) in cases {
        let told = other.can_resume(&checkpoint).expect_err(field).to_string();
        assert!(told.contains(field), "no `{field}` in: {told}");
        other.resume = Some(&checkpoint);
        assert_eq!(other.run().unwrap_err().to_string(), told);
    } // The batch size changes no result: another machine may resume with another one.
    let mut wider = plan(&data, &attacks);
    wider.settings.batch = 8;
    wider.resume = Some(&checkpoint);
    let whole = plan(&data, &attacks).run().unwrap();
    assert_eq!(wider.run().unwrap().report.samples, whole.report.samples);
}
