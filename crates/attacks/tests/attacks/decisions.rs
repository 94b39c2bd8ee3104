//! Decision-based attacks on linear models, whose exact distances are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_domain::{Coupling, Epsilon, Norm, RunStatus};
use proofmark_engine::{Access, Goal, Job, Outcome, Outcomes, Silent, Starts};
use proofmark_threat::{Budget, Radius, Threat};

use crate::common::Case;

fn case(features: usize, classes: usize, n: usize) -> Case {
    Case::new(&[features], classes, n, 5)
}

fn run<'a>(
    case: &'a Case,
    table: &str,
    threat: &'a Threat,
    change: impl FnOnce(&mut Job<'a>),
) -> Outcomes {
    case.run("hopskipjump", table, threat, change)
}

/// Returns distance found over exact distance, sorted; rows without a point are left out.
fn ratios(case: &Case, norm: Norm, outcomes: &Outcomes) -> Vec<f64> {
    let exact = case.exact(norm);
    let ratio = |o: &Outcome| Some(o.point.as_ref()?.distance / exact[o.row].0);
    let mut all: Vec<f64> = outcomes.rows.iter().filter_map(ratio).collect();
    all.sort_by(f64::total_cmp);
    all
}

#[test]
fn hopskipjump_gets_close_to_the_exact_distance() {
    // Two classes have one boundary; with four, a walk ends at the nearest part of a boundary that it reaches.
    for (norm, eps, classes, median, worst) in [
        (Norm::L2, 0.5, 2, 1.02, 1.05),
        (Norm::Linf, 0.1, 2, 1.02, 1.05),
        (Norm::L2, 0.5, 4, 1.02, 2.0),
        (Norm::Linf, 0.1, 4, 1.05, 2.0),
    ] {
        let case = case(24, classes, 20);
        let threat = case.within(norm, eps);
        let outcomes = run(&case, "queries = 5000", &threat, |_| {});
        let ratios = ratios(&case, norm, &outcomes);
        assert_eq!(
            ratios.len(),
            20,
            "{norm}: a start is found for every sample"
        );
        assert!(
            ratios[0] >= 0.999,
            "{norm}: nothing is nearer: {}",
            ratios[0]
        );
        let found = (ratios[10], ratios[19]);
        assert!(
            found.0 <= median && found.1 <= worst,
            "{norm} {classes}: {found:?}"
        );
        for o in &outcomes.rows {
            assert!(o.queries.forward <= 5001 && o.queries.backward == 0);
            let gauge = o.point.as_ref().unwrap().gauge;
            let expected = if gauge <= 1.0 {
                RunStatus::Broken
            } else {
                RunStatus::Robust
            };
            assert_eq!(o.status, expected);
        }
    }
}

/// The unit of the data and the size of the budget change only the unit of the result.
#[test]
fn more_queries_get_closer_and_the_budget_is_only_a_unit() {
    let case = case(24, 4, 12);
    let median = |table: &str, eps: f64| {
        let threat = case.within(Norm::L2, eps);
        let ratios = ratios(&case, Norm::L2, &run(&case, table, &threat, |_| {}));
        ratios[ratios.len() / 2]
    };
    let (few, many) = (median("queries = 300", 0.5), median("queries = 4000", 0.5));
    assert!(many < few, "{few} {many}");
    let far = median("queries = 4000", 50.0);
    assert!((far - many).abs() < 0.03, "{many} {far}");
}

#[test]
fn query_limits_are_exact() {
    let case = case(24, 4, 12);
    let threat = case.within(Norm::L2, 0.5);
    for queries in [1, 7, 9, 100, 333] {
        let outcomes = run(&case, &format!("queries = {queries}"), &threat, |_| {});
        for o in &outcomes.rows {
            // One more for the judge, if there is a point to judge.
            let judged = u64::from(o.point.is_some());
            assert_eq!(o.queries.forward, queries + judged, "{queries}");
        }
    }
    // A row exceeds the run's own limit by at most one part.
    let small = case.within(Norm::L2, 0.1);
    let limited = run(&case, "", &small, |job| job.forwards = Some(500));
    for o in &limited.rows {
        assert!(
            (500..=500 + 65).contains(&o.queries.forward),
            "{}",
            o.queries.forward
        );
        // Points found are kept; a row whose point is outside the budget was still searching.
        let gauge = o.point.as_ref().unwrap().gauge;
        let expected = if gauge <= 1.0 {
            RunStatus::Broken
        } else {
            RunStatus::Stopped
        };
        assert_eq!(o.status, expected);
    }
    let statuses = limited.rows.iter().map(|o| o.status);
    assert!(statuses.clone().any(|s| s == RunStatus::Stopped));
}

#[test]
fn batches_and_threads_change_nothing() {
    let case = case(24, 4, 12);
    let threat = case.within(Norm::Linf, 0.05);
    let bits = |o: &Outcomes| -> Vec<_> {
        let row = |o: &proofmark_engine::Outcome| {
            let point = o.point.as_ref().map(|p| (p.x.clone(), p.gauge.to_bits()));
            (o.status, o.queries, point)
        };
        o.rows.iter().map(row).collect()
    };
    let whole = bits(&run(&case, "queries = 600", &threat, |_| {}));
    for batch in [1, 5, 64] {
        let again = run(&case, "queries = 600", &threat, |job| job.batch = batch);
        assert_eq!(bits(&again), whole, "batch {batch}");
    }
    let alone = [7];
    let one = run(&case, "queries = 600", &threat, |job| job.rows = &alone);
    assert_eq!(bits(&one)[0], whole[7]);
}

