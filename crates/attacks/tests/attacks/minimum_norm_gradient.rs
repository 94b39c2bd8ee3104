//! Minimum-norm gradient attacks on linear models, whose exact distance is known, and on models that are hard for them.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Bounds, Coupling, Epsilon, Norm, RunStatus};
use proofmark_engine::{Access, Checkpoint, EngineError, Job, Outcome, Outcomes, Samples, Silent};
use proofmark_model::BurnModel;
use proofmark_testkit::linear::Linear;
use proofmark_testkit::linear_distance;
use proofmark_testkit::masked::{Mask, Masked};
use proofmark_threat::{Budget, Radius, Threat};

use crate::common::Case;

/// Every attack in every norm it works in.
const ATTACKS: [(&str, Norm); 7] = [
    ("ddn", Norm::L2),
    ("cw", Norm::L2),
    ("ead", Norm::L1),
    ("pdpgd", Norm::L1),
    ("pdpgd", Norm::L2),
    ("pdpgd", Norm::Linf),
    ("pdpgd", Norm::L0),
];

/// Parameters for distances within 3 %; the defaults get within 1 %.
fn quick(id: &str) -> &'static str {
    match id {
        "cw" => "steps = 300\nlearning_rate = 0.03",
        _ => "",
    }
}

/// Parameters for tests of anything but distances.
fn short(id: &str) -> &'static str {
    match id {
        "cw" | "ead" => "searches = 3\nsteps = 30",
        _ => "steps = 60",
    }
}

fn case(classes: usize, n: usize, seed: u64) -> Case {
    Case::new(&[20], classes, n, seed)
}

impl Case {
    /// Replaces the model by a function of the linear model's scores and its input.
    fn with_scores(
        mut self,
        f: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2> + Send + Sync + 'static,
    ) -> Self {
        let weights: Vec<f32> = self.linear.weights[0].iter().flatten().copied().collect();
        let shape = [self.linear.weights[0].len(), self.linear.classes];
        let device = Device::flex();
        let weights = Tensor::<2>::from_data(TensorData::new(weights, shape), &device);
        let modalities = self.linear.modalities.clone();
        let forward = move |x: &[Tensor<2>]| f(x[0].clone().matmul(weights.clone()), x[0].clone());
        self.model = BurnModel::closure(modalities, shape[1], &device, forward).unwrap();
        self
    }

    /// Runs a gradient attack on a job.
    fn run_job(&self, id: &str, table: &str, job: &Job<'_>) -> Outcomes {
        let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
        attack.run(Access::Gradients(&self.model), job).unwrap()
    }
}

fn threat(case: &Case, norm: Norm, eps: f64, mask: Option<Vec<bool>>) -> Threat {
    case.threat(norm, Radius::Uniform(Epsilon::new(eps).unwrap()), mask)
}

/// Runs an attack and returns each row's distance divided by the exact one, sorted. A row that the attack does not break
/// fails the test.
fn ratios(case: &Case, id: &str, norm: Norm, table: &str) -> Vec<f64> {
    let threat = case.within(norm, 1.0);
    let outcomes = case.run_job(id, table, &case.job(&threat));
    sorted_ratios(&outcomes, &case.exact(norm))
}

fn sorted_ratios(outcomes: &Outcomes, exact: &[(f64, usize)]) -> Vec<f64> {
    let ratio = |o: &Outcome| {
        let point = o.point.as_ref().expect("some change succeeds");
        point.distance / exact[o.row].0
    };
    let mut all: Vec<f64> = outcomes.rows.iter().map(ratio).collect();
    all.sort_by(f64::total_cmp);
    // Scores are `f32`: the nearer the boundary, the larger the share of rounding in a distance.
    assert!(all[0] >= 1.0 - 1e-3, "nothing is nearer: {}", all[0]);
    all
}

fn share(ratios: &[f64], limit: f64) -> f64 {
    ratios.iter().filter(|r| **r <= limit).count() as f64 / ratios.len() as f64
}

type Result = (
    RunStatus,
    u64,
    Option<(u64, usize)>,
    Vec<proofmark_domain::Observation>,
);

