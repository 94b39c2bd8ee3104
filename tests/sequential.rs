//! Sequential runs end at the same look, with the same figures, for any batch size, thread count and sharding, and when
//! they are stopped and resumed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use proofmark::data::sequence;
use proofmark::domain::{Epsilon, Norm, Report, RunStatus, Sampling, Seed, Shard, Verdict};
use proofmark::engine::{Attack, Event, Observer};
use proofmark::policy::{
    Date, Evidence, GateReport, Looks, Metric, Record, is_decided, judge, merge,
};
use proofmark::{
    BurnModel, Dataset, Gate, GateOptions, Measurement, Progress, RunCheckpoint, RunPlan,
    ThreatPlan,
};

fn model() -> &'static BurnModel {
    static MODEL: OnceLock<BurnModel> = OnceLock::new();
    MODEL.get_or_init(|| {
        proofmark::model("digits-robust", &proofmark::device("cpu").unwrap()).unwrap()
    })
}

fn data() -> Dataset {
    let all = proofmark::open("digits").unwrap();
    all.limit(400, Default::default())
}

fn attacks() -> Vec<Box<dyn Attack>> {
    [("fgsm", ""), ("pgd", "steps = 5\nrestarts = 2")]
        .map(|(id, p)| proofmark::attacks::build(id, &p.parse().unwrap()).unwrap())
        .into()
}

fn plan<'a>(data: &'a Dataset, attacks: &'a [Box<dyn Attack>]) -> RunPlan<'a> {
    let threat = ThreatPlan::new(Norm::Linf, Epsilon::new(0.1).unwrap());
    let mut plan = RunPlan::new(model(), data, attacks, vec![threat]);
    plan.looks = Some(Looks::Doubling);
    plan
}

/// Whether it is decided that robust accuracy is at least 0.8, which takes more than one look.
fn decided(report: &Report) -> bool {
    is_decided(report, &[(Metric::RobustAccuracy, 0.8)], 0.95)
}

fn run(plan: &RunPlan<'_>) -> Measurement {
    plan.run_until(&decided).unwrap()
}

/// Returns the report without costs (restarts that ran early run again) and batch size, and the adversarials.
fn results(m: &Measurement) -> (String, &[Option<Vec<Vec<f32>>>]) {
    let mut report = m.report.clone();
    for attack in &mut report.attacks {
        attack.cost = Default::default();
    }
    report.config.remove("batch_size");
    (serde_json::to_string(&report).unwrap(), &m.adversarials)
}

fn look(report: &Report) -> (usize, usize) {
    let Some(Sampling::Sequential { looks, made }) = &report.sampling else {
        panic!("{:?}", report.sampling);
    };
    assert_eq!(*looks, [50, 100, 200, 400]);
    assert_eq!(looks[made - 1], report.samples.len());
    (*made, report.samples.len())
}

#[test]
fn a_run_ends_at_the_first_look_that_decides_with_the_figures_of_its_samples() {
    let (data, attacks) = (data(), attacks());
    let plan = plan(&data, &attacks);
    let early = run(&plan);
    let (made, n) = look(&early.report);
    assert!((2..4).contains(&made), "{made} looks");
    assert!(decided(&early.report));

    // All samples, without an end in between: those of the looks have the same outcomes.
    let all = plan.run().unwrap();
    assert_eq!(look(&all.report), (4, 400));
    let by_id: BTreeMap<_, _> = all.report.samples.iter().map(|s| (&s.id, s)).collect();
    for sample in &early.report.samples {
        assert_eq!(by_id[&sample.id], sample);
    }
    assert_eq!(early.adversarials.len(), n);
    let broken = early.report.samples.iter().map(|s| s.broken_by.is_some());
    assert!(broken.eq(early.adversarials.iter().map(Option::is_some)));
    // The probe covers the first 128 samples of the order.
    let mut runs = early.report.attacks.iter();
    let run = runs.position(|a| a.key.ends_with("unbounded"));
    let run = run.expect("a probe");
    let ids: Vec<_> = early.report.samples.iter().map(|s| s.id.clone()).collect();
    for (s, rank) in early.report.samples.iter().zip(sequence(&ids, Seed(0))) {
        let is_probed = s.runs[run].status != RunStatus::Skipped;
        assert_eq!(
            is_probed || !s.clean_correct,
            rank < 128 || !s.clean_correct
        );
    }
}

