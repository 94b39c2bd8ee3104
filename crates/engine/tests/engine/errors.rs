//! Panics inside and outside the model, and a model that lacks the access a goal needs.

use std::sync::atomic::Ordering;

use burn::tensor::Tensor;
use proofmark_domain::{Epsilon, Norm};
use proofmark_engine::{EngineError, Focus, Oracle, Outcomes, Rows, Stepper, Truth, run};
use proofmark_model::{
    DecisionModel, GradientModel, ModelError, Network, Output, Query, Signature,
};
use proofmark_threat::{Column, Columns, Threat};

use crate::attacks::{BoundaryWalk, CLIMB};
use crate::common::{LabelsOnly, case};

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
