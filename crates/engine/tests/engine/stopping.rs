//! Runs that are stopped and resumed, and rows that exhaust their budget of queries.

use std::sync::atomic::{AtomicUsize, Ordering};

use proofmark_domain::{Norm, RunStatus};
use proofmark_engine::{Checkpoint, Job, Outcomes, run};

use crate::attacks::{CLIMB, Climb, DeepFool};
use crate::common::{case, results};

#[test]
fn a_stopped_run_goes_on_to_the_same_end() {
    let case = case(10, 50, 2);
    let model = case.model();
    let threat = case.threat(Norm::Linf, 0.05);
    let whole = run(&model, &CLIMB, &case.job(&threat)).unwrap();
    for stop_at in [0, 1, 5, 20, 33] {
        let asked = AtomicUsize::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) >= stop_at;
        let mut job = case.job(&threat);
        job.batch = 16;
        job.stop = &stop;
        let part = run(&model, &CLIMB, &job).unwrap();
        let checkpoint = part.checkpoint.expect("it was stopped");
        assert!(part.rows.iter().any(|o| o.status == RunStatus::Stopped));
        let saved = Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
        job.stop = &|| false;
        job.resume = Some(&saved);
        let rest = run(&model, &CLIMB, &job).unwrap();
        assert_eq!(results(&rest), results(&whole), "stopped at {stop_at}");
        let queries = |o: &Outcomes| o.rows.iter().map(|r| r.queries).collect::<Vec<_>>();
        assert_eq!(queries(&rest), queries(&whole));
    }
    assert!(Checkpoint::from_bytes(&[1, 2, 3]).is_err());
}

#[test]
fn a_checkpoint_of_another_job_or_attack_is_refused() {
    let case = case(10, 50, 2);
    let model = case.model();
    let threat = case.threat(Norm::Linf, 0.05);
    let asked = AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 5;
    let mut job = case.job(&threat);
    job.stop = &stop;
    let checkpoint = run(&model, &CLIMB, &job).unwrap().checkpoint.unwrap();
    job.stop = &|| false;
    job.resume = Some(&checkpoint);
    let refused = |job: &Job<'_>, words: &str| {
        let told = run(&model, &CLIMB, job).unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    };
    // Fewer rows, and rows in another order.
    let fewer: Vec<usize> = (0..49).collect();
    let turned: Vec<usize> = (0..50).rev().collect();
    for rows in [&fewer, &turned] {
        refused(&Job { rows, ..job }, "expected `");
    }
    // The same places in other samples.
    let mut samples = case.samples.clone();
    samples.keys[0] ^= 1;
    samples.labels[1] ^= 1;
    refused(
        &Job {
            samples: &samples,
            ..job
        },
        "of the rows is of other rows",
    );
    let told = run(&model, &DeepFool, &job).unwrap_err().to_string();
    assert!(told.contains("of attack `"), "{told}");
}

#[test]
fn an_exhausted_budget_freezes_its_row_and_no_other() {
    let case = case(10, 30, 4);
    let model = case.model();
    let threat = case.threat(Norm::Linf, 0.001);
    let mut job = case.job(&threat);
    job.forwards = Some(5);
    let outcomes = run(&model, &CLIMB, &job).unwrap();
    for o in &outcomes.rows {
        assert_eq!((o.status, o.queries.forward), (RunStatus::Stopped, 5));
    }
}

#[test]
fn a_budget_spent_between_restarts_stops_the_row_before_the_next() {
    let case = case(10, 30, 4);
    let model = case.model();
    let threat = case.threat(Norm::Linf, 0.001);
    let mut job = case.job(&threat);
    // Five steps of one restart and its judging leave nothing for the second.
    job.forwards = Some(6);
    let climb = Climb {
        steps: 5,
        restarts: 3,
    };
    for o in &run(&model, &climb, &job).unwrap().rows {
        assert_eq!((o.status, o.queries.forward), (RunStatus::Stopped, 6));
    }
}
