//! L0 attacks on linear models, whose exact number of features to change is known.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Bounds, Coupling, Epsilon, Kind, Norm, RunStatus};
use proofmark_engine::{Access, Checkpoint, Job, Outcome, Outcomes};
use proofmark_model::BurnModel;
use proofmark_testkit::JointCoupling;
use proofmark_testkit::linear::Linear;
use proofmark_testkit::masked::{Mask, Masked};
use proofmark_threat::{Budget, Radius, Threat};

use crate::common::{Case, broken};

/// Runs an attack on the case's own model.
fn run<'a>(
    case: &'a Case,
    [id, table]: [&str; 2],
    threat: &'a Threat,
    change: impl FnOnce(&mut Job<'a>),
) -> Outcomes {
    case.run(id, table, threat, change)
}

/// Returns each row's exact number of features; another class can be reached from all of these samples.
fn exact(case: &Case) -> Vec<f64> {
    case.exact(Norm::L0).iter().map(|(d, _)| *d).collect()
}

/// Returns a threat with `more` features than each row's exact number.
fn beyond(case: &Case, more: f64) -> Threat {
    let eps = exact(case).iter().map(|e| e + more).collect();
    case.each(Norm::L0, eps, None)
}

/// Returns how many more features than necessary the attack changes, per row.
fn excess(case: &Case, attack: [&str; 2]) -> Vec<f64> {
    let threat = case.within(Norm::L0, 3.0);
    let outcomes = run(case, attack, &threat, |_| {});
    let found = outcomes.rows.iter().map(|o| {
        let point = o.point.as_ref().expect("some change succeeds");
        // The gauge is the count as a share of the budget.
        assert!((point.gauge - point.distance / 3.0).abs() < 1e-12);
        let broken = point.distance <= 3.0;
        assert_eq!(o.status == RunStatus::Broken, broken);
        point.distance
    });
    found.zip(exact(case)).map(|(f, e)| f - e).collect()
}

/// Checks that no row has fewer features than necessary, few have one more and hardly any two: with several classes, an
/// attack may end at a class that is not the nearest.
fn assert_near(excess: &[f64], name: &str) {
    let share = |most: f64| {
        let near = excess.iter().filter(|e| **e <= most).count();
        near as f64 / excess.len() as f64
    };
    let exact = excess.iter().all(|e| *e >= 0.0) && share(0.0) >= 0.85;
    assert!(
        exact && share(1.0) >= 0.97 && share(2.0) == 1.0,
        "{name}: {excess:?}"
    );
}

const MINIMISE: [[&str; 2]; 2] = [["sigma-zero", ""], ["fmn", ""]];
const ALL: [[&str; 2]; 3] = [
    ["sigma-zero", "steps = 100"],
    ["fmn", "steps = 40"],
    ["sparse-rs", "queries = 60\nrestarts = 2"],
];

#[test]
fn minimum_norm_attacks_change_the_exact_number_of_features() {
    for (seed, classes) in [(1, 2), (2, 3), (3, 10)] {
        let case = Case::new(&[20], classes, 40, seed);
        for attack in MINIMISE {
            assert_near(&excess(&case, attack), &format!("{} {classes}", attack[0]));
        }
    }
}

/// Raw columns of a table: the range of a feature changes the unit of its weight and nothing else.
#[test]
fn the_ranges_of_the_features_do_not_matter() {
    let scale = |f: usize| 10.0_f32.powi(f as i32 % 7 - 2);
    let mut linear = Linear::new(&[20], 10, 4);
    let (mut values, labels) = linear.samples(40, 4);
    let exact = exact(&Case::of(linear.clone(), values.clone(), labels.clone()));
    let high: Vec<f32> = (0..20).map(scale).collect();
    linear.modalities[0].bounds = Bounds::per_feature(vec![0.0; 20], high).unwrap();
    for (f, weights) in linear.weights[0].iter_mut().enumerate() {
        for w in weights {
            *w /= scale(f);
        }
    }
    for (i, v) in values[0].iter_mut().enumerate() {
        *v *= scale(i % 20);
    }
    let case = Case::of(linear, values, labels);
    // As `f32`, a 31st times 31 is below 1: rounding must not cost a feature.
    let threat = case.within(Norm::L0, 31.0);
    for attack in MINIMISE {
        let outcomes = run(&case, attack, &threat, |_| {});
        let found = outcomes
            .rows
            .iter()
            .map(|o| o.point.as_ref().unwrap().distance);
        let excess: Vec<f64> = found.zip(&exact).map(|(f, e)| f - e).collect();
        assert_near(&excess, attack[0]);
    }
}

