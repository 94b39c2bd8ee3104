//! Certificates beside attacks: attacked >= true >= certified, per sample; closed forms; refusals.
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use proofmark::attacks::build;
use proofmark::data::Options;
use proofmark::domain::{
    Bounds, CertificateStatus, Certifies, Epsilon, Kind, Modality, Norm, Report, RunStatus, Shard,
};
use proofmark::engine::Attack;
use proofmark::kernels::{Builder, Map, Program};
use proofmark::{
    Access, BurnModel, Certificate, Dataset, FromDecisions, ModelSource, RunPlan, Signature,
    Smoothing, ThreatPlan,
};
use proofmark_testkit::linear::Linear;

fn device() -> proofmark::burn::tensor::Device {
    proofmark::device("cpu").unwrap()
}

fn digits(n: usize) -> Dataset {
    proofmark::open("digits")
        .unwrap()
        .limit(n, Default::default())
}

fn budget(norm: Norm, eps: f64) -> ThreatPlan {
    ThreatPlan::new(norm, Epsilon::new(eps).unwrap())
}

fn attack(id: &str, table: &str) -> Box<dyn Attack> {
    build(id, &table.parse().unwrap()).unwrap()
}

/// A table of these samples, labelled by the model, as the command line would read it.
fn set(linear: &Linear, n: usize) -> Dataset {
    let (values, labels) = linear.samples(n, 5);
    let width = linear.modalities[0].features();
    let mut csv: Vec<String> = vec![
        (0..width)
            .map(|i| format!("f{i}"))
            .chain(["label".to_owned()])
            .collect::<Vec<_>>()
            .join(","),
    ];
    for (row, label) in values[0].chunks(width).zip(labels) {
        let mut cells: Vec<String> = row.iter().map(ToString::to_string).collect();
        cells.push(label.to_string());
        csv.push(cells.join(","));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    std::fs::write(&path, csv.join("\n")).unwrap();
    let mut options = Options::default();
    options.bounds = Some(Bounds::uniform(0.0, 1.0).unwrap());
    proofmark::data::open(&path.display().to_string(), &options).unwrap()
}

/// The distance to the nearest other class, without bounds: the margin divided by the dual norm of the weights.
fn distance(linear: &Linear, row: &[f32], label: usize, dual: fn(&[f64]) -> f64) -> f64 {
    let scores = linear.scores(&[row]);
    let others = (0..linear.classes).filter(|c| *c != label);
    let each = others.map(|c| {
        let w: Vec<f64> = linear.weights[0]
            .iter()
            .map(|w| f64::from(w[label]) - f64::from(w[c]))
            .collect();
        (scores[label] - scores[c]) / dual(&w)
    });
    each.fold(f64::INFINITY, f64::min)
}

fn program(linear: &Linear, factor: f32) -> Program {
    let (width, classes) = (linear.modalities[0].features(), linear.classes);
    let mut net = Builder::new(Map::new(width, 1, 1)).unwrap();
    let x = net.input();
    let mut weights = Vec::new();
    for c in 0..classes {
        weights.extend(linear.weights[0].iter().map(|w| factor * w[c]));
    }
    let scores = net.dense(x, weights, vec![]).unwrap();
    Program::new(net, scores)
}

fn certified(report: &Report, key: &str) -> Vec<bool> {
    let at = report.certified.iter().position(|c| c.meta.key == key);
    let at = at.unwrap_or_else(|| panic!("no certificate `{key}`"));
    let is = |s: &proofmark::domain::SampleRecord| {
        s.certificates[at].status == CertificateStatus::Certified
    };
    report.samples.iter().map(is).collect()
}

/// With more draws the radius rises to the distance to the boundary, and never exceeds it but with probability alpha.
#[test]
fn the_radius_of_a_linear_model_tends_to_its_distance() {
    let linear = Linear::new(&[3], 2, 4);
    let data = set(&linear, 12);
    let own = linear.clone();
    let signature = Signature::new("linear", linear.modalities.clone(), 2, &device()).unwrap();
    let decides = move |x: &[Vec<f32>], _: usize| -> Result<Vec<usize>, String> {
        let decide = |row: &[f32]| {
            let scores = own.scores(&[row]);
            usize::from(scores[1] > scores[0])
        };
        Ok(x[0].chunks(3).map(decide).collect())
    };
    // A model that gives decisions and nothing else.
    let model = FromDecisions::new(signature, decides).unwrap();
    let l2 = |w: &[f64]| w.iter().map(|v| v * v).sum::<f64>().sqrt();
    let (values, labels) = linear.samples(12, 5);
    let exact: Vec<f64> = values[0]
        .chunks(3)
        .zip(&labels)
        .map(|(row, label)| distance(&linear, row, *label, l2))
        .collect();
    let mut shortfall = Vec::new();
    for n in [200, 2_000, 40_000] {
        let smoothing = Smoothing {
            n,
            ..Smoothing::new(0.25)
        };
        let certificates = [Certificate::Smoothing(smoothing)];
        let mut plan = RunPlan::new(&model, &data, &[], vec![budget(Norm::L2, 0.01)]);
        plan.certificates = &certificates;
        let report = plan.run().unwrap().report;
        assert_eq!(report.certified[0].meta.certifies, Certifies::SmoothedModel);
        let mut worst = 0f64;
        for (sample, exact) in report.samples.iter().zip(&exact) {
            let outcome = &sample.certificates[0];
            let radius = outcome.radius.unwrap_or(0.0);
            assert!(radius <= *exact, "{radius} beyond {exact}");
            // All draws agree beyond four standard deviations: the number of draws limits the radius.
            if *exact < 0.6 {
                worst = worst.max(exact - radius);
            }
        }
        shortfall.push(worst);
    }
    assert!(shortfall.is_sorted_by(|a, b| a > b), "{shortfall:?}");
    assert!(shortfall[2] < 0.03, "{shortfall:?}");
}

#[test]
fn interval_bounds_of_a_linear_model_are_its_distance() {
    let linear = Linear::new(&[6], 2, 9);
    let data = set(&linear, 20);
    let stated = linear.clone();
    let model = linear
        .model(&device())
        .unwrap()
        .with_program(move || Ok(program(&stated, 1.0)));
    let l1 = |w: &[f64]| w.iter().map(|v| v.abs()).sum::<f64>();
    let (values, labels) = linear.samples(20, 5);
    for (i, (row, label)) in values[0].chunks(6).zip(&labels).enumerate() {
        let exact = distance(&linear, row, *label, l1);
        // The bounds 0 and 1 only cut the box, so that the distance inside them is no smaller.
        for (factor, within) in [(0.99, true), (0.5, true)] {
            let certificates = [Certificate::Interval, Certificate::Crown];
            let data = data.select(&[i]);
            let mut plan =
                RunPlan::new(&model, &data, &[], vec![budget(Norm::Linf, exact * factor)]);
            plan.certificates = &certificates;
            let report = plan.run().unwrap().report;
            for c in &report.certified {
                assert_eq!(
                    c.certified == 1,
                    within,
                    "sample {i}: {} at {factor}",
                    c.meta.key
                );
            }
        }
    }
    // Above the distance with room inside the bounds nothing is certified: the attack that proves it is in the same report.
    let certificates = [Certificate::Interval];
    let attacks = [attack("pgd", "")];
    let mut plan = RunPlan::new(
        &model,
        &data,
        &attacks,
        vec![budget(Norm::Linf, 0.05), budget(Norm::Linf, 0.3)],
    );
    plan.certificates = &certificates;
    let report = plan.run().unwrap().report;
    for (eps, sample) in [0.05, 0.3]
        .iter()
        .flat_map(|e| report.samples.iter().map(move |s| (e, s)))
    {
        let at = report
            .certified
            .iter()
            .position(|c| c.meta.threat.eps == *eps)
            .unwrap();
        let run = report
            .attacks
            .iter()
            .position(|a| {
                a.id == "pgd" && a.threat.eps == *eps && a.role == proofmark::domain::Role::Attack
            })
            .unwrap();
        let is_certified = sample.certificates[at].status == CertificateStatus::Certified;
        let is_broken = sample.runs[run].status == RunStatus::Broken;
        // A linear model has no gap between the two.
        assert!(is_certified != is_broken, "sample {} at {eps}", sample.id);
    }
}

#[test]
fn what_is_certified_is_never_broken_and_lines_certify_more_than_intervals() {
    let data = digits(40);
    let attacks = [attack("fgsm", ""), attack("pgd", "")];
    let budgets = [0.005, 0.02, 0.05];
    let certificates = [Certificate::Interval, Certificate::Crown];
    for name in ["digits-standard", "digits-robust"] {
        let model = proofmark::model(name, &device()).unwrap();
        let threats = budgets.iter().map(|e| budget(Norm::Linf, *e)).collect();
        let mut plan = RunPlan::new(&model, &data, &attacks, threats);
        plan.certificates = &certificates;
        let report = plan.run().unwrap().report;
        let mut counts = Vec::new();
        for eps in budgets {
            let interval = certified(&report, &format!("interval@linf:{eps}"));
            let crown = certified(&report, &format!("crown@linf:{eps}"));
            for (i, sample) in report.samples.iter().enumerate() {
                assert!(
                    !interval[i] || crown[i],
                    "{name}: sample {} at {eps}",
                    sample.id
                );
                for (run, outcome) in report.attacks.iter().zip(&sample.runs) {
                    let inside = run.role.counts() // not the other heads of what was planted
                        && run.threat.norm == Norm::Linf
                        && run.threat.eps <= eps;
                    let broken = inside && outcome.status == RunStatus::Broken;
                    assert!(
                        !(crown[i] && broken),
                        "{name}: sample {} at {eps}",
                        sample.id
                    );
                }
            }
            counts.push(crown.iter().filter(|c| **c).count());
        }
        assert!(counts[0] >= 30, "{name}: {counts:?} of 40 certified");
        assert!(counts.is_sorted_by(|a, b| a >= b), "{name}: {counts:?}");
        for (c, p) in report.certified.iter().flat_map(|c| {
            let same = report.curve.iter().filter(|p| p.eps == c.meta.threat.eps);
            same.map(move |p| (c, p))
        }) {
            assert!(c.certified <= p.correct, "{name}: {}", c.meta.key);
        }
    }
}

/// The same network as a Burn module and as an ONNX file, which has a softmax at its end, is certified alike.
#[test]
fn an_onnx_file_is_certified_like_the_module_it_came_from() {
    let data = digits(20);
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../datasets/digits/digits-robust-softmax.onnx"
    );
    let file = ModelSource::new(path).open(&data, &device()).unwrap();
    let module = proofmark::model("digits-robust", &device()).unwrap();
    let certificates = [Certificate::Crown];
    let margins = |model: Access<'_>| -> Vec<f64> {
        let mut plan = RunPlan::new(model, &data, &[], vec![budget(Norm::Linf, 0.01)]);
        plan.certificates = &certificates;
        let report = plan.run().unwrap().report;
        let margin = |s: &proofmark::domain::SampleRecord| s.certificates[0].margin.unwrap_or(-1.0);
        report.samples.iter().map(margin).collect()
    };
    let (a, b) = (margins((&*file.model).into()), margins((&module).into()));
    assert_eq!(a.len(), 20);
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() < 1e-3 * (1.0 + b.abs()), "{a} and {b}");
    }
}

