//! Universal changes on linear models, where the best one is known: the direction of the weights, as far as the budget
//! goes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use burn::tensor::Tensor;
use proofmark_domain::Seed;
use proofmark_domain::{Norm, RunStatus};
use proofmark_engine::random::{Purpose, Stream, StreamKey};
use proofmark_engine::{Access, Checkpoint, Event, Job, Observer, Outcome, Outcomes, Split};
use proofmark_model::{BurnModel, DecisionModel, ModelError, Network, Query, Signature};
use proofmark_testkit::linear::Linear;
use proofmark_threat::Radius;

use crate::common::{Case, access};

const FEATURES: usize = 30;

/// Samples of class 0 of a linear model of two classes, far enough from the bounds that no change is clipped.
fn two_classes(n: usize) -> Case {
    let linear = Linear::new(&[FEATURES], 2, 3);
    let mut stream = Stream::new(&StreamKey::new(Seed(9), 0, Purpose::Data));
    let (mut values, mut found) = (Vec::new(), 0);
    while found < n {
        let x: Vec<f32> = (0..FEATURES)
            .map(|_| 0.3 + 0.4 * stream.uniform())
            .collect();
        let scores = linear.scores(&[&x]);
        if scores[0] > scores[1] {
            values.extend(x);
            found += 1;
        }
    }
    Case::of(linear, vec![values], vec![0; n])
}

/// Returns `w_1 - w_0`.
fn direction(case: &Case) -> Vec<f64> {
    let each = case.linear.weights[0].iter();
    each.map(|w| f64::from(w[1]) - f64::from(w[0])).collect()
}

/// Statuses, and the bits of the points.
fn results(outcomes: &Outcomes) -> Vec<(RunStatus, Option<Vec<u32>>)> {
    let bits = |o: &Outcome| {
        let point = o.point.as_ref()?;
        Some(point.x[0].iter().map(|v| v.to_bits()).collect())
    };
    outcomes.rows.iter().map(|o| (o.status, bits(o))).collect()
}

const ALL: [(&str, &str); 2] = [("uap-pgd", "epochs = 8"), ("uap", "target = 1.0")];

#[test]
fn on_a_linear_model_the_change_is_the_direction_of_the_weights() {
    let case = two_classes(60);
    let w = direction(&case);
    for (id, table) in ALL {
        for norm in [Norm::Linf, Norm::L2] {
            let mut distances: Vec<f64> = case.exact(norm).iter().map(|d| d.0).collect();
            let own = distances.clone();
            distances.sort_by(f64::total_cmp);
            // Half of the samples are nearer than this.
            let eps = f64::midpoint(distances[29], distances[30]);
            let outcomes = case.attack(id, table, &case.within(norm, eps));
            let change = &outcomes.universal.as_ref().unwrap()[0];
            let length = w.iter().map(|w| w * w).sum::<f64>().sqrt();
            let best = |f: usize| match norm {
                Norm::Linf => eps * w[f].signum(),
                _ => eps * w[f] / length,
            };
            // DeepFool's steps lie along the weights: clipped to the cube, they only approach its corner.
            let is_exact = !(id == "uap" && norm == Norm::Linf);
            for (f, v) in change.iter().enumerate() {
                let off = (f64::from(*v) - best(f)).abs();
                let close = if is_exact {
                    off < 1e-5
                } else {
                    off <= eps * 2.0 && f64::from(*v) * w[f] >= 0.0
                };
                assert!(close, "{id} {norm} feature {f}: {v} against {}", best(f));
            }
            for (o, distance) in outcomes.rows.iter().zip(own) {
                let within = o.status == RunStatus::Broken;
                if is_exact {
                    assert_eq!(within, distance < eps, "{id} {norm} {distance} {eps}");
                } else {
                    assert!(!within || distance < eps, "{id} {norm}");
                }
            }
            let fitted = outcomes.rows.iter().filter(|o| o.is_fitted()).count();
            assert_eq!(fitted, 30, "{id}");
        }
    }
}

#[test]
fn a_targeted_change_takes_the_held_out_samples_to_the_target() {
    let linear = Linear::new(&[40], 4, 8);
    let (values, labels) = linear.samples(80, 5);
    let mut case = Case::of(linear, values, labels);
    case.rows.retain(|row| case.samples.labels[*row] != 2);
    case.samples.targets = Some(vec![2; 80]);
    for (id, table) in ALL {
        let outcomes = case.attack(id, table, &case.within(Norm::Linf, 0.4));
        let held_out = outcomes.rows.iter().filter(|o| !o.is_fitted());
        let broken = held_out.clone().filter(|o| o.status == RunStatus::Broken);
        assert!(broken.clone().all(|o| o.point.as_ref().unwrap().pred == 2));
        let (broken, n) = (broken.count(), held_out.count());
        assert!(broken * 10 >= n * 8, "{id}: {broken} of {n}");
    }
}