#[test]
fn one_step_equals_the_hand_computed_point() {
    // z = (x·w, 0) with w = (1, -2, 0): label 0 wins by 0.1, and the margin's gradient is (-1, 2, 0).
    let mut linear = Linear::new(&[3], 2, 0);
    linear.weights = vec![vec![vec![1.0, 0.0], vec![-2.0, 0.0], vec![0.0, 0.0]]];
    let case = Case::of(linear, vec![vec![0.9, 0.4, 0.5]], vec![0]);
    let threat = case.within(Norm::L0, 2.0);
    let point = |attack| {
        let outcomes = run(&case, attack, &threat, |_| {});
        outcomes.rows[0].point.as_ref().unwrap().x[0].clone()
    };
    // Adam's first step is one range against the sign; the bounds leave 0.9 and 0.6 of it. The threshold falls by 0.01.
    let sigma_zero = |table| point(["sigma-zero", table]);
    assert_eq!(sigma_zero("steps = 1\ntau = 0.605"), [0.0, 1.0, 0.5]);
    assert_eq!(sigma_zero("steps = 1\ntau = 0.615"), [0.0, 0.4, 0.5]);
    // One feature, that with the larger gain: 2 · 0.6 against 1 · 0.9.
    assert_eq!(point(["fmn", "steps = 1"]), [0.9, 1.0, 0.5]);
}

/// A feature at its bound whose slope points out of the bounds, however steep, is no help and no harm.
#[test]
fn steep_features_without_room_are_ignored() {
    let mut linear = Linear::new(&[20], 2, 8);
    let (mut values, _) = linear.samples(150, 8);
    // It can only raise the score of class 1.
    linear.weights[0][0] = vec![0.0, 1e5];
    values[0].iter_mut().step_by(20).for_each(|v| *v = 0.0);
    let mut ones = Vec::new();
    for row in values[0].chunks(20) {
        let scores = linear.scores(&[row]);
        if scores[1] > scores[0] {
            ones.extend_from_slice(row);
        }
    }
    let n = ones.len() / 20;
    assert!(n >= 15, "{n}");
    let case = Case::of(linear, vec![ones], vec![1; n]);
    for attack in MINIMISE {
        assert_near(&excess(&case, attack), attack[0]);
    }
}

#[test]
fn sparse_rs_breaks_one_feature_above_the_exact_number_and_none_below() {
    for (seed, classes) in [(1, 2), (2, 3), (3, 10)] {
        let case = Case::new(&[20], classes, 40, seed);
        let attack = ["sparse-rs", "queries = 1000\nrestarts = 3"];
        let above = run(&case, attack, &beyond(&case, 1.0), |_| {});
        assert_eq!(broken(&above), 40, "{classes} classes");
        let below = run(&case, attack, &beyond(&case, -1.0), |_| {});
        assert_eq!(broken(&below), 0, "{classes} classes");
        for (o, exact) in below.rows.iter().zip(exact(&case)) {
            // Without any feature to change, one query shows it.
            let queries = if exact < 2.0 { 1 } else { 1000 };
            assert_eq!(o.queries.forward, 3 * queries, "{exact}");
            assert_eq!(o.queries.backward, 0);
        }
    }
}

/// Pixels of a 3 × 4 × 5 image change in all channels together; the budget still counts features.
#[test]
fn pixels_change_as_a_whole() {
    let mut linear = Linear::new(&[60], 4, 6);
    (linear.modalities[0].kind, linear.modalities[0].shape) = (Kind::Image, vec![3, 4, 5]);
    let (values, labels) = linear.samples(30, 6);
    let case = Case::of(linear, values, labels);
    let threat = case.within(Norm::L0, 13.0);
    let outcomes = run(
        &case,
        ["sparse-rs", "queries = 500\npixels = true"],
        &threat,
        |_| {},
    );
    assert!(broken(&outcomes) >= 25, "{}", broken(&outcomes));
    for o in outcomes
        .rows
        .iter()
        .filter(|o| o.status == RunStatus::Broken)
    {
        let (x, x0) = (
            &o.point.as_ref().unwrap().x[0],
            case.samples.sample(o.row)[0],
        );
        let moved = (0..20).filter(|p| (0..3).any(|c| x[c * 20 + p] != x0[c * 20 + p]));
        // No sample has a value at a bound.
        assert_eq!(moved.count(), 4);
        assert_eq!(o.point.as_ref().unwrap().distance, 12.0);
    }
    // Two features are no pixel.
    let none = run(
        &case,
        ["sparse-rs", "pixels = true"],
        &case.within(Norm::L0, 2.0),
        |_| {},
    );
    assert!(none.rows.iter().all(|o| o.queries.forward == 1));
}