#[test]
fn batch_size_and_threads_change_nothing() {
    let (data, attacks) = (data(), attacks());
    let whole = run(&plan(&data, &attacks));
    for batch in [1, 7, 64] {
        let mut again = plan(&data, &attacks);
        again.settings.batch = batch;
        assert!(results(&run(&again)) == results(&whole), "batch {batch}");
    }
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let again = pool
            .build()
            .unwrap()
            .install(|| run(&plan(&data, &attacks)));
        assert!(results(&again) == results(&whole), "{threads} threads");
    }
}

/// Notes the order in which attacks begin.
#[derive(Default)]
struct Order(Mutex<Vec<(String, usize)>>);

impl Observer for Order {
    fn event(&self, _: Event) {}
}

impl Progress for Order {
    fn begin(&self, run: &str, samples: usize) {
        let name = run.split('@').next().unwrap().to_owned();
        self.0.lock().unwrap().push((name, samples));
    }
}

#[test]
fn all_attacks_of_a_look_run_before_the_next_look() {
    let (data, attacks, order) = (data(), attacks(), Order::default());
    let mut plan = plan(&data, &attacks);
    plan.progress = &order;
    let (made, n) = look(&run(&plan).report);
    let begun = order.0.into_inner().unwrap();
    let names: Vec<&str> = begun.iter().map(|(name, _)| name.as_str()).collect();
    let of_look = ["clean", "fgsm", "pgd", "salt-and-pepper", "pgd", "pgd"];
    assert_eq!(names, of_look.repeat(made));
    let clean = begun.iter().filter(|(name, _)| name == "clean");
    assert_eq!(clean.map(|(_, samples)| samples).sum::<usize>(), n);
}

/// Runs the plan with a stop callback that returns true from call number `at` on, counted from 0.
fn stopped(plan: &RunPlan<'_>, resume: Option<&RunCheckpoint>, at: usize) -> Measurement {
    let asked = AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) >= at;
    let mut again: RunPlan<'_> = plan.clone();
    again.stop = &stop;
    again.resume = resume;
    run(&again)
}

#[test]
fn a_stopped_run_ends_with_the_report_of_the_whole() {
    let (data, attacks) = (data(), attacks());
    let plan = plan(&data, &attacks);
    let whole = run(&plan);
    for every in [17, 29, 64] {
        let mut part = stopped(&plan, None, every);
        let mut stops = 0;
        while let Some(checkpoint) = part.checkpoint.take() {
            let read = RunCheckpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
            assert_eq!(read, checkpoint);
            plan.can_resume(&read).unwrap();
            part = stopped(&plan, Some(&read), every);
            stops += 1;
            assert!(stops < 200, "it never ends");
        }
        assert!(stops > 0, "every {every}");
        assert!(results(&part) == results(&whole), "every {every}");
    }
}

