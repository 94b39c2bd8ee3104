//! Success follows the criterion of the job, and a run may end at the first success.

use burn::tensor::{Bool, Device, Tensor};
use proofmark_domain::{Epsilon, Norm, Observation, RunStatus};
use proofmark_engine::{
    Criterion, EngineError, Focus, Job, Oracle, Outcome, Outcomes, Rows, Samples, Silent, Stepper,
    Truth, run,
};
use proofmark_model::{Output, Query, ScoreModel};
use proofmark_stats::random::Purpose;
use proofmark_testkit::linear::Linear;
use proofmark_threat::{Column, Columns, Threat};

/// Succeeds if the first score is above `seen` during the attack and above `judged` for the judge.
#[derive(Debug)]
struct Above {
    seen: f32,
    judged: f32,
}

impl Criterion for Above {
    fn met(&self, output: &Output, _: &Focus) -> Result<Tensor<1, Bool>, EngineError> {
        let Output::Scores(scores) = output else {
            return Err(EngineError::NeedsScores);
        };
        let rows = scores.dims()[0];
        Ok(scores
            .clone()
            .slice([0..rows, 0..1])
            .squeeze_dim::<1>(1)
            .greater_scalar(self.seen))
    }

    fn met_by(&self, scores: &[f32], _: &Truth) -> bool {
        scores[0] > self.judged
    }
}

/// Tries random points and remembers the largest first score.
#[derive(Debug)]
struct Wander {
    restarts: u32,
}

#[derive(Debug, Clone)]
struct Most(Tensor<1>);

impl Columns for Most {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        vec![("most".into(), Column::Vector(&mut self.0))]
    }
}

impl<M: ScoreModel + ?Sized> Stepper<M> for Wander {
    type State = Most;

    fn id(&self) -> &'static str {
        "wander"
    }

    fn steps(&self) -> u32 {
        8
    }

    fn restarts(&self) -> u32 {
        self.restarts
    }

    fn start(&self, oracle: &mut Oracle<'_, M>, rows: &mut Rows) -> Result<Most, EngineError> {
        Ok(Most(
            Tensor::zeros([rows.len()], oracle.device()).full_like(f32::MIN),
        ))
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        most: &mut Most,
    ) -> Result<(), EngineError> {
        let x = rows.region().random(&rows.streams(Purpose::Noise, 0));
        let scores = oracle.scores(rows, Query::one_per_row(x, rows.keys()))?;
        let first = scores.slice([0..rows.len(), 0..1]).squeeze_dim::<1>(1);
        most.0 = most.0.clone().max_pair(first);
        Ok(())
    }

    fn reached(&self, most: &Most) -> Option<Tensor<1>> {
        Some(most.0.clone())
    }
}

/// Runs ten rows with labels that are no classes; `change` modifies the job.
fn wander(goal: &Above, restarts: u32, change: impl FnOnce(&mut Job<'_>)) -> Outcomes {
    let linear = Linear::new(&[16], 3, 5);
    let (values, _) = linear.samples(10, 5);
    let samples = Samples {
        modalities: linear.modalities.clone().into(),
        values,
        labels: (90..100).collect(),
        targets: None,
        keys: (0..10).collect(),
    };
    let rows: Vec<usize> = (0..10).collect();
    let threat = Threat::uniform(&linear.modalities, Norm::Linf, &Epsilon::new(0.2).unwrap());
    let mut job = Job::new(&samples, &rows, &threat, &Silent);
    job.goal = goal;
    change(&mut job);
    run(
        &linear.model(&Device::flex()).unwrap(),
        &Wander { restarts },
        &job,
    )
    .unwrap()
}

fn count(outcomes: &Outcomes, status: RunStatus) -> usize {
    outcomes.rows.iter().filter(|o| o.status == status).count()
}

/// Returns a threshold that some rows exceed at some step and others never do.
fn bar() -> f32 {
    let never = Above {
        seen: f32::MAX,
        judged: f32::MAX,
    };
    let mut reached: Vec<f32> = wander(&never, 1, |_| {})
        .rows
        .iter()
        .filter_map(|o| o.reached)
        .collect();
    assert_eq!(reached.len(), 10);
    reached.sort_by(f32::total_cmp);
    reached[4].midpoint(reached[5])
}

#[test]
fn rows_succeed_by_the_criterion_and_report_the_value_reached() {
    let bar = bar();
    let goal = Above {
        seen: bar,
        judged: bar,
    };
    let outcomes = wander(&goal, 1, |_| {});
    assert_eq!(
        (
            count(&outcomes, RunStatus::Broken),
            count(&outcomes, RunStatus::Robust)
        ),
        (5, 5)
    );
    for o in &outcomes.rows {
        assert_eq!(o.reached.unwrap() > bar, o.status == RunStatus::Broken);
    }
    // Several restarts report the best value of all.
    let never = Above {
        seen: f32::MAX,
        judged: f32::MAX,
    };
    let once = wander(&never, 1, |_| {});
    let thrice = wander(&never, 3, |_| {});
    let gains = once
        .rows
        .iter()
        .zip(&thrice.rows)
        .map(|(a, b)| b.reached.unwrap() - a.reached.unwrap());
    assert!(gains.clone().all(|g| g >= 0.0) && gains.sum::<f32>() > 0.0);
}

#[test]
fn rows_that_the_judge_does_not_confirm_stay_robust() {
    let goal = Above {
        seen: bar(),
        judged: f32::MAX,
    };
    let outcomes = wander(&goal, 1, |_| {});
    assert_eq!(count(&outcomes, RunStatus::Robust), 10);
    let told = |o: &&Outcome| o.observed.contains(&Observation::WitnessRejected);
    assert_eq!(outcomes.rows.iter().filter(told).count(), 5);
}

#[test]
fn a_run_ends_when_enough_rows_are_confirmed() {
    let bar = bar();
    let goal = Above {
        seen: bar,
        judged: bar,
    };
    let spent = |o: &Outcomes| o.rows.iter().map(|o| o.queries.forward).sum::<u64>();
    let whole = wander(&goal, 1, |_| {});
    let first = wander(&goal, 4, |job| job.enough = Some(1));
    let broken = count(&first, RunStatus::Broken);
    assert!((1..5).contains(&broken), "{broken}");
    assert_eq!(count(&first, RunStatus::Stopped), 10 - broken);
    assert!(spent(&first) < spent(&whole));
    // The points found equal those of the whole run.
    for (a, b) in first.rows.iter().zip(&whole.rows) {
        assert!(a.point.is_none() || a.point == b.point);
    }
    // More than there are rows: the whole run, over every restart.
    let all = wander(&goal, 1, |job| job.enough = Some(11));
    assert_eq!(
        (count(&all, RunStatus::Broken), spent(&all)),
        (5, spent(&whole))
    );
    // Unconfirmed successes do not count, and the run continues to its end.
    let doubted = Above {
        seen: bar,
        judged: f32::MAX,
    };
    let outcomes = wander(&doubted, 1, |job| job.enough = Some(1));
    assert_eq!(count(&outcomes, RunStatus::Robust), 10);
    assert_eq!(spent(&outcomes), spent(&wander(&doubted, 1, |_| {})));
}