#[test]
fn masked_features_never_move() {
    let case = Case::new(&[24], 4, 20, 5);
    let mask: Vec<bool> = (0..24).map(|f| f % 3 != 0).collect();
    let threat = case.threat(
        Norm::L0,
        Radius::Uniform(Epsilon::new(6.0).unwrap()),
        Some(mask.clone()),
    );
    for attack in ALL {
        let outcomes = run(&case, attack, &threat, |_| {});
        assert!(
            broken(&outcomes) >= 15,
            "{}: {}",
            attack[0],
            broken(&outcomes)
        );
        for o in &outcomes.rows {
            let Some(point) = &o.point else { continue };
            let x0 = case.samples.sample(o.row)[0];
            assert!((0..24).all(|f| mask[f] || point.x[0][f] == x0[f]));
        }
    }
}

#[test]
fn targeted_attacks_succeed_only_on_their_target() {
    let mut case = Case::new(&[20], 5, 30, 9);
    case.samples.targets = Some(case.samples.labels.iter().map(|l| (l + 1) % 5).collect());
    let threat = case.within(Norm::L0, 8.0);
    for [id, table] in [
        ["sigma-zero", "steps = 200"],
        ["fmn", ""],
        ["sparse-rs", "queries = 500"],
    ] {
        let outcomes = run(&case, [id, table], &threat, |_| {});
        assert!(broken(&outcomes) >= 25, "{id}: {}", broken(&outcomes));
        let targets = case.samples.targets.as_ref().unwrap();
        for o in &outcomes.rows {
            if let Some(point) = &o.point {
                assert_eq!(point.pred, targets[o.row]);
            }
        }
    }
}

/// The budgets of two inputs are independent: the gauge is the larger share.
#[test]
fn two_inputs_share_no_budget() {
    let case = Case::new(&[12, 8], 2, 30, 11);
    let eps = [4.0, 2.0];
    let budgets: Vec<f64> = (0..30)
        .map(|i| {
            let row = case.samples.sample(i);
            let each = eps.map(|eps| (Norm::L0, eps));
            let label = case.samples.labels[i];
            let exact = case
                .linear
                .joint_gauge(&each, JointCoupling::Independent, &row, label);
            exact.unwrap()
        })
        .collect();
    let threat = |factor: &dyn Fn(f64) -> f64| {
        let of = |m: usize| Budget {
            modality: format!("m{m}"),
            norm: Norm::L0,
            radius: Radius::PerSample(budgets.iter().map(|g| factor(*g) * eps[m]).collect()),
            mask: None,
        };
        let both = vec![of(0), of(1)];
        Threat::new(&case.linear.modalities, both, Coupling::Independent, 30).unwrap()
    };
    let unit = threat(&|_| 1.0);
    for attack in MINIMISE {
        let outcomes = run(&case, attack, &unit, |_| {});
        let found = outcomes
            .rows
            .iter()
            .map(|o| o.point.as_ref().unwrap().gauge);
        let excess: Vec<f64> = found
            .zip(&budgets)
            .map(|(found, exact)| found - exact)
            .collect();
        assert!(
            excess.iter().all(|e| *e >= -1e-9),
            "{} {excess:?}",
            attack[0]
        );
        let near = excess.iter().filter(|e| **e < 1e-9).count();
        // σ-zero minimises the sum of both counts, so that it may use one input more than its share.
        let least = if attack[0] == "fmn" { 28 } else { 15 };
        assert!(near >= least, "{}: {near}", attack[0]);
    }
    let attack = ["sparse-rs", "queries = 1000"];
    // One more feature in each input, or one less in those that are full.
    assert_eq!(
        broken(&run(&case, attack, &threat(&|g| g + 0.5), |_| {})),
        30
    );
    assert_eq!(
        broken(&run(&case, attack, &threat(&|g| 0.999 * g), |_| {})),
        0
    );
}