/// The network that is bounded begins with the preprocessing: eps stays in data units.
#[test]
fn preprocessing_is_part_of_what_is_certified() {
    let linear = Linear::new(&[4], 2, 3);
    let data = set(&linear, 10);
    let stated = linear.clone();
    let inner = linear
        .model(&device())
        .unwrap()
        .with_program(move || Ok(program(&stated, 1.0)));
    let (scale, mean, std) = (2.0, [0.1, 0.2, 0.3, 0.4], [1.0, 0.5, 2.0, 1.5]);
    let model = proofmark::models::wrap::Normalise::new(inner, scale, &mean, &std).unwrap();
    let certificates = [Certificate::Interval];
    let attacks = [attack("pgd", "")];
    let mut plan = RunPlan::new(&model, &data, &attacks, vec![budget(Norm::Linf, 0.04)]);
    plan.certificates = &certificates;
    let report = plan.run().unwrap().report;
    let mut both = [0, 0];
    for sample in report.samples.iter().filter(|s| s.clean_correct) {
        let is_certified = sample.certificates[0].status == CertificateStatus::Certified;
        assert!(
            is_certified != sample.broken_by.is_some(),
            "sample {}",
            sample.id
        );
        both[usize::from(is_certified)] += 1;
    }
    assert!(both[0] + both[1] > 4, "{both:?}");
}