/// Returns what must not depend on how rows are batched.
fn results(outcomes: &Outcomes) -> Vec<Result> {
    let row = |o: &Outcome| {
        let point = o.point.as_ref().map(|p| (p.distance.to_bits(), p.pred));
        (o.status, o.queries.forward, point, o.observed.clone())
    };
    outcomes.rows.iter().map(row).collect()
}

#[test]
fn every_attack_gets_within_a_hundredth_of_the_exact_distance() {
    for (seed, classes) in [(2, 3), (3, 10)] {
        for (id, norm) in ATTACKS {
            let mut case = case(classes, 40, seed);
            // An attack cannot know which class is nearest; the test that follows does not tell it.
            case.target_nearest(norm);
            let ratios = ratios(&case, id, norm, "");
            let what = format!("{id} {norm}, {classes} classes: {ratios:.4?}");
            if norm == Norm::L0 {
                assert!(share(&ratios, 1.0) >= 0.75, "{what}");
                assert!(share(&ratios, 2.0) >= 0.97, "{what}");
            } else {
                assert!(ratios[39] <= 1.01, "{what}");
            }
        }
    }
}

#[test]
fn a_restart_per_class_finds_the_nearest_boundary() {
    // Nine restarts of `cw` take too long for a test.
    for (id, norm) in ATTACKS.into_iter().filter(|(id, _)| *id != "cw") {
        let mut case = case(10, 20, 3);
        let one = ratios(&case, id, norm, "");
        let table = "targets = 9";
        let each = ratios(&case, id, norm, table);
        let limit = if norm == Norm::L0 { 1.5 } else { 1.01 };
        assert!(each[19] <= limit, "{id} {norm}: {each:.4?}");
        assert!(share(&one, limit) < 1.0, "{id} {norm}: {one:.4?}");
        assert!(share(&one, limit) >= 0.5, "{id} {norm}: {one:.4?}");
        // A target set by the user is the only class.
        case.rows.truncate(1);
        case.target_nearest(norm);
        let threat = threat(&case, norm, 1.0, None);
        let queries = |table: &str| case.run_job(id, table, &case.job(&threat)).rows[0].queries;
        assert_eq!(queries(table), queries(""), "{id} {norm}");
    }
}

/// Every value is 0 or 1: a tanh around the middle of the bounds would have no slope anywhere.
#[test]
fn features_at_their_bounds_move() {
    for (id, norm) in ATTACKS {
        let mut case = case(3, 20, 5);
        for v in &mut case.samples.values[0] {
            *v = v.round();
        }
        for i in 0..20 {
            let scores = case.linear.scores(&case.samples.sample(i));
            case.samples.labels[i] = (0..3)
                .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
                .unwrap();
        }
        case.target_nearest(norm);
        let ratios = ratios(&case, id, norm, "");
        let limit = if norm == Norm::L0 { 2.0 } else { 1.02 };
        assert!(ratios[19] <= limit, "{id} {norm}: {ratios:.4?}");
    }
}

#[test]
fn the_scale_and_the_sign_of_the_scores_do_not_matter() {
    // With the shift all scores are negative.
    for (scale, shift) in [(1e3, 0.0), (1e-3, -0.1)] {
        for (id, norm) in ATTACKS.into_iter().filter(|(_, n)| *n != Norm::L0) {
            let mut case = case(3, 12, 2).with_scores(move |z, _| z * scale + shift);
            case.target_nearest(norm);
            let ratios = ratios(&case, id, norm, quick(id));
            let what = format!("{id} {norm} scale {scale} shift {shift}: {ratios:.4?}");
            assert!(ratios[11] <= 1.03, "{what}");
        }
    }
}

#[test]
fn the_unit_of_the_data_and_the_budget_do_not_matter() {
    for (id, norm) in ATTACKS.into_iter().filter(|(_, n)| *n != Norm::L0) {
        let mut case = case(3, 12, 2);
        case.target_nearest(norm);
        let exact: Vec<(f64, usize)> = case
            .exact(norm)
            .iter()
            .map(|(d, c)| (255.0 * d, *c))
            .collect();
        for v in &mut case.samples.values[0] {
            *v *= 255.0;
        }
        case.linear.modalities[0].bounds = Bounds::uniform(0.0, 255.0).unwrap();
        case.samples.modalities = case.linear.modalities.clone().into();
        let case = case.with_scores(|z, _| z / 255.0);
        let threat = threat(&case, norm, 3.0, None);
        let outcomes = case.run_job(id, quick(id), &case.job(&threat));
        let ratios = sorted_ratios(&outcomes, &exact);
        assert!(ratios[11] <= 1.03, "{id} {norm}: {ratios:.4?}");
    }
}

