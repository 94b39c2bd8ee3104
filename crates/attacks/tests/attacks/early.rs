//! Restarts that begin early, in places that would be padding, never change a result: every row ends as it does when
//! its restarts run one after another, for any forward limit and wherever the run is stopped.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use burn::tensor::Device;
use proofmark_domain::{Epsilon, Norm, Observation, QueryCount, RunStatus};
use proofmark_engine::{Access, Checkpoint, Event, Job, Observer, Outcomes, Samples, Silent};
use proofmark_model::BurnModel;
use proofmark_testkit::linear::Linear;
use proofmark_threat::Threat;

const RESTARTS: usize = 6;
const STEPS: usize = 4;

struct Case {
    model: BurnModel,
    samples: Samples,
    rows: Vec<usize>,
    threat: Threat,
}

impl Case {
    fn new() -> Self {
        let linear = Linear::new(&[16], 5, 3);
        let (values, labels) = linear.samples(80, 3);
        Self {
            model: linear.model(&Device::flex()).unwrap(),
            threat: Threat::uniform(&linear.modalities, Norm::Linf, &Epsilon::new(0.06).unwrap()),
            samples: Samples {
                modalities: linear.modalities.clone().into(),
                values,
                labels,
                targets: None,
                keys: (0..80).collect(),
            },
            rows: (0..80).collect(),
        }
    }

    /// Runs restarts of a few short steps from random points, so that it is random which of them succeeds.
    fn run<'a>(&'a self, change: impl FnOnce(&mut Job<'a>)) -> Outcomes {
        let table = format!("steps = {STEPS}\nrestarts = {RESTARTS}\nstep_size = 0.004");
        let attack = proofmark_attacks::build("pgd", &table.parse().unwrap()).unwrap();
        let mut job = Job::new(&self.samples, &self.rows, &self.threat, &Silent);
        change(&mut job);
        attack.run(Access::Gradients(&self.model), &job).unwrap()
    }

    /// Runs the same attack with one thread and a tile size of 1: the row at work fills each tile, no place is idle,
    /// and nothing begins early.
    fn in_order<'a>(&'a self, change: impl FnOnce(&mut Job<'a>) + Send) -> Outcomes {
        with_threads(1, || {
            self.run(|job| {
                job.tile = Some(1);
                change(job);
            })
        })
    }
}

fn with_threads<T: Send>(n: usize, run: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build();
    pool.unwrap().install(run)
}

type Result = (
    RunStatus,
    QueryCount,
    Vec<Observation>,
    Option<(f64, usize)>,
);

fn results(outcomes: &Outcomes) -> Vec<Result> {
    let row = |o: &proofmark_engine::Outcome| {
        let point = o.point.as_ref().map(|p| (p.gauge, p.pred));
        (o.status, o.queries, o.observed.clone(), point)
    };
    outcomes.rows.iter().map(row).collect()
}

#[test]
fn rows_break_in_different_restarts_and_some_stay_robust() {
    let case = Case::new();
    let outcomes = case.in_order(|_| {});
    let each = (STEPS + 1) as u64;
    let mut tries = [0; RESTARTS + 1];
    for o in &outcomes.rows {
        let robust = o.status == RunStatus::Robust;
        tries[if robust {
            RESTARTS
        } else {
            ((o.queries.forward - 1) / each) as usize
        }] += 1;
    }
    assert!(tries[0] > 5 && tries[RESTARTS] > 5, "{tries:?}");
    assert!(
        tries[1..RESTARTS].iter().filter(|n| **n > 0).count() >= 3,
        "{tries:?}"
    );
}

/// Limits that end before, in and after the middle of every restart, judging included.
#[test]
fn early_tries_change_nothing_whatever_a_row_may_spend() {
    let case = Case::new();
    let most = (RESTARTS * (STEPS + 1)) as u64 + 2;
    for limit in (1..=most).map(Some).chain([None]) {
        let expected = results(&case.in_order(|job| job.forwards = limit));
        // Large tiles fill padding; small tiles use threads that would wait.
        for (tile, batch, threads) in [
            (8, 64, 2),
            (8, 5, 2),
            (16, 40, 2),
            (64, 64, 2),
            (3, 7, 2),
            (1, 64, 2),
            (1, 5, 8),
            (2, 64, 3),
        ] {
            let early = with_threads(threads, || {
                case.run(|job| {
                    (job.tile, job.batch, job.forwards) = (Some(tile), batch, limit);
                })
            });
            assert_eq!(
                results(&early),
                expected,
                "tile {tile} batch {batch} threads {threads} limit {limit:?}"
            );
        }
    }
}

