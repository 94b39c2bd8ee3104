//! Gradients of another model: a surrogate that is the model itself changes nothing, every query is counted once and on
//! the right side, and transfer attacks ask the model about final points alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use proofmark::burn::tensor::Tensor;
use proofmark::domain::{
    Averaging, Bounds, Epsilon, Kind, Modality, Needs, Norm, Report, Role, RunStatus, Shard,
    TrustCode,
};
use proofmark::engine::{Attack, predict};
use proofmark::models::wrap::{Average, Ensemble, MeanLoss, Surrogate};
use proofmark::models::{
    Access, DecisionModel, GradientModel, ModelError, Network, Query, ScoreModel,
};
use proofmark::policy::merge;
use proofmark::threats::{Batch, host};
use proofmark::{
    BurnModel, Dataset, FromDecisions, FromScores, Labels, ModelSource, RunCheckpoint, RunPlan,
    Signature, Surrogates, ThreatPlan, evaluate,
};

fn shipped(name: &'static str) -> BurnModel {
    proofmark::model(name, &proofmark::device("cpu").unwrap()).unwrap()
}

fn standard() -> &'static BurnModel {
    static MODEL: OnceLock<BurnModel> = OnceLock::new();
    MODEL.get_or_init(|| shipped("digits-standard"))
}

fn robust() -> &'static BurnModel {
    static MODEL: OnceLock<BurnModel> = OnceLock::new();
    MODEL.get_or_init(|| shipped("digits-robust"))
}

fn digits(n: usize) -> Dataset {
    proofmark::open("digits")
        .unwrap()
        .limit(n, Default::default())
}

fn attacks(list: &[(&str, &str)]) -> Vec<Box<dyn Attack>> {
    let build = |(id, table): &(&str, &str)| {
        proofmark::attacks::build(id, &table.parse().unwrap()).unwrap()
    };
    list.iter().map(build).collect()
}

fn linf(eps: f64) -> Vec<ThreatPlan> {
    vec![ThreatPlan::new(Norm::Linf, Epsilon::new(eps).unwrap())]
}

fn run<'a>(
    model: impl Into<Access<'a>>,
    data: &Dataset,
    list: &[(&str, &str)],
    eps: f64,
) -> Report {
    let model: Access<'_> = model.into();
    let attacks = attacks(list);
    RunPlan::new(model, data, &attacks, linf(eps))
        .run()
        .unwrap()
        .report
}

/// Passes queries on and counts the points, on the plain path and on the gradient path.
struct Counted<'a> {
    inner: &'a BurnModel,
    signature: Signature,
    points: Arc<[AtomicU64; 2]>,
}

impl<'a> Counted<'a> {
    fn new(inner: &'a BurnModel) -> (Self, Arc<[AtomicU64; 2]>) {
        let points: Arc<[AtomicU64; 2]> = Arc::default();
        let mut signature = DecisionModel::signature(inner).clone();
        // Independent rows are not padded, so that every point that is computed was asked for.
        signature.row_independent = true;
        let counted = Self {
            inner,
            signature,
            points: points.clone(),
        };
        (counted, points)
    }
}

impl Network for Counted<'_> {
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let path = usize::from(query.x.blocks()[0].is_autodiff());
        self.points[path].fetch_add(query.len() as u64, Ordering::Relaxed);
        self.inner.forward(query)
    }
}

/// Decides as the standard net, and gives nothing else.
fn deciding() -> FromDecisions {
    let data = digits(1);
    let inputs: Vec<Modality> = data.modalities.iter().map(|c| c.modality.clone()).collect();
    let device = proofmark::device("cpu").unwrap();
    let signature = Signature::new("endpoint", inputs.clone(), 10, &device).unwrap();
    FromDecisions::new(signature, move |x, rows| {
        let x = Batch::from_host(inputs.clone().into(), x.to_vec(), &device).unwrap();
        let scores = host(
            &standard()
                .scores(&Query::one_per_row(x, &vec![0; rows]))
                .unwrap(),
        );
        let decided = scores.chunks(10).map(|s| predict(s).unwrap());
        Ok::<_, String>(decided.collect())
    })
    .unwrap()
}

