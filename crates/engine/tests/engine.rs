//! The executor's guarantees, and its use by three attacks that are not gradient ascent: a minimum-norm attack
//! (`DeepFool`), a score-based random search and a decision-based boundary walk.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use proofmark_domain::{Epsilon, Norm, Observation, RunStatus};
use proofmark_engine::{
    Aim, Checkpoint, EngineError, Event, Focus, Job, Loss, Observer, Oracle, Outcomes, Rows,
    Samples, Silent, Stepper, Truth, preflight, run,
};
use proofmark_model::{
    Access, BurnModel, DecisionModel, GradientModel, ModelError, Network, Output, Query,
    ScoreModel, Signature,
};
use proofmark_stats::random::{Purpose, Stream};
use proofmark_testkit::linear::Linear;
use proofmark_threat::{Batch, Column, Columns, Step, Threat, prefixed};

struct Case {
    linear: Linear,
    samples: Samples,
    rows: Vec<usize>,
}

fn case(classes: usize, n: usize, seed: u64) -> Case {
    let linear = Linear::new(&[16], classes, seed);
    let (values, labels) = linear.samples(n, seed);
    let samples = Samples {
        modalities: linear.modalities.clone().into(),
        values,
        labels,
        targets: None,
        keys: (0..n as u64).collect(),
    };
    Case {
        linear,
        samples,
        rows: (0..n).collect(),
    }
}

impl Case {
    fn model(&self) -> BurnModel {
        self.linear.model(&Device::flex()).unwrap()
    }

    fn threat(&self, norm: Norm, eps: f64) -> Threat {
        Threat::uniform(&self.linear.modalities, norm, &Epsilon::new(eps).unwrap())
    }

    fn job<'a>(&'a self, threat: &'a Threat) -> Job<'a> {
        Job::new(&self.samples, &self.rows, threat, &Silent)
    }
}

/// `z_class - z_label` for one class: `DeepFool` uses it to compute Jacobian rows.
#[derive(Debug)]
struct Against(usize);

impl Loss for Against {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, focus: &Focus) -> Tensor<1> {
        let other = vec![self.0; focus.label().len()];
        Focus::score(scores, &other) - Focus::score(scores, focus.label())
    }
}

/// Moosavi-Dezfooli et al. 2016, for L2, minimum norm.
#[derive(Debug)]
struct DeepFool;

#[derive(Debug, Clone)]
struct Position(Batch);

impl Columns for Position {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        prefixed("x", &mut self.0)
    }
}

fn host(t: &Tensor<2>) -> Vec<f32> {
    proofmark_threat::host(t)
}

impl<M: GradientModel + ?Sized> Stepper<M> for DeepFool {
    type State = Position;

    fn id(&self) -> &'static str {
        "deepfool"
    }

    fn steps(&self) -> u32 {
        10
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn start(&self, _: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Position, EngineError> {
        Ok(Position(rows.region().x0()))
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        s: &mut Position,
    ) -> Result<(), EngineError> {
        let classes = oracle.signature().classes;
        let query = Query::one_per_row(s.0.clone(), rows.keys());
        let (n, f) = (rows.len(), s.0.blocks()[0].dims()[1]);
        let mut best = vec![(f64::INFINITY, vec![0.0_f32; f]); n];
        for class in 0..classes {
            let answer = oracle.gradient_of(rows, &query, &Against(class))?;
            let (g, l) = (
                host(&answer.gradient.blocks()[0]),
                proofmark_threat::host(&answer.loss),
            );
            for i in 0..n {
                let w = &g[i * f..(i + 1) * f];
                let square: f64 = w.iter().map(|v| f64::from(*v).powi(2)).sum();
                let distance = f64::from(l[i]).abs() / square.sqrt();
                if square > 0.0 && distance < best[i].0 {
                    let by = 1.02 * (f64::from(l[i]).abs() + 1e-4) / square;
                    best[i] = (
                        distance,
                        w.iter().map(|v| (f64::from(*v) * by) as f32).collect(),
                    );
                }
            }
        }
        let step: Vec<f32> = best.into_iter().flat_map(|(_, d)| d).collect();
        let step = Tensor::from_data(TensorData::new(step, [n, f]), oracle.device());
        s.0 = s.0.map(|x| (x + step.clone()).clamp(0.0, 1.0));
        Ok(())
    }

    fn last(&self, s: &Position) -> Option<Batch> {
        Some(s.0.clone())
    }
}

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

/// Random search on scores: keep a random step if the margin falls.
#[derive(Debug)]
struct RandomSearch;

#[derive(Debug, Clone)]
struct Search {
    x: Batch,
    margin: Tensor<1>,
}

impl Columns for Search {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("x", &mut self.x);
        all.push(("margin".into(), Column::Vector(&mut self.margin)));
        all
    }
}

