//! `rays`, `surfree` and `boundary` on models whose exact distances are known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Bounds, Coupling, Epsilon, Kind, Modality, Norm, RunStatus};
use proofmark_engine::{Access, Checkpoint, Goal, Job, Outcome, Outcomes, Silent, Starts};
use proofmark_model::BurnModel;
use proofmark_testkit::linear::Linear;
use proofmark_testkit::{JointCoupling, linear_distance};
use proofmark_threat::{Budget, Radius, Threat};

use crate::common::{Case, gauge, samples};

const ATTACKS: [(&str, Norm); 3] = [
    ("rays", Norm::Linf),
    ("surfree", Norm::L2),
    ("boundary", Norm::L2),
];

fn case(widths: &[usize], classes: usize, n: usize) -> Case {
    Case::new(widths, classes, n, 5)
}

impl Case {
    /// Returns the exact distance of a sample if only the features of `mask` may change.
    fn masked_distance(&self, norm: Norm, mask: &[bool], row: usize) -> Option<f64> {
        let (x0, label) = (self.samples.sample(row)[0], self.samples.labels[row]);
        let bound = |to: f32| -> Vec<f32> {
            (x0.iter().zip(mask))
                .map(|(x, free)| if *free { to } else { *x })
                .collect()
        };
        let (low, high, scores) = (bound(0.0), bound(1.0), self.linear.scores(&[x0]));
        (0..self.linear.classes)
            .filter(|c| *c != label)
            .filter_map(|c| {
                let w: Vec<f64> = (self.linear.weights[0].iter())
                    .map(|w| f64::from(w[c]) - f64::from(w[label]))
                    .collect();
                linear_distance(norm, &w, scores[label] - scores[c], x0, &low, &high)
            })
            .min_by(f64::total_cmp)
    }
}

/// Returns distance found over exact distance, sorted; fails if a row has no point.
fn ratios(case: &Case, norm: Norm, outcomes: &Outcomes) -> Vec<f64> {
    let exact = case.exact(norm);
    let ratio = |o: &Outcome| o.point.as_ref().expect("a point").distance / exact[o.row].0;
    let mut all: Vec<f64> = outcomes.rows.iter().map(ratio).collect();
    all.sort_by(f64::total_cmp);
    all
}

type Bits = (RunStatus, u64, Option<(Vec<Vec<f32>>, u64)>);

fn bits(outcomes: &Outcomes) -> Vec<Bits> {
    let row = |o: &Outcome| {
        let point = o.point.as_ref().map(|p| (p.x.clone(), p.gauge.to_bits()));
        (o.status, o.queries.forward, point)
    };
    outcomes.rows.iter().map(row).collect()
}

#[test]
fn attacks_get_close_to_the_exact_distance() {
    // Two classes have one boundary; with more, a search ends at the nearest part of a boundary that it reaches.
    for (id, norm, classes, queries, median, worst) in [
        ("rays", Norm::Linf, 2, 500, 1.01, 1.02),
        ("rays", Norm::Linf, 4, 500, 1.05, 2.0),
        ("surfree", Norm::L2, 2, 500, 1.01, 1.02),
        ("surfree", Norm::L2, 4, 1000, 1.05, 2.0),
        ("boundary", Norm::L2, 2, 1500, 1.01, 1.05),
        ("boundary", Norm::L2, 4, 1500, 1.05, 2.0),
    ] {
        let case = case(&[24], classes, 20);
        let threat = case.within(norm, 0.1);
        let outcomes = case.run(id, &format!("queries = {queries}"), &threat, |_| {});
        let ratios = ratios(&case, norm, &outcomes);
        assert!(ratios[0] >= 0.999, "{id}: nothing is nearer: {}", ratios[0]);
        let found = (ratios[10], ratios[19]);
        assert!(
            found.0 <= median && found.1 <= worst,
            "{id} {classes}: {found:?}"
        );
        for o in &outcomes.rows {
            assert!(o.queries.forward <= queries + 1 && o.queries.backward == 0);
            let is_broken = o.status == RunStatus::Broken;
            assert_eq!(is_broken, gauge(o) <= 1.0, "{id}");
        }
    }
}

