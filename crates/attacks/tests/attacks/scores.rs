//! Score-based attacks on linear models, whose exact distances are known, and on models that record what they are
//! asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use proofmark_domain::{Bounds, Coupling, Epsilon, Norm, Observation, RunStatus};
use proofmark_engine::{Access, Checkpoint, Job, Outcome, Outcomes, Silent};
use proofmark_model::{FromScores, Signature};
use proofmark_testkit::masked::{Mask, Masked};
use proofmark_threat::{Budget, Radius, Threat};

use crate::common::{Case, broken};

const ALL: [(&str, &str); 4] = [
    ("square", "queries = 60"),
    ("simba", "queries = 60"),
    ("nes", "steps = 5\nsamples = 10"),
    ("spsa", "steps = 5\nsamples = 10"),
];

#[test]
fn square_breaks_every_row_just_above_the_exact_linf_distance_and_none_below() {
    for (seed, classes) in [(1, 2), (2, 3), (3, 10)] {
        let mut case = Case::new(&[10], classes, 30, seed);
        let table = "queries = 1500\nrescale = true";
        let below = case.run("square", table, &case.at(Norm::Linf, 0.99), |_| {});
        assert_eq!(broken(&below), 0, "{classes} classes");
        case.target_nearest(Norm::Linf);
        let above = case.run("square", table, &case.at(Norm::Linf, 1.05), |_| {});
        assert_eq!(broken(&above), 30, "{classes} classes");
        // Every feature is at the end of its budget, so a point of the exact distance is found too.
        let close = case.run("square", table, &case.at(Norm::Linf, 1.001), |_| {});
        assert_eq!(broken(&close), 30, "{classes} classes");
    }
    // Without a target it may end at the best corner for another class.
    let case = Case::new(&[10], 3, 30, 4);
    let table = "queries = 500\nrestarts = 3\nrescale = true";
    let found = broken(&case.run("square", table, &case.at(Norm::Linf, 1.05), |_| {}));
    assert!(found >= 29, "{found}");
}

/// Square proposes windows of at least 3x3, and the weights of these models have no structure that such windows could
/// follow: it gets within a factor of the exact distance.
#[test]
fn square_in_l2_and_l1_gets_close_on_small_images() {
    for (norm, factor) in [(Norm::L2, 1.6), (Norm::L1, 2.0)] {
        let case = Case::images([1, 6, 6], 2, 20, 5);
        let table = "queries = 3000\nrescale = true";
        let found = |factor: f64| {
            let outcomes = case.run("square", table, &case.at(norm, factor), |_| {});
            broken(&outcomes)
        };
        assert_eq!(found(0.99), 0, "{norm}");
        assert_eq!(found(factor), 20, "{norm}");
    }
}

#[test]
fn simba_breaks_every_row_just_above_the_exact_l2_distance_and_none_below() {
    for basis in ["pixel", "dct"] {
        for (seed, classes) in [(1, 2), (2, 3), (3, 10)] {
            let mut case = Case::new(&[20], classes, 40, seed);
            let table = format!("queries = 3000\nbasis = \"{basis}\"");
            let below = case.run("simba", &table, &case.at(Norm::L2, 0.99), |_| {});
            assert_eq!(broken(&below), 0, "{basis} {classes} classes");
            case.target_nearest(Norm::L2);
            let above = case.run("simba", &table, &case.at(Norm::L2, 1.05), |_| {});
            assert_eq!(broken(&above), 40, "{basis} {classes} classes");
        }
    }
}

#[test]
fn estimated_gradients_break_every_row_just_above_the_exact_distance_and_none_below() {
    for (id, table) in [
        ("nes", "steps = 60\nsamples = 40"),
        ("spsa", "steps = 60\nsamples = 40"),
    ] {
        for norm in [Norm::Linf, Norm::L2, Norm::L1] {
            let mut case = Case::new(&[20], 10, 40, 2);
            let below = case.run(id, table, &case.at(norm, 0.99), |_| {});
            assert_eq!(broken(&below), 0, "{id} {norm}");
            case.target_nearest(norm);
            let above = case.run(id, table, &case.at(norm, 1.05), |_| {});
            assert_eq!(broken(&above), 40, "{id} {norm}");
        }
    }
}