/// The report as JSON without what says how it was made: costs, plan, surrogate, and the flag about it.
fn results(mut report: Report, queries: bool) -> String {
    report.config.clear();
    report.shard = None;
    report.model.surrogate = None;
    report.model.stated.clear();
    report.trust_not_applicable.clear();
    report
        .trust
        .retain(|f| f.code != TrustCode::ApproximateGradients);
    for attack in &mut report.attacks {
        attack
            .trust
            .retain(|f| f.code != TrustCode::ApproximateGradients);
        attack.cost = Default::default();
        if !queries {
            attack.backward = 0;
            (attack.surrogate_forward, attack.surrogate_backward) = (0, 0);
        }
    }
    for run in report.samples.iter_mut().flat_map(|s| &mut s.runs) {
        if !queries {
            run.backward = 0;
            (run.surrogate_forward, run.surrogate_backward) = (0, 0);
        }
    }
    serde_json::to_string(&report).unwrap()
}

const GRADIENT: [(&str, &str); 6] = [
    ("pgd", "steps = 6\nrestarts = 3"),
    ("apgd", "steps = 12"),
    ("fmn", "steps = 12"),
    ("mi-fgsm", "steps = 5"),
    ("ti-fgsm", "steps = 5"),
    ("admix", "steps = 2\nscales = 2"),
];

#[test]
fn a_surrogate_that_is_the_model_itself_finds_the_same_points_to_the_bit() {
    let data = digits(30);
    let model = Surrogate::new(standard(), standard()).unwrap();
    let guided = run(&model, &data, &GRADIENT, 0.1);
    let own = run(standard(), &data, &GRADIENT, 0.1);
    assert!(
        (1..30).contains(&own.worst_case.correct),
        "{:?}",
        own.worst_case
    );
    // Every forward of the white box was also asked of the model here, except at the views of `ti-fgsm` and `admix`.
    let without_forwards = |report: &Report| {
        let mut report = report.clone();
        // Nothing is planted behind a layer of two models.
        report.attacks.retain(|a| a.role != Role::Planted);
        for sample in &mut report.samples {
            sample.runs.retain(|r| !r.run.ends_with("@planted"));
        }
        for attack in &mut report.attacks {
            attack.forward = 0;
        }
        for run in report.samples.iter_mut().flat_map(|s| &mut s.runs) {
            run.forward = 0;
        }
        results(report, false)
    };
    assert_eq!(without_forwards(&guided), without_forwards(&own));
    for (guided, own) in guided.attacks.iter().zip(&own.attacks) {
        let views = ["ti-fgsm", "admix"].contains(&own.id.as_str());
        if !views {
            assert_eq!(guided.forward, own.forward, "{}", own.key);
        }
        assert_eq!(guided.backward, 0);
        assert_eq!(guided.surrogate_backward, own.backward, "{}", own.key);
        assert_eq!((own.surrogate_forward, own.surrogate_backward), (0, 0));
    }
}

#[test]
fn every_query_is_counted_once_and_on_its_side() {
    let data = digits(24);
    let list = [
        ("pgd", "steps = 4"),
        ("di-fgsm", "steps = 3\ndiversity = 1.0"),
        ("square", "queries = 20"),
    ];
    for transfer in [false, true] {
        let (victim, of_victim) = Counted::new(standard());
        let (source, of_source) = Counted::new(robust());
        let model = Surrogate::new(&victim, &source).unwrap();
        let model = if transfer { model.transfer() } else { model };
        // On one thread nothing is begun early and discarded.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let report = pool.unwrap().install(|| run(&model, &data, &list, 0.08));
        let sum = |f: &dyn Fn(&proofmark::domain::AttackSummary) -> u64| -> u64 {
            report.attacks.iter().map(f).sum()
        };
        // Before the attacks: three forwards per sample of the model and one backward, one forward of the surrogate.
        let points = |c: &[AtomicU64; 2]| [0, 1].map(|path| c[path].load(Ordering::Relaxed));
        assert_eq!(
            points(&of_victim),
            [sum(&|a| a.forward) + 48, 24],
            "transfer: {transfer}"
        );
        let [plain, tracked] = points(&of_source);
        assert_eq!(tracked, sum(&|a| a.surrogate_backward));
        assert_eq!(plain + tracked, sum(&|a| a.surrogate_forward) + 24);
        assert_eq!(sum(&|a| a.cost.computed), sum(&|a| a.forward));
        assert_eq!(sum(&|a| a.backward), 0);
        let of = |id: &str| report.attacks.iter().find(|a| a.id == id).unwrap();
        assert_eq!(
            (
                of("square").surrogate_forward,
                of("square").surrogate_backward
            ),
            (0, 0)
        );
        for sample in &report.samples {
            let pgd = &sample.runs[0];
            if pgd.status != RunStatus::Misclassified && transfer {
                let restarts = pgd.forward;
                assert!(
                    (1..=2).contains(&restarts),
                    "one query per restart: {restarts}"
                );
                assert_eq!(pgd.surrogate_backward, 4 * restarts);
            }
        }
    }
}