/// A longer search begins with the same queries, so its points show the course of the search.
#[test]
fn distances_never_increase_along_a_run() {
    let case = case(&[24], 4, 12);
    for (id, norm) in ATTACKS {
        let threat = case.within(norm, 0.3);
        let at = |queries: u32| -> Vec<f64> {
            let table = format!("queries = {queries}");
            let outcomes = case.run(id, &table, &threat, |_| {});
            outcomes.rows.iter().map(gauge).collect()
        };
        let course = [20, 60, 150, 300, 700].map(at);
        for pair in course.windows(2) {
            for (before, after) in pair[0].iter().zip(&pair[1]) {
                assert!(after <= before, "{id}: {before} then {after}");
            }
        }
        let nearer = (course[1].iter().zip(&course[4]))
            .filter(|(a, b)| **b < 0.95 * **a)
            .count();
        assert!(nearer >= 10, "{id}: {nearer} of 12 came nearer");
    }
}

#[test]
fn query_limits_are_exact() {
    let case = case(&[24], 4, 12);
    for (id, norm) in ATTACKS {
        let threat = case.within(norm, 0.5);
        for queries in [1, 3, 8, 50, 99] {
            let outcomes = case.run(id, &format!("queries = {queries}"), &threat, |_| {});
            for o in &outcomes.rows {
                // One more for the judge, if there is a point to judge.
                let judged = u64::from(o.point.is_some());
                assert_eq!(o.queries.forward, queries + judged, "{id} {queries}");
            }
        }
        // A row exceeds the run's own limit by at most one step.
        let limited = case.run(id, "", &threat, |job| job.forwards = Some(60));
        for o in &limited.rows {
            let forward = o.queries.forward;
            assert!((60..=60 + 11).contains(&forward), "{id}: {forward}");
        }
    }
}

#[test]
fn batches_and_interruptions_change_nothing() {
    let case = case(&[24], 4, 12);
    for (id, norm) in ATTACKS {
        let threat = case.within(norm, 0.2);
        let table = "queries = 250";
        let whole = bits(&case.run(id, table, &threat, |_| {}));
        for batch in [1, 5] {
            let again = case.run(id, table, &threat, |job| job.batch = batch);
            assert_eq!(bits(&again), whole, "{id}: batch {batch}");
        }
        let alone = [7];
        let one = case.run(id, table, &threat, |job| job.rows = &alone);
        assert_eq!(bits(&one)[0], whole[7], "{id}");
        for stop_at in [1, 20, 60] {
            let asked = AtomicUsize::new(0);
            let stop = || asked.fetch_add(1, Ordering::Relaxed) >= stop_at;
            let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
            let mut job = Job::new(&case.samples, &case.rows, &threat, &Silent);
            job.stop = &stop;
            job.batch = 5;
            let stopped = attack.run(Access::Decisions(&case.model), &job).unwrap();
            let saved = stopped.checkpoint.expect("it was stopped").to_bytes();
            let saved = Checkpoint::from_bytes(&saved).unwrap();
            let mut job = Job::new(&case.samples, &case.rows, &threat, &Silent);
            job.resume = Some(&saved);
            let rest = attack.run(Access::Decisions(&case.model), &job).unwrap();
            assert_eq!(bits(&rest), whole, "{id}: stopped at {stop_at}");
        }
    }
}

#[test]
fn masked_features_never_move() {
    let case = case(&[24], 4, 12);
    let mask: Vec<bool> = (0..24).map(|f| f % 3 != 0).collect();
    for (id, norm) in ATTACKS {
        let budget = Budget {
            modality: "x".into(),
            norm,
            radius: Radius::Uniform(Epsilon::new(0.5).unwrap()),
            mask: Some(mask.clone().into()),
        };
        let budgets = vec![budget];
        let threat =
            Threat::new(&case.linear.modalities, budgets, Coupling::Independent, 12).unwrap();
        let outcomes = case.run(id, "queries = 600", &threat, |_| {});
        let mut ratios = Vec::new();
        for o in &outcomes.rows {
            let Some(exact) = case.masked_distance(norm, &mask, o.row) else {
                assert_eq!(o.point, None, "{id}");
                continue;
            };
            let Some(point) = &o.point else { continue };
            let x0 = case.samples.sample(o.row)[0];
            for f in (0..24).filter(|f| !mask[*f]) {
                assert_eq!(point.x[0][f], x0[f], "{id}");
            }
            ratios.push(point.distance / exact);
        }
        ratios.sort_by(f64::total_cmp);
        assert!(ratios.len() >= 6, "{id}: {ratios:?}");
        let median = ratios[ratios.len() / 2];
        assert!(ratios[0] > 0.999 && median < 1.2, "{id}: {ratios:?}");
    }
}