#[test]
fn every_point_is_its_sample_and_the_change() {
    let linear = Linear::new(&[12], 3, 4);
    let (values, labels) = linear.samples(40, 6);
    let case = Case::of(linear, values, labels);
    for norm in [Norm::Linf, Norm::L2] {
        // Large enough that values meet their bounds.
        let outcomes = case.attack("uap-pgd", "", &case.within(norm, 0.5));
        let change = &outcomes.universal.as_ref().unwrap()[0];
        let broken = outcomes
            .rows
            .iter()
            .filter_map(|o| Some((o.row, o.point.as_ref()?)));
        let mut seen = 0;
        for (row, point) in broken {
            for ((x, to), v) in case.samples.sample(row)[0]
                .iter()
                .zip(&point.x[0])
                .zip(change)
            {
                assert!(((x + v).clamp(0.0, 1.0) - to).abs() < 1e-6);
            }
            assert!(point.gauge <= 1.0);
            seen += 1;
        }
        assert!(seen > 10, "{norm}: {seen}");
    }
}

#[test]
fn neither_batch_nor_threads_nor_the_order_of_the_samples_change_anything() {
    let linear = Linear::new(&[16], 3, 4);
    let (values, labels) = linear.samples(50, 6);
    let case = Case::of(linear, values, labels);
    let threat = case.within(Norm::L2, 0.6);
    for (id, table) in ALL {
        let first = case.attack(id, table, &threat);
        let other = case.run(id, table, &threat, |job| job.batch = 3);
        assert_eq!(results(&first), results(&other), "{id}");
        assert_eq!(first.universal, other.universal);
        let queries = |o: &Outcomes| o.rows.iter().map(|r| r.queries).collect::<Vec<_>>();
        assert_eq!(queries(&first), queries(&other), "{id}");
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let alone = pool.install(|| case.attack(id, table, &threat));
        assert_eq!(results(&first), results(&alone), "{id}");

        let mut turned: Vec<usize> = (0..50).collect();
        turned.reverse();
        let back = case.run(id, table, &threat, |job| job.rows = &turned);
        let mut rows = back.rows.clone();
        rows.sort_by_key(|o| o.row);
        let statuses = |rows: &[Outcome]| {
            rows.iter()
                .map(|o| (o.status, o.is_fitted()))
                .collect::<Vec<_>>()
        };
        assert_eq!(statuses(&rows), statuses(&first.rows), "{id}");
        assert_eq!(back.universal, first.universal, "{id}");
    }
}

#[test]
fn the_split_follows_from_seed_and_keys_and_holds_out_the_stated_share() {
    let case = two_classes(41);
    let threat = case.within(Norm::Linf, 0.1);
    let job = case.job(&threat);
    let split = |job: &Job<'_>, share| Split::new(job, share).unwrap();
    for (share, fit) in [(0.5, 21), (0.1, 4), (0.001, 1), (0.999, 40)] {
        let s = split(&job, share);
        assert_eq!((s.fit.len(), s.held_out.len()), (fit, 41 - fit));
        let mut all = [s.fit, s.held_out].concat();
        all.sort_unstable();
        assert_eq!(all, case.rows);
    }
    let other = Job {
        seed: Seed(1),
        ..job
    };
    assert_ne!(split(&job, 0.5), split(&other, 0.5));
    // A sample keeps its rank, whichever others are there: a smaller share takes a part of the larger one's.
    let (few, many) = (split(&job, 0.2), split(&job, 0.6));
    assert!(few.fit.iter().all(|row| many.fit.contains(row)));
}

#[test]
fn a_stopped_run_goes_on_to_the_same_end() {
    let case = two_classes(40);
    let near = case.exact(Norm::Linf);
    let threat = case.within(Norm::Linf, near[0].0);
    for (id, table) in ALL {
        let whole = case.attack(id, table, &threat);
        let polls = AtomicUsize::new(0);
        let never = || {
            polls.fetch_add(1, Ordering::Relaxed);
            false
        };
        case.run(id, table, &threat, |job| {
            job.batch = 8;
            job.stop = &never;
        });
        let polls = polls.into_inner();
        // While it is fitted, there is nothing to go on from; once it is applied, there is.
        for (stop_at, has_checkpoint) in [(3, false), (polls - 2, true)] {
            let asked = AtomicUsize::new(0);
            let stop = || asked.fetch_add(1, Ordering::Relaxed) >= stop_at;
            let part = case.run(id, table, &threat, |job| {
                job.batch = 8;
                job.stop = &stop;
            });
            assert!(part.rows.iter().any(|o| o.status == RunStatus::Stopped));
            assert_eq!(part.checkpoint.is_some(), has_checkpoint, "{id} {stop_at}");
            assert!(part.universal.is_none());
            let saved = part
                .checkpoint
                .map(|c| Checkpoint::from_bytes(&c.to_bytes()).unwrap());
            let rest = case.run(id, table, &threat, |job| {
                job.batch = 8;
                job.resume = saved.as_ref();
            });
            assert_eq!(results(&rest), results(&whole), "{id}");
            let queries = |o: &Outcomes| o.rows.iter().map(|r| r.queries).collect::<Vec<_>>();
            assert_eq!(queries(&rest), queries(&whole), "{id}");
        }
    }
}

