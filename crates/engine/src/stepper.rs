use std::fmt::Debug;

use burn::tensor::Tensor;
use proofmark_model::DecisionModel;
use proofmark_threat::{Batch, Columns};

use crate::{EngineError, Oracle, Rows};

/// What counts as the better point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// Any adversarial within the budget; the row is then done.
    Within,
    /// The adversarial of the smallest gauge; rows run to their end.
    Minimise,
}

/// An attack as the engine runs it: one immutable configuration, one explicit state.
///
/// It proposes points by asking the oracle about them, and nothing else: success, best-so-far, stopping,
/// compaction and counting belong to the engine. `M` is the access it needs (`dyn GradientModel`,
/// `dyn ScoreModel` or `dyn DecisionModel`), so an attack does not compile against a model that gives less.
pub trait Stepper<M: DecisionModel + ?Sized>: Send + Sync + Debug {
    /// What it carries from step to step, per row.
    type State: Columns + Clone;

    /// Id: keys its random streams.
    fn id(&self) -> &'static str;

    /// Steps per restart, at least 1.
    fn steps(&self) -> u32;

    /// Restarts, at least 1; each begins with [`Stepper::start`] on the rows not yet broken.
    fn restarts(&self) -> u32 {
        1
    }

    /// What it looks for.
    fn aim(&self) -> Aim {
        Aim::Within
    }

    /// The state of fresh rows.
    fn start(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
    ) -> Result<Self::State, EngineError>;

    /// One step of every row (rows may be at different steps: [`Rows::steps`]).
    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut Self::State,
    ) -> Result<(), EngineError>;

    /// Which rows have come to their end before [`Stepper::steps`]; none where it does not say.
    fn finished(&self, rows: &Rows, state: &Self::State) -> Option<Vec<bool>> {
        let _ = (rows, state);
        None
    }

    /// The best value each row has reached of what it climbs, `[rows]`, for whoever plans the next run.
    fn reached(&self, state: &Self::State) -> Option<Tensor<1>> {
        let _ = state;
        None
    }

    /// The last point of each row that the oracle has not been asked about; the judge looks at it.
    fn last(&self, state: &Self::State) -> Option<Batch> {
        let _ = state;
        None
    }
}