/// Noise rarely lands in a given class; a sample of that class is a start.
#[test]
fn a_target_class_is_reached_from_a_known_point() {
    let mut case = case(&[24], 4, 20);
    let target = |l: &usize| (l + 1) % 4;
    case.samples.targets = Some(case.samples.labels.iter().map(target).collect());
    let labels = &case.samples.labels;
    let start = |row: usize| {
        let of = labels.iter().position(|l| *l == target(&labels[row]))?;
        Some((row, Arc::from([case.samples.sample(of)[0].to_vec()])))
    };
    let starts: Arc<Starts> = Arc::new((0..20).filter_map(start).collect::<BTreeMap<_, _>>());
    assert!(starts.len() >= 15);
    for (id, norm) in ATTACKS {
        let threat = case.within(norm, 0.5);
        let outcomes = case.run(id, "queries = 800", &threat, |job| {
            job.goal = &Goal::Targeted;
            job.starts = Some(&starts);
        });
        for o in outcomes.rows.iter().filter(|o| starts.contains_key(&o.row)) {
            let point = o.point.as_ref().expect("its start succeeds");
            assert_eq!(point.pred, target(&labels[o.row]), "{id}");
            let (from, to) = (case.samples.sample(o.row)[0], &starts[&o.row][0]);
            let start = norm.of(from.iter().zip(to).map(|(a, b)| f64::from(a - b)));
            assert!(
                point.distance < 0.7 * start,
                "{id}: {} from {start}",
                point.distance
            );
        }
    }
}

/// A model of one class: nothing ever succeeds.
#[test]
fn a_row_without_a_start_ends_without_a_point() {
    let mut case = case(&[6], 2, 3);
    let device = Device::flex();
    case.model = BurnModel::closure(case.linear.modalities.clone(), 2, &device, |x| {
        let zero = x[0].clone().sum_dim(1) * 0.0;
        Tensor::cat(vec![zero.clone() + 1.0, zero], 1)
    })
    .unwrap();
    case.samples.labels = vec![0; 3];
    for (id, norm) in ATTACKS {
        let threat = case.within(norm, 0.5);
        let outcomes = case.run(id, "tries = 20", &threat, |_| {});
        for o in &outcomes.rows {
            assert_eq!(
                (o.status, o.queries.forward, &o.point),
                (RunStatus::Robust, 20, &None),
                "{id}"
            );
        }
    }
}