/// Counts what the model computes.
struct Counted<'a>(&'a BurnModel, AtomicU64, AtomicU64);

impl Network for Counted<'_> {
    fn signature(&self) -> &Signature {
        DecisionModel::signature(self.0)
    }
    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let n = query.len() as u64;
        self.1.fetch_add(n, Ordering::Relaxed);
        if query.x.blocks()[0].is_tracked() {
            self.2.fetch_add(n, Ordering::Relaxed);
        }
        self.0.forward(query)
    }
}

#[derive(Default)]
struct Heard(AtomicU64, AtomicU64);

impl Observer for Heard {
    fn event(&self, event: Event) {
        if let Event::Queried { forward, backward } = event {
            self.0.fetch_add(forward, Ordering::Relaxed);
            self.1.fetch_add(backward, Ordering::Relaxed);
        }
    }
}

#[test]
fn every_query_is_counted_for_its_sample_and_told_to_observers() {
    let case = two_classes(30);
    let threat = case.within(Norm::Linf, 0.02);
    for (id, table) in ALL {
        let counted = Counted(&case.model, AtomicU64::new(0), AtomicU64::new(0));
        let heard = Heard::default();
        let outcomes = case.run_on(Access::Gradients(&counted), id, table, &threat, |job| {
            // Without tiles nothing is padded.
            job.tile = None;
            job.observer = &heard;
        });
        let sum = |f: fn(&Outcome) -> u64| outcomes.rows.iter().map(f).sum::<u64>();
        let (forward, backward) = (sum(|o| o.queries.forward), sum(|o| o.queries.backward));
        let of = |a: &AtomicU64| a.load(Ordering::Relaxed);
        assert_eq!(
            (forward, backward),
            (of(&counted.1), of(&counted.2)),
            "{id}"
        );
        assert_eq!((forward, backward), (of(&heard.0), of(&heard.1)), "{id}");
        assert_eq!(outcomes.computed, forward, "{id}");
        // A held-out sample costs the judge's query alone.
        for o in outcomes.rows.iter().filter(|o| !o.is_fitted()) {
            assert_eq!((o.queries.forward, o.queries.backward), (1, 0));
        }
        assert!(backward > 0);
    }
}

#[test]
fn what_has_no_universal_change_is_refused_with_a_reason() {
    let case = two_classes(6);
    for (id, table) in ALL {
        let told = |threat, change: fn(&mut Job<'_>)| {
            let model = access(&case.model, proofmark_engine::Needs::Gradients);
            let tried = case.tried_on(model, id, table, threat, change);
            tried.unwrap_err().to_string()
        };
        let threat = case.within(Norm::Linf, 0.1);
        let one = told(&threat, |job| job.rows = &[0]);
        assert!(one.contains("at least 2"), "{one}");
        let limited = told(&threat, |job| job.forwards = Some(3));
        assert!(limited.contains("forwards = 3"), "{limited}");
        let each = case.threat(Norm::Linf, Radius::PerSample([0.1; 6].into()), None);
        let each = told(&each, |_| {});
        assert!(each.contains("the same for all samples"), "{each}");
        let l0 = told(&case.within(Norm::L0, 3.0), |_| {});
        assert!(l0.contains("does not support norm l0"), "{l0}");
    }
    for (id, table, field) in [
        ("uap-pgd", "epochs = 0", "epochs"),
        ("uap-pgd", "minibatch = 0", "minibatch"),
        ("uap-pgd", "fit = 1.0", "fit"),
        ("uap-pgd", "cap = 0.0", "cap"),
        ("uap-pgd", "decay = -0.5", "decay"),
        ("uap-pgd", "step_size = 0.0", "step_size"),
        ("uap", "target = 1.1", "target"),
        ("uap", "fit = 0.0", "fit"),
        ("uap", "steps = 0", "steps"),
        ("uap", "overshoot = -0.1", "overshoot"),
    ] {
        let error = proofmark_attacks::build(id, &table.parse().unwrap()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field), "{error}");
    }
}
