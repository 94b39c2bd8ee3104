//! When a row is broken, robust or invalid: non-finite scores, unconfirmed adversarials and successes on the path.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Tensor;
use proofmark_domain::{Norm, Observation, RunStatus};
use proofmark_engine::{EngineError, Oracle, Rows, Stepper, preflight, run};
use proofmark_model::{
    BurnModel, DecisionModel, GradientModel, ModelError, Network, Query, Signature,
};
use proofmark_threat::{Batch, Step};

use crate::attacks::{CLIMB, Climb, MarginLoss, Position, RandomSearch};
use crate::common::{case, results};

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
