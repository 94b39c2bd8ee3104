//! FAB and `DeepFool` on linear models, whose exact distances are known, and on models that mislead them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Coupling, Epsilon, Norm, Observation, RunStatus, Seed};
use proofmark_engine::{Access, Checkpoint, Job, Outcome, Outcomes, Silent};
use proofmark_model::{
    BurnModel, DecisionModel, ModelError, Network, Query, ScoreModel, Signature,
};
use proofmark_stats::random::{Purpose, Stream, StreamKey};
use proofmark_testkit::JointCoupling;
use proofmark_testkit::linear::Linear;
use proofmark_threat::{Batch, Budget, Radius, Threat, host};

use crate::common::{Case, gauge};

fn gauges(outcomes: &Outcomes) -> Vec<f64> {
    outcomes.rows.iter().map(gauge).collect()
}

const ALL: [(&str, &[Norm]); 3] = [
    ("fab", &[Norm::Linf, Norm::L2, Norm::L1]),
    ("fab-t", &[Norm::Linf, Norm::L2, Norm::L1]),
    ("deepfool", &[Norm::Linf, Norm::L2]),
];

fn largest(all: &[f64]) -> f64 {
    all.iter().copied().fold(0.0, f64::max)
}

#[test]
fn every_row_ends_within_a_five_hundredth_of_the_exact_distance() {
    for (id, norms) in ALL {
        for (seed, classes) in [(1, 2), (2, 3), (3, 10)] {
            for norm in norms {
                let mut case = Case::new(&[20], classes, 40, seed);
                let threat = case.at(*norm, 1.0);
                let free = gauges(&case.attack(id, "steps = 20", &threat));
                // Scores are `f32`: the nearer the boundary, the larger the share of rounding in a distance.
                assert!(
                    free.iter().all(|g| *g >= 1.0 - 1e-4),
                    "{id} {norm} {free:?}"
                );
                assert!(largest(&free) <= 1.002, "{id} {norm} {classes}: {free:?}");
                case.samples.targets = Some(case.exact(*norm).iter().map(|(_, c)| *c).collect());
                let told = gauges(&case.attack(id, "steps = 20", &threat));
                assert!(largest(&told) <= 1.002, "{id} {norm} {classes}: {told:?}");
            }
        }
    }
}

/// The budget only scales the result: each search is the same for any epsilon.
#[test]
fn the_budget_plays_no_part() {
    let case = Case::new(&[20], 6, 30, 8);
    for (id, norms) in ALL {
        for norm in norms {
            let found = |eps: f64| gauges(&case.attack(id, "steps = 10", &case.within(*norm, eps)));
            for (small, large) in found(0.01).into_iter().zip(found(1.0)) {
                assert!((small / large / 100.0 - 1.0).abs() < 1e-4, "{id} {norm}");
            }
        }
    }
}

/// A model with two classes has one boundary, which is flat: each step is known in advance.
#[test]
fn steps_equal_those_computed_by_hand() {
    let mut case = Case::new(&[20], 2, 30, 4);
    // Far from the bounds.
    for v in &mut case.samples.values[0] {
        *v = 0.4 + 0.2 * *v;
    }
    let scores = |i: usize| case.linear.scores(&case.samples.sample(i));
    let labels = (0..30).map(|i| usize::from(scores(i)[1] > scores(i)[0]));
    case.samples.labels = labels.collect();
    // Rounding of scores is a small share of these distances, and no bound is near.
    let near: Vec<usize> = (0..30)
        .filter(|i| (0.005..0.05).contains(&case.exact(Norm::Linf)[*i].0))
        .collect();
    assert!(near.len() > 10);
    case.rows = (0..30).collect();
    for norm in [Norm::Linf, Norm::L2] {
        let threat = case.at(norm, 1.0);
        let all = |id: &str, parameters: &str, expected: f64| {
            let found = gauges(&case.attack(id, &format!("bisections = 0\n{parameters}"), &threat));
            for i in &near {
                let by = (found[*i] - expected).abs();
                assert!(
                    by < 3e-4,
                    "{id} {norm} {parameters}: {} {expected}",
                    found[*i]
                );
            }
        };
        for id in ["fab", "fab-t"] {
            // One step from the clean sample: beyond the boundary by 5 %.
            all(id, "steps = 1", 1.05);
            all(id, "steps = 1\neta = 1.2", 1.2);
            // The second begins at 0.9 · 1.05 = 0.945, goes 1.05 · 0.055 on, and is pulled by 0.055 / 1.055 to 1.05.
            all(id, "steps = 2", 1.005_213);
            // By at most 0.01.
            all(id, "steps = 2\nalpha_max = 0.01", 1.003_223);
            // From 0.5 · 1.05 = 0.525, by 0.1 (the maximum).
            all(id, "steps = 2\nbeta = 0.5", 1.026_375);
        }
        all("deepfool", "", 1.02);
        all("deepfool", "overshoot = 0.5", 1.5);
    }
}