#[test]
fn frozen_features_stay_and_the_others_make_up_for_them() {
    for (id, norm) in ATTACKS {
        let case = case(2, 30, 6);
        let free: Vec<bool> = (0..20).map(|f| f % 3 != 0).collect();
        let threat = threat(&case, norm, 1.0, Some(free.clone()));
        let outcomes = case.run_job(id, "", &case.job(&threat));
        let mut reachable = 0;
        for o in &outcomes.rows {
            let (x0, label) = (case.samples.sample(o.row)[0], case.samples.labels[o.row]);
            let bound = |frozen: f32| -> Vec<f32> {
                let each = x0.iter().zip(&free);
                each.map(|(x, free)| if *free { frozen } else { *x })
                    .collect()
            };
            let weights = &case.linear.weights[0];
            let w: Vec<f64> = (weights.iter().zip(&free))
                .map(|(w, free)| {
                    if *free {
                        f64::from(w[1 - label] - w[label])
                    } else {
                        0.0
                    }
                })
                .collect();
            let scores = case.linear.scores(&[x0]);
            let margin = scores[label] - scores[1 - label];
            let exact = linear_distance(norm, &w, margin, x0, &bound(0.0), &bound(1.0));
            let Some(exact) = exact else {
                assert!(o.point.is_none(), "{id} {norm}");
                continue;
            };
            reachable += 1;
            let point = o.point.as_ref().expect("reachable");
            for (f, free) in free.iter().enumerate() {
                assert!(*free || point.x[0][f] == x0[f], "{id} {norm} feature {f}");
            }
            let limit = if norm == Norm::L0 { 2.0 } else { 1.011 };
            assert!(
                point.distance <= limit * exact,
                "{id} {norm}: {} {exact}",
                point.distance
            );
        }
        assert!(reachable >= 20, "{id} {norm}: {reachable}");
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    for (id, norm) in ATTACKS {
        let case = case(4, 11, 7);
        let threat = threat(&case, norm, 0.3, None);
        for table in [short(id).to_owned(), format!("{}\ntargets = 2", short(id))] {
            let whole = results(&case.run_job(id, &table, &case.job(&threat)));
            for (batch, rows) in [(1, 0..11), (5, 0..11), (64, 3..9)] {
                let rows: Vec<usize> = rows.rev().collect();
                let mut job = case.job(&threat);
                (job.batch, job.rows) = (batch, &rows);
                let part = results(&case.run_job(id, &table, &job));
                for (row, part) in rows.iter().zip(part) {
                    assert_eq!(
                        part, whole[*row],
                        "{id} {norm} {table:?} batch {batch} row {row}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_stopped_run_resumes_to_the_same_end() {
    for (id, norm) in ATTACKS {
        let case = case(4, 6, 8);
        let threat = threat(&case, norm, 0.3, None);
        let whole = results(&case.run_job(id, short(id), &case.job(&threat)));
        for stop_at in [1, 7, 41] {
            let asked = AtomicUsize::new(0);
            let stop = || asked.fetch_add(1, Ordering::Relaxed) >= stop_at;
            let mut job = case.job(&threat);
            job.stop = &stop;
            let stopped = case.run_job(id, short(id), &job);
            let checkpoint = stopped.checkpoint.expect("stopped in the middle");
            let checkpoint = Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
            let mut job = case.job(&threat);
            job.resume = Some(&checkpoint);
            let rest = results(&case.run_job(id, short(id), &job));
            assert_eq!(rest, whole, "{id} {norm} stopped at {stop_at}");
        }
    }
}

/// The first feature of some rows makes their scores NaN: the other rows end as without them.
#[test]
fn rows_without_finite_scores_are_invalid_and_leave_the_others_alone() {
    for (id, norm) in ATTACKS {
        let mut case = case(4, 8, 9);
        let spoilt = [1, 4];
        for i in spoilt {
            case.samples.values[0][20 * i] = 0.0;
        }
        let good: Vec<usize> = (0..8).filter(|i| !spoilt.contains(i)).collect();
        let case = case.with_scores(|z, x| {
            let first = x.slice([0..z.dims()[0], 0..1]);
            let nan = first.equal_scalar(0.0).expand(z.dims());
            z.mask_fill(nan, f32::NAN)
        });
        // Keep every feature but the first, so that no other row becomes NaN.
        let mask = (0..20).map(|f| f > 0).collect();
        let threat = threat(&case, norm, 0.3, Some(mask));
        for compaction in [true, false] {
            let mut job = case.job(&threat);
            job.compaction = compaction;
            let all = case.run_job(id, short(id), &job);
            job.rows = &good;
            let alone = results(&case.run_job(id, short(id), &job));
            let all_results = results(&all);
            for (i, alone) in good.iter().zip(alone) {
                assert_eq!(all_results[*i], alone, "{id} {norm} row {i}");
            }
            for i in spoilt {
                assert_eq!(all.rows[i].status, RunStatus::Invalid, "{id} {norm}");
            }
        }
    }
}

#[test]
fn rows_without_a_gradient_search_in_random_directions() {
    for (id, norm) in ATTACKS.into_iter().filter(|(_, n)| *n != Norm::L0) {
        let case = case(3, 30, 10);
        let model = Masked::new(
            case.linear.model(&Device::flex()).unwrap(),
            Mask::GradientKiller,
        );
        let threat = threat(&case, norm, 3.0, None);
        let attack = proofmark_attacks::build(id, &quick(id).parse().unwrap()).unwrap();
        let outcomes = attack
            .run(Access::Gradients(&model), &case.job(&threat))
            .unwrap();
        let found = outcomes.rows.iter().filter(|o| o.point.is_some()).count();
        assert!(found >= 15, "{id} {norm}: {found} of 30");
    }
}

#[test]
fn a_confident_result_has_the_margin_and_little_more() {
    for (id, norm) in [("cw", Norm::L2), ("ead", Norm::L1)] {
        let case = case(3, 15, 11);
        let threat = threat(&case, norm, 1.0, None);
        let outcomes = case.run_job(id, "confidence = 1.5", &case.job(&threat));
        for o in &outcomes.rows {
            let point = o.point.as_ref().expect("reachable");
            let scores = case.linear.scores(&[&point.x[0]]);
            let label = case.samples.labels[o.row];
            let rival = (0..3).filter(|c| *c != label).map(|c| scores[c]);
            let margin = rival.fold(f64::NEG_INFINITY, f64::max) - scores[label];
            assert!((1.4999..1.6).contains(&margin), "{id}: {margin}");
        }
    }
}

#[test]
fn quantised_points_have_only_the_given_levels() {
    let mut case = case(3, 20, 12);
    for v in &mut case.samples.values[0] {
        *v = (*v * 15.0).round() / 15.0;
    }
    let free = (0..20).map(|f| f != 4).collect();
    let threat = threat(&case, Norm::L2, 1.0, Some(free));
    let outcomes = case.run_job("ddn", "levels = 16", &case.job(&threat));
    let found = outcomes.rows.iter().filter_map(|o| o.point.as_ref());
    let mut rows = 0;
    for point in found {
        rows += 1;
        for v in &point.x[0] {
            assert!((v * 15.0 - (v * 15.0).round()).abs() < 1e-5, "{v}");
        }
    }
    assert!(rows >= 18, "{rows}");
}

#[test]
fn ddn_starts_at_the_norm_that_it_is_given() {
    let case = case(3, 20, 13);
    let threat = threat(&case, Norm::L2, 0.25, None);
    let table = "steps = 1\ninitial_norm = 1.5";
    let outcomes = case.run_job("ddn", table, &case.job(&threat));
    for o in &outcomes.rows {
        // The clean sample fails, so the first radius is 5 % longer.
        let distance = o
            .point
            .as_ref()
            .expect("1.5 is far beyond the boundary")
            .distance;
        assert!((distance - 1.575).abs() < 1e-4, "{distance}");
    }
    for loss in ["ce", "dlr", "margin"] {
        let table = format!("loss = \"{loss}\"");
        let ratios = ratios(&case, "ddn", Norm::L2, &table);
        assert!(
            ratios[10] <= 1.2 && ratios[19] <= 3.0,
            "{loss}: {ratios:.3?}"
        );
    }
}

#[test]
fn one_input_may_change_and_the_others_stay() {
    let linear = Linear::new(&[12, 8], 2, 14);
    let (values, labels) = linear.samples(20, 14);
    let samples = Samples {
        modalities: linear.modalities.clone().into(),
        values,
        labels,
        targets: None,
        keys: (0..20).collect(),
    };
    let model = linear.model(&Device::flex()).unwrap();
    let rows: Vec<usize> = (0..20).collect();
    let run = |id: &str, norm: Norm, eps: [f64; 2]| {
        let budgets = (0..2).map(|m| Budget {
            modality: format!("m{m}"),
            norm,
            radius: Radius::Uniform(Epsilon::new(eps[m]).unwrap()),
            mask: None,
        });
        let coupling = Coupling::Independent;
        let threat = Threat::new(&linear.modalities, budgets.collect(), coupling, 20).unwrap();
        let job = Job::new(&samples, &rows, &threat, &Silent);
        let attack = proofmark_attacks::build(id, &quick(id).parse().unwrap()).unwrap();
        attack.run(Access::Gradients(&model), &job)
    };
    for (id, norm) in ATTACKS {
        let both = run(id, norm, [0.5, 1.0]);
        assert!(matches!(both, Err(EngineError::Parameter { .. })), "{id}");
        let outcomes = run(id, norm, [0.0, 1.0]).unwrap();
        let mut reachable = 0;
        for o in &outcomes.rows {
            let (row, label) = (samples.sample(o.row), samples.labels[o.row]);
            let w = linear.weights[1].iter();
            let w: Vec<f64> = w.map(|w| f64::from(w[1 - label] - w[label])).collect();
            let scores = linear.scores(&row);
            let margin = scores[label] - scores[1 - label];
            let distance = |margin| linear_distance(norm, &w, margin, row[1], &[0.0; 8], &[1.0; 8]);
            // Leave out the rows that only a corner of the box breaks.
            let (Some(exact), Some(_)) = (distance(margin), distance(1.1 * margin)) else {
                continue;
            };
            reachable += 1;
            let Some(point) = o.point.as_ref() else {
                panic!("{id} {norm}: no point at distance {exact}");
            };
            assert_eq!(point.x[0], row[0], "{id} {norm}");
            let limit = if norm == Norm::L0 { 2.0 } else { 1.03 };
            assert!(
                point.gauge <= limit * exact,
                "{id} {norm}: {} {exact}",
                point.gauge
            );
        }
        assert!(reachable >= 4, "{id} {norm}: {reachable}");
    }
}

#[test]
fn parameters_out_of_range_are_refused_by_name() {
    for (id, table, field) in [
        ("ddn", "steps = 0", "steps"),
        ("ddn", "gamma = 1.0", "gamma"),
        ("ddn", "initial_norm = -1.0", "initial_norm"),
        ("ddn", "levels = 1", "levels"),
        ("cw", "searches = 0", "searches"),
        ("cw", "steps = 0", "steps"),
        ("cw", "learning_rate = 0.0", "learning_rate"),
        ("cw", "initial_constant = 0.0", "initial_constant"),
        ("cw", "confidence = -1.0", "confidence"),
        ("ead", "step = inf", "step"),
        ("ead", "regularisation = 0.0", "regularisation"),
        ("ead", "confidence = nan", "confidence"),
        ("pdpgd", "steps = 0", "steps"),
        ("pdpgd", "primal_rate = 0.0", "primal_rate"),
        ("pdpgd", "dual_rate = -1.0", "dual_rate"),
        ("pdpgd", "dual_ratio = 2.0", "dual_ratio"),
        ("pdpgd", "norm = 2", "norm"),
    ] {
        let error = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{id} {table}: {error}");
    }
}