#[test]
fn gradients_reach_a_model_that_only_decides() {
    let data = digits(40);
    let victim = deciding();
    let refused = evaluate(&victim, &data).linf(0.1).attacks(["pgd"]).run();
    assert!(refused.unwrap_err().to_string().contains("needs gradients"));
    let model = Surrogate::new(&victim, standard()).unwrap();
    let guided = run(&model, &data, &[("pgd", "")], 0.1);
    let own = run(standard(), &data, &[("pgd", "")], 0.1);
    let statuses = |r: &Report| -> Vec<_> { r.samples.iter().map(|s| s.runs[0].status).collect() };
    assert_eq!(statuses(&guided), statuses(&own));
    assert_eq!(guided.model.gives, Needs::Decisions);
    assert_eq!(
        guided.model.sha256,
        DecisionModel::signature(&victim).sha256
    );
    let facts = guided.model.surrogate.unwrap();
    let source = DecisionModel::signature(standard());
    assert_eq!(facts.models[0].sha256, source.sha256);
    // What goes wrong with gradients is seen; nothing is known about the model's own scores.
    let unknown = &guided.trust_not_applicable;
    assert!(unknown.contains(&TrustCode::ProbabilitiesAsLogits));
    assert!(!unknown.contains(&TrustCode::ZeroGradients));

    // Attacks by scores still need the model's own, inside a suite as well.
    for list in [[("square", "")], [("autoattack", "")]] {
        let attacks = attacks(&list);
        let refused = RunPlan::new(&model, &data, &attacks, linf(0.1)).run();
        let told = refused.unwrap_err().to_string();
        assert!(
            told.contains("`square` needs scores") && told.contains("gives decisions"),
            "{told}"
        );
    }
    let rays = run(&model, &data, &[("rays", "queries = 50")], 0.1);
    assert_eq!(rays.attacks[0].surrogate_forward, 0);
}

#[test]
fn a_pass_on_a_surrogate_alone_is_inconclusive_until_an_attack_without_gradients_confirms_it() {
    let data = digits(60);
    let model = Surrogate::new(robust(), standard()).unwrap();
    let told = |attacks: &[(&str, &str)]| {
        let mut run = evaluate(&model, &data).linf(0.02);
        for (id, table) in attacks {
            run = run.attack(id, table);
        }
        let result = run.run().unwrap();
        let flag = result
            .report()
            .trust
            .iter()
            .find(|f| f.code == TrustCode::ApproximateGradients);
        let flag = flag.expect("stated").clone();
        (result.robust_accuracy().at_least(0.5, 0.95), flag)
    };
    let (alone, flag) = told(&[("pgd", "")]);
    assert_eq!(
        alone.unwrap_err().verdict,
        proofmark::domain::Verdict::Inconclusive
    );
    assert!(
        flag.message
            .contains("gradients are those of surrogate `digits-standard`")
            && flag.message.contains("decides as the model on "),
        "{}",
        flag.message
    );
    let (confirmed, flag) = told(&[("pgd", ""), ("square", "queries = 1000")]);
    assert!(flag.cured, "{}", flag.message);
    confirmed.unwrap();
    let (few, flag) = told(&[("pgd", ""), ("square", "queries = 100")]);
    assert!(!flag.cured && few.is_err(), "{}", flag.message);
}

#[test]
fn every_point_of_a_transfer_attack_is_measured_on_the_model() {
    let data = digits(60);
    let model = Surrogate::new(standard(), robust()).unwrap().transfer();
    let attacks = attacks(&[
        ("ti-fgsm", ""),
        ("apgd", "steps = 10"),
        ("fmn", "steps = 10"),
    ]);
    let measured = RunPlan::new(&model, &data, &attacks, linf(0.15))
        .run()
        .unwrap();
    let report = &measured.report;
    let mut broken = 0;
    for (sample, x) in report.samples.iter().zip(&measured.adversarials) {
        let Some(x) = x else { continue };
        let modalities = DecisionModel::signature(standard()).modalities.clone();
        let x =
            Batch::from_host(modalities, x.clone(), &proofmark::device("cpu").unwrap()).unwrap();
        let scores = host(&standard().scores(&Query::one_per_row(x, &[0])).unwrap());
        assert_eq!(predict(&scores), sample.adv_pred);
        assert_ne!(predict(&scores), Some(sample.label));
        broken += 1;
    }
    assert!(broken > 5, "{broken}");
    // An attack that fails on the model is no silent success: nothing was promised.
    assert!(
        report
            .trust
            .iter()
            .all(|f| f.code != TrustCode::SilentSuccess),
        "{:?}",
        report.trust
    );
    assert!(report.model.surrogate.as_ref().unwrap().transfer);
}