/// Features with ranges of 1 and 10: probes of wide features move ten times as far. Estimates that ignored it would
/// follow the wide features alone, which suffices for 1.4 times the distance at best.
#[test]
fn estimates_allow_for_the_ranges_of_features() {
    let mut case = Case::new(&[20], 4, 30, 2);
    case.target_nearest(Norm::L2);
    // Wider bounds only add room: what breaks in [0, 1] still does.
    let high = (0..20).map(|f| if f % 2 == 0 { 1.0 } else { 10.0 });
    let bounds = Bounds::per_feature(vec![0.0; 20], high.collect()).unwrap();
    case.linear.modalities[0].bounds = bounds;
    case.samples.modalities = case.linear.modalities.clone().into();
    let threat = case.at(Norm::L2, 1.25);
    for id in ["nes", "spsa"] {
        let outcomes = case.run(id, "steps = 60\nsamples = 400", &threat, |_| {});
        assert_eq!(broken(&outcomes), 30, "{id}");
    }
}

/// A model that keeps every point it is asked about.
struct Recorder {
    model: FromScores,
    asked: Arc<AtomicUsize>,
    points: Arc<Mutex<Vec<Vec<Vec<f32>>>>>,
}

impl Recorder {
    fn new(case: &Case) -> Self {
        let (asked, points) = <(Arc<AtomicUsize>, Arc<Mutex<Vec<Vec<Vec<f32>>>>>)>::default();
        let (count, keep, linear) = (asked.clone(), points.clone(), case.linear.clone());
        let modalities = case.linear.modalities.clone();
        let mut signature =
            Signature::new("recorder", modalities, linear.classes, &Device::flex()).unwrap();
        // With a digest, the model is not asked about points of its own.
        signature.sha256 = "0".repeat(64);
        let model = FromScores::new(signature, move |x: &[Vec<f32>], rows| {
            count.fetch_add(rows, Ordering::Relaxed);
            let mut scores = Vec::new();
            for r in 0..rows {
                let row = linear.row(x, r);
                scores.extend(linear.scores(&row).iter().map(|s| *s as f32));
                let point = row.iter().map(|v| v.to_vec()).collect();
                keep.lock().unwrap().push(point);
            }
            Ok::<_, String>(scores)
        });
        Self {
            model: model.unwrap(),
            asked,
            points,
        }
    }
}

#[test]
fn query_counts_are_exact() {
    let case = Case::images([3, 4, 5], 4, 6, 2);
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let threat = case.at(norm, 0.5);
        for (id, table, each) in [
            ("square", "queries = 37", 37),
            ("square", "queries = 1", 1),
            ("square", "queries = 20\nrestarts = 3", 60),
            ("simba", "queries = 37", 37),
            ("simba", "queries = 37\nbasis = \"dct\"", 37),
            ("nes", "steps = 3\nsamples = 14", 3 * 15),
            ("nes", "steps = 2\nsamples = 90\nrestarts = 2", 2 * 2 * 91),
            ("spsa", "steps = 4\nsamples = 6", 4 * 7),
        ] {
            if id == "simba" && norm != Norm::L2 {
                continue;
            }
            let recorder = Recorder::new(&case);
            let access = Access::Scores(&recorder.model);
            // Without tiles nothing is padded, so the model is asked what the rows are charged for.
            let outcomes = case.run_on(access, id, table, &threat, |job| job.tile = None);
            for o in &outcomes.rows {
                assert_eq!(o.status, RunStatus::Robust, "{id} {norm}");
                assert_eq!(
                    (o.queries.forward, o.queries.backward),
                    (each, 0),
                    "{id} {norm}"
                );
            }
            let asked = recorder.asked.load(Ordering::Relaxed) as u64;
            assert_eq!(asked, each * case.rows.len() as u64, "{id} {norm}");
        }
        // A row that breaks pays for the judge too, and leaves at once.
        let wide = case.at(norm, 30.0);
        let found = case.run("square", "queries = 500", &wide, |_| {});
        assert!(broken(&found) >= 5);
        assert!(found.rows.iter().any(|o| o.queries.forward < 20));
    }
}