#[test]
fn operations_that_are_not_those_of_the_model_are_refused() {
    let linear = Linear::new(&[4], 3, 3);
    let data = set(&linear, 10);
    let stated = linear.clone();
    let model = linear
        .model(&device())
        .unwrap()
        .with_program(move || Ok(program(&stated, 1.01)));
    let certificates = [Certificate::Interval];
    let mut plan = RunPlan::new(&model, &data, &[], vec![budget(Norm::Linf, 0.01)]);
    plan.certificates = &certificates;
    let error = plan.run().unwrap_err().to_string();
    assert!(
        error.starts_with("contradiction: model `linear`: score "),
        "{error}"
    );
}

#[test]
fn certificates_that_cannot_be_given_are_refused_before_the_first_query() {
    let data = digits(5);
    let model = proofmark::model("digits-robust", &device()).unwrap();
    let smoothing = Certificate::Smoothing(Smoothing::new(0.1));
    let refused = |model: Access<'_>, certificate: &Certificate, threat: ThreatPlan| {
        let certificates = [certificate.clone()];
        let mut plan = RunPlan::new(model, &data, &[], vec![threat]);
        plan.certificates = &certificates;
        plan.run().unwrap_err().to_string()
    };
    let e = refused(
        (&model).into(),
        &Certificate::Interval,
        budget(Norm::L2, 0.1),
    );
    assert!(
        e.contains("`interval`: is about linf budgets, and this one is l2 0.1"),
        "{e}"
    );
    let e = refused((&model).into(), &smoothing, budget(Norm::Linf, 0.1));
    assert!(e.contains("`smoothing`: is about l2 budgets"), "{e}");

    let image = Modality {
        name: "image".into(),
        kind: Kind::Image,
        shape: vec![1, 8, 8],
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    };
    let closure = BurnModel::closure(vec![image], 10, &device(), |x| {
        x[0].clone().slice([0..x[0].dims()[0], 0..10])
    })
    .unwrap();
    let e = refused(
        (&closure).into(),
        &Certificate::Crown,
        budget(Norm::Linf, 0.1),
    );
    assert!(
        e.contains("model `closure` has no bounds: its operations are not known"),
        "{e}"
    );

    let wrong = |table: &str| {
        Certificate::build("smoothing", &table.parse().unwrap())
            .unwrap_err()
            .to_string()
    };
    for (table, expected) in [
        ("", "missing field `sigma`"),
        ("sigma = 0", "sigma = 0; expected a number above 0"),
        ("sigma = nan", "sigma = NaN"),
        ("sigma = 1\nalpha = 0", "alpha = 0; expected above 0"),
        ("sigma = 1\nn = 0", "n = 0; expected 1 to"),
        ("sigma = 1\nsteps = 2", "unknown field `steps`"),
    ] {
        assert!(wrong(table).contains(expected), "{}", wrong(table));
    }
    let e = Certificate::build("ibp", &Default::default())
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("expected one of interval, crown, smoothing"),
        "{e}"
    );
}