#[test]
fn batches_threads_and_stops_change_nothing() {
    let case = Case::new(&[24], 4, 12, 5);
    let threat = case.within(Norm::L0, 2.0);
    let bits = |o: &Outcomes| -> Vec<_> {
        let row = |o: &Outcome| {
            let point = o.point.as_ref().map(|p| (p.x.clone(), p.gauge.to_bits()));
            (o.status, o.queries, point)
        };
        o.rows.iter().map(row).collect()
    };
    for attack in ALL {
        let whole = bits(&run(&case, attack, &threat, |_| {}));
        for batch in [1, 5, 64] {
            let again = run(&case, attack, &threat, |job| job.batch = batch);
            assert_eq!(bits(&again), whole, "{} batch {batch}", attack[0]);
        }
        let one = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let again =
            one.install(|| bits(&run(&case, attack, &threat, |job| job.compaction = false)));
        // Without compaction, broken rows make all their queries; points stay the same.
        for (without, with) in again.iter().zip(&whole) {
            let ends = (without.0, &without.2) == (with.0, &with.2);
            assert!(ends, "{}", attack[0]);
        }
        let alone = [7];
        let again = run(&case, attack, &threat, |job| job.rows = &alone);
        assert_eq!(bits(&again)[0], whole[7], "{}", attack[0]);
        let asked = AtomicUsize::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 17;
        let stopped = run(&case, attack, &threat, |job| job.stop = &stop)
            .checkpoint
            .unwrap();
        let read = Checkpoint::from_bytes(&stopped.to_bytes()).unwrap();
        let rest = run(&case, attack, &threat, |job| job.resume = Some(&read));
        assert_eq!(bits(&rest), whole, "{}", attack[0]);
    }
}

/// Without gradients, σ-zero falls back to random directions; one row with NaN scores does not touch the others.
#[test]
fn zero_gradients_and_nan_scores_stay_with_their_rows() {
    let mut case = Case::new(&[20], 4, 30, 5);
    let threat = case.within(Norm::L0, 12.0);
    let killed = Masked::new(
        case.linear.model(&Device::flex()).unwrap(),
        Mask::GradientKiller,
    );
    let found = |attack: [&str; 2]| {
        let [id, table] = attack;
        broken(&case.run_on(Access::Gradients(&killed), id, table, &threat, |_| {}))
    };
    assert_eq!(found(["fmn", ""]), 0);
    let by_chance = found(["sigma-zero", "steps = 200"]);
    assert!(by_chance >= 15, "{by_chance}");

    // The model of the third sample alone has no scores: the logarithm of its last feature, which may not change.
    case.samples.values[0][2 * 20 + 19] = 0.0;
    let plain: Vec<f32> = case.linear.weights[0].iter().flatten().copied().collect();
    let weights = Tensor::<2>::from_data(TensorData::new(plain, [20, 4]), &Device::flex());
    let modalities = case.linear.modalities.clone();
    let model = BurnModel::closure(modalities, 4, &Device::flex(), move |x| {
        let n = x[0].dims()[0];
        let nothing = x[0].clone().slice([0..n, 19..20]).log() * 0.0;
        x[0].clone().matmul(weights.clone()) + nothing
    })
    .unwrap();
    let free = (0..20).map(|f| f < 19).collect();
    let threat = case.threat(
        Norm::L0,
        Radius::Uniform(Epsilon::new(6.0).unwrap()),
        Some(free),
    );
    for attack in ALL {
        let without = run(&case, attack, &threat, |_| {});
        let with = case.run_on(
            Access::Gradients(&model),
            attack[0],
            attack[1],
            &threat,
            |_| {},
        );
        for (a, b) in with.rows.iter().zip(&without.rows) {
            let point = |o: &Outcome| o.point.as_ref().map(|p| p.x.clone());
            if a.row == 2 {
                assert_eq!(
                    (a.status, point(a)),
                    (RunStatus::Invalid, None),
                    "{}",
                    attack[0]
                );
            } else {
                assert_eq!(point(a), point(b), "{} {}", attack[0], a.row);
            }
        }
    }
}

#[test]
fn fmn_refuses_l0_beside_another_norm() {
    let case = Case::new(&[12, 8], 2, 4, 11);
    let threat = |eps: f64| {
        let of = |m: usize, norm, eps| Budget {
            modality: format!("m{m}"),
            norm,
            radius: Radius::Uniform(Epsilon::new(eps).unwrap()),
            mask: None,
        };
        let both = vec![of(0, Norm::L0, 3.0), of(1, Norm::L2, eps)];
        Threat::new(&case.linear.modalities, both, Coupling::Independent, 4).unwrap()
    };
    let mixed = threat(0.5);
    let refused = case.tried_on(Access::Gradients(&case.model), "fmn", "", &mixed, |_| {});
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("l0 and l2"), "{message}");
    // A frozen input may have any norm.
    assert!(
        case.tried_on(
            Access::Gradients(&case.model),
            "fmn",
            "",
            &threat(0.0),
            |_| {}
        )
        .is_ok()
    );
}