#[test]
fn queries_are_those_documented() {
    let case = Case::new(&[20], 6, 20, 5);
    let threat = case.within(Norm::L2, 0.5);
    let queries = |id: &str, parameters: &str| {
        let o = &case.attack(id, parameters, &threat).rows[0];
        (o.queries.forward, o.queries.backward)
    };
    // The scores at the start, the steps, the last bisections, and the judge.
    let (fab, per_class) = (
        "steps = 7\nrestarts = 2\ncandidates = 3",
        "steps = 7\ntargets = 3",
    );
    assert_eq!(queries("fab", fab), (2 * (1 + 7 * 4 + 20 + 1), 2 * 7 * 3));
    assert_eq!(
        queries("fab-t", per_class),
        (3 * (1 + 7 * 2 + 20 + 1), 3 * 7)
    );
    // No more classes than there are.
    assert_eq!(queries("fab-t", "steps = 7").1, 5 * 7);
    assert_eq!(queries("fab", "steps = 7").1, 5 * 7);
    assert_eq!(
        queries("deepfool", "candidates = 3\nbisections = 4"),
        (1 + 4 + 8 + 1, 3)
    );
}

type Bits = (RunStatus, proofmark_domain::QueryCount, Option<u64>);

fn bits(outcomes: &Outcomes) -> Vec<Bits> {
    let row = |o: &Outcome| {
        let gauge = o.point.as_ref().map(|p| p.gauge.to_bits());
        (o.status, o.queries, gauge)
    };
    outcomes.rows.iter().map(row).collect()
}

#[test]
fn batches_threads_and_stops_change_nothing() {
    let case = Case::new(&[20], 6, 30, 5);
    for (id, parameters) in [
        ("fab", "steps = 6\nrestarts = 2\ncandidates = 3"),
        ("fab-t", "steps = 6\ntargets = 2\nrestarts = 2"),
        ("deepfool", "overshoot = 0.0"),
    ] {
        let threat = case.within(Norm::L2, 0.4);
        let whole = bits(&case.attack(id, parameters, &threat));
        for (batch, compaction, threads) in [(1, true, 1), (5, true, 2), (64, false, 2)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let again = pool.unwrap().install(|| {
                case.run(id, parameters, &threat, |job| {
                    (job.batch, job.compaction) = (batch, compaction);
                })
            });
            assert_eq!(bits(&again), whole, "{id} {batch} {compaction} {threads}");
        }
        let alone = [17];
        let one = case.run(id, parameters, &threat, |job| {
            job.rows = &*Box::leak(Box::new(alone));
        });
        assert_eq!(bits(&one)[0], whole[17], "{id}");
        for stop_at in [2, 8, 15] {
            let asked: &AtomicUsize = Box::leak(Box::new(AtomicUsize::new(0)));
            let stop: &(dyn Fn() -> bool + Sync) = Box::leak(Box::new(move || {
                asked.fetch_add(1, Ordering::Relaxed) >= stop_at
            }));
            let part = case.run(id, parameters, &threat, |job| {
                (job.batch, job.stop) = (11, stop);
            });
            let checkpoint = part.checkpoint.expect("it was stopped");
            let saved: &Checkpoint = Box::leak(Box::new(
                Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap(),
            ));
            let rest = case.run(id, parameters, &threat, |job| job.resume = Some(saved));
            assert_eq!(bits(&rest), whole, "{id} stopped at {stop_at}");
        }
    }
}

