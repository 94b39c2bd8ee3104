//! Attacks that are not gradient ascent run on the same executor.

use proofmark_domain::{Norm, RunStatus};
use proofmark_engine::run;

use crate::attacks::{BoundaryWalk, DeepFool, RandomSearch};
use crate::common::{LabelsOnly, case};

#[test]
fn deepfool_reaches_the_exact_distance_on_the_same_executor() {
    let case = case(4, 25, 3);
    let model = case.model();
    let threat = case.threat(Norm::L2, 100.0);
    let outcomes = run(&model, &DeepFool, &case.job(&threat)).unwrap();
    let mut ratios = Vec::new();
    for o in &outcomes.rows {
        // Ten steps of four Jacobian rows, and one forward of the judge.
        assert_eq!(o.queries.forward, 41);
        // The plain step ignores bounds: where they clip it, it may not reach an adversarial.
        let Some(point) = &o.point else { continue };
        let (exact, _) = case
            .linear
            .distance(
                Norm::L2,
                case.samples.sample(o.row)[0],
                case.samples.labels[o.row],
            )
            .unwrap();
        ratios.push(point.distance / exact);
    }
    ratios.sort_by(f64::total_cmp);
    assert!(
        ratios[0] >= 0.999,
        "nothing is nearer than the exact distance: {}",
        ratios[0]
    );
    assert!(ratios.len() >= 22, "found {} of 25", ratios.len());
    assert!(ratios[11] < 1.1, "median {}", ratios[11]);
}

#[test]
fn score_and_decision_based_attacks_run_on_the_same_executor() {
    let case = case(3, 20, 5);
    let wide = case.threat(Norm::Linf, 0.5);
    let searched = run(&case.model(), &RandomSearch, &case.job(&wide)).unwrap();
    let broken = searched
        .rows
        .iter()
        .filter(|o| o.status == RunStatus::Broken)
        .count();
    assert!(broken >= 15, "random search broke {broken} of 20");

    let all = case.threat(Norm::L2, 4.0);
    let walked = run(&LabelsOnly(case.model()), &BoundaryWalk, &case.job(&all)).unwrap();
    let found: Vec<_> = walked
        .rows
        .iter()
        .filter_map(|o| o.point.as_ref().map(|p| (o, p)))
        .collect();
    assert!(found.len() >= 15, "the walk found {}", found.len());
    for (o, p) in found {
        let (exact, _) = case
            .linear
            .distance(
                Norm::L2,
                case.samples.sample(o.row)[0],
                case.samples.labels[o.row],
            )
            .unwrap();
        assert!(p.distance >= exact * 0.999 && p.distance < 4.0);
        assert_eq!(o.queries.forward, 20 + 30 + 1);
    }
}
