//! APGD and targeted APGD: exact distances on linear models in every norm, rows whose first loss gives no direction,
//! few classes, random models, and results that do not depend on how rows are batched.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Bool, Device, Tensor, TensorData};
use proofmark_domain::{
    Bounds, Coupling, Epsilon, Kind, Modality, Norm, Observation, RunStatus, Seed,
};
use proofmark_engine::{
    Access, Checkpoint, Criterion, EngineError, Focus, Job, Judge, Outcomes, Silent, Truth,
};
use proofmark_model::{
    BurnModel, DecisionModel, GradientModel, ModelError, Network, Output, Query, Signature,
};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_testkit::JointCoupling;
use proofmark_testkit::linear::Linear;
use proofmark_testkit::masked::{Mask, Masked};
use proofmark_threat::{Budget, Radius, Threat, host, mask};

use crate::common::{Case, broken};

const NORMS: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];

/// L1 with and without larger balls; the other norms ignore the parameter.
fn variants(norm: Norm) -> &'static [&'static str] {
    match norm {
        Norm::L1 => &["large_radii = true", "large_radii = false"],
        _ => &[""],
    }
}

#[test]
fn apgd_breaks_every_row_just_above_the_exact_distance_and_none_below() {
    for (seed, classes) in [(1, 2), (2, 3), (3, 10)] {
        for norm in NORMS {
            let mut case = Case::new(&[20], classes, 40, seed);
            case.target_nearest(norm);
            for table in variants(norm) {
                // With more classes the cross-entropy and the ratio trade the target against the others.
                for (loss, least) in [
                    ("margin", 40),
                    ("dlr", 39),
                    ("ce", if classes == 2 { 40 } else { 25 }),
                ] {
                    let table = format!("loss = \"{loss}\"\n{table}");
                    let above = case.attack("apgd", &table, &case.at(norm, 1.01));
                    let found = broken(&above);
                    assert!(
                        found >= least,
                        "{norm}, {classes} classes, {table}: {found}"
                    );
                }
            }
        }
    }
}

#[test]
fn untargeted_restarts_and_target_classes_need_not_be_told_the_nearest_class() {
    for (seed, classes) in [(1, 2), (2, 3), (3, 10)] {
        for norm in NORMS {
            let case = Case::new(&[20], classes, 40, seed);
            let [above, wider] = [1.02, 1.05].map(|factor| case.at(norm, factor));
            let below = case.at(norm, 0.99);
            for table in variants(norm) {
                let by_class = broken(&case.attack("apgd-t", table, &above));
                // Without larger balls L1 has one restart of one radius per class.
                let least = if table.contains("false") { 39 } else { 40 };
                assert!(
                    by_class >= least,
                    "{norm}, {classes} classes, {table}: {by_class}"
                );
                let restarts = format!("restarts = 10\nloss = \"margin\"\n{table}");
                let found = broken(&case.attack("apgd", &restarts, &wider));
                assert!(found >= 36, "{norm}, {classes} classes, {table}: {found}");
                for id in ["apgd", "apgd-t"] {
                    let none = case.attack(id, table, &below);
                    assert_eq!(broken(&none), 0, "{id} {norm}, {classes} classes");
                }
            }
        }
    }
}

/// Every restart costs its steps and the judge, and with chosen targets the clean scores; there are never more targets
/// than other classes.
#[test]
fn queries_and_targets_follow_the_number_of_classes() {
    for (classes, targets) in [(2, 1), (3, 2), (4, 3), (12, 9)] {
        for norm in NORMS {
            let case = Case::new(&[30], classes, 6, 5);
            let threat = case.at(norm, 0.9);
            let apgd = case.attack("apgd", "steps = 10\nrestarts = 2", &threat);
            let by_class = case.attack("apgd-t", "steps = 10", &threat);
            for (a, t) in apgd.rows.iter().zip(&by_class.rows) {
                assert_eq!((a.queries.forward, a.queries.backward), (2 * 11, 2 * 10));
                let [forward, backward] = [targets * 12, targets * 10];
                assert_eq!((t.queries.forward, t.queries.backward), (forward, backward));
            }
        }
    }
}