#[test]
fn masked_features_never_move() {
    let case = Case::new(&[24], 4, 20, 5);
    let mask: Vec<bool> = (0..24).map(|f| f % 3 != 0).collect();
    for (id, norms) in ALL {
        for norm in norms {
            let radius = Radius::Uniform(Epsilon::new(0.5).unwrap());
            let threat = case.threat(*norm, radius, Some(mask.clone()));
            let outcomes = case.attack(id, "steps = 15", &threat);
            let found = outcomes.rows.iter().filter(|o| o.point.is_some()).count();
            assert!(found >= 15, "{id} {norm}: {found}");
            for o in &outcomes.rows {
                let Some(point) = &o.point else { continue };
                let x0 = case.samples.sample(o.row)[0];
                for f in (0..24).filter(|f| !mask[*f]) {
                    assert_eq!(point.x[0][f].to_bits(), x0[f].to_bits());
                }
            }
        }
    }
}

fn joint(case: &Case, norms: [Norm; 2], eps: [f64; 2], coupling: Coupling) -> Threat {
    let budgets = (0..2)
        .map(|m| Budget {
            modality: format!("m{m}"),
            norm: norms[m],
            radius: Radius::Uniform(Epsilon::new(eps[m]).unwrap()),
            mask: None,
        })
        .collect();
    let n = case.samples.len();
    Threat::new(&case.linear.modalities, budgets, coupling, n).unwrap()
}

#[test]
fn two_inputs_reach_the_exact_gauge_of_independent_budgets() {
    let case = Case::new(&[12, 8], 4, 25, 11);
    for (norms, eps) in [
        ([Norm::Linf, Norm::L2], [0.1, 0.4]),
        ([Norm::L2, Norm::L1], [0.3, 0.8]),
        ([Norm::Linf, Norm::Linf], [0.05, 0.2]),
    ] {
        let threat = joint(&case, norms, eps, Coupling::Independent);
        for (id, supported) in ALL {
            if norms.iter().any(|n| !supported.contains(n)) {
                continue;
            }
            for o in &case.attack(id, "steps = 20", &threat).rows {
                let budgets = [(norms[0], eps[0]), (norms[1], eps[1])];
                let (row, label) = (case.samples.sample(o.row), case.samples.labels[o.row]);
                let coupling = JointCoupling::Independent;
                let exact = case.linear.joint_gauge(&budgets, coupling, &row, label);
                let ratio = gauge(o) / exact.unwrap();
                assert!((0.9999..=1.002).contains(&ratio), "{id} {norms:?}: {ratio}");
            }
        }
    }
    let shared = joint(&case, [Norm::L2; 2], [0.3; 2], Coupling::Shared { q: 2.0 });
    for (id, _) in ALL {
        let attack = proofmark_attacks::build(id, &toml::Table::new()).unwrap();
        let job = Job::new(&case.samples, &case.rows, &shared, &Silent);
        let error = attack.check(&job).unwrap_err().to_string();
        assert!(error.contains("independent budgets"), "{error}");
    }
}

/// A network around a linear model, which changes its scores.
struct Changed<F>(BurnModel, F);

impl<F> Network for Changed<F>
where
    F: Fn(&Query, Tensor<2>) -> Tensor<2> + Send + Sync,
{
    fn signature(&self) -> &Signature {
        DecisionModel::signature(&self.0)
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let scores = self.0.forward(query)?;
        Ok((self.1)(query, scores))
    }
}

fn on<F>(case: &Case, model: &Changed<F>, id: &str, parameters: &str, threat: &Threat) -> Outcomes
where
    F: Fn(&Query, Tensor<2>) -> Tensor<2> + Send + Sync,
{
    let attack = proofmark_attacks::build(id, &parameters.parse().unwrap()).unwrap();
    let job = Job::new(&case.samples, &case.rows, threat, &Silent);
    attack.run(Access::Gradients(model), &job).unwrap()
}