fn mixed_plan<'a>(
    model: impl Into<Access<'a>>,
    data: &'a Dataset,
    attacks: &'a [Box<dyn Attack>],
) -> RunPlan<'a> {
    let threats = [(Norm::Linf, 0.08), (Norm::L2, 0.6)]
        .map(|(norm, eps)| ThreatPlan::new(norm, Epsilon::new(eps).unwrap()));
    RunPlan::new(model, data, attacks, threats.to_vec())
}

const TRANSFER: [(&str, &str); 3] = [
    ("di-fgsm", "steps = 4"),
    ("ti-fgsm", "steps = 4\nkernel = 3"),
    ("admix", "steps = 3\nmixed = 2\nscales = 2\ndiversity = 0.5"),
];

/// For each way to ask: white box, guided, transfer.
fn each_way(check: impl Fn(Access<'_>, &str)) {
    check(standard().into(), "white box");
    let guided = Surrogate::new(standard(), robust()).unwrap();
    check((&guided).into(), "guided");
    let transfer = Surrogate::new(standard(), robust()).unwrap().transfer();
    check((&transfer).into(), "transfer");
}

#[test]
fn batch_size_shards_and_threads_change_nothing() {
    let data = digits(40);
    let attacks = attacks(&TRANSFER);
    each_way(|model, way| {
        let report = |batch: usize, shard: Option<Shard>| {
            let mut plan = mixed_plan(model, &data, &attacks);
            plan.settings.batch = batch;
            plan.shard = shard;
            plan.run().unwrap().report
        };
        let whole = report(64, None);
        assert!((1..40).contains(&whole.worst_case.correct), "{way}");
        for batch in [3, 17] {
            assert_eq!(
                results(report(batch, None), true),
                results(whole.clone(), true),
                "{way}: {batch}"
            );
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(3)
            .build()
            .unwrap();
        let again = pool.install(|| report(64, None));
        assert_eq!(
            results(again, true),
            results(whole.clone(), true),
            "{way}: threads"
        );
        let part = |index| report(16, Some(Shard { index, count: 3 }));
        let merged = merge(vec![part(2), part(0), part(1)]).unwrap();
        assert_eq!(results(merged, true), results(whole, true), "{way}: shards");
    });
}

#[test]
fn a_stopped_run_ends_with_the_report_of_the_whole() {
    use std::sync::atomic::AtomicUsize;
    let data = digits(24);
    let attacks = attacks(&TRANSFER);
    each_way(|model, way| {
        let mut plan = mixed_plan(model, &data, &attacks);
        plan.settings.batch = 8;
        let whole = plan.run().unwrap();
        let mut resume: Option<RunCheckpoint> = None;
        let mut stops = 0;
        let last = loop {
            let asked = AtomicUsize::new(0);
            let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 17;
            let mut part = plan.clone();
            part.stop = &stop;
            part.resume = resume.as_ref();
            let mut measured = part.run().unwrap();
            let Some(checkpoint) = measured.checkpoint.take() else {
                break measured;
            };
            resume = Some(RunCheckpoint::from_bytes(&checkpoint.to_bytes()).unwrap());
            stops += 1;
            assert!(stops < 100, "it never ends");
        };
        assert!(stops > 2, "{way}: {stops}");
        assert_eq!(
            results(last.report, true),
            results(whole.report, true),
            "{way}"
        );
        assert_eq!(last.adversarials, whole.adversarials, "{way}");
    });
}

#[test]
fn a_checkpoint_of_another_surrogate_is_refused() {
    let data = digits(20);
    let attacks = attacks(&[("pgd", "steps = 5")]);
    let guided = Surrogate::new(standard(), robust()).unwrap();
    let mut plan = mixed_plan(&guided, &data, &attacks);
    let asked = AtomicU64::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 4;
    plan.stop = &stop;
    let checkpoint = plan.run().unwrap().checkpoint.unwrap();
    let transfer = Surrogate::new(standard(), robust()).unwrap().transfer();
    let other = Surrogate::new(standard(), standard()).unwrap();
    for (model, field) in [
        (Access::from(&transfer), "surrogate.transfer"),
        (Access::from(&other), "surrogate.models"),
        (standard().into(), "plan."),
    ] {
        let told = mixed_plan(model, &data, &attacks).can_resume(&checkpoint);
        let told = told.unwrap_err().to_string();
        assert!(told.contains(field), "{told}");
    }
}

#[test]
fn several_surrogates_are_averaged() {
    let (device, data) = (proofmark::device("cpu").unwrap(), digits(40));
    let open = |name: &str| Arc::new(ModelSource::new(name).open(&data, &device).unwrap());
    let models = vec![open("digits-standard"), open("digits-robust")];
    let x = digits(5);
    let values: Vec<f32> = x.modalities[0].values.iter().copied().collect();
    let modalities = DecisionModel::signature(standard()).modalities.clone();
    let query = Query::one_per_row(
        Batch::from_host(modalities, vec![values], &device).unwrap(),
        &[0, 1, 2, 3, 4],
    );
    let objective =
        |scores: &Tensor<2>, _: &Batch| scores.clone().slice([0..5, 0..1]).squeeze_dim::<1>(1);
    let both = [standard(), robust()].map(|m| m.gradient(&query, &objective).unwrap());
    let mean = |of: &dyn Fn(&proofmark::models::Gradient) -> Vec<f32>| -> Vec<f32> {
        of(&both[0])
            .iter()
            .zip(of(&both[1]))
            .map(|(a, b)| f32::midpoint(*a, b))
            .collect()
    };
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    for averaging in Averaging::ALL {
        let surrogates = Surrogates::new(models.clone(), averaging).unwrap();
        let source = surrogates.source().unwrap();
        let found = source.gradient(&query, &objective).unwrap();
        if averaging != Averaging::Probabilities {
            // A linear objective of the scores: the mean of gradients is the gradient at mean scores.
            let expected = mean(&|g| host(&g.gradient.blocks()[0]));
            assert!(
                close(&host(&found.gradient.blocks()[0]), &expected),
                "{averaging}"
            );
            assert!(
                close(&host(&found.scores), &mean(&|g| host(&g.scores))),
                "{averaging}"
            );
        }
        let model = Surrogate::new(standard(), source.as_ref()).unwrap();
        let report = run(&model, &data, &[("pgd", "steps = 5")], 0.1);
        let facts = report.model.surrogate.unwrap();
        let names: Vec<&str> = facts.models.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["digits-standard", "digits-robust"]);
        assert_eq!(
            facts.name,
            format!("mean {averaging} of digits-standard, digits-robust")
        );
        let pgd = &report.attacks[0];
        // Two restarts are judged at most.
        assert_eq!(pgd.surrogate_backward % 2, 0, "both are counted");
        assert!(pgd.surrogate_backward >= 2 * (pgd.forward - 80), "{pgd:?}");
    }
    let one = Surrogates::new(vec![open("digits-robust")], Averaging::Losses).unwrap();
    let source = one.source().unwrap();
    assert_eq!(
        source.signature().name,
        "digits-robust",
        "one is taken as it is"
    );
    assert!(Surrogates::new(Vec::new(), Averaging::Logits).is_err());
}

#[test]
fn mean_probabilities_are_those_of_the_members() {
    let both = Ensemble::new(vec![standard(), robust()], Average::Probabilities).unwrap();
    let x = digits(7);
    let values: Vec<f32> = x.modalities[0].values.iter().copied().collect();
    let modalities = DecisionModel::signature(standard()).modalities.clone();
    let x = Batch::from_host(modalities, vec![values], &proofmark::device("cpu").unwrap()).unwrap();
    let query = Query::one_per_row(x, &[0; 7]);
    let softmax = |scores: Vec<f32>| -> Vec<f64> {
        let rows = scores.chunks(10).flat_map(|row| {
            let e: Vec<f64> = row.iter().map(|z| f64::from(*z).exp()).collect();
            let sum: f64 = e.iter().sum();
            e.into_iter().map(move |v| v / sum)
        });
        rows.collect()
    };
    let [a, b] = [standard(), robust()].map(|m| softmax(host(&m.scores(&query).unwrap())));
    let mean = host(&both.scores(&query).unwrap());
    for ((a, b), z) in a.iter().zip(&b).zip(mean) {
        assert!((f64::from(z).exp() - (a + b) / 2.0).abs() < 1e-6);
    }
    assert_eq!(Network::cost(&both), 2);
    // An ensemble is attacked as one model, and each forward counts for both members.
    let report = run(&both, &digits(20), &[("fgsm", "")], 0.05);
    assert_eq!(report.attacks[0].forward % 2, 0);
}

#[test]
fn models_that_do_not_agree_are_refused_with_the_difference() {
    let device = proofmark::device("cpu").unwrap();
    let input = |shape: &[usize], high: f32| Modality {
        name: "x".into(),
        kind: Kind::Image,
        shape: shape.to_vec(),
        bounds: Bounds::uniform(0.0, high).unwrap(),
    };
    let flat = |shape: &[usize], high: f32, classes: usize| {
        BurnModel::closure(vec![input(shape, high)], classes, &device, move |x| {
            x[0].clone().slice([0..x[0].dims()[0], 0..classes])
        })
        .unwrap()
        .named("other")
    };
    for (other, word) in [
        (
            flat(&[8, 8], 1.0, 10),
            "take samples of shape [1, 8, 8] and [8, 8]",
        ),
        (flat(&[1, 8, 8], 2.0, 10), "have bounds 0,1 and 0,2"),
        (flat(&[1, 8, 8], 1.0, 9), "have 10 and 9 classes"),
    ] {
        let told = Surrogate::new(standard(), &other).unwrap_err().to_string();
        assert!(
            told.contains("cannot stand for the gradients of `digits-standard`"),
            "{told}"
        );
        assert!(told.contains(word), "{told}");
        let pair: Vec<&dyn Network> = vec![standard(), &other];
        let told = Ensemble::new(pair.clone(), Average::Logits)
            .err()
            .unwrap()
            .to_string();
        assert!(
            told.contains(word) && told.contains("cannot be averaged"),
            "{told}"
        );
        assert!(MeanLoss::new(pair).is_err());
    }
    let guided = Surrogate::new(standard(), robust()).unwrap();
    let told = Surrogate::new(&guided, robust()).unwrap_err().to_string();
    assert!(told.contains("cannot have one itself"), "{told}");
    assert!(Ensemble::<&dyn Network>::new(Vec::new(), Average::Logits).is_err());
}

#[test]
fn scores_of_the_model_are_used_where_it_gives_them() {
    // With the loss of the model itself, a surrogate cannot make APGD keep a worse point: the same run with scores and with
    // decisions only differs.
    let data = digits(30);
    let inputs: Vec<Modality> = data.modalities.iter().map(|c| c.modality.clone()).collect();
    let device = proofmark::device("cpu").unwrap();
    let signature = Signature::new("scoring", inputs.clone(), 10, &device).unwrap();
    let scoring = FromScores::new(signature, move |x, rows| {
        let x = Batch::from_host(inputs.clone().into(), x.to_vec(), &device).unwrap();
        let scores = standard()
            .scores(&Query::one_per_row(x, &vec![0; rows]))
            .unwrap();
        Ok::<_, String>(host(&scores))
    })
    .unwrap();
    let model = Surrogate::new(&scoring, standard()).unwrap();
    let guided = run(&model, &data, &[("apgd", "steps = 20")], 0.08);
    let own = run(standard(), &data, &[("apgd", "steps = 20")], 0.08);
    let outcomes = |r: &Report| -> Vec<_> {
        let one = |s: &proofmark::domain::SampleRecord| (s.runs[0].status, s.runs[0].gauge);
        r.samples.iter().map(one).collect()
    };
    assert_eq!(outcomes(&guided), outcomes(&own));
    assert_eq!(guided.model.gives, Needs::Scores);
}

#[test]
fn admix_runs_on_predicted_labels_and_refuses_one_class() {
    let data = digits(40);
    let attacks = attacks(&[("admix", "steps = 2")]);
    let mut plan = RunPlan::new(standard(), &data, &attacks, linf(0.1));
    plan.labels = Labels::Predicted;
    assert!(plan.run().unwrap().report.worst_case.correct < 40);
    let zeros: Vec<usize> = (0..40)
        .filter(|i| data.labels.as_ref().unwrap()[*i] == 0)
        .collect();
    let data = data.select(&zeros);
    let told = RunPlan::new(standard(), &data, &attacks, linf(0.1)).run();
    let told = told.unwrap_err().to_string();
    assert!(told.contains("two classes"), "{told}");
}
