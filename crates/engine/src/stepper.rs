use std::fmt::Debug;

use burn::tensor::Tensor;
use proofmark_model::DecisionModel;
use proofmark_threat::{Batch, Columns};

use crate::{EngineError, Oracle, Rows};

/// Which points count as better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// Any adversarial within the budget; the row is then done.
    Within,
    /// The adversarial of the smallest gauge; rows run all their steps.
    Minimise,
}

/// An attack as the engine runs it: one immutable configuration and one explicit state.
///
/// It only proposes points, by querying the oracle: the engine handles success, best-so-far, stopping, compaction and
/// counting. `M` is the access it needs (`dyn GradientModel`, `dyn ScoreModel` or `dyn DecisionModel`), so an attack
/// does not compile against a model that gives less.
pub trait Stepper<M: DecisionModel + ?Sized>: Send + Sync + Debug {
    /// State carried from step to step, per row.
    type State: Columns + Clone;

    /// Returns the attack's id, which keys its random streams.
    fn id(&self) -> &'static str;

    /// Returns the number of steps per restart, at least 1.
    fn steps(&self) -> u32;

    /// Returns the number of restarts, at least 1; each begins with [`Stepper::start`] on the rows not yet broken.
    fn restarts(&self) -> u32 {
        1
    }

    /// Returns what the attack looks for.
    fn aim(&self) -> Aim {
        Aim::Within
    }

    /// Creates the state of fresh rows.
    fn start(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
    ) -> Result<Self::State, EngineError>;

    /// Makes one step of every row (rows may be at different steps: [`Rows::steps`]).
    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut Self::State,
    ) -> Result<(), EngineError>;

    /// Returns which rows have finished before [`Stepper::steps`]; `None` if the attack does not report it.
    fn finished(&self, rows: &Rows, state: &Self::State) -> Option<Vec<bool>> {
        let _ = (rows, state);
        None
    }

    /// Returns the best value each row has reached of the quantity it maximises, `[rows]`, for planning the next run.
    fn reached(&self, state: &Self::State) -> Option<Tensor<1>> {
        let _ = state;
        None
    }

    /// Returns a direction per row in which it succeeds, such as the gradient of the margin near its best point; `None`
    /// if the attack knows none. The last bisection ([`Bisected`](crate::Bisected)) also tries the steepest points
    /// along it.
    fn direction(&self, state: &Self::State) -> Option<Batch> {
        let _ = state;
        None
    }

    /// Returns the last point of each row if the oracle was not queried about it; the judge measures it.
    fn last(&self, state: &Self::State) -> Option<Batch> {
        let _ = state;
        None
    }
}