#[test]
fn parameters_out_of_range_and_mixed_norms_are_refused() {
    for id in ["apgd", "apgd-t"] {
        for field in ["steps", "restarts", "eot"] {
            let table = format!("{field} = 0").parse().unwrap();
            let error = proofmark_attacks::build(id, &table).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field));
        }
        let case = Case::new(&[4, 4], 2, 3, 1);
        let budget = |m: usize, norm, eps: f64| Budget {
            modality: format!("m{m}"),
            norm,
            radius: Radius::Uniform(Epsilon::new(eps).unwrap()),
            mask: None,
        };
        let check = |second: f64| {
            let budgets = vec![budget(0, Norm::L1, 0.5), budget(1, Norm::Linf, second)];
            let modalities = &case.linear.modalities;
            let threat = Threat::new(modalities, budgets, Coupling::Independent, 3).unwrap();
            let attack = proofmark_attacks::build(id, &toml::Table::new()).unwrap();
            let job = Job::new(&case.samples, &[0], &threat, &Silent);
            attack.check(&job).map_err(|e| e.to_string())
        };
        let error = check(0.1).unwrap_err();
        assert!(
            error.contains("l1 beside linf") && error.contains(id),
            "{error}"
        );
        // An input that may not change has no say.
        assert_eq!(check(0.0), Ok(()));
    }
}

/// Cross-entropy on logits times 1000 has no gradient: its rows change to the margin.
#[test]
fn saturated_cross_entropy_falls_back_to_the_margin() {
    for norm in NORMS {
        let mut case = Case::new(&[20], 3, 40, 2);
        case.target_nearest(norm);
        let mut case = case;
        case.samples.targets = None;
        let model = Masked::new(case.linear_model(), Mask::ScaledLogits);
        let threat = case.at(norm, 1.05);
        let outcomes = case.run_on(
            Access::Gradients(&model),
            "apgd",
            "restarts = 3",
            &threat,
            |_| {},
        );
        assert!(broken(&outcomes) >= 38, "{norm}: {}", broken(&outcomes));
        // A changed row asks once more at that point, and its gradients are not zero.
        let none = case.at(norm, 0.9);
        let outcomes = case.run_on(
            Access::Gradients(&model),
            "apgd",
            "steps = 20",
            &none,
            |_| {},
        );
        let extra = outcomes.rows.iter().filter(|o| o.queries.forward == 22);
        assert!(extra.count() > 30, "{norm}");
        for o in &outcomes.rows {
            assert!(o.queries.forward <= 22 && o.observed.is_empty(), "{o:?}");
        }
    }
}

/// Success is a label below rank three, so that a row may stay where the label is ranked third.
#[derive(Debug)]
struct BelowThird;

impl Criterion for BelowThird {
    fn met(&self, output: &Output, focus: &Focus) -> Result<Tensor<1, Bool>, EngineError> {
        let Output::Scores(scores) = output else {
            return Err(EngineError::NeedsScores);
        };
        let classes = scores.dims()[1];
        let all = host(scores);
        let below = |(z, label): (&[f32], &usize)| z.iter().filter(|v| **v > z[*label]).count() > 2;
        let met: Vec<bool> = (all.chunks(classes).zip(focus.label()))
            .map(below)
            .collect();
        Ok(mask(&met, &scores.device()))
    }

    fn met_by(&self, scores: &[f32], truth: &Truth) -> bool {
        scores.iter().filter(|v| **v > scores[truth.label]).count() > 2
    }
}