#[test]
fn masked_features_never_move() {
    let case = case(24, 4, 12);
    let mask: Vec<bool> = (0..24).map(|f| f % 3 != 0).collect();
    let budget = Budget {
        modality: "x".into(),
        norm: Norm::L2,
        radius: Radius::Uniform(Epsilon::new(0.5).unwrap()),
        mask: Some(mask.clone().into()),
    };
    let threat = Threat::new(
        &case.linear.modalities,
        vec![budget],
        Coupling::Independent,
        12,
    )
    .unwrap();
    let outcomes = run(&case, "queries = 1500", &threat, |_| {});
    let found: Vec<_> = outcomes
        .rows
        .iter()
        .filter_map(|o| Some((o.row, o.point.as_ref()?)))
        .collect();
    assert!(found.len() >= 6, "{}", found.len());
    for (row, point) in found {
        let x0 = case.samples.sample(row)[0];
        for f in (0..24).filter(|f| !mask[*f]) {
            assert_eq!(point.x[0][f], x0[f]);
        }
    }
}

/// A curve judges one search against several budgets: a search cut short makes no row robust at any budget.
#[test]
fn a_search_cut_short_is_not_robust_at_any_budget() {
    let case = case(24, 4, 12);
    let (large, small) = (case.within(Norm::L2, 5.0), case.within(Norm::L2, 0.01));
    let smaller = Job::new(&case.samples, &case.rows, &small, &Silent);
    let held = |forwards: Option<u64>| -> Vec<RunStatus> {
        let outcomes = run(&case, "queries = 400", &large, |job| {
            job.forwards = forwards;
        });
        assert!(outcomes.rows.iter().all(|o| o.status == RunStatus::Broken));
        let within = outcomes.within(&smaller).rows;
        within.iter().map(|o| o.status).collect()
    };
    let is = |status, of: Vec<RunStatus>| of.iter().all(|s| *s == status);
    assert!(is(RunStatus::Stopped, held(Some(200))));
    assert!(is(RunStatus::Robust, held(None)));
}

/// In a suite, a walk begins at the point that the previous attack found.
#[test]
fn suite_members_start_from_points_of_earlier_members() {
    let case = case(24, 4, 12);
    // Nothing succeeds inside this budget, so every row goes on to the second member.
    let threat = case.within(Norm::L2, 1e-3);
    let table = r#"attacks = [{ id = "fmn", steps = 60 }, { id = "hopskipjump", queries = 60 }]"#;
    let suite = proofmark_attacks::build("suite", &table.parse().unwrap()).unwrap();
    let job = Job::new(&case.samples, &case.rows, &threat, &Silent);
    let outcomes = suite.run(Access::Gradients(&case.model), &job).unwrap();
    let [fmn, walk] = &outcomes.parts[..] else {
        panic!("two members")
    };
    let alone = run(&case, "queries = 60", &threat, |_| {});
    let mut nearer = 0;
    for ((before, after), alone) in fmn.rows.iter().zip(&walk.rows).zip(&alone.rows) {
        let gauge =
            |o: &proofmark_engine::Outcome| o.point.as_ref().map_or(f64::INFINITY, |p| p.gauge);
        assert!(gauge(after) <= gauge(before) * (1.0 + 1e-6));
        nearer += usize::from(gauge(after) < 0.9 * gauge(alone));
    }
    assert!(nearer >= 6, "{nearer}");
}

/// Noise rarely lands in a given class; a sample of that class is a start.
#[test]
fn a_target_class_is_reached_from_a_known_point() {
    let mut case = case(24, 4, 20);
    let target = |l: &usize| (l + 1) % 4;
    case.samples.targets = Some(case.samples.labels.iter().map(target).collect());
    let labels = &case.samples.labels;
    let start = |row: usize| {
        let of = labels.iter().position(|l| *l == target(&labels[row]))?;
        Some((row, Arc::from([case.samples.sample(of)[0].to_vec()])))
    };
    let starts: Arc<Starts> = Arc::new((0..20).filter_map(start).collect::<BTreeMap<_, _>>());
    let threat = case.within(Norm::L2, 0.5);
    let outcomes = run(&case, "queries = 3000", &threat, |job| {
        job.goal = &Goal::Targeted;
        job.starts = Some(&starts);
    });
    let mut found = 0;
    for o in &outcomes.rows {
        let Some(point) = &o.point else { continue };
        found += 1;
        assert_eq!(point.pred, target(&labels[o.row]));
        let (from, to) = (case.samples.sample(o.row)[0], &starts[&o.row][0]);
        let start = Norm::L2.of(from.iter().zip(to).map(|(a, b)| f64::from(a - b)));
        assert!(point.distance < start, "{} {start}", point.distance);
    }
    assert!(found >= starts.len(), "{found} of {}", starts.len());
}