/// Scores in whole steps with straight-through gradients, as int8 models have: many samples have two equal scores.
#[test]
fn rounded_scores_are_left_behind() {
    let mut case = Case::new(&[4], 2, 60, 3);
    let rounded = |scores: Tensor<2>| {
        let by = ((scores.clone() / 4.0).round() * 4.0 - scores.clone()).detach();
        scores + by
    };
    let model = Changed(case.linear_model(), move |_: &Query, scores| {
        rounded(scores)
    });
    let mut ties = 0;
    for i in 0..60 {
        let scores = case.linear.scores(&case.samples.sample(i));
        let steps: Vec<f64> = scores.iter().map(|s| (s / 4.0).round()).collect();
        case.samples.labels[i] = usize::from(steps[1] > steps[0]);
        ties += usize::from((steps[0] - steps[1]).abs() < 0.5);
    }
    assert!(ties > 10);
    let threat = case.within(Norm::Linf, 1.0);
    let broken = |id: &str| {
        let outcomes = on(&case, &model, id, "", &threat);
        let broken = outcomes
            .rows
            .iter()
            .filter(|o| o.status == RunStatus::Broken);
        broken.count()
    };
    let pgd = broken("pgd");
    for (id, _) in ALL {
        let found = broken(id);
        assert!(10 * found >= 9 * pgd, "{id}: {found} of {pgd}");
    }
}

/// Gradients that are zero everywhere, and a row with scores that are not finite.
#[test]
fn rows_without_gradients_or_scores_spoil_no_other() {
    let case = Case::new(&[20], 5, 20, 9);
    let threat = case.within(Norm::L2, 0.4);
    let flat = Changed(case.linear_model(), |_: &Query, s: Tensor<2>| s.detach());
    let odd = case.samples.keys[3];
    let broken = Changed(
        case.linear_model(),
        move |query: &Query, scores: Tensor<2>| {
            let factors: Vec<f32> = (query.key.iter())
                .map(|k| if *k == odd { f32::NAN } else { 1.0 })
                .collect();
            let factors = Tensor::<1>::from_floats(factors.as_slice(), &scores.device().inner());
            scores * factors.unsqueeze_dim::<2>(1)
        },
    );
    for (id, _) in ALL {
        let parameters = "steps = 8";
        let mut found = 0;
        for o in &on(&case, &flat, id, parameters, &case.within(Norm::L2, 4.0)).rows {
            let zero = o.observed.contains(&Observation::ZeroGradient);
            assert!(zero || o.point.is_some(), "{id} {o:?}");
            found += usize::from(o.point.is_some());
        }
        // Random points half of the budget away break some rows.
        assert!(found > 5, "{id}: {found}");
        let whole = bits(&case.attack(id, parameters, &threat));
        let spoilt = on(&case, &broken, id, parameters, &threat);
        for (i, row) in bits(&spoilt).into_iter().enumerate() {
            if i == 3 {
                assert_eq!(row.0, RunStatus::Invalid, "{id}");
            } else {
                assert_eq!(row, whole[i], "{id}");
            }
        }
    }
}

/// The first restart begins at the clean sample, later ones half of the budget away.
#[test]
fn only_later_restarts_begin_at_random_points() {
    let mut case = Case::new(&[20], 4, 1, 9);
    case.samples.values[0].fill(0.5);
    let scores = case.linear.scores(&case.samples.sample(0));
    let best = |c: &usize| scores.iter().all(|s| *s <= scores[*c]);
    case.samples.labels[0] = (0..4).find(best).unwrap();
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let threat = case.within(norm, 0.2);
        let starts = |id: &str, parameters: &str| -> Vec<f64> {
            let seen = Mutex::new(Vec::new());
            let model = Changed(case.linear_model(), |query: &Query, scores| {
                for x in query.x.to_host()[0].chunks(20) {
                    let far = norm.of(x.iter().map(|v| f64::from(*v) - 0.5)) / 0.2;
                    seen.lock().unwrap().push(far);
                }
                scores
            });
            let table = parameters.parse().unwrap();
            let attack = proofmark_attacks::build(id, &table).unwrap();
            let mut job = Job::new(&case.samples, &case.rows, &threat, &Silent);
            job.tile = Some(1);
            attack.run(Access::Gradients(&model), &job).unwrap();
            let seen = seen.lock().unwrap();
            seen.iter()
                .copied()
                .filter(|far| (far - 0.5).abs() < 1e-4)
                .collect()
        };
        let one = "steps = 1\nbisections = 0\nrestarts = 1";
        let two = "steps = 1\nbisections = 0\nrestarts = 2";
        // The scores and the three gradients of the second restart of `fab`; the gradient of each second restart.
        assert_eq!((starts("fab", one).len(), starts("fab", two).len()), (0, 4));
        assert_eq!(
            (starts("fab-t", one).len(), starts("fab-t", two).len()),
            (0, 3)
        );
    }
}