/// A row whose scores are not finite is marked, and changes no other row.
#[test]
fn scores_that_are_not_finite_stay_in_their_row() {
    let mut case = case(&[12], 3, 6);
    for row in 0..6 {
        // Only row 2 has such a value, and the mask keeps every feature 0 as it is.
        case.samples.values[0][row * 12] = if row == 2 { 1.0 } else { 0.5 };
    }
    let weights = case.linear.weights[0].clone();
    let labels: Vec<usize> = (0..6)
        .map(|row| {
            let scores = case.linear.scores(&[case.samples.sample(row)[0]]);
            (0..3)
                .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
                .unwrap()
        })
        .collect();
    case.samples.labels = labels;
    let flat: Vec<f32> = weights.iter().flatten().copied().collect();
    let device = Device::flex();
    let weights = Tensor::<2>::from_data(TensorData::new(flat, [12, 3]), &device);
    case.model = BurnModel::closure(case.linear.modalities.clone(), 3, &device, move |x| {
        let bad = x[0]
            .clone()
            .slice([0..x[0].dims()[0], 0..1])
            .greater_equal_scalar(1.0);
        let scores = x[0].clone().matmul(weights.clone());
        let shape = scores.dims();
        scores.mask_fill(bad.expand(shape), f32::NAN)
    })
    .unwrap();
    for (id, norm) in ATTACKS {
        let budget = Budget {
            modality: "x".into(),
            norm,
            radius: Radius::Uniform(Epsilon::new(0.5).unwrap()),
            mask: Some((0..12).map(|f| f > 0).collect::<Vec<_>>().into()),
        };
        let budgets = vec![budget];
        let threat =
            Threat::new(&case.linear.modalities, budgets, Coupling::Independent, 6).unwrap();
        let all = case.run(id, "queries = 150", &threat, |_| {});
        assert_eq!(all.rows[2].status, RunStatus::Invalid, "{id}");
        let others = [0, 1, 3, 4, 5];
        let without = case.run(id, "queries = 150", &threat, |job| job.rows = &others);
        let all = bits(&all);
        for (row, alone) in others.iter().zip(bits(&without)) {
            assert_eq!(all[*row], alone, "{id}");
            assert!(alone.2.is_some(), "{id}");
        }
    }
}

#[test]
fn inputs_that_an_attack_cannot_handle_are_refused() {
    let case = case(&[8, 5], 3, 12);
    let check = |id: &str, table: &str, threat: &Threat| {
        let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
        attack
            .check(&Job::new(&case.samples, &case.rows, threat, &Silent))
            .map_err(|e| e.to_string())
    };
    let both = case.within(Norm::L2, 0.5);
    for id in ["surfree", "boundary"] {
        let refused = check(id, "", &both).unwrap_err();
        assert!(refused.contains("m0 and m1"), "{refused}");
        assert!(check(id, "", &case.within(Norm::Linf, 0.5)).is_err());
    }
    let budget = |norm, eps: [f64; 2]| {
        [("m0", eps[0]), ("m1", eps[1])]
            .map(|(name, eps)| Budget {
                modality: name.into(),
                norm,
                radius: Radius::Uniform(Epsilon::new(eps).unwrap()),
                mask: None,
            })
            .to_vec()
    };
    let threat = |norm, eps, coupling| {
        Threat::new(&case.linear.modalities, budget(norm, eps), coupling, 12).unwrap()
    };
    let shared = threat(Norm::Linf, [0.5, 0.5], Coupling::Shared { q: 1.0 });
    let refused = check("rays", "", &shared).unwrap_err();
    assert!(refused.contains("independent budgets"), "{refused}");
    let one = threat(Norm::L2, [0.5, 0.0], Coupling::Independent);
    let refused = check("surfree", "space = \"dct\"", &one).unwrap_err();
    assert!(refused.contains("an image input"), "{refused}");
    // One frozen input is no obstacle, and stays as it is.
    for id in ["surfree", "boundary"] {
        let outcomes = case.run(id, "queries = 200", &one, |_| {});
        assert!(outcomes.rows.iter().any(|o| o.point.is_some()), "{id}");
        for o in &outcomes.rows {
            let Some(point) = &o.point else { continue };
            assert_eq!(point.x[1], case.samples.sample(o.row)[1], "{id}");
        }
    }
    for (id, table, field) in [
        ("rays", "tolerance = 0.0", "tolerance"),
        ("surfree", "angle = 90.0", "angle"),
        ("surfree", "decay = 1.0", "decay"),
        ("surfree", "frequencies = 0.0", "frequencies"),
        ("surfree", "space = \"pixels\"", "space"),
        ("boundary", "source_step = 1.0", "source_step"),
        ("boundary", "adaptation = 1.0", "adaptation"),
        ("boundary", "trials = 0", "trials"),
    ] {
        let error = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{id} {table}");
    }
}

