//! What observers receive, and what preflight queries and reports.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use burn::tensor::Tensor;
use proofmark_domain::{Norm, Observation, RunStatus};
use proofmark_engine::{Event, Observer, preflight, run};
use proofmark_model::{
    Access, BurnModel, DecisionModel, ModelError, Network, Output, Query, Signature,
};

use crate::attacks::CLIMB;
use crate::common::{LabelsOnly, case, results};

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