#[test]
fn a_stop_between_two_looks_keeps_the_looks_made() {
    let (data, attacks) = (data(), attacks());
    let plan = plan(&data, &attacks);
    let whole = run(&plan);
    // At once, while the clean samples of the second look are measured, and after them: nothing of it is kept.
    let mut kept = None;
    for later in [0, 1, 2] {
        let (looked, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let undecided = |report: &Report| {
            looked.fetch_add(1, Ordering::Relaxed);
            decided(report)
        };
        let stop =
            || looked.load(Ordering::Relaxed) > 0 && asked.fetch_add(1, Ordering::Relaxed) >= later;
        let mut first = plan.clone();
        first.stop = &stop;
        let part = first.run_until(&undecided).unwrap();
        assert_eq!(look(&part.report), (1, 50));
        assert!(RunPlan::finished(&part.report) && !decided(&part.report));
        let checkpoint = part.checkpoint.expect("it was stopped");
        let checkpoint = RunCheckpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
        let mut goes_on = plan.clone();
        goes_on.resume = Some(&checkpoint);
        assert!(results(&run(&goes_on)) == results(&whole), "later {later}");
        kept = Some(checkpoint);
    }
    let checkpoint = kept.unwrap();

    // It is no checkpoint of a run of all samples, or with other looks.
    for looks in [None, Some(Looks::At(vec![100]))] {
        let mut other = plan.clone();
        other.looks = looks;
        let told = other.can_resume(&checkpoint).unwrap_err().to_string();
        assert!(told.contains("looks"), "{told}");
    }
}

const POLICY: &str = r#"schema = "proofmark/policy/1"
seed = 2

[[check]]
id = "robust"
kind = "robustness"
model = "digits-robust"
data = "digits"
limit = 400
sampling = "sequential"
threat = { norm = "linf", eps = "0.1" }
attacks = ["fgsm", { id = "pgd", steps = 5 }]
require = "robust_accuracy >= 0.7, accuracy >= 0.8, robust_recall(0) >= 0.3"
"#;

fn evidence(gate: &Gate, batch: usize, shard: Option<Shard>) -> Report {
    let ready = gate.prepare(&proofmark::device("cpu").unwrap()).unwrap();
    let mut options = GateOptions::default();
    options.batch = batch;
    options.shard = shard;
    let earlier = BTreeMap::new();
    let mut evidence = ready.run(&options, &earlier, &mut |id, record| {
        let record = record.as_ref().unwrap();
        assert!(gate.finished(id, record));
        ready.reusable(id, record, shard, true).unwrap();
    });
    let Some(Ok(Record::Attack(report))) = evidence.remove("robust") else {
        panic!("{evidence:?}");
    };
    // Through JSON, as evidence travels.
    serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap()
}

fn judged(gate: &Gate, report: Report) -> GateReport {
    let evidence = Evidence::from([("robust".to_owned(), Ok(report.into()))]);
    let mut judged = judge(gate.policy(), evidence, Date::new(2026, 6, 15).unwrap());
    // What was computed differs: a shard never ends early.
    judged.checks[0].cost = None;
    judged
}

#[test]
fn the_verdict_and_every_figure_are_the_same_in_shards() {
    let gate = Gate::read(POLICY.as_bytes(), Path::new("policy.toml")).unwrap();
    let early = evidence(&gate, 64, None);
    let (made, n) = look(&early);
    assert!(made < 4, "{made}");
    let whole = judged(&gate, early.clone());
    assert_eq!(whole.verdict, Verdict::Pass);
    assert_eq!(whole.checks[0].sampling, early.sampling);
    assert_eq!(whole.checks[0].n, Some(n as u64));
    for (count, batch) in [(1, 7), (3, 1)] {
        let shards = (0..count).rev().map(|index| {
            let shard = evidence(&gate, batch, Some(Shard { index, count }));
            assert_eq!(shard.samples.len(), (400 - index).div_ceil(count));
            shard
        });
        let merged = merge(shards.collect()).unwrap();
        assert_eq!(merged.samples.len(), 400);
        assert_eq!(merged.data, early.data);
        let kept: BTreeMap<_, _> = merged.samples.iter().map(|s| (&s.id, s)).collect();
        for sample in &early.samples {
            assert_eq!(kept[&sample.id], sample);
        }
        assert_eq!(judged(&gate, merged), whole, "{count} shards");
    }

    // Evidence that ended early does not decide a threshold it was not measured for, and is not reused for it.
    let edited = POLICY.replace("accuracy >= 0.7", "accuracy >= 0.85");
    let edited = Gate::read(edited.as_bytes(), Path::new("policy.toml")).unwrap();
    let open = judged(&edited, early.clone());
    assert_eq!(open.verdict, Verdict::Inconclusive);
    let finding = &open.findings[0].message;
    assert!(finding.contains("the evidence ends here"), "{finding}");
    let ready = edited.prepare(&proofmark::device("cpu").unwrap()).unwrap();
    let told = ready
        .reusable("robust", &early.into(), None, true)
        .unwrap_err();
    assert!(told.contains("other requirements"), "{told}");
}
