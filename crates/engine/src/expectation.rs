//! Expectation over transformations: answers of a random model as means over several draws of each point.
//!
//! Each step of a row has draws of its own ([`Query::draw`](proofmark_model::Query)), and the judge's are others. A point
//! is kept as the best of its row only if the run's [`Rule`](crate::Rule) holds over its draws, so that one lucky draw
//! does not end the row's search.
//!
//! Source: Athalye, Carlini and Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 4.1.

use burn::tensor::Tensor;
use proofmark_model::{Gradient, GradientModel, ScoreModel};

use crate::{EngineError, Loss, Oracle, Request, Rows};

impl<M: ScoreModel + ?Sized> Oracle<'_, M> {
    /// Returns scores `[q, classes]` at the points of `request`, each the mean over `draws` draws of a random model. 0
    /// and 1 draws are [`Oracle::scores`].
    pub fn mean_scores(
        &mut self,
        rows: &mut Rows,
        request: impl Into<Request>,
        draws: u32,
    ) -> Result<Tensor<2>, EngineError> {
        let request = request.into();
        if draws <= 1 {
            return self.scores(rows, request);
        }
        let all = repeated(rows, request, draws);
        Ok(mean(self.scores(rows, all)?, draws))
    }
}

impl<M: GradientModel + ?Sized> Oracle<'_, M> {
    /// Returns scores, loss and its gradient at the points of `request`, each the mean over `draws` draws of a random
    /// model. 0 and 1 draws are [`Oracle::gradient_of`].
    pub fn mean_gradient(
        &mut self,
        rows: &mut Rows,
        request: impl Into<Request>,
        draws: u32,
        loss: &dyn Loss,
    ) -> Result<Gradient, EngineError> {
        let request = request.into();
        if draws <= 1 {
            return self.gradient_of(rows, request, loss);
        }
        let all = repeated(rows, request, draws);
        let all = self.gradient_of(rows, all, loss)?;
        Ok(Gradient {
            scores: mean(all.scores, draws),
            loss: mean(all.loss.unsqueeze_dim(1), draws).squeeze_dim(1),
            gradient: all.gradient.map(|g| mean(g, draws)),
        })
    }
}

/// Repeats each point for the draws of its row's step.
fn repeated(rows: &Rows, request: Request, draws: u32) -> Request {
    let first: Vec<u64> = (request.query.owner.iter())
        .map(|row| rows.steps()[*row] * u64::from(draws))
        .collect();
    request.repeated(draws, &first)
}

/// Averages the draws of each point, which are adjacent.
fn mean(values: Tensor<2>, draws: u32) -> Tensor<2> {
    let [n, width] = values.dims();
    let by_point = values.reshape([n / draws as usize, draws as usize, width]);
    by_point.mean_dim(1).squeeze_dim::<2>(1)
}