/// Every point that is queried lies inside the bounds; those of searches lie inside the budget, exactly.
#[test]
fn no_query_leaves_the_bounds_or_the_budget() {
    let mask: Vec<bool> = (0..60).map(|f| f % 20 >= 5 && f != 47).collect();
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        for (id, table) in ALL {
            if id == "simba" && norm != Norm::L2 {
                continue;
            }
            let mut case = Case::images([3, 4, 5], 4, 3, 2);
            // Values at the bounds leave no room on one side.
            for (i, v) in case.samples.values[0].iter_mut().enumerate() {
                *v = [*v, 0.0, 1.0, *v][i % 4];
            }
            let eps = vec![0.3, 0.02, 0.6];
            let threat = case.each(norm, eps, Some(mask.clone()));
            for i in 0..3 {
                let recorder = Recorder::new(&case);
                let access = Access::Scores(&recorder.model);
                let one: &[usize] = &[i];
                let attack = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap();
                let mut job = Job::new(&case.samples, one, &threat, &Silent);
                job.compaction = false;
                job.tile = None;
                attack.run(access, &job).unwrap();
                let x0 = case.samples.sample(i);
                let points = recorder.points.lock().unwrap();
                let mut widest: f64 = 0.0;
                for x in points.iter() {
                    for (f, v) in x[0].iter().enumerate() {
                        assert!((0.0..=1.0).contains(v), "{id} {norm}: {v}");
                        assert!(mask[f] || *v == x0[0][f], "{id} {norm}: masked");
                    }
                    let gauge = threat.gauge(&case.linear.modalities, i, x, &x0);
                    let gauge = gauge.expect("inside bounds and mask");
                    let probes = id == "nes" || id == "spsa";
                    assert!(probes || gauge <= 1.0, "{id} {norm}: {gauge}");
                    widest = widest.max(gauge);
                }
                // SimBA's few small steps do not add up to the budget.
                assert!(widest > 0.9 || id == "simba", "{id} {norm}: {widest}");
            }
        }
    }
}

type Bits = Vec<(RunStatus, u64, Option<(Vec<Vec<f32>>, u64)>)>;

fn bits(outcomes: &Outcomes) -> Bits {
    let row = |o: &Outcome| {
        let point = o.point.as_ref().map(|p| (p.x.clone(), p.gauge.to_bits()));
        (o.status, o.queries.forward, point)
    };
    outcomes.rows.iter().map(row).collect()
}

#[test]
fn batches_threads_and_stops_change_nothing() {
    let case = Case::images([2, 5, 6], 5, 12, 3);
    for norm in [Norm::Linf, Norm::L2, Norm::L1] {
        let threat = case.at(norm, 1.6);
        for (id, table) in ALL {
            if id == "simba" && norm != Norm::L2 {
                continue;
            }
            let whole = bits(&case.run(id, table, &threat, |_| {}));
            for batch in [1, 5] {
                let again = case.run(id, table, &threat, |job| job.batch = batch);
                assert_eq!(bits(&again), whole, "{id} {norm} batch {batch}");
            }
            let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
            let again = pool
                .unwrap()
                .install(|| case.run(id, table, &threat, |_| {}));
            assert_eq!(bits(&again), whole, "{id} {norm} threads");
            let alone = [7];
            let one = case.run(id, table, &threat, |job| job.rows = &alone);
            assert_eq!(bits(&one)[0], whole[7], "{id} {norm} alone");
            let kept = case.run(id, table, &threat, |job| job.compaction = false);
            for (kept, row) in bits(&kept).iter().zip(&whole) {
                assert_eq!((&kept.0, &kept.2), (&row.0, &row.2), "{id} {norm} kept");
            }
            // A stopped run goes on where it stopped.
            let asked = AtomicUsize::new(0);
            let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 3;
            let stopped = case.run(id, table, &threat, |job| {
                job.stop = Box::leak(Box::new(stop));
            });
            let checkpoint = stopped.checkpoint.expect("stopped");
            let read = Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
            let read: &Checkpoint = Box::leak(Box::new(read));
            let rest = case.run(id, table, &threat, |job| job.resume = Some(read));
            assert_eq!(bits(&rest), whole, "{id} {norm} resumed");
        }
    }
}