impl<M: ScoreModel + ?Sized> Stepper<M> for RandomSearch {
    type State = Search;

    fn id(&self) -> &'static str {
        "random-search"
    }

    fn steps(&self) -> u32 {
        60
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Search, EngineError> {
        let x = rows.region().x0();
        let query = Query::one_per_row(x.clone(), rows.keys());
        let scores = oracle.scores(rows, &query)?;
        Ok(Search {
            x,
            margin: Focus::margin(&scores, rows.focus().label()),
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        s: &mut Search,
    ) -> Result<(), EngineError> {
        let keys = rows.streams(Purpose::Direction, 0);
        let noise = s.x.map(|b| {
            let [n, f] = b.dims();
            let v: Vec<f32> = keys
                .iter()
                .flat_map(|k| {
                    let mut stream = Stream::new(k);
                    (0..f).map(|_| stream.normal()).collect::<Vec<_>>()
                })
                .collect();
            Tensor::from_data(TensorData::new(v, [n, f]), &b.device())
        });
        let all = |v: f32| rows.region().column(&vec![v; rows.len()]);
        let step = Step::new(all(0.5)).spread(all(1.0));
        let tried = rows.region().advance(&s.x, &noise, &step);
        let scores = oracle.scores(rows, Query::one_per_row(tried.clone(), rows.keys()))?;
        let margin = Focus::margin(&scores, rows.focus().label());
        let better = margin.clone().lower(s.margin.clone());
        s.x = s.x.replace_rows(&better, &tried);
        s.margin = s.margin.clone().mask_where(better, margin);
        Ok(())
    }
}

/// Walks towards the clean sample along the line from a random adversarial, on labels alone.
#[derive(Debug)]
struct BoundaryWalk;

#[derive(Debug, Clone)]
struct Walk {
    adversarial: Batch,
    /// Share of the way from the clean sample known to be adversarial.
    high: Vec<f64>,
    low: Vec<f64>,
}

impl Columns for Walk {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("adversarial", &mut self.adversarial);
        all.push(("high".into(), Column::Real(&mut self.high)));
        all.push(("low".into(), Column::Real(&mut self.low)));
        all
    }
}

impl<M: DecisionModel + ?Sized> Stepper<M> for BoundaryWalk {
    type State = Walk;

    fn id(&self) -> &'static str {
        "boundary-walk"
    }

    fn steps(&self) -> u32 {
        30
    }

    fn aim(&self) -> Aim {
        Aim::Minimise
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Walk, EngineError> {
        let mut found = rows.region().x0();
        let mut have = Tensor::<1>::zeros([rows.len()], oracle.device());
        for draw in 0..20 {
            let x = rows.region().random(&rows.streams(Purpose::Start, draw));
            let Output::Labels(labels) = oracle.decide_at(rows, &x)? else {
                panic!("labels only")
            };
            let own: Vec<i64> = rows.focus().label().iter().map(|l| *l as i64).collect();
            let own = Tensor::from_data(TensorData::new(own, [rows.len()]), oracle.device());
            let hit = labels
                .not_equal(own)
                .bool_and(have.clone().lower_scalar(0.5));
            found = found.replace_rows(&hit, &x);
            have = have.mask_fill(hit, 1.0);
        }
        Ok(Walk {
            adversarial: found,
            high: vec![1.0; rows.len()],
            low: vec![0.0; rows.len()],
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        s: &mut Walk,
    ) -> Result<(), EngineError> {
        let middle: Vec<f32> = s
            .high
            .iter()
            .zip(&s.low)
            .map(|(h, l)| (f64::midpoint(*h, *l)) as f32)
            .collect();
        let m = Tensor::<1>::from_floats(middle.as_slice(), oracle.device()).unsqueeze_dim::<2>(1);
        let x = rows
            .region()
            .x0()
            .zip(&s.adversarial, |a, b| a.clone() + (b - a) * m.clone());
        let Output::Labels(labels) = oracle.decide_at(rows, &x)? else {
            panic!("labels only")
        };
        let labels = proofmark_threat::host(&labels.float());
        for (i, own) in rows.focus().label().iter().enumerate() {
            let end = if labels[i] as usize == *own {
                &mut s.low[i]
            } else {
                &mut s.high[i]
            };
            *end = f64::from(middle[i]);
        }
        Ok(())
    }
}

/// Gives the predicted class only.
struct LabelsOnly(BurnModel);

impl DecisionModel for LabelsOnly {
    fn signature(&self) -> &Signature {
        DecisionModel::signature(&self.0)
    }

    fn access(&self) -> Access<'_> {
        Access::Decisions(self)
    }

    fn decide(&self, query: &Query) -> Result<Output, ModelError> {
        Ok(Output::Labels(
            self.0.scores(query)?.argmax(1).squeeze_dim::<1>(1),
        ))
    }
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

/// Plain Linf ascent on the margin with random starts, for testing the executor.
#[derive(Debug, Clone, Copy)]
struct Climb {
    steps: u32,
    restarts: u32,
}

#[derive(Debug)]
struct MarginLoss;

impl Loss for MarginLoss {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, focus: &Focus) -> Tensor<1> {
        Focus::margin(scores, focus.label()).neg()
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Climb {
    type State = Position;

    fn id(&self) -> &'static str {
        "climb"
    }

    fn steps(&self) -> u32 {
        self.steps
    }

    fn restarts(&self) -> u32 {
        self.restarts
    }

    fn start(&self, _: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Position, EngineError> {
        Ok(Position(
            rows.region().random(&rows.streams(Purpose::Start, 0)),
        ))
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        s: &mut Position,
    ) -> Result<(), EngineError> {
        let g = oracle.gradient(rows, &s.0, &MarginLoss)?.gradient;
        let size = vec![2.5 / self.steps as f32; rows.len()];
        let step = Step::new(rows.region().column(&size));
        s.0 = rows.region().advance(&s.0, &g, &step);
        Ok(())
    }

    fn last(&self, s: &Position) -> Option<Batch> {
        Some(s.0.clone())
    }
}

const CLIMB: Climb = Climb {
    steps: 12,
    restarts: 3,
};

/// Row, status, and the bits of point and gauge.
type Bits = (usize, RunStatus, Option<Vec<u32>>, Option<u64>);

/// Returns the results that must not depend on the engine's settings.
fn results(outcomes: &Outcomes) -> Vec<Bits> {
    outcomes
        .rows
        .iter()
        .map(|o| {
            let bits = o
                .point
                .as_ref()
                .map(|p| p.x[0].iter().map(|v| v.to_bits()).collect());
            (
                o.row,
                o.status,
                bits,
                o.point.as_ref().map(|p| p.gauge.to_bits()),
            )
        })
        .collect()
}

#[test]
fn batch_size_compaction_and_threads_change_nothing() {
    let case = case(10, 70, 8);
    let model = case.model();
    let threat = case.threat(Norm::Linf, 0.06);
    let reference = run(&model, &CLIMB, &case.job(&threat)).unwrap();
    let broken = reference
        .rows
        .iter()
        .filter(|o| o.status == RunStatus::Broken)
        .count();
    assert!(
        (10..60).contains(&broken),
        "a mixed set is needed: {broken}"
    );
    for compaction in [true, false] {
        let mut counts = Vec::new();
        for batch in [1, 7, 64, 512] {
            for threads in [1, 2] {
                let mut job = case.job(&threat);
                job.batch = batch;
                job.compaction = compaction;
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let outcomes = pool.install(|| run(&model, &CLIMB, &job)).unwrap();
                assert_eq!(
                    results(&outcomes),
                    results(&reference),
                    "batch {batch} compaction {compaction}"
                );
                counts.push(outcomes.rows.iter().map(|o| o.queries).collect::<Vec<_>>());
            }
        }
        assert!(
            counts.windows(2).all(|w| w[0] == w[1]),
            "query counts, compaction {compaction}"
        );
    }
}

#[test]
fn a_row_gives_the_same_result_alone_and_among_others() {
    let case = case(10, 40, 8);
    let model = case.model();
    let threat = case.threat(Norm::L2, 0.25);
    let all = results(&run(&model, &CLIMB, &case.job(&threat)).unwrap());
    for row in [0, 13, 39] {
        let rows = [row];
        let mut job = case.job(&threat);
        job.rows = &rows;
        assert_eq!(results(&run(&model, &CLIMB, &job).unwrap())[0], all[row]);
    }
}

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

/// Returns NaN for samples whose first feature is above one half.
struct SometimesNan(BurnModel);

impl Network for SometimesNan {
    fn signature(&self) -> &Signature {
        DecisionModel::signature(&self.0)
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let first = query.x.blocks()[0].clone().slice([0..query.len(), 0..1]);
        // The logarithm of a negative number is NaN.
        let poison = (first.neg() + 0.5).log() * 0.0;
        Ok(self.0.forward(query)? + poison)
    }
}

#[test]
fn a_row_with_non_finite_scores_is_invalid_and_spoils_no_other() {
    let mut case = case(3, 40, 6);
    for i in 0..40 {
        case.samples.values[0][i * 16] = if i % 2 == 0 { 0.9 } else { 0.1 };
        let row: Vec<&[f32]> = case.samples.sample(i);
        let scores = case.linear.scores(&row);
        case.samples.labels[i] = (0..3)
            .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
            .unwrap();
    }
    let threat = case.threat(Norm::Linf, 0.02);
    let clean = run(&case.model(), &CLIMB, &case.job(&threat)).unwrap();
    let outcomes = run(&SometimesNan(case.model()), &CLIMB, &case.job(&threat)).unwrap();
    for (o, c) in outcomes.rows.iter().zip(&clean.rows) {
        if o.row % 2 == 0 {
            assert_eq!(o.status, RunStatus::Invalid);
            assert!(o.observed.contains(&Observation::NonFiniteScores));
        } else {
            assert_eq!(o.status, c.status);
        }
    }
}

/// Replaces the scores of the last class by a constant so low that it never wins.
struct WithoutTheLast(BurnModel, f32);

impl Network for WithoutTheLast {
    fn signature(&self) -> &Signature {
        DecisionModel::signature(&self.0)
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let scores = self.0.forward(query)?;
        let [n, classes] = scores.dims();
        let masked = Tensor::<2>::full([n, 1], self.1, &scores.device());
        Ok(Tensor::cat(
            vec![scores.slice([0..n, 0..classes - 1]), masked],
            1,
        ))
    }
}

#[test]
fn a_score_of_minus_infinity_acts_like_a_very_low_score() {
    let mut case = case(4, 40, 6);
    // Labels are the predicted class among the first three, never the masked one.
    for i in 0..40 {
        let row: Vec<&[f32]> = case.samples.sample(i);
        let scores = case.linear.scores(&row);
        case.samples.labels[i] = (0..3)
            .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
            .unwrap();
    }
    let threat = case.threat(Norm::Linf, 0.02);
    let job = case.job(&threat);
    let far = WithoutTheLast(case.model(), -1e6);
    let endless = WithoutTheLast(case.model(), f32::NEG_INFINITY);
    for (a, b) in preflight(&far, &job)
        .unwrap()
        .iter()
        .zip(preflight(&endless, &job).unwrap())
    {
        assert_eq!((a.pred, &a.observed), (b.pred, &b.observed));
        assert!(a.pred.is_some());
    }
    let of = |model: &WithoutTheLast| {
        [
            run(model, &CLIMB, &job).unwrap(),
            run(model, &RandomSearch, &job).unwrap(),
        ]
        .map(|outcomes| results(&outcomes))
    };
    assert_eq!(of(&far), of(&endless));
    let outcomes = run(&endless, &CLIMB, &job).unwrap();
    let n = (outcomes.rows.iter())
        .filter(|o| o.status == RunStatus::Broken)
        .count();
    assert!((1..40).contains(&n), "{n}");
}

/// Negates its scores on the third call only, as a randomised model might.
struct Fickle {
    inner: BurnModel,
    calls: AtomicUsize,
}

impl Network for Fickle {
    fn signature(&self) -> &Signature {
        DecisionModel::signature(&self.inner)
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let scores = self.inner.forward(query)?;
        // Only the third call is wrong; the judge gets the true scores.
        Ok(if self.calls.fetch_add(1, Ordering::Relaxed) == 2 {
            scores.neg()
        } else {
            scores
        })
    }
}

#[test]
fn an_adversarial_that_is_not_confirmed_is_never_broken_and_is_told() {
    let case = case(3, 10, 9);
    let threat = case.threat(Norm::Linf, 1e-5);
    let model = Fickle {
        inner: case.model(),
        calls: AtomicUsize::new(0),
    };
    let climb = Climb {
        steps: 5,
        restarts: 1,
    };
    let outcomes = run(&model, &climb, &case.job(&threat)).unwrap();
    assert!(outcomes.rows.iter().all(|o| o.status == RunStatus::Robust));
    let told = |o: &proofmark_engine::Outcome| o.observed.contains(&Observation::WitnessRejected);
    assert!(outcomes.rows.iter().any(told));
}

#[test]
fn an_adversarial_on_the_path_is_always_returned() {
    /// Walks through the adversarial region and returns to the clean sample.
    #[derive(Debug)]
    struct ThereAndBack;
    impl<M: GradientModel + ?Sized> Stepper<M> for ThereAndBack {
        type State = Position;
        fn id(&self) -> &'static str {
            "there-and-back"
        }
        fn steps(&self) -> u32 {
            7
        }
        fn start(&self, _: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Position, EngineError> {
            Ok(Position(rows.region().x0()))
        }
        fn step(
            &self,
            oracle: &mut Oracle<'_, M>,
            rows: &mut Rows,
            s: &mut Position,
        ) -> Result<(), EngineError> {
            let g = oracle.gradient(rows, &s.0, &MarginLoss)?.gradient;
            let size: Vec<f32> = rows
                .steps()
                .iter()
                .map(|k| if *k < 3 { 1.0 } else { -1.0 })
                .collect();
            let step = Step::new(rows.region().column(&size));
            s.0 = rows.region().advance(&s.0, &g, &step);
            Ok(())
        }
        fn last(&self, s: &Position) -> Option<Batch> {
            Some(s.0.clone())
        }
    }
    let case = case(3, 20, 1);
    let threat = case.threat(Norm::Linf, 0.5);
    for compaction in [true, false] {
        let mut job = case.job(&threat);
        job.compaction = compaction;
        let outcomes = run(&case.model(), &ThereAndBack, &job).unwrap();
        assert!(
            outcomes
                .rows
                .iter()
                .all(|o| o.status == RunStatus::Broken && o.observed.is_empty())
        );
    }
}

#[test]
fn observers_are_told_and_change_nothing() {
    #[derive(Default)]
    struct Log(Mutex<Vec<Event>>);
    impl Observer for Log {
        fn event(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }
    let case = case(3, 20, 1);
    let threat = case.threat(Norm::Linf, 0.02);
    let log = Log::default();
    let mut job = case.job(&threat);
    job.observer = &log;
    let seen = run(&case.model(), &CLIMB, &job).unwrap();
    let unseen = run(&case.model(), &CLIMB, &case.job(&threat)).unwrap();
    assert_eq!(results(&seen), results(&unseen));
    let events = log.0.into_inner().unwrap();
    assert_eq!(
        events[0],
        Event::Round {
            restart: 0,
            rows: 20
        }
    );
    assert!(matches!(events.last(), Some(Event::Judged { .. })));
}

#[test]
fn a_panic_in_a_model_is_an_error_that_names_it() {
    struct Broken(Signature);
    impl Network for Broken {
        fn signature(&self) -> &Signature {
            &self.0
        }
        fn forward(&self, _: &Query) -> Result<Tensor<2>, ModelError> {
            panic!("shapes do not fit")
        }
    }
    let case = case(2, 3, 1);
    let modalities = case.linear.modalities.clone();
    let signature = DecisionModel::signature(&case.model()).clone();
    let threat = Threat::uniform(&modalities, Norm::Linf, &Epsilon::new(0.1).unwrap());
    let error = run(&Broken(signature), &CLIMB, &case.job(&threat))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`linear` panicked: shapes do not fit"),
        "{error}"
    );
}

#[test]
fn an_answer_that_decides_nothing_when_judged_is_invalid_and_not_robust() {
    /// Returns scores that are not finite for the judge's draws only.
    struct NanWhenJudged(BurnModel);
    impl Network for NanWhenJudged {
        fn signature(&self) -> &Signature {
            DecisionModel::signature(&self.0)
        }
        fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
            let scores = self.0.forward(query)?;
            Ok(if query.draw[0] >= 1 << 31 {
                scores * f32::NAN
            } else {
                scores
            })
        }
    }
    let case = case(3, 10, 9);
    let threat = case.threat(Norm::Linf, 1e-5);
    let outcomes = run(&NanWhenJudged(case.model()), &CLIMB, &case.job(&threat)).unwrap();
    for o in &outcomes.rows {
        assert_eq!(o.status, RunStatus::Invalid);
        assert_eq!(o.observed, [Observation::NonFiniteScores]);
    }
}

#[test]
fn a_panic_outside_the_model_is_an_error() {
    /// Panics only when the judge queries it, as with a lost device.
    #[derive(Debug)]
    struct Lost;
    impl proofmark_engine::Criterion for Lost {
        fn met(
            &self,
            output: &Output,
            focus: &Focus,
        ) -> Result<Tensor<1, burn::tensor::Bool>, EngineError> {
            proofmark_engine::Goal::Untargeted.met(output, focus)
        }
        fn met_by(&self, _: &[f32], _: &Truth) -> bool {
            panic!("values cannot be read back: lost")
        }
    }
    /// Panics when its columns are saved after the run was stopped.
    #[derive(Debug, Clone)]
    struct Unsaved;
    static STOPPED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    impl Columns for Unsaved {
        fn columns(&mut self) -> Vec<(String, Column<'_>)> {
            assert!(
                !STOPPED.load(Ordering::Relaxed),
                "values cannot be read back: lost"
            );
            Vec::new()
        }
    }
    #[derive(Debug)]
    struct Idle;
    impl<M: GradientModel + ?Sized> Stepper<M> for Idle {
        type State = Unsaved;
        fn id(&self) -> &'static str {
            "idle"
        }
        fn steps(&self) -> u32 {
            2
        }
        fn start(&self, _: &mut Oracle<'_, M>, _: &mut Rows) -> Result<Unsaved, EngineError> {
            Ok(Unsaved)
        }
        fn step(
            &self,
            _: &mut Oracle<'_, M>,
            _: &mut Rows,
            _: &mut Unsaved,
        ) -> Result<(), EngineError> {
            Ok(())
        }
    }
    let case = case(3, 4, 9);
    let model = case.model();
    let threat = case.threat(Norm::Linf, 0.1);
    let told = |result: Result<Outcomes, EngineError>| {
        let told = result.unwrap_err().to_string();
        assert!(
            told.starts_with(
                "the device failed outside the model: values cannot be read back: lost"
            ),
            "{told}"
        );
    };
    let mut job = case.job(&threat);
    job.goal = &Lost;
    told(run(&model, &CLIMB, &job));
    let stop = || {
        STOPPED.store(true, Ordering::Relaxed);
        true
    };
    let mut job = case.job(&threat);
    job.stop = &stop;
    told(run(&model, &Idle, &job));
}

#[test]
fn a_goal_about_scores_refuses_a_model_that_only_decides() {
    #[derive(Debug)]
    struct OfScores;
    impl proofmark_engine::Criterion for OfScores {
        fn met(
            &self,
            output: &Output,
            focus: &Focus,
        ) -> Result<Tensor<1, burn::tensor::Bool>, EngineError> {
            match output {
                Output::Scores(_) => proofmark_engine::Goal::Untargeted.met(output, focus),
                Output::Labels(_) => Err(EngineError::NeedsScores),
            }
        }
        fn met_by(&self, scores: &[f32], truth: &Truth) -> bool {
            proofmark_engine::Goal::Untargeted.met_by(scores, truth)
        }
    }
    let case = case(3, 4, 9);
    let threat = case.threat(Norm::L2, 4.0);
    let mut job = case.job(&threat);
    job.goal = &OfScores;
    let refused = run(&LabelsOnly(case.model()), &BoundaryWalk, &job).unwrap_err();
    assert_eq!(refused, EngineError::NeedsScores);
}

#[test]
fn what_observers_are_told_was_asked_is_the_ledger_all_of_it() {
    #[derive(Default)]
    struct Meter(std::sync::atomic::AtomicU64);
    impl Observer for Meter {
        fn event(&self, event: Event) {
            if let Event::Queried { forward, .. } = event {
                self.0.fetch_add(forward, Ordering::Relaxed);
            }
        }
    }
    let case = case(3, 20, 1);
    let model = case.model();
    let threat = case.threat(Norm::Linf, 0.02);
    let meter = Meter::default();
    let mut job = case.job(&threat);
    job.observer = &meter;
    let clean = proofmark_engine::preflight(&model, &job).unwrap();
    assert_eq!((clean.len(), meter.0.swap(0, Ordering::Relaxed)), (20, 60));
    let outcomes = run(&model, &CLIMB, &job).unwrap();
    let ledger: u64 = outcomes.rows.iter().map(|o| o.queries.forward).sum();
    // The ledger includes judging, so it exceeds the steps alone.
    assert_eq!(meter.0.into_inner(), ledger);
    let held = outcomes.rows.iter().find(|o| o.status == RunStatus::Robust);
    assert_eq!(held.unwrap().queries.forward, 3 * (12 + 1));
}

/// Decides for the class after the predicted one, which does not exist for the last class.
struct Fourth(LabelsOnly);
impl DecisionModel for Fourth {
    fn signature(&self) -> &Signature {
        self.0.signature()
    }
    fn access(&self) -> Access<'_> {
        Access::Decisions(self)
    }
    fn decide(&self, query: &Query) -> Result<Output, ModelError> {
        let Output::Labels(labels) = self.0.decide(query)? else {
            panic!("labels only")
        };
        Ok(Output::Labels(labels + 1))
    }
}

#[test]
fn preflight_uses_all_the_access_that_the_model_gives() {
    /// Scales its scores so far apart that cross-entropy has no gradient left.
    struct Loud(BurnModel);
    impl Network for Loud {
        fn signature(&self) -> &Signature {
            DecisionModel::signature(&self.0)
        }
        fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
            let scores = self.0.forward(query)?;
            // The scores differ on the gradient path.
            let factor = if scores.is_autodiff() { 2e6 } else { 1e6 };
            Ok(scores * factor)
        }
    }
    #[derive(Default)]
    struct Costs(Mutex<[u64; 2]>);
    impl Observer for Costs {
        fn event(&self, event: Event) {
            if let Event::Queried { forward, backward } = event {
                let mut costs = self.0.lock().unwrap();
                *costs = [costs[0] + forward, costs[1] + backward];
            }
        }
    }
    let case = case(3, 20, 1);
    let threat = case.threat(Norm::Linf, 0.0);
    let model = Loud(case.model());
    let ask = |access: Access<'_>| {
        let costs = Costs::default();
        let mut job = case.job(&threat);
        job.observer = &costs;
        let clean = preflight(access, &job).unwrap();
        (clean, costs.0.into_inner().unwrap())
    };
    let (whole, cost) = ask(Access::Gradients(&model));
    assert_eq!(cost, [60, 20]);
    assert_eq!(
        whole[0].observed,
        [Observation::SaturatedLogits, Observation::TrackedMismatch]
    );
    let (scored, cost) = ask(Access::Scores(&model));
    assert_eq!(cost, [40, 0]);
    let (decided, cost) = ask(Access::Decisions(&model));
    assert_eq!(cost, [40, 0]);
    for ((whole, scored), decided) in whole.iter().zip(&scored).zip(&decided) {
        assert_eq!((whole.pred, &whole.scores), (scored.pred, &scored.scores));
        assert_eq!((whole.pred, None), (decided.pred, decided.scores.clone()));
        assert_eq!(scored.observed, [Observation::SaturatedLogits]);
        assert_eq!(decided.observed, []);
    }

    // A model that gives decisions only declares that itself, and a class that does not exist is no decision.
    let fourth = Fourth(LabelsOnly(case.model()));
    let job = case.job(&threat);
    let (clean, plain) = (preflight(&fourth, &job), preflight(&fourth.0, &job));
    for (clean, plain) in clean.unwrap().into_iter().zip(plain.unwrap()) {
        let pred = plain.pred.unwrap() + 1;
        if pred < 3 {
            assert_eq!((clean.pred, clean.observed), (Some(pred), vec![]));
        } else {
            let observed = vec![Observation::NonFiniteScores];
            assert_eq!((clean.pred, clean.observed), (None, observed));
        }
    }
}