/// Returns a network of one hidden layer with weights from a seed, on 20 features.
fn curved(classes: usize) -> BurnModel {
    let mut stream = Stream::new(&StreamKey::new(Seed(7), 0, Purpose::Data));
    let mut matrix = |rows: usize, columns: usize| {
        let values: Vec<f32> = (0..rows * columns).map(|_| stream.normal()).collect();
        Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), &Device::flex())
    };
    let (first, second) = (matrix(20, 64), matrix(64, classes));
    let modalities = Linear::new(&[20], classes, 0).modalities;
    BurnModel::closure(modalities, classes, &Device::flex(), move |x| {
        let hidden = relu((x[0].clone() - 0.5).matmul(first.clone()));
        hidden.matmul(second.clone())
    })
    .unwrap()
}

/// Boundaries that bend: each search is compared with FMN of 100 steps, sample by sample.
#[test]
fn curved_boundaries_are_reached_as_near_as_by_fmn() {
    let mut case = Case::new(&[20], 10, 60, 2);
    let model = curved(10);
    let keys = case.samples.keys.clone();
    let x = Batch::from_host(
        case.linear.modalities.clone().into(),
        case.samples.values.clone(),
        &Device::flex(),
    );
    let scores = model
        .scores(&Query::one_per_row(x.unwrap(), &keys))
        .unwrap();
    let predicted = host(&scores);
    let class = |z: &[f32]| proofmark_engine::predict(z).unwrap();
    case.samples.labels = predicted.chunks(10).map(class).collect();
    for (norm, eps) in [(Norm::Linf, 0.1), (Norm::L2, 0.3), (Norm::L1, 1.0)] {
        let threat = case.within(norm, eps);
        let found = |id: &str, parameters: &str| {
            let attack = proofmark_attacks::build(id, &parameters.parse().unwrap()).unwrap();
            let job = Job::new(&case.samples, &case.rows, &threat, &Silent);
            gauges(&attack.run(Access::Gradients(&model), &job).unwrap())
        };
        let fmn = found("fmn", "");
        for (id, parameters, norms) in [
            ("fab-t", "steps = 40", ALL[1].1),
            ("fab", "steps = 40", ALL[0].1),
            ("deepfool", "", ALL[2].1),
        ] {
            if !norms.contains(&norm) {
                continue;
            }
            let ours = found(id, parameters);
            let mut ratios: Vec<f64> = ours.iter().zip(&fmn).map(|(a, b)| a / b).collect();
            ratios.sort_by(f64::total_cmp);
            let seen = (ratios[30], ratios[54]);
            assert!(seen.0 <= 1.005 && seen.1 <= 1.1, "{id} {norm}: {seen:?}");
        }
    }
}

#[test]
fn parameters_out_of_range_are_named() {
    for (id, table, field) in [
        ("fab", "eta = 0.9", "eta"),
        ("fab", "beta = 1.0", "beta"),
        ("fab-t", "alpha_max = 1.5", "alpha_max"),
        ("fab-t", "targets = 0", "targets"),
        ("deepfool", "overshoot = -0.1", "overshoot"),
        ("deepfool", "bisections = 21", "bisections"),
    ] {
        let error = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{id} {table}");
    }
}