/// The scores of one row are NaN: it is invalid, and the other rows end as they do without it.
#[test]
fn a_row_without_finite_scores_is_invalid_alone() {
    const MARK: f32 = 0.123_456;
    let mut case = Case::new(&[12], 4, 6, 8);
    for r in 0..6 {
        case.samples.values[0][r * 12] = if r == 2 { MARK } else { 0.5 };
        let row = case.samples.values[0][r * 12..(r + 1) * 12].to_vec();
        let scores = case.linear.scores(&[&row]);
        let best = |a: usize, c: usize| if scores[c] > scores[a] { c } else { a };
        case.samples.labels[r] = (0..4).fold(0, best);
    }
    let mask: Vec<bool> = (0..12).map(|f| f > 0).collect();
    let linear = case.linear.clone();
    let signature = Signature::new("nan", linear.modalities.clone(), 4, &Device::flex()).unwrap();
    let model = FromScores::new(signature, move |x: &[Vec<f32>], rows| {
        let score = |r: usize| {
            let row = linear.row(x, r);
            let nan = row[0][0] == MARK;
            let scores = linear.scores(&row);
            scores
                .into_iter()
                .map(move |s| if nan { f32::NAN } else { s as f32 })
        };
        Ok::<_, String>((0..rows).flat_map(score).collect())
    })
    .unwrap();
    let threat = case.each(Norm::L2, vec![0.3; 6], Some(mask));
    for (id, table) in ALL {
        for compaction in [true, false] {
            let outcomes = case.run_on(Access::Scores(&model), id, table, &threat, |job| {
                job.compaction = compaction;
            });
            assert_eq!(outcomes.rows[2].status, RunStatus::Invalid, "{id}");
            assert!(
                outcomes.rows[2]
                    .observed
                    .contains(&Observation::NonFiniteScores)
            );
            let others = case.run_on(Access::Scores(&model), id, table, &threat, |job| {
                job.rows = &[0, 1, 3, 4, 5];
                job.compaction = compaction;
            });
            let (mut all, others) = (bits(&outcomes), bits(&others));
            all.remove(2);
            assert_eq!(all, others, "{id}");
            assert!(all.iter().any(|r| r.0 == RunStatus::Broken), "{id}");
        }
    }
}

#[test]
fn rows_that_cannot_move_end_early() {
    let case = Case::new(&[12], 3, 4, 8);
    let threat = case.each(Norm::L2, vec![0.0, 0.1, 0.0, 0.1], None);
    let spent = |id: &str| -> Vec<u64> {
        let outcomes = case.run(id, "queries = 30", &threat, |_| {});
        outcomes.rows.iter().map(|o| o.queries.forward).collect()
    };
    for id in ["square", "simba"] {
        assert_eq!([spent(id)[0], spent(id)[2]], [2, 2], "{id}");
    }
    // Nothing may change at all.
    let frozen = case.each(Norm::L2, vec![0.5; 4], Some(vec![false; 12]));
    for (id, table) in ALL {
        let outcomes = case.run(id, table, &frozen, |_| {});
        assert_eq!(broken(&outcomes), 0, "{id}");
    }
}

/// Two inputs, each with its own norm: both are changed, and the exact gauge of the pair bounds what can be found.
#[test]
fn two_inputs_move_within_their_own_budgets() {
    let case = Case::new(&[12, 8], 2, 25, 11);
    let budgets = |norms: [Norm; 2]| -> Vec<Budget> {
        (0..2)
            .map(|m| Budget {
                modality: format!("m{m}"),
                norm: norms[m],
                radius: Radius::Uniform(Epsilon::new([0.12, 0.5][m]).unwrap()),
                mask: None,
            })
            .collect()
    };
    let threat = |norms, coupling| {
        Threat::new(&case.linear.modalities, budgets(norms), coupling, 25).unwrap()
    };
    for (id, table, norms) in [
        (
            "square",
            "queries = 1500\nrescale = true",
            [Norm::Linf, Norm::L2],
        ),
        ("simba", "queries = 1500", [Norm::L2, Norm::L2]),
        ("nes", "", [Norm::Linf, Norm::L2]),
        ("spsa", "", [Norm::Linf, Norm::L2]),
    ] {
        let threat = threat(norms, Coupling::Independent);
        let outcomes = case.run(id, table, &threat, |_| {});
        let (mut possible, mut found) = (0, 0);
        for o in &outcomes.rows {
            let (row, label) = (case.samples.sample(o.row), case.samples.labels[o.row]);
            let pair = [(norms[0], 0.12), (norms[1], 0.5)];
            let coupling = proofmark_testkit::JointCoupling::Independent;
            let exact = case.linear.joint_gauge(&pair, coupling, &row, label);
            let exact = exact.unwrap();
            possible += usize::from(exact <= 0.9);
            if o.status == RunStatus::Broken {
                found += usize::from(exact <= 0.9);
                assert!(exact <= 1.0, "{id}");
            }
        }
        assert!(
            possible >= 5 && found == possible,
            "{id}: {found} of {possible}"
        );
    }
    let shared = threat([Norm::L2, Norm::L2], Coupling::Shared { q: 2.0 });
    let job = Job::new(&case.samples, &case.rows, &shared, &Silent);
    let build = |id: &str| proofmark_attacks::build(id, &toml::Table::new()).unwrap();
    let error = build("square").check(&job).unwrap_err().to_string();
    assert!(error.contains("independent budget"), "{error}");
    for id in ["simba", "nes", "spsa"] {
        build(id).check(&job).unwrap();
    }
    let outcomes = case.run("simba", "queries = 300", &shared, |_| {});
    assert!(broken(&outcomes) > 0);
}