/// `RayS` turns the signs of all inputs together: its gauge is the largest share of a budget.
#[test]
fn rays_moves_several_inputs_together() {
    let case = case(&[10, 6], 3, 12);
    let budgets = [(Norm::Linf, 0.1), (Norm::Linf, 0.3)];
    let parts = budgets
        .iter()
        .zip(["m0", "m1"])
        .map(|((norm, eps), name)| Budget {
            modality: name.into(),
            norm: *norm,
            radius: Radius::Uniform(Epsilon::new(*eps).unwrap()),
            mask: None,
        });
    let parts = parts.collect();
    let threat = Threat::new(&case.linear.modalities, parts, Coupling::Independent, 12).unwrap();
    let outcomes = case.run("rays", "queries = 600", &threat, |_| {});
    let mut ratios: Vec<f64> = (outcomes.rows.iter())
        .map(|o| {
            let (row, label) = (case.samples.sample(o.row), case.samples.labels[o.row]);
            let exact = case
                .linear
                .joint_gauge(&budgets, JointCoupling::Independent, &row, label);
            gauge(o) / exact.unwrap()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    assert!(ratios[0] > 0.999 && ratios[6] < 1.05, "{ratios:?}");
}

/// On an image whose boundary is smooth, low frequencies need fewer queries; on one whose boundary is not, the rows
/// change to directions over all features.
#[test]
fn surfree_draws_low_frequencies_for_images() {
    let shape = [2, 8, 12];
    let features = shape.iter().product::<usize>();
    let image = Modality {
        name: "x".into(),
        kind: Kind::Image,
        shape: shape.to_vec(),
        bounds: Bounds::uniform(0.0, 1.0).unwrap(),
    };
    let device = Device::flex();
    let mut medians = Vec::new();
    for smooth in [true, false] {
        let wave = |f: usize| {
            let (y, x) = (f % 96 / 12, f % 12);
            if smooth {
                (0.3 * y as f32).cos() + 0.2 * x as f32
            } else {
                // Neighbours have opposite signs.
                let side = if (y + x).is_multiple_of(2) { 1.0 } else { -1.0 };
                side * (1.0 + 0.01 * f as f32)
            }
        };
        let weights: Vec<f32> = (0..features).map(wave).collect();
        let mean = weights.iter().sum::<f32>() / 2.0;
        let w = Tensor::<2>::from_data(TensorData::new(weights.clone(), [features, 1]), &device);
        let model = BurnModel::closure(vec![image.clone()], 2, &device, move |x| {
            let score = x[0].clone().matmul(w.clone()) - mean;
            Tensor::cat(vec![score.clone(), score.neg()], 1)
        })
        .unwrap();
        let n = 6;
        let mut linear = Linear::new(&[features], 2, 5);
        linear.modalities = vec![image.clone()];
        let (values, _) = linear.samples(n, 9);
        let score = |i: usize| {
            let x = &values[0][i * features..(i + 1) * features];
            x.iter().zip(&weights).map(|(x, w)| x * w).sum::<f32>() - mean
        };
        let labels: Vec<usize> = (0..n).map(|i| usize::from(score(i) < 0.0)).collect();
        let length = Norm::L2.of(weights.iter().map(|w| f64::from(*w)));
        let exact: Vec<f64> = (0..n).map(|i| f64::from(score(i)).abs() / length).collect();
        let samples = samples(vec![image.clone()], values.clone(), labels);
        let rows: Vec<usize> = (0..n).collect();
        let threat = Threat::uniform(
            std::slice::from_ref(&image),
            Norm::L2,
            &Epsilon::new(1.0).unwrap(),
        );
        for table in [
            "queries = 300",
            "queries = 300\nspace = \"features\"",
            "queries = 2000",
        ] {
            let attack = proofmark_attacks::build("surfree", &table.parse().unwrap()).unwrap();
            let job = Job::new(&samples, &rows, &threat, &Silent);
            let outcomes = attack.run(Access::Decisions(&model), &job).unwrap();
            let mut ratios: Vec<f64> = (outcomes.rows.iter())
                .map(|o| gauge(o) / exact[o.row])
                .collect();
            ratios.sort_by(f64::total_cmp);
            medians.push(ratios[n / 2]);
        }
    }
    let [low, all, long, rough_low, rough_all, rough_long] = medians[..] else {
        panic!("{medians:?}")
    };
    assert!(low < 0.8 * all && long < 1.1, "{medians:?}");
    assert!(rough_low > rough_all && rough_long < 1.3, "{medians:?}");
}