/// `AutoAttack` issue 108: the ratio is 1 wherever the label is ranked third.
#[test]
fn a_label_ranked_third_falls_back_to_the_margin() {
    let mut case = Case::new(&[20], 6, 40, 8);
    for i in 0..40 {
        let scores = case.linear.scores(&case.samples.sample(i));
        let mut order: Vec<usize> = (0..6).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        case.samples.labels[i] = order[2];
    }
    let model = case.linear_model();
    let found = |loss: &str| {
        let threat = case.each(Norm::Linf, vec![0.3; 40], None);
        let table = format!("steps = 50\nloss = \"{loss}\"");
        let outcomes = case.run_on(Access::Gradients(&model), "apgd", &table, &threat, |job| {
            job.goal = &BelowThird;
        });
        broken(&outcomes)
    };
    let [dlr, margin] = [found("dlr"), found("margin")];
    assert!(margin >= 15 && dlr + 2 >= margin, "{dlr}, {margin}");
}

/// The runner-up moves with the label: the margin is constant, and only the third class can win.
#[test]
fn a_constant_margin_falls_back_to_the_cross_entropy() {
    let modality = Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![8],
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    };
    let device = Device::flex();
    let model = BurnModel::closure(vec![modality.clone()], 3, &device, |x| {
        let a = x[0].clone().narrow(1, 0, 1);
        Tensor::cat(vec![a.clone() + 1.0, a.clone(), a * -6.0 + 3.0], 1)
    })
    .unwrap();
    let linear = Linear::new(&[8], 3, 0);
    let case = Case::of(linear, vec![vec![0.6; 8 * 20]], vec![0; 20]);
    for norm in NORMS {
        let threat = case.each(norm, vec![0.35; 20], None);
        let outcomes = case.run_on(
            Access::Gradients(&model),
            "apgd",
            "loss = \"margin\"",
            &threat,
            |_| {},
        );
        assert_eq!(broken(&outcomes), 20, "{norm}");
    }
}

/// In a fifth of the draws of each sample, one class wins by far.
struct Noisy(BurnModel);

impl Network for Noisy {
    fn signature(&self) -> &Signature {
        DecisionModel::signature(&self.0)
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let scores = self.0.forward(query)?;
        let [n, classes] = scores.dims();
        let noise: Vec<f32> = (query.key.iter().zip(&query.draw))
            .flat_map(|(sample, draw)| {
                let mut key = StreamKey::new(Seed(1), *sample, Purpose::Draw);
                key.draw = *draw;
                let mut stream = Stream::new(&key);
                let wins = (stream.uniform() < 0.2).then(|| stream.below(classes as u32));
                (0..classes).map(move |c| if wins == Some(c as u32) { 100.0 } else { 0.0 })
            })
            .collect();
        let noise = Tensor::from_data(TensorData::new(noise, [n, classes]), &scores.device());
        Ok(scores + noise)
    }
}

#[test]
fn a_lucky_draw_of_a_random_model_ends_no_search_over_its_mean() {
    let (n, case) = (60, Case::new(&[20], 3, 60, 6));
    let model = Noisy(case.linear_model());
    let judged = |job: &mut Job<'_>| {
        job.judge = Judge {
            draws: 31,
            ..Judge::default()
        };
    };
    let rejected = |outcomes: &Outcomes| {
        let rejected =
            |o: &&proofmark_engine::Outcome| o.observed.contains(&Observation::WitnessRejected);
        outcomes.rows.iter().filter(rejected).count()
    };
    let narrow = case.each(Norm::L2, vec![1e-6; n], None);
    for id in ["apgd", "apgd-t"] {
        // One draw after the other, some row is misclassified and its search ends for nothing.
        let one = case.run_on(
            Access::Gradients(&model),
            id,
            "steps = 5\neot = 1",
            &narrow,
            judged,
        );
        let mean = case.run_on(
            Access::Gradients(&model),
            id,
            "steps = 5\neot = 32",
            &narrow,
            judged,
        );
        assert!(rejected(&one) > 3, "{id}: {}", rejected(&one));
        assert_eq!((rejected(&mean), broken(&mean)), (0, 0), "{id}");
        let tries = if id == "apgd" { 1 } else { 2 };
        for o in &mean.rows {
            assert_eq!(o.queries.backward, tries * 5 * 32);
        }
    }
    let wide = case.at(Norm::L2, 1.5);
    let found = case.run_on(
        Access::Gradients(&model),
        "apgd-t",
        "steps = 20\neot = 16",
        &wide,
        judged,
    );
    assert_eq!(broken(&found), n);
}