/// Votes depend on the sample alone: not on batch, threads or shards.
#[test]
fn votes_are_the_same_for_any_batch_thread_count_and_shard() {
    let data = digits(12);
    let model = proofmark::model("digits-robust", &device()).unwrap();
    let smoothing = Smoothing {
        n: 300,
        n0: 20,
        ..Smoothing::new(0.2)
    };
    let certificates = [
        Certificate::Smoothing(smoothing),
        Certificate::Smoothing(Smoothing {
            n: 50,
            ..Smoothing::new(0.4)
        }),
    ];
    let run = |batch: usize, threads: usize, shard: Option<Shard>| {
        let pool = pool_of(threads);
        pool.install(|| {
            let mut plan = RunPlan::new(
                &model,
                &data,
                &[],
                vec![budget(Norm::L2, 0.1), budget(Norm::L2, 0.3)],
            );
            plan.certificates = &certificates;
            plan.settings.batch = batch;
            plan.shard = shard;
            plan.run().unwrap().report
        })
    };
    let whole = run(64, 2, None);
    assert_eq!(whole.certified.len(), 4);
    assert!(whole.certified[0].certified > 6, "{:?}", whole.certified[0]);
    assert!(whole.certified[1].certified <= whole.certified[0].certified);
    assert_eq!(whole.certified[2].meta.key, "smoothing@l2:0.1#2");
    assert_eq!(run(7, 1, None).samples, whole.samples);
    let parts = (0..3)
        .map(|index| run(16, 2, Some(Shard { index, count: 3 })))
        .collect();
    let merged = proofmark::policy::merge(parts).unwrap();
    assert_eq!(merged.samples, whole.samples);
    for (a, b) in merged.certified.iter().zip(&whole.certified) {
        assert_eq!(
            (a.certified, a.n, a.ci95, &a.meta.key),
            (b.certified, b.n, b.ci95, &b.meta.key)
        );
    }
}