#[test]
fn early_restarts_use_padding() {
    let case = Case::new();
    let early = case.run(|job| job.tile = Some(8));
    let asked: u64 = early.rows.iter().map(|o| o.queries.forward).sum();
    // One row alone in a tile for the remaining restarts would cost eight times what it queries.
    let one: Vec<usize> = early
        .rows
        .iter()
        .filter(|o| o.status == RunStatus::Robust)
        .map(|o| o.row)
        .take(1)
        .collect();
    let alone = case.run(|job| {
        job.rows = one.leak();
    });
    assert!(early.computed >= asked);
    let (paid, asked) = (alone.computed, alone.rows[0].queries.forward);
    // Six restarts run side by side, and all their points are judged at once.
    assert_eq!((asked, paid), (30, 8 * STEPS as u64 + 8));
}

#[test]
fn observers_see_only_counted_queries() {
    #[derive(Default)]
    struct Meter(AtomicU64);
    impl Observer for Meter {
        fn event(&self, event: Event) {
            if let Event::Queried { forward, .. } = event {
                self.0.fetch_add(forward, Ordering::Relaxed);
            }
        }
    }
    let case = Case::new();
    for limit in [None, Some(7), Some(13)] {
        let meter = Meter::default();
        let outcomes = case.run(|job| {
            job.observer = &meter;
            job.forwards = limit;
        });
        let ledger: u64 = outcomes.rows.iter().map(|o| o.queries.forward).sum();
        assert_eq!(meter.0.into_inner(), ledger);
        assert!(outcomes.computed > ledger);
    }
}

#[test]
fn a_checkpoint_holds_nothing_that_was_begun_early() {
    let case = Case::new();
    let whole = results(&case.in_order(|_| {}));
    let mut at_work = 0;
    for stop_at in 0..22 {
        let asked = AtomicUsize::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) >= stop_at;
        let stopped = case.run(|job| job.stop = &stop);
        let sequential = |o: &proofmark_engine::Outcome| o.queries.forward;
        let Some(checkpoint) = stopped.checkpoint else {
            assert_eq!(results(&stopped), whole);
            continue;
        };
        at_work += 1;
        // A stopped row has spent no more than its restarts had queried when it was stopped.
        for (o, w) in stopped.rows.iter().zip(&whole) {
            assert!(sequential(o) <= w.1.forward, "row {}", o.row);
        }
        let read = Checkpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
        let rest = case.run(|job| job.resume = Some(&read));
        assert_eq!(results(&rest), whole, "stopped at {stop_at}");
    }
    assert!(at_work > 10);
}

/// With a tile size of 1, a row queries one row at a time; threads that would wait run its later restarts.
#[test]
fn early_restarts_use_idle_threads() {
    let case = Case::new();
    let holds = case.in_order(|_| {}).rows.into_iter();
    let one: &[usize] = vec![
        holds
            .filter(|o| o.status == RunStatus::Robust)
            .map(|o| o.row)
            .next()
            .unwrap(),
    ]
    .leak();
    let steps = |threads: usize| {
        let steps = Steps::default();
        let outcomes = with_threads(threads, || {
            case.run(|job| {
                job.rows = one;
                job.tile = Some(1);
                job.observer = &steps;
            })
        });
        let asked = outcomes.rows[0].queries.forward;
        (steps.0.load(Ordering::Relaxed), asked, outcomes.computed)
    };
    // Six restarts of four steps: one after the other, two at a time, or all at once. None is wasted.
    let (tries, asked) = (RESTARTS as u64, (RESTARTS * (STEPS + 1)) as u64);
    let each = STEPS as u64;
    for (threads, at_once) in [(1, 1), (2, 2), (8, 6)] {
        assert_eq!(steps(threads), (tries / at_once * each, asked, asked));
    }
}

/// Counts steps.
#[derive(Default)]
struct Steps(AtomicU64);

impl Observer for Steps {
    fn event(&self, event: Event) {
        if let Event::Step { .. } = event {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