#[test]
fn l1_budgets_of_two_inputs_share_one_schedule() {
    let case = Case::new(&[12, 8], 2, 25, 11);
    let eps = [0.3, 0.8];
    for (coupling, exact) in [
        (Coupling::Independent, JointCoupling::Independent),
        (
            Coupling::Shared { q: 2.0 },
            JointCoupling::Shared { q: 2.0 },
        ),
    ] {
        let gauge = |i: usize| {
            let budgets = [(Norm::L1, eps[0]), (Norm::L1, eps[1])];
            let (row, label) = (case.samples.sample(i), case.samples.labels[i]);
            case.linear.joint_gauge(&budgets, exact, &row, label)
        };
        let gauges: Vec<f64> = (0..25).map(|i| gauge(i).unwrap()).collect();
        let found = |factor: f64| {
            let budgets = (0..2)
                .map(|m| Budget {
                    modality: format!("m{m}"),
                    norm: Norm::L1,
                    radius: Radius::PerSample(gauges.iter().map(|g| factor * g * eps[m]).collect()),
                    mask: None,
                })
                .collect();
            let threat = Threat::new(&case.linear.modalities, budgets, coupling, 25).unwrap();
            broken(&case.attack("apgd", "", &threat))
        };
        assert_eq!((found(1.05), found(0.99)), (25, 0), "{coupling:?}");
    }
}

#[test]
fn frozen_features_stay_and_the_others_break_the_row() {
    let case = Case::new(&[20], 3, 30, 4);
    let free: Vec<bool> = (0..20).map(|f| f % 3 != 0).collect();
    for norm in NORMS {
        let eps = case.exact(norm).iter().map(|(d, _)| 3.0 * d).collect();
        let threat = case.each(norm, eps, Some(free.clone()));
        let outcomes = case.attack("apgd", "", &threat);
        assert!(broken(&outcomes) >= 20, "{norm}: {}", broken(&outcomes));
        for o in &outcomes.rows {
            let Some(point) = &o.point else { continue };
            let clean = case.samples.sample(o.row)[0];
            let frozen = (0..20).filter(|f| !free[*f]);
            assert!(frozen.into_iter().all(|f| point.x[0][f] == clean[f]));
        }
    }
}

type Row = (RunStatus, proofmark_domain::QueryCount, Vec<u32>);

fn results(outcomes: &Outcomes) -> Vec<Row> {
    let row = |o: &proofmark_engine::Outcome| {
        let point = o.point.iter().flat_map(|p| p.x.iter().flatten());
        (o.status, o.queries, point.map(|v| v.to_bits()).collect())
    };
    outcomes.rows.iter().map(row).collect()
}

fn with_threads<T: Send>(n: usize, run: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build();
    pool.unwrap().install(run)
}