fn pool_of(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

#[test]
fn a_run_that_is_stopped_certifies_nothing_and_is_not_finished() {
    let data = digits(6);
    let model = proofmark::model("digits-robust", &device()).unwrap();
    let certificates = [Certificate::Interval];
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 4;
    let mut plan = RunPlan::new(&model, &data, &[], vec![budget(Norm::Linf, 0.01)]);
    plan.certificates = &certificates;
    plan.stop = &stop;
    let report = plan.run().unwrap().report;
    assert!(report.certified[0].stopped > 0);
    assert!(!RunPlan::finished(&report));
}

/// A model that fails while votes are counted is an error that names it.
#[test]
fn a_model_that_fails_under_noise_is_named() {
    let linear = Linear::new(&[3], 2, 4);
    let data = set(&linear, 2);
    let signature = Signature::new("picky", linear.modalities.clone(), 2, &device()).unwrap();
    let decides = |x: &[Vec<f32>], n: usize| -> Result<Vec<usize>, String> {
        match x[0].iter().find(|v| !(0.0..=1.0).contains(*v)) {
            Some(v) => Err(format!("{v} is outside 0 to 1")),
            None => Ok(vec![0; n]),
        }
    };
    let model = FromDecisions::new(signature, decides).unwrap();
    let certificates = [Certificate::Smoothing(Smoothing::new(3.0))];
    let mut plan = RunPlan::new(&model, &data, &[], vec![budget(Norm::L2, 0.1)]);
    plan.certificates = &certificates;
    let error = plan.run().unwrap_err();
    assert!(error.to_string().contains("picky"), "{error}");
}

/// Networks of the collection on real images: what is certified is not broken, and something is certified.
#[test]
fn networks_of_the_collection_are_certified_soundly() {
    let Some(root) = proofmark_testkit::shared("") else {
        eprintln!("SKIPPED: no ../shared/data (or $PROOFMARK_DATA)");
        return;
    };
    let images = root.join("datasets/mnist/t10k-2000-images-idx3-ubyte");
    let data = proofmark::open(&images.display().to_string()).unwrap();
    let data = data.limit(10, Default::default());
    let attacks = [attack("pgd", "")];
    for (file, eps, least) in [
        ("marabou_mnist5x20_leaky_relu.onnx", 0.005, 5),
        ("marabou_robust_sigmoid_linear.onnx", 0.005, 5),
        ("marabou_cnn_max_mnist3.onnx", 0.002, 5),
    ] {
        let path = root.join("models").join(file);
        let opened = ModelSource::new(path.display().to_string())
            .open(&data, &device())
            .unwrap();
        let certificates = [Certificate::Crown];
        let mut plan = RunPlan::new(
            &*opened.model,
            &data,
            &attacks,
            vec![budget(Norm::Linf, eps)],
        );
        plan.certificates = &certificates;
        let report = plan.run().unwrap().report;
        let c = &report.certified[0];
        assert!(
            c.certified >= least && c.certified <= report.worst_case.correct,
            "{file}: {c:?}"
        );
    }
}