/// Scores are rounded to steps of 0.2, ten times what a narrow probe changes: most pairs of probes see no difference
/// until they widen.
#[test]
fn probes_widen_until_scores_differ() {
    let case = Case::new(&[20], 3, 30, 6);
    let linear = case.linear.clone();
    let signature = Signature::new("steps", linear.modalities.clone(), 3, &Device::flex()).unwrap();
    let model = FromScores::new(signature, move |x: &[Vec<f32>], rows| {
        let steps = |s: f64| ((s / 0.2).round() * 0.2) as f32;
        let scores = (0..rows).flat_map(|r| linear.scores(&linear.row(x, r)));
        Ok::<_, String>(scores.map(steps).collect())
    })
    .unwrap();
    let threat = case.at(Norm::Linf, 1.6);
    for (id, table) in [
        ("nes", "steps = 30\nsamples = 40"),
        ("spsa", "steps = 30\nsamples = 40\ndelta = 0.001"),
        ("square", "queries = 1000\nrescale = true"),
    ] {
        let outcomes = case.run_on(Access::Scores(&model), id, table, &threat, |_| {});
        let found = broken(&outcomes);
        assert!(found >= 28, "{id}: {found} of 30");
    }
}

/// Inputs are rounded to 8 bits: gradients are zero, and scores still show the way.
#[test]
fn rounded_inputs_hide_nothing_from_scores() {
    let case = Case::new(&[20], 3, 30, 6);
    let model = Masked::new(case.linear.model(&Device::flex()).unwrap(), Mask::Quantiser);
    let threat = case.at(Norm::Linf, 1.5);
    let found = |id: &str, table: &str| {
        broken(&case.run_on(Access::Gradients(&model), id, table, &threat, |_| {}))
    };
    let by_gradient = found("pgd", "steps = 40\nrandom_start = false\nrestarts = 1");
    for (id, table) in [
        ("nes", "steps = 30\nsamples = 40"),
        ("spsa", "steps = 30\nsamples = 40"),
        ("square", "queries = 1000\nrescale = true"),
    ] {
        let by_scores = found(id, table);
        assert!(
            by_gradient < 10 && by_scores >= 28,
            "{id}: {by_scores} {by_gradient}"
        );
    }
}

/// Square on inputs of any shape finds what it finds on tables.
#[test]
fn square_takes_any_shape() {
    for shape in [[3, 8, 12], [1, 1, 30], [1, 30, 1], [2, 3, 17], [4, 1, 1]] {
        let case = Case::images(shape, 3, 10, 2);
        for norm in [Norm::Linf, Norm::L2, Norm::L1] {
            let table = "queries = 400\nrescale = true";
            let outcomes = case.run("square", table, &case.at(norm, 3.0), |_| {});
            let least = if norm == Norm::Linf { 10 } else { 5 };
            assert!(broken(&outcomes) >= least, "{shape:?} {norm}");
        }
    }
}

#[test]
fn wrong_parameters_are_named() {
    for (id, table, field) in [
        ("square", "queries = 0", "queries"),
        ("square", "p_init = 0.0", "p_init"),
        ("square", "p_init = nan", "p_init"),
        ("simba", "step_size = -1.0", "step_size"),
        ("simba", "frequencies = 1.5", "frequencies"),
        ("nes", "samples = 3", "samples"),
        ("nes", "sigma = 0.5", "sigma"),
        ("spsa", "samples = 0", "samples"),
        ("spsa", "beta1 = 1.0", "beta1"),
        ("spsa", "delta = nan", "delta"),
    ] {
        let error = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{id} {table}");
        assert!(error.problem.contains("expected"), "{}", error.problem);
    }
    let case = Case::new(&[4], 2, 1, 0);
    let job_threat = case.at(Norm::Linf, 1.0);
    let job = Job::new(&case.samples, &case.rows, &job_threat, &Silent);
    let simba = proofmark_attacks::build("simba", &toml::Table::new()).unwrap();
    assert!(
        simba
            .check(&job)
            .unwrap_err()
            .to_string()
            .contains("supports l2")
    );
}