/// Rows that fall back beside rows that do not, larger balls, and restarts: for any batch and number of threads, and
/// stopped and resumed anywhere.
#[test]
fn results_depend_on_no_other_row_and_on_no_stop() {
    let case = Case::new(&[16], 4, 40, 3);
    let model = Masked::new(case.linear_model(), Mask::ScaledLogits);
    for (id, norm, eps, table) in [
        ("apgd", Norm::L1, 0.4, "steps = 12\nrestarts = 2"),
        ("apgd", Norm::L2, 0.15, "steps = 9\nrestarts = 2"),
        ("apgd-t", Norm::L1, 0.4, "steps = 10\nloss = \"ce\""),
        ("apgd-t", Norm::Linf, 0.04, "steps = 8\neot = 2"),
        ("apgd-mt", Norm::L1, 0.4, "rounds = [[3, 4], [1, 6]]"),
        (
            "apgd-mt",
            Norm::Linf,
            0.04,
            "rounds = [[3, 3], [2, 4]]\neot = 2",
        ),
    ] {
        let threat = case.each(norm, vec![eps; 40], None);
        let run = |change: &(dyn Fn(&mut Job<'_>) + Sync)| {
            case.run_on(Access::Gradients(&model), id, table, &threat, |job| {
                change(job);
            })
        };
        let whole = results(&with_threads(1, || run(&|job| job.batch = 64)));
        let statuses = |of: RunStatus| whole.iter().filter(|r| r.0 == of).count();
        let both = statuses(RunStatus::Broken) > 3 && statuses(RunStatus::Robust) > 3;
        assert!(both, "{id} {norm}: {}", statuses(RunStatus::Broken));
        for (batch, threads) in [(64, 3), (7, 2), (1, 1)] {
            let other = with_threads(threads, || results(&run(&|job| job.batch = batch)));
            assert_eq!(other, whole, "{id} {norm}, batch {batch}");
        }
        for stop_at in [0, 1, 4, 7, 11, 15] {
            let stopped = stopped_at(&case, &model, (id, table), &threat, stop_at);
            let Some(checkpoint) = stopped.checkpoint else {
                continue;
            };
            let read = Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
            let rows: Vec<usize> = (0..40).collect();
            let mut job = Job::new(&case.samples, &rows, &threat, &Silent);
            job.resume = Some(&read);
            let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
            let rest = attack.run(Access::Gradients(&model), &job).unwrap();
            assert_eq!(results(&rest), whole, "{id} {norm}, stopped at {stop_at}");
        }
    }
}

fn stopped_at(
    case: &Case,
    model: &dyn GradientModel,
    (id, table): (&str, &str),
    threat: &Threat,
    stop_at: usize,
) -> Outcomes {
    let asked = AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) >= stop_at;
    let rows: Vec<usize> = (0..40).collect();
    let mut job = Job::new(&case.samples, &rows, threat, &Silent);
    job.stop = &stop;
    let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
    attack.run(Access::Gradients(model), &job).unwrap()
}

/// Gives scores that are NaN for every fifth sample.
struct Spoilt(BurnModel);

impl Network for Spoilt {
    fn signature(&self) -> &Signature {
        DecisionModel::signature(&self.0)
    }
    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let scores = self.0.forward(query)?;
        let spoilt: Vec<bool> = query.key.iter().map(|k| k % 5 == 2).collect();
        let spoilt = mask(&spoilt, &scores.device().inner());
        let shape = scores.dims();
        let all = spoilt.unsqueeze_dim::<2>(1).expand(shape);
        Ok(scores.mask_fill(all, f32::NAN))
    }
}

#[test]
fn scores_that_are_not_finite_spoil_no_other_row() {
    let case = Case::new(&[16], 4, 30, 3);
    let linear = case.linear_model();
    let spoilt = Spoilt(case.linear_model());
    for norm in NORMS {
        let threat = case.at(norm, 1.02);
        let whole = results(&case.run_on(Access::Gradients(&linear), "apgd", "", &threat, |_| {}));
        let others = results(&case.run_on(Access::Gradients(&spoilt), "apgd", "", &threat, |_| {}));
        for (i, (a, b)) in whole.iter().zip(&others).enumerate() {
            if i % 5 == 2 {
                assert_eq!(b.0, RunStatus::Invalid, "{norm} {i}");
            } else {
                assert_eq!(a, b, "{norm} {i}");
            }
        }
    }
}
