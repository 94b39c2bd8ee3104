//! Random models: gradients are means over draws, and a point counts only if the run's rule holds over its draws.

use std::sync::Mutex;

use burn::tensor::{Device, Tensor};
use proofmark_domain::{Norm, RunStatus};
use proofmark_engine::{
    EngineError, Focus, Job, Judge, Loss, Oracle, Outcomes, Rows, Rule, Stepper, run,
};
use proofmark_model::{GradientModel, ModelError, Network, Query, Signature};
use proofmark_threat::{Batch, Columns, host};

use crate::common::{Case, case};

/// Scores `(0, s + (draw + 1) x_0)`, where `s` is 1 in the first `wins` of every four draws and −1000 in the others.
struct ByDraw {
    signature: Signature,
    wins: u32,
}

impl Network for ByDraw {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn forward(&self, query: &Query) -> Result<Tensor<2>, ModelError> {
        let first = query.x.blocks()[0].clone().narrow(1, 0, 1);
        let column = |value: &dyn Fn(u32) -> f32| {
            let values: Vec<f32> = query.draw.iter().map(|d| value(*d)).collect();
            Tensor::<1>::from_floats(values.as_slice(), &first.device()).unsqueeze_dim::<2>(1)
        };
        let shift = column(&|d| if d % 4 < self.wins { 1.0 } else { -1000.0 });
        let second = first.clone() * column(&|d| (d % (1 << 31)) as f32 + 1.0) + shift;
        Ok(Tensor::cat(vec![first.zeros_like(), second], 1))
    }
}

#[derive(Debug)]
struct SecondScore;

impl Loss for SecondScore {
    fn per_sample(&self, scores: &Tensor<2>, _: &Batch, _: &Focus) -> Tensor<1> {
        Focus::score(scores, &vec![1; scores.dims()[0]])
    }
}

/// Asks about the clean samples, four draws in each of two steps.
#[derive(Debug, Default)]
struct Ask(Mutex<Vec<[f32; 2]>>);

#[derive(Debug, Clone)]
struct Nothing;

impl Columns for Nothing {
    fn columns(&mut self) -> Vec<(String, proofmark_threat::Column<'_>)> {
        Vec::new()
    }
}

impl<M: GradientModel + ?Sized> Stepper<M> for Ask {
    type State = Nothing;

    fn id(&self) -> &'static str {
        "ask"
    }

    fn steps(&self) -> u32 {
        2
    }

    fn start(&self, _: &mut Oracle<'_, M>, _: &mut Rows) -> Result<Nothing, EngineError> {
        Ok(Nothing)
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        _: &mut Nothing,
    ) -> Result<(), EngineError> {
        let x = rows.region().x0();
        let request = rows.request(&x);
        let answer = oracle.mean_gradient(rows, request, 4, &SecondScore)?;
        let loss = host(&answer.loss);
        for (g, loss) in host(&answer.gradient.blocks()[0]).chunks(16).zip(loss) {
            assert!(g[1..].iter().all(|v| *v == 0.0));
            self.0.lock().unwrap().push([g[0], loss]);
        }
        Ok(())
    }
}

fn asked(case: &Case, wins: u32, rule: Rule) -> (Outcomes, Vec<[f32; 2]>) {
    let modalities = case.linear.modalities.clone();
    let model = ByDraw {
        signature: Signature::new("by-draw", modalities, 2, &Device::flex()).unwrap(),
        wins,
    };
    let threat = case.threat(Norm::Linf, 0.1);
    let job = Job {
        judge: Judge { draws: 1, rule },
        ..case.job(&threat)
    };
    let ask = Ask::default();
    let outcomes = run(&model, &ask, &job).unwrap();
    (outcomes, ask.0.into_inner().unwrap())
}

#[test]
fn a_point_counts_if_the_rule_holds_over_its_draws() {
    let mut case = case(2, 3, 1);
    case.samples.labels = vec![0; 3];
    for (wins, rule, counts) in [
        (2, Rule::Majority, false),
        (3, Rule::Majority, true),
        (0, Rule::Any, false),
        (1, Rule::Any, true),
        (3, Rule::All, false),
        (4, Rule::All, true),
    ] {
        let (outcomes, _) = asked(&case, wins, rule);
        for o in &outcomes.rows {
            assert_eq!(o.status == RunStatus::Broken, counts, "{wins} {rule:?}");
            // A point that does not count is not judged, and costs two steps of four draws.
            let spent = if counts { 4 + 1 } else { 8 };
            assert_eq!((o.queries.forward, o.observed.len()), (spent, 0));
        }
    }
}

#[test]
fn gradients_are_means_over_draws_of_their_own() {
    let mut case = case(2, 3, 1);
    case.samples.labels = vec![0; 3];
    let (_, answers) = asked(&case, 0, Rule::Majority);
    // Slopes 1 to 4 in the first step, 5 to 8 in the second.
    let slopes: Vec<f32> = answers.iter().map(|a| a[0]).collect();
    assert_eq!(slopes, [2.5, 2.5, 2.5, 6.5, 6.5, 6.5]);
    for (i, [slope, loss]) in answers.iter().enumerate() {
        let x = case.samples.sample(i % 3)[0][0];
        assert!((loss - (slope * x - 1000.0)).abs() < 1e-3);
    }
}
